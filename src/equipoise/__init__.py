"""Equipoise: from a written hypothesis to a defended verdict on a change to an LLM feature.

An experiment says what we believe (`load_experiment`); its design says how we will know (`plan`);
the arena tries it on golden cases before anybody sees it (`run_arena`, `GateResult`);
a router decides who sees what (`Router`, `Assignment`, `open_pins`; `wrap` for the `openai` clients);
the log keeps what happened (`open_log`, `Exposure`, `Turn`, `Outcome`, `Score`);
`analyze` counts it, checks its health first, and shows effects with honest intervals (`Analysis`);
`evaluate_policy` asks a log what another policy would have earned;
and the `Verdict` says what to do: ship, hold, roll back, keep running, or that the data are invalid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.arena.gate import GateResult
    from equipoise.arena.result import ArenaResult
    from equipoise.arena.run import run_arena, run_arena_sync
    from equipoise.assignment.opening import open_pins
    from equipoise.conduct.analyze import analyze
    from equipoise.conduct.off_policy import evaluate_policy
    from equipoise.design.plan import Plan, plan
    from equipoise.errors import EquipoiseError
    from equipoise.events.facts import Exposure, Label, Outcome, Score, Turn
    from equipoise.events.log import EventLog
    from equipoise.events.opening import open_log
    from equipoise.experiment.definition import Experiment
    from equipoise.experiment.metric import Metric
    from equipoise.experiment.reading import load_experiment
    from equipoise.experiment.variant import Variant
    from equipoise.sdk.assignment import Assignment
    from equipoise.sdk.router import Router
    from equipoise.sdk.wrapping import wrap
    from equipoise.verdict.analysis import Analysis
    from equipoise.verdict.deciding import Verdict

__version__ = "0.1.0"

_HOMES = {
    "Analysis": "verdict.analysis",
    "ArenaResult": "arena.result",
    "Assignment": "sdk.assignment",
    "EquipoiseError": "errors",
    "EventLog": "events.log",
    "Experiment": "experiment.definition",
    "Exposure": "events.facts",
    "GateResult": "arena.gate",
    "Label": "events.facts",
    "Metric": "experiment.metric",
    "Outcome": "events.facts",
    "Plan": "design.plan",
    "Router": "sdk.router",
    "Score": "events.facts",
    "Turn": "events.facts",
    "Variant": "experiment.variant",
    "Verdict": "verdict.deciding",
    "analyze": "conduct.analyze",
    "evaluate_policy": "conduct.off_policy",
    "load_experiment": "experiment.reading",
    "open_log": "events.opening",
    "open_pins": "assignment.opening",
    "plan": "design.plan",
    "run_arena": "arena.run",
    "run_arena_sync": "arena.run",
    "wrap": "sdk.wrapping",
}

__all__ = [
    "Analysis",
    "ArenaResult",
    "Assignment",
    "EquipoiseError",
    "EventLog",
    "Experiment",
    "Exposure",
    "GateResult",
    "Label",
    "Metric",
    "Outcome",
    "Plan",
    "Router",
    "Score",
    "Turn",
    "Variant",
    "Verdict",
    "analyze",
    "evaluate_policy",
    "load_experiment",
    "open_log",
    "open_pins",
    "plan",
    "run_arena",
    "run_arena_sync",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a router does not pay for the numbers."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'equipoise' has no attribute '{name}'")
    import importlib

    try:
        value = getattr(importlib.import_module(f"equipoise.{home}"), name)
    except ModuleNotFoundError as error:
        from equipoise.errors import missing_extra

        missing = missing_extra(f"equipoise.{name}", error)
        if missing is None:
            raise
        raise missing from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
