"""A raw socket for an upstream: it answers byte for byte as it is told, also where that is no HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 30.0
BODY = json.dumps(
    {
        "model": "model-a",
        "choices": [{"message": {"content": "It ships today."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4},
    }
).encode()
FINE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def in_chunks(*pieces: bytes) -> bytes:
    """Pieces of a body as chunks; the closing one is not among them."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def said(text: str) -> bytes:
    """A frame of a streamed completion."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


@dataclass
class Line:
    """One connection: what came in on it, and how to answer."""

    socket: socket.socket
    number: int
    requests: list[bytes] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def request(self) -> bytes | None:
        """The next request, head and body; None once the gateway has hung up."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)  # fmt: skip
        while len(body) < length:
            body += self.socket.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self) -> None:
        """Until the gateway hangs up."""
        self.socket.settimeout(PATIENCE)
        while self.socket.recv(65536):
            pass


@dataclass
class Raw:
    """All connections so far, in order."""

    port: int
    lines: list[Line] = field(default_factory=list)

    @property
    def requests(self) -> list[bytes]:
        return [request for line in self.lines for request in line.requests]

    def models(self) -> list[Any]:
        """The models that were asked for, in order of the connections."""
        return [json.loads(request.partition(b"\r\n\r\n")[2])["model"] for request in self.requests]


def always(*answers: bytes) -> Callable[[Line], None]:
    """Answer each request on a connection with the next of these, and the last one for ever."""

    def script(line: Line) -> None:
        left = list(answers)
        while line.request() is not None:
            line.say(left.pop(0) if len(left) > 1 else left[0])

    return script


def once(answer: bytes) -> Callable[[Line], None]:
    """Answer one request of a connection, and close."""

    def script(line: Line) -> None:
        if line.request() is not None:
            line.say(answer)

    return script


@contextmanager
def raw_upstream(script: Callable[[Line], None]) -> Iterator[Raw]:
    """Each connection is handled by `script` in a thread of its own, and closed when it returns."""
    listening = socket.create_server(("127.0.0.1", 0))
    there = Raw(listening.getsockname()[1])
    threads: list[threading.Thread] = []

    def handle(line: Line) -> None:
        with line.socket:
            with suppress(OSError):
                script(line)
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        line.hung_up.set()

    def accept() -> None:
        while True:
            try:
                made, _ = listening.accept()
            except OSError:
                return
            there.lines.append(Line(made, len(there.lines)))
            threads.append(threading.Thread(target=handle, args=(there.lines[-1],), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield there
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(PATIENCE)
        for line in there.lines:
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join(PATIENCE)
