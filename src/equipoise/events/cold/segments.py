"""A segment: sealed facts as one Parquet file (zstd), a row each, with the body as it was kept.

The only file of the record that needs pyarrow, and only once facts were sealed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from equipoise.errors import MissingExtraError
from equipoise.events.bodies import Body
from equipoise.events.cold.shelf import take
from equipoise.events.manifest import Segment

__all__ = ["Columns", "Row", "as_parquet", "bodies_in", "columns_of", "facts_in", "rows_of"]

_GROUP = 65_536
_BATCH = 4_096


class Row(NamedTuple):
    """A fact as the hot table and a segment keep it, column by column."""

    position: int
    received: float
    kind: str
    event_id: str
    experiment: str
    happened: float
    body: bytes


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("a log with sealed facts") from None
    return pa


class Columns(NamedTuple):
    """Rows turned: each field of all of them."""

    position: Sequence[int]
    received: Sequence[float]
    kind: Sequence[str]
    event_id: Sequence[str]
    experiment: Sequence[str]
    happened: Sequence[float]
    body: Sequence[bytes]


def columns_of(rows: Sequence[tuple[Any, ...]]) -> Columns:
    """The columns of some rows, in their order; also of none."""
    return Columns._make(zip(*rows, strict=True) if rows else [()] * len(Columns._fields))


def as_parquet(columns: Columns) -> bytes:
    """The bytes of a segment that holds these rows, in this order; the same rows give the same bytes."""
    pa = _pyarrow()
    text = pa.string()
    types = (pa.int64(), pa.float64(), text, text, text, pa.float64(), pa.binary())
    table = pa.table(
        [pa.array(column, type=kind) for column, kind in zip(columns, types, strict=True)],
        schema=pa.schema(list(zip(Columns._fields, types, strict=True))),
    )
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=_GROUP,
        use_dictionary=["kind", "experiment", "received"],
        # An id and a body are as good as random: their smallest and largest would only cost room.
        write_statistics=["position", "received", "kind", "experiment", "happened"],
    )
    return bytes(sink.getvalue())


def facts_in(data: bytes) -> int:
    """How many facts the bytes of a segment hold."""
    pa = _pyarrow()
    return int(pa.parquet.read_metadata(pa.BufferReader(data)).num_rows)


def rows_of(
    shelf: Path,
    segment: Segment,
    *,
    after: int = 0,
    experiment: str | None = None,
    kinds: Sequence[str] | None = None,
) -> Iterator[Row]:
    """The rows of a segment after a position, of an experiment, of some kinds, in their order.

    Its file is read and checked at the call, before the first row is asked for. Raises RecordError where it is
    missing or not what was sealed, MissingExtraError without the `analysis` extra.
    """
    pa = _pyarrow()
    data = take(shelf, segment.name, segment.sha256)
    return _rows(pa, data, after, experiment, kinds)


def bodies_in(
    shelf: Path, segment: Segment, *, after: int, until: int, experiment: str, kind: str
) -> list[Body]:
    """What a segment keeps of one kind of fact, after a position and up to another, without the rest of each.

    Raises as `rows_of`.
    """
    pa = _pyarrow()
    data = take(shelf, segment.name, segment.sha256)
    compute = pa.compute
    found: list[Body] = []
    columns = ["position", "happened", "received", "body", "experiment", "kind"]
    file = pa.parquet.ParquetFile(pa.BufferReader(data), read_dictionary=["experiment", "kind"])
    for batch in file.iter_batches(_GROUP, columns=columns, use_threads=False):
        wanted = compute.and_(
            compute.greater(batch["position"], after), compute.less_equal(batch["position"], until)
        )
        for name, value in (("experiment", experiment), ("kind", kind)):
            wanted = compute.and_(wanted, compute.equal(batch[name], value))
        kept = batch.select(columns[:4]).filter(wanted)
        found += zip(*(column.to_pylist() for column in kept.columns), strict=True)
    return found


def _rows(
    pa: Any, data: bytes, after: int, experiment: str | None, kinds: Sequence[str] | None
) -> Iterator[Row]:
    compute = pa.compute
    for batch in pa.parquet.ParquetFile(pa.BufferReader(data)).iter_batches(_BATCH, use_threads=False):
        wanted = compute.greater(batch["position"], after)
        if experiment is not None:
            wanted = compute.and_(wanted, compute.equal(batch["experiment"], experiment))
        if kinds is not None:
            among = pa.array(list(kinds), type=pa.string())
            wanted = compute.and_(wanted, compute.is_in(batch["kind"], value_set=among))
        found = batch.filter(wanted)
        yield from map(Row._make, zip(*(column.to_pylist() for column in found.columns), strict=True))
