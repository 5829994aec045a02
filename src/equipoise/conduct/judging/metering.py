"""What live judging costs: every reply is priced, and none is asked for beyond a day's budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from equipoise.clock import Clock
from equipoise.errors import BudgetError, UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.prices import LIST_PRICES, Price, cost_of, price_of
from equipoise.providers.messages import Provider, Reply, Request

__all__ = ["DAY_S", "DayPurse", "Metered", "Rate", "day_purse"]

DAY_S = 86_400.0
_CHARACTERS_A_TOKEN = 4.0
"""Roughly, for English and most tokenisers; used only before an endpoint has counted."""
_UNKNOWN_REPLY = 300


@dataclass(slots=True)
class DayPurse:
    """What a day (UTC) may cost in US dollars (None: no limit), what it has cost, and what is under way.

    >>> purse = DayPurse({"small": Price(1.0, 2.0)}, limit_usd=0.001)
    >>> purse.spend(0.0009, at=86_400.0)
    >>> purse.spent(86_401.0), purse.spent(2 * 86_400.0)
    (0.0009, 0.0)
    """

    prices: Mapping[str, Price]
    limit_usd: float | None = None
    day: int = 0
    total: float = 0.0
    under_way: float = 0.0
    replies: int = 0
    reply_tokens: int = 0

    def spent(self, now: float) -> float:
        """What was spent on the day of `now` (seconds since 1970 UTC)."""
        return self.total if int(now // DAY_S) == self.day else 0.0

    def spend(self, cost_usd: float, *, at: float) -> None:
        """Count what was spent at a time; what was spent on a day before the last counts no more."""
        day = int(at // DAY_S)
        if day > self.day:
            self.day, self.total = day, 0.0
        if day == self.day:
            self.total += cost_usd

    def take(self, request: Request, now: float) -> float:
        """Set aside what a request is expected to cost; BudgetError where the day's budget does not hold that."""
        price = price_of(request.model, self.prices)
        if price is None:
            return 0.0
        most = request.params.get("max_tokens", request.params.get("max_completion_tokens", _UNKNOWN_REPLY))
        unseen = most if isinstance(most, int) else _UNKNOWN_REPLY
        reply = self.reply_tokens / self.replies if self.replies else unseen
        expected = (price.input * _tokens(request) + price.output * reply) / 1e6
        if self.limit_usd is not None and self.spent(now) + self.under_way + expected > self.limit_usd:
            raise BudgetError(
                f"the online judge may spend ${self.limit_usd:g} a day and has spent ${self.spent(now):.4f} of it; it goes "
                "on at midnight UTC"
            )
        self.under_way += expected
        return expected

    def drop(self, expected: float) -> None:
        """What was set aside is spent, or came to nothing."""
        self.under_way = max(0.0, self.under_way - expected)


class Rate:
    """At most so many a minute (None: no limit): what is not used is not saved up beyond a minute's worth, or one.

    >>> rate = Rate(6, now=0.0)
    >>> rate.allows(10, now=0.0)
    6
    >>> rate.take(6)
    >>> rate.allows(10, now=0.0), rate.allows(10, now=20.0), rate.allows(10, now=3600.0)
    (0, 2, 6)
    """

    def __init__(self, per_minute: float | None, now: float) -> None:
        self._per_minute, self._filled = per_minute, now
        self._most = max(1.0, per_minute or 1.0)
        self._left = self._most

    def allows(self, most: int, now: float) -> int:
        """How many may go now (seconds since 1970 UTC), at most `most`."""
        if self._per_minute is None:
            return most
        self._left = min(self._most, self._left + max(0.0, now - self._filled) * self._per_minute / 60.0)
        self._filled = now
        # A third of a minute and two more are a whole one, whatever the last digit says.
        return min(most, int(self._left + 1e-9))

    def take(self, count: int) -> None:
        """So many went."""
        self._left = max(0.0, self._left - count)


def _tokens(request: Request) -> float:
    length = sum(len(str(message.get("content", ""))) for message in request.messages)
    return length / _CHARACTERS_A_TOKEN


def day_purse(experiment: Experiment, models: tuple[str, ...]) -> DayPurse:
    """The purse of a definition's online judge. UsageError where a budget is set and a model's price is not known."""
    prices = {**LIST_PRICES, **experiment.prices}
    judge = experiment.online_judge
    limit = None if judge is None else judge.budget_usd_per_day
    lacking = [model for model in dict.fromkeys(models) if price_of(model, prices) is None]
    if limit is not None and lacking:
        raise UsageError(
            f"`online_judge.budget_usd_per_day` needs the price of every model asked, and none is known for "
            f"{', '.join(lacking)}; add to the definition `prices: {{{lacking[0]}: {{input: …, output: …}}}}`, "
            "in US dollars per million tokens"
        )
    return DayPurse(prices, limit)


class Metered:
    """A Provider in front of another: each reply with its cost, within the day's budget.

    Keeps what replied to each question of a turn (`about`): a model may change behind its name.
    """

    def __init__(self, provider: Provider, purse: DayPurse, clock: Clock) -> None:
        self._provider, self._purse = provider, purse
        self._clock = clock
        self.origin = str(getattr(provider, "origin", type(provider).__name__))
        self.replied: dict[tuple[str, str], set[tuple[str, str | None]]] = {}

    async def complete(self, request: Request) -> Reply:
        """The reply of the endpoint; BudgetError where the day's budget is spent."""
        expected = self._purse.take(request, self._clock.now())
        try:
            reply = await self._provider.complete(request)
        finally:
            self._purse.drop(expected)
        usage = reply.usage
        # An endpoint that counts no tokens costs all the same: they are taken from the length of what was said.
        asked = usage.input_tokens if usage is not None else round(_tokens(request))
        written = usage.output_tokens if usage is not None else round(len(reply.text) / _CHARACTERS_A_TOKEN)
        cost = cost_of((request.model,), self._purse.prices, asked, written, None)
        if usage is not None:
            self._purse.replies += 1
            self._purse.reply_tokens += usage.output_tokens
        self._purse.spend(cost or 0.0, at=self._clock.now())
        about = (request.about.get("case", ""), request.about.get("ask", ""))
        self.replied.setdefault(about, set()).add((reply.model, reply.fingerprint))
        return replace(reply, cost_usd=cost)

    async def aclose(self) -> None:
        """Let go of the endpoint's connections."""
        await self._provider.aclose()
