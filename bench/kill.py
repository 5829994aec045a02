"""How soon an operator's kill is what every gateway serves: from its commit to the first answer that says so.

python bench/kill.py                                          (50 kills, two gateways on one SQLite log)
python bench/kill.py --log postgresql://user@host/database    (the same on PostgreSQL)
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from online.contenders import free_port
from online.ours import RUN
from pairs import report

from equipoise.conduct.move import kill, resume
from equipoise.conduct.register import register
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical

DEFINITION = {
    "name": "kills",
    "hypothesis": "None; this kills an experiment again and again.",
    "unit": {"type": "conversation", "from": "header:x-conversation-id"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
}
ASK = json.dumps({"experiment": "kills", "unit": "conversation-1"})
LONGEST = 10.0


def served(line: http.client.HTTPConnection) -> str:
    """Why a unit gets what it gets, as a gateway says."""
    line.request("POST", "/v1/assign", ASK, {"content-type": "application/json"})
    return str(json.loads(line.getresponse().read())["reason"])


def heard(port: int, reason: str, into: list[float]) -> None:
    """Ask until the answer is this, and note when it was (monotonic seconds)."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    end = time.monotonic() + LONGEST
    while served(line) != reason:
        if time.monotonic() > end:
            raise SystemExit(f"a gateway did not say {reason} within {LONGEST:g} s")
        time.sleep(0.002)
    into.append(time.monotonic())
    line.close()


def everywhere(ports: list[int], reason: str) -> tuple[list[threading.Thread], list[float]]:
    times: list[float] = []
    threads = [threading.Thread(target=heard, args=(port, reason, times)) for port in ports]
    for thread in threads:
        thread.start()
    return threads, times


def main(where: str | None = None, kills: int = 50) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        place = where or str(Path(folder) / "log.db")
        log = open_log(place)
        register(log, read_canonical(DEFINITION), by="bench", reason="a measurement")
        ports = [free_port(), free_port()]
        for port in ports:
            at = ("--port", str(port), "--log", place, "--state", str(Path(folder) / str(port)))
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    RUN,
                    "serve",
                    "--no-dashboard",
                    *at,
                    "--upstream",
                    "http://127.0.0.1:9/v1",
                    "--json",
                ],
                stdout=subprocess.PIPE,
            )
            running.callback(process.wait)
            running.callback(process.terminate)
            assert process.stdout is not None
            process.stdout.readline()
        taken: list[float] = []
        for _ in range(kills):
            threads, times = everywhere(ports, "redirected")
            time.sleep(0.05)
            kill(log, "kills", by="bench", count=False)
            committed = time.monotonic()
            for thread in threads:
                thread.join()
            taken += [each - committed for each in times]
            threads, _ = everywhere(ports, "split")
            resume(log, "kills", by="bench")
            for thread in threads:
                thread.join()
        log.close()
    taken.sort()
    kind = "PostgreSQL" if where else "SQLite"
    report(
        f"kill, from its commit to the first answer, two gateways, {kind}",
        {
            "p50_s": taken[len(taken) // 2],
            "p99_s": taken[-(-len(taken) * 99 // 100) - 1],
            "max_s": taken[-1],
            "measured": float(len(taken)),
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--log", help="postgresql://… instead of an SQLite file")
    parser.add_argument("--kills", type=int, default=50)
    given = parser.parse_args()
    main(given.log, given.kills)
