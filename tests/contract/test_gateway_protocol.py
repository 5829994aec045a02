"""The protocol through the real `openai` client, sync and async: nothing a client relies on is lost on the way."""

from __future__ import annotations

import asyncio
import json

import httpx2 as httpx
import openai
import pytest
from aiohttp import web
from attacking import ASK
from gateways import chunk, definition, gateway, upstream, usual, whole
from pydantic import BaseModel

CLIENTS: list[openai.OpenAI] = []
UNIT = {"x-conversation-id": "c1"}
TOOL = {"type": "function", "function": {"name": "track", "parameters": {"type": "object", "properties": {}}}}


class Days(BaseModel):
    days: int


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


def both_arms(port: int, **more):
    """A definition whose variants both do the same."""
    made = definition(port)
    return {**made, "variants": {name: {**arm, **more} for name, arm in made["variants"].items()}}


async def frames(request, sent: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for each in sent:
        await response.write(each)
        await asyncio.sleep(0.005)
    return response


async def tool_deltas(request, body):
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "track", "arguments": ""}}
    parts = [{"index": 0, "function": {"arguments": part}} for part in ('{"i', 'd": ', "41111111}")]
    deltas = [
        {"role": "assistant", "content": None, "tool_calls": [head]},
        *({"tool_calls": [each]} for each in parts),
    ]
    return await frames(request, [*map(chunk, deltas), chunk({}, "tool_calls"), b"data: [DONE]\n\n"])


def test_streamed_calls_of_tools_and_parsed_output_reach_sync_and_async_clients():
    """The helpers of the client put the deltas together; `.parse` gives the model its type."""

    async def script(request, body):
        if "embeddings" in request.path:
            return await usual(request, body)
        if "tools" in body:
            return await tool_deltas(request, body)
        if body.get("stream"):
            return await frames(request, [chunk({"role": "assistant", "content": '{"da'}), chunk({"content": 'ys": 5}'}), chunk({}, "stop"), b"data: [DONE]\n\n"])  # fmt: skip
        return web.json_response(whole('{"days": 5}'))

    with upstream(script) as up, gateway({**both_arms(up.port), "inline": ["pii", "toxicity"]}) as at:
        talk = client(at.url)
        with talk.chat.completions.stream(**ASK, tools=[TOOL], extra_headers=UNIT) as stream:
            final = stream.get_final_completion()
        (called,) = final.choices[0].message.tool_calls
        assert (called.id, called.function.name, called.function.arguments) == (
            "call_1",
            "track",
            '{"id": 41111111}',
        )
        assert final.choices[0].finish_reason == "tool_calls"
        parsed = talk.chat.completions.parse(**ASK, response_format=Days, extra_headers=UNIT)
        assert parsed.choices[0].message.parsed == Days(days=5)
        assert up.bodies[-1]["response_format"]["json_schema"]["name"] == "Days"

        async def too() -> None:
            async with openai.AsyncOpenAI(base_url=at.url, api_key="k", max_retries=0, timeout=60) as also:
                async with also.chat.completions.stream(
                    **ASK, response_format=Days, extra_headers=UNIT
                ) as stream:
                    assert (await stream.get_final_completion()).choices[0].message.parsed == Days(days=5)
                pieces = [each async for each in await also.chat.completions.create(**ASK, tools=[TOOL], stream=True, extra_headers=UNIT)]  # fmt: skip
                assert pieces[-1].choices[0].finish_reason == "tool_calls"
                vector = await also.embeddings.create(model="experiment/bot", input="x", encoding_format="float", extra_headers=UNIT)  # fmt: skip
                assert vector.data[0].embedding == [0.5, 0.25]

        asyncio.run(too())
        turns = at.facts("turn", at_least=5)
        assert [turn.tool_calls for turn in turns] == [1, None, None, 1, None]
        assert [turn.cancelled for turn in turns] == [None] * 5
        assert turns[0].checks == {"pii": "skipped", "toxicity": "skipped"}
        assert [turn.json_valid for turn in turns] == [None, True, True, None, None]


