"""Whoever is in stays in, by a plain id too: through a pause and a restart, and while the record is away."""

from __future__ import annotations

from attacking import ASK, Process
from gateways import Ahead, definition, gateway, until, upstream

from equipoise.assignment.exposing import Exposed
from equipoise.conduct.move import pause
from equipoise.errors import RecordError
from equipoise.events.log import MemoryLog

UNITS = [f"conversation {n}" for n in range(40)]


class Fickle(MemoryLog):
    """A log that takes nothing in, or tells nothing either, while it is told so."""

    down = away = False

    def append(self, facts):
        if self.down:
            raise RecordError("the disk is full")
        return super().append(facts)

    def wait(self, position, timeout):
        if self.away:
            raise RecordError("the log is away")
        return super().wait(position, timeout)


def arms(at, units=UNITS):
    process = Process(None, at.url)
    return {unit: process.arm(unit) for unit in units}


def reason(at, unit):
    return Process(None, at.url).reason(unit)


def learnt(at, log):
    """Wait until a gateway knows of everybody whom the log holds as exposed."""
    holds = at.gateway.enrolled.holds
    until(lambda: all(holds("bot", record.fact.unit) for record in log.read_since(0, kinds=["exposure"])))


def test_a_pause_and_then_a_restart_move_nobody_who_was_served():
    """The process that knew them is gone; the record knows them, whichever gateway told it."""
    log = MemoryLog()
    with upstream() as up:
        with gateway(definition(up.port), log=log) as one:
            before = arms(one)
            assert set(before.values()) == {"control", "treatment"}
        pause(log, "bot", by="op")
        with gateway(log=log) as two:
            learnt(two, log)
            assert arms(two) == before
            assert reason(two, "somebody new") == "paused"
        # Nobody was told of a second time: the log has each of them once.
        exposed = [record.fact.unit for record in log.read_since(0, kinds=["exposure"])]
        assert sorted(exposed) == sorted(UNITS)


def test_units_that_another_gateway_served_keep_their_variant_while_the_record_is_away():
    """A plain id tells no time: that the record holds it is known from before it went away."""
    log = Fickle()
    with upstream() as up, gateway(definition(up.port), log=log) as one, gateway(log=log) as two:
        before = arms(one)
        learnt(two, log)
        log.down = True
        until(lambda: reason(two, f"new {len(up.bodies)}") == "unrecorded", "the outage")
        assert arms(two) == before
        assert {each.get("model") for each in up.bodies[-len(UNITS) :]} == {"model-a", "model-b"}
        assert reason(two, "somebody else") == "unrecorded"
        log.down = False
        until(lambda: reason(two, f"later {len(up.bodies)}") == "split", "the recovery")


def test_a_conversation_whose_attributes_change_stays_where_it_is():
    """Targeting asks who may enter; a plan that is cancelled half way is not a change of variant."""
    more = {"attributes": {"plan": "header:x-plan"}, "target": {"plan": "pro"}}
    with upstream() as up, gateway(definition(up.port, **more)) as at:
        process = Process(None, at.url)
        first = process.ask("c1", ASK, x_plan="pro").headers["x-equipoise-variant"]
        at.facts("exposure", at_least=1)
        until(lambda: at.gateway.enrolled.holds("bot", "c1"))
        assert process.ask("c1", ASK, x_plan="free").headers["x-equipoise-variant"] == first
        assert process.ask("c2", ASK, x_plan="free").headers["x-equipoise-reason"] == "not_targeted"


def test_whoever_is_in_keeps_the_variant_after_the_lease():
    """The log tells nothing for longer than its lease: `stale` for the new, the own variant for the others."""
    log, clock = Fickle(), Ahead()
    with upstream() as up, gateway(definition(up.port), log=log, clock=clock) as one:
        before = arms(one)
        learnt(one, log)
        # As if it had served many thousands since.
        one.gateway.recorder.exposed = Exposed(1)
        log.away = True

        def stale():
            clock.seconds += 10
            return reason(one, f"new {clock.seconds}") == "stale"

        until(stale, "the lease")
        assert arms(one) == before
