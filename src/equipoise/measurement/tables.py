"""A table as the source: CSV, Parquet or JSON lines by path or glob, or a frame held in memory."""

from __future__ import annotations

import glob
import gzip
import os
import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError, nearest
from equipoise.experiment.definition import Experiment, TableSource
from equipoise.experiment.metric import Quantity
from equipoise.measurement.epochs import columns_of
from equipoise.measurement.literals import quoted, text_literal
from equipoise.measurement.refusals import no_units, strays, unknown_variant

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "NamedColumns",
    "connect",
    "covariate_names",
    "frame_source",
    "implied_source",
    "named_columns",
    "open_table",
    "table_facts",
    "unreadable",
]

# The dialect is said, not guessed from a sample: a guess may be overturned by a row that lies beyond it.
_CSV = "read_csv(?, header = true, all_varchar = true, nullstr = '', quote = '\"', escape = '\"', comment = '', skip = 0"
_READERS = {
    ".csv": f"{_CSV}, delim = '{{mark}}')",
    ".tsv": f"{_CSV}, delim = '\t')",
    ".parquet": "read_parquet(?)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
    ".ndjson": "read_json(?, format = 'newline_delimited')",
}
# Columns that hold numbers already need not be read as text.
_TYPED = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)|FLOAT|DOUBLE|BOOLEAN)$")
_FLOATING = re.compile(r"(FLOAT|DOUBLE)$")
_DATED = re.compile(r"(DATE|TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE)$")
_ACCEPTED = ".csv, .tsv, .jsonl or .ndjson (also with .gz), or .parquet"


def connect() -> duckdb.DuckDBPyConnection:
    """A session of one's own: in memory, the same everywhere, with nothing it would fetch by itself.

    What is made in it is temporary, and nobody else's; it goes with the session.
    """
    import duckdb

    try:
        return _session()
    except duckdb.Error:
        # What broke the engine in somebody's session has broken it for all that come after.
        _engine.cache_clear()
        return _session()


def _session() -> duckdb.DuckDBPyConnection:
    session = _engine(os.getpid()).cursor()
    # A time without a zone is UTC, wherever the machine stands.
    session.execute("SET TimeZone = 'UTC'")
    return session


@cache
def _engine(_process: int) -> duckdb.DuckDBPyConnection:
    """One for all sessions of a process: to start it takes longer than to count a thousand units."""
    import duckdb

    engine = duckdb.connect(":memory:")
    # One thread adds in one order: the same data give the same digits, on any machine.
    engine.execute("SET threads = 1")
    engine.execute("SET autoinstall_known_extensions = false")
    engine.execute("SET autoload_known_extensions = false")
    engine.execute("SET enable_progress_bar = false")
    # Each session reads the files as they are by then.
    engine.execute("SET enable_external_file_cache = false")
    return engine


def open_table(connection: duckdb.DuckDBPyConnection, table: str | Path | Any, folder: str = ".") -> str:
    """Make the table known to the connection as the view or frame `source_rows`; returns its description.

    Raises DataError where nothing matches, the kind of file is unknown, or a file is damaged.
    """
    if isinstance(table, str | Path):
        return _open_files(connection, str(table), Path(folder))
    frame = table
    if hasattr(frame, "to_arrow_table"):  # a DuckDB relation, which belongs to a connection of its own
        frame = frame.to_arrow_table()
    try:
        connection.register("source_rows", frame)
    except Exception as error:  # noqa: BLE001 - each kind of frame fails in its own way
        raise DataError(
            f"a {type(table).__name__} cannot be read as a table: {_first_line(error)}. Accepted: an Arrow table, "
            "a pandas or Polars frame, a DuckDB relation, an Ibis table, or the path of a file"
        ) from None
    return f"a {type(table).__module__.split('.')[0]} {type(table).__name__}"


