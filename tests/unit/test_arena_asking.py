"""What stands between a run and an endpoint: journal, purse, turns."""

from __future__ import annotations

import asyncio
import json

import pytest

from equipoise.arena.asking import Asking, Turns
from equipoise.arena.embedding import AskingEmbedder
from equipoise.arena.journal import Journal, key_of, open_journal
from equipoise.arena.spending import Purse
from equipoise.errors import BudgetError, OutOfReachError, UpstreamError, UsageError
from equipoise.experiment.definition import Price
from equipoise.providers.messages import Embedded, Reply, Request, Usage

PRICES = {"m": Price(1.0, 2.0)}


def request(text="Hi", *, model="m", draw="", **params):
    return Request(model=model, messages=({"role": "user", "content": text},), params=params, draw=draw)


class Endpoint:
    """Answers after a moment, and remembers what it was asked."""

    def __init__(self, *, origin="here", fails=(), wait_s=0.0):
        self.origin, self.fails, self.wait_s = origin, set(fails), wait_s
        self.asked = []

    async def complete(self, request):
        self.asked.append(request)
        await asyncio.sleep(self.wait_s)
        if len(self.asked) in self.fails:
            raise UpstreamError(f"failure {len(self.asked)}")
        return Reply(text=f"re {request.messages[-1]['content']}", model="m-1", usage=Usage(10, 20))


def asking(endpoint, journal=None, *, prices=PRICES, limit=None, concurrency=4):
    purse = Purse(prices, limit_usd=limit)
    turns = Turns(concurrency, Journal() if journal is None else journal, purse)
    return Asking(endpoint, turns), turns, purse


def test_a_reply_is_found_by_place_wire_and_draw_and_not_by_what_it_was_for():
    """The same verdict is asked once; another endpoint, another sample or another variant is another draw."""
    one = request()
    same = Request(model="m", messages=({"content": "Hi", "role": "user"},), about={"case": "7"})
    assert key_of("here", one) == key_of("here", same)
    others = [key_of("there", one), key_of("here", request(draw="b#0")), key_of("here", request(seed=1))]
    assert len({key_of("here", one), *others}) == 4


def test_what_json_cannot_say_is_refused_with_the_way_out():
    """A number beyond 64 bits cannot be sent as it is."""
    with pytest.raises(UsageError, match="a request to m holds something that JSON cannot say"):
        key_of("here", request(big=2**70))


def test_the_same_request_at_the_same_time_is_asked_once():
    """Fifty at once, one call; every one of them gets the reply and it is paid for once."""
    endpoint = Endpoint(wait_s=0.02)
    through, _, purse = asking(endpoint)

    async def run():
        return await asyncio.gather(*(through.complete(request()) for _ in range(50)))

    replies = asyncio.run(run())
    assert len(endpoint.asked) == 1
    assert {reply.text for reply in replies} == {"re Hi"}
    assert (purse.spent.requests, purse.spent.cost_usd) == (1, pytest.approx(50e-6))


def test_the_same_request_is_asked_once_however_they_wait_for_their_turn():
    """Ten of each of thirty requests, two at a time, in any order: thirty calls."""
    endpoint = Endpoint(wait_s=0.001)
    through, turns, _ = asking(endpoint, concurrency=2)
    asyncio.run(_all(through, [request(f"q{n % 30}") for n in range(300)]))
    assert len(endpoint.asked) == 30
    assert turns._out == {}


def test_a_resumed_run_counts_the_same_and_spends_nothing(tmp_path):
    """Tokens and dollars are those of all replies the run rests on; only new ones count against a limit."""
    endpoint = Endpoint()
    with open_journal(tmp_path / "j.jsonl") as journal:
        through, _, purse = asking(endpoint, journal)
        asyncio.run(_all(through, [request(f"q{n}") for n in range(5)]))
        first = purse.spent
    with open_journal(tmp_path / "j.jsonl") as journal:
        through, _, purse = asking(endpoint, journal, limit=0.0)
        replies = asyncio.run(_all(through, [request(f"q{n}") for n in range(5)]))
    assert (len(endpoint.asked), through.sent, through.replayed) == (5, 0, 5)
    assert purse.spent == first
    assert purse.here_usd == 0.0
    assert [reply.cost_usd for reply in replies] == [pytest.approx(50e-6)] * 5


