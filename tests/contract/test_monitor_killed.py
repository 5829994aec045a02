"""A process that watches and acts is killed between any two writes: nothing is missed, nothing is done twice."""

from __future__ import annotations

import random
import signal
import sys
import time

import forked
import pytest
from dying import FINDS_THIS
from processes import QUIET
from watched import START, arrive, kept, served, traffic, watched

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import resume
from equipoise.conduct.watch import Watcher
from equipoise.events.opening import open_log, open_windows

WATCHES = [
    {"metric": "error_rate", "max": 0.03, "window": "1m", "for": 2, "then": "review"},
    {"metric": "latency_p95", "max": "control+20%", "window": "1m", "for": 2, "then": "pause"},
    {"metric": "latency_p95", "max": 20.0, "window": "5m", "for": 1, "then": "rollback"},
    {"metric": "latency_p95", "max": "control+30%", "window": "4m", "every": "1m", "for": 3, "then": "pause"},
]
MONITOR = (
    FINDS_THIS
    + """
import random
place, seed, fatal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from dying import Deaths
from equipoise.events.opening import open_log, open_windows
from equipoise.monitor.watches import Watches

windows, log, rng, deaths = open_windows(place), open_log(place), random.Random(seed), Deaths(fatal)
windows._database.carry_out = deaths.between(windows._database.carry_out)
log.append_if = deaths.around(log.append_if)
watches = Watches(log, lambda: windows, together=rng.randrange(5, 60))
for news in watches.run(0.0, lambda: False):
    if news.trouble:
        sys.exit(news.says)
"""
)


def written(place: str, seed: int, turns: int) -> None:
    """Traffic of half an hour and more; it is slow in one arm, so that there is much to decide."""
    clock, experiment = ManualClock(START + 0.0), watched(WATCHES)
    log = kept(place, clock)
    served(log, experiment, clock)
    arrive(log, clock, traffic(experiment, seed, turns, per_minute=12.0))
    log.close()


def killed(place: str, seed: int, kills: int) -> None:
    written(place, seed, 120 * kills)
    rng = random.Random(seed)
    died = 0
    while True:
        fatal = rng.randrange(1, 100) if died < kills else 0
        done = forked.run([sys.executable, "-c", MONITOR, place, str(rng.randrange(1_000)), str(fatal)], env=QUIET)  # fmt: skip
        if done.returncode == 0 and died >= kills // 2:
            break
        if done.returncode == 0:
            raise AssertionError("all was done before it died often enough")
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
        if rng.random() < 0.3:
            # An operator who opens it again, so that it can be paused again.
            log = open_log(place)
            if state_of(log, "bot").service == "paused":
                resume(log, "bot", by="ana", reason="it is looked at")
            log.close()
    agreed(place)


def agreed(place: str) -> None:
    """Each decision has one alert; each alert that moved the experiment has one transition, and no other has any."""
    experiment, log, windows = watched(WATCHES), open_log(place), open_windows(place)
    watcher = Watcher(experiment, log, windows)
    assert watcher.due() == ()
    alerts = [record.fact for record in log.read_since(0, kinds=("alert",))]
    decided = {each.event_id: each.breach for each in watcher.decided()}
    assert len(alerts) == len(decided) > 10
    assert {each.event_id for each in alerts} == set(decided)
    assert {each.action for each in alerts} >= {"alert", "pause"}
    for each in alerts:
        breach = decided[each.event_id]
        assert (each.value, each.limit, each.ends, each.streak) == (breach.value, breach.limit, breach.ends, breach.streak)  # fmt: skip
        assert each.action in ("alert", breach.action)
    moves = [record.fact for record in log.read_since(0, kinds=("transition",)) if record.fact.by == "monitor"]  # fmt: skip
    moving = [each.event_id for each in alerts if each.action in ("pause", "rollback")]
    counted = [f"{each.event_id}:met" for each in alerts if each.action == "rollback"]
    assert [each.event_id for each in moves] == [f"{each}:transition" for each in moving] + counted
    assert not list(log.read_since(0, kinds=("conflict",)))
    # Nobody missed a fact: the windows are those of a fold that nobody disturbed.
    whole = Watcher(experiment, log, open_windows("memory:"))
    assert whole.advance(1_000_000) > 0
    whole.advance(now=windows.now())
    assert [each.breach for each in whole.decided()] == [each.breach for each in watcher.decided()]
    windows.close()
    log.close()


