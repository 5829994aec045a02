"""A router that interleaves: what is shown, what is recorded before it is, and clicks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from interleaved import experiment

from equipoise.assignment.configuration import Folding
from equipoise.clock import ManualClock
from equipoise.conduct.move import pause, remove, roll_back
from equipoise.conduct.register import register
from equipoise.errors import GateError, RecordError, UsageError
from equipoise.events.facts import Fact, Impression, Outcome
from equipoise.events.log import MemoryLog, Receipt
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical
from equipoise.gateway.routing import Routes
from equipoise.sdk.router import Router

A = ["sony", "sennheiser", "audio-technica", "jbl", "anker"]
B = ["bose", "sony", "apple", "anker", "jabra"]
LISTS = {"control": A, "treatment": B}


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(ManualClock(1000.0))


@pytest.fixture
def router(log: MemoryLog) -> Iterator[Router]:
    with Router(experiment(), log=log, clock=ManualClock(1000.0), source="shop") as made:
        yield made


def facts(log: MemoryLog) -> list[Fact]:
    return [record.fact for record in log.read_since(0)]


def test_a_list_is_in_the_record_before_it_is_shown(router: Router, log: MemoryLog) -> None:
    """The list that is returned is the list that is recorded, with whose each item is."""
    shown = router.interleave("user-1", LISTS, query="q1", attributes={"country": "DE"})
    assert shown.counted
    assert shown.reason == "split"
    (fact,) = facts(log)
    assert isinstance(fact, Impression)
    assert (fact.unit, fact.query, fact.scheme) == ("user-1", "q1", "team_draft")
    assert (tuple(fact.items), tuple(fact.teams)) == (shown.items, shown.teams)
    assert (fact.short, fact.shares, fact.ranks) == (["control", "treatment"], None, None)
    assert (fact.attributes, fact.source, fact.happened) == ({"country": "DE"}, "shop", 1000.0)
    assert set(shown.items) == {*A, *B}


def test_the_same_query_gives_the_same_list_everywhere(router: Router) -> None:
    """No state is held: another process draws the same, and another query is drawn anew."""
    with Router(experiment(), log=MemoryLog()) as other:
        lists = [router.interleave("user-1", LISTS, query=f"q{n}").items for n in range(8)]
        again = [other.interleave("user-1", dict(reversed(LISTS.items())), query=f"q{n}").items for n in range(8)]  # fmt: skip
    assert lists == again
    assert len(set(lists)) > 1


def test_a_query_without_a_name_gets_one(router: Router) -> None:
    """Two calls without a name are two lists."""
    assert router.interleave("user-1", LISTS).query != router.interleave("user-1", LISTS).query


def test_clicks_name_the_list_and_the_item(router: Router, log: MemoryLog) -> None:
    """By place or by name, here or in another process, with an outcome of one's own."""
    shown = router.interleave("user-1", LISTS, query="q1")
    shown.click(1)
    shown.click("jbl", "bought", 49.0, wait=True)
    router.click("user-1", "q1", "apple", wait=True)
    told = [fact for fact in facts(log) if isinstance(fact, Outcome)]
    assert [(each.unit, each.query, each.item, each.name, each.value) for each in told] == [
        ("user-1", "q1", shown.items[0], "click", True),
        ("user-1", "q1", "jbl", "bought", 49.0),
        ("user-1", "q1", "apple", "click", True),
    ]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r, s: s.click(0), "the list has the places 1 to 8, and 0 is none of them"),
        (lambda r, s: s.click(9), "the list has the places 1 to 8, and 9 is none of them"),
        (lambda r, s: s.click("nokia"), "'nokia' is not in the list that was shown for 'q1'"),
        (lambda r, s: s.click(True), "an item is named by its text or by its place from 1, and this is True"),
        (lambda r, s: s.click(1, "a b"), "an outcome is named by letters, digits and '_', and this is 'a b'"),
        (lambda r, s: s.click(1, "click", "yes"), "an outcome is true, false or a finite number, and click is 'yes'"),
        (lambda r, s: r.click("", "q", "x"), "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"),
        (lambda r, s: r.click("u", " ", "x"), "a query is named by text of 1 to 1,024 characters, and this is ' '; leave it out, and one is made"),
        (lambda r, s: r.interleave("u", LISTS, query="\ud800"), "a query's name must be valid Unicode, and this one has a lone surrogate"),
        (lambda r, s: r.interleave("u", {"control": A}), "{name} has the rankers control, treatment, and rankings were given for control; give each its own, an empty one where a ranker found nothing"),
        (lambda r, s: r.assign("u"), "{name} interleaves: a unit has no arm in it; call `router.interleave` with every ranker's list"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    router: Router, call: Callable[[Router, Any], Any], says: str
) -> None:
    """Each with a sentence that says what would do, and nothing recorded."""
    shown = router.interleave("user-1", LISTS, query="q1")
    with pytest.raises(UsageError) as refused:
        call(router, shown)
    assert str(refused.value) == says.format(name=router.experiment.identity)


