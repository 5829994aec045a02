"""Who takes part: conditions on attributes, holdouts, layers, and testers who are forced."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from demo import DEMO

from equipoise.conduct.move import roll_back
from equipoise.conduct.register import register
from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Decision, Registration
from equipoise.events.log import MemoryLog, StaleHeadError
from equipoise.experiment.audience import Condition, parse_conditions
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

BASE: dict[str, Any] = DEMO | {
    "attributes": {
        "country": {"type": "text"},
        "age": {"type": "number"},
        "beta": {"type": "boolean"},
    },
}
UNITS = [f"conversation-{index}" for index in range(4_000)]


class Country(StrEnum):
    GERMANY = "DE"


def experiment(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


HOLDS: list[tuple[Any, list[Any], list[Any]]] = [
    # condition, values that fulfil it, values that do not
    ("DE", ["DE", Country.GERMANY], ["de", "DE ", "", None, b"DE", ["DE"], 1]),
    (["DE", "FR"], ["DE", "FR"], ["IT", None, ["DE", "FR"], {"DE"}]),
    ({"not_in": ["DE"]}, ["FR", ""], ["DE", Country.GERMANY, None, 3, True]),
    (1, [1, 1.0, np.float64(1.0)], [True, "1", 2, None, float("nan")]),
    ([0, 1], [0, 1], [True, False, "0"]),
    (True, [True], [1, 1.0, "true", "True", None, False]),
    ({"not_in": [True]}, [False], [True, 1, 0, "true", None]),
    ({"not_in": [1, "x"]}, [2, "y"], [1, 1.0, "x", True, None]),
    ({"at_least": 18}, [18, 18.0, 10**30], [17.99, "18", True, None, float("nan")]),
    ({"above": 18, "at_most": 65}, [18.5, 65], [18, 65.5, None]),
    ({"below": 0}, [-1], [0, False, None, float("nan")]),
    ({"starts_with": "EU-"}, ["EU-1", "EU-"], ["eu-1", "", None, 3]),
]


@pytest.mark.parametrize("said, fulfil, fail", HOLDS, ids=lambda value: str(value)[:30])
def test_conditions_are_typed(said: Any, fulfil: list[Any], fail: list[Any]) -> None:
    """True is not 1 and "3" is not 3; what is absent or of another type fulfils nothing, not even `not_in`."""
    conditions = parse_conditions({"a": said})
    for value in fulfil:
        assert all(each.holds({"a": value}) for each in conditions), value
    for value in fail:
        assert not all(each.holds({"a": value}) for each in conditions), value
    assert not any(each.holds({}) for each in conditions)


@pytest.mark.parametrize(
    "target, attribute, problem",
    [
        ({"a": {}}, "a", "no test"),
        ({"a": {"is": 1}}, "a", "the test 'is'"),
        ({"a": []}, "a", "[] for 'in'"),
        ({"a": None}, "a", "None for 'in'"),
        ({"a": [["x"]]}, "a", "[['x']] for 'in'"),
        ({"a": {"at_least": "18"}}, "a", "'18' for 'at_least'"),
        ({"a": {"below": True}}, "a", "True for 'below'"),
        ({"a": {"starts_with": 3}}, "a", "3 for 'starts_with'"),
    ],
)
def test_what_is_no_condition_is_refused(target: dict[str, Any], attribute: str, problem: str) -> None:
    """The error names the attribute and what was wrong."""
    with pytest.raises(ValueError) as refused:
        parse_conditions(target)
    assert refused.value.args == (attribute, problem)


def test_the_order_of_keys_means_nothing() -> None:
    """Two ways to write the same conditions are the same conditions."""
    one = parse_conditions({"b": {"below": 2, "above": 1}, "a": "x"})
    assert one == parse_conditions({"a": ["x"], "b": {"above": 1, "below": 2}})
    assert one[0] == Condition("a", "in", ("x",))


def test_only_the_target_takes_part() -> None:
    """A unit that fulfils every condition is split as everybody would be; any other is served the default."""
    targeted = Router(experiment(target={"country": ["DE", "FR"], "age": {"at_least": 18}}))
    everybody = Router(experiment())
    for unit in UNITS[:50]:
        inside = targeted.assign(unit, {"country": "DE", "age": 30})
        assert (inside.variant, inside.reason) == (everybody.assign(unit).variant, "split")
        for attributes in ({}, {"country": "DE"}, {"country": "IT", "age": 30}, {"country": "DE", "age": 3}):
            outside = targeted.assign(unit, attributes)
            assert (outside.variant, outside.reason, outside.enrolled) == (None, "not_targeted", False)
            assert outside.config["model"] == "a"


def held_out(holdouts: dict[str, str], name: str = "demo") -> set[str]:
    router = Router(experiment(name=name, holdouts=holdouts))
    return {unit for unit in UNITS if router.assign(unit).reason == "held_out"}


def test_a_holdout_is_the_same_units_for_every_experiment() -> None:
    """By its name alone; another name is another draw, a larger share contains the smaller, and either is enough."""
    everywhere = held_out({"all": "10%"})
    # Six standard errors of 4,000 draws at 10 %.
    assert abs(len(everywhere) - 400) < 6 * (4_000 * 0.1 * 0.9) ** 0.5
    assert held_out({"all": "10%"}, "other") == everywhere
    assert held_out({"all": "20%"}) > everywhere
    search = held_out({"search": "10%"})
    assert abs(len(search & everywhere) - 40) < 6 * 40**0.5
    assert held_out({"all": "10%", "search": "10%"}) == everywhere | search
    assert held_out({"all": "0%"}) == set()
    assert held_out({"all": "100%"}) == set(UNITS)


def inside(layer: Any, name: str = "demo") -> set[str]:
    router = Router(experiment(name=name, layer=layer))
    answers = {unit: router.assign(unit).reason for unit in UNITS}
    assert set(answers.values()) <= {"split", "other_layer"}
    return {unit for unit, reason in answers.items() if reason == "split"}


def test_no_unit_is_in_two_ranges_of_a_layer() -> None:
    """Disjoint ranges share nobody and together leave nobody out; another layer is another draw."""
    thirds = [
        inside({"name": "bots", "range": ends}, f"experiment-{index}")
        for index, ends in enumerate([["0", "1/3"], ["1/3", "2/3"], ["2/3", "1"]])
    ]
    assert sum(map(len, thirds)) == len(UNITS)
    assert set.union(*thirds) == set(UNITS)
    for third in thirds:
        assert abs(len(third) - len(UNITS) / 3) < 6 * (len(UNITS) * 2 / 9) ** 0.5
    other = inside({"name": "search", "range": ["0", "1/3"]})
    assert abs(len(other & thirds[0]) - len(UNITS) / 9) < 6 * (len(UNITS) / 9) ** 0.5
    assert inside({"name": "bots"}) == inside("bots") == set(UNITS)


def test_a_layer_says_nothing_about_the_variant() -> None:
    """Whoever is in a range gets the variant that they would get without it."""
    everybody = Router(experiment())
    partly = Router(experiment(layer={"name": "bots", "range": ["0", "1/3"]}))
    for unit in inside({"name": "bots", "range": ["0", "1/3"]}):
        assert partly.assign(unit).variant == everybody.assign(unit).variant


def test_a_place_in_a_layer_is_held_by_one() -> None:
    """Registering refuses a range that a running experiment has part of; it is free when that one is over."""
    log = MemoryLog()
    first = experiment(name="first", layer={"name": "bots", "range": ["0", "1/2"]})
    register(log, first, by="ann")
    clashing = experiment(layer={"name": "bots", "range": ["1/4", "3/4"]})
    head = log.head()
    with pytest.raises(RecordError) as refused:
        register(log, clashing, by="ann")
    assert str(refused.value) == (
        "demo and first are in the layer 'bots' and would get the same units. Give each a range of it, such as "
        "`layer: {name: bots, range: [0, 1/2]}`, or finish first first"
    )
    assert log.head() == head
    register(log, experiment(name="second", layer={"name": "bots", "range": ["1/2", "1"]}), by="ann")
    register(log, experiment(name="third", layer={"name": "search"}), by="ann")
    register(log, experiment(name="first", hypothesis="Better said.", layer={"name": "bots", "range": ["0", "1/2"]}), by="ann")  # fmt: skip
    roll_back(log, "first", by="ann", reason="slow")
    with pytest.raises(RecordError, match="demo and second"):
        register(log, clashing, by="ann")
    log.append([Decision(experiment="second", happened=2.0, digest=second_digest(log), look="l", verdict="hold", because="")])  # fmt: skip
    assert register(log, clashing, by="ann").stage == "ab"


def second_digest(log: MemoryLog) -> str:
    found = [each.fact for each in log.read_since(experiment="second", kinds=["registration"])]
    assert isinstance(found[-1], Registration)
    return found[-1].digest


class Meddled(MemoryLog):
    """A log in which a neighbour registers between the look at the layer and the decision."""

    def append_if(self, *args: Any, **kwargs: Any) -> Any:
        neighbour = experiment(name="neighbour", layer="bots")
        super().append([Registration(experiment="neighbour", happened=1.0, digest=neighbour.digest, definition={}, plan={}, by="bob")])  # fmt: skip
        return super().append_if(*args, **kwargs)


def test_of_two_that_want_the_same_place_one_gets_it() -> None:
    """A neighbour that registers at the same moment is seen; without a layer it does not matter."""
    with pytest.raises(StaleHeadError):
        register(Meddled(), experiment(layer="bots"), by="ann")
    assert register(Meddled(), experiment(), by="ann").stage == "ab"


def test_a_tester_is_served_and_never_counted() -> None:
    """A forced variant comes before every question, and nothing of it is recorded."""
    log = MemoryLog()
    closed = experiment(
        target={"country": "DE"}, holdouts={"all": "100%"}, layer={"name": "bots", "range": ["0", "1/100"]}
    )
    with Router(closed, log=log, coverage=0, forced={"tester": "treatment", "other": "control"}) as router:
        for unit, variant, model in (("tester", "treatment", "b"), ("other", "control", "a")):
            assigned = router.assign(unit)
            assert (assigned.variant, assigned.reason) == (variant, "forced")
            assert (assigned.config["model"], assigned.probability) == (model, None)
            assert not assigned.enrolled
            assert assigned.expose(wait=True) is False
            assigned.track("resolved", wait=True)
            assigned.turn(latency_s=1.0, wait=True)
        assert router.assign("Tester").reason == "held_out"
    assert log.head() == 0


def test_a_tester_cannot_be_forced_to_what_is_not_there() -> None:
    """A variant of another name is refused when the router is made."""
    demo = experiment()
    with pytest.raises(UsageError) as refused:
        Router(demo, forced={"tester": "treatmnt"})
    assert str(refused.value) == f"{demo.identity} has no variant 'treatmnt'; it has control, treatment"


def test_what_is_asked_first_is_what_is_said() -> None:
    """Forced, holdout, target, layer, coverage: of several reasons the first one is given."""
    questions: list[tuple[str, dict[str, Any]]] = [
        ("held_out", {"holdouts": {"all": "100%"}}),
        ("not_targeted", {"target": {"country": "DE"}}),
        ("other_layer", {"layer": {"name": "bots", "range": ["0", "1/1000000000000000000"]}}),
        ("not_covered", {"rollout": {"ab": {"coverage": 0}}}),
    ]
    for first in range(len(questions)):
        more: dict[str, Any] = {}
        for _, keys in questions[first:]:
            more |= keys
        assert Router(experiment(**more)).assign("u").reason == questions[first][0]
    assert Fraction(1, 2) == experiment().allocation["control"]
