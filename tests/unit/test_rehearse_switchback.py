"""A switchback, rehearsed: slots vary as the plan or the past says, arms work on after theirs, and refusals say why."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from switched import BASE, MONDAY, served, switchback
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.past.slots import past_slots_of_means
from equipoise.conduct.register import register
from equipoise.conduct.rehearsal.run import Scenario
from equipoise.conduct.rehearsal.slots import SlotNoise, TimeSlots, assumed_slots, slots_like
from equipoise.conduct.rehearse import rehearse
from equipoise.errors import UsageError
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.stats.estimate import NotEstimable

NOTHING = Scenario("nothing", "A/A", "treatment", {})
PLANNED = Scenario("planned", "cheaper", "treatment", {"cost": -0.05})
REGION = {"attributes": {"region": {"from": "header:x-region"}}}


def hourly(**more: object) -> Experiment:
    return switchback(
        unit={"type": "slot", "every": "1h"}, switchback={"expected_correlation": 0.6} | more, **REGION
    )


def test_slots_vary_as_the_plan_assumes():
    """Mean and spread, what slots of a block have in common, and how alike neighbours are, in each region by itself."""
    noise = {"cost": SlotNoise(2.0, 0.1, 0.6, 0.5)}
    slots = TimeSlots(hourly(by="region"), noise, "slots")
    drawn = slots.draw(3 * 168 * 100, 72, NOTHING, np.random.default_rng(2))
    series = drawn.crowd.values["cost"].reshape(-1, 3)
    assert series.mean() == pytest.approx(2.0, abs=0.01)
    assert series.std() == pytest.approx(0.1, rel=0.04)
    assert np.corrcoef(series[:-1, 0], series[1:, 0])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(series[:, 0], series[:, 1])[0, 1] == pytest.approx(0.0, abs=0.06)
    weeks = series[:, 2].reshape(-1, 2, 168)
    assert np.corrcoef(weeks[:, 0].ravel(), weeks[:, 1].ravel())[0, 1] == pytest.approx(0.6, abs=0.06)
    assert drawn.names[:4] == ("345600/0", "345600/1", "345600/2", "349200/0")


def test_slots_of_one_day_are_alike_once():
    """Where a day's slots are a block, neighbours are as alike as was said, and the day as a whole by its own."""
    noise = {"cost": SlotNoise(2.0, 0.1, 0.3, 0.5)}
    slots = TimeSlots(hourly(balance=["weekday"]), noise, "slots")
    series = (
        slots.draw(24 * 4_000, 24, NOTHING, np.random.default_rng(2)).crowd.values["cost"].reshape(-1, 24)
    )
    assert np.corrcoef(series[:, 3], series[:, 4])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(series[:, 0], series[:, 23])[0, 1] == pytest.approx(0.3, abs=0.06)


def test_the_schedule_is_drawn_anew_and_balanced():
    """Every run has arms of its own, and in each every block has both."""
    slots = assumed_slots(hourly())
    one, other = (slots.draw(336, 24, NOTHING, np.random.default_rng(seed)) for seed in (1, 2))
    assert (one.arms != other.arms).any()
    for drawn in (one, other):
        pairs = Counter(zip(drawn.crowd.clusters.tolist(), drawn.arms.tolist(), strict=True))
        assert len(pairs) == 336
        assert set(pairs.values()) == {1}


@pytest.mark.parametrize(
    ("lasts", "washed", "share"), [(0, 0, 0.0), (900, 0, 0.25), (1800, 900, 1 / 3), (900, 900, 0.0)]
)
def test_an_arm_works_on_after_its_slot(lasts, washed, share):
    """What counts of a slot is the effect of its own arm, and of the one before for as long as the wash-out leaves of it."""
    slots = TimeSlots(
        hourly(wash_out=f"{washed}s"), {"cost": SlotNoise(2.0, 1e-9)}, "slots", carry_over=float(lasts)
    )
    assert slots.carried == pytest.approx(share)
    drawn = slots.draw(500, 24, PLANNED, np.random.default_rng(2))
    before = np.concatenate(([0], drawn.arms[:-1]))
    np.testing.assert_allclose(
        drawn.crowd.values["cost"], 2.0 - 0.05 * ((1 - share) * drawn.arms + share * before), atol=1e-7
    )


