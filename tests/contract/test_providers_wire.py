"""Over real HTTP: the simulated endpoint against the official client, our client against the endpoint."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import random
import time
import urllib.error
import urllib.request

import openai
import pytest
from raw_upstream import BODY, Line, in_chunks, once, raw_upstream

from equipoise.errors import UpstreamError, UsageError
from equipoise.providers.messages import Request
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

KEY = "sk-very-secret-0123456789"
SECRET = "the customer's private question"


def say(text):
    return lambda body: SimulatedAnswer(text=text)


def official_client(url, key="any"):
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)


def asked(**params):
    return Request(model="bot", messages=({"role": "user", "content": SECRET},), params=params)


def client(url, **more):
    return OpenAICompatible(url, rng=random.Random(1), **{"first_wait_s": 0.01, "api_key": KEY} | more)


async def ask_once(url, request=None, **more):
    async with client(url, **more) as provider:
        return await provider.complete(request or asked())


def test_the_official_client_reads_a_whole_reply_and_the_models():
    """The endpoint speaks the protocol well enough for the official client."""
    with SimulatedEndpoint(say("Good day to you"), models=("bot",)) as url, official_client(url) as official:
        reply = official.chat.completions.create(model="bot", messages=[{"role": "user", "content": "Hi"}])
        assert reply.choices[0].message.content == "Good day to you"
        assert reply.choices[0].finish_reason == "stop"
        assert reply.system_fingerprint == "simulated"
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (1, 4)
        assert [model.id for model in official.models.list()] == ["bot"]


def test_the_official_client_reads_a_streamed_reply_with_usage():
    """Streaming gives the same text in pieces, one finish, and usage when asked for."""
    with SimulatedEndpoint(say("Good  day\nto you")) as url, official_client(url) as official:
        chunks = list(
            official.chat.completions.create(
                model="bot",
                messages=[{"role": "user", "content": "Hi"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "Good  day\nto you"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "stop"
    ]
    assert chunks[-1].usage.completion_tokens == 4


def test_the_official_client_meets_errors_as_it_knows_them():
    """A refused key, a limit and a failing simulation arrive as the official client's own errors."""

    def answer(body):
        if body["model"] == "broken":
            raise RuntimeError
        return SimulatedAnswer(status=429, retry_after_s=0)

    messages = [{"role": "user", "content": "Hi"}]
    with SimulatedEndpoint(answer, api_key=KEY) as url:
        with official_client(url, "wrong") as official, pytest.raises(openai.AuthenticationError):
            official.chat.completions.create(model="bot", messages=messages)
        with official_client(url, KEY) as official:
            with pytest.raises(openai.RateLimitError):
                official.chat.completions.create(model="bot", messages=messages)
            with pytest.raises(openai.InternalServerError):
                official.chat.completions.create(model="broken", messages=messages)


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b'{"messages": []}', "'model' is missing or not a text"),
        (b'{"model": "m", "messages": []}', "'messages' is missing or empty"),
        (b'{"model": "m", "messages": ["hi"]}', "each of 'messages' must be an object with a role"),
    ],
)
def test_a_malformed_body_is_refused_in_the_protocols_shape(body, words):
    """What is wrong with a body is said in an error object, with status 400."""
    with SimulatedEndpoint(say("x")) as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url + "/chat/completions", data=body))
        with caught.value as error:
            assert error.code == 400
            assert json.loads(error.read())["error"]["message"] == words
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(url + "/nothing"):
            pass
        with caught.value as error:
            assert error.code == 404
            assert json.loads(error.read())["error"]["type"] == "invalid_request_error"


def test_our_client_reads_what_the_endpoint_said():
    """Text, finish, usage and fingerprint arrive, and the latency was measured."""

    async def run():
        async with SimulatedEndpoint(
            lambda body: SimulatedAnswer(text="Hi " + str(body["seed"]), latency_s=0.05)
        ) as url:
            return await ask_once(url, asked(seed=7))

    reply = asyncio.run(run())
    assert (reply.text, reply.model, reply.finish_reason, reply.fingerprint) == (
        "Hi 7",
        "bot",
        "stop",
        "simulated",
    )
    assert reply.usage.output_tokens == 1
    assert 0.05 <= reply.latency_s < 5


