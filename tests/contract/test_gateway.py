"""The gateway with the real `openai` client: what the client sees, what the upstream gets, what is kept."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from fractions import Fraction

import openai
import pytest
from aiohttp import web
from gateways import Ahead, chunk, definition, gateway, streamed, until, upstream, whole

from equipoise.conduct.move import kill, pause, ramp, resume, roll_back
from equipoise.events.ids import new_id
from equipoise.events.log import MemoryLog
from equipoise.gateway.http1 import Limits

ASK = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Where is it?"}]}


def client(url: str, **more):
    return openai.OpenAI(base_url=url, api_key="sk-client-own-key", max_retries=0, timeout=30, **more)


def ask(url: str, unit: str = "c1", **more):
    with client(url) as asking:
        return asking.chat.completions.with_raw_response.create(
            **(ASK | more), extra_headers={"x-conversation-id": unit}
        )


def test_a_whole_completion_is_served_recorded_and_told_by_its_headers():
    """The variant's model goes up, the answer comes back as it was, one exposure and one turn are kept."""
    with upstream() as up, gateway(definition(up.port)) as at:
        raw = ask(at.url, metadata={"anything": "stays"}, seed=7, user="u")
        reply = raw.parse()
        assert reply.choices[0].message.content == "It ships today."
        arm = raw.headers["x-equipoise-variant"]
        assert up.bodies[0]["model"] == {"control": "model-a", "treatment": "model-b"}[arm]
        assert up.bodies[0] == ASK | {
            "model": up.bodies[0]["model"], "metadata": {"anything": "stays"}, "seed": 7, "user": "u",
        }  # fmt: skip
        assert raw.headers["x-equipoise-experiment"].startswith("bot@")
        assert raw.headers["x-equipoise-reason"] == "split"
        assert raw.headers["x-request-id"] == "req-1"
        for _ in range(3):
            assert ask(at.url).headers["x-equipoise-variant"] == arm
        (exposure,) = at.facts("exposure", at_least=1)
        assert (exposure.unit, exposure.variant, exposure.probability) == ("c1", arm, 0.5)
        turns = at.facts("turn", at_least=4)
        assert len(turns) == 4
        first = turns[0]
        assert (first.unit, first.variant, first.epoch, first.reason) == ("c1", arm, 0, "split")
        assert (first.input_tokens, first.output_tokens, first.cached_tokens) == (10, 4, 2)
        assert first.cost_usd == pytest.approx((10 * 1.0 + 4 * 2.0) / 1e6)
        assert (first.error, first.empty, first.status, first.finish_reason) == (False, False, 200, "stop")
        assert first.trace == raw.headers["x-equipoise-trace"]
        assert first.latency_s >= first.overhead_s >= 0
        assert [turn.warm for turn in turns] == [False, True, True, True]
        assert len(at.facts("exposure")) == 1


def test_the_clients_credentials_stay_here_and_the_upstreams_key_goes_nowhere_else():
    """A variant's key comes from the environment by name; the gateway's own is for its own upstream only."""
    keys = {"BOT_KEY": "sk-of-the-variant"}
    with upstream() as up, upstream() as own:
        named = definition(up.port, endpoint={"key_env": "BOT_KEY"})
        bare = definition(up.port, name="bare")
        settings = {
            "base_url": f"http://127.0.0.1:{own.port}/v1",
            "base_key": "sk-of-the-gateway",
            "keys": keys.get,
        }
        with gateway(named, bare, **settings) as at:
            talk = client(
                at.url, default_headers={"cookie": "session=1", "x-api-key": "k", "x-custom": "kept"}
            )
            talk.chat.completions.create(**ASK, extra_headers={"x-conversation-id": "c"})
            talk.chat.completions.create(
                **(ASK | {"model": "experiment/bare"}), extra_headers={"x-conversation-id": "c"}
            )
            talk.chat.completions.create(**(ASK | {"model": "gpt-plain"}))
    assert [each.get("authorization") for each in up.headers] == ["Bearer sk-of-the-variant", None]
    assert own.headers[0]["authorization"] == "Bearer sk-of-the-gateway"
    assert own.bodies[0] == ASK | {"model": "gpt-plain"}
    for seen in (*up.headers, *own.headers):
        assert "cookie" not in seen
        assert "x-api-key" not in seen
        assert seen["x-custom"] == "kept"
        assert "sk-client-own-key" not in json.dumps(seen)


