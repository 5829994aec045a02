"""All online judges of a log: opened as they are registered, let go when they are replaced, each by itself."""

from __future__ import annotations

import pytest
from judged import connect, grades, judged, served

from equipoise.clock import ManualClock
from equipoise.conduct.judges import OnlineJudges
from equipoise.conduct.register import register
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_cursors, open_texts
from equipoise.providers.simulated import SimulatedEndpoint

NOW = 1_000_000.0


@pytest.fixture
def world():
    """A clock, a log, texts, all judges of the log, and the judge's address."""
    clock = ManualClock(NOW)
    log, texts, cursors = MemoryLog(clock), open_texts("memory:"), open_cursors("memory:")
    judges = OnlineJudges(log, lambda: texts, lambda: cursors, connect=connect, clock=clock)
    with SimulatedEndpoint(grades, models=("judge",)) as url:
        yield clock, log, texts, judges, url
        judges.close()


def test_each_experiment_that_asks_for_a_judge_has_one_and_the_others_none(world):
    """From the moment it is registered; one that cannot work says why and does not hold up the rest."""
    clock, log, texts, judges, url = world
    silent = {"capture": {"text": "none"}, "online_judge": {"sample": 1}}
    good, bad = judged(url), judged(url, name="mute", **silent)
    register(log, judged(url, name="plain", online_judge={"sample": 0}), by="test", reason="a test")
    register(log, bad, by="test", reason="a test")
    register(log, good, by="test", reason="a test")
    served(log, texts, good, 5, happened=NOW)
    done = judges.advance()
    assert (done[good.identity].scored, done[good.identity].trouble) == (5, None)
    why = "the online judge of mute has nothing to read: the definition keeps no texts; add `capture: {text: sampled}` to it"
    assert (done[bad.identity].trouble, done[bad.identity].resumes) == (why, NOW + 60.0)
    clock.advance(30.0)
    assert judges.advance()[bad.identity].resumes == NOW + 60.0
    clock.advance(31.0)
    assert judges.advance()[bad.identity].resumes == NOW + 121.0


def test_a_revision_that_was_replaced_is_judged_to_its_end_and_let_go(world):
    """What was on its way when the new one came is judged by the old one's configuration."""
    clock, log, texts, judges, url = world
    old = judged(url)
    register(log, old, by="test", reason="a test")
    served(log, texts, old, 3, happened=NOW)
    assert judges.advance()[old.identity].scored == 3
    new = judged(url, hypothesis="Its policy is kept to, more or less.", assignment_version=2)
    register(log, new, by="test", reason="a test")
    served(log, texts, old, 2, happened=NOW, start=10)
    served(log, texts, new, 4, happened=NOW, start=20)
    done = judges.advance()
    assert (done[old.identity].scored, done[new.identity].scored) == (2, 4)
    clock.advance(121.0)
    assert set(judges.advance()) == {old.identity, new.identity}
    assert set(judges.advance()) == {new.identity}


def test_whatever_is_the_matter_with_one_the_others_go_on_and_no_clock_keeps_it_waiting(world):
    """Also what nobody thought of; and a clock that is put back does not make a minute an hour."""
    clock, log, texts, judges, url = world
    ill, well = judged(url), judged(url, name="well")
    for each in (ill, well):
        register(log, each, by="test", reason="a test")
        served(log, texts, each, 2, happened=NOW, start=10 * len(each.name))
    asked = judges._texts = texts
    named = asked.named
    asked.named = lambda ids, *, now: named(ids, now=now) if "turn-40" in ids else 1 / 0
    done = judges.advance()
    assert (done[ill.identity].scored, done[ill.identity].trouble) == (
        0,
        "ZeroDivisionError: division by zero",
    )
    assert done[well.identity].scored == 2
    asked.named = named
    clock._now -= 3_600.0
    assert judges.advance()[ill.identity].scored == 2


def test_cursors_of_another_log_are_let_go_when_they_are_taken_away(world, tmp_path):
    """As the message says, and without a new start; what was scored is known from the log."""
    clock, log, _, _, url = world
    experiment, other, place = judged(url), MemoryLog(clock), tmp_path / "log.db"

    def opened(log):
        return OnlineJudges(log, lambda: open_texts(place), lambda: open_cursors(place), connect=connect, clock=clock)  # fmt: skip

    for each, count in ((other, 9), (log, 3)):
        register(each, experiment, by="test", reason="a test")
        kept = open_texts(place)
        served(each, kept, experiment, count, happened=NOW, start=100 * count)
        kept.close()
    first = opened(other)
    assert first.advance()[experiment.identity].scored == 9
    first.close()
    judges = opened(log)
    assert "of another log" in judges.advance()[experiment.identity].trouble
    (tmp_path / "log.db.outbox").unlink()
    clock.advance(61.0)
    assert judges.advance()[experiment.identity].scored == 3
    judges.close()
