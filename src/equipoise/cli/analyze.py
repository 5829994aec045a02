"""`equipoise analyze NAME|FILE`: the registered look of an experiment, or the read-out of a table."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, working

__all__ = ["analyze"]


def analyze(
    what: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A registered experiment, or a file with `source:`.")
    ],
    final: Annotated[
        bool, typer.Option("--final", help="No more data will come: this look is the last and decides.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the report, by its ending .html, .md, .json, .svg or .png "
            "(default: equipoise-out/NAME.html; with --json: none)."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Check health, estimate effects, and give the verdict; the exit code follows it."""
    from equipoise import settings
    from equipoise.conduct.analyze import analyze as read_out
    from equipoise.conduct.look import look
    from equipoise.conduct.overrun import over_run
    from equipoise.errors import DataError
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import read_definition
    from equipoise.verdict.analysis import report_form

    if report is not None:
        report_form(report)
    path = Path(what)
    # A folder that happens to be called like an experiment is not a definition.
    if path.suffix in (".yaml", ".yml") or os.path.isfile(what):
        reading = read_definition(path)
        caution(reading.warnings)
        experiment = reading.experiment
        if experiment.source is None:
            raise DataError(
                f"{what} names no table (`source:`), so its data are in the log. Register it, then: "
                f"equipoise analyze {experiment.name}"
            )
        with working("reading and counting"):
            analysis = read_out(experiment, closing=True if final else None, variable=settings.variable)
        name = experiment.name
    else:
        record = open_log(log or settings.default_log(), create=False)
        try:
            with working("reading and counting"):
                analysis = replace(
                    look(record, what, closing=final, variable=settings.variable),
                    over_run=over_run(record, what),
                )
        finally:
            record.close()
        name = what
    if as_json:
        shown = analysis.to_dict()
        if report:
            shown["report"] = str(analysis.save(report))
        emit(shown)
    else:
        saved = analysis.save(report or Path("equipoise-out") / f"{name}.html")
        print(analysis.to_markdown() if markdown else analysis.summary())
        print(f"\nReport: {saved}")
    raise typer.Exit(analysis.verdict.exit_code)
