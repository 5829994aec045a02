"""Gate: run the arena with the endpoints a definition names, and keep its decision."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.arena.preparing import Prepared
from equipoise.arena.rehearsing import Rehearsal, rehearse
from equipoise.arena.result import ArenaResult
from equipoise.arena.run import OnProgress, run_arena_sync
from equipoise.clock import Clock, SystemClock
from equipoise.errors import DefinitionError, Fault
from equipoise.events.facts import Gate
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.providers.embeddings import OpenAIEmbeddings
from equipoise.providers.messages import Embedder
from equipoise.providers.openai_compatible import OpenAICompatible

__all__ = ["asks", "gate", "record_gate", "rehearse_gate"]

Connect = Callable[[str | None, str], tuple[str, str | None]]
"""Given the base URL a definition names (or None) and the name of a key, the URL to use and the key itself."""


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
    opened = _Endpoints(connect, random.Random(seed))  # noqa: S311 - jitter between retries, nothing secret
    return run_arena_sync(
        experiment,
        answers={name: opened.open(place) for name, place in _answerers(experiment).items()} or None,
        judge=[opened.open(place) for place in _judges(experiment)],
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
    opened = _Endpoints(connect, random.Random(seed))  # noqa: S311 - nothing is drawn
    return rehearse(
        experiment,
        answers={name: opened.open(place).origin for name, place in _answerers(experiment).items()} or None,
        judges=[opened.open(place).origin for place in _judges(experiment)],
        journal=journal,
        concurrency=concurrency,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is asked (base URL, name of the key), and how often a minute at most."""

    base_url: str | None
    key_env: str
    requests: float | None = None
    tokens: float | None = None


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
    return {variant.name: _place(variant.endpoint) for variant in experiment.variants}


def _place(named: Mapping[str, Any]) -> Place:
    limits: list[float | None] = []
    for key in ("requests_per_minute", "tokens_per_minute"):
        value = named.get(key)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
        ):
            raise DefinitionError(
                [Fault(f"{key} is {value!r}", field=f"variants.endpoint.{key}", accepted="a number above 0")]
            )
        limits.append(value)
    return Place(named.get("base_url"), str(named.get("key_env", "OPENAI_API_KEY")), *limits)


def _judges(experiment: Experiment) -> list[Place]:
    judge = experiment.offline.judge if experiment.offline else None
    return [
        Place(each.base_url, each.key_env, each.requests_per_minute, each.tokens_per_minute)
        for each in (judge.asked if judge else ())
    ]


@dataclass
class _Endpoints:
    """Endpoints as they are opened: one connection, and one limit, for each place and key."""

    connect: Connect
    rng: random.Random
    opened: dict[tuple[str, str], OpenAICompatible] = field(default_factory=dict)

    def open(self, place: Place) -> OpenAICompatible:
        base_url, key = self.connect(place.base_url, place.key_env)
        known = self.opened.get((base_url, place.key_env))
        if known is None:
            known = OpenAICompatible(
                base_url,
                api_key=key,
                rng=self.rng,
                requests_per_minute=place.requests,
                tokens_per_minute=place.tokens,
            )
            self.opened[base_url, place.key_env] = known
        return known

    def embedder(self, url: str | None, key_name: str) -> Embedder:
        base_url, key = self.connect(url, key_name)
        return OpenAIEmbeddings(base_url, api_key=key, rng=self.rng)


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
                },
            )
        ]
    )