def test_one_session_serves_many_requests():
    """Connections are kept: many requests at once over one session, and closing twice is harmless."""

    async def run():
        endpoint = SimulatedEndpoint(say("ok"))
        async with endpoint as url, client(url) as provider:
            await asyncio.gather(*(provider.complete(asked()) for _ in range(20)))
            session = provider._endpoint._session
            await provider.complete(asked())
            assert provider._endpoint._session is session
            await provider.aclose()
            await provider.aclose()
            assert session.closed
            assert (await provider.complete(asked())).text == "ok"
            return endpoint.served

    assert asyncio.run(run()) == 22


def test_passing_failures_are_tried_again_after_what_retry_after_says():
    """Two refusals with Retry-After are waited out, and the third try succeeds."""
    calls = []

    def answer(body):
        calls.append(time.perf_counter())
        return (
            SimulatedAnswer(status=429, retry_after_s=0.2) if len(calls) < 3 else SimulatedAnswer(text="ok")
        )

    async def run():
        async with SimulatedEndpoint(answer) as url:
            return await ask_once(url)

    assert asyncio.run(run()).text == "ok"
    assert all(later - earlier >= 0.2 for earlier, later in itertools.pairwise(calls))


def test_patience_ends_and_the_error_holds_neither_key_nor_prompt():
    """After the last retry the error names the endpoint, the status and what to do, and nothing secret."""

    def answer(body):
        return SimulatedAnswer(status=503, error=f"cannot serve {KEY}: {SECRET}")

    async def run():
        endpoint = SimulatedEndpoint(answer)
        async with endpoint as url:
            with pytest.raises(UpstreamError) as caught:
                await ask_once(url, retries=2)
            return url, str(caught.value), endpoint.served

    url, message, served = asyncio.run(run())
    assert message == (
        f"{url}/chat/completions answered 503 (simulated_failure), asked 3 times; see that it is up, then run again"
    )
    assert served == 3


def test_what_does_not_pass_is_not_tried_again():
    """A refused key is said at once."""

    async def run():
        endpoint = SimulatedEndpoint(say("x"), api_key="another")
        async with endpoint as url:
            with pytest.raises(UpstreamError) as caught:
                await ask_once(url)
            return url, str(caught.value), endpoint.served

    url, message, served = asyncio.run(run())
    assert message == f"{url}/chat/completions answered 401 (invalid_api_key); check the API key"
    assert served == 1


def test_a_wait_beyond_patience_is_not_waited_for():
    """An endpoint that asks for an hour gets an error, not an hour."""

    async def run():
        async with SimulatedEndpoint(lambda body: SimulatedAnswer(status=429, retry_after_s=3600)) as url:
            with pytest.raises(UpstreamError, match="asks to wait 3600 s; try again after that time"):
                await ask_once(url)

    asyncio.run(run())


@pytest.mark.parametrize("asked", ["Mon, 01 Jan 2024 00:00:00 +9999999999999", "Mon, 99 Foo 99999 00:00:00 GMT", "9" * 400, "nan", "-1"])  # fmt: skip
def test_a_time_to_wait_that_is_none_is_as_if_nobody_had_asked(asked):
    """Whatever stands there, the answer is what it is without."""
    head = b"HTTP/1.1 503 Busy\r\nretry-after: %b\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n"
    with raw_upstream(once(head % asked.encode())) as there:
        url = f"http://127.0.0.1:{there.port}/v1"
        with pytest.raises(UpstreamError) as caught:
            asyncio.run(ask_once(url, retries=0))
    assert (
        str(caught.value)
        == f"{url}/chat/completions answered 503, asked once; see that it is up, then run again"
    )


def test_silence_and_absence_are_upstream_errors():
    """A slow endpoint and a closed port each give one sentence."""

    async def run():
        async with SimulatedEndpoint(lambda body: SimulatedAnswer(text="late", latency_s=5)) as url:
            with pytest.raises(UpstreamError, match=r"did not answer within 0\.1 s, asked once"):
                await ask_once(url, timeout_s=0.1, retries=0)
        with pytest.raises(UpstreamError, match=r"could not be reached .* asked 2 times"):
            await ask_once(url, retries=1)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url, words",
    [
        (
            "ftp://host/v1",
            "the base URL must start with http:// or https:// and name a host: https://HOST/v1",
        ),
        ("host", "the base URL must start with http:// or https:// and name a host: https://HOST/v1"),
        ("https://me:word@host/v1", "the base URL holds a name or password; pass the key by itself"),
    ],
)
def test_a_base_url_that_cannot_be_asked_is_refused(url, words):
    """A URL is checked before anything is sent."""
    with pytest.raises(UsageError) as caught:
        client(url)
    assert str(caught.value) == words


