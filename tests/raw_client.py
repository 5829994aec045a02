"""A raw socket for a client of the gateway, and what its answers are, byte by byte."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager, suppress

from gateways import PATIENCE, until

ASK = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Where is it?"}]}
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-conversation-id: c1\r\n"


def request(body: bytes | None = None, *, head: bytes = b"", stream: bool = False, **more) -> bytes:
    """A whole request, as a client would send it."""
    body = json.dumps(ASK | {"stream": stream} | more).encode() if body is None else body
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (POST, head, len(body), body)


@contextmanager
def line_to(at):
    """A raw connection to a gateway."""
    host, port = at.url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
        yield line


def rest_of(line: socket.socket) -> bytes:
    """Everything until the gateway closes."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := line.recv(65536):
            found += piece
    return found


def answers(line: socket.socket, count: int = 1) -> list[tuple[int, bytes, bytes]]:
    """So many answers with a length or in chunks: status, head, body. Fails where bytes are left over."""
    found, data = [], b""
    while len(found) < count:
        whole = _one(data)
        if whole is None:
            piece = line.recv(65536)
            assert piece, f"closed after {len(found)} answers, with {data[:300]!r}"
            data += piece
            continue
        *answer, data = whole
        if answer[0] >= 200:
            found.append(tuple(answer))
    assert data == b""
    return found


def _one(data: bytes):
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    status, low = int(head.split()[1]), head.lower()
    if status < 200 or status in (204, 304):
        assert b"content-length" not in low
        assert b"transfer-encoding" not in low
        return status, head, b"", body
    if b"transfer-encoding: chunked" in low:
        pieces = b""
        while True:
            size, end, left = body.partition(b"\r\n")
            if not end or len(left) < int(size, 16) + 2:
                return None
            count = int(size, 16)
            pieces, body = pieces + left[:count], left[count + 2 :]
            if count == 0:
                return status, head, pieces, body
    length = int(low.partition(b"content-length:")[2].split()[0])
    return None if len(body) < length else (status, head, body[:length], body[length:])


def over(at) -> None:
    """Nothing is under way any more, on either side."""
    until(lambda: at.gateway.server.exchanges == 0, "the end of the exchanges")
    until(lambda: not at.gateway.pool.calls, "the end of the calls")
    until(lambda: not at.gateway.turns, "the end of the turns")


def rest_until(line: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        piece = line.recv(1)
        assert piece, found
        found += piece
    return found
