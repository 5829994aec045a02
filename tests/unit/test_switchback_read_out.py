"""The read-out of a switchback: slots in their blocks, what had not settled left out, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
from switched import MONDAY, served, switchback

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Findings
from equipoise.analysis.switchback import carry_overs
from equipoise.assignment.switchback import schedule_of
from equipoise.clock import ManualClock
from equipoise.conduct.analyze import analyze
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.errors import DataError
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments


def logged(facts: Iterable[Fact]) -> MemoryLog:
    log = MemoryLog()
    log.append(list(facts))
    return log


def found(experiment: Any, facts: Iterable[Fact]) -> Findings:
    return analyse(experiment, measure_log(experiment, logged(facts)), maximum=1.0, closing=True)


def said(findings: Findings) -> dict[str, tuple[str, str]]:
    return {each.name: (each.status, each.says) for each in (*findings.health, *findings.cautions)}


def by_time_of_day(effect: float, noise: random.Random) -> Any:
    """What a turn costs: a day's ups and downs far larger than the effect."""
    return lambda at, arm, before: (
        2.0 + (at // 21_600 % 4) + effect * (arm == "treatment") + noise.gauss(0.0, 0.1)
    )


def test_the_effect_is_that_of_slots_drawn_together() -> None:
    """Two weeks of quarter days are 28 pairs: the estimate is the paired t of slot means, and the hours cancel."""
    experiment = switchback()
    facts = list(served(experiment, by_time_of_day(0.3, random.Random(1)), turns=20))
    measured = measure_log(experiment, logged(facts))
    findings = analyse(experiment, measured, maximum=1.0, closing=True)
    (effect,) = findings.primary
    pairs: dict[str, dict[str, float]] = {}
    for slot in measured.slots:
        assert slot.value is not None
        pairs.setdefault(slot.block, {})[slot.variant] = slot.value
    differences = [pair["treatment"] - pair["control"] for pair in pairs.values()]
    twin = Moments.of(differences)
    assert isinstance(effect.estimate, Estimate)
    assert len(differences) == 28
    assert effect.estimate.value == pytest.approx(twin.mean, rel=1e-12)
    assert effect.estimate.standard_error == pytest.approx((twin.m2 / 27 / 28) ** 0.5, rel=1e-9)
    assert effect.estimate.degrees_of_freedom == pytest.approx(27.0)
    assert effect.units == {"control": 28, "treatment": 28}
    washed = sum(isinstance(fact, Turn) and (fact.happened - 2.0 - MONDAY) % 21_600 < 1800 for fact in facts)
    assert washed > 50
    told = said(findings)
    assert told["wash-out"] == ("ok", f"{washed} turns of the first 30 minutes of a slot do not count")
    assert told["schedule"] == ("ok", "all 56 slots had the arm that was drawn for them")
    assert told["blocks"] == (
        "note",
        "28 of 28 blocks have every arm; with fewer than 30 the intervals are corrected for it (CR2 and Student's t), and wide",
    )
    (carried,) = findings.carry_over
    assert isinstance(carried.estimate, Estimate)
    e = carried.estimate
    assert told["carry-over"] == (
        "ok",
        (
            f"none of the slot before is shown after the wash-out of 30 minutes ({e.value:+.3g} in cost [{e.low:.3g}, {e.high:.3g}], "
            f"p = {e.p_value:.2g}); compare the interval with the effect, for what is not shown is not absent"
        ),
    )
    plain = findings.to_dict()["switchback"]
    assert len(plain["slots"]) == 56
    assert plain["slots"][0] == {
        "start": MONDAY, "whose": None, "variant": measured.slots[0].variant, "value": measured.slots[0].value,
    }  # fmt: skip
    assert set(plain["carry_over"]) == {"treatment"}


def test_a_week_more_is_no_loss() -> None:
    """Slots of a third week wait for their others: they are counted and told of, and the effect stays what it was."""
    experiment = switchback()
    facts = list(served(experiment, by_time_of_day(0.3, random.Random(1)), weeks=3, turns=20))
    two = [fact for fact in facts if float(fact.unit) < MONDAY + 14 * 86_400]  # type: ignore[attr-defined]
    later, before = found(experiment, facts), found(experiment, two)
    assert later.primary[0].estimate == before.primary[0].estimate
    assert sum(later.measurement.units.values()) == 84
    assert said(later)["blocks"] == (
        "note",
        (
            "28 of 56 blocks have every arm; 28 slots stand alone and wait for the others of their blocks; with fewer than 30 "
            "the intervals are corrected for it (CR2 and Student's t), and wide"
        ),
    )
    first = found(experiment, [fact for fact in two if float(fact.unit) < MONDAY + 9 * 86_400])  # type: ignore[attr-defined]
    assert said(first)["blocks"][1].startswith(
        "8 of 28 blocks have every arm; most slots stand alone in theirs and are compared across times of day, which is right "
        "and not sharp: go on until the blocks are whole; "
    )
    assert sum(first.primary[0].units.values()) == 36


def test_what_an_arm_leaves_behind_is_found_and_said() -> None:
    """A slot after a treatment's costs 0.2 more, whichever arm it has: the effect stays its own, and the rest is told."""
    experiment = switchback()
    noise = random.Random(2)
    facts = served(
        experiment,
        lambda at, arm, before: (
            2.0 + 0.3 * (arm == "treatment") + 0.2 * (before == "treatment") + noise.gauss(0.0, 0.1)
        ),
        turns=20,
    )
    findings = found(experiment, facts)
    (carried,) = findings.carry_over
    e = carried.estimate
    assert isinstance(e, Estimate)
    assert e.low < 0.2 < e.high
    assert abs(findings.primary[0].estimate.value - 0.3) < 0.15  # type: ignore[union-attr]
    assert said(findings)["carry-over"] == (
        "note",
        (
            f"the slot before is still felt after the wash-out of 30 minutes: where it had treatment, there is {e.value:+.3g} in "
            f"cost [{e.low:.3g}, {e.high:.3g}], p = {e.p_value:.2g}. The effect of going over for good is then not that of a slot; "
            "a new revision needs a longer wash-out, or longer slots"
        ),
    )


def test_a_turn_belongs_to_the_moment_in_which_it_began_and_takes_along_what_was_said_of_it() -> None:
    """A turn that began unsettled does not count, however long it took; nor does what is told of it a day later."""
    experiment = switchback(
        metrics={
            "cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"},
            "resolved": {"kind": "mean", "of": "outcome.resolved", "per_unit": "mean", "better": "higher"},
        }
    )
    facts: list[Fact] = []
    for n in range(56):
        start = MONDAY + n * 21_600
        common: Any = {"experiment": "cache", "unit": f"{start:.0f}"}
        arm = schedule_of(experiment).arm(common["unit"])
        assert arm is not None
        facts.append(Exposure(**common, happened=start + 1.0, digest=experiment.digest, unit_type="slot", variant=arm, probability=0.5, reason="split"))  # fmt: skip
        turn: Any = common | {"variant": arm, "reason": "split", "digest": experiment.digest}
        # Began after 29 minutes, ended after 31; began after 31 minutes; ended in the next slot.
        facts.append(
            Turn(**turn, happened=start + 1860.0, latency_s=120.0, cost_usd=100.0, trace=f"early-{n}")
        )
        facts.append(Turn(**turn, happened=start + 1890.0, latency_s=30.0, cost_usd=1.0, trace=f"right-{n}"))
        facts.append(
            Turn(**turn, happened=start + 21_700.0, latency_s=300.0, cost_usd=3.0, trace=f"late-{n}")
        )
        for name, value in (("early", False), ("right", True)):
            facts.append(
                Outcome(
                    **common, happened=start + 86_400.0, name="resolved", value=value, trace=f"{name}-{n}"
                )
            )
        facts.append(Outcome(**common, happened=start + 60.0, name="resolved", value=False))
        facts.append(Outcome(**common, happened=start + 7200.0, name="resolved", value=True))
    measured = measure_log(experiment, logged(facts))
    assert measured.aside.washed_out == 56
    assert {slot.value for slot in measured.slots} == {2.0}
    for arm in ("control", "treatment"):
        moments = measured.tallies["resolved"][arm].moments
        assert moments is not None
        assert (moments.n, moments.mean) == (28, 1.0)


