"""The pictures of a switchback: each slot a mark that needs no colour, and the arms by the time of day."""

from __future__ import annotations

import random
from xml.etree import ElementTree as ET

import pytest
from switched import served, switchback

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Findings
from equipoise.events.log import MemoryLog
from equipoise.figures.slot_grid import SlotRow, slot_grid
from equipoise.measurement.measuring import measure_log
from equipoise.verdict import slot_charts
from equipoise.verdict.deciding import decide
from equipoise.verdict.report import html

SVG = "{http://www.w3.org/2000/svg}"


def found(closing: bool = True, **more: object) -> Findings:
    experiment, noise, log = switchback(**more), random.Random(1), MemoryLog()
    whose = ("eu", "us") if experiment.switchback and experiment.switchback.by else (None,)
    log.append(
        list(
            served(
                experiment,
                lambda at, arm, _: 2.0 + (arm == "treatment") + noise.gauss(0, 0.1),
                whose=whose,
                weeks=5,
            )
        )
    )
    return analyse(experiment, measure_log(experiment, log), maximum=1e9, closing=closing)


def test_every_slot_is_a_mark_and_every_arm_a_shape() -> None:
    """Two days of four slots, one not served: seven marks and two in the key, hollow circles and filled squares."""
    rows = [SlotRow("Mon", (0, 1, 1, 0)), SlotRow("Tue", (1, None, 0, 0))]
    drawn = ET.fromstring(slot_grid(rows, ["control", "b<"], title="Arms", heads=["0:00", "", "12:00", ""]))
    marks = [each for each in drawn.iter(f"{SVG}path") if "transform" in each.attrib]
    assert len(marks) == 7 + 2
    assert sum(each.get("fill") == "#ffffff" for each in marks) == 4 + 1
    assert (
        drawn.findtext(f"{SVG}desc")
        == "2 days of 4 slots each; hollow circle is control, filled square is b<."
    )
    assert {each.text for each in drawn.iter(f"{SVG}text")} == {
        "Arms",
        "Mon",
        "Tue",
        "0:00",
        "12:00",
        "control",
        "b<",
    }


def test_where_there_is_no_room_for_a_shape_control_is_a_thin_line() -> None:
    """Forty-eight slots on a narrow screen: lines for control, blocks for the treatment, and the words say so."""
    rows = [SlotRow("Mon", tuple(n % 2 for n in range(48)))]
    drawn = slot_grid(rows, ["control", "b"], title="Arms", heads=["0:00"] + [""] * 47, narrow=True)
    assert "a thin line is control, filled square is b" in drawn
    assert (
        len([each for each in ET.fromstring(drawn).iter(f"{SVG}path") if "transform" in each.attrib])
        == 24 + 1
    )


@pytest.mark.parametrize("cells", [(0,), (0, 2), (0, -1)])
def test_a_row_that_fits_no_head_or_arm_is_refused(cells: tuple[int, ...]) -> None:
    """As many cells as heads, and no arm that has no number."""
    with pytest.raises(ValueError) as refused:
        slot_grid([SlotRow("Mon", cells)], ["control", "b"], title="Arms", heads=["0:00", "12:00"])
    assert str(refused.value) == "row 'Mon': one arm of 2 (or None) for each of 2 slots"


def test_the_report_of_a_switchback_shows_schedule_and_hours_when_a_look_is_due() -> None:
    """The last four of five weeks, both arms by the hour; before a look is due neither, for means are effects."""
    findings = found()
    schedule, hours = slot_charts.schedule(findings), slot_charts.by_time_of_day(findings)
    assert schedule is not None
    assert hours is not None
    assert schedule.caption == (
        "Each mark is a time slot (UTC), told apart by its shape; where there is none, nothing was served or nothing counts. "
        "The last 28 of 35 days."
    )
    assert "28 days of 4 slots each; hollow circle is control, filled square is treatment." in schedule.wide
    assert "cost by time of day" in hours.wide
    page = html(findings, decide(findings), None)
    assert "Which arm ran when" in page
    assert "cost by time of day" in page
    waiting = found(closing=False)
    assert not waiting.look.due
    assert "Which arm ran when" not in html(waiting, decide(waiting), None)


def test_of_several_that_switch_by_themselves_the_first_is_shown() -> None:
    """Its name stands in the title."""
    findings = found(
        switchback={"by": "region", "begins": "2026-12-28"},
        attributes={"region": {"from": "header:x-region"}},
    )
    schedule = slot_charts.schedule(findings)
    assert schedule is not None
    assert "Which arm ran when, in eu" in schedule.wide
