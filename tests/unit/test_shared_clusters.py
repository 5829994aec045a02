"""Arms with units in the same clusters: what is refused, and in which words."""

from __future__ import annotations

import pytest

from equipoise.errors import UsageError
from equipoise.stats.comparison.quantiles import QuantileSummary, difference_of_quantiles, quantile_overlap
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_ratios
from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    relative_difference_of_restricted_means,
)
from equipoise.stats.comparison.shared_clusters import Overlap
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


@pytest.mark.parametrize("far", [0.0, 1e3, 1e6])
def test_rounding_is_no_spread(far: float):
    """However far from 0 the values lie, and whatever is lost there: arms that differ alike have no interval."""
    control = [total + (0.1 + far) * size for total, size in zip(SUMS, SIZES, strict=True)]
    treatment = [total + 0.3 * size for total, size in zip(control, SIZES, strict=True)]
    found = difference_of_ratios(
        PairMoments.of(control, SIZES),
        PairMoments.of(treatment, SIZES),
        shared=CrossMoments.of(control, SIZES, treatment, SIZES),
    )
    assert found == NotEstimable("in every cluster the arms differ alike, so their difference has no spread")


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


def test_quantiles_and_times_that_go_together_entirely_have_no_spread():
    """A correlation of 1 with errors alike leaves nothing; one that is less leaves an interval that is narrower."""
    reason = NotEstimable("in every cluster the arms differ alike, so their difference has no spread")
    same, half = (Overlap(40, 1.0, 1.0, correlation) for correlation in (1.0, 0.5))
    quantile = QuantileSummary(0.9, 40, 3.0, 0.1)
    mean = RestrictedMean(horizon=60.0, blocks=40, events=30, value=20.0, standard_error=2.0)
    for difference, arm in (
        (difference_of_quantiles, quantile),
        (difference_of_restricted_means, mean),
        (relative_difference_of_restricted_means, mean),
    ):
        assert difference(arm, arm, overlap=same) == reason
        apart, together = difference(arm, arm), difference(arm, arm, overlap=half)
        assert together.standard_error == pytest.approx(apart.standard_error * 0.5**0.5)
        assert together.degrees_of_freedom == pytest.approx(39.0)


def test_an_overlap_is_made_of_shares_and_a_correlation():
    """What cannot be a share or a correlation is named."""
    for wrong, message in (
        ({"control": 1.1}, "control must lie between 0 and 1, not 1.1"),
        ({"treatment": -0.1}, "treatment must lie between 0 and 1, not -0.1"),
        ({"correlation": -1.1}, "correlation must lie between -1 and 1, not -1.1"),
        ({"clusters": 0}, "clusters must be a whole number of at least 1, not 0"),
    ):
        with pytest.raises(UsageError) as refused:
            Overlap(**{"clusters": 5, "control": 1.0, "treatment": 1.0, "correlation": 0.0} | wrong)
        assert str(refused.value) == message


def test_quantiles_without_a_cluster_in_common_or_an_error_have_no_overlap():
    """Then the arms are taken for independent."""
    arm, both = PairMoments.of([1, 0, 2, 1], [2, 1, 2, 3]), CrossMoments.of(*[[1, 0, 2, 1], [2, 1, 2, 3]] * 2)
    assert quantile_overlap(arm, arm, both) is not None
    assert quantile_overlap(arm, arm, None) is None
    assert quantile_overlap(arm, arm, CrossMoments.zero(4)) is None
    assert quantile_overlap(PairMoments.of([1], [2]), arm, both) is None
    even = PairMoments.of([1, 2, 1, 2], [2, 4, 2, 4])
    assert quantile_overlap(even, arm, both) is None
