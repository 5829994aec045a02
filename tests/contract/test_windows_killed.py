"""A process that watches is killed at any of its statements: nothing is lost, doubled, missed or done twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys

import forked
import pytest
from dying import FINDS_THIS
from processes import QUIET
from watched import OVERLAPPING, arrive, exposure, kept, traffic, turn, watched

from equipoise.clock import ManualClock
from equipoise.conduct.watch import Watcher
from equipoise.errors import UsageError
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log, open_windows
from equipoise.events.windows import StrayWindowsError

WATCH = (
    FINDS_THIS
    + """
import random
place, seed, fatal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from dying import Deaths
from watched import OVERLAPPING, watched
from equipoise.conduct.watch import Watcher
from equipoise.events.facts import Outcome
from equipoise.events.opening import open_log, open_windows

windows, log, rng, deaths = open_windows(place), open_log(place), random.Random(seed), Deaths(fatal)
windows._database.carry_out = deaths.between(windows._database.carry_out)
watcher = Watcher(watched(OVERLAPPING), log, windows)
while True:
    taken = watcher.advance(rng.randrange(1, 40))
    for due in watcher.due():
        said = Outcome(experiment="acts", happened=1.0, unit=due.arm, name=due.breach.action, value=due.breach.ends, event_id=due.event_id)
        log.append([said])
        deaths.point()
        watcher.carried_out(due)
    if not taken:
        break
