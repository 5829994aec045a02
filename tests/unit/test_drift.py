"""Drift: scores by period and instrument, what comes in, which models answer, golden cases beside live turns."""

from __future__ import annotations

import random

import pytest
from judged import judged, turn

from equipoise.conduct.drift import drift
from equipoise.conduct.register import register
from equipoise.errors import UsageError
from equipoise.events.facts import Decision, Exposure, Gate, Label, Look, Score
from equipoise.events.log import MemoryLog
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.health.drift import Stability, difference_of_estimates, population_stability

DAY = 86_400.0


class World:
    """A registered experiment whose turns are scored by hand."""

    def __init__(self, **more) -> None:
        self.log = MemoryLog()
        self.experiment = judged(**more)
        register(self.log, self.experiment, by="test", reason="a test")
        self.number = 0

    def scored(
        self, day: float, value, *, evaluator="rubric@a", variant="control", probability=1.0, **more
    ) -> None:
        self.number += 1
        known = {
            key: more.pop(key) for key in ("model", "fingerprint", "input_tokens", "unit") if key in more
        }
        fact = turn(
            self.number, self.experiment, happened=day * DAY, variant=variant, sampled=probability, **known
        )
        score = Score(
            experiment="bot", happened=day * DAY + 5, unit=fact.unit, name="policy", value=value, evaluator=evaluator,
            trace=fact.trace, probability=probability, **more,
        )  # fmt: skip
        self.log.append([fact, score])


def test_a_score_is_told_period_by_period_and_another_configuration_is_another_series():
    """With counts, an interval and the values; the last period against those before; what was not scored, and why."""
    world = World()
    for day, value in [(1.1, 4), (1.2, 5), (1.9, 4), (2.5, 5), (3.0, 2), (3.4, 1), (3.5, 2)]:
        world.scored(day, value)
    world.scored(3.6, None, why_not="no JSON")
    world.scored(3.6, 5, evaluator="rubric@b")
    found = drift(world.log, "bot")
    assert [(each.name, each.evaluator, each.variant) for each in found.series] == [
        ("policy", "rubric@a", "control"),
        ("policy", "rubric@b", "control"),
    ]
    first, second = found.series
    assert [(each.starts, each.turns, each.shares) for each in first.periods] == [
        (DAY, 3, {"4": 2, "5": 1}),
        (2 * DAY, 1, {"5": 1}),
        (3 * DAY, 3, {"2": 2, "1": 1}),
    ]
    assert first.periods[0].mean == mean_over_cases([4, 5, 4], ["a", "b", "c"], weights=[1, 1, 1])
    assert first.unscored == {"no JSON": 1}
    assert first.change == difference_of_estimates(
        mean_over_cases([2, 1, 2], "abc", weights=[1] * 3),
        mean_over_cases([4, 5, 4, 5], "abcd", weights=[1] * 4),
    )
    assert first.stability == population_stability({"4": 2, "5": 2}, {"2": 2, "1": 1})
    assert second.change == NotEstimable("there is one period, and nothing before it")


def test_a_turn_that_was_likelier_to_be_drawn_weighs_less():
    """The mean is that of all turns, not of those that were drawn."""
    world = World()
    for number in range(40):
        world.scored(1.0, 5 - number % 2, probability=0.5, unit=f"m{number}")
    for number in range(10):
        world.scored(1.0, 1 + number % 2, probability=0.01, unit=f"d{number}")
    (series,) = drift(world.log, "bot").series
    assert series.periods[0].mean.value == pytest.approx(
        (40 * 2 * 4.5 + 10 * 100 * 1.5) / (40 * 2 + 10 * 100)
    )


def test_scores_of_the_arms_stand_side_by_side_only_once_a_verdict_has_ended_the_experiment():
    """Before, control alone is told: drift is no way to peek."""
    world = World()
    world.scored(1.0, 4)
    world.scored(1.0, 2, variant="treatment")
    before = drift(world.log, "bot")
    assert (before.arms, [each.variant for each in before.series]) == (("control",), ["control"])
    digest = world.experiment.digest
    look = Look(experiment="bot", happened=2 * DAY, digest=digest, number=1, fraction=1.0, boundary=1.96, final=True, evidence={})  # fmt: skip
    world.log.append([look, Decision(experiment="bot", happened=2 * DAY, digest=digest, look=look.event_id, verdict="hold", because="test")])  # fmt: skip
    after = drift(world.log, "bot")
    assert (after.arms, [each.variant for each in after.series]) == (
        ("control", "treatment"),
        ["control", "treatment"],
    )


def test_what_comes_in_is_told_by_segment_and_by_length():
    """Units by the values of declared segments, turns of control by length; the last period against all before."""
    world = World(attributes={"device": {"type": "text", "from": "header:x-device"}}, segments=["device"])
    rng = random.Random(4)
    for number in range(600):
        day = number // 200 + 1
        device = "mobile" if rng.random() < (0.3 if day < 3 else 0.6) else "desktop"
        attributes = {"device": device} if number % 50 else {}
        world.log.append([
            Exposure(experiment="bot", happened=day * DAY, digest=world.experiment.digest, unit=f"u{number}", unit_type="conversation",
                     variant="control", probability=0.5, reason="split", attributes=attributes),
            turn(number, world.experiment, happened=day * DAY, variant="control", sampled=None, input_tokens=100 if number % 3 else 300),
        ])  # fmt: skip
    lengths, devices = drift(world.log, "bot").mix
    assert (lengths.name, lengths.of, len(lengths.periods)) == ("input_tokens", "turns of control", 3)
    assert lengths.periods[0] == (DAY, {"256 to 511": 67, "64 to 127": 133})
    assert lengths.stability.stable
    assert (devices.name, devices.of) == ("segment device", "units")
    assert devices.periods[0][1].keys() == {"mobile", "desktop", "not known"}
    assert not devices.stability.stable


