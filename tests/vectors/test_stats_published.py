"""Numbers that others have printed, to the digits they printed."""

from __future__ import annotations

import pytest

from equipoise.stats.comparison.proportions import difference_of_proportions, wilson_interval
from equipoise.stats.estimate import Estimate
from equipoise.stats.families.multiplicity import benjamini_hochberg, bonferroni
from equipoise.stats.looks.sequential import boundaries, crossing_probabilities, power
from equipoise.stats.looks.spending import obrien_fleming, pocock
from equipoise.stats.sizes.power import size_two_means, size_two_proportions

FIVE = [0.2, 0.4, 0.6, 0.8, 1.0]


def equal(looks: int) -> list[float]:
    return [look / looks for look in range(1, looks + 1)]


def test_lan_demets_obrien_fleming_boundaries_are_those_of_the_tables() -> None:
    """Five equal looks, two-sided 0.05: Reboussin et al. (2000), Controlled Clinical Trials 21, 190."""
    found = boundaries(FIVE, 0.05, obrien_fleming)
    assert found == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=1e-4)


def test_lan_demets_pocock_boundaries_are_those_of_the_tables() -> None:
    """Five equal looks, two-sided 0.05, in the same source."""
    assert boundaries(FIVE, 0.05, pocock) == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4)


@pytest.mark.parametrize(
    ("looks", "constant"), [(1, 1.960), (2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)]
)
def test_pocock_constants_spend_exactly_five_per_cent(looks: int, constant: float) -> None:
    """Jennison & Turnbull (2000), table 2.1: three decimals of the constant are worth 2e-4 of error."""
    assert crossing_probabilities(equal(looks), [constant] * looks).total == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040), (10, 2.087)])
def test_obrien_fleming_constants_spend_exactly_five_per_cent(looks: int, constant: float) -> None:
    """Jennison & Turnbull (2000), table 2.3."""
    bounds = [constant / t**0.5 for t in equal(looks)]
    assert crossing_probabilities(equal(looks), bounds).total == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(
    ("looks", "constant", "ratio"),
    [(2, 2.178, 1.110), (3, 2.289, 1.166), (5, 2.413, 1.229), (10, 2.555, 1.301)],
)
def test_pocock_designs_have_their_power_at_the_printed_information(
    looks: int, constant: float, ratio: float
) -> None:
    """Jennison & Turnbull (2000), table 2.2, power 0.8."""
    drift = 2.801585 * ratio**0.5
    assert power(equal(looks), [constant] * looks, drift) == pytest.approx(0.8, abs=3e-4)


def test_the_charity_letter_is_significant_with_the_printed_z() -> None:
    """Karlan & List (2007), American Economic Review 97, 1774: 1.786% gave unmatched, 2.204% matched."""
    found = difference_of_proportions(298, 16687, 736, 33396)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(0.00418, abs=1e-5)
    assert found.statistic == pytest.approx(3.10, abs=0.005)
    assert found.p_value == pytest.approx(0.0019, abs=5e-5)


def test_score_interval_is_that_of_newcombe() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 873, table II, method 5 (Mee), examples (a) and (e)."""
    for (xt, nt, xc, nc), (low, high) in {
        (56, 70, 48, 80): (0.0533, 0.3377),
        (5, 56, 0, 29): (-0.0313, 0.1926),
    }.items():
        found = difference_of_proportions(xc, nc, xt, nt)
        assert isinstance(found, Estimate)
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_score_interval_of_ten_against_none_is_what_the_hand_finds() -> None:
    """With 10/10 against 0/10 the restricted rates are (1 ± δ)/2, so (1 − δ)/(1 + δ) = z²/20."""
    found = difference_of_proportions(0, 10, 10, 10)
    assert isinstance(found, Estimate)
    odds = 1.959963985**2 / 20
    assert (found.low, found.high) == pytest.approx(((1 - odds) / (1 + odds), 1.0), abs=1e-9)


def test_wilson_interval_is_that_of_newcombe() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3."""
    for (x, n), limits in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        found = wilson_interval(x, n)
        assert isinstance(found, Estimate)
        assert (found.low, found.high) == pytest.approx(limits, abs=6e-5)


def test_sizes_are_those_of_the_calculators() -> None:
    """Two rates as in the usual calculators; two means d = 0.2, 0.5, 0.8 as in Cohen (1988), table 2.4.1."""
    assert size_two_proportions(0.60, 0.05).control == 1471
    assert size_two_proportions(0.60, 0.05).total == 2942
    assert size_two_proportions(0.60, 0.02).total == 18672
    assert [size_two_means(1.0, d).control for d in (0.2, 0.5, 0.8)] == [394, 64, 26]


def test_adjusted_p_values_of_a_family_of_four() -> None:
    """Worked by hand from the definitions."""
    family = [0.001, 0.020, 0.12, 0.42]
    assert bonferroni(family) == pytest.approx([0.004, 0.080, 0.480, 1.0])
    assert benjamini_hochberg(family) == pytest.approx([0.004, 0.040, 0.160, 0.420])
