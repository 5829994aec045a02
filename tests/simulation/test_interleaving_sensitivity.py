"""How many queries a preference takes: interleaving against an A/B, with clicks that follow the grades of real documents.

The model, stated once. Queries and documents are those of `rank_graded`, drawn with equal chance. The treatment ranks by
grade; control has the treatment's places 2 and 3 swapped, which matters where their grades differ (39 of 201 queries).
People look at ten places from the top; a document of grade 0 to 4 is clicked with chance .05 .3 .5 .7 .95, and after a
click they leave with chance .2 .3 .5 .7 .9: the "navigational" cascade of Hofmann, Schuth, Whiteson & de Rijke (2013),
Reusing Historical Interaction Data for Faster Online Learning to Rank for IR, WSDM; the "informational" one is .4 .6 .7
.8 .9 and .1 .2 .3 .4 .5, the "perfect" one 0 .2 .4 .8 1 and never leaves.

An A/B shows a query one of the two rankings; its metric is the more telling of the number of clicks and the reciprocal
rank of the first. Queries for a power of 80 % at 5 % two-sided are (z.975 + z.8)² times variance over effect², of the A/B
twice that and both arms together. `pytest -s` prints them; the bounds of the rates hold but once in 10,000 runs by chance.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from equipoise.assignment.interleaving import interleave
from equipoise.experiment.interleaving import Interleaving
from equipoise.stats.estimate import Estimate
from equipoise.stats.interleaving.preference import credit_difference, power_of_queries, queries_to_find
from equipoise.stats.moments import PairMoments

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "rank_graded" / "documents.csv.gz"
PLACES = 10

pytestmark = pytest.mark.skipif(
    not FILE.is_file(),
    reason="the graded documents are not beside the repository (../shared/data/rank_graded)",
)
CASCADES = {
    "navigational": ((0.05, 0.3, 0.5, 0.7, 0.95), (0.2, 0.3, 0.5, 0.7, 0.9)),
    "informational": ((0.4, 0.6, 0.7, 0.8, 0.9), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "perfect": ((0.0, 0.2, 0.4, 0.8, 1.0), (0.0, 0.0, 0.0, 0.0, 0.0)),
}
Cascade = tuple[Sequence[float], Sequence[float]]


def queries() -> list[list[int]]:
    """The grades of each query's documents, best first."""
    found = defaultdict(list)
    with gzip.open(FILE, "rt", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            found[row["query_id"]].append(int(row["relevance"]))
    return [sorted(grades, reverse=True) for grades in found.values()]


def swapped(ranking: list[str]) -> list[str]:
    """The same with places 2 and 3 swapped."""
    return [*ranking[:1], *ranking[2:3], *ranking[1:2], *ranking[3:]]


def totals(grades: Sequence[int], weights: Sequence[int], cascade: Cascade) -> dict[int, float]:
    """The distribution of the weights that are clicked, added up; exactly, place by place."""
    attracts, leaves = cascade
    looking: dict[int, float] = {0: 1.0}
    gone: dict[int, float] = defaultdict(float)
    for grade, weight in zip(grades, weights, strict=True):
        after: dict[int, float] = defaultdict(float)
        for total, chance in looking.items():
            hit = chance * attracts[grade]
            after[total] += chance - hit
            gone[total + weight] += hit * leaves[grade]
            after[total + weight] += hit * (1.0 - leaves[grade])
        looking = after
    for total, chance in looking.items():
        gone[total] += chance
    return gone


def reciprocal_ranks(grades: Sequence[int], cascade: Cascade) -> dict[float, float]:
    """The distribution of one over the first place clicked, 0 without a click."""
    attracts, _ = cascade
    found, none = {}, 1.0
    for place, grade in enumerate(grades, start=1):
        found[1 / place] = none * attracts[grade]
        none *= 1.0 - attracts[grade]
    return found | {0.0: none}


class Tape:
    """Coins in a pattern."""

    def __init__(self, pattern: Sequence[int]) -> None:
        self.pattern = list(pattern)

    def random(self) -> float:
        return 0.25 + self.pattern.pop(0) / 2


def won_and_lost(design: Interleaving, cascade: Cascade, rounds: int) -> tuple[float, float]:
    """The chances that the treatment wins and loses a query, over all queries, coins and clicks: exactly."""
    won = lost = 0.0
    all_ = queries()
    worth = {"treatment": 1, "control": -1, None: 0}
    for grades in all_:
        documents = [str(place) for place in range(len(grades))]
        lists: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
        for pattern in product((0, 1), repeat=rounds):
            made = interleave({"control": swapped(documents), "treatment": documents}, Tape(pattern), design)
            shown = tuple(grades[int(item)] for item in made.items)
            lists[shown, tuple(worth[team] for team in made.teams)] += 1
        for (shown, weights), times in lists.items():
            for lead, chance in totals(shown, weights, cascade).items():
                won += (lead > 0) * chance * times / 2**rounds
                lost += (lead < 0) * chance * times / 2**rounds
    return won / len(all_), lost / len(all_)


def of_the_split(cascade: Cascade) -> dict[str, tuple[float, float]]:
    """For each metric of the A/B its effect and the sum of the arms' variances: exactly."""
    moments = {name: np.zeros((2, 2)) for name in ("clicks", "reciprocal rank")}
    all_ = queries()
    for grades in all_:
        for arm, ranking in enumerate((swapped([str(grade) for grade in grades]), grades)):
            shown = [int(grade) for grade in ranking][:PLACES]
            told: dict[str, dict[float, float]] = {
                "clicks": {float(n): of for n, of in totals(shown, [1] * len(shown), cascade).items()},
                "reciprocal rank": reciprocal_ranks(shown, cascade),
            }
            for name, distribution in told.items():
                for value, chance in distribution.items():
                    moments[name][arm] += np.array([value, value**2]) * chance / len(all_)
    return {
        name: (float(of[1, 0] - of[0, 0]), float((of[:, 1] - of[:, 0] ** 2).sum()))
        for name, of in moments.items()
    }


IGNORED = Interleaving(length=PLACES, agreed="ignored")


@pytest.mark.parametrize("model", CASCADES)
def test_interleaving_needs_at_most_a_tenth_of_the_queries_of_an_ab(model: str) -> None:
    """A swap at places 2 and 3: team draft that ignores what both agree on, against the A/B's better metric."""
    won, lost = won_and_lost(IGNORED, CASCADES[model], rounds=1)
    needed = queries_to_find(won - lost, won + lost - (won - lost) ** 2)
    split = {
        name: 2 * queries_to_find(abs(effect), variance)
        for name, (effect, variance) in of_the_split(CASCADES[model]).items()
        if abs(effect) > 1e-12
    }
    print(f"\n{model}: interleaving {needed:,} queries (won {won:.4f}, lost {lost:.4f}); A/B {split}")
    assert needed * 10 <= min(split.values())


@pytest.mark.parametrize("model", CASCADES)
def test_a_coin_for_what_both_agree_on_costs_most_of_the_gain(model: str) -> None:
    """Drafting every item, as the textbook does, takes many times the queries: chance hides the disagreement."""
    needed = []
    for design, rounds in ((Interleaving(length=PLACES), PLACES // 2), (IGNORED, 1)):
        won, lost = won_and_lost(design, CASCADES[model], rounds)
        needed.append(queries_to_find(won - lost, won + lost - (won - lost) ** 2))
    print(f"\n{model}: drafted {needed[0]:,} queries, ignored {needed[1]:,}")
    assert needed[0] > 5 * needed[1]


def rejected(won: float, lost: float, size: int, runs: int, seed: int) -> float:
    """How often the credit difference of so many queries of as many people is found not to be 0."""
    generator = np.random.default_rng(seed)
    found = 0
    for wins, losses, _ in generator.multinomial(size, [won, lost, 1.0 - won - lost], size=runs):
        mean = (wins - losses) / size
        moments = PairMoments(size, mean, 1.0, wins + losses - size * mean**2, 0.0, 0.0)
        estimate = credit_difference(moments)
        assert isinstance(estimate, Estimate)
        assert estimate.p_value is not None
        found += estimate.p_value < 0.05
    return found / runs


def test_the_planned_number_of_queries_finds_the_swap_in_80_percent() -> None:
    """Power as planned within four standard errors (n 4,000), and 5 % false alarms where nobody is better."""
    won, lost = won_and_lost(IGNORED, CASCADES["navigational"], rounds=1)
    variance = won + lost - (won - lost) ** 2
    needed = queries_to_find(won - lost, variance)
    runs = 4_000
    assert abs(rejected(won, lost, needed, runs, 1) - 0.8) < 4 * math.sqrt(0.16 / runs)
    half = (won + lost) / 2
    assert abs(rejected(half, half, needed, runs, 2) - 0.05) < 4 * math.sqrt(0.0475 / runs)
    assert power_of_queries(won - lost, variance, needed) == pytest.approx(0.8, abs=0.001)


def test_people_who_ask_often_are_not_many_people() -> None:
    """Everybody prefers one ranker, half of them each: clustered by person 5 % false alarms (n 4,000), by query many."""
    generator = np.random.default_rng(3)
    runs, people = 4_000, 120
    by_person = by_query = 0
    for _ in range(runs):
        asked = generator.integers(1, 20, people)
        chance = generator.choice([0.1, 0.4], people)
        wins = generator.binomial(asked, chance)
        losses = generator.binomial(asked - wins, (0.5 - chance) / (1.0 - chance))
        more = wins - losses
        clustered = credit_difference(PairMoments.of(more, asked))
        size, mean = int(asked.sum()), float(more.sum() / asked.sum())
        decided = float((wins + losses).sum())
        naive = credit_difference(PairMoments(size, mean, 1.0, decided - size * mean**2, 0.0, 0.0))
        assert isinstance(clustered, Estimate)
        assert isinstance(naive, Estimate)
        by_person += (clustered.p_value or 0.0) < 0.05
        by_query += (naive.p_value or 0.0) < 0.05
    assert abs(by_person / runs - 0.05) < 4 * math.sqrt(0.0475 / runs) + 0.002
    assert by_query / runs > 0.15
