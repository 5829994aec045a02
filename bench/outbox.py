"""Facts of a log to a collector, against the least that could do it: a SELECT, gzip and a POST of the same rows."""

from __future__ import annotations

import gzip
import http.client
import random
import sqlite3
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from pairs import against, report

from equipoise.events.cursors import CURSORS, Cursors
from equipoise.events.facts import Turn
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.sqlite_beside import SQLiteBeside
from equipoise.integrations.collectors import collector
from equipoise.integrations.outbox import deliver

FACTS = 20_000
BATCH = 500
_number = count()
SINK = """
import asyncio

async def taking(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\\r\\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    server = await asyncio.start_server(taking, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def _turn(number: int, rng: random.Random) -> Turn:
    return Turn(
        experiment="bench",
        happened=1.7e9 + number,
        unit=f"u{number // 4}",
        digest="d" * 64,
        variant="treatment",
        epoch=1,
        reason="split",
        trace=f"{rng.getrandbits(128):032x}",
        latency_s=rng.random(),
        ttft_s=rng.random(),
        input_tokens=rng.randrange(500),
        output_tokens=rng.randrange(500),
        cost_usd=rng.random() / 100,
        safe=True,
        error=False,
        status=200,
        finish_reason="stop",
        model="small",
    )


def main() -> None:
    rng = random.Random(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen((sys.executable, "-c", SINK), stdout=subprocess.PIPE, text=True) as sink,
    ):
        assert sink.stdout is not None
        port = int(sink.stdout.readline())
        path = Path(folder) / "log.db"
        log = SQLiteLog(path)
        log.append([_turn(n, rng) for n in range(FACTS)])

        def ours(kind: str) -> None:
            cursors = Cursors(SQLiteBeside(Path(folder) / f"cursors-{next(_number)}", CURSORS))
            done = deliver(log, cursors, collector(f"http://127.0.0.1:{port}", kind), rng=rng, once=True)
            assert done.delivered == FACTS
            cursors.close()

        def floor() -> None:
            connection = sqlite3.connect(path)
            line = http.client.HTTPConnection("127.0.0.1", port)
            rows = connection.execute("SELECT body FROM events ORDER BY position")
            while page := rows.fetchmany(BATCH):
                line.request("POST", "/", gzip.compress(b"\n".join(body for (body,) in page), 6))
                line.getresponse().read()
            line.close()
            connection.close()

        for kind in ("http", "otlp"):
            figures = against(lambda kind=kind: ours(kind), floor, pairs=5)  # type: ignore[misc]
            report(f"outbox, {FACTS} facts to a collector ({kind}) / SELECT, gzip, POST", figures)
        log.close()
        sink.kill()


if __name__ == "__main__":
    main()
