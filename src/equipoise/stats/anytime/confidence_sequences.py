"""Confidence sequences for means and rates: intervals that hold at every look, from sufficient statistics.

Known spread: exact for normal outcomes, and valid for outcomes no wilder than normal ones, from the first
unit on. Estimated spread: asymptotic, so only from a burn-in on, and before it there is no answer. Outcomes
with known limits can have a sequence without any burn-in in `betting`.
"""

from __future__ import annotations

import math
from typing import SupportsIndex

from equipoise.stats.anytime.normal_mixture import Mixture, always_valid
from equipoise.stats.comparison.means import difference_of_means, short_arm
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.domain import counted, finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments

__all__ = [
    "BURN_IN",
    "BURN_IN_SINGLE",
    "BURN_IN_UNLIKE",
    "EVENTS",
    "sequence_of_difference_of_means",
    "sequence_of_difference_of_proportions",
    "sequence_of_mean",
    "sequence_with_known_spread",
    "units_per_arm",
]

BURN_IN = 500
"""Units per arm (harmonic mean) before which two arms of like size get no asymptotic answer."""

BURN_IN_UNLIKE = 5_000
"""The same where one arm is more than one and a half times as large as the other."""

BURN_IN_SINGLE = 10_000
"""Units before which a single mean gets no asymptotic answer."""

_LIKE = 1.5

EVENTS = 20
"""A rate needs this many successes and as many failures in each arm before its spread can be trusted."""


def units_per_arm(n_c: SupportsIndex, n_t: SupportsIndex) -> float:
    """The size of two equal arms that would say as much: the harmonic mean 2·n_c·n_t/(n_c + n_t).

    The clock of the asymptotic sequences of a difference. Counts of at least 0; two empty arms have 0.
    Errors: UsageError for negative counts. Source: Cochran (1977), Sampling Techniques, section 5.

    >>> units_per_arm(100, 100), round(units_per_arm(100, 900), 1)
    (100.0, 180.0)
    """
    c, t = counted("the units of control", n_c), counted("the units of treatment", n_t)
    return 2.0 * c * t / (c + t) if c + t else 0.0


