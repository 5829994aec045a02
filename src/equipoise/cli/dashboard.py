"""The dashboard of `equipoise serve`: its command line, and the process that serves it."""

from __future__ import annotations

import importlib.util
import json
import time
from contextlib import suppress
from pathlib import Path

from equipoise.cli.output import note
from equipoise.errors import MissingExtraError, UsageError

__all__ = ["command_of", "serve_dashboard"]

_NEEDED = ("jinja2", "duckdb", "numpy", "pyarrow", "scipy")


def command_of(host: str, port: int, *, insist: bool, place: str) -> list[str] | None:
    """The words that start it; None where what it needs is not installed, and nobody insists.

    UsageError for what it would refuse itself: an address that others reach without a key, a log that nobody else sees.
    """
    from equipoise import settings

    if any(importlib.util.find_spec(each) is None for each in _NEEDED):
        if insist:
            raise MissingExtraError("the dashboard")
        note("the dashboard is left out: it needs the 'analysis' extra")
        return None
    if place == "memory:":
        raise UsageError("a log in memory is seen by nobody else; name a file or postgresql://… with --log")
    from equipoise.dashboard.reach import refuse_open

    refuse_open(host, settings.variable("EQUIPOISE_KEY"))
    return ["serve", "--only", "dashboard", "--dashboard-host", host, "--dashboard-port", str(port)]


def serve_dashboard(place: str, host: str, port: int, *, tell: Path | None, parent: int) -> None:
    """Serve it in this process, until told to stop or `parent` is gone; `tell` is where it says its address."""
    from equipoise import settings
    from equipoise.dashboard.board import Board
    from equipoise.dashboard.serving import serve_board
    from equipoise.events.opening import open_log, open_windows
    from equipoise.events.patient import PatientLog
    from equipoise.files import write_whole

    def url(found: int) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{found}/"

    def ready(found: int) -> None:
        note(f"the dashboard is at {url(found)}")
        told(found)

    def told(found: int) -> None:
        if tell is not None:
            # What cannot be told does not keep it from serving.
            with suppress(UsageError):
                write_whole(tell, json.dumps({"at": time.time(), "url": url(found)}))

    def still(found: int) -> None:
        # Whoever is started beside it by mistake takes away what it finds, and may be refused then.
        if tell is not None and not tell.exists():
            told(found)

    log = PatientLog(lambda: open_log(place, create=False))
    try:
        board = Board(log, lambda: open_windows(place, create=False), settings.variable)
        serve_board(
            board,
            host=host,
            port=port,
            key=settings.variable("EQUIPOISE_KEY"),
            ready=ready,
            parent=parent,
            still=still,
        )
        # Nobody is sent to where nobody answers any more.
        if tell is not None:
            with suppress(OSError):
                tell.unlink(missing_ok=True)
    finally:
        log.close()