"""
)


def written(place: str, seed: int, turns: int) -> None:
    """A log whose facts arrived over half an hour and more."""
    clock = ManualClock()
    log = kept(place, clock)
    arrive(log, clock, traffic(watched(OVERLAPPING), seed, turns, per_minute=12.0))
    log.close()


def from_scratch(place: str) -> Watcher:
    """All of the log in one batch, by a process that nobody kills."""
    watcher = Watcher(watched(OVERLAPPING), open_log(place), open_windows("memory:"))
    assert watcher.advance(1_000_000) > 0
    return watcher


def killed(place: str, seed: int, kills: int) -> None:
    # As many facts as it takes to die so often: a life is some sixty statements, a batch eight.
    written(place, seed, 70 * kills)
    rng = random.Random(seed)
    died = 0
    while True:
        # After so many it is left alone.
        fatal = rng.randrange(1, 120) if died < kills else 0
        done = forked.run([sys.executable, "-c", WATCH, place, str(rng.randrange(1_000)), str(fatal)], env=QUIET)  # fmt: skip
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        died += 1
    assert died >= kills // 2
    whole = from_scratch(place)
    log, windows = open_log(place), open_windows(place)
    left = Watcher(watched(OVERLAPPING), log, windows)
    assert left.advance() == 0
    assert (left.cells, left.standing) == (whole.cells, whole.standing)
    decided = [(each.watch, each.arm, each.breach, each.event_id) for each in left.decided()]
    assert decided == [(each.watch, each.arm, each.breach, each.event_id) for each in whole.decided()]
    assert {each.breach.sustained for each in left.decided()} == {True, False}
    assert left.due() == ()
    acts = [record.fact.event_id for record in log.read_since(0, experiment="acts", kinds=("outcome",))]
    assert sorted(acts) == sorted(each.event_id for each in left.decided())
    windows.close()
    log.close()


def test_a_kill_at_any_statement_loses_and_doubles_nothing(place):
    """Six deaths before, amid and after transactions: the cells, streaks and decisions of a fold from scratch, each
    decision carried out once."""
    killed(place, seed=4, kills=6)


@pytest.mark.long
def test_a_hundred_kills_lose_and_double_nothing(place):
    """The same, a hundred times."""
    killed(place, seed=5, kills=100)


def test_two_who_watch_the_same_log_count_it_once(place):
    """They take turns in no order; whoever finds the windows moved reads where they stand."""
    written(place, 6, 200)
    log, rng = open_log(place), random.Random(6)
    pair = [Watcher(watched(OVERLAPPING), log, open_windows(place)) for _ in range(2)]
    idle = 0
    while idle < 4:
        idle = idle + 1 if rng.choice(pair).advance(rng.randrange(1, 50)) == 0 else 0
    for one in pair:
        # Whoever was behind notices by trying.
        one.advance(now=2e9)
        one.advance(now=2e9)
    whole = from_scratch(place)
    whole.advance(now=2e9)
    assert pair[0].standing == pair[1].standing == whole.standing
    assert pair[0].cells == pair[1].cells == whole.cells
    assert [each.breach for each in pair[0].decided()] == [each.breach for each in whole.decided()]
    log.close()


def test_a_silent_log_closes_its_windows_by_the_clock():
    """Without another fact nothing would; at the end and ten seconds a window closes, and not a moment before."""
    experiment = watched([{"metric": "error_rate", "max": 0.1, "window": "1m", "for": 1, "then": "rollback"}])
    clock = ManualClock(1_700_000_100.0)
    log = MemoryLog(clock)
    log.append(
        [exposure(experiment, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=True)]
    )
    watcher = Watcher(experiment, log, open_windows("memory:"))
    assert watcher.advance(now=clock.now()) == 2
    assert watcher.advance(now=clock.now() + 69.9) == 0
    assert watcher.due() == ()
    assert watcher.advance(now=clock.now() + 70.0) == 0
    [due] = watcher.due()
    assert (due.arm, due.breach.action, due.breach.ends) == ("treatment", "rollback", 1_700_000_160)
    assert watcher.carried_out(due)
    assert not watcher.carried_out(due)
    assert watcher.due() == ()
    assert [each.event_id for each in watcher.decided()] == [
        f"{experiment.digest}:watch:0:treatment:1700000160"
    ]


def test_the_windows_of_another_log_are_not_gone_on_with(tmp_path):
    """A log that was put in another's place is noticed by its length, or by the fact where the windows stand."""
    place, other = str(tmp_path / "log.db"), str(tmp_path / "other.db")
    written(place, 1, 20)
    windows = open_windows(place)
    first = Watcher(watched(), open_log(place), windows)
    while first.advance():
        pass
    at = windows.read(watched().digest).position
    written(other, 2, 60)
    with pytest.raises(StrayWindowsError) as caught:
        Watcher(watched(), open_log(other), windows)
    assert str(caught.value) == (
        f"the windows of {watched().identity} stand at position {at} of another log than this one, which ends at "
        f"{open_log(other).head()}. Watch the log they belong to, or take away the windows beside this one (the file "
        "….windows, or the tables equipoise_window…) to fold this one from its beginning"
    )
    with pytest.raises(StrayWindowsError):
        Watcher(watched(), MemoryLog(), windows)


def test_a_window_of_half_a_minute_cannot_be_watched():
    """It says so before anything is read."""
    experiment = watched([{"metric": "error_rate", "max": 0.1, "window": "30s"}])
    with pytest.raises(UsageError) as caught:
        Watcher(experiment, MemoryLog(), open_windows("memory:"))
    assert str(caught.value) == (
        "a window of 30 s cannot be watched: what happens is counted by the minute. Declare whole minutes, such as 5m"
    )


def test_watching_needs_no_extra():
    """The monitor runs beside a gateway: without numpy, duckdb, pyarrow and the like it folds and decides."""
    taken = dict.fromkeys(("numpy", "scipy", "duckdb", "pyarrow", "jinja2", "pandas", "polars"))
    done = subprocess.run(
        [sys.executable, "-c", (f"import sys; sys.modules.update({json.dumps(taken).replace('null', 'None')})\n"
         f"{FINDS_THIS}"
         "from watched import *\n"
         "from equipoise.conduct.watch import Watcher\n"
         "from equipoise.events.opening import open_log, open_windows\n"
         "log = open_log('memory:')\n"
         "log.append([fact for _, fact in traffic(watched(), 1, 50)])\n"
         "print(Watcher(watched(), log, open_windows('memory:')).advance() > 50)")],
        capture_output=True, text=True, env=QUIET,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")
