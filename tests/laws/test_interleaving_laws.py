"""What must hold of every interleaved list, whatever the rankings are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from equipoise.assignment.interleaving import Interleaved, interleave
from equipoise.experiment.interleaving import SCHEMES, Interleaving

quiet = settings(max_examples=150, deadline=None, derandomize=True)
ranking = st.lists(st.sampled_from("abcdefgh"), max_size=8)


class Tape:
    """Numbers of a fair coin, one pattern of many; how many were taken."""

    def __init__(self, pattern: tuple[int, ...]) -> None:
        self.pattern, self.taken = pattern, 0

    def random(self) -> float:
        number = self.pattern[self.taken] if self.taken < len(self.pattern) else 0
        self.taken += 1
        return 0.25 + number / 2


def every_list(rankings: dict[str, list[str]], design: Interleaving) -> list[tuple[Fraction, Interleaved]]:
    """Each list that coins can give, with its probability; of two rankers every number drawn is one coin."""
    found = []
    rounds = design.length if design.coin == "every_round" else 1
    for pattern in product((0, 1), repeat=rounds):
        tape = Tape(pattern)
        found.append((Fraction(1, 2**rounds), interleave(rankings, tape, design)))
        assert tape.taken <= rounds
    return found


@quiet
@given(ranking, ranking, st.integers(1, 6), st.sampled_from(["drafted", "ignored"]))
def test_team_draft_gives_both_rankers_the_same_chance_of_every_place(one, other, length, agreed):
    """Exactly, by all coins: whoever clicks without looking at the items prefers nobody, whatever the lists are."""
    chances: Counter[tuple[int, str | None]] = Counter()
    for chance, shown in every_list({"a": one, "b": other}, Interleaving(length=length, agreed=agreed)):
        for place, team in enumerate(shown.teams):
            chances[place, team] += chance
    for place in range(length):
        assert chances[place, "a"] == chances[place, "b"]


@quiet
@given(ranking, ranking, ranking, st.integers(1, 6), st.sampled_from(["drafted", "ignored"]))
def test_of_three_rankers_each_has_the_same_chance_of_every_place(one, other, third, length, agreed):
    """Exactly, by all orders of each round: two numbers, of which the first has three places to choose and the second two."""
    orders = [(first, second) for first in (1 / 6, 3 / 6, 5 / 6) for second in (1 / 4, 3 / 4)]
    chances: Counter[tuple[int, str | None]] = Counter()
    design = Interleaving(length=length, agreed=agreed)
    # What all agree on takes a place without a draw, so there are at most as many rounds as places, and seldom as many.
    for numbers in product(orders, repeat=3):
        tape = iter([number for pair in numbers for number in pair])
        try:
            shown = interleave({"a": one, "b": other, "c": third}, _Numbers(tape), design)
        except StopIteration:
            assume(False)
        for place, team in enumerate(shown.teams):
            chances[place, team] += 1
    for place in range(length):
        assert chances[place, "a"] == chances[place, "b"] == chances[place, "c"]


class _Numbers:
    """Numbers written down; StopIteration beyond the last."""

    def __init__(self, numbers: Iterator[float]) -> None:
        self.numbers = numbers

    def random(self) -> float:
        return next(self.numbers)


@quiet
@given(st.permutations("abcdefgh"), st.permutations("hgfedcba"), st.integers(1, 8))
def test_one_coin_is_as_fair_where_the_rankings_are_as_long_as_the_list(one, other, length):
    """Whoever begins, begins every round, and both are as likely to."""
    chances: Counter[tuple[int, str | None]] = Counter()
    for chance, shown in every_list({"a": one, "b": other}, Interleaving(length=length, coin="once")):
        for place, team in enumerate(shown.teams):
            chances[place, team] += chance
    for place in range(length):
        assert chances[place, "a"] == chances[place, "b"]


@quiet
@given(
    st.dictionaries(st.sampled_from(["control", "b", "c"]), ranking, min_size=2),
    st.integers(1, 9), st.sampled_from(SCHEMES), st.sampled_from(["drafted", "ignored"]), st.integers(0, 99),
)  # fmt: skip
def test_every_list_is_whole(rankings, length, scheme, agreed, seed):
    """Items are shown once, of those ranked, as many as asked for or as there are; credit has an owner that had the item."""
    if scheme == "balanced" and len(rankings) > 2:
        return
    shown = interleave(rankings, Random(seed), Interleaving(scheme=scheme, length=length, agreed=agreed))
    known = {item for each in rankings.values() for item in each}
    assert len(set(shown.items)) == len(shown.items) == min(length, len(known))
    assert set(shown.items) <= known
    assert len(shown.teams) == len(shown.items)
    for item, team in zip(shown.items, shown.teams, strict=True):
        assert team is None or item in rankings[team]
    assert set(shown.short) <= set(rankings)
    for place, team in enumerate(shown.teams):
        if shown.shares is not None:
            total = sum(of[place] for of in shown.shares.values())
            assert abs(total - (team is not None)) < 1e-9
        if shown.ranks is not None:
            for name, of in shown.ranks.items():
                rank, distinct = of[place], list(dict.fromkeys(rankings[name]))
                assert rank is None or distinct[rank - 1] == shown.items[place]


@quiet
@given(ranking, st.integers(1, 6), st.integers(0, 99))
def test_what_rankers_agree_on_can_be_left_to_nobody(one, length, seed):
    """Identical rankings have then nothing to win, and the list is theirs."""
    shown = interleave({"a": one, "b": list(one)}, Random(seed), Interleaving(length=length, agreed="ignored"))  # fmt: skip
    assert shown.items == tuple(dict.fromkeys(one))[:length]
    assert set(shown.teams) <= {None}
