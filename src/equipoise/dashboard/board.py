"""The pages that show experiments: all of them, one of them, and the report of its last registered look. They only read.

No effect stands on them that was not seen at a registered look: between looks there are health, watches and
counts. The report is computed again from what its look is pinned to, and not from what came since.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from aiohttp import web

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import names, registered
from equipoise.conduct.read_out import read_out
from equipoise.conduct.status import status
from equipoise.conduct.survey import survey
from equipoise.dashboard import wording
from equipoise.dashboard.guarding import Guard
from equipoise.dashboard.pages import asset, render
from equipoise.events.log import EventLog
from equipoise.events.windows import Windows
from equipoise.measurement.warehouse.connecting import Variable

__all__ = ["Board", "application"]

_FRESH_S = 5.0
"""So long a page is as good as new: however many look at it, the log is read once."""
_FRESH_TIMES, _FRESH_MOST_S = 4.0, 60.0
"""A page that took long to read is as good as new for so many times as long: looking costs a part of a core."""
_PAGES, _REPORTS = 200, 8
_LARGEST = 4 * 1024

T = TypeVar("T")


@dataclass(slots=True)
class Board:
    """What the pages show, read from a log when somebody asks; one page and one report at a time.

    `windows` opens those of watches.
    """

    log: EventLog
    windows: Callable[[], Windows]
    variable: Variable | None = None
    clock: Clock = field(default_factory=SystemClock)
    _pages: OrderedDict[str, tuple[float, float, str]] = field(default_factory=OrderedDict)
    _reports: OrderedDict[tuple[str, int], str] = field(default_factory=OrderedDict)
    _unread: dict[tuple[str, int], tuple[float, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reporting: threading.Lock = field(default_factory=threading.Lock)

    def all(self) -> str:
        """The page of all experiments."""
        return self._fresh("", lambda: wording.listed(survey(self.log, clock=self.clock)))

    def one(self, name: str) -> str | None:
        """The page of an experiment; None where nothing is registered under the name."""
        if name not in names(self.log):
            return None
        return self._fresh(name, lambda: self._one(name))

    def report(self, name: str) -> str | None:
        """The report of its last registered look, or a page that says why there is none; None as in `one`."""
        if name not in names(self.log):
            return None
        with self._reporting:
            looks = registered(self.log, name)[2].looks
            # A purge may have taken what a look was computed from.
            purges = sum(1 for _ in self.log.read_since(0, kinds=("purge",)))
            key = (looks[-1].event_id if looks else name, purges)
            if not looks:
                return render("unread.html", name=name, because="no look has been taken yet")
            now = self.clock.now()
            failed, because = self._unread.pop(key, (float("-inf"), ""))
            if 0.0 <= now - failed < _FRESH_S:
                self._unread[key] = failed, because
                return render("unread.html", name=name, because=because)
            if key not in self._reports:
                found = read_out(self.log, name, variable=self.variable)
                assert found is not None
                if found.analysis is None:
                    # What it read may come back; computing it again for each who asks would cost as much as a look.
                    self._unread[key] = self.clock.now(), found.because or ""
                    while len(self._unread) > _REPORTS:
                        del self._unread[next(iter(self._unread))]
                    return render("unread.html", name=name, because=found.because)
                self._reports[key] = found.analysis.to_html()
            self._reports.move_to_end(key)
            while len(self._reports) > _REPORTS:
                self._reports.popitem(last=False)
            return self._reports[key]

    def _one(self, name: str) -> dict[str, object]:
        experiment, _, state = registered(self.log, name)
        windows = self.windows()
        try:
            found = status(self.log, name, windows=windows, clock=self.clock)
        finally:
            windows.close()
        return wording.told(experiment, state, found)

    def _fresh(self, name: str, make: Callable[[], dict[str, object]]) -> str:
        """A page, made anew if it is older than it may be, or than nothing by a clock that was put back."""
        with self._lock:
            now = self.clock.now()
            made, until, text = self._pages.pop(name, (now, now, ""))
            if not made <= now < until:
                template = "experiment.html" if name else "experiments.html"
                made, text = now, render(template, now=wording.moment(now), **make())
                done = self.clock.now()
                until = done + min(max(_FRESH_S, _FRESH_TIMES * (done - made)), _FRESH_MOST_S)
            self._pages[name] = made, until, text
            while len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
            return text


class _Handlers:
    """A thread for pages and one for reports: however many ask for those, a page does not wait for one."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pages, self._reports = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    async def all(self, _: web.Request) -> web.Response:
        return _html(await _asked(self._pages, self._board.all))

    async def one(self, request: web.Request) -> web.Response:
        return _html(await _asked(self._pages, self._board.one, request.match_info["name"]))

    async def report(self, request: web.Request) -> web.Response:
        response = _html(await _asked(self._reports, self._board.report, request.match_info["name"]))
        if response.text is not None and "<style>" in response.text:
            response.headers["Content-Security-Policy"] = _policy(response.text)
        return response

    async def close(self, _: web.Application) -> None:
        for each in (self._pages, self._reports):
            each.shutdown(wait=False, cancel_futures=True)

    async def file(self, request: web.Request) -> web.Response:
        found = asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found[0], content_type=found[1])


def application(board: Board, guard: Guard) -> web.Application:
    """The pages as an application of aiohttp: nothing on them changes anything."""
    handlers = _Handlers(board)
    app = web.Application(middlewares=[guard.middleware], client_max_size=_LARGEST)
    app.on_cleanup.append(handlers.close)
    app.router.add_get("/", handlers.all)
    app.router.add_get("/experiment/{name}", handlers.one)
    app.router.add_get("/experiment/{name}/report", handlers.report)
    app.router.add_get("/{name:[a-z]+\\.css}", handlers.file)
    return app


async def _asked(thread: Executor, read: Callable[..., str | None], *names: str) -> str | None:
    return await asyncio.get_running_loop().run_in_executor(thread, read, *names)


def _html(text: str | None) -> web.Response:
    if text is None:
        raise web.HTTPNotFound
    return web.Response(text=text, content_type="text/html")


def _policy(page: str) -> str:
    """What a report may do: look as its one style sheet says, which is named by its digest."""
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