def test_a_streamed_completion_is_timed_and_its_usage_hidden_from_whoever_did_not_ask():
    """Pieces come one by one; usage is asked of the upstream in any case and told to those who asked."""

    async def slowly(request, body):
        return await streamed(request, ["It ", "ships ", "today."], wait=0.05, body=body)

    with upstream(slowly) as up, gateway(definition(up.port, inline=["pii", "toxicity", "length"])) as at:
        talk = client(at.url)
        for wanted in (False, True):
            more = {"stream_options": {"include_usage": True}} if wanted else {}
            pieces = list(talk.chat.completions.create(**ASK, stream=True, extra_headers={"x-conversation-id": "c"}, **more))  # fmt: skip
            said = [piece.choices[0].delta.content for piece in pieces if piece.choices]
            assert [each for each in said if each] == ["It ", "ships ", "today."]
            assert [bool(piece.usage) for piece in pieces].count(True) == int(wanted)
            assert up.bodies[-1]["stream_options"] == {"include_usage": True}
        turn, _ = at.facts("turn", at_least=2)
        assert turn.stream is True
        assert (turn.output_tokens, turn.finish_reason) == (3, "stop")
        assert turn.latency_s > turn.ttft_s >= 0.05
        assert turn.itl_max_s >= turn.itl_p95_s >= turn.itl_p50_s > 0
        assert turn.tpot_s == pytest.approx((turn.itl_p50_s + turn.itl_max_s) / 2, rel=0.5)
        assert turn.checks == {"pii": "passed", "toxicity": "passed", "length": "passed"}
        assert turn.safe is True


def test_tools_structured_output_responses_embeddings_and_models_work_unchanged():
    """Each of the client's own types parses; what a variant does not speak of goes up untouched."""
    call = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": '{"id": 1}'}}

    async def by_path(request, body):
        if request.path.endswith("/responses"):
            text = {"type": "output_text", "text": "It ships.", "annotations": []}
            item = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
            reply = {
                "id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "output": [item],
                "status": "completed", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7,
                          "input_tokens_details": {"cached_tokens": 1}, "output_tokens_details": {"reasoning_tokens": 0}},
            }  # fmt: skip
            if not body.get("stream"):
                return web.json_response(reply)
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            place = {
                "item_id": "msg_1",
                "output_index": 0,
                "content_index": 0,
                "sequence_number": 1,
                "logprobs": [],
            }
            for event in (
                {"type": "response.output_text.delta", "delta": "It ", **place},
                {"type": "response.output_text.delta", "delta": "ships.", **place},
                {"type": "response.completed", "response": reply, "sequence_number": 2},
            ):
                await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            return response
        if "tools" in body:
            return web.json_response(
                whole(message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")
            )
        if "response_format" in body:
            return web.json_response(whole('{"days": 5}'))
        from gateways import usual

        return await usual(request, body)

    with upstream(by_path) as up:
        system = {"control": {"system": "Be brief."}, "treatment": {"system": "Be brief."}}
        variants = {name: {**each, **system[name]} for name, each in definition(up.port)["variants"].items()}
        there = f"http://127.0.0.1:{up.port}/v1"
        with gateway(definition(up.port, variants=variants), base_url=there) as at:
            talk, unit = client(at.url), {"x-conversation-id": "c1"}
            tools = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]
            reply = talk.chat.completions.create(**ASK, tools=tools, extra_headers=unit)
            assert reply.choices[0].message.tool_calls[0].function.name == "track"
            assert up.bodies[-1]["tools"] == tools
            assert up.bodies[-1]["messages"][0] == {"role": "system", "content": "Be brief."}
            wanted = {"type": "json_schema", "json_schema": {"name": "days", "schema": {"type": "object"}}}
            reply = talk.chat.completions.create(**ASK, response_format=wanted, extra_headers=unit)
            assert (reply.choices[0].message.content, up.bodies[-1]["response_format"]) == (
                '{"days": 5}',
                wanted,
            )
            answer = talk.responses.create(model="experiment/bot", input="Where?", extra_headers=unit)
            assert (answer.output_text, up.bodies[-1]["instructions"]) == ("It ships.", "Be brief.")
            events = list(
                talk.responses.create(model="experiment/bot", input="Where?", stream=True, extra_headers=unit)
            )
            assert [event.type for event in events][-1] == "response.completed"
            assert "".join(event.delta for event in events[:2]) == "It ships."
            vector = talk.embeddings.create(model="experiment/bot", input="x", encoding_format="float", extra_headers=unit)  # fmt: skip
            assert vector.data[0].embedding == [0.5, 0.25]
            assert {model.id for model in talk.models.list()} == {"experiment/bot", "model-a"}
            turns = at.facts("turn", at_least=5)
    assert [turn.tool_calls for turn in turns] == [1, None, None, None, None]
    assert [turn.empty for turn in turns] == [False, False, False, False, None]
    assert (turns[2].input_tokens, turns[2].output_tokens, turns[2].cached_tokens) == (5, 2, 1)
    assert (turns[3].output_tokens, turns[3].ttft_s is not None) == (2, True)
    assert len({turn.unit for turn in turns}) == 1