def test_a_filtered_answer_is_what_the_clients_helpers_expect():
    """`.parse` raises the client's own error for filtered content, whole and streamed."""

    async def script(request, body):
        if body.get("stream"):
            return await frames(request, [chunk({"role": "assistant", "content": '{"days": "'}), chunk({"content": 'jo@example.org "}'})])  # fmt: skip
        return web.json_response(whole('{"days": "jo@example.org"}'))

    with upstream(script) as up, gateway({**both_arms(up.port), "inline": ["pii"]}) as at:
        talk = client(at.url)
        with pytest.raises(openai.ContentFilterFinishReasonError):
            talk.chat.completions.parse(**ASK, response_format=Days, extra_headers=UNIT)
        with (
            pytest.raises(openai.ContentFilterFinishReasonError),
            talk.chat.completions.stream(**ASK, response_format=Days, extra_headers=UNIT) as stream,
        ):
            stream.get_final_completion()


def said_in_events(*deltas: str) -> list[bytes]:
    """A streamed response as the endpoint sends it."""
    text = "".join(deltas)
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    response = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "model-a", "output": [], "status": "in_progress",
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    done = item | {"status": "completed", "content": [part | {"text": text}]}
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_tokens_details": {"cached_tokens": 1},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    sent = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", "part": part, **place},
        *({"type": "response.output_text.delta", "delta": each, "logprobs": [], **place} for each in deltas),
        {"type": "response.output_text.done", "text": text, "logprobs": [], **place},
        {"type": "response.content_part.done", "part": part | {"text": text}, **place},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {
            "type": "response.completed",
            "response": response | {"status": "completed", "output": [done], "usage": usage},
        },
    ]
    return [
        b"event: %b\ndata: %b\n\n"
        % (each["type"].encode(), json.dumps(each | {"sequence_number": at}).encode())
        for at, each in enumerate(sent)
    ]


@pytest.mark.parametrize("buffer", [False, True])
def test_a_streamed_response_reaches_the_helper_whole_and_blocked(buffer):
    """The bytes are the upstream's own; blocked in mid-stream the helper ends with `response.incomplete`."""
    deltas = ["It ", "ships ", "today."]

    async def script(request, body):
        return await frames(request, said_in_events(*deltas))

    inline = [{"check": "pii", "fallback": "No.", "buffer": buffer}]
    with upstream(script) as up, gateway({**both_arms(up.port), "inline": inline}) as at:
        talk, ask = client(at.url), {"model": "experiment/bot", "input": "Where?"}
        raw = httpx.post(f"{at.url}/responses", json=ask | {"stream": True}, headers=UNIT, timeout=60)
        assert raw.content == b"".join(said_in_events(*deltas))
        with talk.responses.stream(**ask, extra_headers=UNIT) as stream:
            assert stream.get_final_response().output_text == "It ships today."
        deltas[1:] = ["is jo@exam", "ple.org ", "now"]
        with talk.responses.stream(**ask, extra_headers=UNIT) as stream:
            seen = list(stream)
        assert seen[0].type == "response.created"
        last = seen[-1]
        assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
        assert last.response.incomplete_details.reason == "content_filter"
        assert last.response.output_text == ("No." if buffer else "It No.")
        assert "".join(each.delta for each in seen if each.type == "response.output_text.delta") == last.response.output_text  # fmt: skip
        numbers = [each.sequence_number for each in seen]
        assert numbers == sorted(set(numbers))
        turns = at.facts("turn", at_least=3)
        assert [turn.blocked for turn in turns] == [None, None, True]
        assert (turns[0].input_tokens, turns[0].output_tokens, turns[0].cached_tokens) == (5, 2, 1)


def test_a_response_refused_at_the_door_streams_as_the_helper_expects():
    """The request fails its check: created, the fallback as an item, incomplete."""
    inline = [{"check": "pii", "on": "request", "fallback": "No addresses, please."}]
    with upstream() as up, gateway({**both_arms(up.port), "inline": inline}) as at:
        with client(at.url).responses.stream(
            model="experiment/bot", input="jo@example.org", extra_headers=UNIT
        ) as stream:
            seen = list(stream)
        assert seen[0].type == "response.created"
        assert seen[-1].response.output_text == "No addresses, please."
        ask = ASK | {"messages": [{"role": "user", "content": "jo@example.org"}]}
        pieces = [each.choices[0] for each in client(at.url).chat.completions.create(**ask, stream=True, extra_headers=UNIT)]  # fmt: skip
        assert [(each.delta.role, each.delta.content, each.finish_reason) for each in pieces] == [
            ("assistant", "No addresses, please.", None), (None, None, "content_filter"),
        ]  # fmt: skip
        assert up.bodies == []