def test_what_makes_no_sense_is_refused():
    """Likeness and turns beyond their domains, arms that work on for a slot or more, traffic that is no number of slots."""
    for wrong, said in (
        ({"turns": 0}, "a slot has 1 turn or more, and this is 0"),
        ({"icc": 1.0}, "an intraclass correlation lies from 0 to below 1, and this is 1"),
        (
            {"autocorrelation": -0.2},
            "slots that follow each other are alike from 0 to below 1, and in cost this is -0.2",
        ),
        (
            {"carry_over": 3600.0},
            "an arm is carried over into the next slot, for less than its 3600 s, and this is 3600 s",
        ),
    ):
        with pytest.raises(UsageError) as refused:
            assumed_slots(hourly(), **wrong)
        assert str(refused.value) == said
    for experiment, per_day, said in (
        (hourly(), 48.0, "slots come 24 a day; --units-per-day is the number of slots a day, and this is 48"),
        (hourly(by="region"), 30.0, "slots come 24 a day; --units-per-day is 24 a day for each value of region, and this is 30"),
        (hourly(by="region"), None, "how many values of region have slots of their own is not said; --units-per-day is slots a day times their number"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as refused:
            rehearse(experiment, runs=1, units_per_day=per_day)
        assert str(refused.value) == said
    with pytest.raises(
        UsageError,
        match=r"^a switchback gives arms to time slots, and not to whole clusters; leave --whole-clusters out$",
    ):
        rehearse(hourly(), runs=1, whole_clusters=True)
    count = {
        "priority": "guardrail",
        "kind": "ratio",
        "of": "turn.cost_usd",
        "per": "turn.count",
        "better": "lower",
        "margin": 0.1,
    }
    both = switchback(metrics=BASE["metrics"] | {"per_turn": count})
    found = rehearse(both, runs=2, processes=1, only=["nothing"])
    assert found.left_out == {"per_turn": "how a ratio of slots varies is not drawn"}
    with pytest.raises(
        UsageError,
        match=r"^cache@\w{12} has no metric that is a `mean` over turns, and past slots tell nothing",
    ):
        slots_like(both, {})


def test_a_switchback_is_rehearsed_as_any_design():
    """Scenarios in slots; the planned effect ships more often than nothing does, and what is lost adds up over slots."""
    found = rehearse(switchback(), runs=24, processes=1, seed=2)
    assert [each.scenario.name for each in found.outcomes] == ["nothing", "planned", "opposite"]
    assert (found.counted, found.length[-1]) == ("slots", "slots of that arm (9 of 10 within)")
    assert found.lost_in == "in cost added up over slots"
    nothing, planned, opposite = found.outcomes
    assert planned.ships.value > 0.5 > nothing.ships.value
    assert opposite.ships.value == 0.0
    for each in found.outcomes:
        assert each.exposed.mean == pytest.approx(each.units.mean / 2, rel=0.05)
        assert list(each.beside) == ["carry-over"]
    assert opposite.regret["as designed"][0] == pytest.approx(0.05 * opposite.exposed.mean)
    assert "a bandit instead" not in planned.regret
    assert rehearse(switchback(), runs=24, processes=2, seed=2, only=["planned"]).outcomes == (planned,)


def logged(place: Path) -> None:
    """A month of an A/B test on the same traffic: the same ups and downs every day, slots that differ, and turns in them."""
    before = switchback(name="before", method="ab", switchback=None, unit="user")
    noise, log = random.Random(3), open_log(place)
    shift = {n: noise.gauss(0.0, 0.1) for n in range(112)}
    drawn = switchback(switchback={})
    register(log, before, by="ann", reason="a test", clock=ManualClock(MONDAY))
    facts = served(
        drawn,
        lambda at, *_: (
            1.0 + 0.2 * (at // 21_600 % 4) + shift[int((at - MONDAY) // 21_600)] + noise.gauss(0.0, 0.3)
        ),
        weeks=4,
        turns=9,
    )
    log.append(
        [
            # Two years ago: what is ahead of its receipt does not count.
            replace(fact, experiment="before", digest=before.digest, variant="control", happened=fact.happened - 104 * 604_800)  # type: ignore[call-arg]
            for fact in facts
        ]
    )  # fmt: skip
    log.close()


def test_past_slots_say_how_slots_vary(tmp_path):
    """Their mean, spread and likeness are measured, and so are the turns of a slot and how alike those are."""
    place = tmp_path / "e.db"
    logged(place)
    log = open_log(place)
    experiment = switchback(switchback={})
    past = past_slots_of_means(log, "before", experiment)
    log.close()
    slots = slots_like(experiment, past)
    between = 0.05 + 0.01
    assert slots.noise["cost"].mean == pytest.approx(1.3, abs=0.05)
    assert slots.noise["cost"].spread == pytest.approx((between + 0.09 / 9) ** 0.5, abs=0.03)
    assert slots.noise["cost"].in_block == pytest.approx(0.05 / 0.07, abs=0.2)
    assert slots.turns == 9
    assert slots.icc == pytest.approx(between / (between + 0.09), abs=0.08)
    assert slots.says == "slots that vary as 110 past slots of control in the log did"
    assert slots.notes == ()
    few = replace(past["cost"], next=NotEstimable("2 pairs"), icc=NotEstimable("no turns"))
    known = slots_like(experiment, {"cost": few}, carry_over=600.0)
    assert known.icc is None
    assert (
        known.says
        == "slots that vary as 110 past slots of control in the log did, an arm at work for 10 minutes after its slot"
    )
    assert known.notes == (
        "past slots do not tell how alike slots are that follow each other, and they are drawn as if they were not: 2 pairs",
    )
    none = slots_like(experiment, {"cost": replace(few, spread=NotEstimable("1 slot"))})
    assert none.left_out == {"cost": "1 slot"}


def test_the_command_rehearses_a_switchback(tmp_path):
    """Text, JSON and a page speak of slots; turns and carry-over have their sentences; the past is another experiment's."""
    file, page, place = tmp_path / "cache.yaml", tmp_path / "page.html", tmp_path / "e.db"
    file.write_text(yaml.safe_dump(BASE), encoding="utf-8")
    run = CliRunner()
    words = ["simulate", str(file), "--runs", "6", "--processes", "1"]
    told = run.invoke(
        app,
        [*words, "--cluster-size", "50", "--icc", "0.3", "--autocorrelation", "0.4", "--carry-over", "2h", "--report", str(page)],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    for said in (
        "on slots drawn from the definition's own spreads, alike by 0.4 from one to the next, an arm at work for 2 hours after its slot;",
        "4 slots a day, looked at after 4 slots. In shares of the runs:",
        "Turns one by one: a test that takes a slot's turns for independent would have found a difference in ",
        "of the runs with the planned effect; where nothing is carried over that is 5.0%.",
        "in cost added up over slots (± a standard error):",
    ):
        assert said in told.output
    assert "slots of that arm" in page.read_text(encoding="utf-8")
    logged(place)
    asked = [*words, "--json", "--only", "nothing", "--past", "log", "--log", str(place)]
    found = json.loads(run.invoke(app, [*asked, "--like", "before"]).stdout)
    assert found["population"] == "slots that vary as 110 past slots of control in the log did"
    assert set(found["scenarios"][0]["beside"]) == {"carry-over", "turns one by one"}
    for wrong, said in (
        (asked, "no experiment called 'cache' is registered in this log; it holds: before"),
        ([*asked, "--like", "before", "--arm", "treatment"], "past slots are those of control; leave --arm out"),
        ([*asked, "--like", "before", "--autocorrelation", "0.1"], "past slots are as alike as they were; leave --autocorrelation out"),
        ([*words, "--past", "source"], "past slots are in a log, and in no table; accepted: --past log"),
        ([*words, "--carry-over", "long"], "--carry-over long is no length of time; accepted: 12h, 1d, 2w"),
        ([*words, "--icc", "0.2"], "--icc is about units of one cluster; say how many those are: --cluster-size"),
    ):  # fmt: skip
        refused = run.invoke(app, wrong)
        assert said in str(refused.exception), refused.output
    split = tmp_path / "split.yaml"
    split.write_text(
        yaml.safe_dump(BASE | {"method": "ab", "switchback": None, "unit": "user"}), encoding="utf-8"
    )
    refused = run.invoke(app, ["simulate", str(split), "--autocorrelation", "0.1"])
    assert str(refused.exception) == "--autocorrelation and --carry-over are about time slots; leave them out"
