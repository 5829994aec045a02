"""Boundaries, constants and costs of looking that others have printed, to the digits they printed."""

from __future__ import annotations

import pytest

from equipoise.stats.looks.classic_boundaries import (
    obrien_fleming_boundaries,
    pocock_boundaries,
    wang_tsiatis_boundaries,
)
from equipoise.stats.looks.futility import futility_design, stopping_probabilities
from equipoise.stats.looks.registered_boundaries import first_crossing, registered_rule
from equipoise.stats.looks.sequential import boundaries, crossing_probabilities, inflation, inflation_of
from equipoise.stats.looks.spending import (
    hwang_shih_decani,
    kim_demets,
    obrien_fleming,
    obrien_fleming_of_both_tails,
    pocock,
)

HALF_A_DIGIT = 0.5e-3 + 1e-6


def equal(looks: int) -> list[float]:
    return [look / looks for look in range(1, looks + 1)]


@pytest.mark.parametrize(
    ("alpha", "constants"),
    [
        (0.01, [2.576, 2.772, 2.873, 2.939, 2.986, 3.023, 3.053, 3.078, 3.099, 3.117]),
        (0.05, [1.960, 2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512, 2.535, 2.555]),
        (0.10, [1.645, 1.875, 1.992, 2.067, 2.122, 2.164, 2.197, 2.225, 2.249, 2.270]),
    ],
)
def test_pocock_constants_are_those_of_the_table(alpha: float, constants: list[float]) -> None:
    """Jennison & Turnbull (2000), table 2.1, K = 1 to 10, all three levels."""
    found = [pocock_boundaries(equal(k), alpha).constant for k in range(1, 11)]
    assert found == pytest.approx(constants, abs=HALF_A_DIGIT)


@pytest.mark.parametrize(
    ("alpha", "constants"),
    [
        (0.01, [2.576, 2.580, 2.595, 2.609, 2.621, 2.631, 2.640, 2.648, 2.654, 2.660]),
        (0.05, [1.960, 1.977, 2.004, 2.024, 2.040, 2.053, 2.063, 2.072, 2.080, 2.087]),
        (0.10, [1.645, 1.678, 1.710, 1.733, 1.751, 1.765, 1.776, 1.786, 1.794, 1.801]),
    ],
)
def test_obrien_fleming_constants_are_those_of_the_table(alpha: float, constants: list[float]) -> None:
    """Jennison & Turnbull (2000), table 2.3, K = 1 to 10, all three levels."""
    found = [obrien_fleming_boundaries(equal(k), alpha).constant for k in range(1, 11)]
    assert found == pytest.approx(constants, abs=HALF_A_DIGIT)


@pytest.mark.parametrize(
    ("delta", "two", "five"), [(0.1, 1.994, 2.068), (0.25, 2.038, 2.136), (0.4, 2.111, 2.267)]
)
def test_wang_tsiatis_constants_are_those_of_the_table(delta: float, two: float, five: float) -> None:
    """Jennison & Turnbull (2000), table 2.9, alpha 0.05, two and five looks."""
    for looks, constant in ((2, two), (5, five)):
        assert wang_tsiatis_boundaries(equal(looks), 0.05, delta).constant == pytest.approx(
            constant, abs=HALF_A_DIGIT
        )


@pytest.mark.parametrize(
    ("looks", "pocock_ratios", "fleming_ratios"),
    [
        (2, (1.110, 1.100), (1.008, 1.007)),
        (3, (1.166, 1.151), (1.017, 1.016)),
        (4, (1.202, 1.183), (1.024, 1.022)),
        (5, (1.229, 1.207), (1.028, 1.026)),
        (10, (1.301, 1.271), (1.040, 1.037)),
    ],
)
def test_classic_designs_need_the_printed_information(
    looks: int, pocock_ratios: tuple[float, float], fleming_ratios: tuple[float, float]
) -> None:
    """Jennison & Turnbull (2000), tables 2.2 and 2.4, alpha 0.05, power 0.8 and 0.9."""
    for made, ratios in (
        (pocock_boundaries, pocock_ratios),
        (obrien_fleming_boundaries, fleming_ratios),
    ):
        limits = made(equal(looks), 0.05).boundaries
        found = [inflation_of(equal(looks), limits, 0.05, power).factor for power in (0.8, 0.9)]
        assert found == pytest.approx(ratios, abs=HALF_A_DIGIT)


def test_the_three_things_called_obrien_fleming_are_three() -> None:
    """Five looks, two-sided 0.05: the middle row is that of Reboussin et al. (2000); 1e-4 all."""
    exact = obrien_fleming_boundaries(equal(5), 0.05).boundaries
    assert exact == pytest.approx([4.5617, 3.2256, 2.6337, 2.2809, 2.0401], abs=1e-4)
    per_tail = boundaries(equal(5), 0.05, obrien_fleming)
    assert per_tail == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=1e-4)
    of_both = boundaries(equal(5), 0.05, obrien_fleming_of_both_tails)
    assert of_both == pytest.approx([4.3826, 3.0997, 2.5534, 2.2538, 2.0635], abs=1e-4)
    for limits in (exact, per_tail, of_both):
        assert crossing_probabilities(equal(5), limits).total == pytest.approx(0.05, abs=1e-8)


