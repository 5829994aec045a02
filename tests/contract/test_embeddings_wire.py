"""Over real HTTP: embeddings of the simulated endpoint, read by the official client and by ours."""

from __future__ import annotations

import asyncio
import random

import openai
import pytest
from aiohttp import web

from equipoise.errors import UpstreamError, UsageError
from equipoise.providers.embeddings import OpenAIEmbeddings
from equipoise.providers.hashed import hashed_vector
from equipoise.providers.messages import Usage
from equipoise.providers.posting import RefusedError
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

TEXTS = ("a refund takes five days", "refunds take five days", "Bonjour")


def nothing(body):
    return SimulatedAnswer()


def client(url, **more):
    return OpenAIEmbeddings(url, rng=random.Random(1), **{"first_wait_s": 0.01} | more)


@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_official_client_reads_vectors(form):
    """Packed or as numbers, in their order, with a usage."""
    with (
        SimulatedEndpoint(nothing) as url,
        openai.OpenAI(base_url=url, api_key="any", max_retries=0) as official,
    ):
        more = {} if form == "base64" else {"encoding_format": form}
        reply = official.embeddings.create(model="m", input=list(TEXTS), dimensions=64, **more)
        with pytest.raises(openai.BadRequestError, match="none of them empty"):
            official.embeddings.create(model="m", input=["a", ""])
    assert [each.index for each in reply.data] == [0, 1, 2]
    for text, each in zip(TEXTS, reply.data, strict=True):
        assert each.embedding == pytest.approx(hashed_vector(text, 64), abs=1e-6)
    assert reply.usage.prompt_tokens == 6 + 6 + 2


def test_vectors_come_in_order_in_batches_and_each_text_once():
    """Seven texts, three of them different, two at once: two requests for three texts."""
    asked = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[2], TEXTS[2], TEXTS[1], TEXTS[0]]

    async def run():
        endpoint = SimulatedEndpoint(nothing)
        async with endpoint as url, client(url, at_once=2) as embeddings:
            return await embeddings.embed("m", asked), endpoint.embedded, embeddings.origin == url

    embedded, texts, same = asyncio.run(run())
    assert embedded.vectors == tuple(tuple(hashed_vector(text)) for text in asked)
    assert (embedded.model, embedded.usage, texts, same) == ("m", Usage(14, 0), 3, True)


def test_no_texts_ask_nothing():
    """An empty list has no vectors, and costs nothing."""
    embedded = asyncio.run(client("http://127.0.0.1:9/v1").embed("m", []))
    assert (embedded.vectors, embedded.usage) == ((), Usage(0, 0))


def served(payload):
    """The error met by our client at a server that answers every POST with `payload`."""

    async def run():
        app = web.Application()

        async def answer(request):
            return web.json_response(payload)

        app.router.add_post("/v1/embeddings", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            async with client(url) as embeddings:
                with pytest.raises(UpstreamError) as caught:
                    await embeddings.embed("m", ["a", "b"])
        finally:
            await runner.cleanup()
        return str(caught.value).removeprefix(url)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [None]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AACAPw=="}],
    ],
)
def test_what_is_not_one_vector_a_text_is_refused(data):
    """Too few, of other places, of other lengths or no numbers: an error, and no vector is made up."""
    assert served({"data": data}) == (
        "/embeddings answered 200 with something that is not one vector a text; check that the base URL and "
        "the model are those of embeddings"
    )


def test_a_refused_text_is_said_at_once():
    """An empty text is refused by the endpoint, not tried again."""

    async def run():
        async with SimulatedEndpoint(nothing) as url, client(url) as embeddings:
            with pytest.raises(RefusedError) as caught:
                await embeddings.embed("m", [""])
            return str(caught.value).removeprefix(url)

    assert asyncio.run(run()) == (
        "/embeddings answered 400 (invalid_value); check the model's name and `params`"
    )


@pytest.mark.parametrize("at_once", [0, 257])
def test_a_batch_has_bounds(at_once):
    """What endpoints take in one request is limited."""
    with pytest.raises(UsageError) as caught:
        client("http://host/v1", at_once=at_once)
    assert str(caught.value) == f"at_once must lie from 1 to 256, not {at_once}"


def test_like_texts_have_near_vectors():
    """The cosine of two wordings of one sentence is far above that of two languages."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(hashed_vector(a), hashed_vector(b), strict=True))

    assert cosine(TEXTS[0], TEXTS[0]) == pytest.approx(1.0)
    assert cosine(TEXTS[0], TEXTS[1]) > 0.6
    assert abs(cosine(TEXTS[0], TEXTS[2])) < 0.2
