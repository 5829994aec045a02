"""Shadow traffic: sampled, within its budget, never shown, told apart, and gone when the doors close."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import httpx2 as httpx
import pytest
from aiohttp import web
from attacking import ASK, Process
from gateways import definition, gateway, until, upstream, usual, whole

from equipoise.conduct.enter import enter
from equipoise.conduct.move import kill, pause
from equipoise.errors import GateError
from equipoise.events.ids import new_id
from equipoise.events.log import MemoryLog


def shadowed(port: int, share: str = "100%", **more):
    """Everybody is served control, and so many are shadowed."""
    rollout = {"stages": ["shadow", "canary", "ab"], "shadow": {"share": share} | more.pop("shadow", {})}
    return definition(port, rollout=rollout, **more)


def asked(up, model: str) -> int:
    return sum(body["model"] == model for body in up.bodies)


def test_a_shadow_is_never_shown_and_is_marked_apart():
    """The reply is control's, the treatment's answer is a `shadow` fact under the same trace, nobody is exposed."""

    async def both(request, body):
        return web.json_response(whole(body["model"], model=body["model"]))

    with upstream(both) as up, gateway(shadowed(up.port)) as at:
        served = Process(None, at.url)
        replies = [served.ask(f"c{n}") for n in range(5)]
        assert {each.json()["choices"][0]["message"]["content"] for each in replies} == {"model-a"}
        assert all("x-equipoise-variant" not in each.headers for each in replies)
        shadows = at.facts("shadow", at_least=5)
        turns = at.facts("turn", at_least=5)
        assert {each.trace for each in shadows} == {each.trace for each in turns}
        assert {(each.variant, each.reason, each.model) for each in shadows} == {
            ("treatment", "shadow", "model-b")
        }
        assert all(each.cost_usd == pytest.approx(18e-6) for each in shadows)
        assert {each.variant for each in turns} == {None}
        assert at.facts("exposure") == []
        assert at.gateway.counts.shadows == 5
        assert at.gateway.counts.turns.total() == 5


def test_the_share_is_kept_and_none_is_asked_for_without():
    """A quarter of 400 turns: between 64 and 140 of them, which misses once in 10,000; none where none is said."""
    with upstream() as up, gateway(shadowed(up.port, "25%"), shadowed(up.port, "0%", name="none")) as at:
        at.gateway._shadows._random.seed(20261121)
        with httpx.Client(timeout=60) as talk:
            for n in range(400):
                head = {"x-conversation-id": f"c{n}"}
                talk.post(f"{at.url}/chat/completions", json=ASK, headers=head)
            for _ in range(20):
                talk.post(f"{at.url}/chat/completions", json=ASK | {"model": "experiment/none"}, headers=head)
        until(lambda: not at.gateway.busy, "the last shadow")
        assert 64 <= asked(up, "model-b") <= 140
        shadows = at.facts("shadow", at_least=asked(up, "model-b"))
        assert len(shadows) == asked(up, "model-b") == at.gateway.counts.shadows
        assert {each.experiment for each in shadows} == {"bot"}


def test_the_budget_ends_it_also_where_nobody_knows_the_cost():
    """Two shadows of 18 micro-dollars are within 20, the third is not; without a price one is one too many."""
    with upstream() as up:
        dear = shadowed(up.port, shadow={"budget_usd_per_day": 20e-6})
        blind = shadowed(
            up.port,
            name="blind",
            shadow={"budget_usd_per_day": 5},
            prices={"model-a": {"input": 1.0, "output": 2.0}},
        )
        with gateway(dear, blind) as at:
            served = Process(None, at.url)
            for n in range(6):
                served.ask(f"c{n}")
                until(lambda: not at.gateway.busy, "the shadow")
            assert asked(up, "model-b") == 2
            assert at.gateway.counts.shadows_over_budget == 4
            for n in range(4):
                served.ask(f"c{n}", ASK | {"model": "experiment/blind"})
                until(lambda: not at.gateway.busy, "the shadow")
            assert asked(up, "model-b") == 3
            *_, last = at.facts("shadow", at_least=3)
            assert (last.experiment, last.cost_usd) == ("blind", None)


@pytest.mark.parametrize("verb", [pause, kill])
def test_it_stops_when_the_doors_close_also_for_those_that_stand_in_line(verb):
    """Shadows that had not begun when an operator said so are not begun."""
    held = threading.Event()

    async def slow(request, body):
        while body["model"] == "model-b" and not held.is_set():  # noqa: ASYNC110 - the event is a thread's
            await asyncio.sleep(0.01)
        return await usual(request, body)

    with upstream(slow) as up, gateway(definition(up.port, rollout={"shadow": {"share": "100%"}, "stages": ["shadow", "canary", "ab"]})) as at:  # fmt: skip
        served = Process(None, at.url)
        for n in range(20):
            served.ask(f"c{n}")
        until(lambda: asked(up, "model-b") == 8, "the eight at once")
        verb(at.log, "bot", by="op")
        until(lambda: not at.gateway.routes.by_name["bot"].shadows, "the operator's word")
        held.set()
        until(lambda: not at.gateway.busy, "the end")
        assert asked(up, "model-b") == 8
        served.ask(new_id())
        until(lambda: not at.gateway.busy, "the end")
        assert asked(up, "model-b") == at.gateway.counts.shadows == 8


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"[]", b"7", b'"x"', b"null", b"{}", b'{"choices": 3}', b'{"choices": [null]}', b'{"choices": [{"message": 5}]}',
        b'{"usage": "all"}', b'{"usage": {"prompt_tokens": "x"}, "choices": []}', b"\xff\xfe", b'{"model": ["m"], "choices": []}',
    ],
)  # fmt: skip
def test_rubbish_for_an_answer_is_an_errored_shadow_and_no_more(reply):
    """Whatever the treatment's endpoint answers, the shadow ends, and the next one is sent."""

    async def rubbish(request, body):
        if body["model"] == "model-b":
            return web.Response(body=reply, content_type="application/json")
        return await usual(request, body)

    with upstream(rubbish) as up, gateway(shadowed(up.port)) as at:
        served = Process(None, at.url)
        for n in range(10):
            assert served.ask(f"c{n}").status_code == 200
        until(lambda: asked(up, "model-b") == 10, "all ten")
        until(lambda: not at.gateway.busy, "the end")
        assert len(at.facts("shadow", at_least=10)) == 10


