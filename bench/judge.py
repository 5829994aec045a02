"""What the online judge takes beside a log, in CPU of its process: a turn that is passed by, one that is judged, a look.

40,000 turns, of which 800 were drawn; the endpoint answers at once, in a process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pairs import report

from equipoise.conduct.judge import OnlineJudge
from equipoise.events.facts import Turn
from equipoise.events.opening import open_cursors, open_log, open_texts
from equipoise.events.texts import Said, Text, unit_digest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

TURNS = 40_000
EVERY = 50
LOOKS = 200
ANSWER = "It ships within five working days; the policy says so, and the parcel can be followed. " * 5


def experiment(url: str) -> Experiment:
    return read_canonical(
        {
            "name": "judged",
            "hypothesis": "None; this measures.",
            "unit": {"type": "conversation", "from": "header:x-conversation-id"},
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "policy": {"priority": "primary", "kind": "mean", "of": "score.policy", "better": "higher"}
            },
            "capture": {"text": "sampled"},
            "prices": {"judge": {"input": 1.0, "output": 2.0}},
            "offline": {
                "cases": "golden.jsonl",
                "rubric": {"axes": {"policy": "It keeps to the policy.", "tone": "It is kind."}},
                "judge": {"model": "judge", "base_url": url},
                "evaluators": [{"pii": True}, {"max_words": 200}],
            },
            "online_judge": {"sample": 0.02, "budget_usd_per_day": 100},
        }
    )


def grade(body: Mapping[str, Any]) -> SimulatedAnswer:
    axes = json.loads(body["messages"][1]["content"])["axes"]
    return SimulatedAnswer(text=json.dumps({axis: {"reason": "So it is.", "score": 4} for axis in axes}))


def endpoint(said: Connection) -> None:
    with SimulatedEndpoint(grade, models=("judge",)) as url:
        said.send(url)
        said.recv()


def connect(url: str | None, _: str) -> tuple[str, str | None]:
    return url or "", None


def main() -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=endpoint, args=(there,), daemon=True)
    process.start()
    bot, now = experiment(here.recv()), time.time()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "log.db"
        log, texts, cursors = open_log(place), open_texts(place), open_cursors(place)
        for start in range(0, TURNS, 1_000):
            facts = [turn(number, bot, now) for number in range(start, start + 1_000)]
            log.append(facts)
            texts.keep([text(each, now) for each in facts if each.sampled is not None])
        judge = OnlineJudge(bot, log, texts, cursors, connect=connect)
        cpu = time.process_time()
        judge.advance(1)
        passing = time.process_time() - cpu
        cpu, begun, scored = time.process_time(), time.perf_counter(), 0
        while done := judge.advance().scored:
            scored += done
        judging, wall = time.process_time() - cpu, time.perf_counter() - begun
        cpu = time.process_time()
        for _ in range(LOOKS):
            judge.advance()
        looking = time.process_time() - cpu
        judge.close()
        for each in (log, texts, cursors):
            each.close()
    report("online judge, a turn passed by", {"cpu_us": passing / TURNS * 1e6})
    report("online judge, a turn judged", {"cpu_ms": judging / scored * 1e3, "a_second": scored / wall})
    report("online judge, a look when nothing is new", {"cpu_ms": looking / LOOKS * 1e3})
    here.send(None)
    process.join()


def turn(number: int, bot: Experiment, now: float) -> Turn:
    return Turn(
        experiment=bot.name, happened=now, event_id=f"t{number}", unit=f"u{number % 5_000}", digest=bot.digest,
        variant=("control", "treatment")[number % 2], trace=f"{number:032x}", latency_s=1.2, input_tokens=300,
        output_tokens=120, cost_usd=0.001, model="a", sampled=0.02 if number % EVERY == 0 else None,
    )  # fmt: skip


def text(turn: Turn, now: float) -> Text:
    return Text(
        event_id=turn.event_id, kind="turn", experiment=turn.experiment, digest=turn.digest or "", variant=turn.variant,
        trace=turn.trace or "", unit=unit_digest(turn.unit or ""), happened=now, expires=now + 1e6, probability=0.02,
        request=(Said("user", "Where is my parcel?"),), answer=ANSWER,
    )  # fmt: skip


if __name__ == "__main__":
    main()