def test_parameters_that_would_break_the_reading_are_refused():
    """`stream` in params would turn the reply into something else."""
    with pytest.raises(UsageError, match="the parameter stream is set by Equipoise"):
        asked(stream=True)


def wished(text=SECRET, **wishes):
    return Request(model="bot", messages=({"role": "user", "content": text},), wishes=wishes)


def test_wishes_are_sent_and_granted():
    """What is wished for stands in the body beside the parameters."""
    bodies = []

    def answer(body):
        bodies.append(body)
        return SimulatedAnswer(text="ok")

    async def run():
        async with SimulatedEndpoint(answer) as url:
            return await ask_once(url, wished(seed=7))

    assert asyncio.run(run()).granted
    assert bodies[0]["seed"] == 7


def test_refused_wishes_are_left_out_from_then_on():
    """One refusal is enough: the request is asked again plainly, the next goes out plainly at once."""

    async def run():
        endpoint = SimulatedEndpoint(say("ok"), refuses=("response_format",))
        async with endpoint as url, client(url) as provider:
            form = {"type": "json_object"}
            first = await provider.complete(wished(response_format=form, seed=1))
            asked_first = endpoint.served
            second = await provider.complete(wished(response_format=form, seed=2))
            asked_second = endpoint.served
            third = await provider.complete(wished(seed=3))
            return [
                (first.granted, asked_first),
                (second.granted, asked_second),
                (third.granted, endpoint.served),
            ]

    assert asyncio.run(run()) == [(False, 2), (False, 3), (True, 4)]


def test_a_refusal_for_another_reason_teaches_nothing():
    """A prompt that the endpoint refuses in any form is an error, and the wishes of others still go out."""

    def answer(body):
        refused = body["messages"][0]["content"] == "bad"
        return SimulatedAnswer(status=422) if refused else SimulatedAnswer(text="ok")

    async def run():
        async with SimulatedEndpoint(answer) as url, client(url) as provider:
            with pytest.raises(UpstreamError) as caught:
                await provider.complete(wished("bad", seed=1))
            return url, str(caught.value), await provider.complete(wished("good", seed=1))

    url, message, reply = asyncio.run(run())
    assert message == (
        f"{url}/chat/completions answered 422 (simulated_failure); check the model's name and `params`"
    )
    assert reply.granted


LIKELY = ((("4", -0.25), ("5", -1.5), ("3", -9999.0)), (("!", -0.1), ("?", -2.5)))


def test_log_probabilities_arrive_where_they_are_asked_for():
    """Token by token, with the alternatives asked for; without being asked, none."""

    async def run():
        async with SimulatedEndpoint(lambda body: SimulatedAnswer(text="4!", likely=LIKELY)) as url:
            told = [await ask_once(url, wished(logprobs=True, top_logprobs=most)) for most in (5, 2, 0)]
            return [reply.likely for reply in told], (await ask_once(url)).likely

    told, unasked = asyncio.run(run())
    assert told == [LIKELY, tuple(each[:2] for each in LIKELY), tuple(each[:1] for each in LIKELY)]
    assert unasked is None


