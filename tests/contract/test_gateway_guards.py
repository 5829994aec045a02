"""What is checked before it ships: every choice, also of what a strict parser refuses, and never claimed unchecked."""

from __future__ import annotations

import asyncio
import json

import httpx2 as httpx
import openai
import pytest
from aiohttp import web
from attacking import ASK, Process
from gateways import chunk, definition, gateway, streamed, upstream, usual, whole

CLIENTS: list[openai.OpenAI] = []
UNIT = {"x-conversation-id": "c1"}
PII = [{"check": "pii", "fallback": "I cannot repeat that."}, "toxicity"]
ADDRESS = "jo@example.org"


def client(url: str) -> openai.OpenAI:
    made = openai.OpenAI(base_url=url, api_key="k", max_retries=0, timeout=60)
    CLIENTS.append(made)
    return made


@pytest.fixture(autouse=True)
def _closed():
    """Connections are closed here: what is left to the collector of garbage fails whichever test runs then."""
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def events(frames: list[bytes], *, wait: float = 0.0):
    """An upstream that sends these frames and then waits to be hung up on, or ends."""

    async def script(request, body):
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for frame in frames:
            await response.write(frame)
            await asyncio.sleep(0.005)
        await asyncio.sleep(wait)
        return response

    return script


def read(url: str, **more) -> tuple[str, list[dict]]:
    """The text of each choice of a stream as a raw client reads it, and its events."""
    with httpx.stream("POST", f"{url}/chat/completions", json=ASK | {"stream": True} | more, headers=UNIT, timeout=60) as reply:  # fmt: skip
        said = "".join(reply.iter_text())
    return said, [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]