@pytest.mark.parametrize("when", ["before the first token", "in mid-stream", "without streaming"])
def test_a_client_that_leaves_takes_the_upstream_with_it(when):
    """The upstream sees the connection close, and the turn is cancelled with what was known so far."""
    started = threading.Event()

    async def endless(request, body):
        if not body.get("stream"):
            started.set()
            await asyncio.sleep(60)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if when == "in mid-stream":
            await response.write(chunk({"content": "It "}))
        started.set()
        while True:
            await asyncio.sleep(0.05)
            if when == "in mid-stream":
                await response.write(chunk({"content": "is "}))

    with upstream(endless) as up, gateway(definition(up.port)) as at:
        host, port = at.url.removeprefix("http://").removesuffix("/v1").split(":")
        body = json.dumps(ASK | {"stream": when != "without streaming"}).encode()
        with socket.create_connection((host, int(port))) as line:
            line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-conversation-id: c\r\n"
                         b"content-length: %d\r\n\r\n%b" % (len(body), body))  # fmt: skip
            assert started.wait(30)
            if when == "in mid-stream":
                assert b"200 OK" in line.recv(4096)
        assert up.hung_up.wait(30)
        (turn,) = at.facts("turn", at_least=1)
        assert turn.cancelled is True
        assert turn.error is None
        assert (turn.ttft_s is not None) == (when == "in mid-stream")
        until(lambda: at.gateway.server.exchanges == 0, "the exchange is over")
        assert len(at.facts("exposure")) == 1


CHECKED = [{"check": "pii", "fallback": "I cannot repeat that."}, "toxicity"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_check_that_fails_ends_the_answer_properly(stream):
    """Nothing of the address gets out, the client's own parser sees content_filter, and it is recorded so."""
    pieces = ["Write ", "to ", "jo", "@exa", "mple", ".org", " today", " please"]

    async def leaky(request, body):
        if body.get("stream"):
            return await streamed(request, pieces, wait=0.01, body=body)
        return web.json_response(whole("".join(pieces)))

    with upstream(leaky) as up, gateway(definition(up.port, inline=CHECKED)) as at:
        talk, unit = client(at.url), {"x-conversation-id": "c1"}
        if stream:
            seen = list(talk.chat.completions.create(**ASK, stream=True, extra_headers=unit))
            text = "".join(each.choices[0].delta.content or "" for each in seen)
            assert text == "Write to joI cannot repeat that."
            reason = seen[-1].choices[0].finish_reason
        else:
            reply = talk.chat.completions.create(**ASK, extra_headers=unit)
            text, reason = reply.choices[0].message.content, reply.choices[0].finish_reason
            assert text == "I cannot repeat that."
        assert "@exa" not in text
        assert reason == "content_filter"
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.blocked, turn.safe, turn.finish_reason) == (True, False, "content_filter")
        assert turn.checks == {"pii": "failed", "toxicity": "skipped" if stream else "passed"}


