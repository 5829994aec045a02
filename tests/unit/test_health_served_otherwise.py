"""Turns that do not count, were lost, or count with a mark stand beside the health of an experiment."""

from __future__ import annotations

from equipoise.analysis.health import check_health
from equipoise.events.facts import Exposure, Loss, Shadow, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log

DEFINITION = {
    "name": "bot",
    "hypothesis": "Nothing is lost without a word.",
    "unit": "user",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"wait": {"priority": "primary", "kind": "mean", "of": "turn.latency_s", "better": "lower"}},
}


def test_what_the_gateway_says_of_a_turn_decides_where_it_counts():
    """Unenrolled and forced turns count nowhere, shadows are not read, a cancelled turn has no latency."""
    experiment = read_canonical(DEFINITION)
    log = MemoryLog()
    base = {"experiment": "bot", "happened": 11.0}
    facts: list = [
        Exposure(experiment="bot", happened=10.0, digest=experiment.digest, unit=unit, unit_type="user",
                 variant=arm, probability=0.5, reason="split")
        for unit, arm in (("u", "control"), ("v", "treatment"))
    ]  # fmt: skip
    facts += [
        Turn(**base, unit="u", variant="control", reason="split", latency_s=1.0),
        Turn(**base, unit="v", variant="treatment", reason="split", latency_s=2.0, fallback=True),
        Turn(**base, unit="v", variant="treatment", reason="split", latency_s=0.1, cancelled=True),
        Turn(**base, unit="v", variant="treatment", reason="redirected", latency_s=2.0, redirected=True),
        # Exposed, and yet a tester's choice this time.
        Turn(**base, unit="u", variant="treatment", reason="forced", latency_s=99.0),
        Turn(**base, unit="u", reason="stale", latency_s=99.0),
        Turn(**base, reason="no_unit", latency_s=99.0),
        Shadow(**base, unit="u", variant="treatment", reason="shadow", latency_s=99.0),
        Loss(experiment="bot", happened=12.0, since=11.0, facts={"turn": 7, "exposure": 2}),
        Loss(experiment="bot", happened=13.0, since=12.5, facts={"turn": 1}),
    ]
    log.append(facts)
    # The same id for somebody else's turn: the first counts, and the other is told of, however often it comes.
    other = Turn(
        **base, unit="w", variant="treatment", reason="split", latency_s=50.0, event_id=facts[2].event_id
    )
    assert [log.append([other]).conflicts for _ in range(2)] == [1, 0]
    measured = measure_log(experiment, log)
    assert measured.aside.unenrolled == {"forced": 1, "stale": 1, "no_unit": 1}
    assert measured.aside.lost == {"turn": 8, "exposure": 2}
    assert measured.aside.marked == {"fallback": 1, "cancelled": 1, "redirected": 1}
    assert measured.aside.orphans == 0
    means = {arm: tally.moments.mean for arm, tally in measured.tallies["wait"].items()}
    assert means == {"control": 1.0, "treatment": 2.0}
    said = {check.name: check for check in check_health(experiment, measured, repeated=True)}
    assert said["recording loss"].status == "note"
    assert "exposure 2, turn 8 could not be kept" in said["recording loss"].says
    assert said["conflicting events"].says == (
        "1 event came under the id of another one and does not count, the first does: a source makes ids that are not its own"
    )
    assert said["unenrolled"].says == "turns outside the experiment: forced 1, no unit 1, stale 1"
    assert said["marked turns"].says == (
        "cancelled 1, fallback 1, redirected 1; they count in the arm of their unit (intention to treat), cancelled "
        "ones without their latency"
    )
