"""`wrap` with the real `openai` clients over HTTP: what the caller sees, what the endpoint gets, what is kept."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import openai
import pytest
from gateways import until, usual
from wrapped import ASK, CONTROL, TREATMENT, Down, broken, experiment, facts, run, wrapped

from equipoise.errors import UsageError
from equipoise.events.facts import Exposure, Turn
from equipoise.events.log import MemoryLog
from equipoise.sdk.router import Router
from equipoise.sdk.wrapping import WrappedAsyncClient, WrappedClient, wrap


def test_the_unit_comes_from_the_declared_header_and_its_variant_goes_into_the_call():
    """Model and system prompt of the variant are sent; one exposure and one turn are kept."""
    with wrapped() as (client, router, up):
        answer = client.chat.completions.create(**ASK, extra_headers={"X-Conversation-Id": TREATMENT})
        assert type(answer) is openai.types.chat.ChatCompletion
        assert answer.choices[0].message.content == "It ships today."
        assert up.bodies == [
            {"model": "model-b", "messages": [{"role": "system", "content": "Be brief."}, *ASK["messages"]]}
        ]
        assert ASK["messages"] == [{"role": "user", "content": "Where is it?"}]
        [exposure] = facts(router, Exposure)
        assert (exposure.unit, exposure.variant, exposure.probability) == (TREATMENT, "treatment", 0.5)
        [turn] = facts(router, Turn)
        assert (turn.unit, turn.variant, turn.reason, turn.error) == (TREATMENT, "treatment", "split", False)
        assert (turn.input_tokens, turn.output_tokens, turn.cached_tokens) == (10, 4, 2)
        assert turn.cost_usd == pytest.approx((10 * 1.0 + 4 * 2.0) / 1e6)
        assert (turn.finish_reason, turn.model, turn.fingerprint) == ("stop", "model-b", "fp_simulated")
        assert (turn.empty, turn.cancelled, turn.stream, turn.ttft_s) == (False, None, None, None)
        assert turn.latency_s > 0


def test_the_unit_comes_from_the_declared_place_in_the_body():
    """A field of the call's own arguments, and one that travels in `extra_body`."""
    place = {"unit": {"type": "user", "from": "body:metadata.user"}}
    with wrapped(**place) as (client, router, up):
        client.chat.completions.create(**ASK, metadata={"user": TREATMENT})
        client.chat.completions.create(**ASK, extra_body={"metadata": {"user": CONTROL}})
        assert [(turn.unit, turn.variant) for turn in facts(router, Turn)] == [
            (TREATMENT, "treatment" if up.bodies[0]["model"] == "model-b" else "control"),
            (CONTROL, "treatment" if up.bodies[1]["model"] == "model-b" else "control"),
        ]
        assert up.bodies[1]["metadata"] == {"user": CONTROL}


def test_the_unit_stands_around_the_calls_and_ends_with_its_block():
    """Two calls in a block are one unit's; what a call says itself stands before it; after the block nobody asks."""
    with wrapped() as (client, router, up):
        with client.unit(TREATMENT) as assigned:
            client.chat.completions.create(**ASK)
            client.chat.completions.create(**ASK)
            client.chat.completions.create(**ASK, extra_headers={"x-conversation-id": CONTROL})
        client.chat.completions.create(**ASK)
        assert assigned.variant == "treatment"
        assert [turn.unit for turn in facts(router, Turn)] == [TREATMENT, TREATMENT, CONTROL, None]
        assert [each.unit for each in facts(router, Exposure)] == [TREATMENT, CONTROL]
        assert [body["model"] for body in up.bodies] == ["model-b", "model-b", "model-a", "model-a"]


def test_a_call_without_a_unit_is_served_the_default_unenrolled():
    """Control's settings, a turn with the reason `no_unit`, and no exposure; a name that is too long is none."""
    with wrapped() as (client, router, up):
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK, extra_headers={"x-conversation-id": "x" * 2000})
        assert [body["model"] for body in up.bodies] == ["model-a", "model-a"]
        assert facts(router, Exposure) == []
        assert [(turn.unit, turn.variant, turn.reason) for turn in facts(router, Turn)] == [
            (None, None, "no_unit")
        ] * 2


