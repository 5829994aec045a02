"""What cannot be estimated says why, and what cannot be used is refused in one sentence."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from equipoise.design.conditions import Conditions, days_needed
from equipoise.design.outcomes import JudgedProportion, Mean, Proportion, quantile_outcome, ratio_outcome
from equipoise.design.size import detectable, labels_for, size
from equipoise.errors import UsageError
from equipoise.stats.comparison.quantiles import QuantileSummary
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.families.dunnett import best_control_share, dunnett_adjusted, dunnett_critical
from equipoise.stats.families.multiplicity import Family, chance_of_any
from equipoise.stats.health.carry_over import SlotCells, carry_over
from equipoise.stats.health.logged_ratio import LoggedAllocation, anytime_logged_ratio, logged_ratio
from equipoise.stats.health.novelty import DailyMoments, effect_trend
from equipoise.stats.health.sample_ratio import (
    Epoch,
    SampleRatio,
    anytime_sample_ratio_by_epoch,
    sample_ratio_by_epoch,
)
from equipoise.stats.health.segments import SegmentRates, segment_mix, simpson_check
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.sizes.power_clusters import design_effect
from equipoise.stats.sizes.power_curves import power_curve
from equipoise.stats.sizes.power_judged import judge_correlation, judged_rates, judged_spread, labels_needed
from equipoise.stats.sizes.power_margins import excludable_margin_means, excludable_margin_proportions
from equipoise.stats.sizes.power_pilot import pilot_spread, ratio_spread

HALF, NAN = {"a": 0.5, "b": 0.5}, math.nan
SETTLED = LoggedAllocation.of(("a", "b"), [0] * 500, [[0.999, 0.001]] * 500)
FLAT = DailyMoments.of([[1.0, 2.0], [1.1, 2.1]])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (sample_ratio_by_epoch([]), "there are no epochs"),
        (anytime_sample_ratio_by_epoch([]), "there are no epochs"),
        (
            anytime_sample_ratio_by_epoch([Epoch({"a": 0, "b": 0}, HALF)] * 2),
            "there are no units yet",
        ),
        (
            sample_ratio_by_epoch([Epoch({"a": 9, "b": 0}, {"a": 1, "b": 0})] * 2),
            "no epoch has units and two variants with a share, so there is no ratio to check",
        ),
        (
            sample_ratio_by_epoch([Epoch({"a": 2, "b": 1}, HALF)] * 2),
            "3.0 units are expected in a variant over all epochs, and the check needs at least 5 in each",
        ),
        (
            logged_ratio(SETTLED),
            (
                "the units of b were too nearly decided to be checked: their number has a variance of 0.5, "
                "and the check needs at least 5"
            ),
        ),
        (
            logged_ratio(LoggedAllocation.of(("a", "b"), [0], [[1.0, 0.0]])),
            "fewer than two variants ever had a chance, so there is no ratio to check",
        ),
        (anytime_logged_ratio(("a", "b"), [], np.zeros((0, 2))), "there are no units yet"),
        (
            segment_mix({"A": {"x": 5}}),
            "fewer than two arms have units, so there are no mixes to compare",
        ),
        (
            segment_mix({"A": {"x": 5}, "B": {"x": 7}}),
            "there is only one segment, so the mix cannot differ",
        ),
        (
            segment_mix({"A": {"x": 500, "y": 2}, "B": {"x": 500, "y": 1}}),
            "1.5 units are expected in a segment of one arm, and the check needs at least 5",
        ),
        (simpson_check({"x": SegmentRates(1, 5, 0, 0)}), "no segment has units in both arms"),
        (effect_trend([1, 2], FLAT, FLAT), "the outcome is constant in both arms"),
        (
            carry_over(SlotCells(control_control=Moments.of([1.0]))),
            "control after control was seen in 1 slot, and a spread needs at least two",
        ),
        (
            carry_over(SlotCells(*[], **dict.fromkeys(SlotCells.__slots__, Moments.of([2.0, 2.0])))),
            "the outcome is constant in all four kinds of slot",
        ),
        (
            pilot_spread(Moments.of([1.0, 2.0])),
            "the pilot has 2 units, and a spread to plan with needs at least 10",
        ),
        (pilot_spread(Moments.of([2.0] * 20)), "the outcome is constant in the pilot"),
        (
            pilot_spread(PairMoments.of([1.0] * 20, [-1.0, 1.0] * 10)),
            "the denominator of the pilot is too near 0 to divide by",
        ),
        (
            pilot_spread(PairMoments.of([2.0, 4.0] * 10, [1.0, 2.0] * 10)),
            "the ratio is the same for every unit of the pilot, so it has no spread",
        ),
        (ratio_spread(2.0, 1.0, 0.4, 0.2, 1.0), "x is an exact multiple of y, so the ratio has no spread"),
        (
            judged_rates(0.6, 0.05, 0.4, 0.6),
            (
                "a judge whose sensitivity and specificity sum to no more than 1 "
                "passes failures as readily as successes, so it shows no difference"
            ),
        ),
        (
            labels_needed(0.49, 0.05, 1000, 0.9),
            (
                "with every one of 1000 judged units per arm labelled the effect would still be missed; "
                "it needs 1508 units per arm"
            ),
        ),
        (
            excludable_margin_proportions(3, 3, 0.5),
            "even the widest margin that a rate of 0.5 has room for would be held with less than 80% power",
        ),
        (detectable(Proportion(0.6), 3), "3 units leave an arm with 1 unit, and each needs at least two"),
        (
            detectable(Proportion(0.6), 60, conditions=Conditions(icc=0.1, cluster_size=20)),
            "60 units leave an arm with 1 cluster, and each needs at least two",
        ),
        (
            detectable(JudgedProportion(0.9, 0.6, 0.6), 500),
            "even the largest possible rise from 0.9 would be found with less than 80% power",
        ),
        (
            labels_for(
                JudgedProportion(0.6, 0.9, 0.8), size(JudgedProportion(0.6, 0.9, 0.8), 0.05, ratio=2.0)
            ),
            "labels are only planned for two plain arms of equal size",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """The whole sentence, and never a number."""
    assert result == NotEstimable(reason)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: dunnett_critical(1, []), "at least one treatment is needed"),
        (
            lambda: dunnett_critical(0, [1]),
            "the weight of control must be a finite number greater than 0, not 0",
        ),
        (
            lambda: dunnett_critical(1, [1], degrees_of_freedom=0.5),
            "degrees_of_freedom must be at least 1, not 0.5",
        ),
        (
            lambda: dunnett_critical(1, [1], alpha=0.6, sides=1),
            "alpha must lie strictly between 0 and 0.5, not 0.6",
        ),
        (
            lambda: dunnett_adjusted([1.0], 1, [1, 1]),
            "each treatment needs one statistic, but 2 treatments came with 1",
        ),
        (lambda: dunnett_adjusted([NAN], 1, [1]), "a statistic must be a finite number, not nan"),
        (lambda: best_control_share(0), "treatments must be a whole number of at least 1, not 0"),
        (lambda: chance_of_any(-1), "tests must be a whole number of at least 0, not -1"),
        (lambda: Family((), "holm"), "a family needs at least one member"),
        (lambda: Family(("a", "a"), "holm"), "a is named twice in one family"),
        (
            lambda: Family(("a",), cast("Any", "sidak")),
            "method must be one of bonferroni, holm, benjamini_hochberg, benjamini_yekutieli, not 'sidak'",
        ),
        (
            lambda: Family(("a", "b"), "holm").adjust({"a": 0.1}),
            "p-values must come for exactly the members ['a', 'b'], not ['a']",
        ),
        (
            lambda: sample_ratio_by_epoch([Epoch({"a": 1, "b": 1}, HALF), Epoch({"a": 1}, {"a": 1.0})]),
            "all epochs must name the same variants, not ['a', 'b'] and ['a']",
        ),
        (lambda: Epoch({"a": 1, "b": 1}, {"a": 0.5, "b": 0.6}), "shares must sum to 1, not 1.1"),
        (
            lambda: LoggedAllocation.of(("a", "b"), [0], [[0.5, 0.6]]),
            "the probabilities of each unit must be at least 0 and sum to 1",
        ),
        (
            lambda: LoggedAllocation.of(("a", "b"), [0], [[NAN, 0.5]]),
            "the probabilities of each unit must be at least 0 and sum to 1",
        ),
        (
            lambda: LoggedAllocation.of(("a", "b"), [2], [[0.5, 0.5]]),
            "a chosen variant must be a number from 0 to 1",
        ),
        (
            lambda: LoggedAllocation.of(("a", "b"), [0, 1], [[0.5, 0.5]]),
            "each unit needs one row of probabilities, but 2 came with 1",
        ),
        (
            lambda: SegmentRates(3, 2, 0, 0),
            "the successes of control cannot exceed its units, but 3 is more than 2",
        ),
        (lambda: effect_trend([1], FLAT, FLAT), "a trend needs at least two days, and they must rise"),
        (
            lambda: effect_trend([1, 2, 3], FLAT, FLAT),
            "control has moments of 2 days, and 3 days are named",
        ),
        (
            lambda: DailyMoments.of([[1.0], [1.0, 2.0]]),
            "every unit must have a value for each day, but the rows differ in length",
        ),
        (
            lambda: pilot_spread(Moments.of([1.0, 2.0] * 9), assurance=0.4),
            "assurance must be at least 0.5 and below 1, not 0.4",
        ),
        (lambda: design_effect(1.5, 10), "icc must lie between 0 and 1, not 1.5"),
        (lambda: design_effect(0.5, 0.5), "cluster_size must be at least 1, not 0.5"),
        (lambda: design_effect(0.5, 10, -1), "cluster_cv must be at least 0, not -1"),
        (lambda: judged_spread(1.0, 0.0), "correlation must lie between -1 and 1 and not be 0, not 0"),
        (
            lambda: judge_correlation(0.5, 1.0, 0.0),
            "the judge always says the same, so it correlates with nothing",
        ),
        (lambda: power_curve(lambda e: e, 0.0), "up_to must not be 0: a curve needs effects to run through"),
        (
            lambda: excludable_margin_means(9, 9, 1.0, power=0.02),
            "power must be above 0.025, which the test has without an effect, not 0.02",
        ),
        (lambda: Conditions(arms=1), "arms must be a whole number of at least 2, not 1"),
        (lambda: Conditions(looks=0), "looks must be a whole number of at least 1, not 0"),
        (
            lambda: Conditions(correction=cast("Any", "holm")),
            "correction must be 'dunnett' or 'bonferroni', not 'holm'",
        ),
        (lambda: Conditions(icc=0.1), "icc and cluster_size belong together: give both, or neither"),
        (lambda: Conditions(cluster_cv=0.1), "cluster_cv needs icc and cluster_size beside it"),
        (lambda: days_needed(10, 0), "units_per_day must be a finite number greater than 0, not 0"),
        (
            lambda: days_needed(10, 5, burn_in_days=-1),
            "burn_in_days must be a finite number of at least 0, not -1",
        ),
        (
            lambda: quantile_outcome(0.95),
            "a quantile needs either density, or pilot_error and pilot_units",
        ),
        (
            lambda: ratio_outcome(1.0, 0.0, 1.0, 1.0, 0.0),
            "mean_y must not be 0: nothing can be divided by it",
        ),
        (
            lambda: size(Proportion(0.98), 0.05, conditions=Conditions(icc=0.1, cluster_size=5)),
            "baseline + mde must lie strictly between 0 and 1, not 1.03",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole message: what was wrong and what is accepted."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == sentence


def test_a_member_that_is_not_estimable_still_counts() -> None:
    """Two members of three have results, and Bonferroni multiplies by three."""
    broken = NotEstimable("there are no units")
    found = Family(("x", "y", "z"), "bonferroni").adjust({"z": 0.01, "y": broken, "x": 0.02})
    assert found == {"x": pytest.approx(0.06), "y": broken, "z": pytest.approx(0.03)}
    assert list(found) == ["x", "y", "z"]


def test_units_that_could_not_be_are_a_fact_in_every_check() -> None:
    """A variant of share or probability 0 with a unit in it: infinite evidence, p = 0."""
    epochs = [Epoch({"a": 10, "b": 0}, {"a": 1, "b": 0}), Epoch({"a": 50, "b": 50}, HALF)]
    wrong = [Epoch({"a": 10, "b": 1}, {"a": 1, "b": 0}), epochs[1]]
    assert isinstance(sound := sample_ratio_by_epoch(epochs), SampleRatio)
    assert sound.p_value == pytest.approx(1.0)
    assert sample_ratio_by_epoch(wrong).p_value == 0.0  # type: ignore[union-attr]
    assert anytime_sample_ratio_by_epoch(wrong).p_value == 0.0  # type: ignore[union-attr]
    rows = [[0.5, 0.5]] * 50 + [[1.0, 0.0]]
    chosen = [0, 1] * 25 + [1]
    assert logged_ratio(LoggedAllocation.of(("a", "b"), chosen, rows)).p_value == 0.0  # type: ignore[union-attr]
    assert anytime_logged_ratio(("a", "b"), chosen, rows).p_value == 0.0  # type: ignore[union-attr]


def test_a_variant_may_join_in_a_later_epoch() -> None:
    """A share of 0 at first is no hindrance: the new variant starts without a tilt."""
    epochs = [
        Epoch({"a": 500, "b": 500, "c": 0}, {"a": 0.5, "b": 0.5, "c": 0}),
        Epoch({"a": 100, "b": 100, "c": 100}, dict.fromkeys("abc", 1 / 3)),
    ]
    assert sample_ratio_by_epoch(epochs).degrees_of_freedom == 3  # type: ignore[union-attr]
    assert anytime_sample_ratio_by_epoch(epochs).p_value == 1.0  # type: ignore[union-attr]


def test_the_readings_of_a_trend() -> None:
    """Fading, growing, reversing and steady, for a positive and a negative effect."""
    rng = np.random.default_rng(41)
    noise = rng.normal(0, 0.1, (2, 50, 3))
    control = DailyMoments.of(noise[0])
    for effect, reading in {
        (3.0, 2.0, 1.0): "fading",
        (-3.0, -2.0, -1.0): "fading",
        (1.0, 2.0, 3.0): "growing",
        (-1.0, -2.0, -3.0): "growing",
        (1.0, 0.2, -0.8): "reversing",
        (1.0, 1.0, 1.0): "steady",
    }.items():
        found = effect_trend([1, 2, 3], control, DailyMoments.of(noise[1] + effect))
        assert found.reading == reading  # type: ignore[union-attr]


def test_rare_segments_are_counted_together() -> None:
    """A hundred countries of two users each are one segment of two hundred."""
    rare = {f"country {i}": 1 for i in range(100)}
    found = segment_mix({"A": {"home": 500, **rare}, "B": {"home": 500, **rare}})
    assert found.degrees_of_freedom == 1  # type: ignore[union-attr]


def test_optimal_allocation_needs_the_fewest_units() -> None:
    """With four treatments a control twice as large beats equal arms, and any larger one."""
    totals = {r: size(Mean(1.0), 0.1, ratio=r, conditions=Conditions(arms=5)).total for r in (1.0, 0.5, 0.25)}
    assert totals[0.5] < totals[1.0]
    assert totals[0.5] < totals[0.25]


def test_no_new_file_imports_scipy_stats() -> None:
    """Its import takes most of a second, which every start-up would pay."""
    names = "health.carry_over families.dunnett health.logged_ratio health.novelty sizes.power_clusters sizes.power_curves sizes.power_judged "
    names += "sizes.power_margins sizes.power_pilot health.sample_ratio health.segments"
    code = "import sys;" + ";".join(f"import equipoise.stats.{n}" for n in names.split())
    code += ";import equipoise.design.size;sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_quantile_pilot_keeps_the_likeness_of_turns() -> None:
    """Its standard error times the root of its units, not of its turns."""
    assert pilot_spread(QuantileSummary(0.95, 400, 2.0, 0.1)) == pytest.approx(2.0)