def _open_files(connection: duckdb.DuckDBPyConnection, pattern: str, folder: Path) -> str:
    import duckdb

    files = _matching(folder, pattern)
    if not files:
        raise DataError(
            f"no file matches {folder / pattern}. Check `source.table`; relative paths start at the definition"
        )
    kinds = {_kind(file) for file in files}
    if len(kinds) != 1 or (kind := kinds.pop()) not in _READERS:
        raise DataError(f"{pattern} is not a kind of table this reads. Accepted: {_ACCEPTED}")
    for file in files:
        _check_whole(file)
    reader = _READERS[kind].format(mark=_mark(files[0])) if kind == ".csv" else _READERS[kind]
    names = ", ".join(text_literal(str(file)) for file in files)
    # Of a Parquet file the columns that are counted are read, and no others; text is read once.
    made = "VIEW" if kind == ".parquet" else "TABLE"
    try:
        connection.execute(
            f"CREATE TEMP {made} source_rows AS SELECT * FROM {reader.replace('?', f'[{names}]')}"
        )
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise unreadable(pattern, error) from None
    return pattern if len(files) == 1 else f"{pattern} ({len(files)} files)"


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The files of a path or glob; a file that is called exactly so is never read as a glob."""
    if (folder / pattern).is_file():
        return [folder / pattern]
    names = glob.glob(pattern, root_dir=folder, recursive=True)
    return [folder / name for name in sorted(names) if (folder / name).is_file()]


def _kind(file: Path) -> str:
    name = Path(file.name.lower())
    return Path(name.stem).suffix if name.suffix == ".gz" else name.suffix


def _open(file: Path) -> gzip.GzipFile | Any:
    return gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")


def _check_whole(file: Path) -> None:
    # A reader may stop at the end of a truncated file without a word; this one does not.
    try:
        with _open(file) as stream:
            if not stream.read(1):
                raise DataError(f"{file} is empty: not even a line with the names of the columns")
            while file.suffix.lower() == ".gz" and stream.read(1 << 20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{file} is truncated or damaged ({error}). Copy it again from where it came"
        ) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from None


def _mark(file: Path) -> str:
    """What separates the columns: the mark that is most frequent in the line of their names."""
    with _open(file) as stream:
        names = stream.readline(1 << 20).decode("utf-8", errors="replace")
    return max(",;\t|", key=names.count)


def unreadable(described: str, error: BaseException) -> DataError:
    """What to raise where the engine could not read a table."""
    return DataError(f"{described} cannot be read: {_why(error)}")


def _why(error: BaseException) -> str:
    """The reader's complaint as one sentence, without its advice on options that are not ours."""
    text = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", text)
    where = f" (near line {line[1]})" if line else ""
    if "not utf-8" in text.lower():
        return f"it is not UTF-8 text{where}. Save it as UTF-8"
    if fields := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        return f"a row has {fields[2]} fields{where}, and the first line names {fields[1]} columns"
    if "sniffing" in text or line:
        return (
            f"its rows do not all have the columns that its first line names{where}, "
            "a quotation mark is not closed, or it is not UTF-8 text"
        )
    return re.sub(r"^(\w+ )+Error: ", "", _first_line(error))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


def implied_source(experiment: Experiment, columns: list[str]) -> TableSource:
    """The source of a frame for a definition that names none: columns called as the definition calls things."""
    found = {
        str(quantity): column
        for quantity in quantities(experiment)
        if (column := next((c for c in (str(quantity), quantity.name) if c in columns), None))
    }
    said = {f"label.{metric.of.name}" for metric in experiment.metrics if metric.correctable}
    labels = {column: column for column in columns if column in said}
    return TableSource(
        table="frame",
        unit="unit",
        variant="variant",
        time="time" if "time" in columns else None,
        columns=found | labels | {segment: segment for segment in experiment.segments if segment in columns},
    )


def label_columns(experiment: Experiment, source: TableSource) -> dict[str, str]:
    """The columns of people's labels that the definition names (`label.NAME`), by the score that they grade."""
    graded = sorted({metric.of.name for metric in experiment.metrics if metric.correctable})
    return {name: source.columns[f"label.{name}"] for name in graded if f"label.{name}" in source.columns}


def quantities(experiment: Experiment) -> list[Quantity]:
    """Every quantity some metric is made of, once, in a fixed order."""
    return sorted({q for metric in experiment.metrics for q in metric.quantities}, key=str)


def covariate_names(experiment: Experiment) -> list[str]:
    """Every covariate some metric is adjusted by, once, in a fixed order."""
    return sorted({name for metric in experiment.metrics for name in metric.covariates})


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedColumns:
    """Which column of a table holds what the definition speaks of; all of them are there."""

    quantities: Mapping[Quantity, str]
    segments: Mapping[str, str]
    covariates: Mapping[str, str]
    cluster: str | None
    labels: Mapping[str, str]
    epochs: Mapping[str, str]
    members: str | None


