"""What the pages of experiments say, and what they keep to themselves, read without a server."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from boarding import NOW, definition, served

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import registered
from equipoise.conduct.register import register
from equipoise.conduct.watch import Watcher
from equipoise.dashboard.board import Board, application
from equipoise.dashboard.guarding import Guard
from equipoise.events.facts import Alert, Exposure, Registration, Shadow, Transition, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_windows
from equipoise.events.windows import Windows
from equipoise.experiment.reading import read_canonical

IN_A_ROW = {"window": "1m", "for": 2, "at_least": 20}


def words(text: str | None) -> str:
    """What a page says, without its markup."""
    assert text is not None
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def page(log: MemoryLog, name: str, clock: ManualClock, windows: Windows | None = None) -> str:
    return words(Board(log, lambda: windows or open_windows("memory:"), clock=clock).one(name))


def in_canary(log: MemoryLog, clock: ManualClock, metric: str, service: str = "open") -> None:
    """An experiment in its canary, in which a watch was beyond its limit."""
    watch = IN_A_ROW | {"metric": metric, "max": 0.4312, "then": "pause"}
    of = read_canonical(definition("careful", rollout={"stages": ["canary", "ab"]}, watches=[watch]))
    register(log, of, by="test", reason="a test", clock=clock)
    epoch, common = registered(log, "careful")[2].allocations[-1].epoch, {"experiment": "careful", "happened": NOW, "digest": of.digest}  # fmt: skip
    log.append(
        [
            Transition(**common, by="test", stage="canary", service=service, origin="offline", reason="a test"),
            *(Exposure(**common, unit=f"u{n}", unit_type="user", variant=("control", "brief")[n % 2], probability=0.5, reason="split", epoch=epoch) for n in range(20)),
            Alert(**common, watch=0, metric=metric, variant="brief", action="pause", says="", value=0.7654, limit=0.4312, streak=2, sustained=True, ends=NOW + 60),
        ]
    )  # fmt: skip


@pytest.mark.parametrize("service", ["open", "paused"])
def test_what_stands_before_the_next_stage_is_said_without_what_was_measured(service):
    """An alert bars the way, by its words and not by its values: of the primary they would be a look."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    in_canary(log, clock, "resolution_rate", service)
    said = page(log, "careful", clock)
    assert "resolution_rate of brief was beyond its limit for 2 windows" in said
    assert "0.7654" not in said
    assert "against" not in said


def test_who_came_in_during_a_canary_is_not_part_of_the_plan():
    """They are exposed, and count for nothing of what was planned."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    in_canary(log, clock, "latency_p95")
    assert (
        "Exposed control 10, brief 10 0% of the 779 planned; 20 came in during the canary and are no part of the "
        "estimate" in page(log, "careful", clock)
    )


def test_a_guardrail_beyond_its_margin_in_shadow_bars_the_way_without_its_values():
    """That it is beyond is said, and which one; how far is no business of a page that shows no difference."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    of = read_canonical(
        definition("shadowed", rollout={"stages": ["shadow", "ab"], "shadow": {"share": "10%", "turns": 50}})
    )
    register(log, of, by="test", reason="a test", clock=clock)
    common: dict[str, Any] = {"experiment": "shadowed", "happened": NOW, "digest": of.digest}
    log.append([Transition(**common, by="test", stage="shadow", origin="offline", reason="a test")])
    for n in range(200):
        told = common | {"unit": f"u{n}", "trace": f"{n:032x}", "error": False}
        log.append(
            [
                Turn(**told, event_id=f"t{n}", reason="not_live", latency_s=1.0 + n / 1000),
                Shadow(
                    **told,
                    event_id=f"s{n}",
                    reason="shadow",
                    variant="brief",
                    of=f"t{n}",
                    latency_s=8.765 + n / 1000,
                ),
            ]
        )
    said = page(log, "shadowed", clock)
    assert "Before that: in shadow a guardrail is beyond its margin or its limit" in said
    assert "guardrail latency_p95 of brief: ✖ breached" in said
    assert not re.search(r"8\.\d|9\.\d|1\.19", said.replace("As of", ""))


