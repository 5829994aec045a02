"""`equipoise demo`: the support-bot walk from hypothesis to verdict, with no key and no network."""

from __future__ import annotations

import random
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

from equipoise.cli.output import AsJson, emit, progress

__all__ = ["demo"]

REASON = "Five cases settle little; the change is small and reversible, and the guardrails watch."


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo's files go; what it wrote before is replaced.")
    ] = Path("equipoise-out/demo"),
    conversations: Annotated[int, typer.Option(min=1, help="How many customers to simulate.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulated customers.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Walk from hypothesis to verdict on a simulated endpoint with simulated customers."""
    from equipoise.arena.exporting import to_dict
    from equipoise.arena.report import html_report
    from equipoise.cli.arena_text import arena_text
    from equipoise.cli.plan import plan_text
    from equipoise.cli.simulation import scripted, serve
    from equipoise.conduct.gate import gate, record_gate
    from equipoise.conduct.look import look
    from equipoise.conduct.register import register
    from equipoise.design.plan import plan
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import load_experiment
    from equipoise.files import write_whole
    from equipoise.providers.simulated import SimulatedEndpoint
    from equipoise.sdk.router import Router

    def tell(text: str = "") -> None:
        if not as_json:
            print(text, flush=True)

    _lay_out(folder)
    experiment = load_experiment(folder / "experiment.yaml")
    tell(
        "SIMULATED: a bot and a judge that follow a script (on a real HTTP server on this machine), and customers"
    )
    tell(
        "drawn by chance with a difference that we put in. Router, log, statistics and verdict are the real ones."
    )
    tell("\n== 1. The plan, written down before launch ==")
    tell(plan_text(plan(experiment), experiment.hypothesis))

    tell("\n== 2. The arena: five golden questions, asked and judged over HTTP (simulated endpoint) ==")
    with SimulatedEndpoint(scripted(folder), models=("simulated-bot", "simulated-judge")) as url:
        result = gate(
            experiment,
            connect=lambda *_: (url, None),
            journal=folder / "journal.jsonl",
            seed=seed,
        )
    arena_report = write_whole(folder / "arena.html", html_report(result))
    tell(arena_text(result))
    tell(f"Report: {arena_report}")

    log = open_log(folder / "equipoise.db")
    try:
        record_gate(log, experiment, result)
        tell("\n== 3. Registered, with the reason for going on ==")
        done = register(log, experiment, by="demo", reason=REASON)
        tell(f"{done.experiment} is registered, stage {done.stage}")
        for block in done.overridden:
            tell(f"  in spite of: {block}; the recorded reason: {REASON}")

        tell(f"\n== 4. {conversations:,} simulated conversations through the router ==")
        with progress("conversations") as update, Router(experiment, log=log) as router:
            serve(router, conversations, random.Random(seed), update)  # noqa: S311 - simulated customers
        tell(f"{log.head():,} facts in {folder / 'equipoise.db'}")

        tell("\n== 5. The registered look, and the verdict ==")
        analysis = look(log, experiment.name)
    finally:
        log.close()
    report = analysis.save(folder / "report.html")
    tell(analysis.summary())
    tell("\nAll of this was simulated: the difference put in is 5 points of resolution.")
    tell(f"Report: {report}")
    if as_json:
        emit(_as_json(to_dict(result), analysis.to_dict(), arena_report, report))
    if analysis.verdict.word == "invalid":
        raise typer.Exit(analysis.verdict.exit_code)


def _as_json(
    gate: dict[str, Any], analysis: dict[str, Any], arena_report: Path, report: Path
) -> dict[str, Any]:
    return {
        "simulated": True,
        "arena": gate,
        "analysis": analysis,
        "reports": {"arena": str(arena_report), "analysis": str(report)},
    }


_WRITTEN = (
    "arena.html",
    "report.html",
    "journal.jsonl",
    "equipoise.db",
    "equipoise.db-journal",
    "equipoise.db-wal",
    "equipoise.db-shm",
)


def _lay_out(folder: Path) -> None:
    """A fresh copy of the story, moved to its place whole; only what an earlier demo wrote is replaced."""
    from equipoise.errors import UsageError

    try:
        with as_file(files("equipoise.cli") / "story") as story:
            ours = {path.relative_to(story) for path in story.rglob("*")} | {Path(name) for name in _WRITTEN}
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder} is a file; name a folder with --folder")
            if theirs := [path for path in _held(folder) if path not in ours]:
                raise UsageError(
                    f"{folder} holds something that no demo wrote ({min(theirs)}); "
                    "name another folder with --folder"
                )
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".equipoise-") as scratch:
                made, old = Path(scratch) / "demo", Path(scratch) / "old"
                shutil.copytree(story, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
                if folder.exists():
                    # Moved away whole before it is deleted: an interruption leaves no half of a folder.
                    folder.rename(old)
                made.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from None


def _held(folder: Path) -> list[Path]:
    """What a folder holds, but for reports that an interruption left unfinished."""
    return [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if not path.name.startswith((".arena.html.", ".report.html."))
    ]
