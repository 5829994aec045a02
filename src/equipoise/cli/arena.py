"""`equipoise arena FILE`: the Prompt Arena, an offline gate on golden cases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit, note

if TYPE_CHECKING:
    from equipoise.arena.result import ArenaResult
    from equipoise.arena.run import OnProgress, Progress
    from equipoise.experiment.definition import Experiment

__all__ = ["arena", "showing"]

OUT = Path("equipoise-out")


def arena(
    file: Annotated[Path | None, typer.Argument(help="The experiment file.", show_default=False)] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what the run will take and can show, and ask nobody."),
    ] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost", help="Stop before this run has cost so many US dollars; run again to go on."
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            help="Compare two runs made already (ours, promptfoo's JSON, Inspect's .eval) instead of running.",
            metavar="A B",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the HTML report (default: equipoise-out/NAME.arena.html; with --json: none)."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Where to write JUnit XML, for CI.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Where to write every score, one row each.")] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where replies are kept for resuming (default: equipoise-out/NAME.journal.jsonl)."),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of what is shuffled.")] = 0,
    record: Annotated[bool, typer.Option(help="Keep the gate's decision in the log, for `register`.")] = True,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Run cases through every variant, score, compare, and pass or fail the gate; the exit code follows it."""
    from equipoise.errors import UsageError

    if (file is None) == (compare is None):
        raise UsageError("name an experiment file to run, or two runs to compare with --compare A B")
    if compare is not None:
        _compare(compare, markdown=markdown, as_json=as_json)
        return
    assert file is not None
    from equipoise import settings
    from equipoise.conduct.gate import asks, gate, record_gate
    from equipoise.experiment.reading import read_definition

    reading = read_definition(file)
    caution(reading.warnings)
    experiment = reading.experiment
    kept = journal or OUT / f"{experiment.name}.journal.jsonl" if asks(experiment) else None
    if dry_run:
        _dry_run(experiment, kept, concurrency=concurrency, seed=seed, as_json=as_json)
        return
    with showing(experiment.name) as on_progress:
        result = gate(
            experiment,
            connect=settings.connect,
            journal=kept,
            concurrency=concurrency,
            max_cost_usd=max_cost,
            on_progress=on_progress,
            seed=seed,
        )
    if record:
        from equipoise.events.opening import open_log

        ledger = open_log(log or settings.default_log())
        try:
            record_gate(ledger, experiment, result)
        finally:
            ledger.close()
    _show(result, report=report, markdown=markdown, junit=junit, csv=csv, as_json=as_json)
    if kept is not None:
        note(f"{result.sent} requests sent, {result.replayed} taken from {kept}")
    raise typer.Exit(result.gate.exit_code)


def _show(
    result: ArenaResult,
    *,
    report: Path | None,
    markdown: bool,
    junit: Path | None,
    csv: Path | None,
    as_json: bool,
) -> None:
    from equipoise.arena.exporting import csv_text, junit_xml, run_text, to_dict
    from equipoise.arena.report import html_report, markdown_report
    from equipoise.cli.arena_text import arena_text
    from equipoise.files import write_whole

    written: dict[str, str] = {}
    if not as_json:
        written["run"] = str(write_whole(OUT / f"{result.experiment}.arena.json", run_text(result)))
    if report is not None or not as_json:
        target = report or OUT / f"{result.experiment}.arena.html"
        written["report"] = str(write_whole(target, html_report(result)))
    if junit is not None:
        written["junit"] = str(write_whole(junit, junit_xml(result)))
    if csv is not None:
        written["csv"] = str(write_whole(csv, csv_text(result)))
    if as_json:
        emit(to_dict(result) | {"written": written})
        return
    print(markdown_report(result) if markdown else arena_text(result))
    said = "\n".join(f"{what.capitalize()}: {place}" for what, place in written.items())
    if markdown:
        note(said)
    else:
        print(f"\n{said}")


def _dry_run(
    experiment: Experiment, journal: Path | None, *, concurrency: int, seed: int, as_json: bool
) -> None:
    from equipoise import settings
    from equipoise.arena.planning import plan_gate
    from equipoise.cli.arena_text import dry_run_text
    from equipoise.conduct.gate import rehearse_gate

    rehearsal, prepared = rehearse_gate(
        experiment,
        connect=settings.place,
        journal=journal,
        concurrency=concurrency,
        seed=seed,
    )
    planned = plan_gate(prepared)
    if as_json:
        emit(rehearsal.to_dict() | {"gate": [each.to_dict() for each in planned]})
    else:
        print(dry_run_text(experiment.name, rehearsal, planned))


def _compare(runs: tuple[Path, Path], *, markdown: bool, as_json: bool) -> None:
    from equipoise.arena.comparing import compare_runs
    from equipoise.arena.runs import read_run
    from equipoise.cli.arena_text import comparison_text

    compared = compare_runs(*(read_run(path) for path in runs))
    if as_json:
        emit(compared.to_dict())
    else:
        print(comparison_text(compared, markdown=markdown))


@contextmanager
def showing(what: str) -> Iterator[OnProgress]:
    """Progress on stderr: a live line where somebody is there to see it, else a line now and then."""
    import sys

    if not sys.stderr.isatty():
        yield _now_and_then(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[seen]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=None, seen="")

        def update(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=f"{what}: {progress.doing}",
                seen=_seen(progress),
            )

        yield update


def _now_and_then(what: str, every_s: float = 15.0) -> OnProgress:
    state: dict[str, Any] = {"next": time.monotonic() + every_s}

    def update(progress: Progress) -> None:
        if time.monotonic() >= state["next"]:
            state["next"] = time.monotonic() + every_s
            note(
                f"{what}: {progress.done} of {progress.total} cases, {progress.doing}{_seen(progress, ', ')}"
            )

    return update


def _seen(progress: Progress, before: str = "") -> str:
    parts = [f"${progress.cost_usd:.4f}"] if progress.cost_usd else []
    parts += [f"{name} wins {rate:.0%}" for name, rate in progress.win_rates.items()]
    return before + ", ".join(parts) if parts else ""
