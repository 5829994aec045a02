"""`analyze(experiment, table)` for whoever works in a notebook: every kind of table, the same answer."""

from __future__ import annotations

import html
import random
from html.parser import HTMLParser

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise import Analysis, analyze, load_experiment
from equipoise.errors import DataError

EVIL = "<script>alert('h')</script> & \"quotes\" ümlaut 漢字"
TEXT = f"""
name: frames
hypothesis: '{EVIL.replace("'", "''")}'
unit: {{type: user}}
variants: {{control: {{}}, b: {{}}}}
metrics:
  won: {{priority: primary, kind: proportion, of: outcome.won, better: higher}}
  spent: {{priority: guardrail, kind: mean, of: turn.cost_usd, better: lower, margin: 1.0}}
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "frames.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return load_experiment(path)


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = random.Random(4)
    rows = []
    for number in range(400):
        treated = number % 2
        rows.append(
            {
                "unit": f"u{number}",
                "variant": "b" if treated else "control",
                "won": rng.random() < (0.7 if treated else 0.5),
                "cost_usd": rng.randrange(100) / 8 if number % 7 else None,
            }
        )
    return pd.DataFrame(rows)


def tables(frame: pd.DataFrame, folder):
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(arrow, folder / "t.parquet")
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_json(folder / "t.jsonl", orient="records", lines=True)
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    yield from {
        "pandas": frame,
        "pandas with an index": frame.set_index(frame["unit"] + "x"),
        "pandas with categories": frame.astype({"variant": "category"}),
        "pandas with nullable types": frame.convert_dtypes(),
        "polars": pl.from_pandas(frame),
        "polars, lazy": pl.from_pandas(frame).lazy(),
        "polars with categories": pl.from_pandas(frame).with_columns(pl.col("variant").cast(pl.Categorical)),
        "arrow": arrow,
        "arrow with a dictionary": arrow.set_column(
            1, "variant", arrow["variant"].combine_chunks().dictionary_encode()
        ),
        "a relation": connection.from_arrow(arrow),
        "a relation of a query": connection.sql("SELECT * FROM arrow WHERE unit IS NOT NULL"),
        "a path": folder / "t.csv",
        "a path as text": str(folder / "t.jsonl"),
        "parquet": folder / "t.parquet",
    }.items()


def test_every_kind_of_table_gives_the_same_analysis(experiment, frame, tmp_path):
    """Pandas, Polars, Arrow, a DuckDB relation, a path: the same verdict and digits, but for the source's name."""
    expected = analyze(experiment, frame)
    assert isinstance(expected, Analysis)
    assert (expected.verdict.word, expected.verdict.arm) == ("ship", "b")
    assert expected.effect("spent").missing == {"control": 29, "b": 29}
    for name, table in tables(frame, tmp_path):
        found = analyze(experiment, table).to_dict()
        assert found | {"source": ""} == expected.to_dict() | {"source": ""}, name


def test_the_definition_may_be_given_by_its_path(experiment, frame, tmp_path):
    """A path and a loaded definition are the same."""
    assert analyze(tmp_path / "frames.yaml", frame) == analyze(experiment, frame)
    assert analyze(str(tmp_path / "frames.yaml"), frame) == analyze(experiment, frame)


def test_the_frame_is_left_as_it_was(experiment, frame):
    """Reading changes nothing of the caller's data."""
    before = frame.copy(deep=True)
    analyze(experiment, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_frame_that_lacks_a_column_is_refused_with_the_way_out(experiment, frame):
    """Columns are called as the definition calls things, or named under `source.columns`."""
    with pytest.raises(DataError) as refused:
        analyze(experiment, frame.rename(columns={"cost_usd": "price"}))
    assert str(refused.value) == (
        "no column is named for turn.cost_usd; add it under `source.columns`, or name a column 'cost_usd'. "
        "The table has: unit, variant, won, price"
    )
    with pytest.raises(DataError) as refused:
        analyze(experiment, frame.rename(columns={"variant": "arm"}))
    assert str(refused.value) == (
        "the table has no column 'variant', which the definition names for variant; it has: unit, arm, won, cost_usd"
    )


@pytest.mark.parametrize(
    "table", [3, ["rows"], {"unit": ["u"]}, object()], ids=lambda table: type(table).__name__
)
def test_what_is_no_table_is_refused(experiment, table):
    """A list, a number, a dictionary: a sentence that says what would be accepted."""
    with pytest.raises(DataError) as refused:
        analyze(experiment, table)
    said = str(refused.value)
    assert said.startswith(f"a {type(table).__name__} cannot be read as a table: ")
    assert said.endswith(
        "Accepted: an Arrow table, a pandas or Polars frame, a DuckDB relation, an Ibis table, or the path of a file"
    )


def test_no_table_at_all_is_refused(experiment):
    """Neither given nor named by the definition."""
    with pytest.raises(DataError) as refused:
        analyze(experiment)
    assert str(refused.value) == (
        f"{experiment.identity} names no table; add `source:` to the definition, or pass one"
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: dict[str, str] = {}

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes |= dict(attrs)


def test_a_notebook_shows_it_in_a_frame_of_its_own_and_everything_is_escaped(experiment, frame):
    """`_repr_html_` is one iframe; inside, the hypothesis is text, and no script is anywhere."""
    outer = Tags()
    outer.feed(analyze(experiment, frame)._repr_html_())
    assert outer.seen == ["iframe"]
    page = outer.attributes["srcdoc"]
    assert page == analyze(experiment, frame).to_html()
    inner = Tags()
    inner.feed(page)
    assert "script" not in inner.seen
    assert html.escape(EVIL, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")


def test_markdown_escapes_what_would_be_markup(experiment, frame):
    """A hypothesis with angle brackets stays a hypothesis in a pull request."""
    text = analyze(experiment, frame).to_markdown()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
