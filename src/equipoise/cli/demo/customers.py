"""What the demo simulates: a bot and a judge that follow a script, and customers drawn by chance.

Nothing here measures a model. The script says what is answered and how it is judged; the rates below say
how many customers are helped. The demo shows the way an experiment takes, and that the read-out finds
the difference that was put in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.providers.simulated import SimulatedAnswer
from equipoise.sdk.router import Router

__all__ = ["Customers", "scripted", "serve"]


@dataclass(frozen=True, slots=True)
class Customers:
    """How customers of one arm fare: rates per conversation, seconds and dollars per turn."""

    resolved: float
    csat: float
    unsafe: float
    error: float
    latency_s: float
    cost_usd: float


RATES = {
    # The difference that is put in: five points of resolution, a tenth of a second, three per cent of cost.
    "control": Customers(resolved=0.60, csat=3.60, unsafe=0.003, error=0.010, latency_s=1.2, cost_usd=0.0040),
    "treatment": Customers(
        resolved=0.65, csat=3.75, unsafe=0.003, error=0.010, latency_s=1.3, cost_usd=0.00412
    ),
}


def scripted(folder: Path) -> Callable[[Mapping[str, Any]], SimulatedAnswer]:
    """The simulated endpoint's replies: the bot's answers and the judge's opinions, all from the script."""
    script = [json.loads(line) for line in (folder / "script.jsonl").read_text(encoding="utf-8").splitlines()]
    cases = {
        json.loads(line)["input"]: json.loads(line)["id"]
        for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    }
    answers = {(row["case"], row["variant"]): row["answer"] for row in script}
    grades = {row["answer"]: row["grades"] for row in script}
    winners = {row["answer"]: row["winner"] for row in script if "winner" in row}

    def bot(body: Mapping[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"])
        variant = "control" if system.startswith("Be helpful") else "treatment"
        return str(answers[cases[user], variant])

    def judge(body: Mapping[str, Any]) -> str:
        asked = json.loads(body["messages"][-1]["content"])
        if "answer" in asked:
            given = grades[asked["answer"]]
            return json.dumps({axis: given[axis] for axis in asked["axes"]})
        first, second = asked["answer_A"], asked["answer_B"]
        winner = winners.get(first) or winners[second]
        letter = "A" if (first in winners) == (winner == "treatment") else "B"
        letter = "tie" if winner == "tie" else letter
        return json.dumps({"reason": "as the script says", "winner": letter})

    def reply(body: Mapping[str, Any]) -> SimulatedAnswer:
        return SimulatedAnswer(text=judge(body) if body["model"] == "simulated-judge" else bot(body))

    return reply


def serve(
    router: Router,
    conversations: int,
    rng: random.Random,
    on_progress: Callable[[int, int, str], None],
) -> None:
    """Let simulated customers through a real router: assigned, exposed, answered, resolved or not."""
    for number in range(conversations):
        assignment = router.assign(f"conversation-{rng.getrandbits(64):016x}")
        device = rng.choice(["phone", "phone", "desktop"])
        assignment.expose({"device": device})
        fate = RATES[assignment.variant or "control"]
        error = rng.random() < fate.error
        for _ in range(rng.choice([1, 1, 2, 3])):
            assignment.turn(
                latency_s=round(rng.lognormvariate(0.0, 0.45) * fate.latency_s, 4),
                cost_usd=round(rng.lognormvariate(0.0, 0.3) * fate.cost_usd, 6),
                safe=rng.random() >= fate.unsafe,
                error=error,
            )
        assignment.track("resolved", rng.random() < fate.resolved)
        if rng.random() < 0.3:
            assignment.track("csat", min(5, max(1, round(rng.gauss(fate.csat, 1.0)))))
        if number % 100 == 99:
            on_progress(number + 1, conversations, "")