def test_streams_are_shadowed_whole_and_an_endpoint_that_fails_harms_nobody():
    """A stream's shadow is timed to its first token; 500 and a refused connection are errored shadows."""

    async def moody(request, body):
        if body["model"] == "model-b" and "fail" in str(body["messages"]):
            return web.Response(status=500)
        return await usual(request, body)

    with upstream(moody) as up, gateway(shadowed(up.port)) as at:
        served = Process(None, at.url)
        assert "ships" in served.ask("c1", ASK | {"stream": True}).text
        (shadow,) = at.facts("shadow", at_least=1)
        assert (shadow.error, shadow.output_tokens, shadow.finish_reason) == (False, 3, "stop")
        assert shadow.ttft_s is not None
        failing = ASK | {"messages": [{"role": "user", "content": "fail"}]}
        assert served.ask("c2", failing).status_code == 200
        *_, last = at.facts("shadow", at_least=2)
        assert (last.error, last.status, last.cost_usd) == (True, 500, None)


def test_whom_the_treatment_is_not_for_is_not_shadowed():
    """Forced, not targeted and held out: their answers would say nothing of the treatment."""
    with upstream() as up:
        aimed = shadowed(
            up.port, attributes={"plan": {"type": "text", "from": "header:x-plan"}}, target={"plan": ["pro"]}
        )
        with gateway(aimed, log=MemoryLog()) as at:
            served = Process(None, at.url)
            served.ask("c1", x_plan="free")
            served.ask("c2")
            served.ask("c3", x_plan="pro", x_equipoise_force="bot=control")
            served.ask("c4", x_plan="pro")
            until(lambda: not at.gateway.busy, "the shadow")
            (shadow,) = at.facts("shadow", at_least=1)
            assert shadow.unit == "c4"
            assert asked(up, "model-b") == 1


def test_a_shadow_names_its_turn_where_a_trace_has_several():
    """An agent asks twice within one trace: each shadow belongs to the turn it was made of."""
    with upstream() as up, gateway(shadowed(up.port)) as at:
        served = Process(None, at.url)
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        for n in range(3):
            served.ask(f"c{n}", traceparent=parent)
        shadows, turns = at.facts("shadow", at_least=3), at.facts("turn", at_least=3)
        assert {each.trace for each in (*shadows, *turns)} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
        units = {each.event_id: each.unit for each in turns}
        assert {each.of: each.unit for each in shadows} == units