@pytest.mark.parametrize("packed", [True, False])
def test_an_answer_that_does_not_end_is_not_read_to_its_end(packed):
    """Nor one that is small on its way and fills the memory here."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    body = gzip.compress(b" " * (65 << 20), 1)

    def script(line: Line) -> None:
        if line.request() is None:
            return
        if packed:
            line.say(head + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        else:
            line.say(head + b"transfer-encoding: chunked\r\n\r\n")
            while not line.hung_up.is_set():
                line.say(in_chunks(b" " * (1 << 20)))

    with raw_upstream(script) as there:
        url = f"http://127.0.0.1:{there.port}/v1"
        with pytest.raises(UpstreamError) as caught:
            asyncio.run(ask_once(url, retries=0))
    assert str(caught.value) == (
        f"{url}/chat/completions answered 200 with more than 64 MiB, and the rest was not read; check that the base URL is "
        "that of an OpenAI-compatible endpoint"
    )


@pytest.mark.parametrize("content", [[5.5], ["x"], [None], [[]], [{"token": "4", "logprob": -1.0, "top_logprobs": ["x"]}]])  # fmt: skip
def test_log_probabilities_that_are_none_are_none(content):
    """The answer beside them stands; what an endpoint calls itself is no novel."""
    told = json.loads(BODY) | {"model": "m" * 10_000}
    told["choices"][0]["logprobs"] = {"content": content}
    raw = json.dumps(told).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(raw),
        raw,
    )
    with raw_upstream(once(answer)) as there:
        reply = asyncio.run(ask_once(f"http://127.0.0.1:{there.port}/v1", retries=0))
    assert (reply.text, reply.likely, reply.model) == ("It ships today.", None, "m" * 200)


def test_the_official_client_reads_log_probabilities():
    """They come in the protocol's shape."""
    answer = SimulatedAnswer(text="4!", likely=LIKELY)
    with SimulatedEndpoint(lambda body: answer) as url, official_client(url) as official:
        reply = official.chat.completions.create(
            model="bot", messages=[{"role": "user", "content": "Hi"}], logprobs=True, top_logprobs=2
        )
    content = reply.choices[0].logprobs.content
    assert [(each.token, each.logprob) for each in content[0].top_logprobs] == list(LIKELY[0][:2])


def test_a_limited_endpoint_is_waited_for_by_all_and_loses_nothing():
    """Thirty requests at five a fifth of a second: every one is answered, and refusals stay few."""

    async def run():
        endpoint = SimulatedEndpoint(say("ok"), limit=5, limit_s=0.2)
        async with endpoint as url, client(url, retries=1) as provider:
            replies = await asyncio.gather(*(provider.complete(asked()) for _ in range(30)))
            return len(replies), endpoint.served

    answered, served = asyncio.run(run())
    assert answered == 30
    assert served <= 30 + 25 + 20 + 15 + 10 + 5 + 30


def test_nothing_is_asked_until_the_time_in_retry_after():
    """One request's Retry-After holds the next ones too."""
    calls = []

    def answer(body):
        calls.append(time.perf_counter())
        return (
            SimulatedAnswer(status=429, retry_after_s=0.3) if len(calls) == 1 else SimulatedAnswer(text="ok")
        )

    async def run():
        async with SimulatedEndpoint(answer) as url, client(url) as provider:
            first = asyncio.ensure_future(provider.complete(asked()))
            await asyncio.sleep(0.1)
            await asyncio.gather(first, *(provider.complete(asked()) for _ in range(3)))

    asyncio.run(run())
    assert len(calls) == 5
    assert all(later - calls[0] >= 0.3 for later in calls[1:])


def test_requests_a_minute_are_kept_to():
    """At 600 a minute, 60 go out at once and the others 541 a minute: 75 take 15 / 541 minutes longer."""

    async def run(**rates):
        async with SimulatedEndpoint(say("ok")) as url, client(url, **rates) as provider:
            started = time.perf_counter()
            await asyncio.gather(*(provider.complete(asked()) for _ in range(75)))
            return time.perf_counter() - started

    assert asyncio.run(run(requests_per_minute=600)) >= 15 / 541 * 60 * 0.99
    # A request is its characters over four: 500 tokens at once, the others 4,501 a minute.
    tokens = 75 * len(SECRET) / 4
    assert asyncio.run(run(tokens_per_minute=5000)) >= (tokens - 500) / 4501 * 60 * 0.99


@pytest.mark.parametrize("rate", [0, 0.5, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    """Nothing could ever be asked, or the limit would be no limit."""
    with pytest.raises(UsageError) as caught:
        client("http://host/v1", requests_per_minute=rate)
    assert str(caught.value) == (
        f"requests_per_minute must be a number from 1 on, or None for no limit, not {rate}"
    )


def test_an_origin_is_the_base_url_without_its_query():
    """A key in the query is not shown, and is sent."""
    assert client("http://host/v1/?key=secret").origin == "http://host/v1"
    assert client("http://host/v1").origin == "http://host/v1"
