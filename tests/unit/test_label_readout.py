"""What labels show, on numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from equipoise.analysis.labels import label_readout
from equipoise.events.facts import Label
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.judge_lean import position_lean_one_order


def label(item: int, value: float | None, *, name: str = "preference", rater: str = "jo", **more) -> Label:
    given = {"variant": "b", "first": "b" if item % 2 else "control", "seconds": 10.0} | more
    return Label(
        experiment="e",
        happened=float(item),
        name=name,
        rater=rater,
        item=f"case {item}",
        value=value,
        **given,
    )


def test_a_win_rate_is_over_items_and_counts_are_of_labels():
    """Two raters of one item are one item; a pass is no loss; what was taken back is as if it had never been."""
    said = [label(n, [1.0, 1.0, 0.0, 0.5][n % 4]) for n in range(40)]
    said += [label(n, 0.0, rater="kim") for n in range(0, 40, 4)]
    said += [label(40, None), label(41, 0.0)]
    said += [label(41, None, replaces=said[-1].event_id)]
    (row,) = label_readout("e", said, control="control").preferences
    assert (row.items, row.labels, row.wins, row.ties, row.losses, row.passed) == (40, 50, 20, 10, 20, 1)
    expected = share_over_cases([[0.5, 1.0, 0.0, 0.5][n % 4] for n in range(40)], null=0.5)
    assert row.win_rate == expected


def test_what_was_drawn_less_often_weighs_more():
    """Items drawn with probability 1/10 stand for ten times as many as those drawn with certainty."""
    said = [label(n, float(n % 2), probability=1.0 if n < 30 else 0.1) for n in range(60)]
    (row,) = label_readout("e", said, control="control").preferences
    weights = [1.0] * 30 + [10.0] * 30
    assert row.win_rate == share_over_cases([float(n % 2) for n in range(60)], weights=weights, null=0.5)


def test_items_of_one_unit_or_document_are_not_independent():
    """The unit of a turn, and the cluster of a case, widen the interval as they must."""
    values = [float(n // 4 % 2) for n in range(80)]
    alone = (
        label_readout("e", [label(n, v) for n, v in enumerate(values)], control="control")
        .preferences[0]
        .win_rate
    )
    units = [label(n, v, unit=f"unit {n // 4}") for n, v in enumerate(values)]
    clustered = label_readout("e", units, control="control").preferences[0].win_rate
    documents = label_readout(
        "e",
        [label(n, v) for n, v in enumerate(values)],
        control="control",
        clusters={f"case {n}": f"document {n // 4}" for n in range(80)},
    ).preferences[0]
    assert isinstance(alone, Estimate)
    assert isinstance(clustered, Estimate)
    assert clustered == documents.win_rate
    assert clustered.standard_error == pytest.approx(2 * alone.standard_error, rel=0.1)


def test_what_was_drawn_for_a_dispute_is_no_part_of_a_rate():
    """It says nothing of the rest; it counts apart, and for the raters' time."""
    said = [label(n, 1.0 if n % 3 else 0.0) for n in range(30)]
    more = [label(100 + n, 0.0, draw="disagreement") for n in range(50)]
    plain, both = (
        label_readout("e", said, control="control"),
        label_readout("e", said + more, control="control"),
    )
    assert (both.preferences, both.lean, both.strengths) == (plain.preferences, plain.lean, plain.strengths)
    assert (plain.disputed, both.disputed, both.items) == (0, 50, 30)
    assert (plain.raters[0].answered, both.raters[0].answered) == (30, 80)


def test_the_lean_is_of_people_as_of_judges():
    """Whoever takes what is shown first in six of ten leans by 10 points; each item counts once."""
    values = {n: float((n % 10 < 6) == (n % 2 == 1)) for n in range(100)}
    said = [label(n, v) for n, v in values.items()]
    found = label_readout("e", said, control="control").lean
    assert isinstance(found, Estimate)
    expected = position_lean_one_order(list(values.values()), [n % 2 == 1 for n in values])
    assert (found.value, found.standard_error) == (expected.value, expected.standard_error)
    assert found.value == pytest.approx(0.1)
    twice = said + [label(n, 1.0, rater="kim") for n in range(100)]
    assert label_readout("e", twice, control="control").lean == found


