"""What labelling promises about chance: orders are fair coins, draws keep their probability, intervals cover.

Each tolerance is that of a count of so many trials at a chance of a false alarm of one in a million, on both sides.
"""

from __future__ import annotations

import random

import pytest
from scipy.stats import binom

from equipoise.analysis.labels import label_readout
from equipoise.conduct.labelling.items import fraction_of
from equipoise.events.facts import Label
from equipoise.stats.estimate import Estimate

ALARM = 1e-6


def within(count: int, trials: int, low: float, high: float) -> bool:
    """Whether a count is what a probability between `low` and `high` gives."""
    return binom.ppf(ALARM / 2, trials, low) <= count <= binom.isf(ALARM / 2, trials, high)


def test_who_stands_first_is_a_fair_coin_for_each_item_and_rater():
    """40,000 orders: half each; two raters of one item, and two items of one rater, agree by chance alone."""
    orders = {
        (rater, item): fraction_of("d:0", "order", f"rater {rater}", f"item {item}") < 0.5
        for rater in range(2)
        for item in range(20_000)
    }
    assert within(sum(orders.values()), 40_000, 0.5, 0.5)
    assert within(sum(orders[0, n] == orders[1, n] for n in range(20_000)), 20_000, 0.5, 0.5)
    assert within(sum(orders[0, n] == orders[0, n + 1] for n in range(19_999)), 19_999, 0.5, 0.5)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_an_item_is_drawn_with_its_probability_whatever_else_is_drawn_of_it(share):
    """20,000 items; those that overlap, and those shown first, are drawn as often as the others."""
    drawn = [n for n in range(20_000) if fraction_of("d:0", "draw", f"{n}") < share]
    assert within(len(drawn), 20_000, share, share)
    overlapping = sum(fraction_of("d:0", "overlap", f"{n}") < 0.3 for n in drawn)
    assert within(overlapping, len(drawn), 0.3, 0.3)


def _labels(rng: random.Random, items: int, win: float, lean: float, raters: int) -> list[Label]:
    """Items differ in how clearly they are won; people lean to what they see first."""
    said = []
    for item in range(items):
        truth = min(1.0, max(0.0, win + rng.uniform(-0.3, 0.3)))
        for rater in range(raters if item % 2 else 1):
            first = rng.random() < 0.5
            chance = min(1.0, max(0.0, truth + (lean if first else -lean)))
            said.append(
                Label(
                    experiment="e",
                    happened=float(item),
                    name="preference",
                    rater=f"rater {rater}",
                    item=f"case {item}",
                    variant="b",
                    first="b" if first else "control",
                    value=float(rng.random() < chance),
                )
            )
    return said


@pytest.mark.long
@pytest.mark.parametrize(("items", "lean"), [(60, 0.0), (60, 0.1), (200, 0.1)])
def test_win_rate_and_lean_cover_what_is_true(items, lean):
    """2,000 tasks, half of the items seen by three: both intervals hold the truth in 93 to 97 of a hundred."""
    rng = random.Random(items + 1)
    trials, covered, leans = 2_000, 0, 0
    for _ in range(trials):
        found = label_readout("e", _labels(rng, items, 0.55, lean, 3), control="control")
        rate = found.preferences[0].win_rate
        assert isinstance(rate, Estimate)
        assert isinstance(found.lean, Estimate)
        covered += rate.low <= 0.55 <= rate.high
        leans += found.lean.low <= lean <= found.lean.high
    assert within(covered, trials, 0.93, 0.97), covered
    assert within(leans, trials, 0.93, 0.97), leans


@pytest.mark.long
def test_items_drawn_with_unequal_probabilities_do_not_tilt_the_rate():
    """2,000 tasks: bad answers are drawn five times as often as good ones; the weighted rate covers the truth.

    Unweighted it would be 0.23 instead of 0.6, and never cover.
    """
    rng = random.Random(3)
    trials, covered = 2_000, 0
    for _ in range(trials):
        said = []
        for item in range(800):
            good = rng.random() < 0.6
            probability = 0.1 if good else 0.5
            if rng.random() < probability:
                said.append(
                    Label(
                        experiment="e",
                        happened=0.0,
                        name="thumbs",
                        rater="jo",
                        item=f"t{item}",
                        variant="b",
                        value=float(good),
                        probability=probability,
                    )
                )
        mean = label_readout("e", said, control="control").grades[0].mean
        assert isinstance(mean, Estimate)
        covered += mean.low <= 0.6 <= mean.high
    assert within(covered, trials, 0.925, 0.97), covered
