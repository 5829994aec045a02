"""From tallies to effects: one metric in one treatment against control."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.analysis.declared import in_words, p_said
from equipoise.analysis.findings import Adjustment, Effect, Held
from equipoise.analysis.judged import (
    by_labels,
    corrected,
    corrected_relative,
    corrected_value,
    decided_by_labels,
)
from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import FEW_CLUSTERS
from equipoise.measurement.tally import ClusterTotals, Tally
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.quantiles import difference_of_quantiles
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_means, relative_difference_of_ratios
from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    relative_difference_of_restricted_means,
)
from equipoise.stats.comparison.shared_clusters import outcomes
from equipoise.stats.covariates.cuped import (
    Adjusted,
    cuped_means,
    cuped_proportions,
    cuped_ratios,
)
from equipoise.stats.covariates.cuped_relative import cuped_means_relative, cuped_ratios_relative
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.interleaving.preference import credit_difference

__all__ = ["difference", "effect_of", "held_by", "value_of"]


def value_of(tally: Tally) -> float | None:
    """An arm's value of a metric, in its own unit; None where it has none."""
    if (judged := decided_by_labels(tally)) is not None:
        return corrected_value(judged)
    if tally.quantile is not None:
        return None if isinstance(tally.quantile, NotEstimable) else tally.quantile.value
    if tally.restricted is not None:
        return None if isinstance(tally.restricted, NotEstimable) else tally.restricted.value
    if tally.moments is not None:
        return tally.moments.mean if tally.moments.n else None
    if tally.pairs is not None and tally.pairs.n and tally.pairs.mean_y:
        return tally.pairs.mean_x / tally.pairs.mean_y
    return None


def difference(
    metric: Metric, control: Tally, treatment: Tally, *, level: float, null: float = 0.0
) -> Estimate | NotEstimable:
    """Treatment minus control in the metric's unit, by the method that suits its kind.

    Adjusted by the metric's covariates where that can be done. Where there are clusters (pairs beside moments)
    the clusters carry the variance, less what those in both arms have in common; where they are few, with the correction
    for few clusters. `control` is control, since what clusters have in common is counted beside it. A judge's metric for
    which labels were planned is corrected by them, and not estimable before they are there.
    """
    return _deciding(
        metric, control, treatment, level, null, _adjusted(metric, control, treatment, level, null)
    )


def _deciding(
    metric: Metric,
    control: Tally,
    treatment: Tally,
    level: float,
    null: float,
    adjusted: Adjusted | NotEstimable | None,
) -> Estimate | NotEstimable:
    if (c := decided_by_labels(control)) is not None and (t := decided_by_labels(treatment)) is not None:
        return corrected(metric, c, t, level=level, null=null)
    if metric.labels is not None:
        return NotEstimable(
            f"{metric.name} waits for people's labels of {metric.of}, and these data have none; a frame has them in a "
            f"column 'label.{metric.of.name}'"
        )
    if isinstance(adjusted, Adjusted):
        return adjusted.estimate
    return _plain(metric, control, treatment, level, null)


def _adjusted(
    metric: Metric, control: Tally, treatment: Tally, level: float, null: float
) -> Adjusted | NotEstimable | None:
    """The effect adjusted by covariates, why there is none, or None where none are declared."""
    if not metric.covariates:
        return None
    if treatment.totals is not None:
        return NotEstimable("clusters are too few to learn from them how far covariates go")
    if control.covariates is None or treatment.covariates is None:
        return NotEstimable("an arm has no units with a value")
    if control.pairs is not None:
        return cuped_ratios(
            control.covariates, treatment.covariates, shared=treatment.shared, level=level, null=null
        )
    method = cuped_proportions if metric.kind == "proportion" else cuped_means
    return method(control.covariates, treatment.covariates, level=level, null=null)


def _plain(
    metric: Metric, control: Tally, treatment: Tally, level: float, null: float
) -> Estimate | NotEstimable:
    if control.units == 0 or treatment.units == 0:
        empty = "control" if control.units == 0 else "the treatment"
        return NotEstimable(f"no unit of {empty} has a value")
    if treatment.contrast is not None:
        return credit_difference(treatment.contrast, level=level, null=null)
    if control.quantile is not None and treatment.quantile is not None:
        for summary in (control.quantile, treatment.quantile):
            if isinstance(summary, NotEstimable):
                return summary
        assert not isinstance(control.quantile, NotEstimable)
        assert not isinstance(treatment.quantile, NotEstimable)
        return difference_of_quantiles(
            control.quantile, treatment.quantile, overlap=treatment.overlap, level=level, null=null
        )
    if control.restricted is not None and treatment.restricted is not None:
        if isinstance(control.restricted, NotEstimable):
            return control.restricted
        if isinstance(treatment.restricted, NotEstimable):
            return treatment.restricted
        return difference_of_restricted_means(
            control.restricted, treatment.restricted, overlap=treatment.overlap, level=level, null=null
        )
    if control.totals is not None and treatment.totals is not None:
        return clustered_difference(
            control.totals.sums,
            control.totals.sizes,
            treatment.totals.sums,
            treatment.totals.sizes,
            correction="CR3" if control.totals.whole else "CR2",
            level=level,
            null=null,
        )
    if control.pairs is not None and treatment.pairs is not None:
        return difference_of_ratios(
            control.pairs, treatment.pairs, shared=outcomes(treatment.shared), level=level, null=null
        )
    if control.moments is None or treatment.moments is None:
        return NotEstimable(f"{metric.name} was not measured")
    if metric.kind == "proportion":
        return difference_of_proportions(
            round(control.moments.mean * control.moments.n),
            control.moments.n,
            round(treatment.moments.mean * treatment.moments.n),
            treatment.moments.n,
            level=level,
            null=null,
        )
    return difference_of_means(control.moments, treatment.moments, level=level, null=null)


