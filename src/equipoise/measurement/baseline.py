"""The baseline of an experiment: what stable windows are like, and what its watches would do to them.

A forecast draws every window anew: as many readings as a past window had in each arm, each from all of the stable arm's.
Limits that are numbers meet windows that may vary more than their readings do, and resemble their neighbours, as much as
past ones did; beside control all that moves both arms at once is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equipoise.design.false_alarms import bound_of, limit_for, watched_arms, words
from equipoise.errors import UsageError, nearest
from equipoise.experiment.amount import Bound
from equipoise.experiment.definition import Experiment, Watch
from equipoise.experiment.metric import Metric
from equipoise.measurement.buckets import RELATIVE_ERROR
from equipoise.measurement.forecast import Caught, Forecast, told
from equipoise.measurement.past import Counts, Past, Readings
from equipoise.rollout.streaks import Streak, judge, lengthen
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.streaks import Streaks
from equipoise.stats.guardrails.window_series import Series, describe
from equipoise.stats.guardrails.window_values import WindowValue

__all__ = ["Baseline", "MetricBaseline", "Proposal", "WatchBaseline", "measure_baseline"]

WINDOW_S = 300.0
"""The window of a metric that nothing watches."""


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

    `expected` is a week's alarms and actions by arm, `seen` what past windows would have made of them, in all.
    """

    watch: int
    says: str
    action: str
    persist: int
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
    false actions a week that proposals allow.
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
            "metrics": [
                told(each) if isinstance(each, NotEstimable) else each.to_dict() for each in self.metrics
            ],
            "watches": [
                told(each) if isinstance(each, NotEstimable) else each.to_dict() for each in self.watches
            ],
        }


def measure_baseline(
    experiment: Experiment,
    past: Past,
    *,
    arm: str | None = None,
    turns_per_day: float | None = None,
    quantile: float = 0.99,
    most: float = 0.1,
) -> Baseline:
    """What past minutes, with every quantity in buckets, say of each metric and each watch of a definition.

    `arm` is the stable one (control, unless said otherwise), `turns_per_day` another amount of traffic than was seen,
    `quantile` (in (0.5, 1)) that of the windows' own limit. UsageError for an arm that is not declared, and for numbers
    that cannot be meant.
    """
    names = [variant.name for variant in experiment.variants]
    stable = names[0] if arm is None else arm
    if stable not in names:
        offer = nearest(stable, names)
        raise UsageError(
            f"{experiment.name} has no variant '{stable}'; it has {', '.join(names)}"
            + (f"; {offer}" if offer else "")
        )
    for what, value in (("turns per day", turns_per_day), ("false actions a week", most)):
        if value is not None and not 0.0 < value < float("inf"):
            raise UsageError(f"{what} must be a number above 0, and this is {value:g}")
    if not 0.5 < quantile < 1.0:
        raise UsageError(f"the quantile of the windows must be between 0.5 and 1, and this is {quantile:g}")
    at_work = _Measuring(experiment, past, stable, turns_per_day, quantile, most)
    watched = [(watch.metric, watch.window, watch.at_least) for watch in experiment.watches]
    alone = [
        (metric.name, WINDOW_S, 1)
        for metric in experiment.metrics
        if all(name != metric.name for name, _, _ in watched)
    ]
    return Baseline(
        experiment=experiment.identity,
        arm=stable,
        since=past.since,
        until=past.until,
        turns=past.turns,
        turns_per_day=past.turns / past.days if turns_per_day is None else turns_per_day,
        divided=at_work.divided,
        quantile=quantile,
        most=most,
        metrics=tuple(at_work.metric(*each) for each in dict.fromkeys([*watched, *alone])),
        watches=tuple(at_work.watch(number) for number in range(len(experiment.watches))),
    )


