"""The gateway's HTTP under attack: clients that smuggle, flood, stall and leave."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from contextlib import suppress

import openai
import pytest
from gateways import PATIENCE, definition, gateway, until, upstream
from raw_client import ASK, POST, answers, line_to, over, request, rest_of, rest_until
from raw_upstream import FINE, SSE, in_chunks, raw_upstream, said

from equipoise.gateway.http1 import Limits

SMUGGLED = [
    b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    b"content-length: 2, 2\r\n\r\n{}",
    b"content-length: +2\r\n\r\n{}",
    b"content-length: -2\r\n\r\n{}",
    b"content-length: 0x2\r\n\r\n{}",
    b"content-length: \r\n\r\n{}",
    b"content-length: 99999999999999999999999\r\n\r\n{}",
    b"content-length : 2\r\n\r\n{}",
    b" content-length: 2\r\n\r\n{}",
    b"x: a\r\n content-length: 2\r\n\r\n{}",
    b"content-length: 2\n\n{}",
    b"content-length: 2\r\r\n\r\n{}",
    b"x: a\rcontent-length: 2\r\n\r\n{}",
    b"x: a\0b\r\n\r\n",
    b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    b"transfer-encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n2;x\ny\r\n{}\r\n0\r\n\r\n",
]


def test_what_could_be_read_in_two_ways_is_read_in_none():
    """Every smuggled framing is one answer of 400 and a closed line; what hides behind it is never a request."""
    hidden = request(unseen=True)
    with upstream() as up, gateway(definition(up.port)) as at:
        for each in SMUGGLED:
            with line_to(at) as line:
                line.sendall(POST + each + hidden)
                found = rest_of(line)
            assert found.count(b"HTTP/1.1 ") == 1, (each, found)
            assert found.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")), (each, found)
            assert b"connection: close" in found
        for start in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /\xff HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n\r\n"):  # fmt: skip
            with line_to(at) as line:
                line.sendall(start + hidden)
                assert rest_of(line).count(b"HTTP/1.1 ") == 1
        over(at)
        assert up.bodies == []
        assert at.facts("exposure") == []


def test_one_answer_a_request_in_order_however_the_bytes_are_cut():
    """Pipelined, byte by byte, in chunks, after 100-continue, HEAD and an answer of 204: the line stays in step."""
    body = json.dumps(ASK).encode()
    chunked = POST + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(body[:1], body[1:9], body[9:]) + b"0\r\nx-trailer: y\r\n\r\n"  # fmt: skip
    head = b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with upstream() as up, gateway(definition(up.port)) as at:
        with line_to(at) as line:
            line.sendall(request() + chunked + request(stream=True) + request(b"{") + request())
            found = answers(line, 5)
            assert [status for status, _, _ in found] == [200, 200, 200, 400, 200]
            assert found[2][2].endswith(b"data: [DONE]\n\n")
            for byte in chunked:
                line.sendall(bytes((byte,)))
            assert answers(line)[0][0] == 200
            line.sendall(POST + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
            assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            line.sendall(body)
            assert answers(line)[0][0] == 200
            line.sendall(head)
            assert rest_until(line, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
            line.sendall(b"OPTIONS /v1/feedback HTTP/1.1\r\nhost: x\r\n\r\n" + request())
            assert [status for status, _, _ in answers(line, 2)] == [204, 200]
            line.sendall(b"\r\n" + request(head=b"connection: close\r\n") + b"\r\n")
            said_last = rest_of(line)
        assert said_last.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in said_last
        assert len(up.bodies) == 8
        over(at)
        assert len(at.facts("turn", at_least=8)) == 8
        assert len(at.facts("exposure")) == 1


def test_an_offer_of_another_protocol_is_passed_over_and_a_tunnel_refused():
    """`Upgrade: h2c`, as some clients offer with every request: answered once, with its body; CONNECT is 405."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAA\r\n"
    with upstream() as up, gateway(definition(up.port)) as at:
        with line_to(at) as line:
            line.sendall(request(head=offer) + request())
            assert [status for status, _, _ in answers(line, 2)] == [200, 200]
            whole = request(head=offer)
            for byte in whole:
                line.sendall(bytes((byte,)))
            assert answers(line)[0][0] == 200
        assert len(up.bodies) == 3
        assert not any({"upgrade", "http2-settings"} & set(each) for each in up.headers)
        with line_to(at) as line:
            line.sendall(b"CONNECT inner:80 HTTP/1.1\r\nhost: inner\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            found = rest_of(line)
        assert found.startswith(b"HTTP/1.1 405 ")
        assert found.count(b"HTTP/1.1 ") == 1
        over(at)


def test_a_client_of_http_1_0_is_answered_to_the_end_of_the_connection():
    """No chunks for who cannot read them, whole or streamed, in an experiment or through it."""
    with upstream() as up, gateway(definition(up.port), base_url=f"http://127.0.0.1:{up.port}/v1") as at:
        for model in ("experiment/bot", "gpt-plain"):
            for stream in (False, True):
                with line_to(at) as line:
                    asked = request(stream=stream, model=model, head=b"connection: keep-alive\r\n")
                    line.sendall(asked.replace(b"HTTP/1.1", b"HTTP/1.0"))
                    head, _, body = rest_of(line).partition(b"\r\n\r\n")
                assert b" 200 " in head
                assert b"transfer-encoding" not in head
                assert b"connection: close" in head
                assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")
                assert body.startswith(b"data: " if stream else b"{")


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nx: ", 431),
        (b"GET /healthz?", 431),
        (b"GET /healthz HTTP/1.1\r\nx", 431),
        (POST + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", 431),
        (POST + b"transfer-encoding: chunked\r\n\r\n1;", 431),
    ],
)
def test_a_line_without_an_end_is_refused_long_before_it_fills_the_memory(start, status):
    """A header, a target, a trailer or a chunk extension that never ends: the limit of the headers holds for each."""
    with gateway(definition(9), limits=Limits(headers=4000)) as at, line_to(at) as line:
        found = b""
        line.sendall(start)
        line.settimeout(0.02)
        for _ in range(3000):
            try:
                line.sendall(b"a" * 1000)
                found += line.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if found:
                break
        assert found.startswith(b"HTTP/1.1 %d " % status), found
        over(at)


