"""Read-outs of interleaved lists: what is credited, what counts for nobody, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from interleaved import experiment

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Findings
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.status import status
from equipoise.conduct.verify import verify
from equipoise.design.plan import plan
from equipoise.errors import DataError, RecordError
from equipoise.events.facts import Exposure, Fact, Impression, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import Estimate, NotEstimable

DAY = 86_400.0


def metric(kind: str, **more: Any) -> dict[str, Any]:
    return {"priority": "primary", "kind": kind, "of": "outcome.click", "better": "higher"} | more


def shown(of: Experiment, unit: str, query: str, list_: str, *, at: float = 0.0, **more: Any) -> Impression:
    """A list written as whose items stand in it: `CTC-` has items 1 to 4, the last of nobody."""
    teams = [{"C": "control", "T": "treatment", "-": None}[each] for each in list_]
    items = [str(place) for place in range(1, len(list_) + 1)]
    return Impression(experiment=of.name, happened=at, digest=of.digest, unit=unit, unit_type="user", query=query,
                      scheme="team_draft", items=items, teams=teams, **more)  # fmt: skip


def click(
    unit: str, query: str, item: object, *, at: float = 1.0, value: float | bool = True, name: str = "click"
) -> Outcome:
    return Outcome(experiment="search", happened=at, unit=unit, name=name, value=value, query=query, item=str(item))  # fmt: skip


def measured(of: Experiment, facts: Iterable[Fact], clock: float = 100 * DAY) -> Measurement:
    log = MemoryLog(ManualClock(clock))
    log.append(list(facts))
    return measure_log(of, log)


def values(found: Measurement, name: str = "preference") -> tuple[float | None, ...]:
    return tuple(
        None if tally.pairs is None else tally.pairs.mean_x / tally.pairs.mean_y
        for tally in found.tallies[name].values()
    )


def test_a_query_is_won_by_whoever_has_more_of_the_items_clicked() -> None:
    """Of four queries the treatment wins one and loses one; a tie and a query without a click are neither."""
    e = experiment()
    found = measured(e, [
        shown(e, "u1", "q1", "CTCTC"), click("u1", "q1", 2), click("u1", "q1", 4), click("u1", "q1", 1),
        shown(e, "u1", "q2", "TCTC"), click("u1", "q2", 2),
        shown(e, "u2", "q1", "CTCT"), click("u2", "q1", 1), click("u2", "q1", 2),
        shown(e, "u3", "q1", "CTCT"),
    ])  # fmt: skip
    assert values(found) == (0.25, 0.25)
    assert found.lists is not None
    won = found.lists.won["treatment"]
    assert (won.wins, won.losses, won.units_for, won.units_against) == (1.0, 1.0, 0, 0)
    assert (found.lists.shown, found.lists.units) == (4, 3)
    assert found.lists.first == {"control": 3, "treatment": 1}


def test_what_counts_for_nobody_is_told() -> None:
    """A click twice, on a strange item, in a list never shown, of no list; a list again; a filled place."""
    e = experiment(metrics={"clicks": metric("count")})
    found = measured(e, [
        shown(e, "u1", "q1", "CT-", short=["control"]), click("u1", "q1", 2), click("u1", "q1", 2), click("u1", "q1", 3),
        click("u1", "q1", "nokia"), click("u1", "q2", 1), click("stranger", "q1", 1),
        Outcome(experiment="search", happened=1.0, unit="u1", name="click", value=True),
        shown(e, "u1", "q1", "TC"), click("u1", "q1", 1, value=False), click("u1", "q1", 1, name="hover"),
        shown(e, "u2", "q1", "TC"), click("u2", "q1", 1),
    ])  # fmt: skip
    assert values(found, "clicks") == (0.0, 1.0)
    assert found.lists is not None
    assert (found.lists.again, found.lists.strange, found.lists.whole, found.aside.orphans) == (1, 1, 1, 2)
    assert found.lists.short == {"control": 1, "treatment": 0}
    said = {check.name: check.says for check in findings(e, found).health}
    assert said == {
        "lists": "2 lists of control, treatment shown to 2 units; every unit sees every ranker",
        "first places": "the rankers had the same chance of the first place (p = 1)",
        "short rankings": "a ranker had nothing left to give, in so many lists: control 1, treatment 0. From there on a list counts for nobody, and has fewer places to prefer anybody by",
        "lists shown again": "1 list was shown under the name of an earlier one of the unit; the first counts",
        "strange clicks": "1 outcome was of items that are not in the list they name, and counted for nobody",
        "outcomes of no item": "1 outcome was of no item of a list, and counted for nobody",
        "orphans": "2 outcomes or turns belong to units that were never exposed",
    }  # fmt: skip


def findings(of: Experiment, found: Measurement) -> Findings:
    return analyse(of, found, maximum=plan(of).information, closing=True, repeated=True)


def test_values_are_added_up_and_items_are_counted() -> None:
    """Of a mean what was said of an item adds up; of a count an item is one; either is per query."""
    e = experiment(metrics={"bought": metric("mean"), "items": metric("count", priority="secondary")})
    found = measured(e, [
        shown(e, "u1", "q1", "CT"), click("u1", "q1", 1, value=10.0), click("u1", "q1", 1, value=2.5), click("u1", "q1", 2, value=4),
        shown(e, "u2", "q1", "CT"), click("u2", "q1", 2, value=-1.0),
    ])  # fmt: skip
    assert values(found, "bought") == (6.25, 1.5)
    assert values(found, "items") == (0.5, 1.0)


def test_a_window_counts_clicks_of_so_long_and_lists_that_had_so_long() -> None:
    """A later click counts for nothing, and a list that is younger than the window is not counted."""
    e = experiment(metrics={"preference": metric("proportion", window="1h"), "ever": metric("count", priority="secondary")})  # fmt: skip
    found = measured(e, [
        shown(e, "u1", "q1", "CT", at=0.0), click("u1", "q1", 2, at=3600.0),
        shown(e, "u1", "q2", "CT", at=0.0), click("u1", "q2", 2, at=3601.0),
        shown(e, "u2", "q1", "CT", at=4000.0), click("u2", "q1", 2, at=4001.0),
        shown(e, "u3", "q1", "CT", at=7000.0), click("u3", "q1", 1, at=7200.0),
    ])  # fmt: skip
    assert values(found) == (0.0, 0.5)
    assert values(found, "ever") == pytest.approx((0.25, 0.75))
    assert found.lists is not None
    assert found.lists.unripe == {"preference": 2}
    tally = found.tallies["preference"]["treatment"]
    assert (tally.units, tally.immature) == (1, 2)
    said = {check.name: check.says for check in findings(e, found).health}
    assert (
        said["window of preference"]
        == "2 lists are younger than the window of 1 hour, and do not count for it"
    )


def test_probabilistic_and_balanced_lists_are_credited_by_their_record() -> None:
    """Shares make a win a chance; ranks go as deep as the lowest click needs."""
    shares = {"control": [0.8, 0.4], "treatment": [0.2, 0.6]}
    e = experiment(interleaving={"scheme": "probabilistic"}, metrics={"preference": metric("proportion"), "clicks": metric("count", priority="secondary")})  # fmt: skip
    found = measured(e, [shown(e, "u1", "q1", "CT", shares=shares), click("u1", "q1", 1), click("u1", "q1", 2)])  # fmt: skip
    assert values(found) == pytest.approx((0.8 * 0.4, 0.2 * 0.6))
    assert values(found, "clicks") == pytest.approx((1.2, 0.8))
    e = experiment(interleaving={"scheme": "balanced"})
    ranks = {"control": [1, 2, None], "treatment": [3, 1, 2]}
    found = measured(e, [shown(e, "u1", "q1", "CTT", ranks=ranks), click("u1", "q1", 2), click("u1", "q1", 3)])  # fmt: skip
    assert values(found) == (0.0, 1.0)


def test_several_treatments_are_each_compared_with_control() -> None:
    """Multileaving: control wins other queries against each, so it has no one share of queries won."""
    e = experiment(variants={"control": {}, "a": {}, "b": {}}, metrics={"preference": metric("proportion"), "clicks": metric("count", priority="secondary")})  # fmt: skip
    listed = Impression(experiment="search", happened=0.0, digest=e.digest, unit="u1", unit_type="user", query="q", scheme="team_draft", items=["1", "2", "3"], teams=["a", "control", "b"])  # fmt: skip
    found = measured(e, [listed, click("u1", "q", 1), click("u1", "q", 2)])
    assert values(found) == (None, 0.0, 0.0)
    assert values(found, "clicks") == (1.0, 1.0, 0.0)
    assert found.lists is not None
    assert {arm: (each.wins, each.losses) for arm, each in found.lists.won.items()} == {"a": (0.0, 0.0), "b": (0.0, 1.0)}  # fmt: skip


def test_a_page_of_several_treatments_tells_of_each() -> None:
    """Multileaving through a look: alpha is shared, each treatment has its effect, and the report has no false control."""
    e = experiment(
        variants={"control": {}, "a": {}, "b": {}},
        interleaving={"length": 3, "ties": 0.3},
        metrics={"preference": metric("proportion", mde="20pp")},
    )
    draws, facts = Random(9), []
    for number in range(400):
        teams = ["control", "a", "b"]
        draws.shuffle(teams)
        facts.append(Impression(experiment="search", happened=float(number), digest=e.digest, unit=f"u{number}", unit_type="user", query="q", scheme="team_draft", items=["1", "2", "3"], teams=teams))  # fmt: skip
        side = draws.choices(["control", "a", "b"], [3, 3, 6])[0]
        facts.append(click(f"u{number}", "q", teams.index(side) + 1, at=number + 0.5))
    log = MemoryLog(ManualClock(1000.0))
    register(log, e, by="anna", clock=ManualClock(0.0))
    log.append(facts)
    taken = look(log, "search", clock=ManualClock(1000.0))
    assert (taken.verdict.word, taken.verdict.arm) == ("ship", "b")
    assert [(effect.variant, effect.control) for effect in taken.findings.primary] == [("a", None), ("b", None)]  # fmt: skip
    assert [each.name for each in taken.findings.cautions] == ["preference for a", "preference for b"]
    assert "preference for b" in taken.to_html()


def test_the_unit_or_its_cluster_carries_the_variance() -> None:
    """Forty queries of four people of two teams are two clusters' worth, not forty."""
    e = experiment(cluster="team", segments=["team"])
    facts: list[Fact] = []
    for number in range(40):
        unit, team = f"u{number % 4}", "red" if number % 2 else "blue"
        facts.append(shown(e, unit, f"q{number}", "CT", attributes={"team": team}))
        facts.append(click(unit, f"q{number}", 2 if team == "red" or number % 8 else 1))
    found = measured(e, facts)
    assert found.clusters == {"control": 2, "treatment": 2}
    tally = found.tallies["preference"]["treatment"]
    assert tally.units == 4
    assert tally.contrast is not None
    assert (tally.contrast.n, tally.contrast.mean_y) == (2, 20.0)
    (segment,) = found.segments
    assert {value: tallies["treatment"].units for value, tallies in segment.values.items()} == {"blue": 2, "red": 2}  # fmt: skip


