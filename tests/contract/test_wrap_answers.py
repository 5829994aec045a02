"""Answers of wrapped clients: streams, responses, tools and structures are the client's own, and each leaves a turn."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import openai
import pytest
from aiohttp import web
from gateways import chunk, streamed, whole
from pydantic import BaseModel
from wrapped import ASK, TREATMENT, facts, responses, run, wrapped

from equipoise.events.facts import Exposure, Turn


def test_a_stream_is_passed_on_piece_by_piece_and_its_usage_is_hidden_if_not_asked_for():
    """The caller sees no chunk without choices; the turn has its tokens, its first token and its gaps."""
    with wrapped() as (client, router, up), client.unit(TREATMENT):
        stream = client.chat.completions.create(**ASK, stream=True)
        assert isinstance(stream, openai.Stream)
        assert stream.response.status_code == 200
        chunks = list(stream)
        assert all(each.choices for each in chunks)
        assert "".join(each.choices[0].delta.content or "" for each in chunks) == "It ships today."
        assert up.bodies[0]["stream_options"] == {"include_usage": True}
        [turn] = facts(router, Turn)
        assert (turn.input_tokens, turn.output_tokens, turn.finish_reason) == (10, 3, "stop")
        assert (turn.stream, turn.cancelled, turn.error, turn.empty) == (True, None, False, False)
        assert 0 < turn.ttft_s <= turn.latency_s
        assert turn.itl_max_s is not None


def test_usage_that_was_asked_for_is_shown():
    """The last chunk is the endpoint's."""
    with wrapped() as (client, _, _), client.unit(TREATMENT):
        chunks = list(
            client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        )
        assert chunks[-1].usage.completion_tokens == 3


@pytest.mark.parametrize("how", ["close", "with", "drop"])
def test_a_stream_that_is_left_early_is_a_cancelled_turn(how):
    """Closed, left by its block, or dropped: one turn, whose error is unknown."""

    async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, ["It "] * 50, wait=0.01, body=body)

    with wrapped(script) as (client, router, _), client.unit(TREATMENT):
        stream = client.chat.completions.create(**ASK, stream=True)
        next(stream)
        if how == "close":
            stream.close()
            stream.close()
        elif how == "with":
            with stream:
                next(stream)
        del stream
        gc.collect()
        [turn] = facts(router, Turn)
        assert (turn.cancelled, turn.error, turn.empty, turn.finish_reason) == (True, None, None, None)


def test_a_stream_that_breaks_is_an_error_of_the_client_and_of_the_turn():
    """An error in the middle is raised as the client raises it."""

    async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk({"content": "It "}))
        await response.write(b'data: {"error": {"message": "out of memory"}}\n\n')
        return response

    with wrapped(script) as (client, router, _), client.unit(TREATMENT):
        with pytest.raises(openai.APIError) as raised:
            list(client.chat.completions.create(**ASK, stream=True))
        assert raised.value.message == "out of memory"
        [turn] = facts(router, Turn)
        assert (turn.error, turn.cancelled, turn.variant) == (True, None, "treatment")


def test_an_asynchronous_stream_is_read_and_closed_as_the_clients_own():
    """To its end, and left early; a task that is cancelled while it reads leaves a cancelled turn."""

    async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        slow = body.get("user") == "slow"
        return await streamed(request, ["It ", "ships"], wait=120 if slow else 0, body=body)

    async def main(client: Any) -> None:
        async with client:
            with client.unit(TREATMENT):
                stream = await client.chat.completions.create(**ASK, stream=True)
                assert isinstance(stream, openai.AsyncStream)
                assert [each.choices[0].delta.content async for each in stream] == ["", "It ", "ships", None]
                async with await client.chat.completions.create(**ASK, stream=True) as stream:
                    await anext(stream)
                stream = await client.chat.completions.create(**ASK, stream=True, user="slow")
                await anext(stream)
                reading = asyncio.create_task(anext(stream))
                await asyncio.sleep(0.05)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading

    with wrapped(script, kind=openai.AsyncOpenAI) as (client, router, _):
        run(main(client), client)
        turns = facts(router, Turn)
        assert [(turn.cancelled, turn.finish_reason) for turn in turns] == [
            (None, "stop"),
            (True, None),
            (True, None),
        ]
        assert len(facts(router, Exposure)) == 1


