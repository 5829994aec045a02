"""What a sequential method refuses, where it says that there is no estimate, and on what data it would lie."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from equipoise.errors import UsageError
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.after_stopping import after_stopping, repeated_interval, stagewise_tails
from equipoise.stats.looks.brownian import FARTHEST
from equipoise.stats.looks.classic_boundaries import obrien_fleming_boundaries, wang_tsiatis_boundaries
from equipoise.stats.looks.futility import futility_design, next_futility, stopping_probabilities
from equipoise.stats.looks.information import as_z, information, information_fraction
from equipoise.stats.looks.overrun import after_overrun
from equipoise.stats.looks.registered_boundaries import first_crossing, registered_rule
from equipoise.stats.looks.sequential import inflation, inflation_of, next_boundary
from equipoise.stats.looks.spending import (
    hwang_shih_decani,
    kim_demets,
    obrien_fleming,
    pocock,
    spending_named,
)


def estimate(value: float, error: float) -> Estimate:
    return Estimate(value=value, standard_error=error, low=-9.0, high=9.0, level=0.95, method="difference")


NOTHING = NotEstimable("there are no units in control")
GOOD = estimate(3.0, 1.0)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (information(NOTHING), "there are no units in control"),
        (
            information(estimate(0.0, 0.0)),
            "a standard error of 0 says nothing about how much has been learnt",
        ),
        (
            information(estimate(0.0, math.inf)),
            "a standard error of inf says nothing about how much has been learnt",
        ),
        (information_fraction(NOTHING, 1.0), "there are no units in control"),
        (
            information_fraction(estimate(0.0, 1.0), 4.0, before=0.25),
            "the information is 0.25 of the maximum and was 0.25 at the look before: wait until it has risen",
        ),
        (
            information_fraction(estimate(0.0, 1.1), 4.0, before=0.25),
            "the information is 0.2066 of the maximum and was 0.25 at the look before: wait until it has risen",
        ),
        (as_z(estimate(math.nan, 1.0)), "the estimate is not a finite number"),
        (after_stopping(NOTHING, [1.0], [1.96]), "there are no units in control"),
        (
            after_stopping(estimate(1.0, 1.0), [0.5], [2.8]),
            (
                "the experiment has not stopped: z is 1 and the boundary 2.8; "
                "a repeated interval has what can be said meanwhile"
            ),
        ),
        (
            after_stopping(estimate(-3.0, 1.0), [0.5], [2.8], sides=1),
            (
                "the experiment has not stopped: z is -3 and the boundary 2.8; "
                "a repeated interval has what can be said meanwhile"
            ),
        ),
        (
            after_stopping(GOOD, [0.5], [2.8], futility=[0.2]),
            "endings inside a wedge have no order from below to above; a repeated interval has what can be said",
        ),
        (repeated_interval(NOTHING, 2.0), "there are no units in control"),
        (after_overrun(GOOD, NOTHING, [0.5], [2.8]), "there are no units in control"),
        (
            after_overrun(GOOD, estimate(3.0, 1.0), [0.5], [2.8]),
            "no information has been added since the stop; report the ending itself",
        ),
        (
            after_overrun(estimate(1.0, 1.0), estimate(1.0, 0.9), [0.5], [2.8]),
            (
                "the experiment has not stopped: z is 1 and the boundary 2.8; "
                "a repeated interval has what can be said meanwhile"
            ),
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """A reason, never a number that looks like one."""
    assert result == NotEstimable(reason)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: spending_named("haybittle"),
            (
                "there is no spending function 'haybittle'; "
                "there are obrien_fleming, pocock, hwang_shih_decani, kim_demets"
            ),
        ),
        (lambda: spending_named("kim_demets"), "the spending function kim_demets needs its parameter"),
        (
            lambda: spending_named("pocock", 1.0),
            "the spending function pocock takes no parameter, but 1 was given",
        ),
        (lambda: kim_demets(0.0), "rho must be a finite number greater than 0, not 0.0"),
        (lambda: kim_demets(41.0), "rho must be at most 40, not 41.0"),
        (lambda: hwang_shih_decani(50.0), "gamma must lie strictly between -40 and 40, not 50.0"),
        (
            lambda: hwang_shih_decani(-4.0)(0.0, 0.05),
            "an information fraction must be above 0, not 0.0",
        ),
        (
            lambda: wang_tsiatis_boundaries([0.5, 1.0], 0.05, 1.0),
            "delta must lie strictly between -0.5 and 0.7, not 1.0",
        ),
        (
            lambda: next_boundary([0.5], [2.8], 1.0, 0.05, pocock, binding=[]),
            "each look needs one futility boundary, but 1 looks came with 0",
        ),
        (
            lambda: stopping_probabilities([0.5, 1.0], [2.0, 2.0], [2.5, 2.0]),
            "a futility boundary may not lie beyond its outer boundary, but 2.5 > 2",
        ),
        (
            lambda: stopping_probabilities([1.0], [2.0], [-0.5], sides=2),
            "the half-width of an inner wedge must be at least 0, not -0.5",
        ),
        (
            lambda: stopping_probabilities([0.5, 1.0], [2.0], [1.0]),
            "each look needs one boundary, but 2 looks came with 1",
        ),
        (
            lambda: futility_design([0.5, 0.9], 0.025, 0.8, pocock, pocock),
            "the last information fraction must be 1, not 0.9",
        ),
        (
            lambda: futility_design([0.5, 1.0], 0.025, 0.02, pocock, pocock),
            "power must lie strictly between 0.025 and 1, not 0.02",
        ),
        (
            lambda: next_futility([0.5], [2.8], [0.0], 0.8, 2.3, 0.2, pocock, 0.0),
            "drift must be a finite number greater than 0, not 0.0",
        ),
        (
            lambda: next_futility([0.3, 0.5], [2.8], [0.0], 0.8, 2.3, 0.2, pocock, 2.8),
            "each look needs one boundary, but 2 looks came with 1",
        ),
        (
            lambda: stagewise_tails([0.5, 1.0], [2.0], 1.0),
            "each look needs one boundary, but 2 looks came with 1",
        ),
        (
            lambda: first_crossing(registered_rule([1.0], [2.0]), [1.0, 2.0]),
            "the rule has 1 looks, but 2 statistics came",
        ),
        (
            lambda: first_crossing(registered_rule([1.0], [2.0]), [math.nan]),
            "a statistic must be a finite number, not nan",
        ),
        (lambda: information_fraction(GOOD, 0.0), "maximum must be a finite number greater than 0, not 0.0"),
        (
            lambda: information_fraction(GOOD, 1.0, before=-0.1),
            "before must be a finite number greater than 0, not -0.1",
        ),
        (
            lambda: after_overrun(GOOD, GOOD, [0.5], [2.8], share=1.0),
            "share must lie strictly between 0 and 1, not 1.0",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole message: what was wrong and what is accepted."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == sentence


def test_one_look_is_the_fixed_test_to_the_last_digit() -> None:
    """No factor of 1.0000000001 that would round a sample size up."""
    assert inflation([1.0], 0.05, 0.8, pocock).factor == 1.0
    assert inflation([1.0], 0.05, 0.8, pocock).expected == 1.0
    plan = futility_design([1.0], 0.025, 0.8, pocock, pocock)
    assert (plan.factor, plan.expected_null) == (1.0, 1.0)


def test_a_constant_is_cut_at_the_farthest_boundary() -> None:
    """O'Brien–Fleming at one per cent of the information would be a z of 19.6."""
    found = obrien_fleming_boundaries([0.01, 1.0], 0.05)
    assert found.boundaries[0] == FARTHEST
    assert found.constant == pytest.approx(1.959964, abs=1e-6)


