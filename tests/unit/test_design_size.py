"""A size carries what it was computed from, and prints as JSON."""

from __future__ import annotations

import json

import pytest

from equipoise.design.outcomes import Mean, NoninferiorMean, NoninferiorProportion, Proportion
from equipoise.design.size import size
from equipoise.errors import UsageError


def test_the_json_of_a_proportion_is_whole() -> None:
    """Every key that a reader of `equipoise size proportion --json` may rely on."""
    assert json.loads(json.dumps(size(Proportion(0.60), 0.05).to_dict())) == {
        "kind": "proportion",
        "per_variant": 1471,
        "by_variant": {"control": 1471, "treatment": 1471},
        "total": 2942,
        "alpha": 0.05,
        "power": 0.8,
        "ratio": 1.0,
        "sides": 2,
        "baseline": 0.6,
        "mde": 0.05,
    }


def test_unequal_arms_have_no_single_number() -> None:
    """`per_variant` is null when the arms differ; the total is theirs together."""
    sized = size(Proportion(0.60), 0.05, ratio=2.0)
    shape = sized.to_dict()
    assert shape["per_variant"] is None
    assert shape["total"] == sized.control + sized.treatment
    # Rounding happens once per arm, from the exact need: less than one unit beyond the ratio.
    assert 2 * sized.control - 2 < sized.treatment <= 2 * sized.control


def test_each_kind_shows_only_its_own_inputs() -> None:
    """Means have a spread, margins a margin, and an absent input is no key."""
    assert {"spread", "mde"} <= set(size(Mean(1.0), 0.5).to_dict())
    assert "baseline" not in size(Mean(1.0), 0.5).to_dict()
    shape = size(NoninferiorProportion(0.995), 0.01, 0.025, sides=1).to_dict()
    assert (shape["margin"], shape["better"], shape["sides"], shape["alpha"]) == (0.01, "higher", 1, 0.025)
    assert size(NoninferiorMean(1.0), 0.5, 0.025, sides=1).to_dict()["kind"] == "noninferior_mean"


def test_an_impossible_question_is_refused() -> None:
    """The message of the mathematics reaches the caller as it is."""
    with pytest.raises(UsageError) as refused:
        size(Proportion(0.98), 0.05)
    assert str(refused.value) == "baseline + mde must lie strictly between 0 and 1, not 1.03"