def test_limits_of_body_connections_exchanges_and_time_hold():
    """A body in chunks beyond its limit, one connection or exchange too many, a request that takes for ever."""
    with upstream() as up, gateway(definition(up.port), limits=Limits(body=2000, connections=3, receiving=0.2, idle=600)) as at:  # fmt: skip
        with line_to(at) as line:
            line.sendall(POST + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(*[b"a" * 100] * 30))
            assert rest_of(line).startswith(b"HTTP/1.1 413 ")
        until(lambda: not at.gateway.server.connections)
        with line_to(at) as one, line_to(at) as two, line_to(at) as three:
            until(lambda: len(at.gateway.server.connections) == 3, "three connections")
            with line_to(at) as line:
                assert rest_of(line) == b""
            one.sendall(POST + b"content-length: 50\r\n\r\n{")
            assert rest_of(one).startswith(b"HTTP/1.1 408 ")
            two.sendall(request())
            assert answers(two)[0][0] == 200
            three.sendall(request())
            assert answers(three)[0][0] == 200
        assert at.gateway.server.refused == 1
    held = threading.Event()

    def wait(line) -> None:
        while line.request() is not None:
            held.wait(PATIENCE)
            line.say(FINE)

    with raw_upstream(wait) as up, gateway(definition(up.port), limits=Limits(exchanges=1)) as at:
        with line_to(at) as one, line_to(at) as two:
            one.sendall(request())
            until(lambda: at.gateway.server.exchanges == 1)
            two.sendall(request())
            status, head, body = answers(two)[0]
            assert (status, json.loads(body)["error"]["type"]) == (503, "overloaded")
            assert b"retry-after: 1" in head
            held.set()
            assert answers(one)[0][0] == 200
            two.sendall(request())
            assert answers(two)[0][0] == 200
        over(at)