def test_a_request_that_fails_a_check_never_reaches_the_model():
    """`on: request` stops it here, in both forms."""
    inline = [{"check": "toxicity", "on": "request", "fallback": "Let us stay polite."}]
    with upstream() as up, gateway(definition(up.port, inline=inline)) as at:
        said = [{"role": "user", "content": "you idiot"}]
        talk, unit = client(at.url), {"x-conversation-id": "c1"}
        reply = talk.chat.completions.create(model="experiment/bot", messages=said, extra_headers=unit)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (
            "Let us stay polite.", "content_filter",
        )  # fmt: skip
        stream = list(
            talk.chat.completions.create(
                model="experiment/bot", messages=said, stream=True, extra_headers=unit
            )
        )
        assert stream[-1].choices[0].finish_reason == "content_filter"
        assert up.bodies == []
        assert [turn.blocked for turn in at.facts("turn", at_least=2)] == [True, True]


def test_a_buffered_stream_waits_for_its_schema():
    """A reply that fits the schema comes whole at the end; one that does not is never seen."""
    schema = {"json_schema": {"type": "object", "required": ["days"]}}
    told = iter([['{"da', 'ys": 5}'], ['{"we', 'eks": 1}']])

    async def json_reply(request, body):
        return await streamed(request, next(told), body=body)

    with upstream(json_reply) as up, gateway(definition(up.port, inline=[schema])) as at:
        talk, unit = client(at.url), {"x-conversation-id": "c1"}
        texts, reasons = [], []
        for _ in range(2):
            seen = list(talk.chat.completions.create(**ASK, stream=True, extra_headers=unit))
            texts.append("".join(each.choices[0].delta.content or "" for each in seen))
            reasons.append(seen[-1].choices[0].finish_reason)
        assert texts == ['{"days": 5}', ""]
        assert reasons == ["stop", "content_filter"]


def test_retries_stay_in_the_arm_and_a_fallback_is_marked():
    """503 twice, then the fallback model answers: one exposure, one turn, the same arm, `fallback`."""

    async def failing(request, body):
        if body["model"] == "model-spare":
            return web.json_response(whole(model="model-spare"))
        return web.json_response({"error": {"message": "busy"}}, status=503)

    with upstream(failing) as up:
        made = definition(up.port, endpoint={"retries": 1, "fallback": {"model": "model-spare"}})
        with gateway(made) as at:
            raw = ask(at.url)
            assert raw.parse().model == "model-spare"
            assert [body["model"] for body in up.bodies][2:] == ["model-spare"]
            (turn,) = at.facts("turn", at_least=1)
            assert (turn.fallback, turn.retries, turn.variant) == (
                True,
                1,
                raw.headers["x-equipoise-variant"],
            )
            assert len(at.facts("exposure")) == 1