def sequence_with_known_spread(
    control: Moments,
    treatment: Moments,
    *,
    spread: float,
    planned: float,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two means, treatment minus control, where the standard deviation is known beforehand.

    Scale: the outcome's own. `spread` is the standard deviation of one unit in either arm, and `planned` the
    units per arm (harmonic mean) at which the interval is narrowest. Exact for normal outcomes, at every look
    from the first unit on. It is valid too for outcomes that are sub-Gaussian with `spread`: for one between
    a and b, spread = (b − a)/2 makes it hold without any assumption, if much wider than `betting`.
    It would lie where the true spread is above the stated one.

    Degenerate cases: not estimable with an empty arm. Errors: UsageError for a spread or plan not above 0, a
    level outside (0, 1) or a null that is not finite.
    Source: Robbins (1970), Annals of Mathematical Statistics 41, 1397; Howard et al. (2021), Annals of Statistics
    49, 1055, eq. (14).

    >>> e = sequence_with_known_spread(Moments(100, 5.0, 90.0), Moments(100, 5.6, 99.0), spread=1.0, planned=100)
    >>> round(e.low, 3), round(e.high, 3), round(e.p_value, 4)
    (0.171, 1.029, 0.001)
    """
    spread, null = positive("spread", spread), finite("null", null)
    mixture = Mixture.tuned(planned, level=level)
    empty = [arm for arm, m in (("control", control), ("treatment", treatment)) if m.n == 0]
    if empty:
        return NotEstimable(f"there are no units in {' or '.join(empty)}")
    value, error = treatment.mean - control.mean, spread * math.sqrt(1.0 / control.n + 1.0 / treatment.n)
    plain = Estimate(
        value=value,
        standard_error=error,
        low=value,
        high=value,
        level=level,
        method="difference of means, known spread",
        null=null,
    )
    return always_valid(plain, mixture, information=units_per_arm(control.n, treatment.n))


def sequence_of_mean(
    sample: Moments,
    *,
    planned: float,
    burn_in: float = BURN_IN_SINGLE,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """One mean with its asymptotic confidence sequence.

    Scale: the outcome's own. `planned` and `burn_in` are units. A single mean keeps all of its outcome's
    skewness, which a difference of equal arms does not, so a skewed one needs the longest burn-in: see
    `sequence_of_difference_of_means`.
    Degenerate cases: not estimable before the burn-in, or where the outcome is constant; a plan before the burn-in
    counts as the burn-in. Errors: UsageError for a plan or burn-in not above 0, a level outside (0, 1) or an
    infinite null.
    Source: Waudby-Smith et al. (2024), Annals of Statistics 52, 2613, theorem 2.2.

    >>> sequence_of_mean(Moments(100, 5.0, 99.0), planned=20_000)
    NotEstimable(reason='the sequence starts at 10000 units, and there are 100 so far')
    """
    null = finite("null", null)
    mixture = _mixture(planned, positive("burn_in", burn_in), level)
    if sample.n < max(2.0, burn_in):
        return NotEstimable(f"the sequence starts at {burn_in:g} units, and there are {sample.n} so far")
    if sample.constant:
        return NotEstimable("the outcome is constant")
    plain = Estimate(
        value=sample.mean,
        standard_error=math.sqrt(sample.m2 / (sample.n - 1) / sample.n),
        low=sample.mean,
        high=sample.mean,
        level=level,
        method="mean",
        null=null,
    )
    return always_valid(plain, mixture, information=float(sample.n))


def sequence_of_difference_of_means(
    control: Moments,
    treatment: Moments,
    *,
    planned: float,
    burn_in: float | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two means, treatment minus control, with its asymptotic confidence sequence.

    Scale: the outcome's own. `planned` and `burn_in` are units per arm, as a harmonic mean (`units_per_arm`).
    The allocation may differ between the arms but should not change over the looks.

    The error is kept from the burn-in on, at any number of looks, as far as the mean is normal by then. Without
    `burn_in` that is `BURN_IN` for arms of like size (at most 3:2), in which skewness cancels, and
    `BURN_IN_UNLIKE` for others; give it for an allocation near 3:2, lest looks fall on both sides of the line. False
    alarms at some 200 looks until 20,000 units per arm, tuned at the burn-in itself, where 0.05 was asked for: on the
    left a log-normal outcome of log-sd 1.5 (skewness 33), on the right a rate of 0.01.

        burn-in                     200          500         1,000        2,000        5,000
        two equal arms         .020  .018   .023  .024   .027  .028   .027  .028
        arms of 1 to 4                      .065  .110   .050  .069   .046  .046   .029  .026
        one mean                            .112  .115   .082  .073   .067  .049   .046  .031

    It would lie with a burn-in that is too short for the skewness: the line of one mean says how much.

    Degenerate cases: not estimable before the burn-in, with fewer than two units in an arm, or where both arms
    are constant; a plan before the burn-in counts as the burn-in. Errors: UsageError for a plan or burn-in not
    above 0, a level outside (0, 1) or a null that is not finite.
    Source: Waudby-Smith et al. (2024), Annals of Statistics 52, 2613, theorem 2.2; Bibaut, Kallus & Lindon
    (2022), arXiv:2212.14411, for the late start.

    >>> control, treatment = Moments(1000, 5.0, 999.0), Moments(1000, 5.2, 999.0)
    >>> e = sequence_of_difference_of_means(control, treatment, planned=2000)
    >>> round(e.low, 4), round(e.high, 4), round(e.p_value, 5)
    (0.0631, 0.3369, 0.00072)
    """
    level, null = inside("level", level), finite("null", null)
    start = _start(control.n, treatment.n, burn_in)
    mixture = _mixture(planned, start, level)
    early = _early(control.n, treatment.n, start) or short_arm(control.n, treatment.n)
    if early:
        return early
    plain = difference_of_means(control, treatment, level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return always_valid(plain, mixture, information=units_per_arm(control.n, treatment.n))


def sequence_of_difference_of_proportions(
    successes_c: SupportsIndex,
    n_c: SupportsIndex,
    successes_t: SupportsIndex,
    n_t: SupportsIndex,
    *,
    planned: float,
    burn_in: float | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two rates, treatment minus control, with its asymptotic confidence sequence.

    Scale: a difference of rates. `planned` and `burn_in` are units per arm, as a harmonic mean, with the defaults
    of `sequence_of_difference_of_means`. The standard error is the unpooled one. Besides the burn-in each arm must
    have at least `EVENTS` successes and as many failures, since a rare outcome's spread is not known sooner. The
    betting sequence (`betting.bounded_difference`) needs neither.

    Degenerate cases: not estimable before either. Errors: UsageError for unusable counts, plan, burn-in, level
    or null.
    Source: Waudby-Smith et al. (2024), theorem 2.2.

    >>> e = sequence_of_difference_of_proportions(600, 1000, 700, 1000, planned=2000)
    >>> round(e.low, 4), round(e.high, 4), round(e.p_value, 5)
    (0.035, 0.165, 0.0003)
    """
    plain = difference_of_proportions(successes_c, n_c, successes_t, n_t, level=level, null=null)
    (xc, nc), (xt, nt) = (int(successes_c), int(n_c)), (int(successes_t), int(n_t))
    start = _start(nc, nt, burn_in)
    mixture = _mixture(planned, start, level)
    if isinstance(plain, NotEstimable):
        return plain
    early = _early(nc, nt, start)
    if early:
        return early
    for arm, x, n in (("control", xc, nc), ("treatment", xt, nt)):
        if min(x, n - x) < EVENTS:
            return NotEstimable(
                f"{arm} has {x} successes and {n - x} failures, and the sequence needs {EVENTS} of either"
            )
    return always_valid(plain, mixture, information=units_per_arm(nc, nt))


def _start(n_c: int, n_t: int, burn_in: float | None) -> float:
    if burn_in is not None:
        return positive("burn_in", burn_in)
    return BURN_IN if max(n_c, n_t) <= _LIKE * min(n_c, n_t) else BURN_IN_UNLIKE


def _mixture(planned: float, start: float, level: float) -> Mixture:
    """Tuned at the plan, or at the start where looking starts later than that."""
    return Mixture.tuned(max(positive("planned", planned), start), start=start, level=level)


def _early(n_c: int, n_t: int, burn_in: float) -> NotEstimable | None:
    seen = units_per_arm(n_c, n_t)
    if seen >= burn_in:
        return None
    return NotEstimable(f"the sequence starts at {burn_in:g} units per arm, and there are {seen:.0f} so far")
