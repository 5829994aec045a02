"""Gate: run the arena with the endpoints a definition names, and keep its decision."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from equipoise.arena.result import ArenaResult
from equipoise.arena.run import OnProgress, run_arena_sync
from equipoise.clock import Clock, SystemClock
from equipoise.events.facts import Gate
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.providers.messages import Provider
from equipoise.providers.openai_compatible import OpenAICompatible

__all__ = ["gate", "needs_endpoint", "record_gate"]

Connect = Callable[[str | None, str], tuple[str, str | None]]
"""Given the base URL a definition names (or None) and the name of a key, the URL to use and the key itself."""


def needs_endpoint(experiment: Experiment) -> bool:
    """Whether the arena has to ask anybody: something is neither recorded nor left out."""
    offline = experiment.offline
    if offline is None:
        return False
    judge = offline.judge
    asks_judge = judge is not None and judge.model is not None
    compares = asks_judge and judge is not None and judge.pairwise is None
    grades = asks_judge and judge is not None and offline.rubric is not None and judge.grades is None
    return (offline.answers is None and bool(offline.checks or offline.gate.must_pass or compares)) or (
        compares or grades
    )


def gate(
    experiment: Experiment,
    *,
    connect: Connect,
    journal: Path | None = None,
    concurrency: int = 8,
    on_progress: OnProgress | None = None,
    seed: int = 0,
) -> ArenaResult:
    """Run the offline gate of a definition.

    Endpoints are opened by `connect` only where something has to be asked; each variant may name its own
    (`endpoint: {base_url: …, key_env: …}`). Errors are those of `run_arena`.
    """
    answers: dict[str, Provider] = {}
    judge: Provider | None = None
    if needs_endpoint(experiment) and experiment.offline is not None:
        rng = random.Random(seed)  # noqa: S311 - jitter between retries, nothing secret

        def open_endpoint(url: str | None, key_name: str) -> Provider:
            base_url, key = connect(url, key_name)
            return OpenAICompatible(base_url, api_key=key, rng=rng)

        if experiment.offline.answers is None:
            for variant in experiment.variants:
                named = variant.endpoint
                answers[variant.name] = open_endpoint(
                    named.get("base_url"), str(named.get("key_env", "OPENAI_API_KEY"))
                )
        asked = experiment.offline.judge
        if asked is not None and asked.model is not None:
            judge = open_endpoint(asked.base_url, asked.key_env)
    return run_arena_sync(
        experiment,
        answers=answers or None,
        judge=judge,
        journal=journal,
        concurrency=concurrency,
        on_progress=on_progress,
        seed=seed,
    )


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
                    "answers": result.answers_origin,
                    "evaluators": [{"name": each.name, "digest": each.digest} for each in result.evaluators],
                },
            )
        ]
    )
