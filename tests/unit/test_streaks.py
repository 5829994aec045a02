"""Streaks of watches: what is due on which window, in every order that windows can come in."""

from __future__ import annotations

import pytest

from equipoise.experiment.amount import parse_bound
from equipoise.experiment.definition import Watch
from equipoise.rollout.streaks import Judged, Streak, begun_anew, judge, lengthen
from equipoise.stats.estimate import NotEstimable

BREACHED = Judged(verdict="breached", value=3.3, limit=3.0)
CLEAR = Judged(verdict="clear", value=2.0, limit=3.0)
UNKNOWN = Judged(verdict="unknown", limit=3.0, reason="there are no readings of turn.latency_s in the window")
SAID = {"b": BREACHED, "c": CLEAR, "?": UNKNOWN}


def due(persist: int, windows: str, then: str = "pause") -> str:
    """What is due window by window: `a` an alert, `!` the action, `.` nothing."""
    watch = Watch(metric="latency_p95", max=parse_bound(3), window=300.0, persist=persist, then=then)
    streak, said = Streak(), ""
    for number, window in enumerate(windows, 1):
        streak, breach = lengthen(streak, watch, SAID[window], number * 300)
        said += "." if breach is None else "!" if breach.sustained else "a"
        if breach is not None:
            assert breach.action == (then if breach.sustained else "alert")
            assert (breach.ends, breach.value, breach.limit) == (number * 300, 3.3, 3.0)
    return said


@pytest.mark.parametrize(
    ("persist", "windows", "said"),
    [
        (2, "bb", "a!"),
        (2, "bbbbb", "a!..."),
        (2, "bcb", "a.a"),
        (2, "bcbb", "a.a!"),
        (2, "bbcbb", "a!.a!"),
        (2, "b?b", "a.!"),
        (2, "b????", "a...."),
        (2, "?b?b?b", ".a.!.."),
        (1, "bbcb", "!..!"),
        (3, "bbcbbb", "a..a.!"),
        (3, "ccc???", "......"),
    ],
)
def test_the_first_breach_alerts_and_a_sustained_one_acts_once(persist, windows, said):
    """A clear window ends a streak; an unknown one neither ends nor lengthens it; no streak acts twice."""
    assert due(persist, windows) == said


def test_a_window_that_was_judged_changes_nothing_any_more():
    """Whatever it is said to be when it comes again, or one of before it does."""
    watch = Watch(metric="latency_p95", max=parse_bound(3), window=300.0, persist=2, then="pause")
    streak, _ = lengthen(Streak(), watch, BREACHED, 600)
    for window in SAID.values():
        assert lengthen(streak, watch, window, 600) == (streak, None)
        assert lengthen(streak, watch, window, 300) == (streak, None)


def test_whoever_opens_it_again_has_seen_what_was_breached():
    """The row begins anew: it alerts again and acts again, by windows that began since; those of before count for nothing."""
    watch = Watch(metric="latency_p95", max=parse_bound(3), window=300.0, every=60.0, persist=2, then="pause")
    streak = Streak()
    for ends in (300, 360, 420):
        streak, _ = lengthen(streak, watch, BREACHED, ends)
    assert (streak.breached, streak.acted) == (3, True)
    streak, said = begun_anew(streak), {}
    for ends in range(480, 1_000, 60):
        streak, breach = lengthen(streak, watch, BREACHED, ends, opened=450.0)
        said[ends] = None if breach is None else (breach.action, breach.streak)
    assert {ends: each for ends, each in said.items() if each is not None} == {
        780: ("alert", 1),
        840: ("pause", 2),
    }
    assert (streak.ends, streak.last) == (960, BREACHED)


@pytest.mark.parametrize(
    ("limit", "value", "control", "baseline", "verdict", "held"),
    [
        ({"max": 3.0}, 3.0001, 1.0, None, "breached", 3.0),
        ({"max": 3.0}, 3.0, 1.0, None, "clear", 3.0),
        ({"min": 0.5}, 0.4999, 1.0, None, "breached", 0.5),
        ({"min": 0.5}, 0.5, 1.0, None, "clear", 0.5),
        ({"max": "control+20%"}, 2.5, 2.0, None, "breached", 2.4),
        ({"min": "control-2pp"}, 0.5, 0.51, None, "clear", 0.49),
        ({"max": "baseline+50%"}, 1.6, 9.0, 1.0, "breached", 1.5),
    ],
)
def test_a_limit_is_a_number_or_beside_control_or_the_baseline(
    limit, value, control, baseline, verdict, held
):
    """At the limit is within it; a share is of the reference, points are on the metric's own scale."""
    bounds = {side: parse_bound(bound) for side, bound in limit.items()}
    judged = judge(Watch(metric="m", window=60.0, **bounds), value, control=control, baseline=baseline)
    assert (judged.verdict, judged.value, judged.reason) == (verdict, value, None)
    assert judged.limit == pytest.approx(held, rel=1e-12)


def test_what_is_not_known_is_neither_a_pass_nor_a_breach():
    """An empty window, an empty control, and a baseline that nobody gave each have their reason."""
    empty = NotEstimable("there are no turns in the window")

    def reason(bound, value, control) -> str | None:
        judged = judge(Watch(metric="m", window=60.0, max=parse_bound(bound)), value, control=control)
        assert judged.verdict == "unknown"
        return judged.reason

    assert reason(3, empty, 1.0) == "there are no turns in the window"
    assert reason("control+1%", 1.0, empty) == "of control: there are no turns in the window"
    assert reason("baseline+1%", 1.0, 1.0) == "the metric has no baseline"
