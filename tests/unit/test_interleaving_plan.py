"""Plans of interleaved experiments in queries, and what the mathematics of lists refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.design.interleaved import FITS
from equipoise.design.plan import MetricSize, plan
from equipoise.errors import UsageError
from equipoise.experiment.reading import read_canonical
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.interleaving.preference import (
    credit_difference,
    pairwise_preferences,
    power_of_queries,
    preference_lean,
    queries_to_find,
)
from equipoise.stats.moments import PairMoments


def planned(metrics: dict[str, dict[str, Any]], **more: Any) -> dict[str, MetricSize | NotEstimable]:
    return dict(plan(definition(metrics, **more)).sizes)


def definition(metrics: dict[str, dict[str, Any]], **more: Any) -> Any:
    usual = {"kind": "proportion", "of": "outcome.click", "better": "higher"}
    return read_canonical({
        "name": "search", "hypothesis": "Better.", "unit": "user", "method": "interleaving",
        "variants": {"control": {}, "treatment": {}},
        "metrics": {name: usual | each for name, each in metrics.items()},
    } | more)  # fmt: skip


def test_a_proportion_is_sized_by_its_effect_and_the_ties() -> None:
    """(1.96 + 0.8416)² × (0.4 − 0.04²) / 0.04² queries, which both rankers take part in."""
    sizes = planned({"preference": {"priority": "primary", "mde": "4pp"}}, interleaving={"ties": 0.6})
    assert sizes == {
        "preference": MetricSize(
            metric="preference", priority="primary", question="detect", effect=0.04,
            units={"control": 1955, "treatment": 1955}, total=1955,
        )
    }  # fmt: skip


def test_the_rest_of_the_plan_is_that_of_any_experiment() -> None:
    """Looks, information and the power curve follow from the size; the notes say when interleaving fits."""
    drawn = plan(
        definition(
            {
                "preference": {"priority": "primary", "mde": "4pp"},
                "reports": {"priority": "guardrail", "kind": "count", "of": "outcome.report", "better": "lower", "spread": 0.2, "margin": 0.01},
            },
            interleaving={"ties": 0.6},
            plan={"looks": [0.5, 1.0], "units_per_day": 500, "cycle": "1d"},
        )
    )  # fmt: skip
    assert drawn.binding == "reports"
    assert drawn.days == 7.0
    assert drawn.notes == FITS
    assert isinstance(drawn.information, float)
    assert [look.units for look in drawn.looks] == [1576, 3152]
    power = dict(drawn.power_curve)
    assert power[0.04] > 0.8
    assert drawn.power_curve == tuple(sorted(drawn.power_curve))


@pytest.mark.parametrize(
    ("metric", "section", "says"),
    [
        ({"mde": "4pp"}, {}, "preference needs `interleaving: {ties: …}`, the share of queries without a winner, to size for; most queries are ties where people seldom click"),
        ({"mde": "50pp"}, {"ties": 0.6}, "preference: of 0.4 of the queries with a winner no ranker wins 0.5 more than it loses"),
        ({"mde": 0.1, "kind": "count"}, {"ties": 0.6}, "preference needs a `spread` (standard deviation between queries of what the rankers earn more or less) to size for"),
        ({}, {"ties": 0.6}, "preference has no `mde`"),
    ],
)  # fmt: skip
def test_what_a_size_lacks_is_said(metric: dict[str, Any], section: dict[str, Any], says: str) -> None:
    """Unknown is never a number."""
    sizes = planned({"preference": {"priority": "primary"} | metric}, interleaving=section)
    assert sizes == {"preference": NotEstimable(says)}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: queries_to_find(0.0, 1.0), "effect must be a finite number greater than 0, not 0.0"),
        (lambda: queries_to_find(0.1, -1.0), "variance must be a finite number greater than 0, not -1.0"),
        (lambda: power_of_queries(0.1, 1.0, 1), "queries must be a whole number of at least 2, not 1"),
        (lambda: preference_lean(-1, 2), "wins must be a whole number of at least 0, not -1"),
        (lambda: pairwise_preferences({"a": [1.0]}, [1.0]), "preferences are between two rankers or more, and there are 1"),
        (lambda: pairwise_preferences({"a": [1.0], "b": [1.0, 2.0]}, [1.0]), "each ranker has one number for each unit, and so have the queries"),
        (lambda: pairwise_preferences({"a": [1.0], "b": [1.0]}, [0.0]), "every unit has one query or more, and one of these has none"),
        (lambda: credit_difference(PairMoments.of([1.0, 2.0], [0.0, 0.0])), "every unit has one query or more, and these have none"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_are_refused(call: Callable[[], object], says: str) -> None:
    """With the argument, its domain and what it was."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == says


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: credit_difference(PairMoments.zero()), "no unit was shown a list, and a spread needs two"),
        (lambda: credit_difference(PairMoments.of([1.0], [1.0])), "1 unit was shown a list, and a spread needs two"),
        (lambda: credit_difference(PairMoments.of([1.0, 2.0], [1.0, 2.0])), "the rankers earn as much more or less per query with every unit, so there is no spread"),
        (lambda: preference_lean(0, 0), "there are no queries"),
        (lambda: preference_lean(0, 0, 9), "every query is a tie"),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_has_a_reason(call: Callable[[], object], reason: str) -> None:
    """Neither 0 nor NaN."""
    assert call() == NotEstimable(reason)


def test_a_lean_and_its_test_are_one_method() -> None:
    """The interval excludes 0 exactly when the test rejects, whichever way people lean."""
    for wins in range(30, 60):
        found = preference_lean(wins, 40, 20)
        mirrored = preference_lean(40, wins, 20)
        assert isinstance(found, Estimate)
        assert isinstance(mirrored, Estimate)
        assert found.p_value is not None
        assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05)
        assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_a_pair_without_an_answer_still_counts_as_a_test() -> None:
    """Of three rankers two earn the same everywhere: that pair has no estimate, and Holm still counts three tests."""
    earned = {"a": [2.0, 1.0, 3.0, 2.0], "b": [2.0, 1.0, 3.0, 2.0], "c": [0.0, 1.0, 1.0, 0.0]}
    pairs = {(pair.one, pair.other): pair for pair in pairwise_preferences(earned, [1.0] * 4)}
    assert isinstance(pairs["a", "b"].adjusted_p, NotEstimable)
    against = pairs["a", "c"]
    assert isinstance(against.estimate, Estimate)
    assert against.adjusted_p == pytest.approx(3 * (against.estimate.p_value or 0.0))
