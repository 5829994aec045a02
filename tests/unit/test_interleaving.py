"""Interleaved lists: odd rankings, and who earns what is clicked."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from equipoise.assignment.interleaving import HashedDraws, Interleaved, interleave
from equipoise.errors import UsageError
from equipoise.experiment.interleaving import SCHEMES, Interleaving, Scheme
from equipoise.stats.interleaving.credit import credit, winning_chances


def made(scheme: Scheme, rankings: dict[str, Any], seed: int = 1, length: int = 10) -> Interleaved:
    return interleave(rankings, Random(seed), Interleaving(scheme=scheme, length=length))


every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


@every_scheme
def test_a_list_shows_each_item_once_and_no_more_than_there_are(scheme: Scheme) -> None:
    """Items that a ranking has twice, or that both have, are shown once; the list ends with the items."""
    for seed in range(20):
        found = made(scheme, {"a": ["x", "x", "y", "x"], "b": ["y", "z", "z"]}, seed)
        assert sorted(found.items) == ["x", "y", "z"]
        assert len(found.teams) == 3


@every_scheme
def test_where_a_ranker_has_nothing_to_give_nobody_earns_anything(scheme: Scheme) -> None:
    """The list is filled up from the other ranking, and counts for nobody."""
    found = made(scheme, {"a": [], "b": ["x", "y"]})
    assert found.items == ("x", "y")
    assert found.teams == (None, None)
    assert found.short == ("a",)
    assert credit(["a", "b"], found.teams, {1: 1.0, 2: 1.0}, shares=found.shares, ranks=found.ranks) == {"a": 0.0, "b": 0.0}  # fmt: skip
    assert made(scheme, {"a": [], "b": []}).items == ()


def test_teams_stay_of_one_size_where_a_ranker_runs_out_of_items() -> None:
    """A round that is not completed counts for nobody: the longer list is not the better one."""
    for seed in range(50):
        found = made("team_draft", {"a": ["x", "y", "z"], "b": ["y", "x", "q", "r", "s", "t"]}, seed)
        sizes = Counter(found.teams)
        assert sizes["a"] == sizes["b"]
        assert found.short == ("a",)
        assert set(found.items) == set("xyzqrst")


@every_scheme
def test_a_list_is_as_long_as_declared_however_many_items_there_are(scheme: Scheme) -> None:
    """A hundred thousand items on each side give ten, and all of them belong to somebody."""
    many = [f"item-{index}" for index in range(100_000)]
    found = made(scheme, {"a": many, "b": many[::-1]})
    assert len(set(found.items)) == 10
    assert None not in found.teams


@every_scheme
def test_the_order_in_which_rankings_are_told_is_no_matter(scheme: Scheme) -> None:
    """Every gateway draws the same list for the same unit and query, and another one for another query."""
    one, other = [str(n) for n in range(20)], [str(n) for n in range(20, 0, -1)]
    design = Interleaving(scheme=scheme)
    lists = {
        query: interleave({"control": one, "b": other}, HashedDraws("e/1", "u", query), design)
        for query in ("q1", "q2", "q3", "q4", "q5", "q6")
    }
    again = interleave({"b": other, "control": one}, HashedDraws("e/1", "u", "q1"), design)
    assert again == lists["q1"]
    assert len({each.items for each in lists.values()}) > 1


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("", "an item is named by text of 1 to 1,024 characters, and a has ''; rank the ids of items, not what they hold"),
        (7, "an item is named by text of 1 to 1,024 characters, and a has 7; rank the ids of items, not what they hold"),
        (None, "an item is named by text of 1 to 1,024 characters, and a has None; rank the ids of items, not what they hold"),
        ("\ud800", "an item of a is no valid Unicode: it has a lone surrogate"),
    ],
)  # fmt: skip
@every_scheme
def test_items_that_cannot_be_named_are_refused(item: object, says: str, scheme: Scheme) -> None:
    """What is no name of an item is refused and never shown."""
    with pytest.raises(UsageError) as refused:
        made(scheme, {"a": [item], "b": ["x"]})
    assert str(refused.value) == says


def test_an_overlong_item_is_refused_without_being_repeated() -> None:
    """The message has the beginning of a name that is too long."""
    with pytest.raises(UsageError) as refused:
        made("team_draft", {"a": ["x" * 5_000], "b": []})
    assert len(str(refused.value)) < 250


def test_rankings_that_are_none_are_refused() -> None:
    """One ranking, a text for a ranking, and three rankings in a balanced list."""
    with pytest.raises(UsageError) as one:
        made("team_draft", {"a": ["x"]})
    assert str(one.value) == (
        "interleaving takes the rankings of two rankers or more, and these are 1; "
        'give a mapping such as {"control": […], "treatment": […]}'
    )
    with pytest.raises(UsageError) as text:
        made("team_draft", {"a": "xyz", "b": ["x"]})
    assert str(text.value) == "a ranking is a list of items, best first, and that of a is 'xyz'"
    with pytest.raises(UsageError) as three:
        made("balanced", {"a": ["x"], "b": ["x"], "c": ["x"]})
    assert str(three.value) == (
        "a balanced list is made of two rankings, and these are 3; choose `scheme: team_draft` or `probabilistic`"
    )


def test_names_of_items_are_only_names() -> None:
    """What looks like markup, a path, a query or a team is an item like any other."""
    odd = [
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "'; DROP TABLE events; --",
        "control",
        "\x00",
        "👍🏽",
    ]
    found = made("team_draft", {"control": odd, "treatment": odd[::-1]})
    assert sorted(found.items) == sorted(odd)


def test_balanced_credit_goes_as_deep_as_the_lowest_click_needs() -> None:
    """A list of Joachims' example, its items b and e clicked: the lowest is second in B, so two of each count."""
    ranks = {"a": (1, 2, None, 3, 4), "b": (3, 1, 2, None, None)}
    teams = ["a", "b", "b", "a", "a"]
    assert credit(["a", "b"], teams, {2: 1.0, 3: 1.0}, ranks=ranks) == {"a": 1.0, "b": 2.0}
    assert winning_chances("b", "a", teams, [2, 3], ranks=ranks) == (1.0, 0.0)


def test_shares_make_a_win_a_chance() -> None:
    """Two clicks on places that are A's by 0.8 and 0.6: A wins by 0.48, loses by 0.08, and ties otherwise."""
    shares = {"a": (0.8, 0.6), "b": (0.2, 0.4)}
    won, lost = winning_chances("a", "b", ["a", "b"], [1, 2], shares=shares)
    assert (won, lost) == pytest.approx((0.48, 0.08))
    assert credit(["a", "b"], ["a", "b"], {1: 2.0, 2: 1.0}, shares=shares) == pytest.approx({"a": 2.2, "b": 0.8})  # fmt: skip


def test_a_place_outside_the_list_is_refused() -> None:
    """Places are counted from 1."""
    for place in (0, 3):
        with pytest.raises(UsageError) as refused:
            credit(["a", "b"], ["a", "b"], {place: 1.0})
        assert str(refused.value) == f"the list has the places 1 to 2, and {place} is none of them"
