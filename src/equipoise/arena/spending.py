"""What a run costs: tokens and dollars as they are spent, and the limit it may not pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from equipoise.arena.result import Spent
from equipoise.errors import BudgetError, UsageError
from equipoise.experiment.definition import Price
from equipoise.providers.messages import Reply, Request

__all__ = ["Purse", "tokens_of"]

_CHARACTERS_A_TOKEN = 4.0
"""Roughly, for English and most tokenisers; used only before an endpoint has counted."""
_UNKNOWN_REPLY = 300


def tokens_of(request: Request) -> int:
    """About how many tokens a request holds, before anybody has counted: its characters over four."""
    length = sum(len(str(message.get("content", ""))) for message in request.messages)
    return max(1, round(length / _CHARACTERS_A_TOKEN))


class Purse:
    """Counts what is spent, and lets nothing out beyond `limit_usd` (None: no limit) in this run.

    A request is let out only if what is spent, what is under way and what it is expected to cost stay within
    the limit. The expectation of a reply's length is the mean of those seen of that model, or its
    `max_tokens`.
    """

    def __init__(self, prices: Mapping[str, Price], *, limit_usd: float | None = None) -> None:
        self._prices = prices
        self._limit = limit_usd
        self._total = Spent()
        self._unpriced: set[str] = set()
        self._here = 0.0
        self._under_way = 0.0
        self._replies: dict[str, tuple[int, int]] = {}
        self._counted: set[str] = set()

    @property
    def spent(self) -> Spent:
        """Everything the run rests on, replies of earlier runs among them."""
        return replace(self._total, unpriced=tuple(sorted(self._unpriced)))

    @property
    def here_usd(self) -> float:
        """What this run has spent, in US dollars."""
        return self._here

    def require_prices(self, models: Mapping[str, str]) -> None:
        """Raise UsageError where a limit is set and a model has no price; `models` says what each is for."""
        lacking = [model for model in models if model not in self._prices]
        if self._limit is not None and lacking:
            first = lacking[0]
            raise UsageError(
                f"a limit on the cost needs the price of every model asked, and none is known for "
                f"{', '.join(lacking)}; add to the definition `prices: {{{first}: {{input: …, output: …}}}}`, "
                "in US dollars per million tokens"
            )

    def expected_usd(self, request: Request) -> float:
        """What a request is expected to cost; 0 where its model has no price."""
        price = self._prices.get(request.model)
        if price is None:
            return 0.0
        seen, tokens = self._replies.get(request.model, (0, 0))
        most = request.params.get("max_tokens", request.params.get("max_completion_tokens", _UNKNOWN_REPLY))
        reply = tokens / seen if seen else float(most if isinstance(most, int) else _UNKNOWN_REPLY)
        return (price.input * tokens_of(request) + price.output * reply) / 1e6

    def take(self, request: Request) -> float:
        """Set aside what a request is expected to cost, or raise BudgetError; give back by `pay` or `drop`."""
        expected = self.expected_usd(request)
        if self._limit is not None and self._here + self._under_way + expected > self._limit:
            raise BudgetError(
                f"stopped before the limit of ${self._limit:g}: this run has spent ${self._here:.4f}. Everything paid "
                "for is in the journal: run again to go on from there, with a higher --max-cost or without"
            )
        self._under_way += expected
        return expected

    def drop(self, expected: float) -> None:
        """A request came to nothing."""
        self._under_way = max(0.0, self._under_way - expected)

    def pay(self, expected: float, key: str, request: Request, reply: Reply) -> Reply:
        """A request was answered in this run; the reply with its cost."""
        self.drop(expected)
        priced = self.count(key, request, reply)
        self._here += priced.cost_usd or 0.0
        return priced

    def count(self, key: str, request: Request, reply: Reply) -> Reply:
        """Count a reply, of this run or an earlier one, once however often it is used; the reply with its cost."""
        cost = self._cost(request, reply)
        if key in self._counted:
            return replace(reply, cost_usd=cost)
        self._counted.add(key)
        usage = reply.usage
        if usage is not None:
            seen, tokens = self._replies.get(request.model, (0, 0))
            self._replies[request.model] = seen + 1, tokens + usage.output_tokens
        if cost is None:
            self._unpriced.add(request.model)
        total = self._total
        self._total = Spent(
            requests=total.requests + 1,
            input_tokens=total.input_tokens + (usage.input_tokens if usage else 0),
            output_tokens=total.output_tokens + (usage.output_tokens if usage else 0),
            cost_usd=total.cost_usd if cost is None else (total.cost_usd or 0.0) + cost,
        )
        return replace(reply, cost_usd=cost)

    def _cost(self, request: Request, reply: Reply) -> float | None:
        price = self._prices.get(request.model)
        if reply.usage is None or price is None:
            return None
        return (price.input * reply.usage.input_tokens + price.output * reply.usage.output_tokens) / 1e6