def test_units_of_the_burn_in_and_of_unfinished_cycles_do_not_count() -> None:
    """As in any experiment, by the first list that a unit was shown."""
    e = experiment(plan={"burn_in": "1d", "cycle": "7d", "whole_cycles": True})
    facts = [shown(e, f"u{day}", "q", "CT", at=day * DAY) for day in range(12)]
    found = measured(e, [*facts, shown(e, "u0", "q2", "CT", at=3 * DAY)])
    assert (found.enrolment.burn_in, found.enrolment.unfinished, found.enrolment.whole_cycles) == (1, 4, 1)
    assert found.lists is not None
    assert (found.lists.shown, found.lists.units) == (7, 7)


def test_one_clock_that_is_wildly_off_decides_nothing() -> None:
    """A list of 1970 counts from when it was received, and one of next year does not end the others' windows."""
    e = experiment(metrics={"preference": metric("proportion", window="1d")})
    now = 20_000 * DAY
    facts = [shown(e, f"u{n}", "q", "CT", at=now - n) for n in range(9)]
    facts += [shown(e, "old", "q", "CT", at=0.0), shown(e, "new", "q", "CT", at=now + 400 * DAY)]
    found = measured(e, facts, clock=now)
    assert found.first == now - 8
    assert found.lists is not None
    assert found.lists.unripe == {"preference": 11}


