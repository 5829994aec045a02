"""A table's rows as minutes of windows: what happened when, in which arm, each row a turn."""

from __future__ import annotations

from equipoise.errors import DataError
from equipoise.events.windows import CellKey
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.cells import MINUTE_S, TURNS, Cell
from equipoise.measurement.tables import connect, open_table, table_facts, unreadable

__all__ = ["table_cells"]

_PAGE = 50_000


def table_cells(experiment: Experiment) -> dict[CellKey, Cell]:
    """The cells of the table that `source` names, every quantity in buckets; rows without a time are in none.

    DataError where there is no table with times in a file, or where it cannot be read.
    """
    import duckdb

    source = experiment.source
    if source is None:
        raise DataError(
            f"{experiment.name} names no table (`source:`), so its past is in the log: equipoise baseline NAME"
        )
    if source.connection is not None or source.time is None or source.grain != "event":
        raise DataError(
            "windows are made of rows with their times, in a file. Name the column with `source.time`, keep `grain: event`, "
            "and copy a warehouse's rows to a file"
        )
    cells: dict[CellKey, Cell] = {}
    with connect() as connection:
        described = open_table(connection, source.table, experiment.folder)
        try:
            names = table_facts(connection, experiment, source)
        except duckdb.Error as error:
            raise unreadable(described, error) from None
        asked = ", ".join(names.values())
        rows = connection.execute(
            f"SELECT CAST(floor(happened / {MINUTE_S}) AS BIGINT), variant, {asked} FROM facts "
            "WHERE happened IS NOT NULL ORDER BY 1, 2"
        )
        while page := rows.fetchmany(_PAGE):
            groups: dict[tuple[int, str], list[tuple[float | None, ...]]] = {}
            for minute, arm, *numbers in page:
                groups.setdefault((minute, arm), []).append(tuple(numbers))
            for (minute, arm), rows_of in groups.items():
                columns = dict(zip(map(str, names), zip(*rows_of, strict=True), strict=True))
                columns[TURNS] = (1.0,) * len(rows_of)
                for name, column in columns.items():
                    key = CellKey(minute, arm, name)
                    cell = Cell.of((each for each in column if each is not None), bucketed=name != TURNS)
                    cells[key] = cells[key] + cell if key in cells else cell
    return cells
