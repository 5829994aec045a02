"""Durable appends through the log's writer against a bare SQLite executemany of the same rows."""

from __future__ import annotations

import sqlite3
import tempfile
from itertools import count
from pathlib import Path

from pairs import against, report

from equipoise.events.facts import Outcome, encode
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.writer import LogWriter

ROWS = 20_000
_number = count()


def _facts() -> list[Outcome]:
    return [
        Outcome(experiment="bench", happened=1.0, unit=f"u{n}", name="resolved", value=True)
        for n in range(ROWS)
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = iter([_facts() for _ in range(24)])

        def ours() -> None:
            log = SQLiteLog(Path(folder) / f"ours-{next(_number)}.db")
            with LogWriter(log) as writer:
                for fact in next(prepared):
                    writer.submit(fact)
            log.close()

        def floor() -> None:
            facts = next(prepared)
            connection = sqlite3.connect(Path(folder) / f"floor-{next(_number)}.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE events (event_id TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO events VALUES (?, ?)", ((f.event_id, encode(f)) for f in facts)
            )
            connection.execute("COMMIT")
            connection.close()

        report(f"durable append of {ROWS} facts, one by one / one executemany", against(ours, floor, pairs=9))


if __name__ == "__main__":
    main()