def test_lists_of_another_revision_are_not_counted() -> None:
    """An edited definition starts anew; with none of its own there is nothing to read."""
    e, other = experiment(), experiment(hypothesis="Another.")
    found = measured(e, [shown(e, "u1", "q1", "CT"), shown(other, "u2", "q1", "CT")])
    assert found.lists is not None
    assert found.lists.shown == 1
    with pytest.raises(DataError) as nothing:
        measured(e, [shown(other, "u2", "q1", "CT")])
    assert str(nothing.value) == (
        f"the log holds no list of {e.identity} yet. Show lists by a Router with this log"
    )


def test_a_ranker_that_is_not_declared_is_refused() -> None:
    """Somebody else's list under this name says nothing of these rankers."""
    e = experiment()
    listed = Impression(experiment="search", happened=0.0, digest=e.digest, unit="u", unit_type="user", query="q", scheme="team_draft", items=["1"], teams=["other"])  # fmt: skip
    with pytest.raises(DataError) as stranger:
        measured(e, [listed])
    assert str(stranger.value) == (
        "the log has a list with items of 'other', which the definition does not; it has: control, treatment"
    )
    half = shown(e, "u", "q", "CT", shares={"control": [1.0, 0.5]})
    with pytest.raises(RecordError) as lacking:
        measured(e, [half])
    assert str(lacking.value) == (
        "the list of search at position 1 is damaged: not every ranker has its shares or ranks"
    )


