"""`equipoise analyze NAME|FILE`: the registered look of an experiment, or the read-out of a table."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, working
from equipoise.errors import DataError, UsageError

if TYPE_CHECKING:
    from equipoise.events.log import EventLog
    from equipoise.verdict.analysis import Analysis
    from equipoise.verdict.conversations import Conversations

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
    conversations: Annotated[
        bool,
        typer.Option(
            "--conversations",
            help="Show a few conversations of each arm in the report, where texts are kept.",
        ),
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Check health, estimate effects, and give the verdict; the exit code follows it."""
    from equipoise import settings
    from equipoise.conduct.analyze import analyze as read_out
    from equipoise.conduct.look import look
    from equipoise.conduct.looking.overrun import over_run
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
        if conversations:
            raise UsageError(
                "--conversations shows texts that were kept beside a log, and a table has none; leave it out"
            )
        if experiment.source is None:
            raise DataError(
                f"{what} names no table (`source:`), so its data are in the log. Register it, then: "
                f"equipoise analyze {experiment.name}"
            )
        with working("reading and counting"):
            analysis = read_out(experiment, closing=True if final else None, variable=settings.variable)
        name = experiment.name
    else:
        place = log or settings.default_log()
        record = open_log(place, create=False)
        try:
            with working("reading and counting"):
                analysis = replace(
                    look(record, what, closing=final, variable=settings.variable),
                    over_run=over_run(record, what),
                )
                if conversations:
                    analysis = replace(analysis, conversations=_sampled(place, record, analysis))
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


def _sampled(place: str, record: EventLog, analysis: Analysis) -> Conversations:
    from equipoise.conduct.looking.conversations import sample
    from equipoise.events.opening import open_texts
    from equipoise.events.texts import NoTextsError

    name = analysis.findings.experiment.partition("@")[0]
    # What is withheld of all units is not shown of twelve.
    values = bool(analysis.findings.effects)
    try:
        texts = open_texts(place, create=False)
    except NoTextsError:
        return sample(record, None, name, values=values)
    try:
        return sample(record, texts, name, values=values)
    finally:
        texts.close()