@pytest.mark.parametrize(
    ("case", "status", "code"),
    [
        ("refuses", 502, "connect"),
        ("silent", 504, "first_byte"),
        ("dies", 502, "closed"),
        ("endless", 504, "total"),
    ],
)
def test_an_upstream_that_fails_is_an_error_with_a_sentence(case, status, code):
    """Each of the timeouts and failures before the first byte is told apart, and recorded as an error."""

    async def bad(request, body):
        if case == "dies":
            request.transport.abort()
            await asyncio.sleep(60)
        if case == "endless":
            response = web.StreamResponse(headers={"content-type": "application/json"})
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.02)
        await asyncio.sleep(60)
        raise AssertionError

    with upstream(bad) as up:
        limits = {"first_byte": 0.3, "total": 0.6, "connect": 2.0}
        made = definition(9 if case == "refuses" else up.port, endpoint={"retries": 0, "timeouts": limits})
        with gateway(made) as at:
            with pytest.raises(openai.APIStatusError) as error:
                ask(at.url)
            assert (error.value.status_code, error.value.body["code"]) == (status, code)
            (turn,) = at.facts("turn", at_least=1)
            assert (turn.error, turn.finish_reason, turn.status) == (True, code, status)


def test_half_an_answer_is_not_taken_for_a_whole_one():
    """A stream that breaks off ends in an error for the client, and in an errored turn."""

    async def breaking(request, body):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk({"content": "It "}))
        await asyncio.sleep(0.1)
        request.transport.abort()
        return response

    with upstream(breaking) as up, gateway(definition(up.port)) as at:
        with pytest.raises((openai.APIError, Exception)) as error:
            list(
                client(at.url).chat.completions.create(
                    **ASK, stream=True, extra_headers={"x-conversation-id": "c"}
                )
            )
        assert not isinstance(error.value, AssertionError)
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.error, turn.finish_reason) == (True, "closed")
        assert len(up.bodies) == 1


def test_the_operators_verbs_reach_traffic_that_runs():
    """Pause keeps the exposed and lets nobody in; kill redirects and marks; resume and ramp let in again."""
    with upstream() as up:
        made = definition(up.port, rollout={"ab": {"coverage": "1"}})
        with gateway(made) as at:
            arms = {f"c{n}": ask(at.url, f"c{n}").headers["x-equipoise-variant"] for n in range(8)}
            assert set(arms.values()) == {"control", "treatment"}

            def reason(unit: str) -> str:
                return ask(at.url, unit).headers["x-equipoise-reason"]

            pause(at.log, "bot", by="op")
            until(lambda: reason(f"x{new_id()}") == "paused", "the pause")
            assert {unit: ask(at.url, unit).headers.get("x-equipoise-variant") for unit in arms} == arms
            resume(at.log, "bot", by="op")
            until(lambda: reason(f"x{new_id()}") == "split", "the resumption")
            kill(at.log, "bot", by="op")
            until(lambda: reason("c0") == "redirected", "the kill")
            for unit, arm in arms.items():
                raw = ask(at.url, unit)
                assert (raw.headers["x-equipoise-variant"], up.bodies[-1]["model"]) == (arm, "model-a")
            before = len(at.facts("exposure"))
            ask(at.url, "somebody-new")
            roll_back(at.log, "bot", by="op", reason="worse")
            assert len(at.facts("exposure")) == before
            until(
                lambda: (
                    {turn.variant for turn in at.facts("turn") if turn.redirected} == {"control", "treatment"}
                ),
                "the turns, which are recorded after their answers",
            )


def test_a_ramp_moves_nobody():
    """From a quarter to all: whoever had a variant keeps it, and the others get one once the epoch begins."""
    clock = Ahead()
    with upstream() as up:
        made = definition(up.port, rollout={"ab": {"coverage": "1/4"}})
        with gateway(made, clock=clock) as at:
            units = [f"c{n}" for n in range(40)]
            first = {unit: ask(at.url, unit).headers.get("x-equipoise-variant") for unit in units}
            assert None in first.values()
            ramp(at.log, "bot", Fraction(1), by="op")
            # The epoch begins a while ahead, so that every gateway has heard of it.
            clock.seconds = 30.0
            outsider = next(unit for unit, arm in first.items() if arm is None)
            until(lambda: "x-equipoise-variant" in ask(at.url, outsider).headers, "the ramp")
            after = {unit: ask(at.url, unit).headers["x-equipoise-variant"] for unit in units}
            assert {unit: after[unit] for unit, arm in first.items() if arm} == {
                unit: arm for unit, arm in first.items() if arm
            }


