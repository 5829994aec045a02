"""What a run will take before it is started: requests, tokens, dollars, time, and what it can show.

The rehearsal is the run itself with endpoints that answer nothing of substance: whatever the run would ask is
asked, so the count cannot differ from the run's own. Replies that are in the journal already cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from equipoise.arena.asking import Turns
from equipoise.arena.journal import Journal, key_of, open_journal
from equipoise.arena.preparing import Endpoints, Prepared, prepare
from equipoise.arena.run import Run
from equipoise.arena.spending import Purse, tokens_of
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment, Price
from equipoise.providers.messages import Embedded, Provider, Reply, Request, Usage

__all__ = ["Asked", "Rehearsal", "rehearse"]

_ANSWER_TOKENS = 300
_VERDICT_TOKENS = 120
_LATENCY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one model will be asked: requests still to be paid, and about how many tokens of each kind.

    `cost_usd` is None where the definition names no price for the model.
    """

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a run will take. `kept` requests are answered by the journal; `seconds` is a rough guess.

    `answer_tokens` and `latency_s` are what was assumed of every reply: measured in the journal where
    `measured`, otherwise a stated guess.
    """

    cases: int
    samples: int
    clusters: int | None
    requests: int
    kept: int
    models: tuple[Asked, ...]
    seconds: float
    concurrency: int
    answer_tokens: float
    latency_s: float
    measured: bool
    at_most: bool = False

    @property
    def cost_usd(self) -> float | None:
        """The whole cost; None where a model has no price."""
        costs = [each.cost_usd for each in self.models]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is not known."""
        return tuple(each.model for each in self.models if each.cost_usd is None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"cost_usd": self.cost_usd, "models": [asdict(each) for each in self.models]}


def rehearse(
    experiment: Experiment,
    *,
    answers: Mapping[str, str] | None = None,
    judges: Sequence[str] = (),
    journal: Path | None = None,
    concurrency: int = 8,
    seed: int = 0,
) -> tuple[Rehearsal, Prepared]:
    """Count what a run would ask, without asking anybody.

    `answers` gives the origin (base URL) of every variant that is asked, `judges` that of each judge: they
    are what the journal finds replies by. Errors are those of `run_arena` before anything is asked.
    """
    if concurrency < 1:
        raise UsageError(f"a concurrency of {concurrency} asks nothing; accepted: 1 or more")
    # The journal is read and left as it is: what a rehearsal is answered must not be kept.
    kept = Journal(replies=_replies(journal))
    seen = [reply for reply in kept.replies if reply.usage is not None]
    tokens = _mean([reply.usage.output_tokens for reply in seen if reply.usage]) or None
    latency = _mean([reply.latency_s for reply in seen if reply.latency_s is not None]) or None
    stand_ins: list[_StandIn] = []

    def stand_in(origin: str) -> _StandIn:
        stand_ins.append(_StandIn(origin, kept, tokens))
        return stand_ins[-1]

    def through(provider: Provider) -> Provider:
        # A user's function is not called either.
        return provider if isinstance(provider, _StandIn) else stand_in(str(getattr(provider, "origin", "")))

    endpoints = Endpoints(
        answers={name: stand_in(origin) for name, origin in answers.items()} if answers else None,
        judges=tuple(stand_in(origin) for origin in judges),
        embedder=lambda *_: _NoVectors(),
    )
    prepared = prepare(experiment, endpoints, through=through, seed=seed)
    spared = _without_rules(prepared)
    turns = Turns(concurrency, Journal(), Purse({}))
    asyncio.run(Run(spared, turns, (), lambda _: None, seed).carry_out())
    counts = _Counts(stand_ins)
    requests = sum(counts.requests.values())
    latency_s = latency or _LATENCY_S
    rehearsal = Rehearsal(
        cases=len(prepared.cases),
        samples=prepared.samples,
        clusters=len({case.cluster or case.id for case in prepared.cases})
        if any(case.cluster for case in prepared.cases)
        else None,
        requests=requests,
        kept=len(counts.kept),
        models=tuple(counts.asked(model, experiment.prices) for model in sorted(counts.requests)),
        seconds=requests * latency_s / concurrency,
        concurrency=concurrency,
        answer_tokens=tokens or _ANSWER_TOKENS,
        latency_s=latency_s,
        measured=bool(tokens and latency),
        at_most=prepared.gate.sequential,
    )
    return rehearsal, prepared


def _replies(journal: Path | None) -> dict[str, Reply]:
    if journal is None or not journal.exists():
        return {}
    with open_journal(journal) as opened:
        return opened.by_key


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _without_rules(prepared: Prepared) -> Prepared:
    """The run without what costs nothing: a stand-in's answer is not worth checking, or running as code."""
    return replace(
        prepared,
        evaluators=tuple(each for each in prepared.evaluators if each.kind == "judge"),
        own={
            case: asking
            for case, each in prepared.own.items()
            if (asking := tuple(one for one in each if one.kind == "judge"))
        },
    )


class _NoVectors:
    """Embeddings are not counted: they cost next to nothing."""

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        return Embedded(vectors=tuple((1.0,) for _ in texts), model=model)


@dataclass
class _Counts:
    """What the stand-ins were asked, by model; each request once."""

    stand_ins: Sequence[_StandIn]
    requests: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, tuple[float, float]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for each in self.stand_ins:
            for key, (model, read, written) in each.asked.items():
                if key in each.journal_keys:
                    self.kept.add(key)
                elif key not in seen:
                    seen.add(key)
                    self.requests[model] = self.requests.get(model, 0) + 1
                    known = self.tokens.get(model, (0.0, 0.0))
                    self.tokens[model] = known[0] + read, known[1] + written

    def asked(self, model: str, prices: Mapping[str, Price]) -> Asked:
        read, written = self.tokens[model]
        price = prices.get(model)
        cost = None if price is None else (price.input * read + price.output * written) / 1e6
        return Asked(
            model=model,
            requests=self.requests[model],
            input_tokens=round(read),
            output_tokens=round(written),
            cost_usd=cost,
        )


class _StandIn:
    """Stands where an endpoint will be: replies from the journal, else a text of the length to expect."""

    def __init__(self, origin: str, journal: Journal, tokens: float | None) -> None:
        self.origin = origin
        self._journal = journal
        self._tokens = tokens
        self.asked: dict[str, tuple[str, float, float]] = {}
        self.journal_keys: set[str] = set()

    async def complete(self, request: Request) -> Reply:
        key = key_of(self.origin, request)
        known = self._journal.find(key)
        if known is not None:
            self.journal_keys.add(key)
            self.asked[key] = request.model, 0.0, 0.0
            return known
        is_answer = request.about.get("ask") == "answer"
        most = request.params.get("max_tokens", request.params.get("max_completion_tokens"))
        usual = self._tokens or (_ANSWER_TOKENS if is_answer else _VERDICT_TOKENS)
        written = min(usual, most) if isinstance(most, int) else usual
        read = tokens_of(request)
        self.asked[key] = request.model, read, written
        # Two variants' answers must differ, or nobody would have to compare them.
        text = f"{key} " * max(1, round(written * 4 / 65)) if is_answer else ""
        return Reply(text=text, model=request.model, usage=Usage(read, round(written)))

    async def aclose(self) -> None:
        """Nothing is open."""
