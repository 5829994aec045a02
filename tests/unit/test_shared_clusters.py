"""Arms with units in the same clusters: what is refused, and in which words."""

from __future__ import annotations

import pytest

from equipoise.errors import UsageError
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_ratios
from equipoise.stats.covariates.cuped import cuped_ratios
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import PairMoments

SIZES = [3.0, 4.0, 5.0, 6.0] * 10
LIKE = [float(i * 7 % 11) for i in range(40)]
SUMS = [like * size for like, size in zip(LIKE, SIZES, strict=True)]
MORE = [total + size for total, size in zip(SUMS, SIZES, strict=True)]


def test_arms_that_differ_alike_in_every_cluster_have_no_spread():
    """All that varies is common to both arms: there is no interval, and no p-value of 0."""
    control, treatment = PairMoments.of(SUMS, SIZES), PairMoments.of(MORE, SIZES)
    shared = CrossMoments.of(SUMS, SIZES, MORE, SIZES)
    reason = NotEstimable("in every cluster the arms differ alike, so their difference has no spread")
    assert difference_of_ratios(control, treatment, shared=shared) == reason
    assert relative_difference_of_ratios(control, treatment, shared=shared) == reason
    covariate = [float(i * i % 13) for i in range(40)]
    arms = [CrossMoments.of(each, SIZES, covariate) for each in (SUMS, MORE)]
    both = CrossMoments.of(SUMS, SIZES, covariate, MORE, SIZES, covariate)
    assert cuped_ratios(*arms, shared=both) == reason


def test_a_treatment_that_multiplies_every_cluster_has_no_spread_relative_to_control():
    """Twice as much in every cluster: the difference varies between clusters, the fraction does not."""
    twice = [2.0 * total for total in MORE]
    control, treatment = PairMoments.of(MORE, SIZES), PairMoments.of(twice, SIZES)
    shared = CrossMoments.of(MORE, SIZES, twice, SIZES)
    assert not isinstance(difference_of_ratios(control, treatment, shared=shared), NotEstimable)
    assert relative_difference_of_ratios(control, treatment, shared=shared) == NotEstimable(
        "in every cluster the treatment is the same fraction of control, so it has no spread"
    )


def test_columns_that_do_not_fit_are_a_fault_of_the_caller():
    """Of either arm as many columns as the arm has are needed."""
    arm = PairMoments.of(SUMS, SIZES)
    with pytest.raises(
        UsageError,
        match=r"^clusters in both arms need the columns of control and of the treatment, 2 and 2, and have 3$",
    ):
        difference_of_ratios(arm, arm, shared=CrossMoments.of(SUMS, SIZES, SUMS))


def test_a_covariate_that_is_one_in_both_arms_of_every_cluster_explains_nothing():
    """What differs alike in every cluster has a coefficient of 0, and does not count as a covariate."""
    covariate = [float(i * i % 13) for i in range(40)]
    other = [total + (i * 5 % 7) for i, total in enumerate(SUMS)]
    arms = [CrossMoments.of(each, SIZES, covariate) for each in (SUMS, other)]
    found = cuped_ratios(*arms, shared=CrossMoments.of(SUMS, SIZES, covariate, other, SIZES, covariate))
    assert not isinstance(found, NotEstimable)
    assert found.coefficients == (0.0,)
    assert found.estimate.standard_error == pytest.approx(found.plain.standard_error)
