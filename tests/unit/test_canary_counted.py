"""Units of a canary: no part of the A/B estimate, unless the definition says so before launch."""

from __future__ import annotations

import pytest

from equipoise.cli.rollout_text import status_lines
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.ledger import state_of
from equipoise.conduct.look import look
from equipoise.conduct.looking.progress import upcoming
from equipoise.conduct.redirecting import first_exposures
from equipoise.conduct.register import register
from equipoise.conduct.status import status
from equipoise.errors import DataError
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import canary_ended


def experiment(**canary):
    return read_canonical(
        {
            "name": "bot",
            "hypothesis": "It solves more.",
            "unit": "user",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "resolved": {
                    "priority": "primary",
                    "kind": "proportion",
                    "of": "outcome.resolved",
                    "better": "higher",
                    "baseline": 0.6,
                    "mde": 0.05,
                }
            },
            "rollout": {"stages": ["canary", "ab"]} | ({"canary": canary} if canary else {}),
        }
    )


def served(log, one, units, *, happened, good):
    """So many units, every other in each arm; the treatment's are resolved where `good` says so."""
    for n in range(units):
        unit, arm = f"{happened:.0f}-{n}", ("control", "treatment")[n % 2]
        log.append(
            [
                Exposure(
                    experiment=one.name,
                    happened=happened + n / 1000,
                    digest=one.digest,
                    unit=unit,
                    unit_type="user",
                    variant=arm,
                    probability=0.5,
                    reason="assigned",
                ),
                Outcome(
                    experiment=one.name,
                    happened=happened + n / 1000 + 1,
                    unit=unit,
                    name="resolved",
                    value=good if arm == "treatment" else n % 4 == 0,
                ),
            ]
        )


def staged(one):
    """A canary in which the treatment failed everybody, and an A/B test in which it did not."""
    clock = ManualClock(1_000.0)
    log = MemoryLog(clock)
    register(log, one, by="ana", reason="a test", clock=clock)
    enter(log, one.name, "canary", by="ana", reason="a test", clock=clock)
    clock.advance(100.0)
    served(log, one, 40, happened=clock.now(), good=False)
    return log, clock


def entered(log, one, clock):
    clock.advance(1_000.0)
    enter(log, one.name, "ab", by="ana", reason="a test", clock=clock)
    clock.advance(100.0)


def test_who_came_in_during_the_canary_is_no_part_of_the_estimate():
    """Not in the units, nor in the effect, nor on the way to the next look; the read-out says how many they are."""
    one = experiment()
    log, clock = staged(one)
    entered(log, one, clock)
    served(log, one, 60, happened=clock.now(), good=True)
    analysis = look(log, one.name, closing=True, clock=clock)
    assert analysis.findings.measurement.units == {"control": 30, "treatment": 30}
    assert analysis.effect("resolved").treatment == 1.0
    assert [check.says for check in analysis.findings.health if check.name == "canary"] == [
        "40 units came in during the canary and are no part of the estimate"
    ]
    assert not [check for check in analysis.findings.health if check.name == "orphans"]
    found = first_exposures(log, one)
    ended = canary_ended(one, state_of(log, one.name))
    assert (len(found.by_unit), found.counted(ended)) == (100, {"control": 30, "treatment": 30})
    lines = [*status_lines(status(log, one.name, clock=clock))]
    assert lines[1:3] == [
        "exposed: control 30, treatment 30 (2% of the 2,942 planned)",
        "in the canary, and no part of the estimate: control 20, treatment 20",
    ]
    assert upcoming(one, state_of(log, one.name), found, clock.now()) is None


def test_a_definition_may_count_them():
    """Written before launch, and part of the digest."""
    one = experiment(counted=True)
    log, clock = staged(one)
    entered(log, one, clock)
    served(log, one, 60, happened=clock.now(), good=True)
    analysis = look(log, one.name, closing=True, clock=clock)
    assert analysis.findings.measurement.units == {"control": 50, "treatment": 50}
    assert analysis.effect("resolved").treatment == pytest.approx(0.6)
    assert one.digest != experiment().digest
    assert read_canonical(canonical(one)) == one
    assert experiment(counted=False).digest == experiment().digest


def test_during_the_canary_no_look_is_due():
    """Not even the last: health and guardrails are shown, and why nothing else is."""
    one = experiment()
    log, clock = staged(one)
    analysis = look(log, one.name, closing=True, clock=clock)
    assert analysis.findings.measurement.units == {"control": 20, "treatment": 20}
    assert analysis.verdict.word == "keep running"
    assert analysis.verdict.because == (
        "a peek: how far along the experiment is cannot be told (its units are those of the canary, which are no part of "
        "the A/B estimate). Effects are withheld"
    )
    assert state_of(log, one.name).looks == ()


def test_before_anybody_new_came_there_is_nothing_to_read_out():
    """It is said what is waited for."""
    one = experiment()
    log, clock = staged(one)
    entered(log, one, clock)
    with pytest.raises(DataError) as refused:
        look(log, one.name, clock=clock)
    assert str(refused.value) == (
        f"all 40 units of {one.identity} came in during its canary, and those are no part of the A/B estimate: wait for the "
        "first of the stage ab, or declare `rollout: {canary: {counted: true}}` in a new revision"
    )
