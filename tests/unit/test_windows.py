"""Windows of metrics, one thing at a time: what counts, in which minute, and what is said where nothing is known."""

from __future__ import annotations

import pytest
from watched import START, exposure, recorded, traffic, turn, watched

from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Outcome, Score
from equipoise.events.log import Recorded
from equipoise.measurement.guardrails.cells import Counting
from equipoise.measurement.guardrails.watching import Standing, Watching
from equipoise.measurement.guardrails.windows import spans, window_of
from equipoise.stats.estimate import NotEstimable

EXPERIMENT = watched()


def outcome(name: str, value: float | bool, unit: str = "u", happened: float = START + 5.0) -> Outcome:
    return Outcome(experiment="bot", happened=happened, unit=unit, name=name, value=value)


def entered(unit: str = "u", arm: str = "treatment", happened: float = START + 1.0, **more: object):
    return exposure(EXPERIMENT, unit, arm, happened, **more)


def value(metric: str, facts: list, *, arm: str = "treatment", minutes: int = 5, **more):
    cells, _ = Counting(EXPERIMENT).fold(recorded(facts), {})
    return window_of(cells, EXPERIMENT.metric(metric), arm, START, START + minutes * 60, **more).value


def aside(facts: list, **more) -> tuple[int, dict[str, int]]:
    """How many turns counted, and what was set aside."""
    cells, found = Counting(EXPERIMENT).fold(recorded(facts), {}, **more)
    return sum(cell.n for key, cell in cells.items() if key.quantity == "turn"), found


def test_each_kind_of_metric_has_its_value():
    """A share of readings, a mean, a ratio of sums, a number a turn, and a ranked reading."""
    turns = [turn("u", "treatment", START + 2.0 + n, latency_s=float(n + 1), cost_usd=0.25, error=n == 3,
                  input_tokens=10 * n, output_tokens=1) for n in range(4)]  # fmt: skip
    facts = [entered(), *turns, outcome("resolved", True), outcome("resolved", False), outcome("clicks", 6.0)]
    facts.append(
        Score(
            experiment="bot",
            happened=START + 6.0,
            unit="u",
            name="policy_compliance",
            value=3.5,
            evaluator="j",
        )
    )
    assert value("resolution_rate", facts) == 0.5
    assert value("error_rate", facts) == 0.25
    assert value("tokens", facts) == 16.0
    assert value("policy_compliance", facts) == 3.5
    assert value("cost_per_success", facts) == 1.0
    assert value("clicks", facts) == 1.5
    assert value("latency_p95", facts) == pytest.approx(4.0, rel=0.01)


def test_what_is_not_known_has_a_reason():
    """Nothing in the window, too little in it, and nothing to divide by: never a number, never a pass."""
    assert value("error_rate", []) == NotEstimable("there are no readings of turn.error in the window")
    assert value("clicks", [entered(), outcome("clicks", 2.0)]) == NotEstimable(
        "there are no turns in the window"
    )
    paid = [entered(), turn("u", "treatment", START + 2.0, cost_usd=0.5, latency_s=1.0)]
    assert value("cost_per_success", paid) == NotEstimable(
        "outcome.resolved adds up to 0 in the window, and nothing can be divided by it"
    )
    assert value("latency_p95", paid, at_least=200) == NotEstimable(
        "there are 1 readings of turn.latency_s in the window, and 200 are asked for"
    )
    assert value("clicks", paid, at_least=2) == NotEstimable(
        "there are 1 turns in the window, and 2 are asked for"
    )
    assert value("clicks", paid) == 0.0
    huge = [
        entered(),
        turn("u", "treatment", START + 2.0),
        outcome("clicks", 1e308),
        outcome("clicks", 1.1e308),
    ]
    assert value("clicks", huge) == NotEstimable("outcome.clicks adds up to more than a number holds")


def test_who_counts_counts_in_the_arm_of_the_first_exposure():
    """A redirected or fallen-back turn stays; a tester's, an unenrolled one, and one of nobody or of before do not."""
    facts = [
        entered(),
        # Seen again in the other arm, and by another revision of the experiment.
        entered(arm="control", happened=START + 2.0),
        exposure(EXPERIMENT, "other", "control", START + 1.0, digest="0f" * 32),
        entered("stray", "no such arm"),
        turn("u", "treatment", START + 3.0, redirected=True),
        turn("u", "control", START + 3.0, fallback=True),
        turn("u", "treatment", START + 3.0, reason="forced"),
        turn("u", None, START + 3.0, reason="stale"),
        turn("u", "treatment", START + 0.5),
        turn("other", "control", START + 3.0),
        turn("stray", "no such arm", START + 3.0),
    ]
    cells, found = Counting(EXPERIMENT).fold(recorded(facts), {})
    assert {key.arm: cell.n for key, cell in cells.items()} == {"treatment": 2}
    assert found == {"strangers": 1, "unenrolled": 2, "early": 1, "orphans": 2}


