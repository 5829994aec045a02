"""What a Parquet file tells of its blocks of rows is no reason to pass over a value that is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise import analyze
from equipoise.errors import DataError
from equipoise.experiment.reading import load_experiment

DEFINITION = """
name: blocks
hypothesis: A value that is wrong is found wherever it lies.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.05}
  spent: {kind: mean, of: outcome.spent, better: higher, covariates: [before]}
source:
  table: t.parquet
  unit: who
  variant: arm
  time: at
  columns: {outcome.won: won, outcome.spent: spent}
"""
ROWS = 5_000


def columns() -> dict[str, list[Any]]:
    return {
        "who": [f"u{n}" for n in range(ROWS)],
        "arm": ["control" if n % 2 else "b" for n in range(ROWS)],
        "at": [1.7e9 + n for n in range(ROWS)],
        "won": [float(n % 3 == 0) for n in range(ROWS)],
        "spent": [n / 7 for n in range(ROWS)],
        "before": [n % 11 / 3 for n in range(ROWS)],
    }


NUMBERS = "Accepted: finite numbers, true, false, or empty for unknown"
TIMES = "Accepted: 2026-01-31 12:00:00, or seconds since 1970"


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("spent", math.nan, f"the column 'spent' (outcome.spent) holds 1 value that is not a number: nan. {NUMBERS}"),
        ("before", -math.inf, f"the column 'before' (covariate before) holds 1 value that is not a number: -inf. {NUMBERS}"),
        ("at", math.nan, f"the time column 'at' holds 1 value that is not a time: nan. {TIMES}"),
        ("at", None, f"the time column 'at' holds 1 value that is not a time: None. {TIMES}"),
        ("won", 0.5, "won is a proportion of outcome.won, and 1 unit has another value than 0 or 1, such as 0.5. Use `kind: mean`, or record true and false"),
        ("arm", "c", "1 row has the variant 'c', which the definition does not; it has: control, b. Add it to `variants:`, or leave those rows out of the table"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_any_block_is_found(
    tmp_path: Path, column: str, value: Any, said: str, dictionary: bool
) -> None:
    """In the first block, in the middle, or last of all; written with the least and greatest of each block beside."""
    (tmp_path / "e.yaml").write_text(DEFINITION, encoding="utf-8")
    experiment = load_experiment(tmp_path / "e.yaml")
    for place in (0, ROWS // 2, ROWS - 1):
        made = columns()
        made[column][place] = value
        pq.write_table(
            pa.table(made), tmp_path / "t.parquet", row_group_size=1_000, use_dictionary=dictionary
        )
        with pytest.raises(DataError) as refused:
            analyze(experiment)
        assert str(refused.value) == said


def test_a_row_of_nobody_may_say_anything_of_its_variant(tmp_path: Path) -> None:
    """A variant that is not declared is passed over where no unit is named, and refuses nothing."""
    (tmp_path / "e.yaml").write_text(DEFINITION, encoding="utf-8")
    made = columns()
    made["arm"][7], made["who"][7] = "c", None
    made["arm"][8], made["who"][8] = None, " "
    pq.write_table(pa.table(made), tmp_path / "t.parquet")
    measured = analyze(load_experiment(tmp_path / "e.yaml")).findings.measurement
    assert (sum(measured.units.values()), measured.rows_without_unit) == (ROWS - 2, 2)
