"""Who may ask, and from where: a page on this machine is within reach of every page that a browser here opens.

A request must name a host that is this machine (no name that an attacker points here), one that changes something must
come from this very page (its origin, and a token that only the page knows), and beyond this machine a key is needed. Where
one is set it is asked for on this machine, too: others may work on it. It is not to be guessed: neither by trying, which
is limited, nor by what a browser keeps once it is in, which has nothing of the key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from equipoise.dashboard.guesses import Guesses
from equipoise.dashboard.pages import render
from equipoise.dashboard.reach import is_loopback, refuse_open
from equipoise.errors import EquipoiseError, UsageError

__all__ = ["Guard", "form_of", "problem", "sentence"]

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: a browser then hides the origin of a form, too, which is what the form is judged by.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_COOKIE = "equipoise_in_"
_SAID = {
    404: ("There is no such page", "What you asked for is not here. Go back to the first page."),
    405: ("This page is not asked that way", "Go back and use the buttons of the page."),
    400: (
        "This is no answer",
        "What came is not what the page sends. Nothing was kept; go back and try once more.",
    ),
    413: (
        "That is too much",
        "An answer is a few bytes, and this is more than the page takes. Nothing was kept.",
    ),
}


def problem(
    request: web.Request, status: int, title: str, message: str, onwards: str | None = "/"
) -> web.Response:
    """A page, or JSON where that was asked for, that says what is wrong."""
    if "application/json" in request.headers.get("Accept", ""):
        return web.json_response({"problem": message}, status=status)
    text = render("problem.html", title=title, message=message, onwards=onwards)
    return web.Response(text=text, content_type="text/html", status=status)


def sentence(error: EquipoiseError) -> str:
    """An error as a page says it."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


async def form_of(request: web.Request) -> dict[str, str]:
    """The fields of a form; HTTPBadRequest for what is none."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPBadRequest
    try:
        found = await request.post()
    except (ValueError, LookupError):
        # Bytes that are no text, or text in a code that nobody knows.
        raise web.HTTPBadRequest from None
    return {name: value for name, value in found.items() if isinstance(value, str)}


class Guard:
    """What stands before every page. UsageError for an address that others reach, without a key.

    >>> Guard("127.0.0.1", None).knows("guessed", "jo")
    False
    """

    def __init__(self, host: str, key: str | None) -> None:
        refuse_open(host, key)
        self._local = is_loopback(host)
        self._key = key
        self._secret = secrets.token_bytes(32)
        # What is kept by whoever is in follows from no key, or a guess at it would be one at the key.
        self._in = secrets.token_hex(32)
        self._guesses = Guesses()

    def token(self, rater: str) -> str:
        """What a form of this rater must bring along, until this process ends."""
        return hmac.new(self._secret, rater.encode(), hashlib.sha256).hexdigest()

    def knows(self, token: str, rater: str) -> bool:
        """Whether a token is this rater's."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token(rater).encode())

    @property
    def middleware(self) -> Middleware:
        """For an application of aiohttp."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            response: web.StreamResponse
            try:
                response = self._refusal(request) or await self._let_in(request, handler)
            except web.HTTPException as error:
                title, message = _SAID.get(error.status, (error.reason, error.reason))
                response = problem(request, error.status, title, message)
            except EquipoiseError as error:
                usage = isinstance(error, UsageError)
                shown = "This cannot be shown now" if request.method == "GET" else "Nothing was kept"
                title = "This cannot be done" if usage else shown
                response = problem(request, 400 if usage else 503, title, sentence(error), request.path)
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    def _refusal(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        if self._local and not _names_this_machine(host):
            return problem(
                request,
                421,
                "This is not that host",
                "This page is served on this machine alone and answers to localhost, 127.0.0.1 and [::1]. Open it at the "
                "address that was printed when it was started.",
                None,
            )
        if request.method not in ("GET", "HEAD") and not _is_same_origin(request, host):
            return problem(
                request,
                403,
                "This did not come from the page",
                "An answer is taken from this page alone, and this one came from another. Nothing was kept.",
            )
        return None

    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._key is None or request.path.endswith((".css", ".js")):
            return await handler(request)
        named = _cookie_of(request)
        cookie = request.cookies.get(named, "")
        if hmac.compare_digest(cookie.encode("utf-8", "replace"), self._in.encode()):
            return await handler(request)
        if request.method != "POST" or request.path != "/key":
            if "application/json" in request.headers.get("Accept", ""):
                # The script of a page that was open when the server was started anew.
                return web.json_response({"next": "/"}, status=401)
            return _ask_key(401)
        given = (await form_of(request)).get("key", "")
        # From here on nothing waits, so that as many guesses as come at once are counted one by one.
        wait = self._guesses.refused_s(request.remote)
        if wait is not None:
            return _ask_key(429, wait=wait)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._key.encode()):
            self._guesses.wrong(request.remote)
            return _ask_key(401, wrong=True)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(named, self._in, httponly=True, samesite="Strict", path="/")
        return response


def _cookie_of(request: web.Request) -> str:
    """Two pages on one machine share a browser's cookies, whatever their ports; one that is started anew takes its own over.

    Were it named otherwise each time, a browser would soon bring more of them than a request may be long.
    """
    return (
        _COOKIE + hashlib.sha256(request.headers.get("Host", "").encode("utf-8", "replace")).hexdigest()[:8]
    )


def _ask_key(status: int, *, wrong: bool = False, wait: int | None = None) -> web.Response:
    text = render("key.html", wrong=wrong, wait=wait)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    return web.Response(text=text, content_type="text/html", status=status, headers=headers)


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def _is_same_origin(request: web.Request, host: str) -> bool:
    """By what a browser says of itself; whoever says nothing is no browser, and needs the token all the same."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        # Behind something that speaks TLS for this the scheme differs; the host is what tells pages apart.
        return urlsplit(origin).netloc == host != ""
    except ValueError:
        return False