class Broken(MemoryLog):
    """A log that takes nothing in while it is told so."""

    down = False

    def append(self, facts):
        if self.down:
            from equipoise.errors import RecordError

            raise RecordError("the disk is full")
        return super().append(facts)


def test_while_the_record_is_away_nobody_new_enters_and_nobody_moves():
    """Exposed units keep their arm, new ones are `unrecorded`; the loss is told once the record is back."""
    log = Broken()
    with upstream() as up, gateway(definition(up.port), log=log, backlog=5) as at:
        arms = {f"c{n}": ask(at.url, f"c{n}").headers["x-equipoise-variant"] for n in range(4)}
        at.facts("turn", at_least=4)
        log.down = True
        until(lambda: ask(at.url, f"x{new_id()}").headers["x-equipoise-reason"] == "unrecorded", "the outage")
        assert {unit: ask(at.url, unit).headers["x-equipoise-variant"] for unit in arms} == arms
        assert up.bodies[-1]["model"] in ("model-a", "model-b")
        for _ in range(20):
            raw = ask(at.url, f"y{new_id()}")
            assert (raw.headers["x-equipoise-reason"], up.bodies[-1]["model"]) == ("unrecorded", "model-a")
        until(lambda: at.gateway.recorder._lost["bot"]["turn"] > 0, "the bound")
        health = client(at.url.removesuffix("/v1")).get("/healthz", cast_to=object)
        assert (health["status"], health["trouble"]["record"]) == ("degraded", "the disk is full")
        assert at.gateway.recorder.waiting <= 6
        log.down = False
        until(lambda: ask(at.url, f"z{new_id()}").headers["x-equipoise-reason"] == "split", "the recovery")
        ask(at.url, "c0")
        lost = at.facts("loss", at_least=1)
        assert sum(loss.facts.get("exposure", 0) for loss in lost) >= 20
        exposed = {fact.unit: fact.variant for fact in at.facts("exposure")}
        assert arms.items() <= exposed.items()
        assert not any(unit.startswith("y") for unit in exposed)


