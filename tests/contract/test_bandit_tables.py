"""A bandit that ran elsewhere, read out from its table: the shares are the probabilities that its rows hold."""

from __future__ import annotations

import random
import re

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from equipoise import analyze, load_experiment
from equipoise.errors import DataError
from equipoise.stats.estimate import Estimate

# Ibis calls DuckDB as it was before its latest version.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TEXT = """
name: elsewhere
hypothesis: One of three greetings gets more answers.
method: bandit
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}, c: {config: {x: 3}}}
metrics:
  answered: {priority: primary, kind: proportion, of: outcome.answered, better: higher, baseline: 0.3, mde: 0.1}
source:
  table: none.csv
  unit: user
  variant: arm
  columns: {outcome.answered: answered, epoch: hour, probability: p}
"""
SHARES = [{"control": 0.34, "b": 0.33, "c": 0.33}] * 3 + [{"control": 0.1, "b": 0.1, "c": 0.8}] * 6


@pytest.fixture
def design(tmp_path):
    (tmp_path / "elsewhere.yaml").write_text(TEXT, encoding="utf-8")
    return load_experiment(tmp_path / "elsewhere.yaml")


def table(shares=SHARES, better=0.5, units=200):
    rng = random.Random(3)
    told = []
    for hour, of in enumerate(shares):
        for arm in rng.choices(list(of), weights=list(of.values()), k=units):
            won = rng.random() < (better if arm == "c" else 0.3)
            told.append((f"u{len(told)}", arm, int(won), hour, of[arm]))
    return pd.DataFrame(told, columns=["user", "arm", "answered", "hour", "p"])


def test_a_table_with_probabilities_is_read_out(design):
    """Epochs and their shares are told by two columns; c is best."""
    found = analyze(design, table())
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c")
    bandit = found.findings.bandit
    assert [epoch.shares["c"] for epoch in bandit.epochs] == pytest.approx([0.33] * 3 + [0.8] * 6)
    assert [epoch.units for epoch in bandit.epochs] == [200] * 9
    estimate = found.effect("answered", "c").estimate
    assert isinstance(estimate, Estimate)
    assert estimate.low < 0.2 < estimate.high


def test_an_arm_without_a_row_in_an_epoch_has_what_is_left(design):
    """A removed arm has nothing; one that was unlucky has the rest."""
    gone = [*SHARES, {"control": 0.2, "c": 0.8}]
    found = analyze(design, table(gone))
    assert found.findings.bandit.removed == ("b",)
    lucky = table(SHARES)
    found = analyze(design, lucky[(lucky.hour < 8) | (lucky.arm != "b")])
    assert [arm.share for arm in found.findings.bandit.arms] == pytest.approx([0.1, 0.1, 0.8])


def test_a_table_that_does_not_say_its_shares_is_invalid(design):
    """Without the two columns there is no honest estimate, and the read-out says which."""
    design_free = design.__class__(
        **{name: getattr(design, name) for name in design.__dataclass_fields__ if name != "source"}
    )
    frame = table().rename(columns={"user": "unit", "arm": "variant"}).drop(columns=["hour", "p"])
    assert analyze(design_free, frame).verdict.because == (
        "sample ratio: a pandas DataFrame does not say under which shares units came in, and without them no estimate of a "
        "bandit is honest. A log announces every epoch; a table says it in columns called `epoch` and `probability`, or "
        "named so in `source.columns`"
    )


def in_warehouse(frame):
    """The same rows as a table of an engine that Ibis speaks to."""
    return ibis.duckdb.connect().create_table("plays", pa.Table.from_pandas(frame))


def test_a_warehouse_s_table_is_read_out_as_a_frame_is(design):
    """The same arm with the same odds, and the same health: only moments by epoch came from there."""
    found, expected = analyze(design, in_warehouse(table())), analyze(design, table())
    assert found.findings.measurement.source == "the table plays in duckdb"
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c")
    assert [each.says for each in found.findings.health] == [each.says for each in expected.findings.health]
    for arm in ("b", "c"):
        one, other = (each.effect("answered", arm).estimate for each in (found, expected))
        assert [one.value, one.low, one.high] == pytest.approx([other.value, other.low, other.high], rel=1e-9)


@pytest.mark.parametrize("given", [lambda frame: frame, in_warehouse], ids=["frame", "warehouse"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop(columns="p"), "the table has no column 'p', which the definition names for probability; it has: user, arm, answered, hour"),
        (lambda frame: frame.assign(hour=frame.hour + 0.5), "an epoch is a whole number, counted in the order of time, and one row has 0.5"),
        (lambda frame: frame.assign(hour=frame.hour.where(frame.hour != 8)), "an epoch is a whole number, counted in the order of time, and one row has None"),
        (lambda frame: frame.assign(p=frame.p.where(frame.hour < 3)), "in epoch 3 rows of b hold a probability that is none; accepted: above 0 and at most 1"),
        (lambda frame: frame.assign(p=frame.p.where(frame.hour < 8, np.inf)), "the column 'p' (probability) holds 200 values that are not numbers, such as inf. Accepted: finite numbers, true, false, or empty for unknown"),
        (lambda frame: frame.assign(p=0.0), "in epoch 0 rows of b hold a probability that is none; accepted: above 0 and at most 1"),
        (lambda frame: frame.assign(hour=0), "in epoch 0 rows of b hold probabilities from 0.1 to 0.33; an epoch is a time in which they do not change, so give each its own number"),
        (lambda frame: frame.assign(p=frame.p / 2), "the probabilities of epoch 0 add up to 0.5; those of all arms add up to 1"),
    ],
)  # fmt: skip
def test_probabilities_that_cannot_be_are_refused(design, given, change, says):
    """With the epoch and the arm, and what would be accepted."""
    with pytest.raises(DataError, match=f"^{re.escape(says)}$"):
        analyze(design, given(change(table())))