class _Measuring:
    """One baseline under way."""

    def __init__(
        self, experiment: Experiment, past: Past, arm: str, turns: float | None, quantile: float, most: float
    ) -> None:
        self._experiment, self._past, self._arm = experiment, past, arm
        self._quantile, self._most = quantile, most
        self._scale = 1.0 if turns is None or past.turns == 0 else turns * past.days / past.turns
        seen = {key.arm for key in past.cells}
        self.divided = any(variant.name not in seen for variant in experiment.variants)

    def metric(self, name: str, window: float, at_least: int) -> MetricBaseline | NotEstimable:
        metric, past = self._experiment.metric(name), self._past
        readings = past.readings(metric, self._arm)
        if isinstance(readings, NotEstimable):
            return NotEstimable(f"{name}: {readings.reason}")
        windows = past.windows(metric, self._arm, window, at_least=at_least)
        values = [None if isinstance(each.value, NotEstimable) else each.value for each in windows]
        series = describe(values, self._quantile if metric.better == "lower" else 1.0 - self._quantile)
        if isinstance(series, NotEstimable):
            return NotEstimable(f"{name}: {series.reason}; it has {len(windows):,} windows of {window:g} s")
        spread = readings.dispersion(past, self._arm, window)
        return MetricBaseline(
            metric=name,
            window=window,
            n=readings.of.n,
            unknown=values.count(None),
            value=readings.value,
            series=series,
            dispersion=spread if isinstance(spread, NotEstimable) else spread.ratio,
            wider=not isinstance(spread, NotEstimable) and spread.excess > 0.0,
        )

    def watch(self, number: int) -> WatchBaseline | NotEstimable:
        watch = self._experiment.watches[number]
        found = self.metric(watch.metric, watch.window, watch.at_least)
        if isinstance(found, NotEstimable):
            return found
        metric, bound = self._experiment.metric(watch.metric), bound_of(watch)
        if bound.reference == "baseline" and metric.baseline is None:
            return NotEstimable(f"{watch.metric}: the limit is {bound}, and the metric has no `baseline`")
        forecast = Forecast(
            watch=watch,
            metric=metric,
            arms=watched_arms(self._experiment, bound),
            window=self._stable(metric, watch, bound),
            counts=self._counts(metric, watch),
            alike=0.0 if bound.reference == "control" else found.series.alike,
        )
        expected = {arm: forecast.streaks(bound, arm) for arm in forecast.arms}
        return WatchBaseline(
            watch=number,
            says=words(watch),
            action=watch.then,
            persist=watch.persist,
            expected=expected,
            seen=self._seen(watch, metric, forecast.arms),
            caught=forecast.caught(bound),
            proposal=self._proposal(forecast, bound, found.series.median),
        )

    def _stable(
        self, metric: Metric, watch: Watch, bound: Bound
    ) -> Callable[[Counts, float], WindowValue | None]:
        readings = self._past.readings(metric, self._arm)
        assert isinstance(readings, Readings), "a metric without readings has no series"
        excess = 0.0
        if bound.reference != "control":
            spread = readings.dispersion(self._past, self._arm, watch.window)
            excess = 0.0 if isinstance(spread, NotEstimable) else spread.excess
        return readings.windows(at_least=watch.at_least, excess=excess)

    def _counts(self, metric: Metric, watch: Watch) -> dict[str, list[Counts]]:
        """How many readings each arm would have in each window at the traffic reckoned with."""
        names = [variant.name for variant in self._experiment.variants]
        counts = {name: self._past.counts(metric, name, watch.window) for name in names}
        if self.divided:
            shares = self._experiment.allocation
            together = [
                tuple(map(sum, zip(*each, strict=True))) for each in zip(*counts.values(), strict=True)
            ]
            counts = {
                name: [
                    (round(of * float(shares[name])), round(by * float(shares[name]))) for of, by in together
                ]
                for name in names
            }
        return {
            name: [(round(of * self._scale), round(by * self._scale)) for of, by in each]
            for name, each in counts.items()
        }

    def _seen(self, watch: Watch, metric: Metric, arms: Sequence[str]) -> dict[str, tuple[int, int]]:
        """The alarms and actions that the rule makes of the windows as they were."""
        control = self._past.windows(
            metric, self._experiment.control.name, watch.window, at_least=watch.at_least
        )
        found: dict[str, tuple[int, int]] = {}
        for arm in arms:
            streak, alarms, actions = Streak(), 0, 0
            windows = self._past.windows(metric, arm, watch.window, at_least=watch.at_least)
            for own, beside in zip(windows, control, strict=True):
                judged = judge(watch, own.value, control=beside.value, baseline=metric.baseline)
                streak, breach = lengthen(streak, watch, judged, own.ends)
                if breach is not None:
                    alarms, actions = alarms + (breach.streak == 1), actions + breach.sustained
            found[arm] = alarms, actions
        return found

    def _proposal(self, forecast: Forecast, bound: Bound, typical: float) -> Proposal | NotEstimable:
        watch, above = forecast.watch, forecast.above
        # Quantiles are told within a bucket: a limit that is nearer than that would be a limit on buckets.
        near = 2.0 * RELATIVE_ERROR if forecast.metric.kind == "quantile" else 0.0
        start = typical if bound.reference == "none" else 0.0
        blur = near if bound.amount.scale == "relative" else near * abs(typical)
        start += blur if above else -blur
        step = 0.01 if bound.amount.scale == "relative" else abs(typical) / 100.0 or 1e-4
        if not forecast.known:
            return NotEstimable("no window has readings enough")
        limit = limit_for(forecast.actions, bound, above=above, start=start, step=step, most=self._most)
        if isinstance(limit, NotEstimable):
            return limit
        value = limit.amount.value
        if bound.reference == "none" and forecast.metric.kind == "proportion" and not 0.0 < value < 1.0:
            return NotEstimable("no rate is a limit that rare; take longer windows, or more of them in a row")
        tuned = replace(watch, max=limit if above else None, min=None if above else limit)
        return Proposal(tuned, forecast.actions(limit), forecast.caught(limit))