def test_limits_are_answers_and_not_silence():
    """Too long a body or head, a compressed body, a wrong path, method, key or experiment."""
    limits = Limits(body=2000, headers=4000)
    with upstream() as up, gateway(definition(up.port), limits=limits, access_key="sk-gateway") as at:
        host, port = at.url.removeprefix("http://").removesuffix("/v1").split(":")
        key = b"authorization: Bearer sk-gateway\r\n"

        def send(raw: bytes) -> bytes:
            with socket.create_connection((host, int(port))) as line:
                line.settimeout(30)
                line.sendall(raw)
                return line.recv(65536)

        post = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        assert b" 413 " in send(post + key + b"content-length: 99999\r\n\r\n")
        assert b" 431 " in send(post + key + b"x-long: " + b"a" * 9000 + b"\r\n\r\n")
        assert b" 415 " in send(post + key + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}")
        assert b" 400 " in send(post + key + b"content-length: 2\r\n\r\n{{")
        assert b" 400 " in send(post + key + b"content-length: 2\r\n\r\n[]")
        assert b" 400 " in send(b"not http at all\r\n\r\n")
        both = post + key + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        assert b" 400 " in send(both)
        assert b" 401 " in send(post + b"content-length: 2\r\n\r\n{}")
        assert b" 404 " in send(b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n" + key + b"\r\n")
        assert b" 405 " in send(b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + key + b"\r\n")
        unknown = json.dumps(ASK | {"model": "experiment/other"}).encode()
        said = send(post + key + b"content-length: %d\r\n\r\n%b" % (len(unknown), unknown))
        assert b" 404 " in said
        assert b"experiment/bot" in said
        assert up.bodies == []
        until(lambda: at.gateway.server.exchanges == 0)


def test_feedback_reaches_the_units_of_a_reply():
    """By trace, by unit, and from a browser by the reply's own token, which speaks of nothing else."""
    with upstream() as up, gateway(definition(up.port), access_key="sk-gateway") as at:
        talk = openai.OpenAI(base_url=at.url, api_key="sk-gateway", max_retries=0)
        raw = talk.chat.completions.with_raw_response.create(**ASK, extra_headers={"x-conversation-id": "c1"})
        trace, token = raw.headers["x-equipoise-trace"], raw.headers["x-equipoise-feedback"]
        say = talk.post
        assert say("/feedback", body={"trace": trace, "thumbs": "up"}, cast_to=object) == {"accepted": 1}
        said = say(
            "/feedback",
            body={"conversation": "c1", "grade": 4, "comment": "Good", "event_id": "e1"},
            cast_to=object,
        )
        assert said == {"accepted": 1}
        say("/feedback", body={"conversation": "c1", "grade": 4, "event_id": "e1"}, cast_to=object)
        browser = openai.OpenAI(base_url=at.url, api_key="none", max_retries=0)
        head = {"x-equipoise-feedback": token}
        browser.post(
            "/feedback", body={"outcome": {"resolved": True}}, options={"headers": head}, cast_to=object
        )
        for bad in ({}, {"x-equipoise-feedback": token[:-3] + "abc"}):
            with pytest.raises(openai.AuthenticationError):
                browser.post("/feedback", body={"thumbs": "up"}, options={"headers": bad}, cast_to=object)
        with pytest.raises(openai.RateLimitError):
            for _ in range(40):
                browser.post("/feedback", body={"copied": True}, options={"headers": head}, cast_to=object)
        outcomes = at.facts("outcome", at_least=3)
        assert {each.unit for each in outcomes} == {"c1"}
        assert [(each.name, each.value) for each in outcomes][:3] == [
            ("thumbs_up", True), ("csat", 4), ("resolved", True),
        ]  # fmt: skip
        assert outcomes[1].comment == "Good"
        assert outcomes[0].trace == trace
        with pytest.raises(openai.NotFoundError):
            say("/feedback", body={"trace": "0" * 32, "thumbs": "up"}, cast_to=object)
        answer = say("/assign", body={"experiment": "bot", "unit": "c1"}, cast_to=object)
        assert (answer["variant"], answer["reason"]) == (raw.headers["x-equipoise-variant"], "split")


def test_units_that_are_missing_forced_or_several_are_told_apart():
    """No unit: served and counted. Forced: served and not counted. Two experiments: both, or a clash."""
    with upstream() as up:
        temperature = {
            "control": {"params": {"temperature": 0.1}}, "treatment": {"params": {"temperature": 0.9}},
        }  # fmt: skip
        hot = definition(up.port, name="heat", variants=temperature, changes=["params"])
        with gateway(definition(up.port), hot, definition(up.port, name="rival")) as at:
            talk = client(at.url)
            raw = talk.chat.completions.with_raw_response.create(**ASK)
            assert raw.headers["x-equipoise-reason"] == "no_unit"
            assert "x-equipoise-variant" not in raw.headers
            for arm, model in (("control", "model-a"), ("treatment", "model-b")):
                head = {"x-conversation-id": "qa", "x-equipoise-force": f"bot={arm}"}
                raw = talk.chat.completions.with_raw_response.create(**ASK, extra_headers=head)
                assert (raw.headers["x-equipoise-reason"], up.bodies[-1]["model"]) == ("forced", model)
            assert at.facts("exposure") == []
            both = ask(at.url, model="experiment/bot+heat")
            assert both.headers["x-equipoise-reason"] == "split, split"
            assert up.bodies[-1]["temperature"] in (0.1, 0.9)
            clash = ask(at.url, model="experiment/bot+rival")
            assert clash.headers["x-equipoise-experiment"].startswith("bot@")
            assert "rival" not in clash.headers["x-equipoise-experiment"]
            assert {fact.experiment for fact in at.facts("exposure", at_least=2)} == {"bot", "heat"}
            assert at.gateway.counts.no_unit == 1
