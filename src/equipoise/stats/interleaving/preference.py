"""Which ranker is preferred, over many queries of many people.

What is compared lies within each query, so that what differs between people and between queries falls out; the queries of
one person belong together, and the person carries the variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import SupportsIndex

import numpy as np
from scipy.special import ndtr

from equipoise.errors import UsageError
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.comparison.ratios import linear_variance
from equipoise.stats.domain import counted, finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.families.multiplicity import Family
from equipoise.stats.moments import PairMoments, Values
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = [
    "PairPreference",
    "credit_difference",
    "pairwise_preferences",
    "power_of_queries",
    "preference_lean",
    "queries_to_find",
]


def credit_difference(
    contrasts: PairMoments, *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """What one ranker earns per query more than another, from queries that compared them in one list.

    Scale: that of the credit, per query: a share of queries won less the share lost, or clicks. `contrasts` has one pair
    for each unit (a person, or a cluster of them): the sum of the differences over its queries, and their number. The
    variance is that of the ratio of the two by the delta method, n − 1 degrees of freedom for n units: with one query for
    each unit that is Student's paired t. Ties count as queries and as differences of 0.

    Degenerate cases: not estimable with fewer than two units, or where all units differ by as much per query. Errors:
    UsageError for a level outside (0, 1) or a null that is not finite.
    Source: Student (1908), Biometrika 6, 1; Deng, Knoblich & Lu (2018), KDD, section 3, for queries of one person.

    >>> e = credit_difference(PairMoments.of([1, 0, 2, -1, 0, 1], [2, 1, 3, 1, 1, 2]))
    >>> round(e.value, 4), round(e.standard_error, 4), e.degrees_of_freedom
    (0.3, 0.202, 5.0)
    """
    level, null = inside("level", level), finite("null", null)
    if contrasts.n < 2:
        return NotEstimable(
            f"{'1 unit' if contrasts.n == 1 else 'no unit'} was shown a list, and a spread needs two"
        )
    if contrasts.mean_y <= 0.0:
        raise UsageError("every unit has one query or more, and these have none")
    variance = linear_variance(contrasts)
    if variance == 0.0:
        return NotEstimable(
            "the rankers earn as much more or less per query with every unit, so there is no spread"
        )
    return t_estimate(
        contrasts.mean_x / contrasts.mean_y,
        math.sqrt(variance),
        contrasts.n - 1.0,
        level=level,
        null=null,
        method="difference of credit per query within interleaved lists, variance by unit",
    )


def preference_lean(
    wins: SupportsIndex, losses: SupportsIndex, ties: SupportsIndex = 0, *, level: float = 0.95
) -> Estimate | NotEstimable:
    """How far people lean to one ranker: (wins + ties/2) / queries − 1/2, Δ_AB of interleaving.

    Scale: a share of queries, from −0.5 (always the other) to 0.5; 0 is no preference. Counts are of independent queries,
    one for each person; where people have several, take half of `credit_difference` of wins. Interval and test are those
    of Tango's score for paired proportions, halved: the interval excludes 0 exactly when the test rejects.

    Degenerate cases: no queries, or nothing but ties, are not estimable. Errors: UsageError for counts that are negative
    or not whole, or a level outside (0, 1).
    Source: Chapelle, Joachims, Radlinski & Yue (2012), Large-Scale Validation and Analysis of Interleaved Search
    Evaluation, ACM TOIS 30(1), for Δ_AB; Tango (1998), Statistics in Medicine 17, 891, for the interval.

    >>> e = preference_lean(220, 180, 600)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4), round(e.p_value, 4)
    (0.02, 0.0004, 0.0396, 0.0455)
    """
    w, l, t = counted("wins", wins), counted("losses", losses), counted("ties", ties)
    found = paired_difference_of_proportions(0, l, w, t, level=level)
    if isinstance(found, NotEstimable):
        return NotEstimable("there are no queries" if w + l + t == 0 else "every query is a tie")
    return replace(
        found,
        value=found.value / 2.0,
        standard_error=found.standard_error / 2.0,
        low=found.low / 2.0,
        high=found.high / 2.0,
        method="preference lean of interleaved queries, half of Tango's paired score",
    )


@dataclass(frozen=True, slots=True)
class PairPreference:
    """One ranker against another: what `one` earns per query more than `other`, and the p-value adjusted by Holm."""

    one: str
    other: str
    estimate: Estimate | NotEstimable
    adjusted_p: float | NotEstimable


def pairwise_preferences(
    credits: Mapping[str, Values], queries: Values, *, level: float = 0.95
) -> tuple[PairPreference, ...]:
    """Every pair of rankers of multileaved lists, all pairs adjusted together.

    `credits` are what each ranker earned with each unit (a person), `queries` how many lists the unit saw; every list has
    items of all rankers. Intervals hold for one pair each, at `level`; `adjusted_p` is Holm's over all pairs, so that the
    chance of any false preference is bounded.

    Degenerate cases: pairs as of `credit_difference`; one that is not estimable still counts as a test. Errors: UsageError
    for fewer than two rankers, numbers that do not match, or a unit without a query.
    Source: Schuth et al. (2014), Multileaved Comparisons for Fast Online Evaluation, CIKM; Holm (1979), Scandinavian
    Journal of Statistics 6, 65.

    >>> earned = {"a": [2, 1, 3, 2, 1, 2], "b": [1, 1, 1, 0, 1, 0], "c": [1, 0, 1, 1, 1, 1]}
    >>> for pair in pairwise_preferences(earned, [2, 2, 3, 2, 2, 2]):
    ...     print(pair.one, pair.other, f"{pair.estimate.value:+.3f}", round(pair.adjusted_p, 3))
    a b +0.538 0.052
    a c +0.462 0.014
    b c -0.077 0.613
    """
    if len(credits) < 2:
        raise UsageError(f"preferences are between two rankers or more, and there are {len(credits)}")
    pairs = list(combinations(credits, 2))
    found = {pair: credit_difference(_contrast(credits, pair, queries), level=level) for pair in pairs}
    # A family's members have names; those of rankers may hold anything.
    numbers = {pair: str(number) for number, pair in enumerate(pairs)}
    adjusted = Family(tuple(numbers.values()), "holm").adjust(
        {numbers[pair]: _p_value(estimate) for pair, estimate in found.items()}
    )
    return tuple(
        PairPreference(one, other, found[one, other], adjusted[numbers[one, other]]) for one, other in pairs
    )


def _p_value(estimate: Estimate | NotEstimable) -> float | NotEstimable:
    if isinstance(estimate, NotEstimable):
        return estimate
    return NotEstimable("there is no test") if estimate.p_value is None else estimate.p_value


def _contrast(credits: Mapping[str, Values], pair: tuple[str, str], queries: Values) -> PairMoments:
    one, other, asked = (np.asarray(each, dtype=np.float64) for each in (*map(credits.get, pair), queries))
    if not (one.shape == other.shape == asked.shape):
        raise UsageError("each ranker has one number for each unit, and so have the queries")
    if not (asked > 0.0).all():
        raise UsageError("every unit has one query or more, and one of these has none")
    return PairMoments.of(one - other, asked)


def queries_to_find(effect: float, variance: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many queries find a difference of credit per query of `effect`, two-sided, with a chance of `power`.

    ceil((z_{1−α/2} + z_power)² · variance / effect²). `effect` is on the credit's scale, `variance` that of the difference
    within one query: where wins count, the share of queries that are no ties, less the effect's square. Queries are taken as
    independent; those of one person are alike, and more are needed.

    No degenerate cases. Errors: UsageError for an effect or a variance that is not above 0, or an alpha or power outside
    (0, 1). Source: Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research, section 3.1.

    >>> queries_to_find(0.04, 0.4 - 0.04**2)
    1955
    """
    effect, variance = positive("effect", effect), positive("variance", variance)
    z = critical(inside("alpha", alpha) / 2.0) + critical(1.0 - inside("power", power))
    return max(2, math.ceil(max(z, 0.0) ** 2 * variance / effect**2))


def power_of_queries(effect: float, variance: float, queries: SupportsIndex, *, alpha: float = 0.05) -> float:
    """The chance that so many queries find a difference of credit per query of `effect`, two-sided; in (0, 1).

    Arguments, and the normal approximation, are those of `queries_to_find`; what is found on the wrong side is not counted.
    No degenerate cases. Errors: UsageError for an effect or a variance that is not above 0, fewer than two queries, or an
    alpha outside (0, 1). Source: as `queries_to_find`.

    >>> round(power_of_queries(0.04, 0.4 - 0.04**2, 1955), 3)
    0.8
    """
    effect, variance = positive("effect", effect), positive("variance", variance)
    error = math.sqrt(variance / counted("queries", queries, at_least=2))
    return float(ndtr(effect / error - critical(inside("alpha", alpha) / 2.0)))
