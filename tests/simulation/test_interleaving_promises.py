"""Interleaved lists favour nobody: rankers that rank alike win as often as they lose, whatever people click.

The bound of each check is half a point of the share of wins among 200,000 queries. Chance alone passes it once in
130,000 runs (4.5 standard errors of 0.0011, two-sided); the other side is a ranker that is better and must be seen.
"""

from __future__ import annotations

import math
from random import Random

import pytest

from equipoise.assignment.interleaving import interleave
from equipoise.experiment.interleaving import Coin, Interleaving
from equipoise.stats.interleaving.credit import winning_chances

QUERIES = 200_000
ITEMS = ["a", "b", "c", "d", "e"]


def share_of_wins(design: Interleaving, queries: int, other: list[str], seed: int) -> tuple[float, int]:
    """How often control wins among the queries that somebody wins, where people look down and stop at a click."""
    draws = Random(seed)
    won = lost = 0.0
    for _ in range(queries):
        shown = interleave({"control": ITEMS, "treatment": other}, draws, design)
        # One click: on the first place half of the time, on the second a quarter of it …
        place = min(len(shown.items), math.ceil(-math.log2(1.0 - draws.random())) or 1)
        w, l = winning_chances("control", "treatment", shown.teams, [place], shares=shown.shares, ranks=shown.ranks)  # fmt: skip
        won, lost = won + w, lost + l
    return won / (won + lost) if won + lost else math.nan, round(won + lost)


@pytest.mark.parametrize("coin", ["every_round", pytest.param("once", marks=pytest.mark.long)])
def test_identical_rankers_win_half_of_the_queries_by_team_draft(coin: Coin) -> None:
    """Identical rankers win 50 ± 0.5 % of 200,000 queries by team draft, with clicks that prefer what is on top."""
    design = Interleaving(length=4, coin=coin)
    share, decided = share_of_wins(design, QUERIES, ITEMS, seed=11)
    assert decided == QUERIES
    assert abs(share - 0.5) < 0.005


def test_identical_rankers_win_half_of_the_queries_by_a_probabilistic_list() -> None:
    """Marginalised over whose an item may be, identical rankers win exactly half of every query."""
    share, _ = share_of_wins(Interleaving(scheme="probabilistic", length=3), 2_000, ITEMS, seed=12)
    assert share == pytest.approx(0.5, abs=1e-12)


def test_identical_rankers_tie_every_query_by_a_balanced_list() -> None:
    """Each item is where the other ranker has it, so both earn the same."""
    assert share_of_wins(Interleaving(scheme="balanced", length=4), 500, ITEMS, seed=13)[1] == 0
