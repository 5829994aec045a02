"""The baseline of an experiment: what stable windows are like, and what its watches would do to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.design.false_alarms import words
from equipoise.experiment.definition import Watch
from equipoise.measurement.guardrails.forecast import Caught, told
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.streaks import Streaks
from equipoise.stats.guardrails.window_series import Series

__all__ = ["Baseline", "MetricBaseline", "Proposal", "WatchBaseline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricBaseline:
    """A metric in the windows of the stable arm: `value` over all readings at once, `series` of the windows.

    `dispersion` is how many times the variance of windows is that of their readings alone, and `wider` whether that is
    more than chance would make of it in one of a hundred such periods.
    """

    metric: str
    window: float
    n: int
    unknown: int
    value: float
    series: Series
    dispersion: float | NotEstimable
    wider: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        seen = self.series
        return {
            "metric": self.metric,
            "window_s": self.window,
            "windows": seen.windows,
            "unknown_windows": self.unknown,
            "readings": self.n,
            "value": self.value,
            "mean": seen.mean,
            "median": seen.median,
            "spread": told(seen.spread),
            "robust_spread": told(seen.robust_spread),
            "limit": told(seen.limit),
            "autocorrelation": told(seen.autocorrelation),
            "effective_windows": told(seen.effective),
            "dispersion": told(self.dispersion),
            "wider_than_readings": self.wider,
        }


@dataclass(frozen=True, slots=True)
class Proposal:
    """The tightest limit with no more false actions than were asked for, and what a watch with it would do."""

    watch: Watch
    actions: float
    caught: tuple[Caught, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "watch": words(self.watch),
            "actions_per_week": self.actions,
            "caught": [each.to_dict() for each in self.caught],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBaseline:
    """A watch of the definition (`watch` is its number, from 0) where nothing is wrong.

    `breached` is the share of windows, `expected` a week's alarms and actions by arm, `seen` what the rule makes of the
    past windows, in all.
    """

    watch: int
    says: str
    action: str
    persist: int
    breached: float
    expected: Mapping[str, Streaks]
    seen: Mapping[str, tuple[int, int]]
    caught: tuple[Caught, ...]
    proposal: Proposal | NotEstimable

    @property
    def alarms(self) -> float:
        """False alarms a week, all arms together."""
        return sum(each.alarms for each in self.expected.values())

    @property
    def actions(self) -> float:
        """False actions a week, all arms together."""
        return sum(each.actions for each in self.expected.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "watch": self.watch,
            "says": self.says,
            "action": self.action,
            "breached": self.breached,
            "alarms_per_week": self.alarms,
            "actions_per_week": self.actions,
            "by_arm": {
                arm: {"alarms_per_week": each.alarms, "actions_per_week": each.actions}
                for arm, each in self.expected.items()
            },
            "past": {
                arm: {"alarms": alarms, "actions": actions} for arm, (alarms, actions) in self.seen.items()
            },
            "acts_in_window": self.persist,
            "caught": [each.to_dict() for each in self.caught],
            "proposal": told(self.proposal)
            if isinstance(self.proposal, NotEstimable)
            else self.proposal.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a period without trouble says of every metric and watch of a definition; times in seconds since 1970 UTC.

    `arm` is the one whose readings count as stable, `turns_per_day` the traffic reckoned with, `divided` whether it was
    shared out by the definition's allocation as an arm had none. `quantile` is that of the windows' limits, `most` the
    false actions a week that proposals allow, `seed` that of what was drawn.
    """

    experiment: str
    arm: str
    since: int
    until: int
    turns: int
    turns_per_day: float
    divided: bool
    quantile: float
    most: float
    seed: int
    metrics: tuple[MetricBaseline | NotEstimable, ...]
    watches: tuple[WatchBaseline | NotEstimable, ...]

    @property
    def weeks(self) -> float:
        """How many weeks the period is."""
        return (self.until - self.since) / 604_800.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "since": self.since,
            "until": self.until,
            "turns": self.turns,
            "turns_per_day": self.turns_per_day,
            "divided_by_allocation": self.divided,
            "quantile": self.quantile,
            "most_actions_per_week": self.most,
            "seed": self.seed,
            "metrics": [
                told(each) if isinstance(each, NotEstimable) else each.to_dict() for each in self.metrics
            ],
            "watches": [
                told(each) if isinstance(each, NotEstimable) else each.to_dict() for each in self.watches
            ],
        }