def test_two_threads_do_not_mix():
    """Each thread's unit is its own, while both are inside their blocks."""
    both = threading.Barrier(2, timeout=60)
    with wrapped() as (client, router, _):

        def talk(unit: str) -> None:
            with client.unit(unit):
                both.wait()
                client.chat.completions.create(**ASK)
                both.wait()

        threads = [threading.Thread(target=talk, args=(unit,)) for unit in (CONTROL, TREATMENT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        served = {(turn.unit, turn.variant, turn.model) for turn in facts(router, Turn)}
        assert served == {(CONTROL, "control", "model-a"), (TREATMENT, "treatment", "model-b")}


def test_two_tasks_do_not_mix():
    """Each task's unit is its own, while both are inside their blocks, and a task started inside inherits it."""

    async def main(client: Any) -> None:
        inside: list[str] = []

        async def talk(unit: str) -> None:
            with client.unit(unit):
                inside.append(unit)
                while len(inside) < 2:  # noqa: ASYNC110 - both are to be inside
                    await asyncio.sleep(0)
                await asyncio.create_task(client.chat.completions.create(**ASK))

        await asyncio.gather(talk(CONTROL), talk(TREATMENT))

    with wrapped(kind=openai.AsyncOpenAI) as (client, router, _):
        run(main(client), client)
        served = {(turn.unit, turn.variant, turn.model) for turn in facts(router, Turn)}
        assert served == {(CONTROL, "control", "model-a"), (TREATMENT, "treatment", "model-b")}


def test_a_block_may_be_left_in_another_thread_than_it_was_entered_in():
    """As frameworks do with dependencies: nothing is raised."""
    with wrapped() as (client, _, _):
        block = client.unit(CONTROL)
        block.__enter__()
        raised: list[BaseException] = []

        def leave() -> None:
            try:
                block.__exit__(None, None, None)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        assert raised == []


# The record.


def test_the_exposure_is_durable_before_the_answer_returns_and_there_is_one():
    """Eight threads ask for one new unit at once; whoever has an answer finds exactly one exposure in the log."""
    log = MemoryLog()
    found: list[int] = []
    with wrapped(log=log) as (client, _, _):

        def ask() -> None:
            client.chat.completions.create(**ASK, extra_headers={"x-conversation-id": TREATMENT})
            found.append(sum(isinstance(record.fact, Exposure) for record in log.read_since(0)))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [1] * 8


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_while_the_record_is_down_the_default_is_served_and_nothing_raised(kind):
    """The first call notices after its answer and is asked again; the later ones are asked once; then it is well."""
    log = Down()
    log.down = False

    async def ask(client: Any, unit: str) -> Any:
        answer = client.chat.completions.create(**ASK, extra_headers={"x-conversation-id": unit})
        return answer if kind is openai.OpenAI else await answer

    async def main() -> None:
        for unit in (TREATMENT, TREATMENT):
            answer = await ask(client, unit)
            assert answer.choices[0].message.content == "It ships today."
            router.flush()
        log.down = False
        # This one finds it well again, by its turn; the next is enrolled.
        await ask(client, TREATMENT)
        router.flush()
        await ask(client, TREATMENT)

    with wrapped(log=log, kind=kind) as (client, router, up):
        log.down = True
        run(main(), client)
        assert [body["model"] for body in up.bodies] == [
            "model-b",
            "model-a",
            "model-a",
            "model-a",
            "model-b",
        ]
        assert [(turn.variant, turn.reason) for turn in facts(router, Turn)] == [
            (None, "unrecorded"),
            ("treatment", "split"),
        ]
        assert [each.unit for each in facts(router, Exposure)] == [TREATMENT]
        with pytest.warns(RuntimeWarning, match="facts could not be written"):
            router.close()


def test_a_closed_router_serves_the_default_and_nothing_is_raised():
    """The application may outlive its record."""
    with wrapped() as (client, router, up):
        router.close()
        client.chat.completions.create(**ASK, extra_headers={"x-conversation-id": TREATMENT})
        assert [body["model"] for body in up.bodies] == ["model-a"]


# Errors and refusals.


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_an_error_is_the_clients_own_and_on_record(kind):
    """The type, the status and the message are the client's; the exposure stands, for the unit was treated."""

    async def main() -> None:
        with pytest.raises(openai.RateLimitError) as raised:
            answer = client.chat.completions.create(**ASK)
            if kind is openai.AsyncOpenAI:
                await answer
        assert raised.value.body == {"message": "too busy", "type": "x"}

    with wrapped(broken, kind=kind) as (client, router, _), client.unit(TREATMENT):
        run(main(), client)
        [turn] = facts(router, Turn)
        assert (turn.error, turn.status, turn.variant, turn.cost_usd) == (True, 429, "treatment", None)
        assert [each.unit for each in facts(router, Exposure)] == [TREATMENT]


def test_a_call_outside_the_traffic_of_the_experiment_goes_out_as_it_is():
    """Its model is not the definition's: it is sent as it came and not recorded; the experiment may be named itself."""
    with wrapped(traffic={"model": "ours"}) as (client, router, up), client.unit(TREATMENT):
        for model in ("theirs", "ours", "experiment/demo"):
            client.chat.completions.create(**(ASK | {"model": model}))
        assert [body["model"] for body in up.bodies] == ["theirs", "model-b", "model-b"]
        assert len(facts(router, Turn)) == 2


def test_calls_that_are_no_part_of_the_experiment_go_out_as_they_are():
    """Other resources and raw responses: nothing of them is kept."""
    with wrapped() as (client, router, up), client.unit(TREATMENT):
        assert client.embeddings.create(model="e", input="x").data[0].embedding == [0.5, 0.25]
        raw = client.chat.completions.with_raw_response.create(**ASK)
        assert (raw.headers["x-request-id"], raw.parse().model) == ("req-1", "theirs")
        assert [each.id for each in client.models.list()] == ["model-a"]
        assert up.bodies[1]["model"] == "theirs"
        assert facts(router, Turn) == []


def test_the_wrapped_client_is_a_client():
    """isinstance, attributes, `with_options`, `copy`, setting a key, and the block all do as the client does."""
    with wrapped() as (client, router, up):
        assert isinstance(client, openai.OpenAI)
        assert not isinstance(client, openai.AsyncOpenAI)
        assert isinstance(client.chat.completions, openai.resources.chat.Completions)
        assert (client.max_retries, client.api_key) == (0, "a key")
        assert {"chat", "unit", "embeddings"} <= set(dir(client))
        client.api_key = "another"
        for other in (client.with_options(timeout=7), client.copy(timeout=7)):
            assert type(other) is WrappedClient
            assert (other.timeout, other.api_key) == (7, "another")
            with client.unit(TREATMENT):
                other.chat.completions.create(**ASK)
        assert [headers["authorization"] for headers in up.headers] == ["Bearer another"] * 2
        assert [turn.unit for turn in facts(router, Turn)] == [TREATMENT] * 2
        with client as same:
            assert same is client
        assert client.is_closed()
        with pytest.raises(AttributeError):
            client.no_such_thing  # noqa: B018
    with wrapped(kind=openai.AsyncOpenAI) as (client, _, _):
        assert isinstance(client, openai.AsyncOpenAI)
        assert type(client.with_options(timeout=7)) is WrappedAsyncClient


def test_arguments_that_are_not_given_stay_away():
    """The client's own "not given" and a list of messages that can be read once are sent as the client sends them."""
    with wrapped(usual) as (client, _, up), client.unit(TREATMENT):
        client.chat.completions.create(
            model="theirs", messages=iter(ASK["messages"]), temperature=openai.omit, stop=openai.NOT_GIVEN
        )
        assert set(up.bodies[0]) == {"model", "messages"}
        assert len(up.bodies[0]["messages"]) == 2


def test_what_cannot_be_wrapped_is_refused_in_a_sentence():
    """Another client, one that is wrapped, a router without a log, endpoints of variants, another experiment."""
    client = openai.OpenAI(api_key="a key")

    def said(call: Any) -> str:
        with pytest.raises(UsageError) as raised:
            call()
        return str(raised.value)

    there = {"model": "b", "endpoint": {"base_url": "http://127.0.0.1:9/v1"}}
    elsewhere = experiment(
        changes=["model", "endpoint"], variants={"control": {"model": "a"}, "treatment": there}
    )
    log = MemoryLog()
    with Router(experiment(), log=log) as router, Router(elsewhere, log=log) as placed:
        assert said(lambda: wrap(object(), router)) == (  # type: ignore[call-overload]
            "wrap takes a client of the openai package, OpenAI or AsyncOpenAI, and this is a object; "
            "for another client call router.assign, and expose where you serve"
        )
        assert said(lambda: wrap(wrap(client, router), router)) == (
            "this client is wrapped already; several experiments on one request are served by the gateway, "
            "with model='experiment/ONE+OTHER'"
        )
        assert said(lambda: wrap(client, Router(experiment()))) == (
            "a wrapped client records what it serves, and this router has no log; "
            "make it with Router(experiment, log=open_log('equipoise.db'))"
        )
        assert said(lambda: wrap(client, placed)) == (
            f"treatment of {elsewhere.identity} has an endpoint of its own, and a wrapped client "
            "asks its own: serve the experiment with the gateway, or call router.assign and choose the client"
        )
        ours: Any = wrap(client, router)
        assert said(lambda: ours.chat.completions.create(**(ASK | {"model": "experiment/other"}))) == (
            "this client serves experiment/demo, and the call names 'experiment/other'; "
            "wrap another client with that experiment's router"
        )
        with pytest.raises(UsageError), ours.unit(""):
            pass
        until(lambda: router._record is not None and router._record.writer.waiting == 0)
        assert log.head() == 0
