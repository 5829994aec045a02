"""From the evaluators a definition declares to the evaluators that score."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from equipoise.errors import DefinitionError, Fault, UsageError, dotted
from equipoise.experiment.evaluators import Declared, declared, evaluator_faults
from equipoise.providers.messages import Embedder, Provider
from equipoise.scoring.evaluating import Evaluator

__all__ = ["AskedJudge", "Tools", "build", "read_evaluators"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedJudge:
    """A language model that may be asked: where, by which name, with which parameters."""

    provider: Provider
    model: str
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What evaluators may need beyond the answer: files, judges (several are a panel), embeddings.

    `embedder(base_url, key_env)` opens an endpoint for embeddings; None where none may be asked.
    """

    folder: Path = Path()
    judges: tuple[AskedJudge, ...] = ()
    embedder: Callable[[str | None, str], Embedder] | None = None

    def require_judges(self, name: str) -> tuple[AskedJudge, ...]:
        """The judges, or UsageError for an evaluator that cannot do without."""
        if not self.judges:
            raise UsageError(
                f"the evaluator '{name}' asks a judge, and there is none; name its model under `offline.judge`"
            )
        return self.judges


_HOMES: Mapping[str, str] = {
    "bleu": "similarity",
    "chrf": "similarity",
    "cosine": "similarity",
    "embedding": "similarity",
    "greedy_match": "similarity",
    "rouge": "similarity",
    "faithfulness": "faithfulness",
    "g_eval": "g_eval",
    "meets": "meeting",
    "plugin": "plugins",
}
"""The module that builds an evaluator; a rule is built by `rules`. Imported when first wanted."""


def build(each: Declared, tools: Tools) -> Evaluator:
    """One evaluator. Raises UsageError, DataError or MissingExtraError where it cannot be had."""
    module = importlib.import_module(f"equipoise.scoring.{_HOMES.get(each.rule, 'rules')}")
    built: Evaluator = module.build(each, tools)
    return built


def read_evaluators(
    listed: Sequence[Mapping[str, Any]], *, tools: Tools | None = None, must_pass: Sequence[str] = ()
) -> tuple[tuple[Evaluator, ...], frozenset[str]]:
    """The evaluators of a definition, and the names of those that every case must pass.

    `must_pass` names evaluators or rules; a rule that needs no argument (`safety`, `pii`, `not_empty`,
    `json_valid` and more) need not be declared. Raises DefinitionError with every fault found.

    >>> evaluators, needed = read_evaluators([{"contains": "policy"}], must_pass=["safety"])
    >>> [each.name for each in evaluators], sorted(needed)
    (['contains', 'safety'], ['safety'])
    """
    faults = [
        Fault(each.problem, field=f"offline.{dotted(each.path)}", accepted=each.accepted, next=each.next)
        for each in evaluator_faults(listed, must_pass)
    ]
    if faults:
        raise DefinitionError(faults)
    wanted = list(declared(listed))
    needed: set[str] = set()
    for name in must_pass:
        matching = {each.name for each in wanted if name in (each.name, each.rule)}
        if not matching:
            wanted.append(Declared(name=name, rule=name))
            matching = {name}
        needed |= matching
    tools = tools or Tools()
    return tuple(build(each, tools) for each in wanted), frozenset(needed)