def test_a_table_is_refused() -> None:
    """A table has neither lists nor whose their items are."""
    e = experiment()
    with pytest.raises(DataError) as refused:
        measure_table(e, {"unit": ["u"], "variant": ["control"]})
    assert str(refused.value) == (
        f"{e.identity} interleaves, and a table has neither its lists nor whose their items are; register it, show lists by "
        "a Router with the log, and analyse it by its name"
    )


def test_unfair_coins_invalidate_the_experiment() -> None:
    """Where one ranker is first in 1,200 of 1,500 lists, lists were lost, and no effect is shown."""
    e = experiment()
    found = findings(e, measured(e, [shown(e, f"u{n}", "q", "TC" if n % 5 else "CT") for n in range(1_500)]))
    assert not found.healthy
    (check,) = [check for check in found.health if check.name == "first places"]
    assert check.says.startswith("the rankers did not have the same chance of the first place (control 300, treatment 1,200; p = ")  # fmt: skip
    assert found.effects == ()


def play(log: MemoryLog, e: Experiment, users: int, chance: float, seed: int = 1, start: int = 0) -> None:
    """Lists of two items each; the treatment's is clicked with this chance, else control's."""
    draws, facts = Random(seed), []
    for number in range(start, start + users):
        for query in ("q1", "q2"):
            order = "CT" if draws.random() < 0.5 else "TC"
            facts.append(shown(e, f"u{number}", query, order, at=float(number)))
            side = "T" if draws.random() < chance else "C"
            facts.append(click(f"u{number}", query, order.index(side) + 1, at=number + 0.5))
    log.append(facts)


PLANNED: dict[str, Any] = {
    "interleaving": {"length": 2, "ties": 0.1},
    "metrics": {"preference": metric("proportion", mde="20pp")},
    "plan": {"looks": [0.5, 1.0]},
}