def several(index: int, text: str | None, finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return chunk({}, choices=[choice])


@pytest.mark.parametrize("buffer", [False, True])
def test_every_choice_of_a_stream_is_guarded(buffer):
    """With n=2 the address is in the second: both choices end as filtered, and the upstream is hung up on."""
    frames = [several(0, "Fine"), several(1, "Write to "), several(1, "jo@exam"), several(0, " here")]
    frames += [several(1, "ple.org "), several(1, "now"), several(0, None, "stop")]
    inline = [{"check": "pii", "fallback": "No.", "buffer": buffer}]
    with upstream(events(frames, wait=60)) as up, gateway(definition(up.port, inline=inline)) as at:
        said, seen = read(at.url, n=2)
        assert up.hung_up.wait(30)
        assert "jo@exam" not in said
        assert said.endswith("data: [DONE]\n\n")
        ends = [(each["index"], each["finish_reason"]) for event in seen for each in event["choices"] if each["finish_reason"]]  # fmt: skip
        assert ends == [(0, "content_filter"), (1, "content_filter")]
        texts = [
            "".join(each["delta"].get("content") or "" for event in seen for each in event["choices"] if each["index"] == index)
            for index in (0, 1)
        ]  # fmt: skip
        assert texts == (["No.", "No."] if buffer else ["FineNo.", "Write to No."])
        (turn,) = at.facts("turn", at_least=1)
        assert (turn.blocked, turn.safe, turn.checks) == (True, False, {"pii": "failed"})


def test_every_choice_of_a_whole_answer_is_guarded():
    """The client's own parser sees as many choices as it asked for, each filtered."""

    async def two(request, body):
        reply = whole("Fine.")
        second = {"index": 1, "message": {"role": "assistant", "content": ADDRESS}, "finish_reason": "stop"}
        return web.json_response(reply | {"choices": [*reply["choices"], second]})

    with upstream(two) as up, gateway(definition(up.port, inline=PII)) as at:
        reply = client(at.url).chat.completions.create(**ASK, n=2, extra_headers=UNIT)
        assert [each.message.content for each in reply.choices] == ["I cannot repeat that."] * 2
        assert {each.finish_reason for each in reply.choices} == {"content_filter"}
        assert reply.usage.total_tokens == 14


@pytest.mark.parametrize("end", ["data: [DONE]\n\n", "", "cut"])
@pytest.mark.parametrize("last", [ADDRESS, "you idiot"])
def test_a_match_at_the_very_end_is_stopped_however_the_stream_ends(end, last):
    """With [DONE], without, and with a last event that was never closed: what is held is a match then."""
    frames = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Write to "})]
    piece = chunk({"content": last})
    frames.append(piece.rstrip(b"\n") if end == "cut" else piece)
    frames += [end.encode()] if end.startswith("data") else []
    with upstream(events(frames)) as up, gateway(definition(up.port, inline=PII)) as at:
        said, seen = read(at.url)
        assert last.split()[-1] not in said
        assert seen[-1]["choices"][0]["finish_reason"] == "content_filter"
        assert said.endswith("data: [DONE]\n\n")
        assert said.count("[DONE]") == 1
        (turn,) = at.facts("turn", at_least=1)
        assert turn.blocked is True
        assert "failed" in turn.checks.values()


def test_a_match_that_is_held_while_the_model_is_silent_is_stopped_and_not_let_out():
    """The address is whole and the model says no more: after HOLD the answer ends, the upstream is hung up on."""
    frames = [chunk({"content": "Write to "}), chunk({"content": ADDRESS})]
    with upstream(events(frames, wait=60)) as up, gateway(definition(up.port, inline=PII)) as at:
        said, seen = read(at.url)
        assert ADDRESS not in said
        assert seen[-1]["choices"][0]["finish_reason"] == "content_filter"
        assert up.hung_up.wait(30)


def test_a_word_that_goes_on_as_a_harmless_one_is_not_stopped():
    """`ass` and then `essment`: the stream is the whole that it is, and passes."""

    async def script(request, body):
        return await streamed(
            request, ["The ass", "essment", " of the coc", "k", "pit is", " done"], body=body
        )

    with upstream(script) as up, gateway(definition(up.port, inline=PII)) as at:
        _, seen = read(at.url)
        text = "".join(event["choices"][0]["delta"].get("content") or "" for event in seen)
        assert text == "The assessment of the cockpit is done"
        (turn,) = at.facts("turn", at_least=1)
        assert turn.checks == {"pii": "passed", "toxicity": "passed"}


@pytest.mark.parametrize(
    "content", [b'"\\ud800 %b now"', b'"%b \xff now"', b'[{"type": "text", "text": "%b now"}]']
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_strict_parser_refuses_is_checked_all_the_same(content, stream):
    """Half a surrogate pair, bytes that are not UTF-8, content in parts: whole and streamed they are stopped."""
    content = content % ADDRESS.encode()
    key = b"delta" if stream else b"message"
    body = b'{"id": "1", "choices": [{"index": 0, "%b": {"role": "assistant", "content": %b}}]}' % (
        key,
        content,
    )

    async def script(request, asked):
        if stream:
            return await events([b"data: " + body + b"\n\n"])(request, asked)
        return web.Response(body=body, content_type="application/json")

    with upstream(script) as up, gateway(definition(up.port, inline=PII)) as at:
        reply = httpx.post(
            f"{at.url}/chat/completions", json=ASK | {"stream": stream}, headers=UNIT, timeout=60
        )
        assert ADDRESS not in reply.text
        assert "content_filter" in reply.text
        (turn,) = at.facts("turn", at_least=1)
        assert turn.checks["pii"] == "failed"


def test_what_was_not_looked_at_is_skipped_and_never_passed():
    """A call of tools, a reply nobody can read, a check of requests without text, embeddings."""
    call = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    replies = iter(
        [
            web.json_response(
                whole(message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")
            ),
            web.Response(body=b"<html>busy</html>", content_type="application/json"),
            web.json_response(whole("Fine.")),
            web.json_response(whole("Fine.")),
        ]
    )

    async def script(request, body):
        return await usual(request, body) if "embeddings" in request.path else next(replies)

    inline = ["pii", {"check": "toxicity", "on": "both"}, {"check": "pii", "on": "request"}]
    with upstream(script) as up, gateway(definition(up.port, inline=inline)) as at:
        served = Process(None, at.url)
        served.ask()
        served.ask()
        served.ask(body=ASK | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
        served.ask()
        client(at.url).embeddings.create(model="experiment/bot", input="x", extra_headers=UNIT)
        turns = at.facts("turn", at_least=5)
        assert [turn.checks for turn in turns] == [
            {"pii": "skipped", "toxicity": "skipped"},
            {"pii": "skipped", "toxicity": "skipped"},
            {"pii": "skipped", "toxicity": "skipped"},
            {"pii": "passed", "toxicity": "passed"},
            None,
        ]
        assert [turn.safe for turn in turns] == [None, None, True, True, None]


def test_checks_of_requests_read_all_that_is_asked_in_a_turn_and_refuse_embeddings_with_an_error():
    """Two messages, parts, a list of inputs; an embedding has no words to say so, and is a 400."""
    inline = [{"check": "pii", "on": "request", "fallback": "Please leave out addresses."}]
    with upstream() as up, gateway(definition(up.port, inline=inline)) as at:
        said = {"role": "user", "content": ADDRESS}
        then = {"role": "user", "content": "please"}
        parts = {
            "role": "user",
            "content": [{"type": "text", "text": f"to {ADDRESS}"}, {"type": "image_url"}],
        }
        for messages in ([said, then], [parts], [then, said]):
            reply = client(at.url).chat.completions.create(
                model="experiment/bot", messages=messages, extra_headers=UNIT
            )
            assert reply.choices[0].finish_reason == "content_filter"
        answered = {"role": "assistant", "content": "No."}
        Process(None, at.url).ask(body=ASK | {"messages": [said, answered, then]})
        assert len(up.bodies) == 1
        with pytest.raises(openai.BadRequestError) as refused:
            client(at.url).embeddings.create(model="experiment/bot", input=["a", ADDRESS], extra_headers=UNIT)
        assert refused.value.code == "content_filter"
        assert refused.value.body["message"] == "Please leave out addresses."
        answer = client(at.url).responses.create(model="experiment/bot", input=ADDRESS, extra_headers=UNIT)
        assert (answer.output_text, answer.incomplete_details.reason) == (
            "Please leave out addresses.", "content_filter",
        )  # fmt: skip
        assert len(up.bodies) == 1


def test_two_experiments_lose_none_of_their_checks():
    """One checks addresses on requests, the other on answers: each does, also on one request."""
    with upstream() as up:
        one = definition(up.port, name="one", inline=[{"check": "pii", "on": "response"}])
        arms = {"control": {"params": {"top_p": 1}}, "treatment": {"params": {"top_p": 0.5}}}
        two = definition(up.port, name="two", inline=[{"check": "pii", "on": "request"}], variants=arms)

        async def leaky(request, body):
            return web.json_response(whole(ADDRESS))

        up.script = leaky
        with gateway(one, two) as at:
            for text in ("Where is it?", ADDRESS):
                body = {"model": "experiment/one+two", "messages": [{"role": "user", "content": text}]}
                reply = Process(None, at.url).ask(body=body)
                assert reply.json()["choices"][0]["finish_reason"] == "content_filter"
            assert len(up.bodies) == 1
            assert up.bodies[0]["top_p"] in (1, 0.5)
