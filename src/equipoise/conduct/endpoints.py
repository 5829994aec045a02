"""The endpoints that a definition names, opened where somebody has to be asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.errors import DefinitionError, Fault
from equipoise.experiment.definition import Experiment
from equipoise.providers.embeddings import OpenAIEmbeddings
from equipoise.providers.messages import Embedder
from equipoise.providers.openai_compatible import OpenAICompatible

__all__ = ["Connect", "Endpoints", "Place", "judge_places", "place_of"]

Connect = Callable[[str | None, str], tuple[str, str | None]]
"""Given the base URL a definition names (or None) and the name of a key, the URL to use and the key itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is asked (base URL, name of the key), and how often a minute at most."""

    base_url: str | None
    key_env: str
    requests: float | None = None
    tokens: float | None = None


def place_of(named: Mapping[str, Any]) -> Place:
    """Where a variant is asked, by its `endpoint`; DefinitionError for a limit that is no number above 0."""
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


def judge_places(experiment: Experiment) -> list[Place]:
    """Where the judges of a definition are asked, in their order."""
    judge = experiment.offline.judge if experiment.offline else None
    return [
        Place(each.base_url, each.key_env, each.requests_per_minute, each.tokens_per_minute)
        for each in (judge.asked if judge else ())
    ]


@dataclass
class Endpoints:
    """Endpoints as they are opened: one connection, and one limit, for each place and key."""

    connect: Connect
    rng: random.Random
    retries: int = 4
    timeout_s: float = 120.0
    opened: dict[tuple[str, str], OpenAICompatible] = field(default_factory=dict)

    def open(self, place: Place) -> OpenAICompatible:
        """The endpoint at a place, opened once."""
        base_url, key = self.connect(place.base_url, place.key_env)
        known = self.opened.get((base_url, place.key_env))
        if known is None:
            known = OpenAICompatible(
                base_url,
                api_key=key,
                rng=self.rng,
                retries=self.retries,
                timeout_s=self.timeout_s,
                requests_per_minute=place.requests,
                tokens_per_minute=place.tokens,
            )
            self.opened[base_url, place.key_env] = known
        return known

    def embedder(self, url: str | None, key_name: str) -> Embedder:
        """An endpoint for embeddings."""
        base_url, key = self.connect(url, key_name)
        return OpenAIEmbeddings(base_url, api_key=key, rng=self.rng)