def test_an_earlier_exposure_that_arrives_later_moves_the_beginning_and_not_the_arm():
    """What happened between the two counts from then on."""
    facts = [entered(happened=START + 9.0), turn("u", "treatment", START + 5.0)]
    assert aside(facts) == (0, {"early": 1})
    assert aside([entered(happened=START + 9.0), entered(happened=START + 1.0), facts[1]]) == (1, {})


def test_a_late_fact_counts_in_its_own_minute_and_as_late():
    """Ten seconds after the end of its minute it is late, and not before; after hours it is forgotten."""
    facts = [entered(), turn("u", "treatment", START + 59.0, latency_s=1.0)]
    for arrived, late in ((START + 69.9, 0), (START + 70.0, 1), (START + 9_000.0, 1)):
        records = [Recorded(1, START + 1.0, facts[0]), Recorded(2, arrived, facts[1])]
        cells, _ = Counting(EXPERIMENT).fold(records, {})
        window = window_of(cells, EXPERIMENT.metric("latency_p95"), "treatment", START, START + 60)
        assert (window.n, window.late) == (1, late)
    assert aside(facts, since=START // 60 + 1) == (0, {"forgotten": 1})
    assert aside(facts, since=START // 60) == (1, {})


def test_a_wrong_clock_opens_no_minute_to_come():
    """More than five minutes ahead of its arrival a fact is set aside; up to that it is in its minute."""
    facts = [
        Recorded(1, START + 1.0, entered()),
        Recorded(2, START + 2.0, turn("u", "treatment", START + 302.0)),
    ]
    cells, found = Counting(EXPERIMENT).fold(facts, {})
    assert ([key.minute for key in cells], found) == ([START // 60 + 5], {})
    ahead = Recorded(2, START + 2.0, turn("u", "treatment", START + 302.5))
    assert Counting(EXPERIMENT).fold([facts[0], ahead], {}) == ({}, {"ahead": 1})


def test_windows_slide_by_the_minute():
    """The same facts in overlapping windows of two minutes, and in those that begin with the even minutes."""
    facts = [entered(), *(turn("u", "treatment", START + 60.0 * n + 2.0, error=n == 1) for n in range(4))]
    cells, _ = Counting(EXPERIMENT).fold(recorded(facts), {})
    metric = EXPERIMENT.metric("error_rate")
    slid = [
        window_of(cells, metric, "treatment", *span).value
        for span in spans(120, START + 60, START + 240, every=60)
    ]
    assert slid == [0.5, 0.5, 0.0]
    tumbled = [
        window_of(cells, metric, "treatment", *span).value for span in spans(120, START + 60, START + 300)
    ]
    assert tumbled == [0.5, 0.0]


@pytest.mark.parametrize("length", [0.5, 30.0, 90.0])
def test_a_window_is_of_whole_minutes(length):
    """Anything else is refused, wherever it is asked for."""
    with pytest.raises(UsageError) as caught:
        list(spans(length, 0, 600))
    assert str(caught.value) == (
        f"a window of {length:g} s cannot be watched: what happens is counted by the minute. Declare whole minutes, "
        "such as 5m"
    )
    with pytest.raises(UsageError) as caught:
        window_of({}, EXPERIMENT.metric("error_rate"), "treatment", START, START + 61)
    assert str(caught.value) == (
        f"{START + 61} is no whole minute (seconds since 1970 UTC), and windows begin and end with one"
    )


def test_a_watch_may_slide_and_its_streak_counts_overlapping_windows():
    """Windows of three minutes judged each minute: one bad minute is in three of them, and may act by itself."""
    experiment = watched(
        [{"metric": "error_rate", "max": 0.3, "window": "3m", "every": "1m", "for": 2, "then": "pause"}]
    )
    facts = [exposure(experiment, "u", "treatment", START + 1.0)]
    facts += [turn("u", "treatment", START + 60.0 * n + 2.0, error=n == 2) for n in range(8)]
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 490.0)
    assert [
        ((each.breach.ends - START) // 60, each.breach.streak, each.breach.action) for each in folded.decided
    ] == [(3, 1, "alert"), (4, 2, "pause")]
    assert folded.standing.closed == (START + 480,)
    assert folded.standing.streaks[0, "treatment"].breached == 0
    # What the windows to come need is kept, and an hour.
    late = Watching(experiment).fold(
        folded.standing,
        dict(folded.cells),
        recorded([turn("u", "treatment", START + 7_202.0, error=True)]),
        {},
    )
    assert late.standing.since == (START + 7_140 - 120 - 3_600) // 60


def test_windows_that_slide_are_those_that_tumble_where_they_meet():
    """Each fifth window of a watch that slides by the minute is a tumbling one, with the same value."""

    def values(more: dict) -> dict[int, float | None]:
        experiment = watched([{"metric": "error_rate", "max": 0.0, "window": "5m", "for": 1} | more])
        standing, cells, members, found = Standing(), {}, {}, {}
        for place, (at, fact) in enumerate(traffic(experiment, 3, 400, per_minute=12.0), 1):
            folded = Watching(experiment).fold(standing, cells, [Recorded(place, at, fact)], members)
            standing, cells = folded.standing, cells | folded.cells
            for (_, arm), streak in standing.streaks.items():
                if arm == "treatment" and streak.last is not None:
                    found[streak.ends] = streak.last.value
        return found

    tumbling, sliding = values({}), values({"every": "1m"})
    assert len(tumbling) > 4
    assert tumbling.items() <= sliding.items()
    assert len(sliding) > 3 * len(tumbling)


def test_a_silence_neither_ends_a_streak_nor_lengthens_one():
    """A breached window, hours of nothing, another breached one: the second is the second in a row."""
    experiment = watched([{"metric": "error_rate", "max": 0.5, "window": "5m", "for": 2, "then": "rollback"}])

    def failing(happened: float):
        return turn("u", "treatment", happened, error=True)

    facts = [
        exposure(experiment, "u", "treatment", START + 1.0),
        failing(START + 2.0),
        failing(START + 86_402.0),
    ]
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 90_000.0)
    assert [(each.breach.ends - START, each.breach.action) for each in folded.decided] == [
        (300, "alert"),
        (86_700, "rollback"),
    ]
    streak = folded.standing.streaks[0, "treatment"]
    assert (streak.ends, streak.last.verdict) == (START + 89_700, "unknown")
    assert streak.last.reason == "there are no readings of turn.error in the window"


def test_a_watch_beside_control_watches_the_treatments():
    """Its limit is control's value in the same window, and unknown where control has none."""
    experiment = watched(
        [{"metric": "error_rate", "max": "control+10pp", "window": "1m", "then": "rollback"}]
    )
    facts = [exposure(experiment, arm, arm, START + 1.0) for arm in ("control", "treatment")]
    facts += [turn("control", "control", START + 2.0 + n, error=n == 0) for n in range(4)]
    facts += [turn("treatment", "treatment", START + 10.0 + n, error=n < 2) for n in range(4)]
    facts += [turn("treatment", "treatment", START + 70.0, error=True)]
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 130.0)
    [decided] = folded.decided
    assert (decided.arm, decided.breach.value, decided.breach.limit) == ("treatment", 0.5, 0.35)
    assert list(folded.standing.streaks) == [(0, "treatment")]
    assert folded.standing.streaks[0, "treatment"].last.reason == (
        "of control: there are no readings of turn.error in the window"
    )


@pytest.mark.parametrize("watches", [[], None])
def test_minutes_that_no_window_needs_are_let_go(watches):
    """After a day of a turn a minute little more than an hour and a window are kept, watched or not."""
    experiment = watched(watches)
    facts = [exposure(experiment, "u", "treatment", START + 1.0)]
    facts += [turn("u", "treatment", START + 60.0 * n + 2.0, error=False) for n in range(1_440)]
    standing, cells, members = Standing(), {}, {}
    records = recorded(facts)
    for start in range(0, len(records), 100):
        folded = Watching(experiment).fold(standing, cells, records[start : start + 100], members)
        standing = folded.standing
        cells = {key: cell for key, cell in (cells | folded.cells).items() if key.minute >= standing.since}
    minutes = {key.minute for key in cells}
    assert max(minutes) == START // 60 + 1_439
    assert 60 <= len(minutes) <= 122


def test_a_damaged_standing_says_what_to_do():
    """What it was read as is not guessed."""
    with pytest.raises(RecordError) as caught:
        Standing.decode('{"watermark": 1}')
    assert str(caught.value) == (
        "the standing of the watches is damaged: 'closed'. Take the windows away (the file ….windows, or the tables "
        "equipoise_window…) to fold the log anew"
    )