def test_who_asks_and_never_reads_does_not_fill_the_memory():
    """Endless pipelined requests on one line: the gateway stops reading once its answers are not taken."""
    small = Limits(body=100_000)
    with upstream() as up, gateway(definition(up.port), limits=small) as at, line_to(at) as line:
        line.settimeout(0.5)
        sent, asked = 0, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 50
        with pytest.raises((TimeoutError, ConnectionResetError, BrokenPipeError)):
            while sent < 64 * 2**20:
                line.sendall(asked)
                sent += len(asked)
        (kept,) = at.gateway.server.connections or (None,)
        if kept is not None:
            assert kept._transport.get_write_buffer_size() < 512 * 1024
            assert len(kept._queue) <= 64


def test_who_sends_hundreds_ahead_is_hung_up_on():
    """64 requests may wait for their answers on one line; the line of who sends 300 at once is cut, and only that."""
    with upstream() as up, gateway(definition(up.port)) as at:
        with line_to(at) as line:
            line.sendall(request() * 64)
            assert {status for status, _, _ in answers(line, 64)} == {200}
        with line_to(at) as line, suppress(ConnectionError):
            line.sendall(request() * 300)
            assert rest_of(line) == b""
        over(at)
        assert len(up.bodies) <= 65
        with line_to(at) as line:
            line.sendall(request())
            assert answers(line)[0][0] == 200


def test_behind_a_last_answer_nothing_is_served():
    """A gateway that drains closes after its answer: what was sent ahead is nobody's turn."""
    with upstream() as up, gateway(definition(up.port)) as at, line_to(at) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answers(line)[0][0] == 200
        at.gateway.server.draining = True
        line.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + request() * 3)
        found = rest_of(line)
        assert found.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in found
        over(at)
        assert up.bodies == []
        assert at.facts("exposure") == []


