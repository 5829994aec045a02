"""The offline judge on shadow: which of two answers to a live request is better, asked of a few pairs in both orders."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from equipoise.analysis.findings import describe
from equipoise.arena.asking import Asking, Turns, each
from equipoise.arena.journal import Journal
from equipoise.arena.spending import Purse
from equipoise.clock import Clock
from equipoise.conduct.shadow import TextPair, drawn_texts
from equipoise.errors import BudgetError, OutOfReachError, UsageError
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.experiment.offline import Judge
from equipoise.measurement.pairs import pairs_of
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.evaluators import AskedJudge
from equipoise.scoring.pairwise import Comparator, Comparison, pairwise_comparator
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import clustered_win_rate

__all__ = ["Asked", "Preferred", "judge_shadow"]

Connect = Callable[[str | None, str], tuple[str, str | None]]
"""Given the base URL a definition names (or None) and the name of a key, the URL to use and the key itself."""

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """What the judge makes of a treatment's answers beside control's: wins, ties and losses, by pair.

    `win_rate` counts a tie as half, its interval is that of conversations. A pair whose two orders gave different winners
    is a tie and counted in `disagreed`; one without a readable verdict is in `unscored` and in nothing else. `available` is
    how many pairs were drawn, their texts kept on both sides. `judge` is who was asked, `digest` the whole configuration.
    """

    available: int
    wins: int
    ties: int
    losses: int
    unscored: int
    disagreed: int
    win_rate: Estimate | NotEstimable
    judge: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "available": self.available,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "unscored": self.unscored,
            "disagreed": self.disagreed,
            "win_rate": describe(self.win_rate),
            "judge": self.judge,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the judge said of each treatment, what that cost (US dollars; None: nobody knows), and why it ended early."""

    by_arm: Mapping[str, Preferred]
    cost_usd: float | None
    stopped: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "by_arm": {arm: each.to_dict() for arm, each in self.by_arm.items()},
            "cost_usd": self.cost_usd,
            "stopped": self.stopped,
        }


def judge_shadow(
    log: EventLog,
    experiment: Experiment,
    texts: TextStore,
    *,
    connect: Connect,
    most: int,
    max_cost_usd: float | None,
    seed: int = 0,
    clock: Clock | None = None,
) -> Asked:
    """Ask the judge of the offline gate about up to `most` pairs of each treatment, drawn by `seed`.

    Nothing is written: neither the texts nor the replies outlive it. Raises UsageError where the definition names no judge
    that compares and can be asked, where `most` is not positive, or where a limit on the cost is set and a price is
    missing; OutOfReachError where the judge does not answer.
    """
    settings = _judge_of(experiment)
    if most < 1:
        raise UsageError(f"{most} pairs are none to judge; accepted: 1 or more")
    drawn = {
        arm: drawn_texts(texts, those, most=most, seed=seed, clock=clock)
        for arm, those in pairs_of(log, experiment).by_arm.items()
    }
    return asyncio.run(_ask(experiment, settings, drawn, connect, max_cost_usd, seed))


def _judge_of(experiment: Experiment) -> Judge:
    judge = None if experiment.offline is None else experiment.offline.judge
    if judge is None or not judge.asked or not judge.compares:
        raise UsageError(
            f"{experiment.identity} names no judge that can be asked which of two answers is better; "
            "`offline: {judge: {model: …}}` names one, in a new revision"
        )
    return judge


async def _ask(
    experiment: Experiment,
    settings: Judge,
    drawn: Mapping[str, Sequence[TextPair]],
    connect: Connect,
    max_cost_usd: float | None,
    seed: int,
) -> Asked:
    purse = Purse(experiment.prices, limit_usd=max_cost_usd)
    purse.require_prices({each.model or "": "judgements" for each in settings.asked})
    turns = Turns(_AT_ONCE, Journal(), purse)
    opened = [_opened(each, connect, seed) for each in settings.asked]
    asking = [Asking(provider, turns) for provider in opened]
    comparator = pairwise_comparator(
        settings,
        [
            AskedJudge(provider=through, model=each.model or "", params=each.params)
            for each, through in zip(settings.asked, asking, strict=True)
        ],
        None if experiment.offline is None else experiment.offline.rubric,
        seed=seed,
    )
    found: dict[str, list[tuple[TextPair, Comparison]]] = {arm: [] for arm in drawn}
    stopped = None
    try:
        jobs = [
            partial(_compare, comparator, arm, pair, found[arm])
            for arm, those in drawn.items()
            for pair in those
        ]
        await each(jobs, at_once=_AT_ONCE)
        for one in asking:
            one.check_reached()
    except BudgetError:
        stopped = f"the limit of ${max_cost_usd:g} was reached"
    except OutOfReachError as error:
        if not any(found.values()):
            raise
        stopped = str(error)
    finally:
        await turns.settle()
        for provider in opened:
            await provider.aclose()
    spent = purse.spent
    return Asked(
        by_arm={arm: _preferred(comparator, found[arm], len(drawn[arm])) for arm in drawn},
        cost_usd=None if spent.unpriced else spent.cost_usd,
        stopped=stopped,
    )


def _opened(judge: Judge, connect: Connect, seed: int) -> OpenAICompatible:
    base_url, key = connect(judge.base_url, judge.key_env)
    return OpenAICompatible(
        base_url,
        api_key=key,
        rng=random.Random(seed),  # noqa: S311 - jitter between retries, nothing secret
        requests_per_minute=judge.requests_per_minute,
        tokens_per_minute=judge.tokens_per_minute,
    )


async def _compare(
    comparator: Comparator, arm: str, pair: TextPair, found: list[tuple[TextPair, Comparison]]
) -> None:
    about = {"case": pair.control.event_id, "variant": arm, "sample": "0"}
    treatment = Subject(answer=pair.treatment.answer, input=_request(pair.control), about=about)
    control = Subject(answer=pair.control.answer, input=_request(pair.control), about=about)
    found.append((pair, await comparator.compare(treatment, control)))


def _request(text: Text) -> tuple[Mapping[str, Any], ...]:
    """What was asked, without the instructions: which arm's they were would tell the judge whose answer is whose."""
    return tuple(
        {"role": said.role, "content": said.text}
        for said in text.request
        if said.role not in ("system", "developer")
    )


def _preferred(
    comparator: Comparator, found: Sequence[tuple[TextPair, Comparison]], available: int
) -> Preferred:
    scored = [(pair, said.score) for pair, said in found if said.score is not None]
    scores = [score for _, score in scored]
    return Preferred(
        available=available,
        wins=sum(score > 0.5 for score in scores),
        ties=sum(score == 0.5 for score in scores),
        losses=sum(score < 0.5 for score in scores),
        unscored=len(found) - len(scores),
        disagreed=sum(said.disagreed for _, said in found),
        win_rate=clustered_win_rate(scores, [pair.pair.conversation for pair, _ in scored])
        if scores
        else NotEstimable("the judge has compared no pair"),
        judge=" and ".join(comparator.models),
        digest=comparator.digest,
    )