def test_a_kill_between_any_two_writes_misses_and_doubles_nothing(place):
    """Five deaths, before, amid and after transactions of the windows and the log."""
    killed(place, seed=4, kills=5)


@pytest.mark.long
def test_a_hundred_kills_miss_and_double_nothing(place):
    """The same, a hundred times."""
    killed(place, seed=5, kills=100)


def test_three_that_are_killed_at_once_miss_and_double_nothing(place):
    """Three processes on one log, all of them killed again and again, until one is left alone."""
    written(place, 7, 350)
    rng = random.Random(7)
    died = 0
    for life in range(4):
        some = [
            forked.Process([sys.executable, "-c", MONITOR, place, str(rng.randrange(1_000)), str(rng.randrange(10, 100) if life < 3 else 0)], env=QUIET)
            for _ in range(3)
        ]  # fmt: skip
        for each in some:
            _, said = each.communicate()
            assert each.returncode in (0, -signal.SIGKILL), said
            died += each.returncode != 0
    assert died > 0
    agreed(place)


POURING = (
    FINDS_THIS
    + """
import time
place = sys.argv[1]
from equipoise.clock import ManualClock
from equipoise.events.opening import open_log, open_windows
from equipoise.monitor.watches import Watches
from watched import kept

heard, windows = open_log(place), open_windows(place)

class Arriving:
    def now(self):
        clock.advance(max(0.0, next(heard.read_since(heard.head() - 1)).received - clock.now()))
        return clock.now()

# What it writes arrives when the rest does: the clock of the machine is years ahead of that.
clock = ManualClock(0.0)
log = kept(place, clock)
watches = Watches(log, lambda: windows, together=40, arrival=Arriving())
while True:
    for news in watches.run(0.0, lambda: False):
        # Minutes pass in a moment here: between two questions what time it is facts come that are a minute younger.
        if news.trouble and "was put back" not in news.says:
            sys.exit(news.says)
    if len(sys.argv) > 2:
        break
"""
)


@pytest.mark.long
def test_killed_at_any_moment_while_facts_pour_in_two_miss_and_double_nothing(place):
    """Thirty rounds: two processes at once on a log that grows, killed after a moment that nobody chose; an operator opens
    what they closed."""
    clock, experiment, rng = ManualClock(START + 0.0), watched(WATCHES), random.Random(9)
    log = kept(place, clock)
    served(log, experiment, clock)
    facts = traffic(experiment, 9, 3_000, per_minute=12.0)
    for _ in range(30):
        pair = [forked.Process([sys.executable, "-c", POURING, place], env=QUIET) for _ in range(2)]  # fmt: skip
        until, arrived = time.monotonic() + rng.uniform(0.4, 1.6), []
        while time.monotonic() < until or arrived:
            at, fact = next(facts, (None, None))
            if fact is None:
                break
            arrived.append(fact)
            if at - clock.now() > 20.0:
                log.append(arrived)
                arrived = []
                clock.advance(at - clock.now())
                time.sleep(0.02)
        log.append(arrived)
        for each in pair:
            each.kill()
            _, said = each.communicate()
            assert each.returncode == -signal.SIGKILL, said
        if rng.random() < 0.3 and state_of(log, "bot").service == "paused":
            resume(log, "bot", by="ana", reason="it is looked at")
    log.close()
    last = forked.run([sys.executable, "-c", POURING, place, "once"], env=QUIET)
    assert last.returncode == 0, last.stderr
    agreed(place)
