"""Gate: run the arena with the endpoints a definition names, and keep its decision."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from equipoise.arena.exporting import estimate_json
from equipoise.arena.preparing import Prepared
from equipoise.arena.rehearsing import Rehearsal, rehearse
from equipoise.arena.result import ArenaResult
from equipoise.arena.run import OnProgress, run_arena_sync
from equipoise.clock import Clock, SystemClock
from equipoise.conduct.endpoints import Connect, Endpoints, Place, judge_places, place_of
from equipoise.events.facts import Gate
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment

__all__ = ["asks", "gate", "record_gate", "rehearse_gate"]


def asks(experiment: Experiment) -> bool:
    """Whether the arena may have to ask anybody: not everything is recorded."""
    offline = experiment.offline
    if offline is None:
        return False
    judge = offline.judge
    recorded = judge is None or not judge.asked
    return not recorded or offline.answers is None


def gate(
    experiment: Experiment,
    *,
    connect: Connect,
    journal: Path | None = None,
    concurrency: int = 8,
    max_cost_usd: float | None = None,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> ArenaResult:
    """Run the offline gate of a definition.

    Endpoints are opened by `connect` only where something has to be asked; each variant may name its own
    (`endpoint: {base_url: …, key_env: …, requests_per_minute: …, tokens_per_minute: …}`). Errors are those of
    `run_arena`.
    """
    opened = Endpoints(connect, random.Random(seed))  # noqa: S311 - jitter between retries, nothing secret
    return run_arena_sync(
        experiment,
        answers={name: opened.open(place) for name, place in _answerers(experiment).items()} or None,
        judge=[opened.open(place) for place in judge_places(experiment)],
        embedder=opened.embedder,
        journal=journal,
        concurrency=concurrency,
        max_cost_usd=max_cost_usd,
        on_progress=on_progress,
        seed=seed,
    )


def rehearse_gate(
    experiment: Experiment,
    *,
    connect: Connect,
    journal: Path | None = None,
    concurrency: int = 8,
    seed: int = 0,
) -> tuple[Rehearsal, Prepared]:
    """What `gate` would ask and cost, without asking anybody; a missing key does not matter here."""
    opened = Endpoints(connect, random.Random(seed))  # noqa: S311 - nothing is drawn
    return rehearse(
        experiment,
        answers={name: opened.open(place).origin for name, place in _answerers(experiment).items()} or None,
        judges=[opened.open(place).origin for place in judge_places(experiment)],
        journal=journal,
        concurrency=concurrency,
        seed=seed,
    )


def _answerers(experiment: Experiment) -> dict[str, Place]:
    offline = experiment.offline
    if offline is None or offline.answers is not None or offline.application is not None:
        return {}
    judge = offline.judge
    all_recorded = judge is not None and not judge.asked
    if all_recorded and not offline.evaluators and not offline.gate.must_pass:
        return {}  # judged earlier, and nothing else to say of an answer
    if any(variant.model is None for variant in experiment.variants):
        return {}
    return {variant.name: place_of(variant.endpoint) for variant in experiment.variants}


def record_gate(
    log: EventLog, experiment: Experiment, result: ArenaResult, *, clock: Clock | None = None
) -> None:
    """Keep the gate's decision for this definition in the log, so that `register` can rest on it."""
    log.append(
        [
            Gate(
                experiment=experiment.name,
                happened=(clock or SystemClock()).now(),
                digest=experiment.digest,
                decision=result.gate.decision,
                evidence={
                    "reason": result.gate.reason,
                    "cases": len(result.cases),
                    "cases_digest": result.cases_digest,
                    "samples": result.samples,
                    "answers": result.answers_origin,
                    "evaluators": [
                        {"name": each.name, "does": each.does, "digest": each.digest}
                        for each in result.evaluators
                    ],
                    "criteria": {
                        arm.variant: [
                            {
                                "criterion": one.criterion.name,
                                "show": one.criterion.show,
                                "decision": one.decision,
                            }
                            for one in arm.criteria
                        ]
                        for arm in result.gate.arms
                    },
                    "measures": _measures(experiment, result),
                },
            )
        ]
    )


def _measures(experiment: Experiment, result: ArenaResult) -> dict[str, dict[str, Any]]:
    """What each instrument gave each variant's answers to the golden cases, to stand beside what it gives live ones."""
    rubric = experiment.offline.rubric if experiment.offline is not None else None
    instruments: dict[str, str] = {}
    for used in result.evaluators:
        measured = rubric.axes if used.does == "rubric" and rubric is not None else (used.name,)
        instruments |= dict.fromkeys(measured, f"{used.name}@{used.digest[:12]}")
    return {
        variant.name: {
            name: {
                "instrument": instruments[name],
                "cases": variant.cases,
                "mean": estimate_json(each.mean),
            }
            for name, each in variant.measures.items()
            if name in instruments
        }
        for variant in result.variants
    }
