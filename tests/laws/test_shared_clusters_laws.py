"""What holds for every difference of arms with units in the same clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_ratios
from equipoise.stats.covariates.cuped import Adjusted, cuped_ratios
from equipoise.stats.covariates.cuped_relative import cuped_ratios_relative
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40)


def sums(seed: int, *, in_both: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of 60 clusters the sums of x, y and a covariate in control and in the treatment, and which arm has units of each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, (2, 60)).astype(float)
    like = rng.normal(size=60)
    x = sizes * (5.0 + like) + rng.normal(size=(2, 60)) * np.sqrt(sizes)
    z = sizes * like * 0.5 + rng.normal(size=(2, 60)) * np.sqrt(sizes)
    both = rng.random(60) < in_both
    first = rng.random(60) < 0.5
    return np.stack([x[0], sizes[0], z[0]]), np.stack([x[1], sizes[1], z[1]]), both | first, both | ~first


def moments(
    c: np.ndarray, t: np.ndarray, in_c: np.ndarray, in_t: np.ndarray
) -> tuple[CrossMoments, CrossMoments, CrossMoments | None]:
    both = in_c & in_t
    shared = CrossMoments.of(*c[:, both], *t[:, both]) if both.any() else None
    return CrossMoments.of(*c[:, in_c]), CrossMoments.of(*t[:, in_t]), shared


def plain(control: CrossMoments, treatment: CrossMoments, shared: CrossMoments | None) -> Estimate:
    k = len(control.means)
    outcomes = None if shared is None else shared.columns(0, 1, k, k + 1)
    found = difference_of_ratios(control.pair(0, 1), treatment.pair(0, 1), shared=outcomes)
    assert isinstance(found, Estimate)
    return found


def adjusted(control: CrossMoments, treatment: CrossMoments, shared: CrossMoments | None) -> Estimate:
    found = cuped_ratios(control, treatment, shared=shared)
    assert isinstance(found, Adjusted)
    return found.estimate


@given(seeds, st.sampled_from([0.2, 0.7, 1.0]))
@few
def test_arms_exchanged_change_the_sign_and_nothing_else(seed: int, in_both: float) -> None:
    """Error, degrees of freedom and p-value are those of the other direction, with covariates and without."""
    c, t, in_c, in_t = sums(seed, in_both=in_both)
    for effect in (plain, adjusted):
        one, other = effect(*moments(c, t, in_c, in_t)), effect(*moments(t, c, in_t, in_c))
        assert one.value == pytest.approx(-other.value, rel=1e-9, abs=1e-12)
        assert (one.standard_error, one.degrees_of_freedom, one.p_value) == pytest.approx(
            (other.standard_error, other.degrees_of_freedom, other.p_value), rel=1e-7
        )


@given(seeds)
@few
def test_arms_without_a_cluster_in_common_are_independent(seed: int) -> None:
    """No cluster in both arms, or an empty table of them: to the last digit what independent arms give."""
    c, t, in_c, in_t = sums(seed, in_both=0.0)
    control, treatment, shared = moments(c, t, in_c, in_t)
    assert shared is None
    none = CrossMoments.zero(6)
    assert plain(control, treatment, none) == plain(control, treatment, None)
    assert adjusted(control, treatment, none) == adjusted(control, treatment, None)
    pairs = control.pair(0, 1), treatment.pair(0, 1)
    assert relative_difference_of_ratios(
        *pairs, shared=CrossMoments.zero(4)
    ) == relative_difference_of_ratios(*pairs)


@given(seeds, st.floats(0.1, 100.0))
@few
def test_what_clusters_have_in_common_cancels_where_they_are_split_alike(seed: int, size: float) -> None:
    """Whatever is added to each cluster's units, in both arms, leaves the error alone; independent arms would take it in."""
    rng = np.random.default_rng(seed)
    c, t, in_c, in_t = sums(seed, in_both=1.0)
    t[1] = c[1]
    like = size * rng.normal(size=60)
    before = plain(*moments(c, t, in_c, in_t))
    c[0], t[0] = c[0] + like * c[1], t[0] + like * t[1]
    after = plain(*moments(c, t, in_c, in_t))
    assert after.standard_error == pytest.approx(before.standard_error, rel=1e-6)
    assert after.value == pytest.approx(before.value, abs=1e-9 * (1.0 + size))


@given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
@few
def test_a_relative_change_and_its_difference_agree(seed: int, in_both: float) -> None:
    """One p-value for both at 0, and the ends of the relative interval are just what its test does not reject."""
    c, t, in_c, in_t = sums(seed, in_both=in_both)
    control, treatment, shared = moments(c, t, in_c, in_t)
    outcomes = None if shared is None else shared.columns(0, 1, 3, 4)
    pairs = control.pair(0, 1), treatment.pair(0, 1)
    relative = relative_difference_of_ratios(*pairs, shared=outcomes)
    assert isinstance(relative, Estimate)
    assert relative.p_value == pytest.approx(plain(control, treatment, shared).p_value, rel=1e-9)
    for end in (relative.low, relative.high):
        at = relative_difference_of_ratios(*pairs, shared=outcomes, null=end)
        assert isinstance(at, Estimate)
        assert at.p_value == pytest.approx(0.05, rel=1e-6)
    beside = cuped_ratios_relative(control, treatment, shared=shared)
    assert isinstance(beside, Adjusted)
    assert beside.estimate.p_value == pytest.approx(adjusted(control, treatment, shared).p_value, rel=1e-6)


@given(seeds, st.sampled_from([0.3, 1.0]))
@few
def test_the_freedom_lies_between_that_of_the_smallest_part_and_all_clusters(
    seed: int, in_both: float
) -> None:
    """G − 1 where every cluster is in both arms; else no more than all clusters less two."""
    c, t, in_c, in_t = sums(seed, in_both=in_both)
    control, treatment, shared = moments(c, t, in_c, in_t)
    freedom = plain(control, treatment, shared).degrees_of_freedom
    assert freedom is not None
    if in_both == 1.0:
        assert math.isclose(freedom, 59.0)
    assert 0.0 < freedom < 60.0
