"""Serving: one process or several on one port, started, supervised and drained."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from equipoise.assignment.opening import open_pins
from equipoise.assignment.pins import PinStore
from equipoise.errors import UsageError
from equipoise.events.opening import open_log, open_texts
from equipoise.events.patient import PatientLog
from equipoise.gateway.gateway import Gateway, GatewaySettings
from equipoise.gateway.http1 import Limits

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Serving", "serve", "supervise"]

_DRAIN = 30.0
_SHORTEST_LIFE = 1.0
_REFUSED = 2
_LOOK = 0.5
_logger = logging.getLogger("equipoise.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a process that serves needs to know; see `GatewaySettings` for the rest.

    `log` is a path or a PostgreSQL URL; `state` a folder for the last good configuration, the embedded pins and
    the secret. `ready` is called with the port once connections are accepted. `companions` are files in which what
    runs beside says how it stands.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    log: str = "equipoise.db"
    state: Path = Path("equipoise-state")
    base_url: str = ""
    base_key: str | None = None
    access_key: str | None = None
    secret: str | None = None
    keys: Callable[[str], str | None] = lambda _: None
    forced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    drain: float = _DRAIN
    worker: int = 0
    shared_port: bool = False
    ready: Callable[[int], None] | None = None
    tracer: Tracer | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)


def _refuse_open_door(options: Serving) -> None:
    if options.access_key is not None:
        return
    try:
        loopback = ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        loopback = options.host == "localhost"
    if not loopback:
        raise UsageError(
            f"the gateway would be open to the network at {options.host} without a key. Set EQUIPOISE_KEY, "
            "or listen on 127.0.0.1"
        )


def serve(options: Serving) -> None:
    """Serve in this process until it is told to stop (SIGTERM, SIGINT), then drain. UsageError at an open door.

    What is under way when the signal comes is finished, for at most `drain` seconds; a second signal ends it
    at once.
    """
    _refuse_open_door(options)
    try:
        import uvloop
    except ModuleNotFoundError:
        # Slower, and as right.
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        runner.run(_serve(options))


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket that listens; UsageError where it cannot."""
    if not 0 <= port <= 65_535:
        # The resolver would take it for another one.
        raise UsageError(f"{port} is no port; accepted: 0 (any) to 65535")
    try:
        family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, proto)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(where)
    except OSError as error:
        raise UsageError(
            f"the gateway cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port or --host"
        ) from None
    return found


def secret_of(state: Path) -> str:
    """The secret kept in the state folder, made there the first time, for its owner's eyes only."""
    path = state / "secret"
    try:
        state.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_urlsafe(32))
        # Another process may be writing it this moment.
        for _ in range(100):
            if said := path.read_text("ascii").strip():
                return said
            time.sleep(0.02)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the state folder {state} cannot be used: {error}. Name another with --state"
        ) from None
    raise UsageError(f"{path} is empty; remove it")


async def _serve(options: Serving) -> None:
    from equipoise.experiment.reading import read_canonical

    loop = asyncio.get_running_loop()
    last_good = options.state / "configuration.json"
    # A log that vanishes while it is served, or between two lives of who serves it, is not replaced by an empty one:
    # that would pass for it.
    served = last_good.exists()
    logs = [
        PatientLog(
            lambda: open_log(options.log, create=not served), lambda: open_log(options.log, create=False)
        )
        for _ in range(2)
    ]
    settings = GatewaySettings(
        base_url=_place(options.base_url),
        base_key=options.base_key,
        access_key=options.access_key,
        secret=options.secret or secret_of(options.state),
        keys=options.keys,
        last_good=last_good,
        forced=options.forced,
        limits=options.limits,
        worker=options.worker,
        tracer=options.tracer,
        companions=options.companions,
    )
    shared = options.log.startswith(("postgres://", "postgresql://"))
    pins = PatientPins(lambda: open_pins(options.log if shared else options.state / "pins.db"))
    listening = listen(options.host, options.port, shared=options.shared_port)
    gateway = Gateway(
        settings,
        loop=loop,
        log=logs[0],
        read=read_canonical,
        follow=logs[1],
        pins=pins,
        texts=lambda create: open_texts(options.log, create=create),
    )
    server = await loop.create_server(gateway.server.protocol, sock=listening, backlog=1024)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    port = listening.getsockname()[1]
    # What is there now stays: it need not be looked through again and again for garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if options.ready is not None:
        options.ready(port)
    watching = loop.create_task(_orphaned(stop)) if options.shared_port else None
    await stop.wait()
    if watching is not None:
        watching.cancel()
    server.close()
    gateway.drain()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    deadline = monotonic() + options.drain
    while gateway.busy and monotonic() < deadline:  # noqa: ASYNC110 - once in a life, and it counts turns of several kinds
        await asyncio.sleep(0.02)
    gateway.close()
    pins.close()
    for each in logs:
        each.close()


class PatientPins:
    """Stands before a store of pins that may not be there yet, as `PatientLog` before a log."""

    def __init__(self, opens: Callable[[], PinStore]) -> None:
        self._opens = opens
        self._lock = threading.Lock()
        self._store: PinStore | None = None

    def _opened(self) -> PinStore:
        with self._lock:
            if self._store is None:
                self._store = self._opens()
            return self._store

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        return self._opened().pin(experiment_salt, unit, epoch)

    def find(self, experiment_salt: str, unit: str) -> int | None:
        return self._opened().find(experiment_salt, unit)

    def close(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def _place(base_url: str) -> str:
    """The base URL of the upstream; UsageError for what is none."""
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not base_url.isascii() or not base_url.isprintable() or " " in base_url:
        raise UsageError(
            f"{base_url!r} cannot be an upstream; accepted: http://HOST[:PORT]/v1 or https://…. "
            "Name it with --upstream or EQUIPOISE_BASE_URL"
        )
    return base_url


async def _orphaned(stop: asyncio.Event) -> None:
    """Stop, too, when the process that looks after the workers is gone: nobody else would tell them to."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(_LOOK)
    stop.set()


def supervise(command: Sequence[str], workers: int) -> int:
    """Run so many processes of a command, start again those that die, pass signals on; the exit code.

    A worker that refuses to start (2) ends all: what is wrong with one is wrong with the others. One that dies
    young is started again no sooner than a second after it was started before.
    """
    processes: dict[int, subprocess.Popen[bytes]] = {}
    started: dict[int, float] = {}
    said: list[int] = []

    def start(worker: int) -> None:
        # A group of its own: Ctrl-C reaches a worker through here, once, and not a second time by the terminal.
        processes[worker] = subprocess.Popen([*command, "--worker", str(worker)], process_group=0)  # noqa: S603 - our own command line
        started[worker] = monotonic()

    def stop(number: int, _: object) -> None:
        said.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for worker in range(workers):
        start(worker)
    passed, code = 0, 0
    while True:
        # Passed on here and not in the handler, so that no worker is started that was not told.
        for signalled in said[passed:]:
            passed += 1
            for process in processes.values():
                process.send_signal(signalled)
        alive = 0
        for worker, process in tuple(processes.items()):
            ended = process.poll()
            if ended is None:
                alive += 1
            elif passed:
                continue
            elif ended == _REFUSED:
                code = ended
                said.append(signal.SIGTERM)
            elif not said and monotonic() - started[worker] > _SHORTEST_LIFE:
                print(f"worker {worker} died with {ended}; starting it again", file=sys.stderr)
                start(worker)
        if passed and not alive:
            return code
        time.sleep(0.1)
