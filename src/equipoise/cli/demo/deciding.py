"""The first act: a prompt goes from hypothesis to verdict."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.cli.output import progress

if TYPE_CHECKING:
    from equipoise.verdict.analysis import Analysis

__all__ = ["decide"]

REASON = "Five cases settle little; the change is small and reversible, and the guardrails watch."


def decide(
    folder: Path, conversations: int, seed: int, tell: Callable[[str], None]
) -> tuple[Analysis, dict[str, Any]]:
    """Plan, arena, register, route, analyze: what each says is told; the read-out, and all of it as plain JSON."""
    from equipoise.arena.exporting import to_dict
    from equipoise.arena.report import html_report
    from equipoise.cli.arena_text import arena_text
    from equipoise.cli.demo.customers import scripted, serve
    from equipoise.cli.demo.folder import LOG
    from equipoise.cli.plan import plan_text
    from equipoise.conduct.gate import gate, record_gate
    from equipoise.conduct.look import look
    from equipoise.conduct.register import register
    from equipoise.design.plan import plan
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import load_experiment
    from equipoise.files import write_whole
    from equipoise.providers.simulated import SimulatedEndpoint
    from equipoise.sdk.router import Router

    experiment = load_experiment(folder / "experiment.yaml")
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

    log = open_log(folder / LOG)
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
        tell(f"{log.head():,} facts in {folder / LOG}")

        tell("\n== 5. The registered look, and the verdict ==")
        analysis = look(log, experiment.name)
    finally:
        log.close()
    report = analysis.save(folder / "report.html")
    tell(analysis.summary())
    tell("\nAll of this was simulated: the difference put in is 5 points of resolution.")
    tell(f"Report: {report}")
    return analysis, {
        "arena": to_dict(result),
        "analysis": analysis.to_dict(),
        "reports": {"arena": str(arena_report), "analysis": str(report)},
    }
