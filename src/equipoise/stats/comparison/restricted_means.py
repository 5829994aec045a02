"""Mean time to an event up to a horizon: one arm's, and the difference between two arms.

A unit either has the event, or is seen without it until the horizon, or until the data end. Leaving the last
out would favour quick events, and so would counting what they had as their time. The restricted mean is the
area under the Kaplan–Meier curve up to the horizon: the mean of min(time, horizon), with everybody in it for as
long as they were seen. It needs no hazards in proportion, and it is in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.comparison.means import short_arm
from equipoise.stats.comparison.relative import fieller
from equipoise.stats.comparison.shared_clusters import ALIKE, ArmVariance, Overlap, variance_of_difference
from equipoise.stats.domain import counted, finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import t_estimate

__all__ = [
    "FEWEST_EVENTS",
    "RestrictedMean",
    "difference_of_restricted_means",
    "relative_difference_of_restricted_means",
    "restricted_mean_of",
]

FEWEST_EVENTS = 10
"""With fewer events in an arm the estimate is too skewed for a symmetric interval to be trusted."""

Numbers = Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictedMean:
    """One arm's mean time to an event up to `horizon`, with its standard error, both in the horizon's unit.

    `blocks` are what is independent of one another: units, or clusters of them. `events` came before the horizon.
    The standard error is 0 where nobody, or everybody at one time, had the event.

    Errors: UsageError for a horizon not above 0, a value outside [0, horizon], a standard error below 0, or fewer
    than two blocks.
    """

    horizon: float
    blocks: int
    events: int
    value: float
    standard_error: float

    def __post_init__(self) -> None:
        positive("horizon", self.horizon)
        counted("blocks", self.blocks, at_least=2)
        counted("events", self.events)
        if not 0.0 <= finite("value", self.value) <= self.horizon:
            raise UsageError(
                f"value must lie between 0 and the horizon of {self.horizon:g}, not {self.value}"
            )
        if not finite("standard_error", self.standard_error) >= 0.0:
            raise UsageError(f"standard_error must be at least 0, not {self.standard_error}")


def restricted_mean_of(
    times: Numbers,
    events: Sequence[bool] | NDArray[np.bool_],
    *,
    horizon: float,
    clusters: Sequence[int] | NDArray[np.integer] | None = None,
) -> RestrictedMean | NotEstimable:
    """One arm's restricted mean from raw times: how long each unit was seen, and whether that ended in the event.

    Scale: the unit of the times. What lies at or beyond the horizon is cut there. Censoring must tell nothing of
    the event: it does not where units are censored because the data end. At equal times events come before
    censorings.

    The variance is Greenwood's, Σ A² d / n(n − d) over the times of events, with A the area under the curve from
    there to the horizon, times k / (k − 1) for k blocks. Without censoring before the horizon it is then exactly
    the variance of the mean of min(time, horizon). With `clusters` (the number of each unit's) it is that of the
    clusters' sums of the units' influences; each unit a cluster of its own gives Greenwood's again.

    Degenerate cases: not estimable with fewer than two blocks, or where nobody is at risk at the horizon and the
    curve has not come down to 0, since it is not known further. Errors: UsageError for times that are negative
    or not finite, lengths that differ, or a horizon not above 0.
    Source: Kaplan & Meier (1958), JASA 53, 457; Royston & Parmar (2013), BMC Medical Research Methodology 13, 152;
    the influences: Andersen, Hansen & Klein (2004), Lifetime Data Analysis 10, 335.

    >>> seen = restricted_mean_of([1.0, 2.0, 3.0, 4.0], [True, False, True, False], horizon=4.0)
    >>> round(seen.value, 4), round(seen.standard_error, 4), seen.events
    (2.875, 0.696, 2)
    """
    horizon = positive("horizon", horizon)
    time, event = np.asarray(times, dtype=np.float64).ravel(), np.asarray(events, dtype=bool).ravel()
    if time.size != event.size:
        raise UsageError(f"times and events must have the same length, not {time.size} and {event.size}")
    if not (np.isfinite(time).all() and (time >= 0.0).all()):
        raise UsageError("times must all be finite numbers of at least 0")
    ids = np.arange(time.size) if clusters is None else np.asarray(clusters).ravel()
    if ids.size != time.size:
        raise UsageError(f"times and clusters must have the same length, not {time.size} and {ids.size}")
    blocks, of_block = np.unique(ids, return_inverse=True)
    if blocks.size < 2:
        return NotEstimable(f"a spread needs at least two, not {blocks.size}, units or clusters")
    event, time = event & (time < horizon), np.minimum(time, horizon)
    steps, at = np.unique(time, return_inverse=True)
    died = np.bincount(at, weights=event, minlength=steps.size)
    risk = np.cumsum(np.bincount(at, minlength=steps.size)[::-1])[::-1].astype(np.float64)
    curve = np.cumprod(1.0 - died / risk)
    if steps[-1] < horizon and curve[-1] > 0.0:
        return NotEstimable(
            "nobody has been seen up to the horizon, and beyond the last the curve is not known"
        )
    widths = np.diff(np.append(steps, horizon))
    area = np.cumsum((curve * widths)[::-1])[::-1]
    # Where all that are left have the event, nothing lies beyond: 0 / 0 is 0.
    weight = np.divide(area, risk - died, out=np.zeros_like(area), where=risk > died)
    influence = np.cumsum(weight * died / risk)[at] - weight[at] * event
    sums = np.bincount(of_block, weights=influence)
    k = int(blocks.size)
    return RestrictedMean(
        horizon=horizon,
        blocks=k,
        events=int(event.sum()),
        value=min(float(steps[0] + area[0]), horizon),
        standard_error=math.sqrt(float(sums @ sums) * k / (k - 1)),
    )


def difference_of_restricted_means(
    control: RestrictedMean,
    treatment: RestrictedMean,
    *,
    overlap: Overlap | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of the mean time to an event up to a horizon, treatment minus control.

    Scale: the times' unit; −60 says that within the horizon the event comes a minute earlier on average. Interval
    and two-sided p are Student's with the Welch–Satterthwaite degrees of freedom of the arms' blocks, so that
    without censoring before the horizon this is Welch's test of min(time, horizon). Arms are independent, or have clusters
    in common: `overlap` then says how far their errors, which are sums of the clusters' influences, go together.

    Degenerate cases: not estimable with fewer than `FEWEST_EVENTS` events in an arm, where all events of each
    arm came at one time, or where all that varies is common to both arms.
    Errors: UsageError where the horizons differ, for a level outside (0, 1) or a null that
    is not finite.
    Source: Royston & Parmar (2013); Uno et al. (2014), Journal of Clinical Oncology 32, 2380.

    >>> slow = RestrictedMean(horizon=3600.0, blocks=900, events=500, value=1500.0, standard_error=40.0)
    >>> fast = RestrictedMean(horizon=3600.0, blocks=900, events=560, value=1380.0, standard_error=40.0)
    >>> e = difference_of_restricted_means(slow, fast)
    >>> round(e.value, 2), round(e.statistic, 2), round(e.p_value, 3)
    (-120.0, -2.12, 0.034)
    """
    level, null = inside("level", level), finite("null", null)
    refused = _refused(control, treatment)
    if refused:
        return refused
    variance, freedom = variance_of_difference(
        *_spreads(control, treatment),
        None if overlap is None else overlap.of(control.standard_error, treatment.standard_error),
    )
    if variance == 0.0:
        return NotEstimable(ALIKE)
    return t_estimate(
        treatment.value - control.value,
        math.hypot(control.standard_error, treatment.standard_error)
        if overlap is None
        else math.sqrt(variance),
        freedom,
        level=level,
        null=null,
        method="difference of restricted mean times, Kaplan–Meier",
    )


def relative_difference_of_restricted_means(
    control: RestrictedMean,
    treatment: RestrictedMean,
    *,
    overlap: Overlap | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The relative difference of two restricted mean times, (treatment − control) / control, by Fieller's method.

    Scale: a fraction of control's mean time up to the horizon; it depends on the horizon as that mean does.
    `overlap`, degenerate cases and errors are those of `difference_of_restricted_means` and of
    `relative.relative_difference_of_means` together. Source: Fieller (1954); Uno et al. (2014) for the ratio.

    >>> slow = RestrictedMean(horizon=3600.0, blocks=900, events=500, value=1500.0, standard_error=40.0)
    >>> fast = RestrictedMean(horizon=3600.0, blocks=900, events=560, value=1380.0, standard_error=40.0)
    >>> round(relative_difference_of_restricted_means(slow, fast).value, 4)
    -0.08
    """
    refused = _refused(control, treatment)
    if refused:
        return refused
    covariance, freedom = 0.0, None
    if overlap is not None:
        together = overlap.of(control.standard_error, treatment.standard_error)
        variance, freedom = variance_of_difference(*_spreads(control, treatment), together)
        if variance == 0.0:
            return NotEstimable(ALIKE)
        covariance = together.covariance
    return fieller(
        (control.value, control.standard_error**2, control.blocks),
        (treatment.value, treatment.standard_error**2, treatment.blocks),
        level,
        null,
        "relative difference of restricted mean times, Kaplan–Meier and Fieller",
        covariance=covariance,
        freedom=freedom,
    )


def _spreads(control: RestrictedMean, treatment: RestrictedMean) -> tuple[ArmVariance, ArmVariance]:
    return (
        ArmVariance(control.standard_error**2, control.blocks, control.blocks - 1.0),
        ArmVariance(treatment.standard_error**2, treatment.blocks, treatment.blocks - 1.0),
    )


def _refused(control: RestrictedMean, treatment: RestrictedMean) -> NotEstimable | None:
    if control.horizon != treatment.horizon:
        raise UsageError(
            f"both arms need the same horizon, not {control.horizon:g} and {treatment.horizon:g}"
        )
    short = short_arm(control.blocks, treatment.blocks)
    if short:
        return short
    for name, arm in (("control", control), ("the treatment", treatment)):
        if arm.events < FEWEST_EVENTS:
            units = "1 unit" if arm.events == 1 else f"{arm.events} units"
            return NotEstimable(
                f"the event came to {units} of {name} within the horizon, and fewer than {FEWEST_EVENTS} do not tell "
                "how far the mean time may be off"
            )
    if control.standard_error == 0.0 and treatment.standard_error == 0.0:
        return NotEstimable("all events of each arm came at one time, so they have no spread")
    return None
