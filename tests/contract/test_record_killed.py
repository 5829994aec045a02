"""A gateway that is killed amid its writing, again and again: what it acknowledged is in the record, and once.

What an acknowledgement means. A reply that names a variant: the unit's exposure is on disk before the reply's
first byte. A 200 to feedback and to events: each of them is on disk. Of the turn itself nothing is promised by a
reply: its fact gathers with others for 50 ms and is lost with the process. A unit that comes back in another
life of the gateway may be told of again, under another id, as the same variant; the read-out counts it once.

A kill takes away what a process holds back, not what the disk does: this is no test of a power cut.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from attacking import ASK, facts, registered, serving
from gateways import definition, upstream

from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log

CLIENTS = 4
LONGEST_LIFE = 0.25
"""Seconds from the moment a gateway listens to its end, at the most."""
UNITS = {"type": "conversation", "from": "header:x-conversation-id"}
METRICS = {"thumbs": {"priority": "primary"}}


@dataclass
class Client:
    """Asks, tells and says what it thinks, on one connection; what was not acknowledged it sends again."""

    name: str
    rng: random.Random
    arms: dict[str, str] = field(default_factory=dict)
    """Units and the variant each was told to have."""
    lives: Counter[str] = field(default_factory=Counter)
    """In how many lives of the gateway a unit was asked for: so often may it be told of."""
    acknowledged: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Events and feedback by their id: the path and body of what was answered 200."""
    unanswered: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    replies: int = 0
    resent: int = 0
    unlike: list[Any] = field(default_factory=list)
    """Replies that nobody should have got."""

    def live(self, port: int) -> None:
        """One life of the gateway, to its end."""
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        seen: set[str] = set()
        try:
            for path, key, body in tuple(self.unanswered):
                self.resent += 1
                self._tell(line, path, key, body)
            while True:
                self._one(line, seen)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            line.close()

    def _one(self, line: http.client.HTTPConnection, seen: set[str]) -> None:
        known = list(self.arms)
        choice = self.rng.random()
        if not known or choice < 0.4:
            self._turn(line, f"{self.name}u{len(known)}-{self.rng.randrange(10**9)}", seen)
            return
        unit = self.rng.choice(known[-200:])
        if choice < 0.55:
            self._turn(line, unit, seen)
        elif choice < 0.75:
            key = f"{self.name}f{self.rng.randrange(10**12)}"
            self._new(line, "/v1/feedback", key, {"unit": unit, "thumbs": "up", "event_id": key})
        elif choice < 0.95:
            key = f"{self.name}e{self.rng.randrange(10**12)}"
            kind = self.rng.choice(("outcome", "turn"))
            more = {"name": "clicked", "value": True} if kind == "outcome" else {"latency_s": 0.5}
            event = {
                "kind": kind,
                "event_id": key,
                "experiment": "bot",
                "unit": unit,
                "happened": time.time(),
            }
            self._new(line, "/v1/events", key, {"events": [event | more]})
        elif self.acknowledged:
            # A sender that has lost its own notes.
            key = self.rng.choice(list(self.acknowledged)[-200:])
            self.resent += 1
            self._tell(line, self.acknowledged[key][0], key, self.acknowledged[key][1])

    def _turn(self, line: http.client.HTTPConnection, unit: str, seen: set[str]) -> None:
        if unit not in seen:
            seen.add(unit)
            self.lives[unit] += 1
        head = {"content-type": "application/json", "x-conversation-id": unit}
        line.request("POST", "/v1/chat/completions", json.dumps(ASK), head)
        reply = line.getresponse()
        arm, reason = reply.getheader("x-equipoise-variant"), reply.getheader("x-equipoise-reason")
        if arm is not None and self.arms.setdefault(unit, arm) != arm:
            self.unlike.append((unit, self.arms[unit], arm))
        # A machine that stands still for seconds makes a gateway careful, and that is said.
        if arm is None and (reason not in ("unrecorded", "stale") or unit in self.arms):
            self.unlike.append((unit, self.arms.get(unit), reply.status, reason))
        self.replies += 1
        reply.read()

    def _new(self, line: http.client.HTTPConnection, path: str, key: str, body: dict[str, Any]) -> None:
        self.unanswered.append((path, key, body))
        self._tell(line, path, key, body)

    def _tell(self, line: http.client.HTTPConnection, path: str, key: str, body: dict[str, Any]) -> None:
        line.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = line.getresponse()
        said = reply.read()
        if reply.status == 200 and json.loads(said) == {"accepted": 1}:
            self.acknowledged[key] = (path, body)
            self.unanswered = [each for each in self.unanswered if each[1] != key]
        elif reply.status != 503:
            self.unlike.append((path, key, reply.status, said))