def test_of_several_treatments_each_is_shadowed():
    """One is drawn for each turn: of 60 each of two has between 12 and 48, which misses once in 100,000."""
    with upstream() as up:
        bot = shadowed(up.port)
        bot["variants"]["other"] = bot["variants"]["treatment"] | {"model": "model-c"}
        with gateway(bot) as at:
            at.gateway._shadows._random.seed(20261121)
            served = Process(None, at.url)
            for n in range(60):
                served.ask(f"c{n}")
            until(lambda: not at.gateway.busy, "the last shadow")
            shadows = at.facts("shadow", at_least=60)
            by_arm = Counter(each.variant for each in shadows)
            assert set(by_arm) == {"treatment", "other"}
            # Nothing was checked, of these as of the turns beside them.
            assert {each.safe for each in [*shadows, *at.facts("turn")]} == {None}
            assert all(12 <= count <= 48 for count in by_arm.values())
            assert (asked(up, "model-b"), asked(up, "model-c")) == (by_arm["treatment"], by_arm["other"])


def test_what_control_failed_or_was_stopped_at_is_shadowed_and_what_was_never_asked_is_not():
    """Beside control's good answers alone a treatment could only be worse; a request that was refused goes to nobody."""

    async def moody(request, body):
        said = str(body["messages"])
        if body["model"] == "model-a" and "fail" in said:
            return web.Response(status=400)
        return web.json_response(whole("Write to jo@example.org." if "stop" in said else "Fine."))

    with upstream(moody) as up, gateway(shadowed(up.port, inline=[{"check": "pii", "on": "both"}])) as at:
        served = Process(None, at.url)

        def ask(unit: str, text: str):
            return served.ask(unit, ASK | {"messages": [{"role": "user", "content": text}]})

        assert ask("c1", "fail").status_code == 400
        ask("c2", "stop")
        ask("c3", "my address is jo@example.org")
        ask("c4", "well")
        turns = {each.unit: each for each in at.facts("turn", at_least=4)}
        until(lambda: not at.gateway.busy, "the last shadow")
        shadows = {each.unit: each for each in at.facts("shadow", at_least=3)}
        assert (turns["c1"].error, turns["c2"].blocked, turns["c3"].blocked) == (True, True, True)
        assert set(shadows) == {"c1", "c2", "c4"}
        assert (shadows["c1"].error, shadows["c2"].safe) == (False, False)
        assert (turns["c4"].safe, shadows["c4"].safe) == (True, True)


def test_what_a_gateway_shadowed_decides_whether_the_canary_may_be_entered():
    """Pairs of a real gateway: a treatment that takes a fifth of a second longer is seen to, and its margin bars the canary."""

    async def slow(request, body):
        if body["model"] == "model-b":
            await asyncio.sleep(0.2)
        # Requests are of different lengths.
        length = 10 + len(body["messages"][0]["content"])
        usage = {"prompt_tokens": length, "completion_tokens": 4, "total_tokens": length + 4}
        return web.json_response(whole(body["model"], model=body["model"], usage=usage))

    metrics = {
        "resolution_rate": {"priority": "primary"},
        "latency_p50": {"priority": "guardrail", "margin": 60.0},
        "cost_per_response": {"priority": "guardrail", "margin": "10%"},
    }
    prices = {"model-a": {"input": 1.0, "output": 2.0}, "model-b": {"input": 2.0, "output": 4.0}}
    with upstream(slow) as up:
        ruled = shadowed(up.port, shadow={"turns": 12}, metrics=metrics)
        dear = shadowed(up.port, name="dear", shadow={"turns": 12}, metrics=metrics, prices=prices)
        with gateway(ruled, dear) as at:
            served = Process(None, at.url)
            for n in range(11):
                served.ask(f"c{n}")
            at.facts("shadow", at_least=11)
            with pytest.raises(GateError) as refused:
                enter(at.log, "bot", "canary", by="op")
            assert "treatment has 11 of the 12 turns in shadow that are asked for" in str(refused.value)
            for n in range(11, 14):
                served.ask(f"c{n}")
            at.facts("shadow", at_least=14)
            done = enter(at.log, "bot", "canary", by="op")
            assert done.stage == "canary"
            (latency,) = (each for each in done.evidence["shadow"]["effects"] if each["name"] == "latency_s")
            assert latency["difference"]["value"] > 0.1
            for n in range(14):
                said = [{"role": "user", "content": "Where is it? " * (1 + n % 3)}]
                served.ask(f"c{n}", ASK | {"model": "experiment/dear", "messages": said})
            at.facts("shadow", at_least=28)
            with pytest.raises(GateError) as refused:
                enter(at.log, "dear", "canary", by="op", reason="never mind")
            assert "in shadow cost_per_response of treatment is worse by more than its margin" in str(
                refused.value
            )
