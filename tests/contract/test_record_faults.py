"""A disk that fails under a serving gateway at the k-th call: what it says it lost is what is missing, and it recovers.

The errors are the system's own, in the process's own calls on the log's files. What holds after each of them: a unit
that was told a variant is in the record, as that variant; one told `unrecorded` is not, and is counted; what was
answered 200 is there once; what was refused may be sent again; every turn is there or counted as lost.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import resource
import signal
import socket
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from attacking import ASK, Process, facts, registered, serving
from failing_disk import failing_disk
from gateways import definition, until, upstream
from prometheus_client.parser import text_string_to_metric_families

SLOW = 2.0
"""Seconds after which a gateway gives up on an exposure that may be written all the same."""
MOST = 2_500
"""Facts that a gateway keeps in memory while it cannot write them."""
STEADY = ("ENOSPC", "EIO", "EROFS")
"""What a log that is open meets; too many open files it meets when it is opened."""


@dataclass
class Told:
    """What a client was told, over all faults of a test."""

    line: http.client.HTTPConnection
    arms: dict[str, str] = field(default_factory=dict)
    unrecorded: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    """Units that were given up after so long that nobody knows."""
    turns: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    """Events and feedback answered 200, and how many facts they are."""
    refused: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    names: Any = field(default_factory=itertools.count)

    def turn(self, unit: str | None = None) -> str:
        """One turn, of a new unit unless one is named; the reason of what it was served."""
        unit = unit or f"unit-{next(self.names)}"
        began = time.monotonic()
        head = {"content-type": "application/json", "x-conversation-id": unit}
        self.line.request("POST", "/v1/chat/completions", json.dumps(ASK), head)
        reply = self.line.getresponse()
        reply.read()
        arm, reason = reply.getheader("x-equipoise-variant"), reply.getheader("x-equipoise-reason")
        assert reply.status == 200
        self.turns += 1
        if arm is not None:
            assert (self.arms.setdefault(unit, arm), reason) == (arm, "split")
        else:
            # Whoever was served a variant once is never served without. A log that cannot be read for five seconds
            # makes a gateway `stale`, which lets nobody in and so loses nobody.
            assert (unit not in self.arms, reason in ("unrecorded", "stale")) == (True, True)
            if reason == "unrecorded":
                self.unrecorded.append(unit)
            if time.monotonic() - began > SLOW:
                self.late.add(unit)
        return str(reason)

    def tell(self, path: str, body: dict[str, Any]) -> None:
        """Feedback or events; kept to be sent again if they are refused."""
        self.line.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = self.line.getresponse()
        said = json.loads(reply.read())
        if reply.status == 200:
            self.accepted[path] += said["accepted"]
        else:
            assert (reply.status, said["error"]["message"]) == (
                503,
                "the record is down; send it again later",
            )
            self.refused.append((path, body))

    def some_of_everything(self) -> None:
        """A new unit, a known one, feedback and two events."""
        self.turn()
        number = next(self.names)
        unit = random.Random(number).choice(list(self.arms))
        self.turn(unit)
        self.tell("/v1/feedback", {"unit": unit, "thumbs": "up", "event_id": f"feedback-{number}"})
        common = {"kind": "outcome", "experiment": "bot", "unit": unit, "name": "clicked", "value": True}
        self.tell("/v1/events", {"events": [common | {"event_id": f"event-{number}-{n}"} for n in range(2)]})

    def send_again(self) -> None:
        """What was refused, until it is taken in."""
        while self.refused:
            self.tell(*self.refused.pop(0))


def agrees(at: Process, told: Told, log: Path) -> None:
    """The counters, the record and what the clients were told are one story."""
    page = httpx.get(at.url.removesuffix("/v1") + "/metrics", timeout=60).text
    numbers: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            numbers[sample.name] += sample.value

    def lost(kind: str) -> int:
        return sum(fact.facts.get(kind, 0) for fact in facts(log, "loss"))

    # A turn is written a moment after its reply, a loss as soon as there is room.
    until(lambda: len(facts(log, "turn")) + lost("turn") == told.turns, "every turn")
    until(lambda: lost("exposure") == len(told.unrecorded), "every exposure")
    assert numbers["equipoise_turns_total"] == told.turns
    assert numbers["equipoise_unrecorded_total"] == len(told.unrecorded)
    assert numbers["equipoise_record_lost"] == at.health()["lost"] == lost("exposure") + lost("turn")
    exposed = [(fact.unit, fact.variant) for fact in facts(log, "exposure")]
    assert len(exposed) == len(dict(exposed))
    assert told.arms.items() <= dict(exposed).items()
    assert (dict(exposed).keys() - told.arms.keys()) <= told.late
    outcomes = Counter(fact.name for fact in facts(log, "outcome"))
    assert outcomes == {"thumbs_up": told.accepted["/v1/feedback"], "clicked": told.accepted["/v1/events"]}


def line_to(at: Process) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(
        "127.0.0.1", int(at.url.rsplit(":", 1)[1].removesuffix("/v1")), timeout=60
    )


def whole(log: Path) -> None:
    """Nothing in the file is damaged, and no position is missing."""
    connection = sqlite3.connect(log)
    said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    rows, last = connection.execute("SELECT count(*), max(position) FROM events").fetchone()
    connection.close()
    assert (said, rows) == ("ok", last)


@pytest.mark.parametrize("faults", [6, pytest.param(600, marks=pytest.mark.long)])
def test_at_whatever_call_the_disk_fails_the_counters_are_the_true_loss(tmp_path, faults):
    """ENOSPC, EIO, EROFS from the k-th call on, for one to three calls, k = 1 … 200: told, counted, and over."""
    log, rng = tmp_path / "log.db", random.Random(faults)
    disk = failing_disk(tmp_path, log)
    places = range(1, 201) if faults == 600 else sorted(rng.sample(range(1, 201), faults // len(STEADY)))
    with upstream() as up:
        registered(log, definition(up.port))
        with serving(tmp_path, **disk.env) as at:
            told = Told(line_to(at))
            told.turn("first")
            failed = 0
            for place in places:
                for fault in STEADY:
                    calls = rng.choice((1, 1, 2, 3))
                    disk.fail(fault, place, calls)
                    # What fails may be a thing that nobody tries again before the next fact comes, such as moving the
                    # write-ahead file into the log: traffic goes on until all of it is over.
                    until(
                        lambda calls=calls: told.some_of_everything() or disk.failed == calls,
                        "the fault's end",
                    )
                    failed += disk.failed
                    until(lambda: told.turn() == "split", "the recovery")
                    until(lambda: at.health()["status"] == "ok", "health")
                    told.send_again()
                    if rng.random() < max(0.1, 6 / faults):
                        agrees(at, told, log)
            agrees(at, told, log)
            disk.heal()
            told.line.close()
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(60) == 0
            assert "Traceback" not in at.process.stderr.read()
    whole(log)
    print({"faults": len(places) * len(STEADY), "failed calls": failed, "turns": told.turns, "unrecorded": len(told.unrecorded)})  # fmt: skip


@pytest.mark.parametrize("fault", STEADY)
def test_a_disk_that_stays_away_costs_what_is_counted(tmp_path, fault):
    """More turns than memory holds while nothing can be written: the rest is dropped, counted, and told afterwards."""
    log = tmp_path / "log.db"
    disk = failing_disk(tmp_path, log)
    with upstream() as up:
        registered(log, definition(up.port))
        with serving(tmp_path, **disk.env) as at:
            told = Told(line_to(at))
            for n in range(5):
                told.turn(f"known-{n}")
            disk.fail(fault)
            until(lambda: told.turn() == "unrecorded", "the outage")
            for n in range(MOST + 100):
                told.turn(f"known-{n % 5}")
            until(lambda: at.health()["lost"] > len(told.unrecorded), "the bound")
            for _ in range(50):
                told.some_of_everything()
            assert at.number("equipoise_record_waiting") <= MOST
            assert at.number("equipoise_record_down") == 1
            disk.heal()
            until(lambda: told.turn() == "split", "the recovery")
            told.send_again()
            agrees(at, told, log)
            told.line.close()
    whole(log)


@pytest.mark.parametrize("faults", [4, pytest.param(100, marks=pytest.mark.long)])
def test_at_whatever_call_the_disk_fails_a_gateway_starts_and_serves_once_it_can(tmp_path, faults):
    """All four errors from the k-th call of a start on, for one or a few calls: it starts, and all is well soon."""
    log = tmp_path / "log.db"
    disk = failing_disk(tmp_path, log)
    rng = random.Random(faults)
    cases = [(fault, place) for place in range(1, 26) for fault in ("ENOSPC", "EIO", "EMFILE", "EROFS")]
    met = 0
    with upstream() as up:
        registered(log, definition(up.port))
        for fault, place in (
            cases if faults == 100 else [("ENOSPC", 2), ("EIO", 9), ("EMFILE", 1), ("EROFS", 3)]
        ):
            disk.fail(fault, place, rng.choice((1, 2, 4)))
            with serving(tmp_path, **disk.env) as at:
                unit = f"{fault}-{place}"
                until(
                    lambda at=at, unit=unit: at.ask(unit).headers.get("x-equipoise-reason") == "split",
                    "service",
                )
                until(lambda at=at: at.health()["status"] == "ok", "health")
                met += disk.failed > 0
                at.process.send_signal(signal.SIGTERM)
                assert at.process.wait(60) == 0
                assert "Traceback" not in at.process.stderr.read()
            assert unit in {fact.unit for fact in facts(log, "exposure")}
    whole(log)
    assert met >= 3
    print({"starts": faults, "met a fault": met})


@pytest.mark.parametrize("calls", [1, 3, 6])
def test_pins_that_were_read_only_for_a_moment_when_they_were_opened_are_written(tmp_path, calls):
    """SQLite opens for reading what it cannot write and keeps to that: the file is opened again, and units get in."""
    log, pins = tmp_path / "log.db", tmp_path / "state" / "pins.db"
    disk = failing_disk(tmp_path, pins)
    with upstream() as up:
        registered(log, definition(up.port, pins="required"))
        with serving(tmp_path) as at:
            arm = at.arm("before")
        disk.fail("EROFS", 1, calls)
        with serving(tmp_path, **disk.env) as at:
            until(lambda: at.reason(f"c{time.monotonic()}") == "split", "service")
            assert disk.failed == calls
            assert at.arm("before") == arm
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(60) == 0
            assert "Traceback" not in at.process.stderr.read()


def test_too_many_connections_are_turned_away_and_the_gateway_serves_on(tmp_path):
    """Out of files to open, a gateway accepts nobody new; who is connected is served, and so is everybody afterwards."""
    log = tmp_path / "log.db"
    with upstream() as up:
        registered(log, definition(up.port))
        with serving(tmp_path) as at:
            line = line_to(at)
            told = Told(line)
            told.turn()
            port = line.sock.getpeername()[1]
            # Descriptors are given from the lowest free number up.
            limit = 8 + max(int(each.name) for each in Path(f"/proc/{at.process.pid}/fd").iterdir())
            before = resource.prlimit(at.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(at.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
            crowd = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(4 * limit)]
            for each in crowd:
                each.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            for each in crowd:
                each.settimeout(0.2)
            served = [_first_byte(each) for each in crowd]
            assert 0 < sum(served) < len(crowd)
            for _ in range(3):
                told.some_of_everything()
            for each in crowd:
                each.close()
            until(lambda: _answers(at), "newcomers")
            told.turn()
            agrees(at, told, log)
            line.close()
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(60) == 0
            assert "Traceback" not in at.process.stderr.read()
    whole(log)


def _first_byte(line: socket.socket) -> bool:
    try:
        return bool(line.recv(1))
    except OSError:
        return False


def _answers(at: Process) -> bool:
    try:
        return at.health()["status"] == "ok"
    except httpx.HTTPError:
        return False