MIXED = [
    {"role": "system", "content": "Old."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
    },
    {"role": "developer", "content": "Older."},
    {"role": "user", "content": "And?"},
]


@pytest.mark.parametrize("mode", ["replace", "prepend"])
def test_system_prompts_replace_or_precede_the_callers_own_with_values_as_text(mode):
    """For chat and responses; a value that looks like a variable is no variable; parts stay as they are."""
    system = {"text": "For {{plan}} in {{city}}, {{other}}.", "mode": mode, "variables": ["plan", "city"]}
    attributes = {
        "plan": {"type": "text", "from": "header:x-plan"},
        "city": {"type": "text", "from": "header:x-city"},
    }
    made = {**both_arms(0, system=system), "attributes": attributes}
    with upstream() as up:
        for arm in made["variants"].values():
            arm["endpoint"] = {"base_url": f"http://127.0.0.1:{up.port}/v1"}
        with gateway(made) as at:
            head = UNIT | {"x-city": "{{plan}}\\1", "x-plan": "{{city}}"}
            client(at.url).chat.completions.create(model="experiment/bot", messages=MIXED, extra_headers=head)
            text = "For {{city}} in {{plan}}\\1, {{other}}."
            kept = MIXED if mode == "prepend" else [MIXED[1], MIXED[3]]
            assert up.bodies[-1]["messages"] == [{"role": "system", "content": text}, *kept]
            body = {"model": "experiment/bot", "input": MIXED, "instructions": "Given."}
            httpx.post(f"{at.url}/responses", json=body, headers=head, timeout=60)
            assert up.bodies[-1]["instructions"] == (f"{text}\n\nGiven." if mode == "prepend" else text)
            assert up.bodies[-1]["input"] == kept


def test_a_variants_parameters_override_the_callers_and_the_rest_stays_both_ways():
    """Nested values, null, fields nobody knows, an old name of a limit; unknown fields of the answer come back."""
    params = {
        "temperature": 0,
        "max_completion_tokens": 50,
        "logit_bias": {"1": -100},
        "x_new": {"a": [1, None]},
    }

    async def odd(request, body):
        return web.json_response(whole(service_tier="flex", x_unknown={"kept": [1, 2.5, None]}))

    with upstream(odd) as up, gateway(both_arms(up.port, params=params)) as at:
        more = {"max_tokens": 9, "temperature": 1.5, "seed": 2**53 + 1, "extra_body": {"x_mine": {"b": ""}}}
        reply = client(at.url).chat.completions.create(**ASK, **more, extra_headers=UNIT)
        sent = up.bodies[-1]
        assert sent == ASK | {"model": sent["model"], "seed": 2**53 + 1, "x_mine": {"b": ""}} | params
        assert reply.model_extra["x_unknown"] == {"kept": [1, 2.5, None]}


def test_what_the_client_says_of_its_stream_stays():
    """`stream_options` beyond usage go up; asked for by the client, the counts come back, also beside content."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    async def script(request, body):
        return await frames(request, [chunk({"content": "Hi"}, "stop", usage=usage), b"data: [DONE]\n\n"])

    with upstream(script) as up, gateway(both_arms(up.port)) as at:
        for asked, sees in (({"x": 1}, False), ({"include_usage": True, "x": 2}, True), (None, False)):
            body = ASK | {"stream": True} | ({} if asked is None else {"stream_options": asked})
            said = httpx.post(f"{at.url}/chat/completions", json=body, headers=UNIT, timeout=60).text
            assert ('"usage"' in said) is sees
            assert up.bodies[-1]["stream_options"] == (asked or {}) | {"include_usage": True}
        assert {turn.output_tokens for turn in at.facts("turn", at_least=3)} == {2}
