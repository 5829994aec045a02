"""From past minutes to a baseline: windows as they were, and watches over windows that are drawn anew.

A forecast draws every window anew: as many readings as a past window had in each arm, each from all of the stable arm's.
Limits that are numbers meet windows that may vary more than their readings do, and resemble their neighbours, as much as
past ones did. Beside control all that moves both arms at once is gone, and the same is asked of the arms' differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from equipoise.design.false_alarms import bound_of, limit_for, words
from equipoise.errors import UsageError, nearest
from equipoise.experiment.amount import Bound
from equipoise.experiment.definition import Experiment, Watch
from equipoise.experiment.metric import Metric
from equipoise.measurement.guardrails.baseline import Baseline, MetricBaseline, Proposal, WatchBaseline
from equipoise.measurement.guardrails.buckets import RELATIVE_ERROR
from equipoise.measurement.guardrails.forecast import Forecast
from equipoise.measurement.guardrails.past import Counts, Past, Readings
from equipoise.rollout.streaks import Streak, judge, lengthen
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.window_series import Dispersion, describe, dispersion

__all__ = ["measure_baseline"]

WINDOW_S = 300.0
"""The window of a metric that nothing watches."""
_FEW = 200


def measure_baseline(
    experiment: Experiment,
    past: Past,
    *,
    arm: str | None = None,
    turns_per_day: float | None = None,
    quantile: float = 0.99,
    most: float = 0.1,
    seed: int = 0,
) -> Baseline:
    """What past minutes, with every quantity in buckets, say of each metric and each watch of a definition.

    `arm` is the stable one (control, unless said otherwise), `turns_per_day` another amount of traffic than was seen,
    `quantile` (in (0.5, 1)) that of the windows' own limit, `seed` that of what is drawn, which is what follows a breached
    window where windows overlap. UsageError for an arm that is not declared, and for numbers
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
    at_work = _Measuring(experiment, past, stable, turns_per_day, quantile, most, seed)
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
        seed=seed,
        metrics=tuple(at_work.metric(*each) for each in dict.fromkeys([*watched, *alone])),
        watches=tuple(at_work.watch(number) for number in range(len(experiment.watches))),
    )