@pytest.mark.parametrize("before", [b"", b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 40])
def test_a_stream_that_nobody_reads_stands_still(before):
    """32 MiB for a client that does not read: the upstream is paused, not cut off, and all of it comes in the end."""
    piece = in_chunks(said("x" * 10_000))
    count = 3200
    told = 0

    def flood(line) -> None:
        nonlocal told
        line.request()
        line.say(SSE)
        for _ in range(count):
            line.say(piece)
            told += 1
        line.say(in_chunks(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        line.wait()

    patience = {"timeouts": {"between_chunks": 0.2}}
    with (
        raw_upstream(flood) as up,
        gateway(definition(up.port, endpoint=patience)) as at,
        line_to(at) as line,
    ):
        line.sendall(before + request(stream=True))
        until(lambda: told > 0, "the flood")
        before_pause = -1
        while before_pause != told:
            before_pause = told
            time.sleep(0.5)
        assert told < count
        (kept,) = at.gateway.server.connections
        assert kept._transport.get_write_buffer_size() < 2 * 2**20
        found = tail = 0
        last = b""
        while tail == 0:
            got = line.recv(2**20)
            assert got, "the stream was cut off"
            found += len(got)
            last = (last + got)[-100:]
            tail = last.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert found > count * 10_000
        assert told == count
        over(at)
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.error, turn.cancelled) == (False, None)


def test_noise_and_damaged_requests_harm_nobody():
    """400 lines of noise and of valid requests damaged at random (seed 7): a whole request is served after them."""
    random_ = random.Random(7)
    good = [request(), request(stream=True), POST + b"transfer-encoding: chunked\r\n\r\n" + in_chunks(json.dumps(ASK).encode()) + b"0\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"HEAD /metrics HTTP/1.1\r\n\r\n"]  # fmt: skip

    def damaged() -> bytes:
        data = bytearray(b"".join(random_.choices(good, k=random_.randint(1, 4))))
        for _ in range(random_.randint(1, 6)):
            place = random_.randrange(len(data))
            match random_.randrange(4):
                case 0:
                    data[place] = random_.randrange(256)
                case 1:
                    del data[place : place + random_.randint(1, 40)]
                case 2:
                    data[place:place] = random_.randbytes(random_.randint(1, 20))
                case _:
                    data[place:place] = random_.choice((b"\r\n", b"\n", b"\0", b"content-length: 3\r\n", b"upgrade: h2c\r\nconnection: upgrade\r\n"))  # fmt: skip
            data = data or bytearray(b"x")
        return bytes(data)

    with upstream() as up, gateway(definition(up.port)) as at:
        for n in range(400):
            with line_to(at) as line, suppress(OSError):
                data = random_.randbytes(random_.randint(1, 400)) if n % 4 == 0 else damaged()
                cut = random_.randrange(len(data))
                line.sendall(data[:cut])
                line.sendall(data[cut:])
                if n % 3:
                    line.setblocking(False)
                    line.recv(4096)
        with line_to(at) as line:
            line.sendall(request())
            assert answers(line)[0][0] == 200
        over(at)
        until(lambda: not at.gateway.server.connections, "the end of the connections")
        assert at.gateway.counts.errors == 0


@pytest.mark.parametrize("how", ["shut", "reset", "half"])
def test_a_client_that_leaves_while_the_call_is_made_or_pending_takes_it_along(how):
    """Closed, reset or half-closed before the answer: the upstream's line is closed, and nothing is kept of the call."""

    def never(line) -> None:
        line.request()
        line.wait()

    with raw_upstream(never) as up, gateway(definition(up.port)) as at:
        with line_to(at) as line:
            line.sendall(request())
            until(lambda: up.requests, "the call")
            if how == "half":
                line.shutdown(socket.SHUT_WR)
                assert rest_of(line) == b""
            elif how == "reset":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert up.lines[0].hung_up.wait(PATIENCE)
        over(at)
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.cancelled, turn.error, turn.status) == (True, None, None)
        assert len(at.facts("exposure", at_least=1)) == 1


def test_a_client_that_leaves_while_the_upstream_is_being_reached_leaves_nothing_behind():
    """An address that takes no connection: the call is forgotten with its client, before the patience is over."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for each in fillers:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(("127.0.0.1", port))
        made = definition(port, endpoint={"retries": 0, "timeouts": {"connect": 0.5}})
        with gateway(made) as at:
            with line_to(at) as line:
                line.sendall(request())
                until(lambda: at.gateway.pool.calls, "the call")
            over(at)
            with line_to(at) as line:
                line.sendall(request())
                status, _, body = answers(line)[0]
            assert (status, json.loads(body)["error"]["code"]) == (502, "connect")
            assert json.loads(body)["error"]["message"] == f"http://127.0.0.1:{port} took no connection within 0.5 s"  # fmt: skip
            assert [turn.cancelled for turn in at.facts("turn", at_least=2)] == [True, None]
        for each in fillers:
            each.close()


@pytest.mark.parametrize(
    ("key", "sent"), [("sk-upstream\n", "Bearer sk-upstream"), ("sk\r\nx-evil: yes", None), ("ключ", None)]
)
def test_a_key_is_a_line_of_plain_text_or_is_not_sent(key, sent):
    """A key out of a file ends with a line's end, which is no part of it; nothing in a key becomes a header."""
    with upstream() as up:
        endpoint = {"key_env": "UPSTREAM_KEY"}
        with gateway(definition(up.port, endpoint=endpoint), keys={"UPSTREAM_KEY": key}.get) as at:
            client = openai.OpenAI(base_url=at.url, api_key="none", max_retries=0, timeout=30)
            ask = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Hi"}]}
            client.chat.completions.create(**ask, extra_headers={"x-conversation-id": "c1"})
            client.close()
        assert up.headers[0].get("authorization") == sent
        assert "x-evil" not in up.headers[0]
