"""What a turn, a shadow and the doors beside them ask of the process they live in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from equipoise.assignment.applying import API
from equipoise.assignment.following import Following
from equipoise.assignment.tokens import Signer
from equipoise.clock import Clock
from equipoise.events.log import EventLog
from equipoise.events.text_writer import TextWriter
from equipoise.gateway.enrolling import Enrolling
from equipoise.gateway.http1 import Exchange, Server
from equipoise.gateway.metrics import Counts
from equipoise.gateway.recording import Recorder
from equipoise.gateway.routing import Part, Routes
from equipoise.gateway.tracing import Trace
from equipoise.gateway.upstream import Address, Pool
from equipoise.providers.hearing import Heard

__all__ = ["Host", "Swept"]


class Swept(Protocol):
    """Something under way that is looked after every 50 ms."""

    def sweep(self, now: float) -> None: ...


class Host(Protocol):
    """The gateway, as its parts see it."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    pool: Pool
    server: Server
    recorder: Recorder
    texts: TextWriter | None
    enrolling: Enrolling
    counts: Counts
    routes: Routes
    signer: Signer | None
    following: Following | None
    log: EventLog | None
    companions: Mapping[str, Path]
    turns: set[Swept]
    traces: dict[str, tuple[tuple[str, str], ...]]

    @property
    def worker(self) -> int: ...

    def upstream(self, base_url: str | None, key_env: str | None, api: API) -> tuple[Address, bytes]: ...

    def warmth(self, where: Address, model: str, now: float) -> bool: ...

    def authorised(self, exchange: Exchange) -> bool: ...

    def body_of(self, exchange: Exchange, headers: bytes = b"") -> dict[str, Any] | None: ...

    def list_models(self, exchange: Exchange, ours: list[dict[str, Any]]) -> None: ...

    def serve_unrecorded(
        self, exchange: Exchange, api: API, parts: tuple[Part, ...], trace: Trace
    ) -> None: ...

    def finished(
        self,
        parts: tuple[Part, ...],
        measured: dict[str, Any],
        exchange: Exchange,
        heard: Heard | None,
        body: Mapping[str, Any],
        api: API,
        answer: str,
        answered: bool,
    ) -> None: ...
