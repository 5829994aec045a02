"""What a gateway measures of a turn, against an upstream that says and does what it is told."""

from __future__ import annotations

import asyncio

import openai
import pytest
from aiohttp import web
from gateways import chunk, definition, gateway, upstream, whole

ASK = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Where is it?"}]}
UNIT = {"x-conversation-id": "c1"}
JSON = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("asked", "text", "valid"),
    [
        (JSON, '{"a": 1}', True),
        (JSON, '{"a": 1', False),
        (JSON, "", None),
        ({}, "plain", None),
        ({"response_format": {"type": "text"}}, "plain", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_whether_json_came_is_known_where_json_was_asked_for(asked, text, valid, stream):
    """The metric `json_valid` is of answers to requests for JSON, and of no others."""

    async def script(request, _):
        if not stream:
            return web.json_response(whole(text))
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        for piece in (text[:3], text[3:]):
            await reply.write(chunk({"content": piece}))
        await reply.write(chunk({}, "stop") + b"data: [DONE]\n\n")
        return reply

    with upstream(script) as up, gateway(definition(up.port)) as at:
        client = openai.OpenAI(base_url=at.url, api_key="none", max_retries=0, timeout=30)
        said = client.chat.completions.create(**ASK, **asked, stream=stream, extra_headers=UNIT)
        if stream:
            assert "".join(each.choices[0].delta.content or "" for each in said if each.choices) == text
        client.close()
        (turn,) = at.facts("turn", at_least=1)
        assert turn.json_valid is valid


def test_gaps_between_tokens_are_measured_and_their_mean_is_a_metric():
    """The upstream waits 60 ms between pieces, once 300: mean, median, 95th percentile and longest say so."""
    waits = [0.06, 0.06, 0.3, 0.06]

    async def script(request, _):
        reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(chunk({"content": "a"}))
        for wait in waits:
            await asyncio.sleep(wait)
            await reply.write(chunk({"content": "b"}))
        await reply.write(chunk({}, "stop") + b"data: [DONE]\n\n")
        return reply

    with upstream(script) as up, gateway(definition(up.port)) as at:
        client = openai.OpenAI(base_url=at.url, api_key="none", max_retries=0, timeout=30)
        for _ in client.chat.completions.create(**ASK, stream=True, extra_headers=UNIT):
            pass
        client.close()
        (turn,) = at.facts("turn", at_least=1)
    assert 0.1 < turn.itl_max_s == turn.itl_p95_s
    assert 0.0 < turn.itl_s < turn.itl_max_s
    assert turn.itl_p50_s < turn.itl_max_s
    assert turn.ttft_s + 4 * turn.itl_s <= turn.latency_s