def test_a_treatment_that_people_prefer_ships_at_a_registered_look() -> None:
    """Registered, looked at by information, decided by the same five words, recorded, and the same when verified."""
    e = experiment(**PLANNED)
    log = MemoryLog(ManualClock(1000.0))
    registered = register(log, e, by="anna", clock=ManualClock(0.0))
    assert registered.plan.total == 170
    play(log, e, 20, 0.75)
    peek = look(log, "search", clock=ManualClock(1000.0))
    assert (peek.verdict.word, peek.findings.look.due, peek.findings.primary) == ("keep running", False, ())
    play(log, e, 60, 0.75, seed=2, start=20)
    taken = look(log, "search", clock=ManualClock(1000.0))
    assert taken.findings.look.due
    assert taken.verdict.word == "ship"
    assert taken.verdict.arm == "treatment"
    (effect,) = taken.findings.primary
    assert isinstance(effect.estimate, Estimate)
    assert effect.estimate.value == pytest.approx(effect.treatment - effect.control)  # type: ignore[operator]
    assert effect.relative == NotEstimable(
        "what a ranker earns in a shared list depends on the others: there is no change relative to it"
    )
    assert taken.findings.measurement.read is not None
    assert taken.findings.measurement.read.facts == {"impression": 160, "outcome": 160}
    (caution,) = [check for check in taken.findings.cautions if check.name == "preference for treatment"]
    won = taken.findings.measurement.lists.won["treatment"]  # type: ignore[union-attr]
    assert caution.says.startswith(
        f"outcome.click per query: treatment won {won.wins:.0f}, lost {160 - won.wins:.0f} and tied 0 of 160 queries, a "
        f"lean of {(won.wins - 80) / 160:+.4f}; "
        f"of the units that lean, {won.units_for} lean to it and {won.units_against} to control (exact sign test, p = "
    )
    assert taken.findings.declared["preference"] == (
        "primary, share of queries in which more items of the ranker have outcome.click than of the other, higher is better, "
        "to detect 0.2"
    )
    assert taken.findings.declared["lists"] == "team draft of control, treatment, 2 items, shown to each user"
    checked = verify(log, "search")
    assert [each.answer for each in checked.looks] == ["same"]
    play(log, e, 5, 0.75, seed=3, start=80)
    assert [each.answer for each in verify(log, "search").looks] == ["same"]
    # Every form of the report can be made of it.
    assert "preference for treatment" in taken.to_html()
    assert "preference for treatment" in taken.to_markdown()


def test_rankers_that_nobody_prefers_are_held() -> None:
    """The last look without a winner holds."""
    e = experiment(**PLANNED)
    log = MemoryLog(ManualClock(1000.0))
    register(log, e, by="anna", clock=ManualClock(0.0))
    play(log, e, 200, 0.5)
    assert look(log, "search", clock=ManualClock(1000.0)).verdict.word == "hold"


def test_who_came_in_during_the_canary_does_not_count() -> None:
    """During the canary no look is due; after it, only units that came later count."""
    e = experiment(**PLANNED | {"rollout": {"stages": ["canary", "ab"], "canary": {"coverage": "10%"}}})
    clock = ManualClock(0.0)
    log = MemoryLog(clock)
    register(log, e, by="anna", clock=clock)
    play(log, e, 40, 0.75)
    clock.advance(50.0)
    during = look(log, "search", clock=clock)
    assert not during.findings.look.due
    assert during.findings.measurement.aside.in_canary
    enter(log, "search", "ab", by="anna", reason="enough", clock=clock)
    with pytest.raises(DataError) as nobody:
        look(log, "search", clock=clock)
    assert str(nobody.value).startswith(f"all 40 units of {e.identity} came in during its canary")
    play(log, e, 30, 0.75, seed=2, start=60)
    after = look(log, "search", clock=clock)
    assert after.findings.measurement.aside.canary == 40
    assert after.findings.measurement.lists is not None
    assert after.findings.measurement.lists.units == 30


def test_a_status_counts_lists() -> None:
    """The plan is in queries, and so is what was shown."""
    e = experiment(**PLANNED)
    log = MemoryLog(ManualClock(1000.0))
    register(log, e, by="anna", clock=ManualClock(0.0))
    play(log, e, 20, 0.5)
    found = status(log, "search", clock=ManualClock(1000.0))
    assert (found.exposed, found.planned) == ({"interleaved": 40}, 170)
    assert found.next_look is not None
    assert found.next_look.noun == "queries"
    assert found.health == ()


def test_exposures_of_an_earlier_split_say_nothing_of_lists() -> None:
    """An exposure names one arm, and here there is none."""
    e = experiment()
    other = Exposure(experiment="search", happened=0.0, digest=e.digest, unit="u", unit_type="user", variant="control", probability=0.5, reason="split")  # fmt: skip
    found = measured(e, [other, shown(e, "u1", "q1", "CT")])
    assert found.lists is not None
    assert found.lists.units == 1