def test_a_model_that_changes_behind_its_name_is_seen():
    """What answered, by variant, and what judged, by instrument: since when, until when, how often."""
    world = World()
    said = {"replied": [{"model": "judge-1", "fingerprint": None}]}
    world.scored(1.0, 4, model="a-2025", fingerprint="fp1", configuration=said)
    world.scored(2.0, 4, model="a-2025", fingerprint="fp1", configuration=said)
    world.scored(3.0, 4, model="a-2026", fingerprint="fp2", configuration=said)
    assert [(each.by, each.model, each.fingerprint, each.first, each.last, each.times) for each in drift(world.log, "bot").models] == [
        ("control", "a-2025", "fp1", DAY, 2 * DAY, 2),
        ("control", "a-2026", "fp2", 3 * DAY, 3 * DAY, 1),
        ("rubric@a", "judge-1", None, DAY + 5, 3 * DAY + 5, 3),
    ]  # fmt: skip


def test_golden_cases_stand_beside_live_turns_where_the_instrument_is_the_same():
    """Another configuration is another instrument, and nothing is said of it."""
    world = World()
    golden = {"value": 4.5, "standard_error": 0.1, "low": 4.3, "high": 4.7, "level": 0.95, "method": "t", "degrees_of_freedom": 99.0}  # fmt: skip
    measures = {
        "control": {
            "policy": {"instrument": "rubric@a", "cases": 100, "mean": golden},
            "tone": {"instrument": "rubric@a", "cases": 100, "mean": {"not_estimable": "no spread"}},
        },
        "treatment": {"policy": {"instrument": "rubric@a", "cases": 100, "mean": golden}},
    }
    gate = Gate(experiment="bot", happened=0.0, digest=world.experiment.digest, decision="pass", evidence={"measures": measures})  # fmt: skip
    world.log.append([gate])
    for value in (4, 3, 5, 4):
        world.scored(1.0, value)
        world.scored(1.0, value, evaluator="rubric@b")
    (gap,) = drift(world.log, "bot").gaps
    live = mean_over_cases([4, 3, 5, 4], "abcd", weights=[1] * 4)
    assert (gap.name, gap.evaluator, gap.variant, gap.cases, gap.turns) == (
        "policy",
        "rubric@a",
        "control",
        100,
        4,
    )
    assert (gap.golden, gap.live) == (Estimate(**golden), live)
    assert gap.difference == difference_of_estimates(live, Estimate(**golden))


def test_a_judge_that_people_disagree_with_has_no_trend():
    """8 labelled turns of which 6 agree are 75 %, below a minimum of 80 %."""
    world = World(online_judge={"audit": {"minimum_agreement": 0.8}})
    for number in range(8):
        world.scored(1.0 + number % 2, number % 2)
        said = number % 2 if number < 6 else 1 - number % 2
        world.log.append([Label(experiment="bot", happened=4 * DAY, name="policy", rater="ana", item=f"{world.number:032x}",
                                value=said, unit=f"u{world.number}", trace=f"{world.number:032x}")])  # fmt: skip
    world.scored(1.0, 3, evaluator="rubric@b")
    first, second = drift(world.log, "bot").series
    assert (first.periods, isinstance(first.change, NotEstimable)) == ((), True)
    assert first.change.reason.startswith(
        "policy by rubric@a agrees with people on 75.0% of 8 labelled turns ("
    )
    assert first.change.reason.endswith("below the minimum of 80%: recalibrate; its trend is withheld")
    assert len(second.periods) == 1


def test_a_period_has_a_length():
    """And a message says which."""
    with pytest.raises(UsageError) as error:
        drift(World().log, "bot", every=1.0)
    assert str(error.value) == "a period of 1 seconds is not possible; accepted: at least 60"


def test_an_index_without_a_change_stays_below_chance_as_often_as_promised():
    """5 % of 2,000 comparisons of 400 with 200 counts in five classes go beyond; six standard errors are ±2.9 points."""
    rng = random.Random(1)
    names = "abcde"

    def draw(n: int) -> dict[str, int]:
        drawn = rng.choices(names, [5, 4, 3, 2, 1], k=n)
        return {name: drawn.count(name) for name in names}

    beyond = sum(not population_stability(draw(400), draw(200)).stable for _ in range(2_000))
    assert 0.021 * 2_000 < beyond < 0.079 * 2_000


@pytest.mark.parametrize(
    ("reference", "latest", "why"),
    [
        ({}, {"a": 1}, "there is nothing to compare with"),
        ({"a": 1}, {}, "there is nothing to compare yet"),
        ({"a": 1}, {"a": 2}, "everything is 'a', before and after"),
    ],
)
def test_what_cannot_change_has_no_index(reference, latest, why):
    """And why."""
    assert population_stability(reference, latest) == NotEstimable(why)


def test_the_index_is_symmetric_and_zero_where_nothing_differs():
    """As a symmetric divergence is."""
    one, other = {"a": 30, "b": 70}, {"a": 60, "b": 40}
    there, back = population_stability(one, other), population_stability(other, one)
    assert there.index == pytest.approx(back.index, rel=1e-12)
    same = population_stability(one, one)
    assert isinstance(same, Stability)
    assert (same.index, same.stable) == (0.0, True)
