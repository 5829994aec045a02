"""What would change a verdict is said in units, as far as they can be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equipoise.analysis.findings import Effect, Findings
from equipoise.analysis.looks import LookState, PastLook
from equipoise.measurement.tally import Lists, Measurement
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.ahead import until_next_look, until_settled
from equipoise.verdict.deciding import decide

LOOK = LookState(
    due=False,
    final=False,
    number=1,
    of=2,
    fraction=0.4,
    at=0.4,
    boundary=2.0,
    guard_boundary=2.0,
    says="a peek at 40% of the planned information",
)


def findings(*effects: Effect, look: LookState = LOOK, units: int = 1_000) -> Findings:
    return Findings(
        experiment="e@0",
        hypothesis="h",
        health=(),
        look=look,
        effects=effects,
        treatments=("b",),
        planned=(PastLook(0.5, 2.8), PastLook(1.0, 2.0)),
        measurement=Measurement(
            source="by hand",
            rows=200,
            units={"control": units // 2, "b": units // 2},
            crossed=0,
            kept=True,
            rows_without_unit=0,
            clusters=None,
            first=None,
            last=None,
            tallies={},
        ),
    )


def test_units_that_settle_a_guardrail_are_units_of_the_experiment():
    """Of 1,500 in three arms 1,000 are in these two, or 100 in a segment: three times more, of all that come."""
    for part in (500, 50):
        held_up = replace(guard(0.0, 0.02), units={"control": part, "b": part})
        assert until_settled(held_up, findings(units=1_500)) == (
            "about 4,500 more units for safety, if it stays as it is"
        )


def guard(value: float, error: float, *, better: str = "higher", margin: float | None = 0.02) -> Effect:
    return Effect(
        metric="safety",
        variant="b",
        priority="guardrail",
        kind="proportion",
        better=better,
        control=0.9,
        treatment=0.9 + value,
        units={"control": 500, "b": 500},
        missing={},
        relative=NotEstimable("not asked"),
        estimate=Estimate(
            value=value, standard_error=error, low=value - 2 * error, high=value + 2 * error, level=0.95, method="by hand"
        ),
        margin=margin,
        held="not shown",
        because="neither excluded nor shown",
    )  # fmt: skip


def test_the_next_look_is_so_many_units_away():
    """1,000 units were 40% of the information, so 50% takes 250 more, and the end 1,500 more."""
    told = until_next_look(findings())
    assert told == "the next registered look, at 50% of the planned information: about 250 more units"
    later = until_next_look(findings(look=replace(LOOK, fraction=0.5)))
    assert later == "the next registered look, at 100% of the planned information: about 1,000 more units"
    assert decide(findings()).would_change == told


@pytest.mark.parametrize(
    ("immature", "look", "told"),
    [
        # 800 told 40%: 10 points more take 200, all of which are in; 60 points more take 1,200.
        (200, LOOK, "at 50% of the planned information: no more units, once the 200 that are in have been in for the whole of the window"),
        (200, replace(LOOK, fraction=0.5), "at 100% of the planned information: about 600 more units, once the 200 that are in have been in for the whole of the window"),
    ],
)  # fmt: skip
def test_units_within_the_window_are_on_their_way_to_the_next_look(immature, look, told):
    """They are no part of what told so much, and need not come in again."""
    found = replace(findings(look=look), immature=immature)
    assert until_next_look(found) == f"the next registered look, {told}"


def test_shared_lists_are_counted_in_queries():
    """Every unit is in every arm of them: 400 lists of 100 units told 40%, so 50% takes 100 more, 20 of which are there."""
    lists = Lists(
        shown=420, units=100, first={}, short={}, again=0, strange=0, whole=0, unripe={"p": 20}, won={}
    )
    found = findings(units=200)
    found = replace(found, measurement=replace(found.measurement, lists=lists))
    assert until_next_look(found) == (
        "the next registered look, at 50% of the planned information: about 80 more queries, once the 20 that are in have "
        "been in for the whole of the window"
    )


@pytest.mark.parametrize(
    "unknown", [findings(look=replace(LOOK, fraction=None)), findings(look=replace(LOOK, fraction=1.2)), findings(units=0)]
)  # fmt: skip
def test_what_cannot_be_told_in_units_is_told_without(unknown):
    assert until_next_look(unknown) == "the next registered look"


@pytest.mark.parametrize(
    ("held_up", "told"),
    [
        # Two standard errors of 0.02 against a distance of 0.02: four times the units.
        (guard(0.0, 0.02), "about 3,000 more units for safety, if it stays as it is"),
        (guard(0.01, 0.02, better="lower"), "about 15,000 more units for safety, if it stays as it is"),
        (guard(0.0, 0.5), "more than 100 times the units there are, for safety"),
        (
            guard(-0.03, 0.02),
            "a turn for the better of safety, which as it stands is worse by more than its margin",
        ),
        (guard(0.0, 0.001), "units enough to settle safety"),
        (guard(0.0, 0.02, margin=None), "units enough to settle safety"),
    ],
)
def test_a_guardrail_in_doubt_is_so_many_units_from_being_held(held_up, told):
    assert until_settled(held_up, findings()) == told


def test_where_nothing_is_sized_no_look_is_promised():
    """A look that never comes due is no answer to what would change the verdict; a closing one is."""
    told = until_next_look(findings(look=replace(LOOK, fraction=None, sized=False)))
    assert told == (
        "a last look, by --final once no more data will come; no size was planned, so that none comes due by itself"
    )
    # What is unknown by now alone may be known tomorrow.
    assert until_next_look(findings(look=replace(LOOK, fraction=None))) == "the next registered look"
