"""`equipoise arena FILE`: the Prompt Arena, an offline gate on golden cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPath, caution, emit, note, progress, rows

if TYPE_CHECKING:
    from equipoise.arena.result import ArenaResult

__all__ = ["arena", "arena_text"]


def arena(
    file: Annotated[Path, typer.Argument(help="The experiment file.")],
    report: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the HTML report (default: equipoise-out/NAME.arena.html; with --json: none)."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where replies are kept for resuming (default: equipoise-out/NAME.journal.jsonl)."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of what is shuffled.")] = 0,
    record: Annotated[bool, typer.Option(help="Keep the gate's decision in the log, for `register`.")] = True,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Run cases through every variant, score, compare, and pass or fail the gate; the exit code follows it."""
    from equipoise import settings
    from equipoise.arena.report import html_report, markdown_report
    from equipoise.conduct.gate import gate, needs_endpoint, record_gate
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import read_definition
    from equipoise.files import write_whole

    reading = read_definition(file)
    caution(reading.warnings)
    experiment = reading.experiment
    out = Path("equipoise-out")
    kept = None
    if needs_endpoint(experiment):
        kept = journal or out / f"{experiment.name}.journal.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
    with progress("arena") as update:
        result = gate(
            experiment,
            connect=settings.connect,
            journal=kept,
            concurrency=concurrency,
            on_progress=update,
            seed=seed,
        )
    if record:
        ledger = open_log(log or settings.default_log())
        try:
            record_gate(ledger, experiment, result)
        finally:
            ledger.close()
    if as_json:
        shown = result.to_dict()
        if report:
            shown["report"] = str(write_whole(report, html_report(result)))
        emit(shown)
    else:
        saved = write_whole(report or out / f"{experiment.name}.arena.html", html_report(result))
        print(markdown_report(result) if markdown else arena_text(result))
        if kept is not None:
            note(f"{result.asked} requests sent, {result.replayed} taken from {kept}")
        print(f"\nReport: {saved}")
    raise typer.Exit(result.gate.exit_code)


def arena_text(result: ArenaResult) -> str:
    """The result as a person reads it in a terminal."""
    from equipoise.arena.telling import (
        answer_table,
        check_table,
        rubric_table,
        strength,
        variant_table,
        warnings,
    )

    marks = {"pass": "✔", "fail": "✖", "inconclusive": "…", "invalid": "!"}
    decision = result.gate.decision
    parts = [
        f"{marks[decision]} GATE {decision.upper()}: {result.gate.reason}",
        f"{result.experiment}, {len(result.cases)} case{'' if len(result.cases) == 1 else 's'}",
    ]
    for table in (variant_table(result), answer_table(result), rubric_table(result), check_table(result)):
        if table is not None:
            headers, lines = table
            parts.append(
                rows(headers, [["–" if cell is None else str(cell) for cell in line] for line in lines])
            )
    parts += [strength(variant, result) for variant in result.treatments]
    parts += [f"note: {each}" for each in warnings(result)]
    return "\n\n".join(part for part in parts if part)
