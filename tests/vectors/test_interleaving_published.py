"""Interleaved lists as they were worked out by hand, and draws as they are published."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest

from equipoise.assignment.interleaving import HashedDraws, Interleaved, interleave
from equipoise.experiment.interleaving import Interleaving
from equipoise.stats.interleaving.credit import credit

A = ["sony", "sennheiser", "audio-technica", "jbl", "anker"]
B = ["bose", "sony", "apple", "anker", "jabra"]


class Coins:
    """Numbers written down."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0)


FIRST_A, FIRST_B = 0.5, 0.25


def shown(list_: Interleaved) -> list[str]:
    return [f"{item} {team}" for item, team in zip(list_.items, list_.teams, strict=True)]


def test_team_draft_with_one_coin_gives_the_published_list() -> None:
    """One coin of `Random(7)` lets B begin every round, and A's are sony and sennheiser."""
    found = interleave({"a": A, "b": B}, Random(7), Interleaving(length=5, coin="once"))
    assert found.items == ("bose", "sony", "apple", "sennheiser", "anker")
    assert [item for item, team in zip(found.items, found.teams, strict=True) if team == "a"] == ["sony", "sennheiser"]  # fmt: skip


def test_a_fresh_coin_is_tossed_for_every_round_that_is_begun() -> None:
    """Three rounds of a list of five take three coins, and each says who begins that round."""
    found = interleave({"a": A, "b": B}, coins := Coins(FIRST_B, FIRST_A, FIRST_A), Interleaving(length=5))
    assert shown(found) == ["bose b", "sony a", "sennheiser a", "apple b", "audio-technica a"]
    assert coins.numbers == []


def test_balanced_lists_follow_the_paper() -> None:
    """Joachims' example: a turn is lost where the item is in the list, and ranks are those of the own list."""
    one, other = ["a", "b", "c", "d", "g", "h"], ["b", "e", "a", "f", "g", "h"]
    first = interleave({"a": one, "b": other}, Coins(FIRST_A), Interleaving(scheme="balanced", length=7))
    second = interleave({"a": one, "b": other}, Coins(FIRST_B), Interleaving(scheme="balanced", length=7))
    assert "".join(first.items) == "abecdfg"
    assert "".join(second.items) == "baecfdg"
    assert first.ranks == {"a": (1, 2, None, 3, 4, None, 5), "b": (3, 1, 2, None, None, 4, 5)}


def test_probabilistic_shares_are_the_chances_that_the_paper_gives() -> None:
    """Of two rankings of two items with τ = 3, first places weigh 8 of 9, and what is left weighs all."""
    found = interleave({"a": ["x", "y"], "b": ["y", "x"]}, Coins(0.0, 0.5, 0.9, 0.5), Interleaving(scheme="probabilistic"))  # fmt: skip
    assert shown(found) == ["x a", "y b"]
    assert found.shares is not None
    assert found.shares["a"] == pytest.approx((8 / 9, 1 / 2))
    assert found.shares["b"] == pytest.approx((1 / 9, 1 / 2))


def test_several_rankers_pick_in_turn_in_an_order_drawn_for_each_round() -> None:
    """Team-draft multileaving: of three rankers that agree each gives one item of the first round."""
    found = interleave({name: ["1", "2", "3", "4"] for name in "abc"}, Coins(0.99, 0.99, 0.0, 0.0), Interleaving(length=4))  # fmt: skip
    assert shown(found) == ["1 a", "2 b", "3 c", "4 b"]


def test_clicks_are_credited_to_whoever_gave_the_item() -> None:
    """Of a list A, B, A, B, A with clicks on places 1, 4 and 5, A wins by two to one."""
    assert credit(["a", "b"], ["a", "b", "a", "b", "a"], dict.fromkeys((1, 4, 5), 1.0)) == {"a": 2.0, "b": 1.0}  # fmt: skip


def test_draws_of_a_query_are_those_of_the_published_hash() -> None:
    """Whoever follows the sentence of the documentation in another language draws the same numbers."""
    of_unit = sha256(b"equipoise\x001\x00interleave\x00demo/1\x00user-1").digest()
    key = sha256(of_unit + b"query-1").digest()
    expected = [
        (int.from_bytes(sha256(key + index.to_bytes(4, "big")).digest()[:8], "big") >> 11) / 2**53
        for index in range(4)
    ]
    draws = HashedDraws("demo/1", "user-1", "query-1")
    assert [draws.random() for _ in range(4)] == expected
