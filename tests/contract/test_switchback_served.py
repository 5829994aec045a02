"""A switchback as it is served: the gateway, a router and a wrapped client give a moment the arm of its slot."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from attacking import ASK, Process
from gateways import Ahead, definition, gateway, upstream
from openfeature.evaluation_context import EvaluationContext
from wrapped import ASK as CALL
from wrapped import plain

from equipoise.assignment.switchback import schedule_of
from equipoise.clock import ManualClock
from equipoise.conduct.move import kill, pause
from equipoise.conduct.register import register
from equipoise.errors import UsageError
from equipoise.events.facts import Exposure, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.integrations.openfeature import OpenFeatureProvider
from equipoise.sdk.router import Router
from equipoise.sdk.wrapping import wrap

COST = {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}}
SLOTS = {
    "name": "slots",
    "method": "switchback",
    "unit": {"type": "slot", "every": "30m"},
    "switchback": {"wash_out": "5m"},
    "metrics": COST,
}
BY = {
    "switchback": {"by": "region", "wash_out": "5m"},
    "attributes": {"region": {"from": "header:x-region"}},
}
START = 1_798_761_600.0


def at_start(after: float = 60.0) -> Ahead:
    """The machine's clock, put forward to so many seconds after the start of a slot."""
    clock = Ahead()
    clock.seconds = START + after - time.time()
    return clock


def test_a_gateway_serves_each_moment_the_arm_of_its_slot():
    """Four hours pass; every request has its slot's arm, each slot is exposed once, and turns carry the slot."""
    clock = at_start()
    with upstream() as up, gateway(definition(up.port, **SLOTS), clock=clock) as at:
        experiment = read_canonical(definition(up.port, **SLOTS))
        served, schedule = Process(None, at.url), schedule_of(experiment)
        arms, stale = {}, 0
        for _ in range(8):
            slot = f"{int(clock.now() // 1800) * 1800}"
            for conversation in ("c1", "c2"):
                reply = served.ask(conversation, ASK | {"model": "experiment/slots"})
                while reply.headers["x-equipoise-reason"] == "stale":
                    # Time has jumped: what was heard of the configuration is half an hour old, until it is heard of again.
                    stale += 1
                    reply = served.ask(conversation, ASK | {"model": "experiment/slots"})
                assert reply.headers["x-equipoise-variant"] == schedule.arm(slot)
            arms[slot] = schedule.arm(slot)
            clock.seconds += 1800.0
        assert set(arms.values()) == {"control", "treatment"}
        turns = [turn for turn in at.facts("turn", at_least=16 + stale) if turn.variant is not None]
        exposures = at.facts("exposure", at_least=8)
        assert [(each.unit, each.variant, each.probability, each.unit_type) for each in exposures] == [
            (slot, arm, 0.5, "slot") for slot, arm in arms.items()
        ]
        assert {(each.unit, each.variant) for each in turns} == set(arms.items())


def test_slots_by_region_are_drawn_for_each_and_who_names_none_is_not_enrolled():
    """Each region has a schedule of its own; a request without one is served the default and counted as no_unit."""
    said = SLOTS | BY
    with upstream() as up, gateway(definition(up.port, **said), clock=at_start(700.0)) as at:
        schedule = schedule_of(read_canonical(definition(up.port, **said)))
        served = Process(None, at.url)
        for region in ("eu", "us", "asia", "oz"):
            reply = served.ask("c1", ASK | {"model": "experiment/slots"}, x_region=region)
            assert reply.headers["x-equipoise-variant"] == schedule.arm(f"{START:.0f}/{region}")
        reply = served.ask("c1", ASK | {"model": "experiment/slots"})
        assert reply.headers["x-equipoise-reason"] == "no_unit"
        assert {each.unit for each in at.facts("exposure", at_least=4)} == {
            f"{START:.0f}/{region}" for region in ("eu", "us", "asia", "oz")
        }
        assert served.number("equipoise_no_unit_total") == 1


