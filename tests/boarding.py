"""What a dashboard shows, for the tests: a log with experiments at several stages, and the process that shows it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
from gateways import until
from processes import COMMAND, QUIET

from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.watch import Watcher
from equipoise.events.facts import Exposure, Outcome, Turn
from equipoise.events.log import EventLog
from equipoise.events.opening import open_windows
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical

EVIL = "<img src=x onerror=alert(1)> & <script>document.title='ran'</script> ümlaut 漢字"
NOW = 1_780_000_200.0


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "hypothesis": EVIL,
        "unit": {"type": "user"},
        "variants": {"control": {}, "brief": {}},
        "metrics": {
            "resolution_rate": {"priority": "primary", "baseline": 0.5, "mde": 0.1},
            "latency_p95": {"priority": "guardrail", "margin": 0.5},
        },
        "plan": {"looks": [0.5, 1.0]},
    } | more


def served(log: EventLog, of: Any, units: range, clock: ManualClock, *, lift: float, seed: int = 5) -> None:
    """Units of both arms, a turn and an outcome each; the treatment resolves `lift` more."""
    rng, facts = random.Random(seed), []
    for n in units:
        clock.advance(0.5)
        arm = ("control", "brief")[n % 2]
        common = {"experiment": of.name, "happened": clock.now(), "unit": f"u{n}"}
        facts += [
            Exposure(**common, digest=of.digest, unit_type="user", variant=arm, probability=0.5, reason="split"),
            Turn(**common, digest=of.digest, variant=arm, latency_s=rng.lognormvariate(0, 0.3), reason="split", trace=f"{n:032x}"),
            Outcome(**common, name="resolved", value=rng.random() < 0.5 + lift * (arm == "brief")),
        ]  # fmt: skip
        if n % 20 == 19:
            log.append(facts)
            facts = []


def filled(path: Path) -> SQLiteLog:
    """One that has shipped-worthy looks behind it, one between looks with a watch on its primary, and one that is new."""
    clock = ManualClock(NOW)
    log = SQLiteLog(path, clock=clock)
    looked = read_canonical(definition("looked"))
    register(log, looked, by="test", reason="a test", clock=clock)
    served(log, looked, range(900), clock, lift=0.0)
    taken = look(log, "looked", clock=clock)
    assert taken.findings.look.due
    # What came since nobody looked at, and it would look very different.
    served(log, looked, range(900, 1_000), clock, lift=0.45, seed=6)
    watches = [
        {"metric": "resolution_rate", "min": 0.9, "window": "1m", "for": 2, "then": "alert", "at_least": 20},
        {"metric": "latency_p95", "max": 1.25, "window": "1m", "for": 2, "then": "alert", "at_least": 20},
    ]
    between = read_canonical(definition("between-looks", watches=watches))
    register(log, between, by="test", reason="a test", clock=clock)
    served(log, between, range(600), clock, lift=0.45)
    clock.advance(900.0)
    windows = open_windows(path)
    watcher = Watcher(between, log, windows)
    while watcher.advance():
        pass
    windows.close()
    register(log, read_canonical(definition("new")), by="test", reason="a test", clock=clock)
    return log


@contextmanager
def board(
    folder: Path, *words: str, env: dict[str, str] | None = None
) -> Iterator[tuple[forked.Process, str]]:
    """`equipoise serve --only dashboard` as a process of its own; gives it and the address of the pages."""
    state = folder / "state"
    place = ("--log", str(folder / "log.db"), "--state", str(state))
    with forked.Process(
        (*COMMAND, "--only", "dashboard", "--dashboard-port", "0", *place, *words), env=QUIET | (env or {})
    ) as process:
        try:
            told = state / "dashboard.json"
            until(told.exists, "the dashboard")
            yield process, json.loads(told.read_text())["url"]
        finally:
            process.terminate()
            process.wait(30)