def test_pocock_spent_and_pocock_exact_are_those_of_the_manual() -> None:
    """Anderson, gsDesign technical manual, section 8: four looks, 0.025 each side, printed to 1e-6."""
    spent = boundaries(equal(4), 0.05, pocock)
    assert spent == pytest.approx([2.368328, 2.367524, 2.358168, 2.350030], abs=5e-6)
    assert pocock_boundaries(equal(4), 0.05).constant == pytest.approx(2.361298, abs=2e-6)
    assert [pocock(t, 0.025) for t in equal(4)] == pytest.approx(
        [0.00893435, 0.01550286, 0.02069972, 0.025], abs=1e-8
    )


def test_hwang_shih_decani_design_is_that_of_gsdesign() -> None:
    """The R package's own printed output, five looks, one-sided 0.025, power 0.9, gamma −4."""
    spending = hwang_shih_decani(-4)
    assert boundaries(equal(5), 0.025, spending, 1) == pytest.approx([3.25, 2.99, 2.69, 2.37, 2.03], abs=5e-3)
    design = inflation(equal(5), 0.025, 0.9, spending, 1)
    assert design.factor == pytest.approx(1.023, abs=HALF_A_DIGIT)
    assert design.factor * design.expected == pytest.approx(0.7366, abs=6e-5)


def test_binding_futility_is_that_of_gsdesign() -> None:
    """Printed output, test type 3: alpha by gamma −4, beta by gamma −2, five looks, power 0.9."""
    plan = futility_design(equal(5), 0.025, 0.9, hwang_shih_decani(-4), hwang_shih_decani(-2), binding=True)
    assert plan.factor == pytest.approx(1.069, abs=HALF_A_DIGIT)
    assert plan.futility == pytest.approx([-0.92, -0.07, 0.66, 1.32, 1.97], abs=5.1e-3)
    assert plan.boundaries == pytest.approx([3.25, 2.99, 2.69, 2.37, 1.97], abs=5.1e-3)
    assert (plan.average_null, plan.average_design) == pytest.approx((0.5636, 0.7306), abs=6e-5)
    null = stopping_probabilities(equal(5), plan.boundaries, plan.futility)
    assert null.futility == pytest.approx([0.1777, 0.3135, 0.2708, 0.1527, 0.0602], abs=6e-5)


def test_nonbinding_futility_is_that_of_gsdesign() -> None:
    """Printed output, test type 4, at 800 for the fixed design: 882 at most, 458.0 and 595.2 on average."""
    plan = futility_design(equal(5), 0.025, 0.9, hwang_shih_decani(-4), hwang_shih_decani(-2))
    assert plan.futility == pytest.approx([-0.90, -0.04, 0.69, 1.36, 2.03], abs=5.1e-3)
    assert plan.type_one_error == pytest.approx(0.0226, abs=6e-5)
    averages = (800 * plan.average_null, 800 * plan.average_design)
    assert averages == pytest.approx((458.0, 595.2), abs=0.06)
    effect = stopping_probabilities(equal(5), plan.boundaries, plan.futility, plan.drift)
    assert effect.futility == pytest.approx([0.0077, 0.0115, 0.0171, 0.0256, 0.0381], abs=6e-5)


@pytest.mark.parametrize(
    "spending", [obrien_fleming, hwang_shih_decani(-4)], ids=["obrien_fleming", "hwang_shih_decani"]
)
def test_fourteen_looks_cost_and_save_what_is_promised(spending: object) -> None:
    """Power 0.8: average at the design effect at most .79 of the fixed test, maximum at most 1.045."""
    design = inflation(equal(14), 0.05, 0.8, spending)  # type: ignore[arg-type]
    assert design.factor <= 1.045
    assert design.factor * design.expected <= 0.79


def test_five_looks_with_futility_cost_and_save_what_is_promised() -> None:
    """One-sided 0.025, power 0.8, non-binding: under the null at most .59, maximum at most 1.165.

    The two-sided inner wedge beside it keeps the maximum and saves less: harm has to be proven too.
    """
    plan = futility_design(equal(5), 0.025, 0.8, obrien_fleming, obrien_fleming)
    assert plan.average_null <= 0.59
    assert plan.factor <= 1.165
    wedge = futility_design(equal(5), 0.05, 0.8, obrien_fleming, obrien_fleming, sides=2)
    assert (wedge.factor, wedge.average_null) == pytest.approx((1.1618, 0.7336), abs=1e-4)


def test_a_rule_of_plain_boundaries_stops_where_it_says_with_the_error_it_has() -> None:
    """Looks .25/.5/.75/1 with 3.47/2.45/2.14/2.01; z of 1.20, 2.10, 2.31 stops at the third. True error .0626."""
    rule = registered_rule([0.25, 0.5, 0.75, 1.0], [3.47, 2.45, 2.14, 2.01])
    found = first_crossing(rule, [1.20, 2.10, 2.31])
    assert found is not None
    assert (found.look, found.boundary, found.side) == (3, 2.14, "above")
    assert first_crossing(rule, [1.20, 2.10]) is None
    assert rule.type_one_error == pytest.approx(0.0626, abs=5e-5)


def test_power_family_spends_a_power_of_the_fraction() -> None:
    """Kim & DeMets (1987): by half of the information, rho 1, 2 and 3 have spent 1/2, 1/4 and 1/8 of alpha."""
    assert [kim_demets(rho)(0.5, 0.04) for rho in (1, 2, 3)] == pytest.approx([0.02, 0.01, 0.005])
