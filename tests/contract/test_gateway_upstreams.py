"""Upstreams that lie, stall, flood and die under the gateway; and what of a request reaches them at all."""

from __future__ import annotations

import gzip
import json
import logging
import time

import pytest
from gateways import PATIENCE, definition, gateway
from raw_client import answers, line_to, over, request, rest_of
from raw_upstream import BODY, FINE, SSE, always, in_chunks, once, raw_upstream, said

from equipoise.events.log import MemoryLog

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
KEY = "sk-of-the-gateway"


def one_try(port: int, **more):
    """A definition that makes one try, with an address of its own."""
    return definition(port, endpoint={"retries": 0} | more)


def asked(at, data: bytes | None = None) -> tuple[int, bytes, bytes]:
    """One request on a new line: status, head and body."""
    with line_to(at) as line:
        line.sendall(data or request())
        return answers(line)[0]


def error_of(body: bytes) -> tuple[str, str]:
    said = json.loads(body)["error"]
    return said["code"], said["message"]


LIES = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol", "does not speak HTTP/1.1: Expected HTTP/, RTSP/ or ICE/"),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "protocol", "does not speak HTTP/1.1: another protocol"),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}", "protocol", "does not speak HTTP/1.1: Missing expected CR after response line"),
    "two lengths": (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", "protocol", "does not speak HTTP/1.1: Duplicate Content-Length"),
    "a folded header": (OK + b"x-request-id: a\r\n x-equipoise-variant: b\r\ncontent-length: 2\r\n\r\n{}", "protocol", "does not speak HTTP/1.1: Unexpected whitespace after header value"),
    "many headers": (OK + b"".join(b"x-%d: %b\r\n" % (n, b"a" * 100) for n in range(1000)) + b"content-length: 2\r\n\r\n{}", "protocol", "does not speak HTTP/1.1: headers longer than 65536 bytes"),
    "a header without end": (OK + b"x: " + b"a" * 500_000, "protocol", "does not speak HTTP/1.1: headers longer than 65536 bytes"),
    "a trailer without end": (OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: " + b"a" * 500_000, "protocol", "does not speak HTTP/1.1: headers longer than 65536 bytes"),
    "interim answers without end": (b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 20_000, "protocol", "does not speak HTTP/1.1: headers longer than 65536 bytes"),
    "a bad chunk": (OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", "protocol", "does not speak HTTP/1.1: Invalid character in chunk size"),
    "half a body": (OK + b"content-length: 50\r\n\r\n{", "closed", "hung up before the answer was whole"),
    "half a chunked body": (OK + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n", "closed", "hung up before the answer was whole"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-", "closed", "hung up before the answer was whole"),
    "nothing": (b"", "closed", "hung up before the answer was whole"),
    "an interim answer only": (b"HTTP/1.1 100 Continue\r\n\r\n", "closed", "hung up before the answer was whole"),
    "gzip": (OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(gzip.compress(BODY)), gzip.compress(BODY)), "protocol", "answered in 'gzip' although identity was asked for"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_is_502_with_a_sentence_and_one_errored_turn(lie, stream):
    """Whatever an upstream says instead of an answer: one try, one exposure, one turn, and the gateway serves on."""
    answer, code, sentence = LIES[lie]
    with raw_upstream(once(answer)) as up, gateway(one_try(up.port)) as at:
        status, head, body = asked(at, request(stream=stream))
        assert status == 502
        assert error_of(body) == (code, f"http://127.0.0.1:{up.port} {sentence}")
        assert b"x-equipoise-variant: " in head
        over(at)
        assert len(up.requests) == 1
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.error, turn.status, turn.finish_reason, turn.retries) == (True, 502, code, None)
        assert len(at.facts("exposure", at_least=1)) == 1


def test_interim_answers_bodiless_ones_and_those_without_a_length_are_read_as_they_are_meant():
    """100 and 103 are no answer and lend it no header; 204 and 304 have no body; the end may be the connection's."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx-request-id: early\r\n\r\n"
    cases = [
        (interim + FINE, 200, BODY),
        (OK + b"\r\n" + BODY, 200, BODY),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, 200, BODY),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b""),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 2\r\n\r\n{}", 302, b"{}"),
        (b"HTTP/1.1 401 No\r\ncontent-length: 3\r\nx-request-id: r\r\n\r\nno!", 401, b"no!"),
        (b"HTTP/1.1 999 Odd\r\ncontent-length: 3\r\n\r\nodd", 999, b"odd"),
    ]  # fmt: skip
    for answer, status, body in cases:
        with (
            raw_upstream(once(answer)) as up,
            gateway(one_try(up.port), base_url=f"http://127.0.0.1:{up.port}/v1") as at,
            line_to(at) as line,
        ):
            for model in ("experiment/bot", "gpt-plain"):
                line.sendall(request(model=model))
                found, head, text = answers(line)[0]
                assert (found, text) == (status, body), answer
                assert b"early" not in head
                assert b"location" not in head
            over(at)
            assert len(up.requests) == 2
            (turn,) = at.facts("turn", at_least=1)
            assert (turn.error, turn.status) == (status != 200, status)


def test_what_follows_an_answer_unasked_is_not_taken_for_the_next_one():
    """Two answers for one request, or half of one: the line is not used again."""
    evil = FINE.replace(b"ships", b"sinks")
    for extra in (evil, evil[:40], b"x", b"HTTP/1.1 204 No Content\r\n\r\n"):
        with raw_upstream(always(FINE + extra)) as up, gateway(one_try(up.port)) as at:
            for n in range(3):
                status, _, body = asked(at)
                assert (status, body, len(up.lines)) == (200, BODY, n + 1)
            over(at)
    body = b"HTTP/1.1 204 No Content\r\ncontent-length: %d\r\n\r\n%b" % (len(evil), evil)
    with raw_upstream(always(body, FINE)) as up, gateway(one_try(up.port)) as at:
        assert [asked(at)[0] for _ in range(2)] == [204, 204]
        assert len(up.lines) == 2


def test_a_kept_alive_line_that_was_closed_is_replaced_unless_something_was_heard_on_it():
    """Closed while idle, or as the request is sent: asked again on a new line, without counting as a retry."""

    def idle(line) -> None:
        line.request()
        line.say(FINE)

    def as_it_is_sent(line) -> None:
        line.request()
        line.say(FINE)
        if line.number == 0:
            line.request()
        else:
            always(FINE)(line)

    def heard(line) -> None:
        line.request()
        line.say(FINE)
        line.request()
        line.say(b"HTTP/1.1 2")

    for script, status, lines in ((idle, 200, 2), (as_it_is_sent, 200, 2), (heard, 502, 1)):
        with raw_upstream(script) as up, gateway(one_try(up.port)) as at:
            assert asked(at)[0] == 200
            if script is idle:
                assert up.lines[0].hung_up.wait(PATIENCE)
            assert asked(at)[0] == status
            assert len(up.lines) == lines
            over(at)
            assert [turn.retries for turn in at.facts("turn", at_least=2)] == [None, None]
            assert len(at.facts("exposure")) == 1


@pytest.mark.parametrize(
    ("patience", "start", "code", "sentence"),
    [
        ("first_byte", b"", "first_byte", "said nothing within 0.2 s"),
        ("first_byte", b"HTTP/1.1 103 Early Hints\r\n\r\n", "first_byte", "said nothing within 0.2 s"),
        ("between_chunks", SSE, "between_chunks", "fell silent for 0.2 s"),
        ("between_chunks", OK + b"content-length: 9\r\n\r\n{", "between_chunks", "fell silent for 0.2 s"),
        ("total", SSE + in_chunks(b": still here\n\n"), "total", "was not done within 0.2 s"),
    ],
)
def test_each_patience_has_an_end(patience, start, code, sentence):
    """Silence before the first byte, between two pieces, and an answer that takes too long: 504, and hung up."""

    def stall(line) -> None:
        line.request()
        line.say(start)
        line.wait()

    with raw_upstream(stall) as up, gateway(one_try(up.port, timeouts={patience: 0.2})) as at, line_to(at) as line:  # fmt: skip
        line.sendall(request(stream=True))
        found = rest_of(line) if b"still" in start else b""
        if found:
            assert b'"message":"http://127.0.0.1:%d %b"' % (up.port, sentence.encode()) in found
            assert not found.endswith(b"0\r\n\r\n")
        else:
            status, _, body = answers(line)[0]
            assert (status, error_of(body)) == (504, (code, f"http://127.0.0.1:{up.port} {sentence}"))
        assert up.lines[0].hung_up.wait(PATIENCE)
        over(at)
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.error, turn.finish_reason, turn.retries) == (True, code, None)
        assert len(at.facts("exposure")) == 1


def test_what_began_is_not_begun_again():
    """Once a head of 200 came there is no second try and no fallback, though nothing had reached the client yet."""
    halves = [
        SSE + in_chunks(b'data: {"choices": [{"del'),
        SSE + in_chunks(said("my number is 55")),
        OK + b"content-length: 500\r\n\r\n{",
    ]
    for half in halves:
        with raw_upstream(once(half)) as up:
            spare = {"retries": 2, "fallback": {"model": "model-spare"}}
            with gateway(definition(up.port, endpoint=spare, inline=["pii"])) as at:
                with line_to(at) as line:
                    line.sendall(request(stream=True))
                    found = line.recv(65536)
                assert found.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 200 "))
                over(at)
                assert len(up.requests) == 1
                (turn,) = at.facts("turn", at_least=1)
                assert (turn.retries, turn.fallback) == (None, None)
                assert len(at.facts("exposure")) == 1


def test_tries_before_the_first_byte_are_counted_and_then_the_fallback_is_asked():
    """Hung up on, silent, busy, each in turn: the same model again, then the spare one, in one turn of one arm."""
    busy = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\nbusy"

    def worse(line) -> None:
        line.request()
        if line.number == 0:
            return
        if line.number == 1:
            line.wait()
        line.say(busy if line.number == 2 else FINE)

    spare = {"retries": 2, "timeouts": {"first_byte": 0.2}, "fallback": {"model": "model-spare"}}
    with raw_upstream(worse) as up, gateway(definition(up.port, endpoint=spare)) as at:
        status, head, body = asked(at)
        assert (status, body) == (200, BODY)
        over(at)
        first, *others = up.models()
        assert first in ("model-a", "model-b")
        assert others == [first, first, "model-spare"]
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.retries, turn.fallback, turn.error, turn.status) == (2, True, False, 200)
        assert f"x-equipoise-variant: {turn.variant}\r\n".encode() in head
        assert len(at.facts("exposure")) == 1
    with raw_upstream(once(busy)) as up, gateway(definition(up.port, endpoint=spare | {"retries": 0})) as at:
        status, head, body = asked(at)
        assert (status, body) == (503, b"busy")
        assert b"retry-after: 1\r\n" in head
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.error, turn.fallback, turn.status) == (True, True, 503)


def test_a_reply_beyond_64_mib_is_refused_without_being_kept():
    """Whole, and streamed where it is kept for a check: the upstream is hung up on."""
    block = b"a" * 2**20

    def endless(line) -> None:
        stream = b'"stream":true' in line.request()
        line.say(SSE if stream else OK + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            line.say(in_chunks(b": %b\n\n" % block if stream else block))

    schema = [{"json_schema": {"type": "object"}}]
    with raw_upstream(endless) as up, gateway(definition(up.port, inline=schema)) as at:
        for stream in (False, True):
            status, _, body = asked(at, request(stream=stream))
            assert (status, error_of(body)) == (502, ("protocol", "the reply is longer than 64 MiB"))
        assert all(line.hung_up.wait(PATIENCE) for line in up.lines)
        over(at)


def test_ten_thousand_pieces_of_one_byte_are_read_in_their_time():
    """A reply in chunks of one byte, whole and streamed, arrives as it was sent."""
    frames = said("It ") + said("ships.") + b"data: [DONE]\n\n"
    long = BODY[:-1] + b" " * 200_000 + b"}"

    def bit_by_bit(line) -> None:
        while (got := line.request()) is not None:
            stream = b'"stream":true' in got
            head = SSE if stream else OK + b"transfer-encoding: chunked\r\n\r\n"
            line.say(
                head + in_chunks(*(bytes((each,)) for each in (frames if stream else long))) + b"0\r\n\r\n"
            )

    with raw_upstream(bit_by_bit) as up, gateway(one_try(up.port)) as at:
        assert asked(at)[2] == long
        assert asked(at, request(stream=True))[2] == frames


def test_rubbish_of_the_right_length_is_passed_back_and_nobody_waits_for_ever():
    """Any JSON at all, for a completion and for the list of models."""
    for rubbish in (b"{}", b"[]", b"5", b"null", b'{"data": 5}', b'{"choices": [[]], "usage": []}', b"\xff", b'{"data": null}'):  # fmt: skip
        answer = OK + b"content-length: %d\r\n\r\n%b" % (len(rubbish), rubbish)
        with (
            raw_upstream(always(answer)) as up,
            gateway(one_try(up.port), base_url=f"http://127.0.0.1:{up.port}/v1") as at,
        ):
            assert asked(at)[2] == rubbish
            status, _, body = asked(at, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (status, json.loads(body)["data"][0]["id"]) == (200, "experiment/bot")
            over(at)


@pytest.mark.parametrize("slow", [False, True], ids=["quick record", "slow record"])
def test_an_answer_that_cannot_be_served_is_an_error_and_nobody_waits(monkeypatch, caplog, slow):
    """A fault of our own while an answer is read, before or after its exposure is durable: 502, and an errored turn."""
    from equipoise.providers.hearing import Heard

    class Slow(MemoryLog):
        def append(self, facts):
            facts = list(facts)
            if slow and any(fact.kind == "exposure" for fact in facts):
                time.sleep(0.3)
            return super().append(facts)

    def broken(self, reply) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(Heard, "whole", broken)
    for answer in (FINE, OK + b"\r\n" + BODY):
        with raw_upstream(once(answer)) as up, gateway(one_try(up.port), log=Slow()) as at:
            status, _, body = asked(at)
            origin = f"http://127.0.0.1:{up.port}"
            assert (status, error_of(body)) == (
                502,
                ("protocol", f"the answer of {origin} could not be served"),
            )
            over(at)
            (turn,) = at.facts("turn", at_least=1)
            assert (turn.error, turn.status) == (True, 502)
        assert f"an answer of {origin} could not be served" in caplog.text


# What of a request reaches an upstream, and what of an upstream reaches a client.


def test_nothing_of_the_hop_and_no_credential_goes_up():
    """Standard, named by `Connection`, and vendors' own; what is left goes up as it came."""
    own = (
        b"connection: keep-alive, X-Hop , traceparent\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\n"
        b"trailer: x\r\nproxy-authorization: Basic eA==\r\nproxy-connection: keep-alive\r\nauthorization: Bearer sk-c\r\n"
        b"cookie: s=sk-c\r\napi-key: sk-c\r\nx-api-key: sk-c\r\nx-auth-token: sk-c\r\nx-goog-api-key: sk-c\r\n"
        b"ocp-apim-subscription-key: sk-c\r\nx-amz-security-token: sk-c\r\nx-forwarded-for: 10.0.0.1\r\n"
        b"forwarded: for=10.0.0.1\r\nx-equipoise-force: bot=control\r\naccept-encoding: gzip\r\nx-kept: yes \xe9\r\n"
    )  # fmt: skip
    with raw_upstream(always(FINE)) as mine, raw_upstream(always(FINE)) as there:
        settings = {"base_url": f"http://127.0.0.1:{mine.port}/v1", "base_key": KEY}
        with gateway(one_try(there.port), **settings) as at:
            for model in ("experiment/bot", "gpt-plain"):
                assert asked(at, request(head=own, model=model))[0] == 200
    for up, expected in ((there, None), (mine, f"Bearer {KEY}".encode())):
        head = up.requests[0].partition(b"\r\n\r\n")[0]
        first, *lines = head.split(b"\r\n")
        seen = dict(line.split(b": ", 1) for line in lines)
        assert first == b"POST /v1/chat/completions HTTP/1.1"
        assert len(seen) == len(lines)
        assert seen.pop(b"authorization", None) == expected
        assert len(seen.pop(b"traceparent")) == 55
        assert seen.pop(b"x-kept") == b"yes \xe9"
        assert set(seen) == {b"host", b"content-type", b"accept", b"accept-encoding", b"content-length", b"x-conversation-id"}  # fmt: skip
        assert seen[b"accept-encoding"] == b"identity"
        assert b"sk-c" not in head


def test_a_fallback_elsewhere_gets_no_key_of_the_gateway():
    """The spare endpoint has its own key or none; without an address of its own it is asked with the gateway's."""
    busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
    with raw_upstream(always(busy)) as own, raw_upstream(always(FINE)) as spare:
        endpoint = {"retries": 0, "fallback": {"base_url": f"http://127.0.0.1:{spare.port}/v1"}}
        variants = {
            "control": {"model": "model-a", "endpoint": endpoint},
            "treatment": {"model": "model-b", "endpoint": endpoint},
        }
        made = definition(own.port, variants=variants)
        with gateway(made, base_url=f"http://127.0.0.1:{own.port}/v1", base_key=KEY) as at:
            assert asked(at)[0] == 200
    assert KEY.encode() in own.requests[0]
    assert KEY.encode() not in spare.requests[0]


def test_no_value_can_write_a_header_of_its_own():
    """Models, units, tokens, prices and variants with line ends in them, and headers of an upstream."""
    evil = "x\r\nx-evil: 1\r\n\r\nHTTP/1.1 200 OK\r\n"
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json; x=\x85\xe9\r\nx-request-id: a\tb\xe9\r\nset-cookie: s=1\r\n"
        b"x-equipoise-variant: other\r\nx-evil: 1\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    with raw_upstream(always(answer)) as up:
        user = definition(up.port, name="by_user", unit={"type": "user", "from": "body:user"})
        there = f"http://127.0.0.1:{up.port}/v1"
        with gateway(definition(up.port), user, base_url=there) as at:
            for more in (
                {"model": evil},
                {"model": f"experiment/{evil}"},
                {"model": f"experiment/bot+{evil}"},
                {"model": "experiment/by_user", "user": evil},
                {"model": "experiment/by_user", "user": "\u540d\u524d\r\n\0"},
                {"stream": evil},
                {"metadata": {evil: evil}},
            ):
                status, head, _ = asked(at, request(**more))
                assert status in (200, 400, 404), more
                assert b"x-evil" not in head
                assert b"set-cookie" not in head
                assert b"x-equipoise-variant: other" not in head
            over(at)
            assert at.gateway.counts.errors == 0
        assert all(b"x-evil" not in each.partition(b"\r\n\r\n")[0] for each in up.requests)


def test_units_of_any_bytes_in_a_header_are_one_unit_each_and_the_same_as_in_a_body():
    """UTF-8 is read as such, other bytes as Latin-1, and a unit beyond 1,024 characters is none."""
    with raw_upstream(always(FINE)) as up, gateway(one_try(up.port)) as at:
        for raw, unit in (
            ("Zo\u00eb".encode(), "Zo\u00eb"),
            ("\u540d\u524d".encode(), "\u540d\u524d"),
            (b"Zo\xeb", "Zo\u00eb"),
            (b"u" * 1024, "u" * 1024),
            (b"v" * 1025, None),
            (b" \t ", None),
        ):
            status, head, _ = asked(
                at, request().replace(b"x-conversation-id: c1", b"x-conversation-id: " + raw)
            )
            assert status == 200
            assert (b"x-equipoise-reason: no_unit" in head) == (unit is None), raw
        over(at)
        assert {fact.unit for fact in at.facts("exposure", at_least=3)} == {
            "Zo\u00eb",
            "\u540d\u524d",
            "u" * 1024,
        }


def test_neither_keys_nor_prompts_are_told_to_logs_or_in_errors(caplog):
    """Failing upstreams, broken requests and a record that is away: what was said in confidence stays there."""
    caplog.set_level(logging.DEBUG)
    prompt = "my-secret-prompt"
    messages = [{"role": "user", "content": prompt}]
    found = b""
    for answer in (b"SSH\r\n", b"", OK + b"content-length: 9\r\n\r\n", SSE + in_chunks(said("x")), FINE):
        with raw_upstream(once(answer)) as up:
            settings = {"base_url": f"http://127.0.0.1:{up.port}/v1", "base_key": KEY}
            with gateway(
                definition(9), definition(up.port, name="up", endpoint={"retries": 1}), **settings
            ) as at:
                for model in ("experiment/bot", "experiment/up", "experiment/none", "gpt-plain"):
                    head = b"authorization: Bearer sk-of-the-client\r\n"
                    with line_to(at) as line:
                        asked = request(
                            model=model, messages=messages, stream=True, head=head + b"connection: close\r\n"
                        )
                        line.sendall(asked)
                        found += rest_of(line)
                        over(at)
                with line_to(at) as line:
                    line.sendall(
                        request(b'{"messages": "%b' % prompt.encode(), head=b"connection: close\r\n")
                    )
                    found += rest_of(line)
    for secret in (KEY, "sk-of-the-client", prompt):
        assert secret not in caplog.text
        assert secret.encode() not in found