def test_an_experiment_that_splits_does_not_interleave(log: MemoryLog) -> None:
    """An A/B shows each unit one variant."""
    split = experiment(method="ab")
    with Router(split, log=log) as router, pytest.raises(UsageError) as refused:
        router.interleave("u", LISTS)
    assert str(refused.value) == (
        f"{split.identity} does not interleave (`method: ab`): each unit is shown one variant; call `router.assign`"
    )


def test_a_unit_that_is_not_enrolled_gets_controls_list(log: MemoryLog) -> None:
    """The default list, and nothing recorded of it or of clicks on it."""
    with Router(experiment(), log=log, coverage=0) as router:
        shown = router.interleave("user-1", {"control": [*A, "sony"], "treatment": B})
        shown.click(1, wait=True)
        with pytest.raises(UsageError) as refused:
            router.interleave("user-1", {"control": [["sony"]], "treatment": B})  # type: ignore[list-item]
    assert str(refused.value) == (
        "an item is named by text of 1 to 1,024 characters, and control has ['sony']; rank the ids of items, not what they "
        "hold"
    )
    assert (shown.items, shown.teams, shown.reason, shown.counted) == (tuple(A), (None,) * 5, "not_covered", False)  # fmt: skip
    assert facts(log) == []


def test_where_nothing_was_found_nothing_is_recorded(router: Router, log: MemoryLog) -> None:
    """A list without items shows nobody's ranking."""
    shown = router.interleave("user-1", {"control": [], "treatment": []})
    assert (shown.items, shown.counted) == ((), False)
    assert facts(log) == []


class Away(MemoryLog):
    """A log that takes nothing in."""

    def append(self, facts: Any) -> Receipt:
        raise RecordError("the disk is full")


def test_while_the_record_is_away_everybody_gets_controls_list() -> None:
    """Nothing is shown of which the record does not know, and nothing is raised into the search."""
    router = Router(experiment(), log=Away())
    shown = router.interleave("user-1", LISTS)
    assert (shown.items, shown.reason, shown.counted) == (tuple(A), "unrecorded", False)
    with pytest.warns(RuntimeWarning, match="1 facts could not be written and are lost: the disk is full"):
        router.close()


def test_a_follower_hears_of_a_pause_and_of_a_rollback(tmp_path: Path) -> None:
    """Paused, whoever was shown a list goes on and nobody new comes in; rolled back, all get control's list."""
    with closing(SQLiteLog(tmp_path / "log.db")) as log:
        registered = register(log, experiment(), by="anna")
        assert registered.stage == "ab"
        with Router.follow("search", log) as router:
            assert router.interleave("user-1", LISTS).counted
        pause(log, "search", by="anna", reason="odd")
        with Router.follow("search", log) as router:
            # Who is in is read in the background, a few at a time.
            until = time.monotonic() + 30.0
            while not router.interleave("user-1", LISTS).counted:
                assert time.monotonic() < until
                time.sleep(0.01)
            new = router.interleave("user-2", LISTS)
            assert (new.items, new.reason) == (tuple(A), "paused")
        roll_back(log, "search", by="anna", reason="odd")
        with Router.follow("search", log) as router:
            shown = router.interleave("user-1", LISTS)
            assert (shown.items, shown.counted) == (tuple(A), False)


def test_no_ranker_is_given_another_chance_than_the_others(tmp_path: Path) -> None:
    """Arms have no shares: none is re-weighted, and none taken out."""
    of_three = experiment(
        variants={"control": {}, "a": {}, "b": {}},
        unit={"type": "user", "id": "uuid7", "from": "header:x-user"},
    )
    with closing(SQLiteLog(tmp_path / "log.db")) as log:
        register(log, of_three, by="anna")
        with pytest.raises(GateError) as refused:
            remove(log, "search", "a", by="anna", reason="slow")
    assert str(refused.value) == (
        f"{of_three.identity} interleaves, and in an interleaved list every ranker has the same chance; "
        "`roll-back` ends the experiment, and another set of rankers is another revision"
    )


def test_a_gateway_says_that_it_does_not_interleave(tmp_path: Path) -> None:
    """Completions are no rankings: the gateway names the experiment among those it cannot serve, and why."""
    with closing(SQLiteLog(tmp_path / "log.db")) as log:
        register(log, experiment(), by="anna")
        folding = Folding(read_canonical)
        folding.take(record.fact for record in log.read_since(0))
        routes = Routes(folding.configuration(1000.0), ManualClock(1000.0))
    assert routes.by_name == {}
    assert routes.unusable == {
        "search": f"{experiment().identity} interleaves rankings, which is done where they are made, by `Router.interleave`"
    }
