"""The monitor's weights as a process: epochs are opened on time and once, killed anywhere, by however many monitors."""

from __future__ import annotations

import json
import random
import re
import signal
import sys
import time
from fractions import Fraction

import forked
from dying import FINDS_THIS
from playing import HOUR, bandit, playing, served
from processes import QUIET

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import pause
from equipoise.events.facts import Allocation, Transition
from equipoise.events.opening import open_log

MONITOR = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "monitor", "--only", "weights")
RATES = {"control": 0.4, "b": 0.4, "c": 0.8}


CLOSE = {"control": 0.5, "b": 0.3, "c": 0.6}


def written(place: str, section: dict | None = None, units: int = 60, rates: dict = RATES) -> None:
    """A bandit that was registered three hours ago, and whose rewards are matured."""
    clock = ManualClock(time.time() - 3 * HOUR)
    log, experiment = open_log(place), bandit({"every": "1h"} | (section or {}))
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), units, rates)
    clock.advance(time.time() - clock.now() - 60.0)
    served(log, experiment, clock, random.Random(2), 1, RATES)
    log.close()


def once(place: str) -> dict:
    done = forked.run((*MONITOR, "--once", "--log", place, "--json"), env=QUIET)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_an_epoch_that_is_due_is_opened_once_and_told(place):
    """By one run of the program; a second finds it open. The log holds what the shares rest on."""
    written(place)
    first, second = once(place), once(place)
    (news,) = first["news"]
    assert (news["chore"], news["trouble"]) == ("weights", False)
    log = open_log(place)
    state = state_of(log, "bot")
    epoch = state.allocations[-1]
    shares = ", ".join(
        f"{arm} {float(Fraction(share)):.4%}" for arm, share in news["facts"]["shares"].items()
    )
    assert news["says"] == f"epoch 1 of 60 rewards: {re.sub(r'[.]?0+%', '%', shares)}"
    assert (epoch.epoch, epoch.by, epoch.evidence) == (1, "monitor", news["facts"]["evidence"])
    assert second["news"] == []
    stand = second["chores"]["weights"]["bandits"][news["experiment"]]
    assert stand == {"epochs": 0, "trouble": None, "due": epoch.starts + HOUR, "because": None}
    said = forked.run((*MONITOR, "--once", "--log", place), env=QUIET)
    assert said.stdout.startswith(f"{news['experiment']}: next shares from ")
    log.close()


def test_a_guardrail_that_paused_it_stops_the_epochs(tmp_path):
    """What is paused is not weighed, and the monitor says why."""
    place = str(tmp_path / "log.db")
    written(place)
    log = open_log(place)
    pause(log, "bot", by="monitor")
    found = once(place)
    assert found["news"] == []
    (stand,) = found["chores"]["weights"]["bandits"].values()
    assert stand["because"] == "it is paused, and nobody new comes in"
    assert len(state_of(log, "bot").allocations) == 1
    log.close()


def test_what_is_the_matter_is_said_and_tried_again(tmp_path):
    """Rewards that are not what their kind says are told of in one sentence, and the program goes on."""
    place = str(tmp_path / "log.db")
    clock = ManualClock(time.time() - 3 * HOUR)
    log, experiment = open_log(place), bandit({"every": "1h"})
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), 5, {}, value=lambda _: 0.5)
    log.close()
    (news,) = once(place)["news"]
    assert (news["trouble"], news["experiment"]) == (True, experiment.identity)
    assert news["says"] == (
        "resolution_rate is a proportion of outcome.resolved, and 5 units have another value than 0 or 1, such as 0.5. "
        "Use `kind: mean`, or record true and false"
    )


def test_two_monitors_that_go_on_open_it_once_and_stop_when_they_are_told(place):
    """Both find it due at the same time; one opens it. Both end at once when they are told to."""
    written(place)
    log = open_log(place)
    pair = [forked.Process((*MONITOR, "--log", place, "--json"), env=QUIET) for _ in range(2)]
    try:
        while len(state_of(log, "bot").allocations) < 2:
            assert all(each.poll() is None for each in pair), [each.stderr.read() for each in pair]
            time.sleep(0.05)
        for each in pair:
            each.send_signal(signal.SIGTERM)
        assert [each.wait() for each in pair] == [0, 0]
    finally:
        for each in pair:
            each.kill()
            each.communicate()
    assert [each.epoch for each in state_of(log, "bot").allocations] == [0, 1]
    log.close()


WEIGHING = (
    FINDS_THIS
    + """
place, fatal, since = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
from dying import Deaths
from equipoise.clock import ManualClock
from equipoise.conduct.weigh import weigh
from equipoise.events.opening import open_log

log, deaths = open_log(place), Deaths(fatal)
log.append_if = deaths.around(log.append_if)
log.read_since = deaths.around(log.read_since)
weigh(log, "bot", by="monitor", if_due=True, clock=ManualClock(since))
"""
)


def test_killed_between_any_two_steps_each_epoch_is_opened_once(place):
    """Four epochs, each weighed by processes that are killed again and again: none is missed, doubled or made of less."""
    written(place, {"every": "1m", "drop": {"below": "5%", "after": 15}}, units=90, rates=CLOSE)
    rng, log = random.Random(3), open_log(place)
    now, died = time.time(), 0
    # Before, amid and after the reading of the log, and just after the epoch was written.
    for number, fatal_steps in enumerate([(3, 9), (8, 10), (1, 7), (5, 10)], 1):
        # More rewards, so that the shares are others.
        experiment_units(log, rng, now)
        now = max(now, state_of(log, "bot").allocations[-1].starts) + 60.0
        for fatal in fatal_steps:
            done = forked.run([sys.executable, "-c", WEIGHING, place, str(fatal), str(now)], env=QUIET)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            died += done.returncode != 0
        last = forked.run([sys.executable, "-c", WEIGHING, place, "0", str(now)], env=QUIET)
        assert last.returncode == 0, last.stderr
        assert [each.epoch for each in state_of(log, "bot").allocations] == list(range(number + 1))
    assert died >= 6
    removed = [record.fact.evidence["removed"] for record in log.read_since(0, kinds=("transition",)) if isinstance(record.fact, Transition) and "removed" in record.fact.evidence and "redirected" not in record.fact.evidence]  # fmt: skip
    gone = set(state_of(log, "bot").allocations[0].shares) - set(state_of(log, "bot").allocations[-1].shares)
    assert sorted(arm for arms in removed for arm in arms) == sorted(gone)
    for record in log.read_since(0, kinds=("allocation",)):
        assert isinstance(record.fact, Allocation)
        if record.fact.epoch:
            # Made of all that was in the log when it was opened.
            assert record.fact.evidence is not None
            assert record.fact.evidence["position"] < record.position
    log.close()


def experiment_units(log, rng: random.Random, now: float) -> None:
    """Five units of an hour ago, and one of now that says how late it is."""
    experiment = bandit({"every": "1m", "drop": {"below": "5%", "after": 15}})
    clock = ManualClock(now - 1.5 * HOUR)
    served(log, experiment, clock, rng, 5, CLOSE)
    clock.advance(now - clock.now())
    served(log, experiment, clock, rng, 1, RATES)