def test_a_paused_switchback_opens_no_slot_and_a_killed_one_serves_control():
    """The slot that runs goes on when it is paused, the next is the default's; a kill acts at once."""
    log, clock = MemoryLog(), ManualClock(START + 60.0)
    experiment = read_canonical(definition(9, **SLOTS))
    register(log, experiment, by="ann", reason="a test", clock=ManualClock(START - 60.0))
    with Router.follow("slots", log, clock=clock) as router:
        first = router.assign_now()
        assert (first.reason, first.variant) == ("split", schedule_of(experiment).arm(first.unit))
        first.expose(wait=True)
    pause(log, "slots", by="ann", reason="a test", clock=clock)
    with Router.follow("slots", log, clock=clock) as router:
        clock.advance(1800.0)
        assert router.assign_now().reason == "paused"
    kill(log, "slots", by="ann", reason="a test", clock=clock)
    with Router.follow("slots", log, clock=clock) as router:
        later = router.assign_now()
        assert (later.reason, later.config["model"]) == ("redirected", "model-a")


def test_a_wrapped_client_and_a_router_agree_with_the_gateway():
    """The same clock gives the same slot and arm in code; the record has both kinds of fact under the slot's name."""
    log, clock = MemoryLog(), ManualClock(START)
    experiment = read_canonical(definition(9, **SLOTS) | {"variants": {"control": {"model": "model-a"}, "treatment": {"model": "model-b"}}})  # fmt: skip
    schedule = schedule_of(experiment)
    with upstream() as up, Router(experiment, log=log, clock=clock) as router:
        client = wrap(plain(up), router)
        for _ in range(8):
            client.chat.completions.create(**CALL)
            slot = router.assign_now().unit
            assert (
                up.bodies[-1]["model"] == {"control": "model-a", "treatment": "model-b"}[schedule.arm(slot)]
            )
            clock.advance(1800.0)
        client.close()
        router.flush()
    facts = [record.fact for record in log.read_since(0)]
    slots = [f"{START + n * 1800:.0f}" for n in range(8)]
    for kind in (Exposure, Turn):
        assert [(each.unit, each.variant) for each in facts if isinstance(each, kind)] == [
            (slot, schedule.arm(slot)) for slot in slots
        ]


def test_a_router_says_what_it_needs_of_a_moment():
    """Another unit has no slot; slots by region need one; and half of the slots are covered where half is asked."""
    by_user = read_canonical(definition(9))
    with pytest.raises(UsageError) as refused:
        Router(by_user).assign_now()
    assert str(refused.value) == (
        f"{by_user.identity} randomises a conversation and no time slot; name it: `assign(unit)`"
    )
    by_region = read_canonical(definition(9, **(SLOTS | BY)))
    with pytest.raises(UsageError) as refused:
        Router(by_region).assign_now()
    assert str(refused.value) == (
        f"slots of {by_region.identity} are by 'region', and these attributes do not name one; "
        "pass its value, or serve the request unenrolled"
    )
    assert Router(by_region, clock=ManualClock(START)).assign_now({"region": "eu"}).unit == f"{START:.0f}/eu"
    half = Router(read_canonical(definition(9, **SLOTS)), coverage=Fraction(1, 2))
    reasons = [half.assign(f"{START + n * 1800:.0f}").reason for n in range(336)]
    assert {"split", "not_covered"} == set(reasons)
    assert 118 < reasons.count("split") < 218


def test_a_flag_is_that_of_the_slot_whoever_asks():
    """Through OpenFeature no targeting key is needed, and any is let be; a region that is missing is a sentence."""
    clock = ManualClock(START)
    experiment = read_canonical(definition(9, **SLOTS))
    provider = OpenFeatureProvider(Router(experiment, clock=clock))
    arms = []
    for _ in range(12):
        asked = [
            provider.resolve_string_details("slots", "", each)
            for each in (None, EvaluationContext("anybody"))
        ]
        assert len({each.value for each in asked}) == 1
        arms.append(asked[0].value)
        assert arms[-1] == schedule_of(experiment).arm(f"{clock.now():.0f}")
        clock.advance(1800.0)
    assert set(arms) == {"control", "treatment"}
    by_region = OpenFeatureProvider(Router(read_canonical(definition(9, **(SLOTS | BY))), clock=clock))
    assert by_region.resolve_string_details("slots", "mine", EvaluationContext("anybody")).value == "mine"
    there = by_region.resolve_string_details("slots", "", EvaluationContext(None, {"region": "eu"}))
    assert there.value in ("control", "treatment")