def test_strengths_stand_on_two_scales_best_first():
    """Log-odds that add up to nothing, and the same on Elo's scale about 1000, each with its interval."""
    said = [label(n, float(n % 4 != 0)) for n in range(40)]
    said += [label(n, float(n % 8 < 2), variant="c", first="c") for n in range(40)]
    found = label_readout("e", said, control="control").strengths
    assert isinstance(found, tuple)
    assert [each.variant for each in found] == ["b", "control", "c"]
    assert sum(each.log_odds.value for each in found) == pytest.approx(0.0, abs=1e-9)
    assert [each.rating.value for each in found] == pytest.approx([1190.85, 1000.0, 809.15], abs=0.01)
    assert all(each.rating.low < each.rating.value < each.rating.high for each in found)


def test_a_strength_that_is_the_same_in_every_cluster_has_no_spread():
    """What one treatment gains another loses, case by case: control stays where it is, and that is said."""
    said = [label(n, float(n % 4 != 0)) for n in range(40)]
    said += [label(n, float(n % 4 == 0), variant="c", first="c") for n in range(40)]
    assert label_readout("e", said, control="control").strengths == NotEstimable(
        "control's strength comes out the same in every cluster, so it has no spread"
    )


def test_grades_of_the_same_cases_are_compared_case_by_case():
    """Means by axis, control first; the difference is paired, and of turns it is that of two means."""
    grades = [(n % 3 + 1, min(5, n % 3 + 1 + n % 2)) for n in range(60)]
    said = []
    for n, (one, other) in enumerate(grades):
        said += [
            label(n, float(one), name="clarity", variant="control", first=None),
            label(n, float(other), name="clarity", first=None),
        ]
    control, treated = label_readout("e", said, control="control", tops={"clarity": 5}).grades
    assert (control.variant, control.difference, treated.variant) == ("control", None, "b")
    assert treated.difference == mean_over_cases([float(b - a) for a, b in grades])
    apart = [
        label(1000 * (each.variant == "b") + n, each.value, name="clarity", variant=each.variant, first=None)
        for n, each in enumerate(said)
    ]
    difference = label_readout("e", apart, control="control").grades[1].difference
    assert isinstance(difference, Estimate)
    assert isinstance(treated.difference, Estimate)
    assert difference.value == pytest.approx(treated.difference.value)
    assert difference.standard_error > treated.difference.standard_error
    assert difference.degrees_of_freedom == pytest.approx(115.13, abs=0.01)


def test_agreement_is_of_what_several_answered():
    """Kappa for each two, alpha for all, on the items that overlap; without any it says how to get some."""
    said = [label(n, [1.0, 0.0, 0.5][n % 3]) for n in range(60)]
    alone = label_readout("e", said, control="control").agreement[0]
    assert alone.alpha == NotEstimable("no item was labelled by two raters; let some overlap with --overlap")
    assert (alone.items, alone.kappa) == (0, {})
    both = said + [label(n, [1.0, 0.0, 0.5][n % 3] if n % 5 else 0.0, rater="kim") for n in range(30)]
    found = label_readout("e", both, control="control").agreement[0]
    assert (found.raters, found.items) == (2, 30)
    assert list(found.kappa) == [("jo", "kim")]
    kappa = found.kappa["jo", "kim"]
    assert isinstance(kappa, Estimate)
    assert isinstance(found.alpha, Estimate)
    # Four of the thirty differ: of six that kim calls 0, two are 0 for jo.
    assert 0.7 < kappa.value < 0.9
    assert 0.7 < found.alpha.value < 0.95


def test_time_is_of_pages_and_not_of_axes():
    """Three axes on one page are one time; a rater's median, all in all, and the quartiles of everybody."""
    said = []
    for n in range(5):
        said += [
            label(n, 3.0, name=axis, first=None, seconds=float(10 * (n + 1)))
            for axis in ("clarity", "policy", "tone")
        ]
    said.append(label(9, None, name="clarity", first=None, rater="kim", seconds=None))
    found = label_readout("e", said, control="control")
    assert [
        (each.rater, each.answered, each.passed, each.median_s, each.total_s) for each in found.raters
    ] == [
        ("jo", 5, 0, 30.0, 150.0),
        ("kim", 0, 1, None, None),
    ]
    assert found.quartiles_s == (20.0, 30.0, 40.0)


def test_nobody_has_said_anything():
    """No labels give no rows and no numbers, and the JSON of it is plain."""
    found = label_readout("e", [], control="control")
    assert found.to_dict() == {
        "experiment": "e",
        "items": 0,
        "disputed": 0,
        "overlapping": 0,
        "done": [],
        "preferences": [],
        "lean": None,
        "strengths": None,
        "grades": [],
        "agreement": [],
        "raters": [],
        "quartiles_s": None,
    }