def test_a_watch_shows_its_values_of_guardrails_alone():
    """A secondary metric waits for its look as the primary does: of its watch a page says whether it is breached."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    metrics = definition("watched")["metrics"] | {"latency_p50": {"priority": "secondary"}}
    watches = [
        IN_A_ROW | {"metric": name, "max": 0.5, "then": "alert"} for name in ("latency_p50", "latency_p95")
    ]
    of = read_canonical(definition("watched", metrics=metrics, watches=watches))
    register(log, of, by="test", reason="a test", clock=clock)
    served(log, of, range(600), clock, lift=0.0)
    windows = open_windows("memory:")
    watcher = Watcher(of, log, windows)
    while watcher.advance():
        pass
    said = page(log, "watched", clock, windows)
    assert re.search(
        r"latency_p95 max 0\.5 brief \d of 2 [\d-]+ [\d:]+: breached, 1\.\d+ against 0\.5 alert", said
    )
    assert re.search(r"latency_p50 max 0\.5 brief \d of 2 [\d-]+ [\d:]+: breached alert", said)


def test_one_definition_that_cannot_be_read_takes_no_page_from_the_others():
    """Written by a later version, say: it is named with what is the matter, and the rest is listed as ever."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    register(log, read_canonical(definition("known")), by="test", reason="a test", clock=clock)
    later = definition("later") | {"from_the_future": {"<b>": 1}}
    log.append(
        [
            Registration(
                experiment="later", happened=NOW, digest="f" * 64, definition=later, plan={}, by="test"
            )
        ]
    )
    said = words(Board(log, lambda: open_windows("memory:"), clock=clock).all())
    assert "known Stage ab Exposed 0" in said
    assert (
        "later cannot be read by this version of the program: from_the_future: unknown key &#39;from_the_future&#39;."
        in said
    )


def test_no_page_waits_for_a_report_however_many_ask_for_one():
    """Reports are computed one after the other, and meanwhile where experiments stand is shown as ever."""
    log, asked, go_on = MemoryLog(), threading.Event(), threading.Event()
    register(log, read_canonical(definition("known")), by="test", reason="a test")

    class Slow(Board):
        def report(self, name: str) -> str | None:
            asked.set()
            assert go_on.wait(60)
            return super().report(name)

    async def ask() -> list[str]:
        pages = application(Slow(log, lambda: open_windows("memory:")), Guard("127.0.0.1", None))
        async with TestClient(TestServer(pages)) as client:

            async def text(place: str) -> str:
                async with client.get(place) as reply:
                    return words(await reply.text())

            reports = [asyncio.create_task(text("/experiment/known/report")) for _ in range(50)]
            try:
                assert await asyncio.to_thread(asked.wait, 60)
                assert "known Stage ab" in await asyncio.wait_for(text("/"), 60)
                assert "Where it stands" in await asyncio.wait_for(text("/experiment/known"), 60)
                assert not any(each.done() for each in reports)
            finally:
                go_on.set()
            return await asyncio.gather(*reports)

    found = asyncio.run(ask())
    assert len(found) == 50
    assert all("There is none to show: no look has been taken yet." in each for each in found)


def test_who_comes_in_again_after_a_restart_brings_one_cookie():
    """However often it is started anew at its address: the last one's takes the place of those before; another port has its own."""
    log = MemoryLog()

    async def ask() -> list[set[str]]:
        brought = []
        for host in ("localhost:8091", "localhost:8091", "localhost:8092"):
            pages = application(Board(log, lambda: open_windows("memory:")), Guard("127.0.0.1", "sesame"))
            async with TestClient(TestServer(pages)) as client:
                headers = {"Host": host, "Origin": f"http://{host}"}
                async with client.post(
                    "/key", data={"key": "sesame"}, headers=headers, allow_redirects=False
                ) as reply:
                    assert reply.status == 303
                    brought.append({*reply.cookies})
        return brought

    first, second, other = asyncio.run(ask())
    assert len(first) == 1
    assert first == second != other


@pytest.mark.parametrize(("takes", "lasts"), [(0.0, 5.0), (1.0, 5.0), (6.0, 24.0), (100.0, 60.0)])
def test_a_page_that_takes_long_to_read_is_kept_for_longer(takes, lasts):
    """For five seconds, or four times as long as it took, or a minute: whoever asks again and again does not read without end."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock=clock)
    register(log, read_canonical(definition("known")), by="test", reason="a test", clock=clock)

    class Slow(Board):
        read = 0

        def _one(self, name: str) -> dict[str, object]:
            self.read += 1
            clock.advance(takes)
            return Board._one(self, name)

    board = Slow(log, lambda: open_windows("memory:"), clock=clock)
    board.one("known")
    clock.advance(lasts - 0.01)
    board.one("known")
    assert board.read == 1
    clock.advance(0.02)
    board.one("known")
    assert board.read == 2