class _Measuring:
    """One baseline under way."""

    def __init__(
        self,
        experiment: Experiment,
        past: Past,
        arm: str,
        turns: float | None,
        quantile: float,
        most: float,
        seed: int,
    ) -> None:
        self._experiment, self._past, self._arm = experiment, past, arm
        self._quantile, self._most, self._seed = quantile, most, seed
        self._scale = 1.0 if turns is None or past.turns == 0 else turns * past.days / past.turns
        self._known: dict[tuple[str, str], Readings] = {}
        self._seen_levels: dict[tuple[str, str, float], list[tuple[float, float] | None]] = {}
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
        spread = self._dispersion(metric, window)
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
        arms = self._experiment.watched_arms(bound)
        excess, alike = (
            self._beside(metric, watch, arms)
            if bound.reference == "control"
            else (self._dispersion(metric, watch.window), found.series.alike)
        )
        readings = self._readings(metric, self._arm)
        counts = self._counts(metric, watch)
        exact = len(set(zip(*counts.values(), strict=True))) <= _FEW
        forecast = Forecast(
            watch=watch,
            metric=metric,
            arms=arms,
            own=readings.windows(at_least=watch.at_least, excess=_excess(excess), exact=exact),
            control=readings.windows(at_least=watch.at_least, exact=exact),
            counts=counts,
            alike=alike,
            seed=self._seed,
        )
        expected = {arm: forecast.streaks(bound, arm) for arm in forecast.arms}
        return WatchBaseline(
            watch=number,
            says=words(watch),
            action=watch.then,
            persist=watch.persist,
            breached=forecast.breached(bound),
            expected=expected,
            seen=self._seen(watch, metric, forecast.arms),
            caught=forecast.caught(bound),
            proposal=self._proposal(forecast, bound, found),
        )

    def _readings(self, metric: Metric, arm: str) -> Readings:
        """Those of an arm, or of the stable one where it has none."""
        if (metric.name, arm) not in self._known:
            found = self._past.readings(metric, arm)
            self._known[metric.name, arm] = (
                self._readings(metric, self._arm) if isinstance(found, NotEstimable) else found
            )
        return self._known[metric.name, arm]

    def _levels(self, metric: Metric, arm: str, length: float) -> list[tuple[float, float] | None]:
        if (metric.name, arm, length) not in self._seen_levels:
            found = self._readings(metric, arm).levels(self._past, arm, length)
            self._seen_levels[metric.name, arm, length] = found
        return self._seen_levels[metric.name, arm, length]

    def _dispersion(self, metric: Metric, length: float) -> Dispersion | NotEstimable:
        """Whether the stable arm's windows vary more than their readings do."""
        readings = self._readings(metric, self._arm)
        told = [each for each in self._levels(metric, self._arm, length) if each is not None]
        return dispersion([level for level, _ in told], [1.0 / each for _, each in told], readings.level, 1.0)

    def _beside(
        self, metric: Metric, watch: Watch, arms: Sequence[str]
    ) -> tuple[Dispersion | NotEstimable, float]:
        """The same of the differences to control, and how alike those are: of the arm that varies most."""
        name = self._experiment.control.name
        control = self._readings(metric, name)
        beside = self._levels(metric, name, watch.window)
        worst: tuple[Dispersion | NotEstimable, float] = NotEstimable("there are no differences"), 0.0
        for arm in arms:
            own = self._readings(metric, arm)
            differences = [
                None if one is None or other is None else (one[0] - other[0], one[1] + other[1])
                for one, other in zip(self._levels(metric, arm, watch.window), beside, strict=True)
            ]
            told = [each for each in differences if each is not None]
            found = dispersion(
                [difference for difference, _ in told],
                [1.0 / each for _, each in told],
                own.level - control.level,
                1.0,
            )
            series = describe([None if each is None else each[0] for each in differences], self._quantile)
            alike = 0.0 if isinstance(series, NotEstimable) else series.alike
            worst = max(worst, (found, alike), key=lambda each: (_excess(each[0]), each[1]))
        return worst

    def _counts(self, metric: Metric, watch: Watch) -> dict[str, list[Counts]]:
        """How many readings each arm would have in each window at the traffic reckoned with."""
        names = [variant.name for variant in self._experiment.variants]
        counts = {name: self._past.counts(metric, name, watch.window, every=watch.every) for name in names}
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
            metric, self._experiment.control.name, watch.window, at_least=watch.at_least, every=watch.every
        )
        found: dict[str, tuple[int, int]] = {}
        for arm in arms:
            streak, alarms, actions = Streak(), 0, 0
            windows = self._past.windows(
                metric, arm, watch.window, at_least=watch.at_least, every=watch.every
            )
            for own, beside in zip(windows, control, strict=True):
                judged = judge(watch, own.value, control=beside.value, baseline=metric.baseline)
                streak, breach = lengthen(streak, watch, judged, own.ends)
                if breach is not None:
                    alarms, actions = alarms + (breach.streak == 1), actions + breach.sustained
            found[arm] = alarms, actions
        return found

    def _proposal(self, forecast: Forecast, bound: Bound, found: MetricBaseline) -> Proposal | NotEstimable:
        watch, above, typical = forecast.watch, forecast.above, found.series.median
        if forecast.metric.kind == "proportion" and found.value == (0.0 if above else 1.0):
            # Any limit looks rare beside what never happened; it would act on the first reading that is otherwise.
            said = "none" if above else "all"
            return NotEstimable(
                f"{said} of the {found.n:,} readings counted, so how rare a limit is cannot be told; take a longer period"
            )
        # Quantiles are told within a bucket: a limit that is nearer than that would be a limit on buckets.
        near = 2.0 * RELATIVE_ERROR if forecast.metric.kind == "quantile" else 0.0
        start = typical if bound.reference == "none" else 0.0
        blur = near if bound.amount.scale == "relative" else near * abs(typical)
        start += blur if above else -blur
        step = 0.01 if bound.amount.scale == "relative" else abs(typical) / 100.0 or 1e-4
        if not forecast.known:
            return NotEstimable("no window has readings enough")
        limit = limit_for(forecast.noise, bound, above=above, start=start, step=step, most=self._most)
        if isinstance(limit, NotEstimable):
            return limit
        value = limit.amount.value
        if bound.reference == "none" and forecast.metric.kind == "proportion" and not 0.0 < value < 1.0:
            return NotEstimable("no rate is a limit that rare; take longer windows, or more of them in a row")
        tuned = replace(watch, max=limit if above else None, min=None if above else limit)
        return Proposal(tuned, forecast.actions(limit), forecast.caught(limit))


def _excess(found: Dispersion | NotEstimable) -> float:
    return 0.0 if isinstance(found, NotEstimable) else found.excess
