"""The page on which people label: one item at a time, kept before the next is shown."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from equipoise.conduct.labelling.task import Shown, rater_name
from equipoise.conduct.labels import AnsweredElsewhereError, Labelling
from equipoise.dashboard.guarding import Guard, form_of, sentence
from equipoise.dashboard.pages import asset, render
from equipoise.errors import UsageError

__all__ = ["application"]

_LARGEST = 64 * 1024
_RATER = "equipoise_rater"
_KEY = "{key:[0-9a-f]{32}}"
_WHOLE = re.compile(r"\d{1,3}")
_NOTICES = {
    "again": "The server was started anew since this page was shown, and nothing was kept. Answer once more.",
    "elsewhere": "You answered this in another window meanwhile, and that answer stands. Change it here if you think "
    "otherwise.",
    "undone": "Taken back. Answer it again, or go on.",
    "nothing": "There was nothing to take back: your last answer is another one by now.",
    "gone": "The text of that item is there no more: it has expired or was removed.",
}


class _Pages:
    """The handlers; `rater` is given where everybody who opens the page is the same person."""

    def __init__(self, labelling: Labelling, guard: Guard, rater: str | None) -> None:
        self._labelling, self._guard, self._rater = labelling, guard, rater

    async def start(self, request: web.Request) -> web.StreamResponse:
        """The next item, or what there is to say where none is left."""
        rater = self._who(request)
        if rater is None:
            return self._ask_name()
        key = await asyncio.to_thread(self._labelling.next, rater)
        if key is not None:
            return _see(f"/item/{key}{_notice_of(request)}")
        progress = await asyncio.to_thread(self._labelling.progress, rater)
        return _page(
            "done.html",
            **self._common(rater),
            progress=progress,
            grows=self._labelling.grows,
            notice=_NOTICES.get(request.query.get("n", "")),
        )

    async def item(self, request: web.Request) -> web.StreamResponse:
        """One item as its rater sees it."""
        rater = self._who(request)
        if rater is None:
            return self._ask_name()
        key = request.match_info["key"]
        shown = await asyncio.to_thread(self._labelling.show, rater, key)
        if shown is None:
            return _see("/?n=gone")
        progress = await asyncio.to_thread(self._labelling.progress, rater)
        return _page(
            "item.html",
            **self._common(rater),
            ask=self._labelling.settings.ask,
            shown=shown,
            said=_said(shown),
            progress=progress,
            notice=_NOTICES.get(request.query.get("n", "")),
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Keep an answer; the next item is shown once it is durable."""
        key = request.match_info["key"]
        rater, form = self._who(request), await form_of(request)
        if rater is None or not self._guard.knows(form.get("token", ""), rater):
            return _onwards(request, f"/item/{key}?n=again")
        try:
            await asyncio.to_thread(
                self._labelling.answer,
                rater,
                key,
                self._choices(form),
                seen=form.get("seen", ""),
                seconds=_seconds(form.get("seconds")),
            )
        except AnsweredElsewhereError:
            return _onwards(request, f"/item/{key}?n=elsewhere")
        return _onwards(request, "/")

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Take back the rater's last answer, and show its item."""
        rater, form = self._who(request), await form_of(request)
        if rater is None or not self._guard.knows(form.get("token", ""), rater):
            return _onwards(request, "/?n=again")
        key = await asyncio.to_thread(self._labelling.undo, rater, form.get("last", ""))
        return _onwards(request, "/?n=nothing" if key is None else f"/item/{key}?n=undone")

    async def name(self, request: web.Request) -> web.StreamResponse:
        """Who is labelling, kept in a cookie of this browser."""
        form = await form_of(request)
        if self._rater is not None or not self._guard.knows(form.get("token", ""), ""):
            return _see("/")
        try:
            rater = rater_name(form.get("rater", ""))
        except UsageError as error:
            return self._ask_name(sentence(error), status=400)
        response = _see("/")
        response.set_cookie(_RATER, quote(rater, safe=""), httponly=True, samesite="Strict", path="/")
        return response

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A style sheet or the script."""
        found = asset(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found[0], content_type=found[1])

    def _who(self, request: web.Request) -> str | None:
        if self._rater is not None:
            return self._rater
        try:
            return rater_name(unquote(request.cookies.get(_RATER, "")))
        except UsageError:
            return None

    def _ask_name(self, wrong: str | None = None, *, status: int = 200) -> web.Response:
        return _page("name.html", token=self._guard.token(""), wrong=wrong, status=status)

    def _common(self, rater: str) -> dict[str, Any]:
        return {
            "experiment": self._labelling.experiment.name,
            "rater": rater,
            "asks_name": self._rater is None,
            "token": self._guard.token(rater),
            "title": self._labelling.questions[0].words
            if len(self._labelling.questions) == 1
            else "How good is it?",
        }

    def _choices(self, form: dict[str, str]) -> dict[str, int | None]:
        names = [question.name for question in self._labelling.questions]
        if "pass" in form:
            return dict.fromkeys(names)
        given = {name: form.get(f"q.{name}", "") for name in names}
        for name, value in given.items():
            if value and not _WHOLE.fullmatch(value):
                raise UsageError(f"an answer is a whole number, and that to {name} is none")
        return {name: int(value) for name, value in given.items() if value}


def application(labelling: Labelling, guard: Guard, *, rater: str | None = None) -> web.Application:
    """The page as an application of aiohttp."""
    pages = _Pages(labelling, guard, rater)
    app = web.Application(middlewares=[guard.middleware], client_max_size=_LARGEST)
    app.router.add_get("/", pages.start)
    app.router.add_get(f"/item/{_KEY}", pages.item)
    app.router.add_post(f"/item/{_KEY}", pages.answer)
    app.router.add_post("/undo", pages.undo)
    app.router.add_post("/rater", pages.name)
    app.router.add_get("/{name:[a-z]+\\.(css|js)}", pages.file)
    return app


def _said(shown: Shown) -> str | None:
    """What the rater answered before, in words; None where nothing yet."""
    if shown.given is None:
        return None
    if all(choice is None for choice in shown.given.values()):
        return "You skipped this one."
    return "You have answered this one; an answer now takes its place."


def _seconds(text: str | None) -> float | None:
    """The time a rater took, as the page says; None where it says nothing sensible."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _onwards(request: web.Request, place: str) -> web.Response:
    """To the next page: told to the script, or by a redirection where there is none."""
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response({"next": place})
    return _see(place)


def _see(place: str) -> web.Response:
    return web.Response(status=303, headers={"Location": place})


def _page(template: str, status: int = 200, **values: Any) -> web.Response:
    return web.Response(text=render(template, **values), content_type="text/html", status=status)


def _notice_of(request: web.Request) -> str:
    told = request.query.get("n", "")
    return f"?n={told}" if told in _NOTICES else ""
