"""The monitor on real logs: it watches what is served, does each thing once, and no fault of one holds up another."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace

import forked
import pytest
from gateways import until
from processes import QUIET
from watched import START, exposure, kept, served, turn, watched, worked

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import pause, resume, roll_back
from equipoise.conduct.register import register
from equipoise.conduct.watch import Watcher
from equipoise.errors import RecordError
from equipoise.events.log import LogGoneError, MemoryLog
from equipoise.events.opening import open_log, open_windows
from equipoise.events.patient import PatientLog
from equipoise.monitor.loop import News, keep_going, once
from equipoise.monitor.watches import Watches

MONITOR = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "monitor")
HARSH = [{"metric": "error_rate", "max": 0.001, "window": "1m", "for": 1, "then": "alert"}]
TWICE = [{"metric": "error_rate", "max": 0.001, "window": "1m", "for": 2, "then": "pause"}]


def said(watches: Watches) -> list[tuple[str | None, str]]:
    """What one run says."""
    return [(each.experiment, each.says) for each in watches.run(0.0, lambda: False)]


def alerts(log) -> list:
    return [record.fact for record in log.read_since(0, kinds=("alert",))]


def test_the_worked_example_alerts_in_the_first_window_and_acts_in_the_second(place):
    """Three watches of `for: 2`, all breached twice: three alerts; then exposure is paused, it is rolled back, and the
    spending is for somebody to review."""
    clock, experiment = ManualClock(START + 0.0), watched()
    log = kept(place, clock)
    served(log, experiment, clock)
    watches = Watches(log, lambda: open_windows(place), arrival=clock, clock=clock)
    assert said(watches) == [("bot", f"watching {experiment.identity}: 3 watches")]
    clock.advance(299.0)
    log.append(worked(experiment, 0))
    clock.advance(10.5)
    assert said(watches) == []
    clock.advance(0.5)
    breached = "in the 5 minutes up to 2023-11-14 22:20:00 UTC, and at most"
    first = "the first such window, and at 2 in a row the watch says"
    told = [text for _, text in said(watches)]
    assert [text.split(" was ")[0] for text in told] == [
        "latency_p95 of treatment", "error_rate of treatment", "cost_per_success of treatment"
    ]  # fmt: skip
    assert told[1] == f"error_rate of treatment was 0.002 {breached} 0.001 is allowed; {first} rollback"
    assert told[2] == f"cost_per_success of treatment was 0.09 {breached} 0.08 is allowed; {first} review"
    assert [each.action for each in alerts(log)] == ["alert"] * 3
    assert state_of(log, "bot").service == "open"
    clock.advance(290.0)
    log.append(worked(experiment, 1))
    clock.advance(11.0)
    told = [text for _, text in said(watches)]
    assert [text.rpartition("; ")[2] for text in told] == [
        "2 such windows in a row: nobody new is let in",
        "2 such windows in a row: it is rolled back, and everyone is served control",
        "2 such windows in a row: somebody should look at it",
        "no longer watched: it is rolled back",
    ]
    assert [each.action for each in alerts(log)] == ["alert"] * 3 + ["pause", "rollback", "review"]
    moves = [record.fact for record in log.read_since(0, kinds=("transition",))][-3:]
    assert [(each.by, each.stage, each.service) for each in moves] == [
        ("monitor", "ab", "paused"), ("monitor", "rolled back", "redirected"), ("monitor", "rolled back", None)
    ]  # fmt: skip
    # Whom it met: one conversation, and it is in the middle of something.
    assert moves[-1].evidence["redirected"] == {
        "units": {"treatment": 1}, "in_progress": {"treatment": 1}, "minutes": 30.0
    }  # fmt: skip
    assert said(watches) == []
    assert watches.state() == {"watched": {}, "troubles": {}, "acted": 6}
    watches.close()
    log.close()


def test_what_is_resumed_is_paused_again_by_as_many_windows_as_the_watch_says(place):
    """An operator has seen it, and it goes on: two more breached windows, begun since, pause it again; each row acts once."""
    watch = {"metric": "error_rate", "max": 0.1, "window": "5m", "for": 2, "then": "pause"}
    clock, experiment = ManualClock(START + 0.0), watched([watch])
    log = kept(place, clock)
    served(log, experiment, clock)
    watches = Watches(log, lambda: open_windows(place), arrival=clock, clock=clock)
    log.append([exposure(experiment, "u", "treatment", START + 1.0)])
    done = []
    for window in range(8):
        log.append([turn("u", "treatment", START + 300.0 * window + 5.0, error=True)])
        clock.advance(START + 300.0 * (window + 1) + 11.0 - clock.now())
        said(watches)
        done.append([each.action for each in alerts(log)][sum(map(len, done)) :])
        if window == 3:
            # In the middle of the next window, of which a part was seen.
            clock.advance(120.0)
            resume(log, "bot", by="ana", reason="it is looked at", clock=clock)
    assert done == [["alert"], ["pause"], [], [], [], ["alert"], ["pause"], []]
    assert state_of(log, "bot").service == "paused"
    watches.close()
    log.close()


def written(place: str) -> None:
    """A log that holds both windows, and the moment after them."""
    clock, experiment = ManualClock(START + 0.0), watched()
    log = kept(place, clock)
    served(log, experiment, clock)
    for number in range(2):
        clock.advance(299.0)
        log.append(worked(experiment, number))
        clock.advance(1.0)
    clock.advance(11.0)
    log.append([exposure(experiment, "v", "control", clock.now())])
    log.close()


def test_two_monitors_at_once_do_everything_once(place):
    """Two processes on the whole of it: six alerts and two moves, however they race, and nobody told otherwise."""
    written(place)
    pair = [
        forked.Process([*MONITOR, "--once", "--json", "--log", place], env=QUIET)
        for _ in range(2)
    ]  # fmt: skip
    spoken = [each.communicate() for each in pair]
    assert [each.returncode for each in pair] == [0, 0], spoken
    log = open_log(place)
    assert sorted(each.action for each in alerts(log)) == ["alert"] * 3 + ["pause", "review", "rollback"]
    assert len({each.event_id for each in alerts(log)}) == 6
    moves = [record.fact for record in log.read_since(0, kinds=("transition",)) if record.fact.by == "monitor"]  # fmt: skip
    assert [each.service for each in moves] == ["paused", "redirected", None]
    assert not list(log.read_since(0, kinds=("conflict",)))
    # Between them they said each thing at least once.
    told = [line["facts"]["event_id"] for out, _ in spoken for line in json.loads(out)["news"] if line["facts"]]  # fmt: skip
    assert {each.event_id for each in alerts(log)} == set(told)
    log.close()


def test_once_says_what_it_did(tmp_path):
    """A sentence on stdout, and what happened on stderr with its time; a second run has nothing to do."""
    place = str(tmp_path / "log.db")
    written(place)
    first, second = (forked.run([*MONITOR, "--once", "--log", place], env=QUIET) for _ in range(2))
    assert (first.returncode, first.stdout) == (0, "0 experiments watched; 6 alerts\n")
    lines = [line.split(" ", 2)[2] for line in first.stderr.splitlines()]
    assert lines[0] == f"bot: watching {watched().identity}: 3 watches"
    assert lines[-1] == "bot: no longer watched: it is rolled back"
    assert (second.returncode, second.stdout, second.stderr) == (0, "0 experiments watched; 0 alerts\n", "")


def test_once_ends_with_a_code_that_says_what_could_not_be_watched(tmp_path):
    """A log was put in the place of another: it is said whose windows are not its own."""
    place = tmp_path / "log.db"
    written(str(place))
    assert forked.run([*MONITOR, "--once", "--log", place], env=QUIET).returncode == 0
    for ending in ("", "-wal", "-shm"):
        place.with_name(place.name + ending).unlink(missing_ok=True)
    log, experiment = kept(str(place), ManualClock(START + 0.0)), watched()
    served(log, experiment, ManualClock(START + 0.0))
    log.close()
    done = forked.run([*MONITOR, "--once", "--log", place], env=QUIET)
    assert done.returncode == 2
    assert done.stdout == f"0 experiments watched; 0 alerts; trouble with {experiment.identity}\n"
    assert f"bot: the windows of {experiment.identity} stand at position " in done.stderr


def test_it_goes_on_until_it_is_told_to_stop(tmp_path):
    """Each thing that it does is a line of JSON, as it does it; what is registered meanwhile is watched; then it ends."""
    place, clock = str(tmp_path / "log.db"), ManualClock(START + 0.0)
    log = kept(place, clock)
    served(log, watched(HARSH), clock)
    with forked.Process([*MONITOR, "--json", "--log", place], env=QUIET) as process:  # fmt: skip
        first = json.loads(process.stdout.readline())
        assert (first["chore"], first["experiment"], first["says"], first["trouble"]) == (
            "watches", "bot", f"watching {watched(HARSH).identity}: 1 watch", False
        )  # fmt: skip
        other = watched(HARSH, name="another")
        served(log, other, clock)
        assert json.loads(process.stdout.readline())["says"] == f"watching {other.identity}: 1 watch"
        log.append([exposure(watched(HARSH), "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=True)])  # fmt: skip
        acted = json.loads(process.stdout.readline())
        assert (acted["experiment"], acted["facts"]["action"], acted["facts"]["value"]) == (
            "bot",
            "alert",
            1.0,
        )
        process.terminate()
        assert (process.wait(30), process.stderr.read()) == (0, "")
    log.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--once", "--log", "none.db"], "error: there is no log at none.db. Register an experiment first, or name the log with --log\n"),
        (["--log", "memory:"], "error: a log in memory is seen by nobody else; name a file or postgresql://… with --log\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_said_whole(tmp_path, arguments, sentence):
    """And nothing is made."""
    done = forked.run([*MONITOR, *arguments], env=QUIET, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    assert not list(tmp_path.iterdir())


def test_whoever_keeps_the_variant_is_watched_to_the_end(place):
    """Rolled back for new conversations, it still answers the others; a watch that says so then serves everyone control."""
    minute = {"max": 0.5, "window": "1m", "then": "rollback"}
    slow = minute | {"metric": "latency_p95", "scope": "new_conversations"}
    clock, experiment = ManualClock(START + 0.0), watched([slow, minute | {"metric": "error_rate"}])
    log = kept(place, clock)
    served(log, experiment, clock)
    watches = Watches(log, lambda: open_windows(place), arrival=clock, clock=clock)
    assert said(watches) == [("bot", f"watching {experiment.identity}: 2 watches")]
    log.append([exposure(experiment, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), latency_s=1.0, error=False)])  # fmt: skip
    said(watches)
    clock.advance(71.0)
    (news,) = said(watches)
    assert news[1].endswith(
        ": it is rolled back; nobody new is let in, and who is in keeps the variant to the end"
    )
    assert (state_of(log, "bot").stage, state_of(log, "bot").service) == ("rolled back", "paused")
    # Whoever looks after it from here on, as after a restart.
    watches = Watches(log, lambda: open_windows(place), arrival=clock, clock=clock)
    assert said(watches) == [("bot", f"watching {experiment.identity}: 2 watches")]
    log.append([turn("u", "treatment", clock.now(), latency_s=0.1, error=True)])
    said(watches)
    clock.advance(71.0)
    told = [text.rpartition(": ")[2] for _, text in said(watches)]
    assert told == ["it is rolled back, and everyone is served control", "it is rolled back"]
    assert state_of(log, "bot").service == "redirected"
    assert said(watches) == []


def test_experiments_come_and_go():
    """What is entered is watched from then on; a revision takes the place of the one before; what is over is let go, and
    what was decided until then is carried out."""
    clock = ManualClock(START + 0.0)
    log = MemoryLog(clock)
    windows = open_windows("memory:")
    watches = Watches(log, lambda: windows, arrival=clock, clock=clock)
    assert said(watches) == []
    one, other = watched(HARSH), watched(HARSH, hypothesis="Something else.")
    served(log, one, clock)
    served(log, watched([], name="unwatched"), clock)
    assert said(watches) == [("bot", f"watching {one.identity}: 1 watch")]
    pause(log, "bot", by="ana")
    assert said(watches) == []
    register(log, other, by="ana", reason="another", clock=clock)
    assert said(watches) == [
        ("bot", "no longer watched: another revision is registered"),
        ("bot", f"watching {other.identity}: 1 watch"),
    ]
    log.append([exposure(other, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=True)])  # fmt: skip
    said(watches)
    clock.advance(71.0)
    # It is decided, and whoever decided it is gone before anything is done; then somebody rolls it back.
    gone = Watches(log, lambda: windows, arrival=clock, clock=clock)
    gone._carry_out = lambda watched: iter(())
    list(gone.run(0.0, lambda: False))
    assert alerts(log) == []
    roll_back(log, "bot", by="ana", reason="enough")
    breached = "error_rate of treatment was 1 in the minute up to 2023-11-14 22:16:00 UTC, and at most 0.001 is allowed"
    assert said(watches) == [
        ("bot", f"{breached}; one such window is enough"),
        ("bot", "no longer watched: it is rolled back"),
    ]
    assert len(alerts(log)) == 1


def test_the_end_of_a_window_is_not_slept_over():
    """A second between two runs, and less where a window closes sooner."""
    clock, experiment = ManualClock(START + 0.0), watched(HARSH)
    log = MemoryLog(clock)
    served(log, experiment, clock)
    windows = open_windows("memory:")
    watches = Watches(log, lambda: windows, arrival=clock, clock=clock)
    assert watches.every == 1.0
    log.append([exposure(experiment, "u", "treatment", clock.now())])
    pauses = []
    for wait in (0.0, 68.5, 1.25, 0.2, 0.05):
        clock.advance(wait)
        said(watches)
        pauses.append(watches.every)
    # The window closes seventy seconds after its beginning, and the next a minute later.
    assert pauses == pytest.approx([1.0, 1.0, 0.25, 0.05, 1.0], abs=1e-6)


def test_what_was_left_undone_is_done_by_the_next_process():
    """A decision of a revision that is over by the time somebody starts again."""
    clock = ManualClock(START + 0.0)
    log, windows, experiment = MemoryLog(clock), open_windows("memory:"), watched(HARSH)
    served(log, experiment, clock)
    gone = Watches(log, lambda: windows, arrival=clock, clock=clock)
    log.append([exposure(experiment, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=True)])  # fmt: skip
    gone._carry_out = lambda watched: iter(())
    list(gone.run(0.0, lambda: False))
    clock.advance(71.0)
    list(gone.run(0.0, lambda: False))
    register(log, watched(HARSH, hypothesis="Something else."), by="ana", reason="another", clock=clock)
    roll_back(log, "bot", by="ana", reason="enough")
    breached = "error_rate of treatment was 1 in the minute up to 2023-11-14 22:16:00 UTC, and at most 0.001 is allowed"
    [(_, text)] = said(Watches(log, lambda: windows, arrival=clock, clock=clock))
    assert text == f"{breached}; one such window is enough"


def test_the_fault_of_one_experiment_is_said_once_and_stops_no_other():
    """Its windows belong to another log; it is tried again a second later, and watched when that is mended."""
    clock = ManualClock(START + 0.0)
    log, windows = MemoryLog(clock), open_windows("memory:")
    ill, well = watched(HARSH, name="ill"), watched(HARSH, name="well")
    for each in (ill, well):
        served(log, each, clock)
    other = MemoryLog(clock)
    served(other, ill, clock)
    other.append([replace(exposure(ill, f"u{n}", "control", clock.now()), experiment="ill") for n in range(9)])  # fmt: skip
    list(Watches(other, lambda: windows, arrival=clock, clock=clock).run(0.0, lambda: False))
    at = windows.read(ill.digest).position
    watches = Watches(log, lambda: windows, arrival=clock, clock=clock)
    stray = (
        f"the windows of {ill.identity} stand at position {at} of another log than this one, which ends at {log.head()}. "
        "Watch the log they belong to, or take away the windows beside this one (the file ….windows, or the tables "
        "equipoise_window…) to fold this one from its beginning"
    )
    assert said(watches) == [("ill", stray), ("well", f"watching {well.identity}: 1 watch")]
    assert watches.state()["troubles"] == {ill.identity: stray}
    clock.advance(1.5)
    assert said(watches) == []
    clock.advance(1.5)
    watches._windows = open_windows("memory:")
    assert said(watches) == [("ill", f"watching {ill.identity}: 1 watch"), ("ill", "watched again")]
    assert watches.state()["troubles"] == {}


def test_a_log_that_is_replaced_by_a_longer_one_is_read_from_its_beginning(tmp_path):
    """Whoever meets it first; windows of the log before are gone on with by nobody, until they are taken away."""
    place, clock, experiment = tmp_path / "log.db", ManualClock(START + 0.0), watched(HARSH)
    for name, units in (("log.db", 3), ("other.db", 30)):
        log = kept(str(tmp_path / name), clock)
        served(log, experiment, clock)
        log.append([exposure(experiment, f"{name}{n}", "treatment", clock.now()) for n in range(units)])
        if name == "other.db":
            served(log, watched(HARSH, name="other"), clock)
        log.close()
    record = PatientLog(lambda: open_log(place, create=False))
    watches = Watches(record, lambda: open_windows(place), arrival=clock, clock=clock)
    assert said(watches) == [("bot", f"watching {experiment.identity}: 1 watch")]
    for ending in ("", "-wal", "-shm"):
        place.with_name(f"log.db{ending}").unlink(missing_ok=True)
    (tmp_path / "other.db").rename(place)
    with pytest.raises(LogGoneError):
        # As another chore of the same process would.
        record.head()
    with pytest.raises(RecordError) as caught:
        said(watches)
    assert str(caught.value) == (
        "the log is not the one it was: where it was read to, it ends or holds something else. It is read anew"
    )
    (_, stray), other = said(watches)
    assert stray.startswith(
        f"the windows of {experiment.identity} stand at position 7 of another log than this one"
    )
    assert other == ("other", f"watching {watched(HARSH, name='other').identity}: 1 watch")
    (tmp_path / "log.db.windows").unlink()
    clock.advance(1.5)
    assert said(watches) == [("bot", f"watching {experiment.identity}: 1 watch"), ("bot", "watched again")]
    assert Watcher(experiment, record, open_windows(place)).position == record.head() - 4
    watches.close()
    record.close()


@pytest.mark.parametrize("damage", ["taken away", "overwritten"])
def test_windows_that_are_lost_are_folded_anew_and_nothing_is_done_twice(tmp_path, damage):
    """Also by a monitor that has the file open: whoever starts next must find what it writes."""
    place, clock, experiment = tmp_path / "log.db", ManualClock(START + 0.0), watched(TWICE)
    log = kept(str(place), clock)
    served(log, experiment, clock)
    watches = Watches(log, lambda: open_windows(place), arrival=clock, clock=clock)
    windows = place.with_name("log.db.windows")
    for minute in range(5):
        log.append([exposure(experiment, "u", "treatment", clock.now()), turn("u", "treatment", clock.now(), error=minute < 2)])  # fmt: skip
        clock.advance(71.0)
        told = said(watches)
        if minute == 1:
            assert [each.action for each in alerts(log)] == ["alert", "pause"]
            resume(log, "bot", by="ana", reason="a test", clock=clock)
        if minute == 2 and damage == "overwritten":
            windows.write_bytes(b"\0" * windows.stat().st_size)
        if minute == 3:
            if damage == "overwritten":
                [(_, trouble)] = told
                assert trouble.startswith(f"the windows of guardrails in {windows} could not be used: ")
                assert trouble.endswith(". Take the file away, and it is made anew from the log")
            windows.unlink()
    assert [each.action for each in alerts(log)] == ["alert", "pause"]
    assert [record.fact.by for record in log.read_since(0, kinds=("transition",))].count("monitor") == 1
    assert not list(log.read_since(0, kinds=("conflict",)))
    said(watches)
    kept_now = Watcher(experiment, log, open_windows(place))
    assert (len(kept_now.decided()), kept_now.due()) == (2, ())
    watches.close()
    log.close()


def test_a_clock_that_is_put_back_is_told_of_and_keeps_nobody_waiting():
    """What was in trouble is tried again at once; that no window closes for an hour is said, and when it is over."""
    clock, experiment = ManualClock(START + 0.0), watched(HARSH)
    log, windows = MemoryLog(clock), open_windows("memory:")
    served(log, experiment, clock)
    away = RecordError("the windows are away")

    def opened():
        if away is not None:
            raise away
        return windows

    watches = Watches(log, lambda: windows, arrival=clock, clock=clock)
    log.append([exposure(experiment, "u", "treatment", clock.now())])
    begin, watches._begin = watches._begin, lambda _: opened()
    assert said(watches) == [("bot", "the windows are away")]
    clock._now -= 3_600.0
    away, watches._begin = None, begin
    put_back = (
        "the clock of the log was put back: windows up to 2023-11-14 22:14:00 UTC are closed, what happens before then "
        "is late, and none closes until then. Look after the experiment meanwhile"
    )
    assert said(watches) == [("bot", f"watching {experiment.identity}: 1 watch"), ("bot", put_back)]
    assert list(watches.state()["troubles"]) == [experiment.identity]
    clock.advance(60.0)
    assert said(watches) == []
    clock.advance(3_600.0)
    assert said(watches) == [("bot", "watched again")]
    assert watches.state()["troubles"] == {}


def test_a_log_that_is_away_is_waited_for(tmp_path):
    """It is said once that it is not there, and once that it is; nothing is made in its place meanwhile."""
    place = str(tmp_path / "log.db")
    told: list[tuple[str, News]] = []
    stop = threading.Event()
    watches = Watches(
        PatientLog(lambda: open_log(place, create=False)), lambda: open_windows(place), every=0.01
    )
    thread = threading.Thread(
        daemon=True,
        target=keep_going,
        args=([watches],),
        kwargs={"stop": stop, "told": lambda *each: told.append(each)},
    )
    thread.start()
    until(lambda: len(told) == 1)
    assert not list(tmp_path.iterdir())
    experiment = watched(HARSH)
    log = open_log(tmp_path / "another.db")
    served(log, experiment, ManualClock(START + 0.0))
    log.close()
    (tmp_path / "another.db").rename(place)
    until(lambda: len(told) == 3)
    stop.set()
    thread.join()
    watches.close()
    assert [(name, news.says, news.trouble) for name, news in told] == [
        ("watches", f"there is no log at {place}. Register an experiment first, or name the log with --log", True),
        ("watches", f"watching {experiment.identity}: 1 watch", False),
        ("watches", "it goes on", False),
    ]  # fmt: skip


class Ticking:
    """A chore that counts, and fails when it is told to."""

    name, every = "ticking", 0.001

    def __init__(self, error: Exception | None = None) -> None:
        self.runs, self.error = 0, error

    def run(self, now, stopping):
        self.runs += 1
        if self.error is not None:
            raise self.error
        return ()

    def state(self):
        return {"runs": self.runs}

    def close(self):
        """Nothing to let go of."""


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed file")]
)
def test_whoever_listens_no_more_ends_nothing(error):
    """A closed pipe, a full disk: the chore goes on, from one thing it says to the next and from run to run."""
    stop, ended = threading.Event(), []

    class Saying(Ticking):
        def run(self, now, stopping):
            yield News(says="one")
            yield News(says="two", trouble=True)
            ended.append(super().run(now, stopping))

    def told(name: str, news: News) -> None:
        raise error

    chore = Saying()
    assert once([chore], told=told)["ticking"]["runs"] == 1
    thread = threading.Thread(target=keep_going, args=([chore],), kwargs={"stop": stop, "told": told}, daemon=True)  # fmt: skip
    thread.start()
    until(lambda: len(ended) > 5)
    stop.set()
    thread.join()
    assert chore.runs == len(ended)


def test_no_chore_holds_another_up():
    """One fails every time and one hangs; the third goes on, and how each stands is told."""
    let_go, stop = threading.Event(), threading.Event()

    class Hanging(Ticking):
        name = "hanging"

        def run(self, now, stopping):
            super().run(now, stopping)
            let_go.wait()
            return ()

    failing, hanging, going = Ticking(ValueError("a fault")), Hanging(), Ticking()
    failing.name = "failing"
    told, states = [], []
    thread = threading.Thread(
        daemon=True,
        target=keep_going,
        args=([failing, hanging, going],),
        kwargs={"stop": stop, "told": lambda name, news: told.append((name, news.says, news.trouble)), "state": states.append, "state_every": 0.01},
    )  # fmt: skip
    thread.start()
    until(lambda: going.runs > 20 and failing.runs > 20)
    stop.set()
    let_go.set()
    thread.join()
    assert hanging.runs == 1
    assert told == [("failing", "ValueError: a fault", True)]
    assert states[-1]["failing"]["trouble"] == "ValueError: a fault"
    assert states[-1]["ticking"]["trouble"] is None


def test_once_runs_them_all_and_raises_the_first_that_failed():
    """What went wrong is no reason to leave the rest undone."""
    failing, going = Ticking(RecordError("no log")), Ticking()
    with pytest.raises(RecordError, match="no log"):
        once([failing, going], told=lambda *_: None)
    assert going.runs == 1
    assert once([going], told=lambda *_: None)["ticking"]["runs"] == 2
