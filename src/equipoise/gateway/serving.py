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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from equipoise.assignment.opening import open_pins
from equipoise.errors import UsageError
from equipoise.events.opening import open_log
from equipoise.events.patient import PatientLog
from equipoise.gateway.gateway import Gateway, GatewaySettings
from equipoise.gateway.http1 import Limits

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Serving", "serve", "supervise"]

_DRAIN = 30.0
_SHORTEST_LIFE = 1.0
_logger = logging.getLogger("equipoise.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a process that serves needs to know; see `GatewaySettings` for the rest.

    `log` is a path or a PostgreSQL URL; `state` a folder for the last good configuration, the embedded pins and
    the secret. `ready` is called with the port once connections are accepted.
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
    logs = [PatientLog(lambda: open_log(options.log)), PatientLog(lambda: open_log(options.log))]
    settings = GatewaySettings(
        base_url=options.base_url,
        base_key=options.base_key,
        access_key=options.access_key,
        secret=options.secret or secret_of(options.state),
        keys=options.keys,
        last_good=options.state / "configuration.json",
        forced=options.forced,
        limits=options.limits,
        worker=options.worker,
        tracer=options.tracer,
    )
    shared = options.log.startswith(("postgres://", "postgresql://"))
    pins = open_pins(options.log if shared else options.state / "pins.db")
    listening = listen(options.host, options.port, shared=options.shared_port)
    gateway = Gateway(settings, loop=loop, log=logs[0], read=read_canonical, follow=logs[1], pins=pins)
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
    await stop.wait()
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


def supervise(command: Sequence[str], workers: int) -> int:
    """Run so many processes of a command, start again those that die, pass signals on; the exit code."""
    running: dict[int, tuple[int, float]] = {}
    stopping = False

    def start(worker: int) -> None:
        process = subprocess.Popen([*command, "--worker", str(worker)])  # noqa: S603 - our own command line
        processes[worker] = process
        running[worker] = (process.pid, monotonic())

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        stopping = True
        for process in processes.values():
            process.send_signal(number)

    processes: dict[int, subprocess.Popen[bytes]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for worker in range(workers):
        start(worker)
    while True:
        alive = 0
        for worker, process in tuple(processes.items()):
            code = process.poll()
            if code is None:
                alive += 1
            elif not stopping:
                lived = monotonic() - running[worker][1]
                if code > 0 and lived < _SHORTEST_LIFE:
                    # It refused to start: what is wrong with one is wrong with all.
                    stop(signal.SIGTERM, None)
                    for other in processes.values():
                        other.wait()
                    return code
                print(f"worker {worker} died with {code}; starting it again", file=sys.stderr)
                start(worker)
                alive += 1
        if stopping and not alive:
            return 0
        time.sleep(0.1)
