"""The screen many teams use: observed changes against fixed limits. It is a screen, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["ObservedChange", "Screen", "screen"]


@dataclass(frozen=True, slots=True)
class ObservedChange:
    """A metric's observed change, treatment minus control, in its own unit.

    `limit` is the worst change the policy accepts, with its sign: −0.0005 for a rate that may fall by
    that much, +0.3 for seconds that may be added; None for the metric that should improve.
    """

    metric: str
    change: float
    better: Literal["higher", "lower"]
    limit: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the observed change alone keeps within the limit (or, without one, is an improvement)."""
        sign = 1 if self.better == "higher" else -1
        if self.limit is None:
            return sign * self.change > 0
        return sign * (self.change - self.limit) >= 0


@dataclass(frozen=True, slots=True)
class Screen:
    """Promote or hold, on point estimates alone."""

    word: Literal["promote", "hold"]
    failing: tuple[str, ...]
    says: str


def screen(changes: Iterable[ObservedChange]) -> Screen:
    """Apply a promotion policy to observed changes, without asking how sure they are.

    Chance alone passes or fails such a screen often; the verdict proper tests the margins.

    >>> policy = [ObservedChange("resolution", +0.032, "higher"),
    ...           ObservedChange("safety", -0.001, "higher", limit=-0.0005),
    ...           ObservedChange("latency_p95", +0.410, "lower", limit=0.300),
    ...           ObservedChange("cost", +0.018, "lower", limit=0.010)]
    >>> screen(policy).word, screen(policy).failing
    ('hold', ('safety', 'latency_p95', 'cost'))
    """
    failing = tuple(change.metric for change in changes if not change.passes)
    note = (
        "This is a screen on observed changes alone: it knows no uncertainty. The verdict tests the margins."
    )
    if failing:
        return Screen("hold", failing, f"Observed changes fail the screen: {', '.join(failing)}. {note}")
    return Screen("promote", (), f"Observed changes pass the screen. {note}")