def named_columns(experiment: Experiment, source: TableSource, present: list[str]) -> NamedColumns:
    """The columns that the definition, or its silence, names. Raises DataError where one is not `present`."""
    columns: dict[Quantity, str] = {}
    for quantity in quantities(experiment):
        name = source.columns.get(str(quantity))
        if name is None:
            raise DataError(
                f"no column is named for {quantity}; add it under `source.columns`, or name a column "
                f"'{quantity.name}'. The table has: {', '.join(present)}"
            )
        columns[quantity] = name
    named = NamedColumns(
        quantities=columns,
        segments={name: source.columns.get(name, name) for name in experiment.segments},
        covariates={name: source.columns.get(name, name) for name in covariate_names(experiment)},
        cluster=source.columns.get(experiment.cluster, experiment.cluster) if experiment.cluster else None,
        labels=label_columns(experiment, source),
        epochs=columns_of(experiment, source, present),
        members=_members(experiment, source, present),
    )
    wanted = {"unit": source.unit, "variant": source.variant}
    wanted |= {"time": source.time} if source.time else {}
    wanted |= {str(quantity): name for quantity, name in columns.items()}
    wanted |= {f"segment {segment}": name for segment, name in named.segments.items()}
    wanted |= {f"covariate {covariate}": name for covariate, name in named.covariates.items()}
    wanted |= {"cluster": named.cluster} if named.cluster else {}
    wanted |= {f"label.{name}": column for name, column in named.labels.items()}
    for what, name in wanted.items():
        if name not in present:
            offer = nearest(name, present)
            raise DataError(
                f"the table has no column '{name}', which the definition names for {what}; "
                f"it has: {', '.join(present)}" + (f"; {offer}" if offer else "")
            )
    return named


def _members(experiment: Experiment, source: TableSource, present: Collection[str]) -> str | None:
    """The column that names members of clusters; None where nobody asks for them, or none has them."""
    members = experiment.unit.members
    column = None if members is None else source.columns.get(members, members)
    return column if column in present else None


def table_facts(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, source: TableSource
) -> Mapping[Quantity, str]:
    """Make `facts` out of `source_rows`: unit, variant, happened, cluster, member where told, a column per quantity.

    Returns the column of each quantity. Raises DataError, naming column and value, for columns that are
    not there and values that are not numbers.
    """
    types = {str(row[0]): str(row[1]) for row in connection.execute("DESCRIBE source_rows").fetchall()}
    named = named_columns(experiment, source, list(types))
    columns, settled, epochs = named.quantities, named.covariates, named.epochs
    names = {quantity: f"q{index}" for index, quantity in enumerate(columns)}
    selected = [
        f"{_unit(connection, source.unit, types[source.unit])} AS unit",
        f"CAST({quoted(source.variant)} AS VARCHAR) AS variant",
        f"{_time(source.time, types)} AS happened",
        f"{f'CAST({quoted(named.cluster)} AS VARCHAR)' if named.cluster else 'NULL'} AS cluster",
        *(f"{_numeric(column, types[column])} AS {names[each]}" for each, column in columns.items()),
        *(f"CAST({quoted(column)} AS VARCHAR) AS s{i}" for i, column in enumerate(named.segments.values())),
        *(f"{_numeric(column, types[column])} AS z{i}" for i, column in enumerate(settled.values())),
        *(f"{_numeric(column, types[column])} AS l{i}" for i, column in enumerate(named.labels.values())),
        *(f"{_numeric(column, types[column])} AS {each}" for each, column in epochs.items()),
        *([f"CAST({quoted(named.members)} AS VARCHAR) AS member"] if named.members is not None else ()),
    ]
    counted = {
        **{name: str(each) for each, name in columns.items()},
        **{n: f"covariate {c}" for c, n in settled.items()},
        **{column: f"label.{name}" for name, column in named.labels.items()},
        **{column: each for each, column in epochs.items()},
    }
    texts = [name for name in counted if not _TYPED.match(types[name])]
    kept = connection.execute("SELECT 1 FROM duckdb_views() WHERE view_name = 'source_rows'").fetchone()
    # Text is trimmed and read as numbers once, however often it is counted; numbers stay where they are.
    made = "VIEW" if kept and not texts and _timed(source.time, types) else "TABLE"
    connection.execute(f"CREATE TEMP {made} facts AS SELECT {', '.join(selected)} FROM source_rows")
    for name in texts:
        _check_texts(connection, counted[name], name)
    # Whole numbers and decimals are finite by their kind.
    for name in (name for name in counted if _FLOATING.match(types[name])):
        _raise_strays(connection, counted[name], name, f"NOT isfinite({quoted(name)})")
    if source.time:
        _check_times(connection, source.time, types)
    _check_variants(connection, experiment)
    return names


def _text(column: str) -> str:
    return f"lower(trim(CAST({quoted(column)} AS VARCHAR)))"