def test_the_registered_rule_says_its_true_error_beside_the_one_meant() -> None:
    """More, less, or the one meant; and at the looks really made it may be another."""
    rule = registered_rule([0.25, 0.5, 0.75, 1.0], [3.47, 2.45, 2.14, 2.01])
    assert rule.beside(0.05) == "these boundaries have a type I error of 0.0626, more than the 0.05 meant"
    assert rule.beside(0.1) == "these boundaries have a type I error of 0.0626, less than the 0.1 meant"
    assert registered_rule([1.0], [1.96]).beside(0.05) == "these boundaries have the type I error meant, 0.05"
    seen = registered_rule([0.1, 0.2, 0.3, 1.0], rule.boundaries)
    assert seen.type_one_error > rule.type_one_error
    below = first_crossing(rule, [-0.1, -2.5])
    assert below is not None
    assert (below.look, below.side) == (2, "below")
    assert first_crossing(registered_rule([1.0], [2.0], sides=1), [-5.0]) is None


def test_stopping_for_futility_is_an_ending_with_an_estimate() -> None:
    """One-sided, at the lower boundary of the second look: a p-value above one half is possible, and honest."""
    found = after_stopping(estimate(-0.4, 1.0), [0.3, 0.6], [3.5, 2.6], futility=[-1.0, 0.3], sides=1)
    assert isinstance(found, Estimate)
    assert found.p_value is not None
    assert 0.5 < found.p_value < 0.8
    assert found.low < 0.0 < found.high


