"""What adjusted, clustered, paired and stratified methods cannot estimate or use, in whole sentences."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from equipoise.errors import UsageError
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.equivalence import equivalence, noninferiority
from equipoise.stats.comparison.paired import (
    mcnemar_mid_p,
    newcombe_paired_interval,
    paired_difference_of_means,
    paired_difference_of_proportions,
)
from equipoise.stats.comparison.proportion_ratios import newcombe_interval, relative_difference_of_proportions
from equipoise.stats.comparison.quantiles import quantile_interval
from equipoise.stats.comparison.stratified import (
    Stratum,
    mantel_haenszel_difference,
    mantel_haenszel_odds_ratio,
)
from equipoise.stats.covariates.cuped import (
    cuped_means,
    cuped_proportions,
    cuped_ratios,
)
from equipoise.stats.covariates.cuped_relative import cuped_means_relative
from equipoise.stats.cross_moments import CrossMoments, known_or_missing
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments

NONE = [0.0, 0.0]
SOME = CrossMoments.of([1.0, 2.0, 4.0], [1.0, 0.0, 2.0])
ANY = Estimate(value=0.0, standard_error=1.0, low=-2.0, high=2.0, level=0.95, method="a difference")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (
            cuped_means(CrossMoments.of([1.0], [2.0]), SOME),
            "control has 1 unit, and a spread needs at least two",
        ),
        (
            cuped_means(
                CrossMoments.of([1.0, 2.0], [2.0, 1.0], [0.0, 3.0]),
                CrossMoments.of([1.0, 2.0], [2.0, 4.0], [0.0, 1.0]),
            ),
            "4 units are too few for 2 covariates and two arms",
        ),
        (
            cuped_means(*[CrossMoments.of([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])] * 2),
            "the covariates explain the outcome entirely, so no spread is left",
        ),
        (
            cuped_means(*[CrossMoments.of([1.0, 1.0, 1.0], [1.0, 2.0, 4.0])] * 2),
            "the outcome is constant in both arms",
        ),
        (
            cuped_proportions(*[CrossMoments.of([1.0] * 9 + [0.0] * 90, range(99))] * 2),
            "control has 9 successes and 90 failures, and adjusting a rate needs 10 of either",
        ),
        (
            cuped_ratios(*[CrossMoments.of([1.0, 2.0], [0.0, 0.0], [1.0, 2.0])] * 2),
            "the denominator of control adds up to 0",
        ),
        (
            cuped_means_relative(*[CrossMoments.of([-1.0, -2.0, -4.0], [1.0, 2.0, 2.0])] * 2),
            "the control's value is not above 0, so no change can be a fraction of it",
        ),
        (
            clustered_difference([1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 2.0]),
            "control has 1 cluster, and a spread needs at least two",
        ),
        (
            clustered_difference([2.0, 2.0, 0, 0], [2.0, 2.0, 0, 0], [0, 0, 3.0, 3.0], [0, 0, 2.0, 2.0]),
            "every cluster of an arm has the same ratio, so there is no spread between clusters",
        ),
        (
            clustered_difference([2.0, 3.0, 0, 0], [2.0, 2.0, 0, 0], [0, 0, 3.0, 4.0], [0, 0, 2.0, 2.0]),
            "so few clusters carry the arms that only 2.0 degrees of freedom are left, and the method needs 3",
        ),
        (paired_difference_of_means(Moments.of([1.0])), "there is 1 pair, and a spread needs two"),
        (
            paired_difference_of_means(Moments.of([1.0, 1.0])),
            "all pairs differ by the same amount, so there is no spread",
        ),
        (paired_difference_of_proportions(0, 0, 0, 0), "there are no pairs"),
        (newcombe_paired_interval(0, 0, 0, 0), "there are no pairs"),
        (
            paired_difference_of_proportions(5, 0, 0, 9),
            "both answers agree in every pair, so there is nothing to compare",
        ),
        (mcnemar_mid_p(0, 0), "both answers agree in every pair, so there is nothing to compare"),
        (
            relative_difference_of_proportions(0, 9, 3, 5),
            "the control has no success, so no change can be a fraction of its rate",
        ),
        (newcombe_interval(0, 0, 3, 5), "there are no units in control"),
        (mantel_haenszel_difference([Stratum(0, 0, 3, 5)]), "no stratum has units of both arms"),
        (
            mantel_haenszel_difference([Stratum(0, 4, 0, 5), Stratum(4, 4, 5, 5)]),
            "every unit in both arms has the same outcome, so there is nothing to compare",
        ),
        (
            mantel_haenszel_odds_ratio([Stratum(0, 4, 3, 5)]),
            "no stratum has a success in one arm and a failure in the other, both ways round",
        ),
        (
            quantile_interval([float(i) for i in range(30)], q=0.95),
            "too few turns lie beyond quantile 0.95 to bound it",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """The whole sentence, and never a number."""
    assert result == NotEstimable(reason)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: CrossMoments.of([1.0], [1.0, 2.0]), "columns must have one length, not [1, 2]"),
        (
            lambda: CrossMoments.of([math.nan]),
            "columns must all be finite numbers; see known_or_missing for those that are not",
        ),
        (lambda: CrossMoments(1, (), ()), "at least one column is needed"),
        (lambda: CrossMoments(1, (0.0,), ()), "products must be 1 rows of 1, as there are 1 means"),
        (lambda: CrossMoments(1, (0.0,), ((-1.0,),)), "products[0][0] must be at least 0, not -1.0"),
        (lambda: SOME + CrossMoments.zero(3), "2 columns cannot be merged with 3"),
        (lambda: SOME.column(2), "column must be below 2, the number of columns, not 2"),
        (
            lambda: known_or_missing([math.inf]),
            "values must be finite numbers, or NaN where they are missing",
        ),
        (lambda: cuped_means(SOME, CrossMoments.zero(3)), "both arms need the same columns, not 2 and 3"),
        (
            lambda: cuped_ratios(SOME, SOME),
            "at least one covariate is needed after the first 2 columns",
        ),
        (lambda: cuped_proportions(SOME, SOME), "the outcome of control must be 0 or 1 for every unit"),
        (
            lambda: clustered_difference(NONE, NONE, NONE, NONE, correction=cast("Any", "CR4")),
            "correction must be 'CR1', 'CR2' or 'CR3', not 'CR4'",
        ),
        (
            lambda: clustered_difference(NONE, [1.0], NONE, NONE),
            "control needs as many sums as sizes, not 2 and 1",
        ),
        (
            lambda: clustered_difference(NONE, NONE, [1.0], [1.0]),
            "both arms need one entry per cluster, not 2 and 1",
        ),
        (
            lambda: clustered_difference([math.nan, 0.0], NONE, NONE, NONE),
            "the sums and sizes of control must all be finite numbers",
        ),
        (lambda: mcnemar_mid_p(-1, 0), "only_c must be a whole number of at least 0, not -1"),
        (
            lambda: relative_difference_of_proportions(1, 5, 1, 5, null=-1),
            "null must be a fraction greater than -1, not -1",
        ),
        (
            lambda: Stratum(1, 5, 6, 5),
            "the successes of treatment cannot exceed its units, but 6 is more than 5",
        ),
        (lambda: mantel_haenszel_difference([]), "at least one stratum is needed"),
        (lambda: equivalence(ANY, 0.0), "margin must be a finite number greater than 0, not 0.0"),
        (
            lambda: noninferiority(ANY, 1.0, better=cast("Any", "more")),
            "better must be 'higher' or 'lower', not 'more'",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole message: what was wrong and what is accepted."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == sentence


def test_pooling_what_strata_tell_apart_would_reverse_the_answer() -> None:
    """Simpson: A 170/200 and 560/800, B 640/800 and 130/200; A wins both strata and B the pooled counts."""
    strata = [Stratum(170, 200, 640, 800), Stratum(560, 800, 130, 200)]
    found = mantel_haenszel_difference(strata)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(-0.05)
    assert found.high < 0 < (640 + 130) / 1000 - (170 + 560) / 1000


def test_a_margin_that_is_met_exactly_is_not_shown() -> None:
    """Neither held nor breached at the very limit."""
    assert noninferiority(ANY, 2.0).answer == "not shown"
    assert equivalence(ANY, 2.0).answer == "not shown"


def test_two_pairs_of_clusters_are_too_few_even_when_units_are_many() -> None:
    """A thousand units in four clusters carry two degrees of freedom; counting units would claim a thousand."""
    rng = np.random.default_rng(1)
    sizes = np.array([250.0, 250.0, 0.0, 0.0])
    found = clustered_difference(
        sizes * rng.normal(size=4), sizes, sizes[::-1] * rng.normal(size=4), sizes[::-1]
    )
    assert isinstance(found, NotEstimable)
    assert "2.0 degrees of freedom" in found.reason


def test_no_file_imports_scipy_stats() -> None:
    """Its import takes most of a second, which every start-up would pay."""
    names = "anytime.betting comparison.clusters anytime.confidence_sequences covariates.covariate_fit cross_moments covariates.cuped covariates.cuped_relative comparison.equivalence anytime.normal_mixture "
    names += "comparison.paired comparison.proportion_ratios comparison.stratified"
    code = "import sys;" + ";".join(f"import equipoise.stats.{n}" for n in names.split())
    code += ";sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
