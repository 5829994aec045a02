"""Sealing a log against a direct Parquet write: the same rows, read from SQLite and written by pyarrow."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pairs import against, report

from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Turn
from equipoise.events.sqlite import SQLiteLog

TURNS = 100_000
_number = count()


def _fill(path: Path) -> None:
    log = SQLiteLog(path)
    log.append(
        Turn(
            experiment="bench",
            happened=float(n),
            unit=f"conversation-{n // 4}",
            digest="0" * 16,
            variant="control",
            trace=f"{n:032x}",
            latency_s=0.5 + n % 7 / 10,
            input_tokens=n % 900,
            output_tokens=n % 300,
            safe=True,
            error=False,
        )
        for n in range(TURNS)
    )
    log.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder) / "full.db"
        _fill(full)
        copies = []
        for n in range(8):
            copies.append(Path(folder) / f"copy-{n}.db")
            shutil.copy(full, copies[-1])
        waiting = iter(copies)

        def ours() -> None:
            seal(next(waiting), hot_s=0.0)

        def floor() -> None:
            connection = sqlite3.connect(full)
            rows = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
            connection.close()
            names = ("event_id", "position", "kind", "experiment", "happened", "received", "body")
            table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
            with open(Path(folder) / f"floor-{next(_number)}.parquet", "wb") as stream:
                pq.write_table(table, stream, compression="zstd")
                os.fsync(stream.fileno())

        report(
            f"seal of {TURNS} turns / reading and writing the same as Parquet", against(ours, floor, pairs=5)
        )


if __name__ == "__main__":
    main()