def test_the_limit_stops_before_it_is_passed_and_loses_nothing(tmp_path):
    """At fifty millionths a call and a limit of a thousandth, twenty calls go out; all of them are kept."""
    endpoint = Endpoint(wait_s=0.005)
    with open_journal(tmp_path / "j.jsonl") as journal:
        through, turns, purse = asking(endpoint, journal, limit=0.001, concurrency=4)

        async def run():
            try:
                await _all(through, [request(f"q{n}", max_tokens=20) for n in range(100)])
            finally:
                await turns.settle()

        with pytest.raises(
            BudgetError, match=r"stopped before the limit of \$0.001: this run has spent \$0.00"
        ):
            asyncio.run(run())
        assert purse.here_usd <= 0.001 + 1e-12
        assert 15 <= len(endpoint.asked) <= 20
        assert len(journal) == len(endpoint.asked)
    with open_journal(tmp_path / "j.jsonl") as journal:
        assert len(journal) == len(endpoint.asked)


def test_a_limit_needs_prices():
    """Nobody can stay below a limit without knowing what a call costs."""
    with pytest.raises(UsageError, match=r"none is known for other; add to the definition `prices: {other: "):
        Purse(PRICES, limit_usd=1.0).require_prices({"m": "answers", "other": "judgements"})
    Purse(PRICES).require_prices({"other": "judgements"})


def test_a_reply_without_a_price_is_counted_and_named():
    """An unknown cost is not a cost of nothing."""
    endpoint = Endpoint()
    through, _, purse = asking(endpoint, prices={})
    (reply,) = asyncio.run(_all(through, [request()]))
    assert (reply.cost_usd, purse.spent.cost_usd, purse.spent.unpriced) == (None, None, ("m",))


def test_failure_upon_failure_ends_the_run_and_a_success_between_them_does_not():
    """Patience is twice the concurrency, at least five."""
    through, _, _ = asking(Endpoint(fails=range(1, 100)), concurrency=1)

    async def run():
        for n in range(10):
            try:
                await through.complete(request(f"q{n}"))
            except UpstreamError:
                continue

    with pytest.raises(
        OutOfReachError, match=r"5 requests in a row failed, the last because failure 5\. What was"
    ):
        asyncio.run(run())
    endpoint = Endpoint(fails=[n for n in range(1, 100) if n % 4])
    through, _, _ = asking(endpoint, concurrency=1)
    asyncio.run(run())
    assert len(endpoint.asked) == 10


def test_cancelling_who_waits_does_not_lose_the_reply():
    """What is under way when a run is stopped is paid for, and is kept."""
    journal = Journal()
    through, turns, _ = asking(Endpoint(wait_s=0.05), journal)

    async def run():
        waiting = asyncio.ensure_future(through.complete(request()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await turns.settle()

    asyncio.run(run())
    assert len(journal) == 1


def test_what_an_endpoint_says_of_itself_is_heard():
    """Answers and judgements apart, by the model that was asked."""
    through, turns, _ = asking(Endpoint())
    asyncio.run(_all(through, [request()]))
    assert turns.said == {(False, "m"): {("m-1", None)}}


def test_vectors_are_kept_text_by_text(tmp_path):
    """A second run asks only for texts it has not seen."""

    class Vectors:
        origin = "there"

        def __init__(self):
            self.asked = []

        async def embed(self, model, texts):
            self.asked.append(list(texts))
            return Embedded(vectors=tuple((float(len(text)), 0.1) for text in texts), model=model)

    vectors = Vectors()
    for texts in (["a", "bb"], ["bb", "ccc", "bb"]):
        with open_journal(tmp_path / "j.jsonl") as journal:
            embedder = AskingEmbedder(vectors, Turns(4, journal, Purse({})))
            found = asyncio.run(embedder.embed("e", texts))
            assert [vector[0] for vector in found.vectors] == [float(len(text)) for text in texts]
    assert vectors.asked == [["a", "bb"], ["ccc"]]


def test_the_journal_says_what_was_asked_of_whom_and_under_which_settings(tmp_path):
    """Everything but the texts that were sent, which its key stands for."""
    with open_journal(tmp_path / "j.jsonl") as journal:
        through, _, _ = asking(Endpoint(), journal)
        asyncio.run(
            _all(
                through,
                [
                    Request(
                        model="m",
                        messages=({"role": "user", "content": "Hi"},),
                        params={"temperature": 0},
                        wishes={"seed": 7},
                        draw="b#1",
                        about={"case": "c", "variant": "b"},
                    )
                ],
            )
        )
    line = json.loads((tmp_path / "j.jsonl").read_text())
    assert line["asked"] == {"model": "m", "temperature": 0, "seed": 7}
    assert (line["about"], line["origin"]) == ({"case": "c", "variant": "b", "draw": "b#1"}, "here")
    assert line["reply"] == {"text": "re Hi", "model": "m-1", "usage": [10, 20]}


async def _all(through, requests):
    return await asyncio.gather(*(through.complete(one) for one in requests))
