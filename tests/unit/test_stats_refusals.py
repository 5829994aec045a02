"""What cannot be estimated says why, and what cannot be used is refused in one sentence."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from equipoise.errors import UsageError
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.proportions import difference_of_proportions, wilson_interval
from equipoise.stats.comparison.quantiles import QuantileSummary, difference_of_quantiles, quantile_of
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_means
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.families.multiplicity import holm
from equipoise.stats.health.sample_ratio import SampleRatio, anytime_sample_ratio, sample_ratio
from equipoise.stats.looks.sequential import (
    FARTHEST,
    boundaries,
    crossing_probabilities,
    inflation,
    information_for,
    next_boundary,
)
from equipoise.stats.looks.spending import obrien_fleming, pocock
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.preference import cases_to_settle, win_rate
from equipoise.stats.sizes.power import (
    detectable_two_means,
    detectable_two_proportions,
    power_two_means,
    size_two_means,
    size_two_proportions,
)
from equipoise.stats.sizes.power_margins import size_noninferior_proportions

HALVES = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (difference_of_proportions(0, 0, 3, 5), "there are no units in control"),
        (difference_of_proportions(0, 0, 0, 0), "there are no units in control or treatment"),
        (
            difference_of_proportions(0, 9, 0, 5),
            "every unit in both arms has the same outcome, so there is nothing to compare",
        ),
        (wilson_interval(0, 0), "there are no units"),
        (
            difference_of_means(Moments.of([1.0]), Moments.of([1.0, 2.0])),
            "control has 1 unit, and a spread needs at least two",
        ),
        (
            difference_of_means(Moments.of([1.0, 2.0]), Moments.zero()),
            "treatment has 0 units, and a spread needs at least two",
        ),
        (
            difference_of_means(Moments.of([0.1] * 7), Moments.of([0.3] * 7)),
            "the outcome is constant in both arms",
        ),
        (
            difference_of_ratios(PairMoments.of([1, 2], [0, 0]), PairMoments.of([1, 2], [1, 1])),
            "the denominator of control adds up to 0",
        ),
        (
            difference_of_ratios(PairMoments.of([1, 2, 3], [1, 1, 1]), PairMoments.of([1, 2, 1], [1, 0, 0])),
            "the denominator of treatment is within 3 standard errors of 0, too near to divide by",
        ),
        (
            difference_of_ratios(PairMoments.of([4, 5], [4, 5]), PairMoments.of([1.2, 1.5], [0.4, 0.5])),
            "the ratio is the same for every unit of each arm, so it has no spread",
        ),
        (
            relative_difference_of_means(Moments.of([-1.0, -2.0]), Moments.of([1.0, 2.0])),
            "the control's value is not above 0, so no change can be a fraction of it",
        ),
        (
            relative_difference_of_means(Moments.of([-1.0, 2.0]), Moments.of([1.0, 2.0])),
            "the control's value is not clearly above 0, so the relative effect has no limits at level 0.95",
        ),
        (
            sample_ratio({"a": 3, "b": 4}, HALVES),
            "3.5 units are expected in a, and the check needs at least 5 in each variant",
        ),
        (
            sample_ratio({"a": 3, "b": 0}, {"a": 1.0, "b": 0.0}),
            "only one variant has a share, so there is no ratio to check",
        ),
        (anytime_sample_ratio({"a": 0, "b": 0}, HALVES), "there are no units yet"),
        (win_rate([1.0]), "there is 1 case, and a spread needs two"),
        (quantile_of([], q=0.5), "there are no values"),
        (
            quantile_of([1.0, 2.0, 3.0], q=0.95),
            "every unit has the same share below the quantile, so it has no spread",
        ),
        (
            quantile_of([float(i) for i in range(30)], q=0.95),
            "too few turns lie beyond quantile 0.95 to bound it",
        ),
        (
            quantile_of([1.0] * 3 + [2.0] * 300 + [3.0] * 100, q=0.5),
            "the outcome does not vary around the quantile",
        ),
        (
            detectable_two_proportions(3, 3, 0.9),
            "even the largest possible rise from 0.9 would be found with less than 80% power",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """The whole sentence, and never a number."""
    assert result == NotEstimable(reason)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: difference_of_proportions(-1, 5, 1, 5),
            "the successes of control must be a whole number of at least 0, not -1",
        ),
        (
            lambda: difference_of_proportions(1, 5, 6, 5),
            "the successes of treatment cannot exceed its units, but 6 is more than 5",
        ),
        (
            lambda: difference_of_proportions(1, 5, 1, 5, level=95),
            "level must lie strictly between 0 and 1, not 95",
        ),
        (
            lambda: difference_of_proportions(1, 5, 1, 5, null=-1),
            "null must lie strictly between -1 and 1, not -1",
        ),
        (lambda: Moments(-1, 0.0, 0.0), "n must be a whole number of at least 0, not -1"),
        (lambda: Moments(1, NAN, 0.0), "mean must be a finite number, not nan"),
        (lambda: Moments(2, 0.0, -1.0), "m2 must be at least 0, not -1.0"),
        (lambda: Moments.of([1.0, NAN]), "values must all be finite numbers"),
        (lambda: PairMoments.of([1.0], []), "xs and ys must have the same length, not 1 and 0"),
        (
            lambda: sample_ratio({"a": 3}, HALVES),
            "counts and shares must name the same variants, not ['a'] and ['a', 'b']",
        ),
        (lambda: sample_ratio({"a": 3, "b": 3}, {"a": 0.5, "b": 0.6}), "shares must sum to 1, not 1.1"),
        (
            lambda: sample_ratio({"a": 3, "b": 3}, {"a": 1.5, "b": -0.5}),
            "the share of a must lie between 0 and 1, not 1.5",
        ),
        (lambda: size_two_proportions(0.0, 0.1), "baseline must lie strictly between 0 and 1, not 0.0"),
        (lambda: size_two_proportions(0.6, 0.5), "baseline + mde must lie strictly between 0 and 1, not 1.1"),
        (
            lambda: size_two_proportions(0.6, 0.0),
            "mde must not be 0: no number of units finds an effect that is not there",
        ),
        (lambda: size_two_proportions(0.6, NAN), "mde must be a finite number, not nan"),
        (
            lambda: size_two_proportions(0.6, 0.1, ratio=0),
            "ratio must be a finite number greater than 0, not 0",
        ),
        (
            lambda: size_two_proportions(0.6, 0.1, ratio=INF),
            "ratio must be a finite number greater than 0, not inf",
        ),
        (lambda: size_two_proportions(0.6, 0.1, alpha=0), "alpha must lie strictly between 0 and 1, not 0"),
        (lambda: size_two_proportions(0.6, 0.1, power=1), "power must lie strictly between 0 and 1, not 1"),
        (lambda: size_two_proportions(0.6, 0.1, sides=3), "sides must be 1 or 2, not 3"),
        (lambda: size_two_means(0.0, 0.1), "spread must be a finite number greater than 0, not 0.0"),
        (
            lambda: size_two_means(1.0, 1e-200),
            "the effect is so small that no finite number of units would find it",
        ),
        (
            lambda: size_noninferior_proportions(0.005, 0.01),
            "baseline - margin must lie strictly between 0 and 1, not -0.005",
        ),
        (
            lambda: size_noninferior_proportions(0.5, 0.01, better=cast("Any", "more")),
            "better must be 'higher' or 'lower', not 'more'",
        ),
        (
            lambda: detectable_two_means(9, 9, 1.0, power=0.02),
            "power must be above 0.025, which the test has without an effect, not 0.02",
        ),
        (lambda: boundaries([], 0.05, pocock), "at least one information fraction is needed"),
        (
            lambda: boundaries([0.5, 0.5], 0.05, pocock),
            "information fractions must rise, but 0.5 is followed by 0.5",
        ),
        (
            lambda: boundaries([0.0, 0.5], 0.05, pocock),
            "an information fraction must be a finite number greater than 0, not 0.0",
        ),
        (
            lambda: crossing_probabilities([0.5, 1], [2.0]),
            "each look needs one boundary, but 2 looks came with 1",
        ),
        (
            lambda: inflation([0.5, 0.9], 0.05, 0.8, pocock),
            "the last information fraction must be 1, not 0.9",
        ),
        (
            lambda: information_for(0.0, 0.05, 0.8),
            "mde must not be 0: no amount of information finds an effect that is not there",
        ),
        (lambda: win_rate([1.0, 1.2]), "every score must lie between 0 (loss) and 1 (win)"),
        (lambda: win_rate([1.0, NAN]), "every score must lie between 0 (loss) and 1 (win)"),
        (lambda: cases_to_settle(0.0), "margin must be a finite number greater than 0, not 0.0"),
        (lambda: holm([0.1, NAN]), "every p-value must lie between 0 and 1, not nan"),
        (lambda: QuantileSummary(0.5, 10, 1.0, 0.0), "standard_error must be greater than 0, not 0.0"),
        (
            lambda: difference_of_quantiles(
                QuantileSummary(0.5, 9, 1.0, 1.0), QuantileSummary(0.9, 9, 1.0, 1.0)
            ),
            "both arms need the same quantile, not 0.5 and 0.9",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole message: what was wrong and what is accepted."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == sentence


def test_spotless_arms_can_show_that_a_margin_holds() -> None:
    """No failure among 1,000 and 1,000 rules out a rise of one point, and the error is not 0."""
    found = difference_of_proportions(0, 1000, 0, 1000, null=0.01)
    assert isinstance(found, Estimate)
    assert found.high < 0.01
    assert found.standard_error > 0
    z2 = 1.959963985**2
    assert (found.low, found.high) == pytest.approx((-z2 / (1000 + z2), z2 / (1000 + z2)))


def test_one_constant_arm_leaves_the_degrees_of_freedom_of_the_other() -> None:
    """Welch with a treatment that never varies."""
    found = difference_of_means(Moments.of([1.0, 2.0, 4.0, 5.0]), Moments.of([0.1] * 50))
    assert isinstance(found, Estimate)
    assert found.degrees_of_freedom == pytest.approx(3.0)


def test_units_in_a_variant_without_share_are_impossible() -> None:
    """An infinite statistic and a p-value of 0 are facts here, by either check."""
    shares = {"a": 0.5, "b": 0.5, "c": 0}
    found = sample_ratio({"a": 50, "b": 50, "c": 1}, shares)
    assert isinstance(found, SampleRatio)
    assert (found.statistic, found.p_value) == (math.inf, 0.0)
    assert anytime_sample_ratio({"a": 50, "b": 50, "c": 1}, shares).p_value == 0.0  # type: ignore[union-attr]
    left_out = sample_ratio({"a": 50, "b": 50, "c": 0}, shares)
    assert isinstance(left_out, SampleRatio)
    assert left_out.degrees_of_freedom == 1


def test_very_early_looks_get_the_farthest_boundary_and_lose_nothing() -> None:
    """Nothing is spent at one per cent of the information, and the last look still spends the rest."""
    found = boundaries([0.01, 1.0], 0.05, obrien_fleming)
    assert found == pytest.approx((FARTHEST, 1.959964), abs=1e-5)
    assert crossing_probabilities([0.01, 1.0], found).total == pytest.approx(0.05, abs=1e-9)


def test_the_next_boundary_spends_what_is_left_at_the_information_seen() -> None:
    """An early last look spends all that is left; when all is spent already, the boundary is the farthest."""
    first = boundaries([0.6], 0.05, obrien_fleming)
    early = next_boundary([0.6], first, 0.9, 0.05, obrien_fleming, last=True)
    assert crossing_probabilities([0.6, 0.9], [*first, early]).total == pytest.approx(0.05, abs=1e-8)
    assert early < next_boundary([0.6], first, 0.9, 0.05, obrien_fleming)
    assert next_boundary([0.5], [1.9], 1.0, 0.05, obrien_fleming, last=True) == FARTHEST


def test_win_rate_of_four_wins_and_a_tie() -> None:
    """0.9, with the standard error that AlpacaEval reports and the exact sign test of 4 to 0."""
    found = win_rate([1, 1, 1, 1, 0.5])
    assert isinstance(found, Estimate)
    assert (found.value, found.standard_error, found.p_value) == pytest.approx((0.9, 0.1, 0.125))


def test_win_rate_without_spread_or_decision_claims_neither_certainty_nor_a_p_value() -> None:
    """All wins have a standard error above 0; all ties have no test."""
    wins, ties = win_rate([1.0] * 40), win_rate([0.5] * 40)
    assert isinstance(wins, Estimate)
    assert isinstance(ties, Estimate)
    assert wins.standard_error > 0
    assert wins.low < 1.0 == wins.high
    assert (ties.value, ties.statistic, ties.p_value) == (0.5, None, None)


def test_win_rate_turns_to_student_at_thirty_cases() -> None:
    """29 cases use the beta interval, 30 the t interval, clipped to [0, 1]."""
    few, enough = win_rate([1.0] * 28 + [0.0]), win_rate([1.0] * 29 + [0.0])
    assert isinstance(few, Estimate)
    assert isinstance(enough, Estimate)
    assert few.degrees_of_freedom is None
    assert enough.degrees_of_freedom == 29
    assert enough.high == 1.0


def test_a_gate_with_a_margin_of_ten_points_needs_197_cases() -> None:
    """Level 0.95, power 0.8, no ties."""
    assert cases_to_settle(0.10) == 197


def test_sizes_of_means_have_their_power_and_one_unit_less_has_not() -> None:
    """For small and large effects, equal and unequal arms."""
    for effect in (0.05, 0.3, 1.0, 2.5):
        n = size_two_means(2.0, 2.0 * effect)
        assert power_two_means(n.control, n.treatment, 2.0, 2.0 * effect) >= 0.8
        if n.control > 2:
            assert power_two_means(n.control - 1, n.treatment - 1, 2.0, 2.0 * effect) < 0.8
        assert detectable_two_means(n.control, n.treatment, 2.0) <= 2.0 * effect
    assert size_two_means(1.0, 0.5, ratio=2.0).treatment == pytest.approx(
        2 * size_two_means(1.0, 0.5, ratio=2.0).control, abs=2
    )


def test_boundaries_are_quick() -> None:
    """A hundred looks in a blink; the best of three runs, with room for a slow machine."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        boundaries(list(np.arange(1, 101) / 100), 0.05, obrien_fleming)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.5


def test_no_file_imports_scipy_stats() -> None:
    """Its import takes most of a second, which every start-up would pay."""
    names = "comparison.means moments families.multiplicity sizes.power preference.preference comparison.proportions comparison.quantiles comparison.ratios comparison.relative "
    names += "health.sample_ratio looks.sequential"
    code = "import sys;" + ";".join(f"import equipoise.stats.{n}" for n in names.split())
    code += ";import equipoise.design.size;sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
