"""Looking whenever one likes: the boundary of a normal mixture, which holds at every look from its start on.

Whatever is estimated, z = (estimate − null) / standard error at information I moves, under the null, like a
Brownian motion W at time I divided by sqrt(I). Mixing the likelihood ratio over normally distributed effects
with variance 1/ρ gives the martingale

    Λ(I) = sqrt(ρ / (I + ρ)) · exp(z² / 2 · I / (I + ρ)),

and the chance that it *ever* rises to b is at most 1/b. That is the mixture sequential probability ratio
test; all effects that it has not yet rejected are a confidence sequence. The unit of information is free, as
long as ρ, the start and every look are counted in the same: 1/SE², or units per arm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from scipy.special import lambertw, ndtr

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.sequential import crossing_probabilities
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = ["Mixture", "SequenceDesign", "always_valid", "over_looks", "sequence_design"]


@dataclass(frozen=True, slots=True)
class Mixture:
    """A normal mixture at `level`, with the mixing `precision` ρ and the information at which looking starts.

    With `start` 0 the error is kept by Ville's inequality, however early the first look. A later start
    spends nothing before it, and the bound b falls from 1/α to the root of

        2·Φ(−z_b) + (1 − 2·Φ(−z_b·sqrt(ρ / (start + ρ)))) / b = α,   z_b the boundary at the start,

    where the left side is exactly the chance that a Brownian motion is outside at the start or ever after.
    Precision and start are in one unit of information, whichever.

    Errors: UsageError for a level outside (0, 1), a precision not above 0 or a start below 0.
    Source: Robbins (1970), Annals of Mathematical Statistics 41, 1397, for the mixture and its delayed start;
    Johari, Koomen, Pekelis & Walsh (2022), Operations Research 70, 1806, for the p-value.

    >>> always, later = Mixture(0.95, 10.0), Mixture(0.95, 10.0, start=20.0)
    >>> round(always.boundary(80.0), 4), round(later.boundary(80.0), 4)
    (3.0352, 3.0206)
    """

    level: float
    precision: float
    start: float = 0.0
    bound: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        alpha = 1.0 - inside("level", self.level)
        positive("precision", self.precision)
        if finite("start", self.start) < 0.0:
            raise UsageError(f"start must be at least 0, not {self.start:g}")
        log_bound = -math.log(alpha)
        # A start that is nothing beside 1/ρ saves nothing.
        if self.start > 0.0 and self._error(log_bound) < alpha:
            least = -0.5 * math.log1p(self.start / self.precision)
            log_bound = float(brentq(lambda x: self._error(x) - alpha, least, log_bound, xtol=1e-13))
        object.__setattr__(self, "bound", math.exp(log_bound))

    @classmethod
    def tuned(cls, planned: float, *, start: float = 0.0, level: float = 0.95) -> Mixture:
        """The mixture whose interval is narrowest at the `planned` information.

        ρ = planned / (−W₋₁(−α²/e) − 1) with Lambert's W, which is exact for start 0 and very near for a start
        before the plan. Errors: UsageError where planned is not above 0, start lies beyond it, or for a level
        outside (0, 1). Source: Howard, Ramdas, McAuliffe & Sekhon (2021), Annals of Statistics 49, 1055,
        section 3.5.

        >>> round(Mixture.tuned(100.0).precision, 3)
        12.177
        """
        planned, alpha = positive("planned", planned), 1.0 - inside("level", level)
        if start > planned:
            raise UsageError(f"looking must start by the planned {planned:g}, not at {start:g}")
        share = -float(lambertw(-alpha * alpha / math.e, -1).real) - 1.0
        return cls(level, planned / share, start)

    def boundary(self, information: float) -> float:
        """The |z| that rejects at `information`: sqrt((1 + ρ/I)·(2·ln b + ln(1 + I/ρ))).

        Errors: UsageError for information not above 0 or before the start.
        Source: Robbins (1970); with b = 1/α the two-sided normal mixture of Howard et al. (2021), eq. (14).

        >>> round(Mixture.tuned(100.0).boundary(100.0), 4)
        3.0351
        """
        information = positive("information", information)
        if information < self.start:
            raise UsageError(f"looking starts at {self.start:g}, so there is no boundary at {information:g}")
        return self._boundary(math.log(self.bound), information)

    def p_value(self, z: float, information: float) -> float:
        """The always-valid p-value of a two-sided z: below α exactly where |z| exceeds that level's boundary.

        The least over the looks so far is again a p-value (`over_looks`). Any z; the answer lies in (0, 1].
        Errors: as for `boundary`. Source: Johari et al. (2022), section 4; Robbins (1970) for a late start.

        >>> round(Mixture.tuned(100.0).p_value(3.0325, 100.0), 4)
        0.0504
        """
        z, information = finite("z", z), positive("information", information)
        if information < self.start:
            raise UsageError(f"looking starts at {self.start:g}, so there is no p-value at {information:g}")
        rho = self.precision
        evidence = 0.5 * (z * z * information / (information + rho) - math.log1p(information / rho))
        return self._error(evidence)

    def _boundary(self, log_bound: float, information: float) -> float:
        reach = 2.0 * log_bound + math.log1p(information / self.precision)
        return math.sqrt((1.0 + self.precision / information) * max(0.0, reach))

    def _error(self, log_bound: float) -> float:
        """The chance, without an effect, that Λ is at least this at the start or ever after."""
        if self.start == 0.0:
            return math.exp(-max(0.0, log_bound))
        if log_bound <= -0.5 * math.log1p(self.start / self.precision):
            return 1.0
        z = self._boundary(log_bound, self.start)
        kept = 1.0 - 2.0 * float(ndtr(-z * math.sqrt(self.precision / (self.start + self.precision))))
        return min(1.0, 2.0 * float(ndtr(-z)) + kept * math.exp(-log_bound))


def always_valid(
    found: Estimate, mixture: Mixture, *, information: float | None = None
) -> Estimate | NotEstimable:
    """Any estimate with a standard error, with the interval and p-value that hold at every look.

    Scale: `found`'s own, and its null. `information` is 1/SE² unless given in the unit that the mixture was
    tuned in. The interval is value ± boundary·SE at the mixture's level. For ratios, quantiles, CUPED,
    clusters and corrected scores alike this is asymptotic: it holds as far as the estimate is normal from the
    start on, so `start` must be a burn-in (see `confidence_sequences` for how long).

    Degenerate cases: not estimable before the mixture's start, nor where SE is 0. Errors: UsageError for
    information not above 0.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Annals of Statistics 52, 2613, theorem 2.2;
    Bibaut, Kallus & Lindon (2022), arXiv:2212.14411, for the late start.

    >>> look = Estimate(value=0.3, standard_error=0.1, low=0.1, high=0.5, level=0.95, method="a difference")
    >>> e = always_valid(look, Mixture.tuned(100.0))
    >>> round(e.low, 4), round(e.high, 4), round(e.p_value, 4)
    (-0.0035, 0.6035, 0.055)
    """
    error = found.standard_error
    if error <= 0.0:
        return NotEstimable("the estimate has no spread, so there is no information to count")
    seen = 1.0 / (error * error) if information is None else positive("information", information)
    if seen < mixture.start:
        return NotEstimable(f"looking starts at information {mixture.start:g}, and there is {seen:g} so far")
    half = mixture.boundary(seen) * error
    z = (found.value - found.null) / error
    return replace(
        found,
        low=found.value - half,
        high=found.value + half,
        level=mixture.level,
        method=f"{found.method}; always valid by a normal mixture",
        statistic=z,
        p_value=mixture.p_value(z, seen),
        degrees_of_freedom=None,
    )


def over_looks(looks: Sequence[Estimate]) -> Estimate | NotEstimable:
    """What all looks so far say together: the last estimate, the interval common to all, the least p-value.

    Each look is an always-valid estimate of the same effect, by the same sequence. Both are as valid as each
    look alone, and never take back a rejection.

    Degenerate cases: no looks are not estimable, nor are looks whose intervals have nothing in common: then
    the effect was not the same throughout (or the sequence does not fit the data), and no interval is true of
    it. Errors: UsageError where level, null or method differ.
    Source: Howard et al. (2021), section 1.1; Johari et al. (2022), definition 2.

    >>> def look(low: float, high: float, p: float) -> Estimate:
    ...     return Estimate(value=(low + high) / 2, standard_error=1.0, low=low, high=high, level=0.95,
    ...                     method="a sequence", p_value=p)
    >>> e = over_looks([look(0.1, 0.5, 0.01), look(-0.1, 0.3, 0.4)])
    >>> e.low, e.high, e.p_value
    (0.1, 0.3, 0.01)
    """
    if not looks:
        return NotEstimable("there are no looks yet")
    last = looks[-1]
    if any((e.level, e.null, e.method) != (last.level, last.null, last.method) for e in looks):
        raise UsageError("all looks must be of one sequence, with the same level, null and method")
    low, high = max(e.low for e in looks), min(e.high for e in looks)
    if low > high:
        return NotEstimable("the intervals of the looks have nothing in common, so the effect has changed")
    ps = [e.p_value for e in looks if e.p_value is not None]
    return replace(last, low=low, high=high, p_value=min(ps) if ps else None)


@dataclass(frozen=True, slots=True)
class SequenceDesign:
    """What looking at any time costs, beside a fixed test of the same error and power.

    `factor` is the horizon (the information at the last planned look) and `average` the average information
    at stopping under the design effect, both over the fixed test's. `drift` is the expected z at the horizon
    and `type_one` the error of these looks alone, which is below 1 − level because the sequence holds for
    every other look as well.
    """

    factor: float
    average: float
    drift: float
    type_one: float
    boundaries: tuple[float, ...]


def sequence_design(
    fractions: Sequence[float],
    *,
    tuned_at: float,
    start: float = 0.0,
    power: float = 0.8,
    level: float = 0.95,
) -> SequenceDesign:
    """The horizon and average sample size of an always-valid test that is looked at `fractions` of the horizon.

    `fractions` rise and end in 1; `tuned_at` and `start` are fractions of the horizon too. Power counts
    crossings on the effect's own side at one of these looks. Looks spread evenly from a burn-in at a fifth of
    the horizon, tuned at half of it, cost a horizon of 1.72 and an average of 1.10 times the fixed test;
    without a burn-in 1.77 and 1.13, of which the average comes down to 1.04 with fifty looks.

    Errors: UsageError for fractions that do not rise to 1, a first one before the start, a power not above
    (1 − level)/2 or a tuning outside (0, 1].
    Source: exact integration of Armitage, McPherson & Rowe (1969), as in `sequential`.

    >>> looks = [0.2 + 0.8 * k / 13 for k in range(14)]
    >>> design = sequence_design(looks, tuned_at=0.5, start=0.2)
    >>> round(design.factor, 3), round(design.average, 3), round(design.type_one, 4)
    (1.724, 1.097, 0.0134)
    """
    tuned_at = positive("tuned_at", tuned_at)
    alpha = 1.0 - inside("level", level)
    power = inside("power", power, alpha / 2.0)
    if tuned_at > 1.0:
        raise UsageError(f"tuned_at must be a fraction of the horizon, at most 1, not {tuned_at:g}")
    if not fractions or abs(fractions[-1] - 1.0) > 1e-9:
        raise UsageError("the last fraction must be 1, which is the horizon")
    mixture = Mixture.tuned(tuned_at, start=start, level=level)
    bounds = [mixture.boundary(t) for t in fractions]
    fixed = critical(alpha / 2.0) + critical(1.0 - power)

    def missing(drift: float) -> float:
        return math.fsum(crossing_probabilities(fractions, bounds, drift).upper) - power

    drift = float(brentq(missing, 0.0, bounds[-1] + critical(1.0 - power) + 1.0, xtol=1e-8))
    crossed = crossing_probabilities(fractions, bounds, drift)
    per_look = [u + low for u, low in zip(crossed.upper, crossed.lower, strict=True)]
    average = math.fsum(p * t for p, t in zip(per_look, fractions, strict=True)) + 1.0 - math.fsum(per_look)
    factor = (drift / fixed) ** 2
    return SequenceDesign(
        factor=factor,
        average=average * factor,
        drift=drift,
        type_one=crossing_probabilities(fractions, bounds).total,
        boundaries=tuple(bounds),
    )