@pytest.mark.parametrize("kills", [10, pytest.param(1_000, marks=pytest.mark.long)])
def test_nothing_that_was_acknowledged_is_lost_or_doubled_by_kills(tmp_path, kills):
    """Four clients, SIGKILL at a random moment, the next life on the same log: every acknowledgement is kept, once."""
    log, rng = tmp_path / "log.db", random.Random(6)
    clients = [Client(f"c{n}", random.Random(n)) for n in range(CLIENTS)]
    with upstream() as up:
        made = definition(up.port, unit=UNITS, metrics=METRICS)
        registered(log, made)
        for _ in range(kills):
            with serving(tmp_path) as at, ThreadPoolExecutor(CLIENTS) as pool:
                port = int(at.url.rsplit(":", 1)[1].removesuffix("/v1"))
                under_way = [pool.submit(client.live, port) for client in clients]
                threading.Event().wait(rng.uniform(0, LONGEST_LIFE))
                at.process.send_signal(signal.SIGKILL)
                for each in under_way:
                    each.result()
        # The last life is let be: it takes in what nobody acknowledged so far.
        with serving(tmp_path) as at:
            line = http.client.HTTPConnection("127.0.0.1", int(at.url.rsplit(":", 1)[1].removesuffix("/v1")))
            for client in clients:
                for path, key, body in tuple(client.unanswered):
                    client._tell(line, path, key, body)
            line.close()
            at.process.send_signal(signal.SIGTERM)
            assert at.process.wait(60) == 0
    assert [each for client in clients for each in client.unlike] == []
    assert [each for client in clients for each in client.unanswered] == []

    # Every exposure, as the variant that was told, in no more lives than it was asked for in.
    told = {unit: arm for client in clients for unit, arm in client.arms.items()}
    lives = sum((client.lives for client in clients), Counter())
    exposed = [(fact.unit, fact.variant) for fact in facts(log, "exposure")]
    assert told.items() <= dict(exposed).items()
    assert len(set(exposed)) == len(dict(exposed))
    assert {unit: n for unit, n in Counter(unit for unit, _ in exposed).items() if n > lives[unit]} == {}

    # Every event under its id, every piece of feedback under the one made of its own; each once, as it was said.
    events = {
        key: body["events"][0]
        for client in clients
        for key, (_, body) in client.acknowledged.items()
        if "events" in body
    }
    kept = [fact for fact in facts(log, "outcome", "turn") if fact.event_id in events]
    assert Counter(fact.event_id for fact in kept) == Counter(list(events))
    assert all(getattr(fact, name) == value for fact in kept for name, value in events[fact.event_id].items())
    thumbs = Counter(
        body["unit"] for client in clients for _, body in client.acknowledged.values() if "thumbs" in body
    )
    assert Counter(fact.unit for fact in facts(log, "outcome") if fact.name == "thumbs_up") == thumbs

    # The record itself is whole: positions without a gap, one fact an id, no trace of a turn twice.
    connection = sqlite3.connect(log)
    whole, rows, ids, last = (
        connection.execute("PRAGMA integrity_check").fetchone()[0],
        *connection.execute(
            "SELECT count(*), count(DISTINCT event_id), max(position) FROM events"
        ).fetchone(),
    )
    connection.close()
    assert (whole, ids, last) == ("ok", rows, rows)
    traces = [fact.trace for fact in facts(log, "turn") if fact.trace is not None]
    assert len(traces) == len(set(traces)) <= sum(client.replies for client in clients) + kills * CLIENTS

    # What the read-out counts: each unit once, in its arm, with all that was said of it.
    read = open_log(log)
    measured = measure_log(read_canonical(made), read)
    read.close()
    assert dict(measured.units) == dict(Counter(arm for _, arm in set(exposed)))
    assert len(told) >= kills
    figures = {
        "kills": kills, "replies": sum(client.replies for client in clients), "units": len(told),
        "exposures": len(exposed), "events": len(events), "feedback": sum(thumbs.values()),
        "sent again": sum(client.resent for client in clients),
        "turns answered and not recorded": sum(client.replies for client in clients) - len(traces),
        "facts": rows,
    }  # fmt: skip
    print(figures)
