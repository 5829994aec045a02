"""Expected alarms and actions are those of the rule itself: every sequence of windows, weighed by its chance."""

from __future__ import annotations

import math
from itertools import product

from hypothesis import assume, given
from hypothesis import strategies as st

from equipoise.experiment.definition import Watch
from equipoise.rollout.streaks import Judged, Streak, lengthen
from equipoise.stats.guardrails.streaks import expected_streaks, first_run_chance

chances = st.none() | st.floats(0.0, 1.0)
BREACHED = Judged(verdict="breached", value=2.0, limit=1.0)
CLEAR = Judged(verdict="clear", value=0.0, limit=1.0)
UNKNOWN = Judged(verdict="unknown", reason="there are no turns in the window")


def told(windows: list[bool | None], persist: int, counted_from: int) -> tuple[int, int]:
    """Alarms and actions of the real rule, of the windows from a place on."""
    watch = Watch(metric="error_rate", window=60.0, persist=persist, then="pause")
    streak, alarms, actions = Streak(), 0, 0
    for place, window in enumerate(windows):
        judged = UNKNOWN if window is None else BREACHED if window else CLEAR
        streak, breach = lengthen(streak, watch, judged, 60 * (place + 1))
        if breach is not None and place >= counted_from:
            alarms += breach.streak == 1
            actions += breach.sustained
    return alarms, actions


@given(st.lists(chances, max_size=4), st.integers(1, 4))
def test_expected_streaks_are_those_of_every_sequence_by_its_chance(breached, persist):
    """Independent windows with a chance of their own each, some unknown: the sum over all sequences, exactly."""
    known = [each for each in breached if each is not None]
    # Of windows that are all breached for sure a streak goes on that began before any that is looked at.
    assume(not known or min(known) < 1.0)
    twice = breached + breached
    alarms = actions = 0.0
    for sequence in product(*([None] if each is None else [False, True] for each in twice)):
        weight = math.prod(
            1.0 if each is None else each if window else 1.0 - each
            for each, window in zip(twice, sequence, strict=True)
        )
        found = told(list(sequence), persist, len(breached))
        alarms, actions = alarms + weight * found[0], actions + weight * found[1]
    expected = expected_streaks(breached, persist)
    assert math.isclose(expected.alarms, alarms, abs_tol=1e-12)
    assert math.isclose(expected.actions, actions, abs_tol=1e-12)


@given(st.floats(0.001, 0.999), st.integers(1, 5), st.floats(-0.9, 0.95))
def test_windows_that_are_alike_are_breached_as_often_and_begin_fewer_streaks(chance, persist, correlation):
    """Correlation changes no window's chance: streaks that begin times their mean length is what is breached."""
    n = 400
    single = expected_streaks([chance] * n, 1, autocorrelation=correlation)
    again = first_run_chance(chance, 2, autocorrelation=correlation) / chance
    assert math.isclose(single.alarms / (1.0 - again), n * chance, rel_tol=1e-6) or again > 1.0 - 1e-9
    several = expected_streaks([chance] * n, persist, autocorrelation=correlation)
    assert several.actions <= several.alarms * (1.0 + 1e-9)
    assert math.isclose(several.alarms, single.alarms, rel_tol=1e-9)


@given(st.floats(0.0, 1.0), st.integers(1, 5))
def test_independent_windows_follow_the_formula_of_runs(chance, persist):
    """n·(1 − p)·p^k in the long run, and p^k at once."""
    expected = expected_streaks([chance] * 300, persist)
    assert (
        math.isclose(expected.actions, 300 * (1.0 - chance) * chance**persist, abs_tol=1e-9) or chance > 0.98
    )
    assert math.isclose(first_run_chance(chance, persist), chance**persist, abs_tol=1e-12)
