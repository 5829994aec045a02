"""A bandit's metrics from its epochs: each arm's mean, and differences that stay honest although shares followed rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from equipoise.analysis.declared import in_words
from equipoise.analysis.effects import held_by
from equipoise.analysis.findings import Adjustment, Effect, Held
from equipoise.experiment.amount import Amount
from equipoise.experiment.definition import CriticalSegment, Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.verdict_rule import asks
from equipoise.measurement.tally import EpochTallies, Measurement, Tally
from equipoise.stats.adaptive.batches import Batch, PairBatch, naive_mean
from equipoise.stats.adaptive.estimates import arm_mean, difference, difference_of_ratios, shared_units
from equipoise.stats.comparison.ratios import linear_variance
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, PairMoments

__all__ = ["FEWEST", "Epochs"]

FEWEST = 30
"""Units with a value that an arm has before it is compared with another."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epochs that were announced, oldest first, and the tallies of all of them together.

    There may be thousands of epochs, so what is made of all of them is made once.
    """

    experiment: Experiment
    rows: tuple[EpochTallies, ...]
    whole: Mapping[str, Mapping[str, Tally]]
    critical: tuple[Mapping[str, Tally], ...] = ()
    _batches: dict[str, list[Batch]] = field(default_factory=dict, compare=False, repr=False)
    _pairs: dict[str, list[PairBatch]] = field(default_factory=dict, compare=False, repr=False)
    _means: dict[tuple[str, str], Estimate | NotEstimable] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(cls, experiment: Experiment, measured: Measurement) -> Epochs:
        """Those of a measurement. An epoch that nobody announced has no shares, which health makes much of."""
        rows = tuple(each for each in measured.epochs if each.shares is not None)
        return cls(experiment, rows, measured.tallies, measured.critical_segments)

    @property
    def playing(self) -> frozenset[str]:
        """The arms that have a share in the last epoch."""
        return frozenset(each.name for each in self.experiment.variants if self.share(each.name) > 0.0)

    def share(self, arm: str) -> float:
        """The arm's share in the last epoch; 0 where there is none."""
        return (self.rows[-1].shares or {}).get(arm, 0.0) if self.rows else 0.0

    def within(self, number: int) -> Epochs:
        """The same within a critical segment, by its place in the definition."""
        metric = self.experiment.critical_segments[number].metric
        rows = tuple(
            replace(each, tallies={metric: each.critical[number] if each.critical else {}})
            for each in self.rows
        )
        return Epochs(self.experiment, rows, {metric: self.critical[number]})

    def batches(self, metric: Metric) -> list[Batch]:
        """The moments of a metric that is a mean of units' values."""
        if metric.name not in self._batches:
            self._batches[metric.name] = [
                Batch(
                    each.shares or {},
                    {
                        arm: tally.moments
                        for arm, tally in each.tallies.get(metric.name, {}).items()
                        if tally.moments is not None and tally.units
                    },
                )
                for each in self.rows
            ]
        return self._batches[metric.name]

    def pairs(self, metric: Metric) -> list[PairBatch]:
        """The moments of a ratio."""
        if metric.name not in self._pairs:
            self._pairs[metric.name] = [
                PairBatch(
                    each.shares or {},
                    {
                        arm: tally.pairs
                        for arm, tally in each.tallies.get(metric.name, {}).items()
                        if tally.pairs is not None and tally.units
                    },
                )
                for each in self.rows
            ]
        return self._pairs[metric.name]

    def clock(self, metric: Metric, arm: str | None = None, other: str | None = None) -> int:
        """Units with a value, of all arms, in the epochs in which both arms had a share; without arms, in all."""
        if arm is None or other is None:
            return sum(
                tally.units for each in self.rows for tally in each.tallies.get(metric.name, {}).values()
            )
        batches = self.pairs(metric) if metric.kind == "ratio" else self.batches(metric)
        return shared_units(batches, arm, other)

    def naive(self, metric: Metric, arm: str) -> float | NotEstimable:
        """The plain mean, which is biased."""
        return naive_mean(self.batches(metric), arm)

    def mean(self, metric: Metric, arm: str) -> Estimate | NotEstimable:
        """An arm's mean with an interval for one reading."""
        if (metric.name, arm) not in self._means:
            self._means[metric.name, arm] = self._refused(metric) or arm_mean(
                self.batches(metric),
                arm,
                rate=metric.kind == "proportion",
                inflation=self._inflation(metric, arm),
            )
        return self._means[metric.name, arm]

    def difference(
        self, metric: Metric, arm: str, other: str, *, level: float, null: float = 0.0
    ) -> Estimate | NotEstimable:
        """The value of `arm` less that of `other`, in the metric's unit."""
        refused = self._refused(metric) or self._few(metric, arm) or self._few(metric, other)
        if refused:
            return refused
        inflation = self._inflation(metric, arm), self._inflation(metric, other)
        if metric.kind == "ratio":
            return difference_of_ratios(
                self.pairs(metric), arm, other, inflation=inflation, level=level, null=null
            )
        return difference(
            self.batches(metric),
            arm,
            other,
            rate=metric.kind == "proportion",
            inflation=inflation,
            level=level,
            null=null,
        )

    def effect(
        self, metric: Metric, variant: str, *, level: float, segment: CriticalSegment | None = None
    ) -> Effect:
        """The effect of one treatment; of a guardrail or critical segment, also whether its margin is held."""
        control, treatment = (self._tally(metric, arm) for arm in ("control", variant))
        values = [self._value(metric, arm) for arm in ("control", variant)]
        guard = segment is not None or metric.priority == "guardrail"
        primary = metric.priority == "primary" and segment is None
        declared = metric.margin if segment is None else segment.margin
        rule = self.experiment.verdict
        margin = _amount(declared, values[0]) if guard or (primary and asks(rule, "non_inferior")) else None
        held: Held | None = None
        because = None
        if guard and margin is None:
            held = "not shown"
            because = f"{metric.name} has a relative margin, and control has no value to take it of"
        elif guard and margin is not None:
            null = -metric.sign * margin
            against = self.difference(metric, variant, "control", level=level, null=null)
            limit = metric.limit if segment is None else None
            held, because = held_by(metric, against, values[1], level, margin, limit)
        estimate = self.difference(metric, variant, "control", level=level)
        return Effect(
            metric=metric.name,
            variant=variant,
            priority=metric.priority,
            kind=metric.kind,
            better=metric.better,
            control=values[0],
            treatment=values[1],
            units={"control": control.units, variant: treatment.units},
            missing={"control": control.missing, variant: treatment.missing},
            estimate=estimate,
            relative=NotEstimable("of a bandit a relative change is not estimated"),
            segment=None if segment is None else f"{segment.attribute}={segment.value}",
            margin=margin,
            held=held,
            because=because,
            adjustment=Adjustment(
                covariates=metric.covariates,
                plain=estimate,
                because="units of a bandit are weighted by their probabilities, which leaves no room for covariates",
            )
            if metric.covariates
            else None,
            immature={"control": control.immature, variant: treatment.immature} if metric.window else {},
            in_words=in_words(metric),
            mde=_amount(metric.mde, values[0]) if primary and asks(rule, "futile") else None,
        )

    def too_few(self, metric: Metric) -> str | None:
        """Why it is too early to compare the arms that are in; None where it is not."""
        found = (
            self._few(metric, each.name) for each in self.experiment.variants if each.name in self.playing
        )
        return next((few.reason for few in found if few is not None), None)

    def _few(self, metric: Metric, arm: str) -> NotEstimable | None:
        """An interval that holds at every look leans on the normal, and begins where that begins to carry."""
        units = self._tally(metric, arm).units
        if units >= FEWEST:
            return None
        return NotEstimable(
            f"{arm} has {units} unit{'' if units == 1 else 's'} with a value, and no two arms are compared before each has "
            f"{FEWEST}"
        )

    def _inflation(self, metric: Metric, arm: str) -> float:
        """By how much units that belong together vary more than alone: of all of an arm's, whenever they came in."""
        clusters = self._tally(metric, arm).pairs
        if not self.experiment.cluster or clusters is None or clusters.n < 2 or not clusters.mean_y:
            return 1.0
        if metric.kind == "ratio":
            units = sum(
                (each.moments.get(arm, PairMoments.zero()) for each in self.pairs(metric)), PairMoments.zero()
            )
            alone = linear_variance(units) if units.n > 1 and units.mean_y else 0.0
        else:
            moments = self._tally(metric, arm).moments or Moments.zero()
            alone = (moments.variance or 0.0) / max(moments.n, 1)
        return max(1.0, linear_variance(clusters) / alone) if alone > 0.0 else 1.0

    def _tally(self, metric: Metric, arm: str) -> Tally:
        return self.whole[metric.name].get(arm, Tally(units=0, missing=0))

    def _value(self, metric: Metric, arm: str) -> float | None:
        """The honest estimate of an arm's value, in the metric's unit."""
        if self._refused(metric):
            return None
        if metric.kind != "ratio":
            found = self.mean(metric, arm)
            return found.value if isinstance(found, Estimate) else None
        top, bottom = (arm_mean([each.column(i) for each in self.pairs(metric)], arm) for i in (0, 1))
        if isinstance(bottom, NotEstimable):
            # A denominator that is the same for all has no spread, and is its mean.
            plain = naive_mean([each.column(1) for each in self.pairs(metric)], arm)
            below = plain if isinstance(plain, float) else 0.0
        else:
            below = bottom.value
        return top.value / below if isinstance(top, Estimate) and below else None

    def _refused(self, metric: Metric) -> NotEstimable | None:
        """Why there is no honest estimate of a metric, whatever the data."""
        if not self.rows:
            return NotEstimable(
                "no epoch was announced, so that nobody knows under which shares units came in"
            )
        if metric.kind in ("quantile", "time_to_event"):
            return NotEstimable(
                f"{'a quantile' if metric.kind == 'quantile' else 'a time to an event'} has no moments that add up over "
                "epochs; a bandit's effects are those of proportions, means, counts and ratios"
            )
        if self.experiment.labels_planned(metric) is not None:
            return NotEstimable("people's labels correct a judge in an A/B test, and not in a bandit")
        return None


def _amount(amount: Amount | None, control: float | None) -> float | None:
    if amount is None or amount.scale == "absolute":
        return None if amount is None else amount.value
    return None if control is None else amount.of(control)
