"""Durable ingest through the log's writer, against a bare `executemany` of the same rows in one transaction."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from pairs import against, report

from equipoise.events.facts import Encoded, Fact, Outcome, Turn, encoded
from equipoise.events.ids import new_id
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.writer import LogWriter

ROWS = 20_000
GROUP = 50
"""What a gateway hands over at once under load."""
_BACKLOG = 5_000
_number = count()


def _outcomes() -> list[Fact]:
    return [
        Outcome(experiment="bench", happened=1.0, unit=f"u{n}", name="resolved", value=True)
        for n in range(ROWS)
    ]


def _turns() -> list[Encoded]:
    """Turns as a gateway writes them, some 500 bytes each."""
    return [
        encoded(
            Turn(
                experiment="support-policy",
                happened=1.0,
                unit=f"conversation-{n}",
                digest="d" * 64,
                variant="treatment",
                epoch=0,
                reason="split",
                trace=new_id(),
                latency_s=1.234567 + n / 1e5,
                ttft_s=0.234567,
                tpot_s=0.012345,
                overhead_s=0.0005,
                input_tokens=523,
                output_tokens=211,
                cost_usd=0.00123,
                safe=True,
                error=False,
                empty=False,
                retries=0,
                warm=True,
                stream=True,
                status=200,
                finish_reason="stop",
                model="gpt-4.1-mini",
                sent_digest="b" * 32,
                checks={"pii": "passed"},
            )
        )
        for n in range(ROWS)
    ]


def _bare(path: Path, rows: Sequence[Encoded]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE events (event_id TEXT PRIMARY KEY, position INTEGER, kind TEXT, experiment TEXT, "
        "happened REAL, received REAL, body BLOB) WITHOUT ROWID"
    )
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (row.event_id, place, row.kind, row.experiment, row.happened, 2.0, row.body)
            for place, row in enumerate(rows)
        ),
    )
    connection.execute("COMMIT")
    connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def place() -> Path:
            return Path(folder) / f"{next(_number)}.db"

        turns = _turns()

        failed: list[Exception | None] = []

        def together() -> None:
            log = SQLiteLog(place())
            with LogWriter(log) as writer:
                for start in range(0, ROWS, GROUP):
                    while writer.waiting > _BACKLOG:
                        time.sleep(0.001)
                    writer.hand_over(turns[start : start + GROUP], failed.append)
            log.close()
            assert not any(failed)

        report(
            f"durable ingest of {ROWS} turns, {GROUP} at a time / one executemany of the same rows",
            against(together, lambda: _bare(place(), turns), pairs=9),
        )
        prepared = iter([_outcomes() for _ in range(24)])

        def one_by_one() -> None:
            log = SQLiteLog(place())
            with LogWriter(log) as writer:
                for fact in next(prepared):
                    writer.submit(fact)
            log.close()

        report(
            f"durable append of {ROWS} facts, one by one / one executemany",
            against(one_by_one, lambda: _bare(place(), [encoded(fact) for fact in next(prepared)]), pairs=9),
        )


if __name__ == "__main__":
    main()