def test_slots_by_region_have_blocks_and_a_slot_before_of_their_own() -> None:
    """Three regions switch by themselves: three times as many pairs, and each region's slot before is its own."""
    experiment = switchback(
        switchback={"by": "region", "begins": "2026-12-28", "wash_out": "30m"},
        attributes={"region": {"from": "header:x-region"}},
    )
    facts = list(
        served(experiment, by_time_of_day(0.3, random.Random(3)), turns=6, whose=("eu", "us", "asia/1"))
    )
    findings = found(experiment, facts)
    assert said(findings)["blocks"] == ("ok", "84 of 84 blocks have every arm")
    assert {slot.whose for slot in findings.measurement.slots} == {"eu", "us", "asia/1"}
    assert findings.primary[0].estimate.degrees_of_freedom == pytest.approx(83.0)  # type: ignore[union-attr]
    assert findings.primary[0].relative.reason == (  # type: ignore[union-attr]
        "of arms that share their blocks a relative change is not estimated"
    )


def test_slots_that_were_drawn_by_themselves_are_compared_as_they_are() -> None:
    """Without blocks each slot is an independent unit, and the test is Welch's over slot means."""
    experiment = switchback(switchback={"balance": [], "wash_out": "30m"})
    findings = found(experiment, served(experiment, by_time_of_day(0.3, random.Random(4)), turns=6))
    arms: dict[str, list[float]] = {"control": [], "treatment": []}
    for slot in findings.measurement.slots:
        assert slot.value is not None
        arms[slot.variant].append(slot.value)
    twin = difference_of_means(Moments.of(arms["control"]), Moments.of(arms["treatment"]))
    assert isinstance(twin, Estimate)
    estimate = findings.primary[0].estimate
    assert isinstance(estimate, Estimate)
    assert estimate.value == pytest.approx(twin.value)
    assert estimate.standard_error == pytest.approx(twin.standard_error)
    assert "blocks" not in said(findings)