def test_the_clients_stream_helper_is_served_too():
    """`.stream()` gives its events and its final completion, and leaves one turn; left early it is cancelled."""
    with wrapped() as (client, router, up), client.unit(TREATMENT):
        with client.chat.completions.stream(**ASK) as stream:
            said = [event.delta for event in stream if event.type == "content.delta"]
            assert stream.get_final_completion().choices[0].message.content == "It ships today."
        assert said == ["", "It ", "ships ", "today."]
        with client.chat.completions.stream(**ASK) as stream:
            next(iter(stream))
        del stream
        gc.collect()
        assert [body["model"] for body in up.bodies] == ["model-b", "model-b"]
        assert [turn.cancelled for turn in facts(router, Turn)] == [None, True]


# Responses, tools, structures.


class Parcel(BaseModel):
    """What the answer is read as."""

    carrier: str


def test_responses_are_served_whole_streamed_and_parsed():
    """The variant's instructions are sent; each way leaves a turn with its tokens."""
    with wrapped(responses) as (client, router, up), client.unit(TREATMENT):
        assert client.responses.create(model="theirs", input="Where?").output_text == "It ships today."
        events = list(client.responses.create(model="theirs", input="Where?", stream=True))
        assert events[-1].type == "response.completed"
        parsed = client.responses.parse(model="theirs", input="Where?", text_format=Parcel)
        assert parsed.output_parsed == Parcel(carrier="DHL")
        with client.responses.stream(model="theirs", input="Where?") as stream:
            assert stream.get_final_response().output_text == "It ships today."
        assert [(body["model"], body["instructions"]) for body in up.bodies] == [("model-b", "Be brief.")] * 4
        turns = facts(router, Turn)
        assert [(t.input_tokens, t.output_tokens, t.cached_tokens, t.finish_reason) for t in turns] == [
            (10, 4, 2, "stop")
        ] * 4
        assert [turn.ttft_s is not None for turn in turns] == [False, True, False, True]


def test_responses_of_the_asynchronous_client_are_served():
    """Whole, parsed and by the helper."""

    async def main(client: Any) -> None:
        async with client:
            with client.unit(TREATMENT):
                assert (
                    await client.responses.create(model="x", input="Where?")
                ).output_text == "It ships today."
                parsed = await client.responses.parse(model="x", input="Where?", text_format=Parcel)
                assert parsed.output_parsed == Parcel(carrier="DHL")
                async with client.responses.stream(model="x", input="Where?") as stream:
                    assert (await stream.get_final_response()).output_text == "It ships today."

    with wrapped(responses, kind=openai.AsyncOpenAI) as (client, router, up):
        run(main(client), client)
        assert [body["model"] for body in up.bodies] == ["model-b"] * 3
        assert len(facts(router, Turn)) == 3


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_structures_are_parsed_and_tools_counted(kind):
    """`.parse` gives the client's parsed completion; a tool that is called is counted and no empty answer."""
    tool = {"id": "t", "type": "function", "function": {"name": "find", "arguments": "{}"}}

    async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("tools"):
            return web.json_response(whole(None, message={"tool_calls": [tool]}, finish_reason="tool_calls"))
        return web.json_response(whole('{"carrier":"DHL"}'))

    async def main() -> None:
        completions = client.chat.completions
        answer = completions.parse(**ASK, response_format=Parcel)
        answer = answer if kind is openai.OpenAI else await answer
        assert answer.choices[0].message.parsed == Parcel(carrier="DHL")
        offered = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
        answer = completions.create(**ASK, tools=[offered])
        answer = answer if kind is openai.OpenAI else await answer
        assert answer.choices[0].message.tool_calls[0].function.name == "find"

    with wrapped(script, kind=kind) as (client, router, up), client.unit(TREATMENT):
        run(main(), client)
        assert up.bodies[0]["response_format"]["json_schema"]["name"] == "Parcel"
        assert [
            (turn.tool_calls, turn.empty, turn.finish_reason, turn.json_valid) for turn in facts(router, Turn)
        ] == [
            (None, False, "stop", True),
            (1, False, "tool_calls", None),
        ]


def test_a_structure_that_breaks_off_is_the_clients_own_error_with_its_tokens_on_record():
    """LengthFinishReasonError is raised as it is; what it cost is known."""

    async def script(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(whole('{"carr', finish_reason="length"))

    with wrapped(script) as (client, router, _), client.unit(TREATMENT):
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(**ASK, response_format=Parcel)
        [turn] = facts(router, Turn)
        assert (turn.error, turn.output_tokens, turn.finish_reason) == (True, 4, "length")