def _relative(
    metric: Metric, control: Tally, treatment: Tally, level: float, *, adjusted: bool
) -> Estimate | NotEstimable:
    if (c := decided_by_labels(control)) is not None and (t := decided_by_labels(treatment)) is not None:
        return corrected_relative(metric, c, t, level=level)
    if (
        control.totals is not None
        and treatment.totals is not None
        and _blocks(control.totals, treatment.totals)
    ):
        return NotEstimable("of arms that share their blocks a relative change is not estimated")
    if treatment.contrast is not None:
        return NotEstimable(
            "what a ranker earns in a shared list depends on the others: there is no change relative to it"
        )
    if treatment.totals is not None:
        return NotEstimable("with so few clusters a relative change has no interval that can be trusted")
    if adjusted and control.covariates is not None and treatment.covariates is not None:
        relative = (
            cuped_means_relative(control.covariates, treatment.covariates, level=level)
            if control.pairs is None
            else cuped_ratios_relative(
                control.covariates, treatment.covariates, shared=treatment.shared, level=level
            )
        )
        return relative.estimate if isinstance(relative, Adjusted) else relative
    if isinstance(control.restricted, RestrictedMean) and isinstance(treatment.restricted, RestrictedMean):
        return relative_difference_of_restricted_means(
            control.restricted, treatment.restricted, overlap=treatment.overlap, level=level
        )
    if control.pairs is not None and treatment.pairs is not None:
        return relative_difference_of_ratios(
            control.pairs, treatment.pairs, shared=outcomes(treatment.shared), level=level
        )
    if control.moments is not None and treatment.moments is not None:
        return relative_difference_of_means(control.moments, treatment.moments, level=level)
    return NotEstimable(f"a relative change of a {metric.kind} is not estimated")


def _blocks(*arms: ClusterTotals) -> bool:
    """Whether clusters in all arms have totals although they are many, as the blocks of a switchback have."""
    return all(not arm.whole and sum(size > 0 for size in arm.sizes) >= FEW_CLUSTERS for arm in arms)


def effect_of(
    metric: Metric,
    variant: str,
    tallies: Mapping[str, Tally],
    *,
    level: float,
    guard: bool = False,
    margin: float | None = None,
    segment: str | None = None,
    limit: float | None = None,
    mde: float | None = None,
) -> Effect:
    """The effect of one treatment; as a guard, also whether the margin is held.

    A guard is a non-inferiority test at the same level: held when a change for the worse by `margin` is
    excluded, breached when a change for the worse by less than `margin` is, else not shown.
    """
    control, treatment = tallies["control"], tallies[variant]
    held: Held | None = None
    because = None
    if guard:
        held, because = _held(metric, control, treatment, level, margin, limit)
    adjusted = _adjusted(metric, control, treatment, level, 0.0)
    estimate = _deciding(metric, control, treatment, level, 0.0, adjusted)
    return Effect(
        metric=metric.name,
        variant=variant,
        priority=metric.priority,
        kind=metric.kind,
        better=metric.better,
        control=value_of(control),
        treatment=value_of(treatment),
        units={"control": control.units, variant: treatment.units},
        missing={"control": control.missing, variant: treatment.missing},
        estimate=estimate,
        relative=_relative(metric, control, treatment, level, adjusted=isinstance(adjusted, Adjusted)),
        segment=segment,
        margin=margin,
        held=held,
        because=because,
        adjustment=None if adjusted is None else _adjustment(metric, adjusted, estimate),
        immature={"control": control.immature, variant: treatment.immature} if metric.window else {},
        in_words=in_words(metric),
        by_labels=by_labels(metric, variant, control, treatment, level=level),
        mde=mde,
    )


def _adjustment(
    metric: Metric, adjusted: Adjusted | NotEstimable, estimate: Estimate | NotEstimable
) -> Adjustment:
    if isinstance(adjusted, NotEstimable):
        return Adjustment(covariates=metric.covariates, plain=estimate, because=adjusted.reason)
    return Adjustment(covariates=metric.covariates, plain=adjusted.plain, gain=adjusted.gain)


def _held(
    metric: Metric, control: Tally, treatment: Tally, level: float, margin: float | None, limit: float | None
) -> tuple[Held, str]:
    if margin is None:
        return "not shown", f"{metric.name} has a relative margin, and control has no value to take it of"
    # On the metric's own scale the worst acceptable difference is below 0 where higher is better.
    against = difference(metric, control, treatment, level=level, null=-metric.sign * margin)
    return held_by(metric, against, value_of(treatment), level, margin, limit)


def held_by(
    metric: Metric,
    against: Estimate | NotEstimable,
    value: float | None,
    level: float,
    margin: float,
    limit: float | None,
) -> tuple[Held, str]:
    """The answer of a guardrail whose difference was tested `against` its margin, the arm having this value."""
    if isinstance(against, NotEstimable):
        return "not shown", against.reason
    if limit is not None and value is not None and metric.sign * (value - limit) < 0:
        return "not shown", f"{value:.4g} is beyond the limit {limit:g}"
    p, distance = against.p_value, metric.sign * (against.value - against.null)
    if p is None or p > 1.0 - level:
        shown = "" if p is None else f" ({p_said(p)})"
        return "not shown", f"a change for the worse by {margin:.4g} is neither excluded nor shown{shown}"
    if distance > 0:
        return "held", f"a change for the worse by {margin:.4g} is excluded ({p_said(p)})"
    return "breached", f"it is worse by more than {margin:.4g} ({p_said(p)})"
