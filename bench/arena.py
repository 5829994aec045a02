"""The Prompt Arena against a bare aiohttp loop that asks the same, and what a kill and a resume cost.

500 cases × 2 prompts × (answer + verdict) = 2,000 requests of 50 ms, 32 at once, to a simulated endpoint in a
process of its own. Ours is the whole `equipoise arena` command, from start to written report.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import orjson
from pairs import report

from equipoise.arena.answering import answer_request
from equipoise.arena.cases import read_cases
from equipoise.experiment.reading import load_experiment

CASES = 500
LATENCY_S = 0.05
AT_ONCE = 32
KILLS = 20

SERVER = """
import hashlib, orjson, sys, time
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
LATENCY = float(sys.argv[1])

def answer(body):
    said = body["messages"][-1]["content"]
    seen = hashlib.sha256(orjson.dumps(body["messages"])).hexdigest()
    if body["model"] == "judge":
        text = orjson.dumps({"reason": seen[:12], "winner": "AB"[int(seen, 16) % 2]}).decode()
    else:
        text = f"An answer to: {said[:40]} ({seen[:200]})"
    return SimulatedAnswer(text=text, latency_s=LATENCY)

endpoint = SimulatedEndpoint(answer)
with endpoint as url:
    print(url, flush=True)
    for line in sys.stdin:
        print(endpoint.served, flush=True)
"""

DEFINITION = """
name: bench-arena
hypothesis: The second prompt is better.
unit: request
changes: [system]
variants:
  control: {model: bot, system: Be helpful., params: {temperature: 0}}
  treatment: {model: bot, system: Be brief and helpful., params: {temperature: 0}}
metrics:
  resolved: {priority: primary, kind: proportion, of: outcome.resolved, better: higher, baseline: 0.5, mde: 0.1}
offline:
  cases: cases.jsonl
  judge: {model: judge}
"""


class Server:
    """The simulated endpoint in a process of its own; `served` is how many requests it has answered."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(LATENCY_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    @property
    def served(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def prepared():
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "experiment.yaml").write_text(DEFINITION)
        (place / "cases.jsonl").write_text(
            "".join(
                json.dumps({"id": f"c{n}", "input": f"Question {n}: where is my parcel?"}) + "\n"
                for n in range(CASES)
            )
        )
        try:
            yield server, place
        finally:
            server.stop()


def command(place: Path, server: Server, *more: str):
    """The command as a user runs it; (wall seconds, CPU seconds, MiB at most, exit code)."""
    started = time.perf_counter()
    process = start(place, server, *more)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, process.returncode


def start(place: Path, server: Server, *more: str) -> subprocess.Popen:
    code = "from equipoise.cli.main import run; run()"
    arguments = ["arena", "experiment.yaml", "--concurrency", str(AT_ONCE), "--no-record", *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=os.environ | {"EQUIPOISE_BASE_URL": server.url, "OPENAI_API_KEY": "none"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def bare(place: Path, url: str) -> float:
    """Wall seconds of a bare loop that asks the same 2,000 requests: the answers, then the verdicts."""
    experiment = load_experiment(place / "experiment.yaml")
    assert experiment.offline is not None
    cases = read_cases(experiment.offline.cases, place)

    async def ask() -> None:
        free = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession() as session:

            async def post(body: bytes) -> str:
                async with (
                    free,
                    session.post(
                        f"{url}/chat/completions",
                        data=body,
                        headers={"content-type": "application/json"},
                    ) as reply,
                ):
                    return orjson.loads(await reply.read())["choices"][0]["message"]["content"]

            async def case(one) -> None:
                answers = await asyncio.gather(
                    *(
                        post(orjson.dumps(answer_request(one, variant).wire()))
                        for variant in experiment.variants
                    )
                )
                await asyncio.gather(
                    *(
                        post(
                            orjson.dumps(
                                {
                                    "model": "judge",
                                    "messages": [{"role": "user", "content": "\n".join(order)}],
                                }
                            )
                        )
                        for order in (answers, answers[::-1])
                    )
                )

            await asyncio.gather(*(case(one) for one in cases))

    started = time.perf_counter()
    asyncio.run(ask())
    return time.perf_counter() - started


def speed() -> None:
    with prepared() as (server, place):
        bare(place, server.url)
        pairs = []
        for number in range(3):
            floor = bare(place, server.url)
            wall, cpu, mib, code = command(place, server, "--journal", f"run-{number}.jsonl")
            pairs.append((wall / floor, wall, floor, cpu, mib))
            assert code in (0, 3, 4), code
        ratio, wall, floor, cpu, mib = sorted(pairs)[len(pairs) // 2]
        report(
            "arena, 2,000 requests, whole command / bare aiohttp loop",
            {"ratio": ratio, "ours_s": wall, "floor_s": floor, "cpu_s": cpu, "mib": mib},
        )
        before = server.served
        wall, cpu, mib, _ = command(place, server, "--journal", "run-0.jsonl")
        report(
            "arena, the same again",
            {"requests": server.served - before, "wall_s": wall, "cpu_s": cpu, "mib": mib},
        )


def kills(seed: int = 0) -> None:
    """Killed at random moments and resumed: what was paid twice, and whether the report is the same."""
    draw = random.Random(seed)
    with prepared() as (server, place):
        outputs = ("--report", "report.html")
        command(place, server, "--journal", "whole.jsonl", *outputs)
        whole = reports(place)
        paid = server.served
        for _ in range(KILLS):
            process = start(place, server, "--journal", "killed.jsonl", *outputs)
            time.sleep(draw.uniform(0.3, 1.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
        command(place, server, "--journal", "killed.jsonl", *outputs)
        twice = server.served - 2 * paid
        report(
            f"arena, killed {KILLS} times and resumed",
            {"paid_twice": twice, "a_kill": twice / KILLS, "same_report": float(reports(place) == whole)},
        )


def reports(place: Path) -> tuple[str, str]:
    """What the two reports say; times of day are none of it."""
    page = (place / "report.html").read_text()
    kept = (place / "equipoise-out" / "bench-arena.arena.json").read_text()
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", page), re.sub(r'"latency_s":\s*[\d.e-]+', "", kept)


def main() -> None:
    speed()
    kills()


if __name__ == "__main__":
    main()
