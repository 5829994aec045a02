"""Pages as a process: until it is told to stop, or its parent is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from equipoise.conduct.labels import Labelling
from equipoise.dashboard.board import Board
from equipoise.dashboard.board import application as board_application
from equipoise.dashboard.guarding import Guard
from equipoise.dashboard.labelling import application
from equipoise.errors import UsageError

__all__ = ["serve_board", "serve_labelling"]

_LOOK_S = 0.5


def serve_labelling(
    labelling: Labelling,
    *,
    host: str,
    port: int,
    key: str | None,
    rater: str | None,
    ready: Callable[[int], None],
) -> None:
    """Serve the label page in this process until SIGTERM or SIGINT; `ready` is told the port.

    UsageError where it cannot listen, or would be open to the network without a key.
    """
    guard = Guard(host, key)
    asyncio.run(_serve(application(labelling, guard, rater=rater), host, port, ready, None))


def serve_board(
    board: Board,
    *,
    host: str,
    port: int,
    key: str | None,
    ready: Callable[[int], None],
    parent: int | None = None,
    still: Callable[[int], None] | None = None,
) -> None:
    """Serve the pages of experiments, as `serve_labelling` does; also until the process `parent` is the parent no more.

    `still` is told the port every half second.
    """
    guard = Guard(host, key)
    asyncio.run(_serve(board_application(board, guard), host, port, ready, parent, still))


async def _serve(
    app: web.Application,
    host: str,
    port: int,
    ready: Callable[[int], None],
    parent: int | None,
    still: Callable[[int], None] | None = None,
) -> None:
    if not 0 <= port <= 65_535:
        raise UsageError(f"{port} is no port; accepted: 0 (any) to 65535")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            # What the loop says beside the system's own words names the address once more.
            number = error.errno or 0
            told = os.strerror(number) if number > 0 else error.strerror or error
            raise UsageError(
                f"the page cannot be served at {host}:{port}: {told}. Choose another port or host"
            ) from None
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            # Not every system can; there Ctrl-C ends the loop by itself.
            with suppress(NotImplementedError):
                loop.add_signal_handler(each, stopped.set)
        found = runner.addresses[0][1]
        ready(found)
        # Nobody else would tell it to stop when the process it belongs to was killed.
        while not stopped.is_set() and (parent is None or os.getppid() == parent):
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), None if parent is None else _LOOK_S)
            if still is not None:
                still(found)
    finally:
        await runner.cleanup()