def in_warehouse(rows: pa.Table) -> Any:
    """The same rows as a table of an engine that Ibis speaks to."""
    return ibis.duckdb.connect().create_table("turns", rows)


# Ibis calls DuckDB as it was before its latest version.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("given", [lambda rows: rows, in_warehouse], ids=["frame", "warehouse"])
def test_a_table_of_slots_is_read_as_the_log_is(given: Any) -> None:
    """The same turns as rows with a time give the same effect, the wash-out left out; and say what they lack."""
    experiment = switchback()
    facts = list(served(experiment, by_time_of_day(0.3, random.Random(5)), turns=10))
    turns = [fact for fact in facts if isinstance(fact, Turn)]
    rows = {
        "unit": [turn.unit for turn in turns],
        "variant": [turn.variant for turn in turns],
        "time": [turn.happened - 2.0 for turn in turns],
        "cost_usd": [turn.cost_usd for turn in turns],
    }
    by_log = found(experiment, facts)
    by_table = analyze(experiment, given(pa.table(rows))).findings
    one, other = by_table.primary[0].estimate, by_log.primary[0].estimate
    assert isinstance(one, Estimate)
    assert isinstance(other, Estimate)
    assert [one.value, one.low, one.high] == pytest.approx([other.value, other.low, other.high], rel=1e-9)
    assert {name: each for name, each in said(by_table).items() if name in ("schedule", "blocks")} == {
        name: each for name, each in said(by_log).items() if name in ("schedule", "blocks")
    }
    assert [each.estimate for each in by_table.carry_over] != []
    assert by_table.measurement.aside.washed_out == by_log.measurement.aside.washed_out
    assert said(by_table)["wash-out"][1].endswith("rows of the first 30 minutes of a slot do not count")
    with pytest.raises(DataError) as refused:
        measure_table(
            experiment, given(pa.table({name: rows[name] for name in ("unit", "variant", "cost_usd")}))
        )
    assert str(refused.value) == (
        f"{experiment.identity} leaves out the first 1800 s of each slot, and the table has no times. "
        "Name their column under `source.time`, or declare no `wash_out`"
    )
    for strange in ("Monday", f"{rows['unit'][0]} or so"):
        with pytest.raises(DataError) as refused:
            measure_table(experiment, given(pa.table(rows | {"unit": [strange, *rows["unit"][1:]]})))
        assert str(refused.value) == (
            f"the units of {experiment.identity} are its slots, and one is none: a slot is named by the second it begins, such "
            f"as 1767225600 or 1767225600/eu, and this is {strange!r}"
        )


def test_a_schedule_that_was_not_followed_invalidates() -> None:
    """Somebody who serves one arm by day and another by night has drawn nothing."""
    experiment = switchback()
    turned = []
    for fact in served(experiment, by_time_of_day(0.3, random.Random(6)), turns=4):
        day = float(fact.unit) % 86_400 < 43_200  # type: ignore[attr-defined]
        if isinstance(fact, Exposure):
            turned.append(replace(fact, variant="treatment" if day else "control"))
    turned += [
        fact
        for fact in served(experiment, by_time_of_day(0.3, random.Random(6)), turns=4)
        if isinstance(fact, Turn)
    ]  # type: ignore[misc]
    findings = found(experiment, turned)
    status, says = said(findings)["schedule"]
    assert status == "invalid"
    assert says.endswith(
        "had another arm than the one that was drawn for them: whoever served them did not follow this schedule, and chance "
        "does not say what made them differ"
    )
    assert not findings.effects


def test_what_a_slot_leaves_behind_is_asked_of_no_other_method() -> None:
    """Units that are no slots have none."""
    plain = read_canonical({
        "name": "plain", "hypothesis": "h", "unit": "user", "changes": ["model"],
        "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
        "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}},
    })  # fmt: skip
    rows = pa.table(
        {"unit": list("abcd"), "variant": ["control", "treatment"] * 2, "cost_usd": [1.0, 2.0, 3.0, 4.0]}
    )
    measured = measure_table(plain, rows)
    assert carry_overs(plain, measured) == ()
    assert "switchback" not in analyze(plain, rows).findings.to_dict()


def test_a_look_is_recorded_and_comes_out_the_same_again(tmp_path: Path) -> None:
    """Registered, served, looked at and verified: schedule, blocks and carry-over are computed again, to the letter."""
    experiment, log = switchback(), open_log(tmp_path / "e.db")
    # Long enough ago that nothing is ahead of its receipt, and a whole number of blocks.
    since = MONDAY - 104 * 604_800
    register(log, experiment, by="ann", reason="a test", clock=ManualClock(since))
    log.append(list(served(experiment, by_time_of_day(0.3, random.Random(8)), turns=6, since=since)))
    seen = look(log, "cache", closing=True)
    assert seen.verdict.word == "hold"
    assert len(seen.to_dict()["switchback"]["slots"]) == 56
    (checked,) = verify(log, "cache").looks
    assert (checked.answer, checked.verdict) == ("same", "hold")
    log.close()
