"""Dunnett's tables and other printed numbers of multiplicity and design effects, to the digits printed."""

from __future__ import annotations

import math

import pytest

from equipoise.stats.families.dunnett import best_control_share, dunnett_critical
from equipoise.stats.families.multiplicity import Family, benjamini_yekutieli, chance_of_any
from equipoise.stats.sizes.power_clusters import design_effect
from equipoise.stats.sizes.power_pilot import quantile_spread

TWO_SIDED = {
    (0.05, 5): "2.57 3.03 3.29 3.48 3.62 3.73 3.82 3.90 3.97",
    (0.05, 10): "2.23 2.57 2.76 2.89 2.99 3.07 3.14 3.19 3.24",
    (0.05, 20): "2.09 2.38 2.54 2.65 2.73 2.80 2.86 2.90 2.95",
    (0.05, math.inf): "1.96 2.21 2.35 2.44 2.51 2.57 2.61 2.65 2.69",
    (0.01, math.inf): "2.58 2.79 2.92 3.00 3.06 3.11 3.15 3.19 3.22",
}
ONE_SIDED = {
    (0.05, 5): "2.02 2.44 2.68 2.85 2.98 3.08 3.16 3.24 3.30",
    (0.05, 10): "1.81 2.15 2.34 2.47 2.56 2.64 2.70 2.76 2.81",
    (0.05, 20): "1.72 2.03 2.19 2.30 2.39 2.46 2.51 2.56 2.60",
    (0.05, math.inf): "1.64 1.92 2.06 2.16 2.23 2.29 2.34 2.38 2.42",
}


@pytest.mark.parametrize(("sides", "table"), [(2, TWO_SIDED), (1, ONE_SIDED)])
def test_critical_values_are_those_of_dunnetts_tables(
    sides: int, table: dict[tuple[float, float], str]
) -> None:
    """One to nine treatments: Dunnett (1964), Biometrics 20, 482 (two-sided); (1955), JASA 50, 1096 (one-sided).

    Two decimals are printed, and all of them agree.
    """
    for (alpha, df), row in table.items():
        for k, printed in enumerate(row.split(), start=1):
            found = dunnett_critical(1, [1] * k, alpha=alpha, sides=sides, degrees_of_freedom=df)
            assert found == pytest.approx(float(printed), abs=0.0051), (alpha, df, k)


def test_the_control_of_k_treatments_is_largest_by_the_root_of_k() -> None:
    """Dunnett (1955): a half for one treatment, a third for four, a quarter for nine."""
    assert [best_control_share(k) for k in (1, 4, 9)] == pytest.approx([1 / 2, 1 / 3, 1 / 4])


def test_twenty_tests_of_nothing_find_something_in_64_per_cent() -> None:
    """1 − 0.95²⁰ = 0.6415."""
    assert chance_of_any(20) == pytest.approx(0.6415, abs=5e-5)
    assert chance_of_any(0) == 0.0
    assert chance_of_any(1, 0.01) == pytest.approx(0.01)


def test_a_declared_family_adjusts_as_its_method_says() -> None:
    """p = .001, .020, .12, .42, by name."""
    ps = {"a": 0.001, "b": 0.020, "c": 0.12, "d": 0.42}
    wanted = {
        "bonferroni": [0.004, 0.080, 0.480, 1.0],
        "holm": [0.004, 0.060, 0.240, 0.420],
        "benjamini_hochberg": [0.004, 0.040, 0.160, 0.420],
        "benjamini_yekutieli": [p * 25 / 12 for p in (0.004, 0.040, 0.160, 0.420)],
    }
    for method, values in wanted.items():
        adjusted = Family(tuple(ps), method).adjust(ps)  # type: ignore[arg-type]
        assert list(adjusted.values()) == pytest.approx(values)
    assert benjamini_yekutieli([]) == ()


def test_design_effects_are_those_of_the_papers() -> None:
    """Kish: m = 21 and roh = .05 double the variance. Eldridge et al. (2006): cv .65 adds cv²·m·icc to that."""
    assert design_effect(0.05, 21) == pytest.approx(2.0)
    assert design_effect(0.05, 21, 0.65) == pytest.approx(2.0 + 0.65**2 * 21 * 0.05)


def test_the_median_of_a_normal_has_its_classic_efficiency() -> None:
    """Its spread is sqrt(π/2) times that of the mean."""
    assert quantile_spread(0.5, 1 / math.sqrt(2 * math.pi)) == pytest.approx(math.sqrt(math.pi / 2))
