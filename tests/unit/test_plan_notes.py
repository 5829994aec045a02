"""What a plan says beside its numbers."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from equipoise.analysis.looks import look_now
from equipoise.cli.main import app
from equipoise.design.plan import plan
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.stats.estimate import NotEstimable

NEVER = (
    "without a size of resolution_rate no look comes due by itself; declare what it lacks before the start, or take a last "
    "look by `equipoise analyze --final` once no more data will come"
)
UNSIZED = {
    "name": "e",
    "hypothesis": "h.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["system"],
    "variants": {"control": {"system": "a"}, "treatment": {"system": "b"}},
    "metrics": {
        "resolution_rate": {"priority": "primary", "window": "1h", "mde": "5pp"},
        "error_rate": {"priority": "guardrail", "margin": "1pp", "baseline": 0.01},
    },
}


def read(**keys: object) -> Experiment:
    return read_canonical(UNSIZED | keys)


def test_a_guardrail_that_is_sized_does_not_hide_a_primary_that_is_not():
    """The guardrail gives a number of units, and still no look comes due: both are said."""
    made = plan(read())
    assert made.total == 3538
    assert made.notes == (NEVER,)
    assert isinstance(made.information, NotEstimable)
    assert not look_now(read(), information=1e9, maximum=made.information).sized


@pytest.mark.parametrize(
    "keys",
    [
        {"metrics": UNSIZED["metrics"] | {"resolution_rate": UNSIZED["metrics"]["resolution_rate"] | {"baseline": 0.6}}},
        {"method": "bandit"},
        {"source": {"table": "t.csv", "unit": "u", "variant": "v", "columns": {"outcome.resolved": "r", "turn.error": "e"}}},
    ],
    ids=["sized", "bandit", "table"],
)  # fmt: skip
def test_nothing_is_said_where_looks_come(keys):
    """Not of a primary that is sized, of a bandit (read out at any time), or of a table (which is all there is)."""
    assert not any("no look comes due" in note for note in plan(read(**keys)).notes)


@pytest.mark.parametrize(
    ("keys", "counted"),
    [
        ({}, "units"),
        ({"unit": {"type": "cluster"}, "metrics": {"cost": {"priority": "primary", "kind": "count", "of": "turn.cost_usd", "better": "lower"}}}, "clusters"),
        ({"method": "switchback", "unit": {"type": "slot", "every": "1h"}, "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}}}, "slots"),
        ({"method": "interleaving", "metrics": {"won": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher"}}}, "queries"),
    ],
)  # fmt: skip
def test_sizes_are_in_what_the_design_counts(keys, counted):
    """A slot and a cluster are units by name, so that a number of them is not taken for people."""
    assert read(**keys).counted == counted


def test_whoever_registers_it_is_told(tmp_path):
    """`register` and `show` say that nothing is planned, and `register` what is left to do."""
    file, log = tmp_path / "e.yaml", str(tmp_path / "log.db")
    file.write_text(
        json.dumps(UNSIZED | {"metrics": {"resolution_rate": UNSIZED["metrics"]["resolution_rate"]}})
    )
    made = CliRunner().invoke(app, ["register", str(file), "--reason", "no gate", "--log", log])
    assert (made.exit_code, made.stdout.splitlines()[1]) == (0, f"Note: {NEVER}.")
    shown = CliRunner().invoke(app, ["show", "e", "--log", log])
    assert "planned: no size could be planned, 1 look" in shown.stdout.splitlines()
