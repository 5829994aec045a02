"""How many cases a criterion needs, and how small a difference the cases at hand can show: before a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.experiment.offline import Criterion
from equipoise.stats.domain import counted, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical
from equipoise.stats.sizes.power_clusters import design_effect

__all__ = ["LIKENESS", "MOST_CASES", "MOST_DISCORDANT", "Pilot", "detectable", "needed_cases"]

MOST_DISCORDANT = 0.5
"""Without a pilot: the share of cases on which an arm and its twin disagree is 2p(1 − p), and at most this."""

WIN_VARIANCE = 0.25
"""Without a pilot: no score between 0 and 1 with mean one half varies more; ties make it less."""

LIKENESS = 0.1
"""Without a pilot: the correlation assumed between the differences of two cases of one cluster."""

MOST_CASES = 1_000_000
"""Beyond so many cases no number is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What an earlier run showed of a criterion's measure.

    `variance` is that of one case's score (win rates) or difference between the arms, as it enters the
    error: variance / cases is the squared standard error, clusters and weights included. `control` is
    control's mean, of which relative margins are taken. `samples` is how many answers a case had.
    """

    variance: float
    control: float | None = None
    samples: int = 1

    @classmethod
    def of(cls, found: Estimate, cases: int, *, control: float | None = None, samples: int = 1) -> Pilot:
        """From an estimate on so many cases.

        >>> found = Estimate(value=0.0, standard_error=0.03, low=-0.06, high=0.06, level=0.95, method="t")
        >>> round(Pilot.of(found, 100).variance, 4)
        0.09
        """
        return cls(variance=found.standard_error**2 * cases, control=control, samples=samples)

    @classmethod
    def of_pass_rate(cls, rate: float) -> Pilot:
        """From control's pass rate alone: an arm and its twin disagree on at most 2p(1 − p) of the cases.

        >>> round(Pilot.of_pass_rate(0.9).variance, 2)
        0.18
        """
        return cls(variance=2.0 * rate * (1.0 - rate), control=rate)


def needed_cases(
    criterion: Criterion,
    *,
    level: float,
    power: float = 0.8,
    pilot: Pilot | None = None,
    samples: int = 1,
    cluster_size: float = 1.0,
    effect: float | None = None,
) -> int | NotEstimable:
    """How many cases let a treatment pass with probability `power`.

    The treatment is taken to answer as control does, or, with `effect`, to be better by so much (on the scale
    of the measure; points of win rate). Against a margin the distance is margin + effect; for superiority it
    is the effect, or else the declared margin. `level` is the gate's. Without a pilot a win rate's score varies
    by 0.25 and half of the cases pass in one arm only: the most there can be, so the number is an upper bound.
    More `samples` a case divide the variance. Cases in clusters of `cluster_size` are taken to be alike by
    `LIKENESS`; a pilot has its clusters in its error.

    A pass rate is planned as Tango's interval is read: the error at the margin with the likeliest split. What
    else there is follows the normal approximation; a mean gets two cases more, for the t distribution.

    Degenerate cases: not estimable for a measure without a natural spread and without a pilot, a relative
    margin without control's mean, a criterion that needs no number (`not_worse`, a floor), superiority
    without an effect, or beyond `MOST_CASES`. Errors: UsageError for a level or power outside (0, 1), fewer
    than one sample, or a cluster size below 1.
    Source: Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research, chapter 4; Liu et al.
    (2002), Statistics in Medicine 21, 231, for pairs of passes; Kish (1965) for clusters.

    >>> from equipoise.experiment.amount import Amount
    >>> needed_cases(Criterion(of="win_rate", margin=Amount(0.10)), level=0.95)
    197
    """
    z_error, z_power = critical((1.0 - inside("level", level)) / 2.0), critical(1.0 - inside("power", power))
    distance = _distance(criterion, pilot, effect)
    if isinstance(distance, NotEstimable):
        return distance
    variance = _variance(criterion, pilot, samples, cluster_size)
    if isinstance(variance, NotEstimable):
        return variance
    of_pairs = criterion.of == "pass_rate" and criterion.worst is None and criterion.show == "non_inferior"
    margin = distance - (effect or 0.0)
    at_bar = _variance_at(variance, margin) if of_pairs and 0.0 < margin < 1.0 else variance
    root = (z_error * math.sqrt(at_bar) + max(z_power, -z_error) * math.sqrt(variance)) / distance
    number = max(2, math.ceil(root * root) + (0 if criterion.of == "win_rate" else 2))
    if number > MOST_CASES:
        return NotEstimable(f"more than {MOST_CASES:,} cases would be needed")
    return number


def detectable(
    criterion: Criterion,
    cases: int,
    *,
    level: float,
    power: float = 0.8,
    pilot: Pilot | None = None,
    samples: int = 1,
    cluster_size: float = 1.0,
) -> float | NotEstimable:
    """The smallest true difference that so many cases show, up or down, with probability `power`.

    Scale: the measure's own; for a win rate, points away from one half. It is d = (z_error +
    z_power)·sqrt(variance / cases), with the variance and the assumptions of `needed_cases`; without a pilot an
    upper bound. A difference in pass rate comes of cases that would else have agreed, so there the variance
    grows by d − d².

    Degenerate cases: not estimable with fewer than two cases, for a measure without a natural spread and
    without a pilot, or where even the largest difference would not show. Errors and source: `needed_cases`.

    >>> round(detectable(Criterion(of="win_rate"), 200, level=0.95), 3)
    0.099
    """
    z = critical((1.0 - inside("level", level)) / 2.0) + critical(1.0 - inside("power", power))
    if counted("cases", cases) < 2:
        return NotEstimable(f"there {'is 1 case' if cases == 1 else 'are 0 cases'}, and a spread needs two")
    variance = _variance(criterion, pilot, samples, cluster_size)
    if isinstance(variance, NotEstimable):
        return variance
    square = max(z, 0.0) ** 2 / cases
    found = math.sqrt(square * variance)
    if criterion.of == "pass_rate" and criterion.worst is None:
        # d² = square·(variance + d − d²), solved for d.
        found = (square + math.sqrt(square * square + 4.0 * (1.0 + square) * square * variance)) / (
            2.0 + 2.0 * square
        )
    most = {"win_rate": 0.5, "pass_rate": 1.0}.get(criterion.of, math.inf)
    if found > most:
        return NotEstimable(f"{cases} cases are too few to show any difference with this probability")
    return found


def _distance(criterion: Criterion, pilot: Pilot | None, effect: float | None) -> float | NotEstimable:
    """From where the treatment is taken to lie to the bar it must clear."""
    if criterion.show == "not_worse":
        return NotEstimable("it passes unless worse is shown, so it needs no number of cases")
    margin = 0.0
    if criterion.margin is not None:
        if criterion.margin.scale == "relative" and (pilot is None or pilot.control is None):
            return NotEstimable(
                f"the margin {criterion.margin} is of control's mean, which is not known before a run"
            )
        margin = criterion.margin.of(pilot.control if pilot and pilot.control is not None else 1.0)
    elif criterion.show == "non_inferior" and criterion.of == "win_rate":
        margin = 0.10
    if criterion.show == "superior":
        distance = margin if effect is None else effect
        reason = "superiority needs a difference to plan for; an arm equal to control never shows it"
    else:
        distance = margin + (effect or 0.0)
        reason = "without a margin no number of cases lets an arm equal to control pass"
    return distance if distance > 0.0 else NotEstimable(reason)


def _variance(
    criterion: Criterion, pilot: Pilot | None, samples: int, cluster_size: float
) -> float | NotEstimable:
    if counted("samples", samples) < 1:
        raise UsageError(f"samples must be a whole number of at least 1, not {samples}")
    if pilot is not None:
        if not pilot.variance > 0.0:
            return NotEstimable("the pilot shows no spread")
        return pilot.variance * pilot.samples / samples
    known = {"win_rate": WIN_VARIANCE, "pass_rate": MOST_DISCORDANT} if criterion.worst is None else {}
    if criterion.of not in known:
        return NotEstimable(f"the spread of '{criterion.name}' is not known before a run; a pilot tells it")
    return known[criterion.of] / samples * design_effect(LIKENESS, positive("cluster_size", cluster_size))


def _variance_at(discordant: float, margin: float) -> float:
    """Tango's variance of a pair at the bar −margin, where `discordant` of the pairs are split evenly."""
    difference = -margin
    linear = -discordant + 2.0 * difference
    constant = -discordant / 2.0 * difference * (1.0 - difference)
    rate = (math.sqrt(linear * linear - 8.0 * constant) - linear) / 4.0
    return 2.0 * rate + difference * (1.0 - difference)
