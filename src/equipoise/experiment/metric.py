"""What is measured, in which direction it is good, and what part it plays in the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from equipoise.experiment.amount import Amount

__all__ = [
    "CHECKED",
    "KINDS",
    "OF_TURNS",
    "PER_TURN",
    "RETURNED",
    "STREAMS",
    "TURN_COUNT",
    "Metric",
    "Quantity",
]

Priority = Literal["primary", "secondary", "guardrail", "exploratory"]
Tier = Literal["human", "judge", "code"]
Kind = Literal["proportion", "mean", "ratio", "count", "quantile", "time_to_event"]
Better = Literal["higher", "lower"]
PerUnit = Literal["any", "all", "first", "last", "mean", "sum", "max", "min", "slope"]
Stream = Literal["outcome", "turn", "score", "conversation"]

PRIORITIES: tuple[Priority, ...] = get_args(Priority)
KINDS: tuple[Kind, ...] = get_args(Kind)
STREAMS: tuple[Stream, ...] = get_args(Stream)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Where a metric's numbers come from: a stream of facts and a name in it."""

    stream: Stream
    name: str

    def __str__(self) -> str:
        return f"{self.stream}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Read `outcome.resolved`; ValueError where the stream is unknown or the name is missing.

        >>> Quantity.parse("turn.latency_s")
        Quantity(stream='turn', name='latency_s')
        """
        stream, dot, name = text.partition(".")
        for known in STREAMS:
            if stream == known and dot and name.isascii() and name.replace("_", "a").isalnum():
                return cls(known, name)
        raise ValueError(text)


TURN_COUNT = Quantity("turn", "count")
"""1 for every turn: their sum is how many a unit had."""
CHECKED = ("pii", "toxicity")
"""Inline checks whose finding is a number of the turn: 1 where it failed, 0 where it passed."""
OF_TURNS = (
    *("answered", "blocked", "cached_tokens", "cancelled", "cost_usd", "count", "empty"),
    *("epoch", "error", "fallback", "happened", "input_tokens", "itl_max_s", "itl_p50_s"),
    *("itl_p95_s", "itl_s", "json_valid", "kilotokens", "latency_s", "output_tokens", "overhead_s"),
    *("redirected", "retries", "retrieved_documents", "retrieved_tokens", "safe", "sampled", "status"),
    *("stream", "tokens", "tool_calls", "tpot_s", "ttft_s", "warm"),
    *CHECKED,
)
"""What the log can tell of a turn as a number."""
PER_TURN = (TURN_COUNT, Quantity("turn", "answered"))
"""What a ratio per turn divides by: turns, or those that were answered."""
RETURNED = Quantity("conversation", "returned")
"""Whether another conversation of the same user began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of an experiment.

    `baseline`, `spread` (standard deviation between units), `limit` and an absolute `mde` or
    `margin` are in the metric's own unit: a rate in [0, 1], seconds, dollars. `margin` is how much
    worse a guardrail may get, always positive; `mde` how much better the primary should get.
    `per_unit` says how several values of one unit become one. Only values less than `window` seconds after
    the unit's first exposure count, and only units seen for that long; a time to an event is the mean number of
    seconds from the first exposure until `of` is first true, `window` at most. Units' values above the quantile
    `winsorise` of all units together count as that quantile. With `above` a proportion is the share of units whose
    value, made of theirs as `per_unit` says, is above that number. A unit of which nothing was said counts as `absent`;
    where that is None, it is missing. `covariates` are numbers known of a unit before treatment, by which the effect is
    adjusted (CUPED). `labels` is in how many turns of each arm people must have labelled what a judge scored before its
    effect, corrected by them, decides.
    """

    name: str
    priority: Priority
    tier: Tier
    kind: Kind
    of: Quantity
    better: Better
    per: Quantity | None = None
    per_unit: PerUnit
    q: float | None = None
    baseline: float | None = None
    spread: float | None = None
    mde: Amount | None = None
    margin: Amount | None = None
    limit: float | None = None
    window: float | None = None
    winsorise: float | None = None
    covariates: tuple[str, ...] = ()
    labels: int | None = None
    above: float | None = None
    absent: float | None = None

    @property
    def sign(self) -> int:
        """+1 where higher is better, −1 where lower is: value × sign is then better when larger."""
        return 1 if self.better == "higher" else -1

    @property
    def correctable(self) -> bool:
        """Whether people's labels can correct it: a share or a mean of a judge's scores, and nothing made of them."""
        return (
            self.tier == "judge"
            and self.of.stream == "score"
            and self.kind in ("proportion", "mean")
            and not self.covariates
            and self.winsorise is None
        )

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """Everything that must be recorded for this metric."""
        return (self.of,) if self.per is None else (self.of, self.per)
