"""What to report once a sequential experiment has stopped, and what may be reported before.

An experiment that stops when it looks good overstates its effect, and its fixed interval covers too seldom.
All possible endings are put in order stage by stage: a crossing above at an earlier look speaks more for an
effect than one at a later look, and at the same look the larger z does. The order makes a p-value that is
exactly uniform, an interval that covers exactly, and an estimate as often too high as too low. It asks only
for the looks that were made, not for those that would have followed.

All of it supposes the walk of `brownian`: independent increments, looks timed without regard to the effect,
boundaries as used, and an end at the first crossing. Who went on after a crossing, or stopped for another
reason, has the repeated interval. An effect that leaps between two looks (a release, a holiday) breaks the
supposition: the interval then says what a constant effect could be that did not cross before, and may not
hold the fixed estimate.

Coverage is over all endings of the plan. Among experiments that stopped early no interval that agrees with
the test can cover as promised for every effect: where there is none, each early stop is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.stats.domain import inside, positive, sided
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.brownian import Walk, rising_fractions
from equipoise.stats.looks.information import as_z
from equipoise.stats.looks.sequential import regions
from equipoise.stats.roots import brentq

__all__ = ["Tails", "after_stopping", "drift_where", "ending_reason", "repeated_interval", "stagewise_tails"]


@dataclass(frozen=True, slots=True)
class Tails:
    """The probabilities of an ending at least as far above, and at least as far below, as the one seen."""

    above: float
    below: float


def stagewise_tails(
    fractions: Sequence[float],
    boundaries: Sequence[float],
    z: float,
    drift: float = 0.0,
    *,
    futility: Sequence[float] | None = None,
    sides: int = 2,
) -> Tails:
    """The probabilities, in the stage-wise order, of an ending at least as extreme as `z` at the last look given.

    `fractions` and `boundaries` are those of all looks made, the one at hand included (its own boundary is
    not used); `drift` is the expected z at full information. `futility` are the lower boundaries of a
    one-sided test as they were obeyed. The two probabilities add up to 1, and at drift 0 each is the
    one-sided p-value of its direction.

    Degenerate cases: at the first look they are those of the fixed test. Errors: UsageError for unusable
    fractions or boundaries.
    Source: Tsiatis, Rosner & Mehta (1984), Biometrics 40, 797; Jennison & Turnbull (2000), section 8.4.

    >>> round(stagewise_tails([0.5, 1.0], [2.7965, 1.9774], 2.2).above, 5)
    0.01522
    """
    ts = rising_fractions(fractions)
    if len(boundaries) != len(ts):
        raise UsageError(f"each look needs one boundary, but {len(ts)} looks came with {len(boundaries)}")
    inner = None if sided(sides) == 2 else futility
    walk, above, below = Walk(ts, drift), [], []
    carried = regions(boundaries, inner, sides)
    for k in range(len(ts) - 1):
        ((low, high),) = carried[k]
        above.append(walk.above(high))
        below.append(walk.below(low) if math.isfinite(low) else 0.0)
        walk.carry_on((low, high))
    return Tails(math.fsum([*above, walk.above(z)]), math.fsum([*below, walk.below(z)]))


def after_stopping(
    estimate: Estimate | NotEstimable,
    fractions: Sequence[float],
    boundaries: Sequence[float],
    *,
    futility: Sequence[float] | None = None,
    sides: int = 2,
    last: bool = False,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The estimate of an experiment that has stopped: median-unbiased, exact interval, stage-wise p-value.

    `estimate` is the fixed analysis at the look at hand; `fractions` and `boundaries` are those of all looks
    made, this one included. `value`, `low` and `high` are on its scale, `standard_error` is the fixed one (at which the
    statistic is that many from the null, see `as_z`) and describes the data, not the interval. The
    interval takes (1 − level)/2 on each side. `p_value` is two-sided for a test with two sides and that of
    the upper side for one. `last` says that the experiment ends here whether or not a boundary is crossed.
    `futility`, in a one-sided test, are the lower boundaries that were obeyed, this look's included; leave
    out those that were overruled, and see below.

    Degenerate cases: not estimable where the estimate is not; where no boundary is crossed and the look is
    not the last, because the end is not known yet (`repeated_interval` may be shown meanwhile); with an inner wedge
    (two sides and `futility`), whose endings have no order from below to above. Stopping for futility at a
    boundary that might have been overruled is exact only as far as it would have been obeyed each time.
    Errors: UsageError for unusable fractions or boundaries or a level outside (0, 1).
    Source: Tsiatis, Rosner & Mehta (1984), Biometrics 40, 797; Jennison & Turnbull (2000), sections 8.3–8.5;
    Emerson & Fleming (1990), Biometrika 77, 875 (the median-unbiased estimate).

    >>> seen = Estimate(value=0.06, standard_error=0.02, low=0.02, high=0.1, level=0.95, method="difference")
    >>> found = after_stopping(seen, [0.25, 0.5], [2.5, 2.5])
    >>> [round(x, 4) for x in (found.value, found.low, found.high, found.p_value)]
    [0.0567, 0.0126, 0.0973, 0.014]
    """
    wanted = inside("level", level)
    if isinstance(estimate, NotEstimable):
        return estimate
    scaled = as_z(estimate)
    if isinstance(scaled, NotEstimable):
        return scaled
    z, error = scaled
    ts = rising_fractions(fractions)
    reason = ending_reason(z, boundaries, futility, sides, last=last)
    if reason:
        return NotEstimable(reason)

    def above(drift: float) -> float:
        return stagewise_tails(ts, boundaries, z, drift, futility=futility, sides=sides).above

    # An effect of one standard error is an expected z of 1 now, and of 1/sqrt(t) at full information.
    unit = error * math.sqrt(ts[-1])
    middle = z / math.sqrt(ts[-1])
    low, value, high = (
        estimate.null + unit * drift_where(above, share, middle, 1.0 / math.sqrt(ts[-1]))
        for share in ((1.0 - wanted) / 2.0, 0.5, (1.0 + wanted) / 2.0)
    )
    tails = stagewise_tails(ts, boundaries, z, 0.0, futility=futility, sides=sides)
    return Estimate(
        value=value,
        standard_error=error,
        low=low,
        high=high,
        level=wanted,
        method=f"{estimate.method}; median-unbiased, stage-wise, after stopping at look {len(ts)}",
        null=estimate.null,
        statistic=z,
        p_value=min(1.0, 2.0 * min(tails.above, tails.below)) if sides == 2 else tails.above,
    )


