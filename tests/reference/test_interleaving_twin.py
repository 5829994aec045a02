"""Interleaved lists against slow twins: credit by enumerating every assignment, estimates by the textbook's formulas."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from equipoise.analysis.effects import difference
from equipoise.assignment.interleaving import HashedDraws, interleave
from equipoise.clock import ManualClock
from equipoise.events.facts import Fact, Impression, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.interleaving import SCHEMES, Interleaving, Scheme
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log
from equipoise.stats.estimate import Estimate
from equipoise.stats.interleaving.credit import credit, winning_chances
from equipoise.stats.interleaving.preference import credit_difference
from equipoise.stats.moments import PairMoments

ITEMS = [f"item-{number}" for number in range(12)]


def rankings(draws: Random, rankers: int = 2) -> dict[str, list[str]]:
    names = ["control", *(f"b{number}" for number in range(1, rankers))]
    return {name: draws.sample(ITEMS, draws.randint(3, 12)) for name in names}


@pytest.mark.parametrize("rankers", [2, 3])
def test_probabilistic_wins_are_those_of_every_assignment(rankers: int) -> None:
    """The chance of a win is the sum over all ways in which the rankers may have given the items."""
    draws = Random(5)
    for _ in range(60):
        given = rankings(draws, rankers)
        shown = interleave(given, draws, Interleaving(scheme="probabilistic", length=5, tau=draws.choice([0.5, 3.0])))  # fmt: skip
        assert shown.shares is not None
        clicked = [place for place in range(1, len(shown.items) + 1) if draws.random() < 0.5]
        credited = [place for place in clicked if shown.teams[place - 1] is not None]
        won = lost = 0.0
        expected = dict.fromkeys(given, 0.0)
        for assignment in product(given, repeat=len(credited)):
            chance = math.prod(shown.shares[arm][place - 1] for arm, place in zip(assignment, credited, strict=True))  # fmt: skip
            lead = assignment.count("b1") - assignment.count("control")
            won, lost = won + chance * (lead > 0), lost + chance * (lead < 0)
            for arm in given:
                expected[arm] += chance * assignment.count(arm)
        found = winning_chances("b1", "control", shown.teams, clicked, shares=shown.shares)
        assert found == pytest.approx((won, lost), abs=1e-12)
        earned = credit(list(given), shown.teams, dict.fromkeys(clicked, 1.0), shares=shown.shares)
        assert earned == pytest.approx(expected, abs=1e-12)


def test_probabilistic_shares_are_the_frequencies_of_a_slow_draw() -> None:
    """Among 40,000 lists drawn by plain rejection, those that come out alike were given so often by each ranker."""
    draws = Random(6)
    given = {"control": ["x", "y", "z"], "b": ["y", "z", "x"]}
    seen: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for _ in range(40_000):
        items: list[str] = []
        teams: list[str] = []
        while len(items) < 3:
            teams.append(draws.choice(["control", "b"]))
            item = items[0] if items else ""
            while not item or item in items:
                item = draws.choices(given[teams[-1]], weights=[1, 1 / 8, 1 / 27])[0]
            items.append(item)
        seen[tuple(items)][teams[0] == "control"] += 1
    shown = interleave(given, Random(1), Interleaving(scheme="probabilistic", length=3))
    assert shown.shares is not None
    count = seen[shown.items]
    expected = shown.shares["control"][0]
    # Four standard errors: chance alone passes them once in 16,000 runs, and the draws are seeded.
    assert abs(count[1] / sum(count) - expected) < 4 * math.sqrt(expected * (1 - expected) / sum(count))


def test_one_query_for_each_unit_is_students_paired_t() -> None:
    """With as many queries as units the estimate, its error and p are those of `scipy.stats.ttest_1samp`."""
    differences = np.random.default_rng(7).integers(-3, 4, 200)
    ones = np.ones(200)
    for level in (0.9, 0.95, 0.99):
        found = credit_difference(PairMoments.of(differences, ones), level=level, null=0.1)
        assert isinstance(found, Estimate)
        twin = stats.ttest_1samp(differences, 0.1)
        low, high = twin.confidence_interval(level)
        assert (found.statistic, found.p_value) == pytest.approx((twin.statistic, twin.pvalue))
        assert (found.low, found.high) == pytest.approx((low, high))


def read_slowly(facts: list[Fact], scheme: Scheme) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Per unit what the treatment won more than control, and its queries, fact by fact."""
    lists = {(fact.unit, fact.query): fact for fact in reversed(facts) if isinstance(fact, Impression)}
    clicks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fact in facts:
        if isinstance(fact, Outcome) and fact.value and fact.item is not None:
            clicks[fact.unit, str(fact.query)].add(fact.item)
    more: dict[str, dict[str, float]] = {"wins": defaultdict(float), "items": defaultdict(float)}
    queries: dict[str, int] = defaultdict(int)
    for name, fact in lists.items():
        queries[fact.unit] += 1
        clicked = [place for place, item in enumerate(fact.items) if item in clicks[name]]
        if scheme == "probabilistic":
            assert fact.shares is not None
            of = {arm: sum(fact.shares[arm][place] for place in clicked) for arm in ("control", "b1")}
            won, lost = winning_chances("b1", "control", fact.teams, [place + 1 for place in clicked], shares=fact.shares)  # fmt: skip
            more["wins"][fact.unit] += won - lost
        else:
            counted = [place for place in clicked if fact.teams[place] is not None]
            if scheme == "balanced" and counted:
                assert fact.ranks is not None
                lowest = [rank for of in fact.ranks.values() if (rank := of[max(counted)])]
                of = {
                    arm: float(sum((fact.ranks[arm][place] or math.inf) <= min(lowest) for place in counted))
                    for arm in ("control", "b1")
                }
            else:
                of = {arm: float(sum(fact.teams[place] == arm for place in counted)) for arm in ("control", "b1")}  # fmt: skip
            more["wins"][fact.unit] += (of["b1"] > of["control"]) - (of["b1"] < of["control"])
        more["items"][fact.unit] += of["b1"] - of["control"]
    return more, queries


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_read_out_of_the_log_is_that_of_a_slow_reader(scheme: Scheme) -> None:
    """Six hundred random lists of ninety people: estimate and error are those of the residuals, written out."""
    draws = Random(8)
    e = read_canonical({
        "name": "search", "hypothesis": "Better.", "unit": "user", "method": "interleaving", "interleaving": {"scheme": scheme, "length": 6},
        "variants": {"control": {}, "b1": {}},
        "metrics": {
            "wins": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher"},
            "items": {"kind": "count", "of": "outcome.click", "better": "higher"},
        },
    })  # fmt: skip
    assert e.interleaving is not None
    facts: list[Fact] = []
    for number in range(600):
        unit, query = f"u{draws.randrange(90)}", f"q{draws.randrange(40)}"
        shown = interleave(rankings(draws), HashedDraws("search/1", unit, f"{query}{number}"), e.interleaving)
        plain: dict[str, Any] = {
            "shares": shown.shares and {name: list(of) for name, of in shown.shares.items()},
            "ranks": shown.ranks and {name: list(of) for name, of in shown.ranks.items()},
        }
        facts.append(Impression(experiment="search", happened=float(number), digest=e.digest, unit=unit, unit_type="user", query=query,
                                scheme=scheme, items=list(shown.items), teams=list(shown.teams), **plain))  # fmt: skip
        facts += [
            Outcome(experiment="search", happened=number + 0.5, unit=unit, name="click", value=draws.random() < 0.9, query=query, item=item)
            for item in draws.sample(ITEMS, draws.randrange(4))
        ]  # fmt: skip
    log = MemoryLog(ManualClock(1000.0))
    log.append(facts)
    measured = measure_log(e, log)
    more, queries = read_slowly(facts, scheme)
    asked = np.array(list(queries.values()), dtype=float)
    for metric in e.metrics:
        tallies = measured.tallies[metric.name]
        found = difference(metric, tallies["control"], tallies["b1"], level=0.95)
        assert isinstance(found, Estimate)
        of = np.array([more[metric.name][unit] for unit in queries])
        ratio = of.sum() / asked.sum()
        residuals = of - ratio * asked
        error = math.sqrt((residuals**2).sum() / (len(of) - 1) / len(of)) / asked.mean()
        assert (found.value, found.standard_error) == pytest.approx((ratio, error))
