"""Printed numbers for pairs, for strata's neighbours and for other intervals of two rates."""

from __future__ import annotations

import pytest

from equipoise.stats.comparison.paired import (
    mcnemar_mid_p,
    newcombe_paired_interval,
    paired_difference_of_means,
    paired_difference_of_proportions,
)
from equipoise.stats.comparison.proportion_ratios import (
    miettinen_nurminen_interval,
    newcombe_interval,
    relative_difference_of_proportions,
)
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def test_airway_responsiveness_before_and_after_is_that_of_fagerland() -> None:
    """21 children, 1 7 / 1 12: Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33, 2850, table 4,
    and (2013), BMC Medical Research Methodology 13, 91, for the tests."""
    tango, newcombe = (f(1, 7, 1, 12) for f in (paired_difference_of_proportions, newcombe_paired_interval))
    assert (found(tango).low, found(tango).high) == pytest.approx((-0.517, -0.026), abs=6e-4)
    assert (found(newcombe).low, found(newcombe).high) == pytest.approx((-0.507, -0.026), abs=6e-4)
    assert found(tango).p_value == pytest.approx(0.034, abs=5e-4)
    assert mcnemar_mid_p(7, 1) == pytest.approx(0.039, abs=5e-4)


def test_sleep_is_that_of_student() -> None:
    """Student (1908), Biometrika 6, 20: a mean of 1.58 hours, p = 0.0028 in later print (t = 4.0621, 9 df)."""
    e = found(paired_difference_of_means(Moments.of([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])))
    assert (e.value, e.statistic, e.p_value) == pytest.approx((1.58, 4.0621, 0.002833), abs=5e-5)
    assert (e.low, e.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_miettinen_nurminen_and_hybrid_intervals_are_those_of_newcombe() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 873, table II, methods 6 and 10, examples (a) and (e)."""
    for (xt, nt, xc, nc), six, ten in (
        ((56, 70, 48, 80), (0.0528, 0.3382), (0.0524, 0.3339)),
        ((5, 56, 0, 29), (-0.0326, 0.1933), (-0.0381, 0.1926)),
    ):
        mn, hybrid = (
            found(miettinen_nurminen_interval(xc, nc, xt, nt)),
            found(newcombe_interval(xc, nc, xt, nt)),
        )
        assert (mn.low, mn.high) == pytest.approx(six, abs=6e-5)
        assert (hybrid.low, hybrid.high) == pytest.approx(ten, abs=6e-5)


def test_ratio_interval_is_that_of_koopman() -> None:
    """Koopman (1984), Biometrics 40, 513: 36 of 40 against 16 of 80 gives a ratio between 2.94 and 7.15."""
    e = found(relative_difference_of_proportions(16, 80, 36, 40))
    assert (e.low + 1, e.high + 1) == pytest.approx((2.94, 7.15), abs=5e-3)