def repeated_interval(
    estimate: Estimate | NotEstimable, boundary: float, *, alpha: float = 0.05, sides: int = 2
) -> Estimate | NotEstimable:
    """An interval that may be shown at every look, whether or not the experiment stops there or goes on after.

    value ± boundary · standard error, with the boundary of this look in a test of level `alpha`: all looks'
    intervals together cover with probability 1 − alpha, and this one excludes the null exactly where the
    boundary is crossed. With one side it is open above. It is wider than the one after stopping and needs
    no reason for stopping.

    Degenerate cases: not estimable where the estimate is not. `p_value` is None: what stands beside it is
    the boundary. Errors: UsageError for a boundary not above 0, or alpha outside (0, 1).
    Source: Jennison & Turnbull (1989), JRSS B 51, 305; (2000), chapter 9.

    >>> seen = Estimate(value=0.06, standard_error=0.02, low=0.02, high=0.1, level=0.95, method="difference")
    >>> found = repeated_interval(seen, 2.8)
    >>> round(found.low, 4), round(found.high, 4)
    (0.004, 0.116)
    """
    reach, error_rate = positive("a boundary", boundary), inside("alpha", alpha)
    if isinstance(estimate, NotEstimable):
        return estimate
    scaled = as_z(estimate)
    if isinstance(scaled, NotEstimable):
        return scaled
    z, error = scaled
    return Estimate(
        value=estimate.value,
        standard_error=error,
        low=estimate.value - reach * error,
        high=estimate.value + reach * error if sided(sides) == 2 else math.inf,
        level=1.0 - error_rate,
        method=f"{estimate.method}; repeated interval",
        null=estimate.null,
        statistic=z,
    )


def drift_where(above: Callable[[float], float], share: float, start: float, step: float) -> float:
    """The drift at which the rising function `above` is `share`, searched outwards from `start` by `step`.

    `above` comes as near to 0 and to 1 as one likes, as the tails of a walk do; steps grow as they fail.

    >>> from equipoise.stats.normal import tail
    >>> round(drift_where(lambda drift: tail(2.0 - drift), 0.025, 2.0, 1.0), 6)
    0.040036
    """
    low = high = start
    wider = step
    while above(low) > share:
        low, wider = low - wider, wider * 1.5
    wider = step
    while above(high) < share:
        high, wider = high + wider, wider * 1.5
    if low == high:
        return low
    return brentq(lambda drift: above(drift) - share, low, high, xtol=1e-9)


def ending_reason(
    z: float,
    boundaries: Sequence[float],
    futility: Sequence[float] | None,
    sides: int,
    *,
    last: bool,
) -> str:
    """Why there is no estimate after stopping yet; empty where there is one."""
    if futility is not None and sides == 2:
        return "endings inside a wedge have no order from below to above; a repeated interval has what can be said"
    boundary = positive("a boundary", boundaries[-1]) if len(boundaries) else 0.0
    crossed = z >= boundary or (sides == 2 and z <= -boundary)
    if last or crossed or (futility is not None and len(futility) and z <= futility[-1]):
        return ""
    return (
        f"the experiment has not stopped: z is {z:.4g} and the boundary {boundary:.4g}; "
        "a repeated interval has what can be said meanwhile"
    )