def _numeric(column: str, kind: str) -> str:
    """The column as DOUBLE: numbers as they are, text read as a number, true or false; else NULL."""
    if _TYPED.match(kind):
        return f"CAST({quoted(column)} AS DOUBLE)"
    text = _text(column)
    return f"CASE {text} WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 ELSE TRY_CAST({text} AS DOUBLE) END"


def _unit(connection: duckdb.DuckDBPyConnection, column: str, kind: str) -> str:
    """The unit as text, without space around it; NULL where there is none."""
    text = f"CAST({quoted(column)} AS VARCHAR)"
    if _TYPED.match(kind):
        return text
    # Nearly no table has space around its units, and to look once is a fraction of the work of trimming them. What is
    # empty or begins with a space sorts before '!'; other spaces than ' ' take more than a byte.
    (untidy,) = connection.execute(
        f"SELECT coalesce(bool_or({text} < '!' OR ends_with({text}, ' ') OR strlen({text}) <> length({text})), false) "
        "FROM source_rows"
    ).fetchone() or (True,)
    return f"nullif(trim({text}), '')" if untidy else text


def _timed(column: str | None, types: Mapping[str, str]) -> bool:
    """Whether times need not be read from text."""
    return column is None or bool(_TYPED.match(types[column]) or _DATED.match(types[column]))


def _time(column: str | None, types: Mapping[str, str]) -> str:
    if column is None:
        return "CAST(NULL AS DOUBLE)"
    name, kind = quoted(column), types[column]
    if _TYPED.match(kind) and kind != "BOOLEAN":
        return f"CAST({name} AS DOUBLE)"
    if _DATED.match(kind):
        return f"epoch(CAST({name} AS {'TIMESTAMPTZ' if kind.endswith('ZONE') else 'TIMESTAMP'}))"
    text = f"CAST({name} AS VARCHAR)"
    return f"coalesce(TRY_CAST({text} AS DOUBLE), epoch(TRY_CAST({text} AS TIMESTAMPTZ)))"


def _check_texts(connection: duckdb.DuckDBPyConnection, what: str, column: str) -> None:
    text, number = _text(column), _numeric(column, "VARCHAR")
    _raise_strays(connection, what, column, f"{text} <> '' AND ({number} IS NULL OR NOT isfinite({number}))")


def _raise_strays(connection: duckdb.DuckDBPyConnection, what: str, column: str, wrong: str) -> None:
    if found := _found(connection, column, wrong):
        count, example = found
        raise DataError(
            f"the column '{column}' ({what}) holds {strays(count, 'a number', 'numbers', example)}. "
            "Accepted: finite numbers, true, false, or empty for unknown"
        )


def _found(connection: duckdb.DuckDBPyConnection, column: str, wrong: str) -> tuple[int, Any] | None:
    """How many rows are wrong, and an example. Whether any is takes less than to count them: blocks of rows are passed."""
    where = f"FROM source_rows WHERE {wrong}"
    if connection.execute(f"SELECT 1 {where} LIMIT 1").fetchone() is None:
        return None
    return connection.execute(f"SELECT count(*), any_value({quoted(column)}) {where}").fetchone()


def _check_times(connection: duckdb.DuckDBPyConnection, column: str, types: Mapping[str, str]) -> None:
    at = _time(column, types)
    if any(_found(connection, column, each) for each in (f"{at} IS NULL", f"NOT isfinite({at})")):
        wrong, example = _found(connection, column, f"{at} IS NULL OR NOT isfinite({at})") or (0, None)
        raise DataError(
            f"the time column '{column}' holds {strays(wrong, 'a time', 'times', example)}. "
            "Accepted: 2026-01-31 12:00:00, or seconds since 1970"
        )


def _check_variants(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    if not connection.execute("SELECT 1 FROM facts WHERE unit IS NOT NULL LIMIT 1").fetchone():
        raise no_units()
    known = ", ".join(text_literal(variant.name) for variant in experiment.variants)
    strange = f"FROM facts WHERE (variant IS NULL OR variant NOT IN ({known}))"
    if not connection.execute(f"SELECT 1 {strange} LIMIT 1").fetchone():
        return
    found = connection.execute(
        f"SELECT variant, count(*) {strange} AND unit IS NOT NULL GROUP BY variant ORDER BY variant"
    ).fetchone()
    if found:
        raise unknown_variant(experiment, *found)


def frame_source(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> TableSource:
    """The definition's source, or the implied one where it names none."""
    present = [str(row[0]) for row in connection.execute("DESCRIBE source_rows").fetchall()]
    if experiment.source is None:
        return implied_source(experiment, present)
    return experiment.source
