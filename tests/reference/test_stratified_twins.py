"""Mantel–Haenszel numbers beside statsmodels and beside their own test."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable, mcnemar  # type: ignore[import-untyped]
from statsmodels.stats.proportion import confint_proportions_2indep, score_test_proportions_2indep  # type: ignore[import-untyped]

from equipoise.stats.comparison.paired import mcnemar_mid_p, paired_difference_of_proportions
from equipoise.stats.comparison.proportion_ratios import relative_difference_of_proportions
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.stratified import (
    Stratum,
    mantel_haenszel_difference,
    mantel_haenszel_odds_ratio,
)
from equipoise.stats.estimate import Estimate


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def some_strata(seed: int) -> list[Stratum]:
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(6):
        n_c, n_t, p = int(rng.integers(20, 90)), int(rng.integers(20, 90)), rng.uniform(0.2, 0.7)
        out.append(Stratum(int(rng.binomial(n_c, p)), n_c, int(rng.binomial(n_t, p + 0.1)), n_t))
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_odds_ratio_is_that_of_statsmodels(seed: int) -> None:
    """Estimate, Robins–Breslow–Greenland error and limits."""
    strata = some_strata(seed)
    tables = [
        np.array([[s.successes_t, s.n_t - s.successes_t], [s.successes_c, s.n_c - s.successes_c]])
        for s in strata
    ]
    other, ours = StratifiedTable(tables), found(mantel_haenszel_odds_ratio(strata))
    assert (ours.value, ours.standard_error) == pytest.approx(
        (other.oddsratio_pooled, other.logodds_pooled_se)
    )
    assert (ours.low, ours.high) == pytest.approx(other.oddsratio_pooled_confint())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_difference_limits_are_where_sato_s_test_turns(seed: int) -> None:
    """Testing at either limit gives exactly 1 − level; exchanging the arms turns everything round."""
    strata = some_strata(seed)
    ours = found(mantel_haenszel_difference(strata))
    for limit in (ours.low, ours.high):
        assert found(mantel_haenszel_difference(strata, null=limit)).p_value == pytest.approx(0.05, rel=1e-9)
    turned = found(
        mantel_haenszel_difference([Stratum(s.successes_t, s.n_t, s.successes_c, s.n_c) for s in strata])
    )
    assert (turned.value, turned.standard_error, turned.low) == pytest.approx(
        (-ours.value, ours.standard_error, -ours.high)
    )


def test_one_large_stratum_is_the_plain_difference() -> None:
    """Sato's variance in one stratum is near the unpooled one, and the estimate is the plain one."""
    ours = found(mantel_haenszel_difference([Stratum(480, 1000, 560, 1000)]))
    other = found(difference_of_proportions(480, 1000, 560, 1000))
    assert ours.value == pytest.approx(other.value)
    assert ours.standard_error == pytest.approx(other.standard_error, rel=0.005)


@pytest.mark.parametrize(
    ("xc", "nc", "xt", "nt"), [(16, 80, 36, 40), (298, 16687, 736, 33396), (3, 50, 9, 60)]
)
def test_relative_rate_is_the_score_method_of_statsmodels(xc: int, nc: int, xt: int, nt: int) -> None:
    """The ratio's score test at no effect and its limits by search, without the factor n/(n − 1)."""
    ours = found(relative_difference_of_proportions(xc, nc, xt, nt))
    low, high = confint_proportions_2indep(xt, nt, xc, nc, compare="ratio", method="score", correction=False)
    assert (ours.low + 1, ours.high + 1) == pytest.approx((low, high), rel=1e-5)
    assert ours.p_value == pytest.approx(
        score_test_proportions_2indep(xt, nt, xc, nc, compare="ratio", correction=False).pvalue, rel=1e-7
    )


def test_mcnemar_is_that_of_statsmodels() -> None:
    """Without continuity correction; the mid-p is the exact p less the chance of the split seen."""
    ours = found(paired_difference_of_proportions(30, 12, 25, 40))
    assert ours.p_value == pytest.approx(mcnemar([[30, 12], [25, 40]], exact=False, correction=False).pvalue)
    exact = mcnemar([[30, 12], [25, 40]], exact=True).pvalue
    assert mcnemar_mid_p(12, 25) == pytest.approx(exact - 1852482996 / 2**37)