def test_an_effect_that_leaps_between_looks_leaves_the_fixed_estimate_outside() -> None:
    """A z of 12 after one below 2 is no walk: the interval then holds only effects that would not have crossed."""
    found = after_stopping(estimate(12.0, 1.0), [0.5, 1.0], [2.0, 2.0])
    assert isinstance(found, Estimate)
    assert found.high < 12.0


def test_going_on_after_a_crossing_is_told_by_no_single_number() -> None:
    """Given as an ending at the later look, a significant result gets a larger p than at its first crossing."""
    at_first = after_stopping(estimate(3.0, 1.0), [0.5], [2.8])
    later = after_stopping(estimate(3.0, 1.0), [0.5, 0.75], [2.8, 2.4])
    assert isinstance(at_first, Estimate)
    assert isinstance(later, Estimate)
    assert at_first.p_value is not None
    assert later.p_value is not None
    assert at_first.p_value < later.p_value


def test_an_overrun_may_take_a_crossing_back() -> None:
    """A crossing at z = 2.9, then an increment of the other sign: the combined p is above 0.05."""
    found = after_overrun(estimate(0.29, 0.1), estimate(0.12, 0.08), [0.4], [2.8])
    assert isinstance(found, Estimate)
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert found.low < 0.0


def test_extreme_statistics_have_finite_limits() -> None:
    """At the third look, z of 60 and −60: limits are found, in order."""
    for z in (60.0, -60.0):
        found = after_stopping(estimate(z, 1.0), [0.2, 0.5, 1.0], [4.0, 2.9, 2.0])
        assert isinstance(found, Estimate)
        assert -math.inf < found.low <= found.value <= found.high < math.inf


def test_boundaries_nobody_can_cross_have_no_power() -> None:
    """A registered table may ask for the impossible; the sentence says so."""
    with pytest.raises(UsageError, match="no effect of a plausible size crosses these boundaries"):
        inflation_of([1.0], [60.0], 0.05, 0.8)


def test_an_estimate_without_a_test_is_read_by_its_standard_error() -> None:
    """No p-value, or one of exactly 0: value over standard error."""
    far = Estimate(
        value=50.0,
        standard_error=1.0,
        low=48.0,
        high=52.0,
        level=0.95,
        method="m",
        statistic=50.0,
        p_value=0.0,
    )
    assert as_z(far) == (50.0, 1.0)
    assert as_z(estimate(2.0, 1.0)) == (2.0, 1.0)


def test_early_futility_spends_nothing_and_closes_nothing() -> None:
    """At two per cent of the information beta is practically unspent: nobody is stopped there."""
    plan = futility_design([0.02, 1.0], 0.025, 0.8, obrien_fleming, obrien_fleming)
    assert plan.futility[0] <= -3.0
    assert stopping_probabilities([0.02, 1.0], plan.boundaries, plan.futility).futility[0] < 1e-3


def test_no_sequential_file_imports_scipy_stats() -> None:
    """Its import takes most of a second, which every start-up would pay."""
    names = "looks.brownian looks.classic_boundaries looks.futility looks.after_stopping looks.overrun looks.information looks.registered_boundaries"
    code = "import sys;" + ";".join(f"import equipoise.stats.{n}" for n in names.split())
    code += ";sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
