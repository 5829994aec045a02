"""Turns that a gateway drew, with their texts, and a judge at a real server: for tests of the online judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from equipoise.events.facts import Turn
from equipoise.events.log import EventLog
from equipoise.events.texts import Said, Text, TextStore, ToolCall, unit_digest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.providers.simulated import SimulatedAnswer

RUBRIC = {"axes": {"policy": "It keeps to the policy.", "tone": "It is kind."}, "top": 5}


def judged(url: str = "http://127.0.0.1:9/v1", **more: Any) -> Experiment:
    """A bot whose live turns are judged by a rubric at an endpoint, and by a rule."""
    return read_canonical(definition(url, **more))


def definition(url: str, **more: Any) -> dict[str, Any]:
    """Its definition."""
    online = {"sample": 1} | more.pop("online_judge", {})
    judge = {"model": "judge", "base_url": url, "key_env": "NO_KEY"} | more.pop("judge", {})
    offline = {
        "cases": "golden.jsonl",
        "rubric": RUBRIC,
        "judge": judge,
        "evaluators": [{"max_words": 5}, {"rouge": "rougeL"}],
    } | more.pop("offline", {})
    base = {
        "name": "bot",
        "hypothesis": "Its policy is kept to.",
        "unit": {"type": "conversation", "from": "header:x-conversation-id"},
        "changes": ["model", "system"],
        "variants": {"control": {"model": "a"}, "treatment": {"model": "b", "system": "Be brief."}},
        "metrics": {
            "policy": {"priority": "primary", "kind": "mean", "of": "score.policy", "better": "higher"}
        },
        "prices": {"judge": {"input": 1.0, "output": 2.0}},
        "capture": {"text": "sampled"},
        "offline": offline,
        "online_judge": online,
    }
    return base | more


def connect(url: str | None, key_name: str) -> tuple[str, str | None]:
    assert url is not None
    return url, None


def grades(body: Mapping[str, Any]) -> SimulatedAnswer:
    """A judge that grades by the rubric: 5 where the answer says "policy", else 2."""
    shown = json.loads(body["messages"][1]["content"])
    score = 5 if "policy" in shown["answer"] else 2
    said = {axis: {"reason": f"{axis} is {score}", "score": score} for axis in shown["axes"]}
    return SimulatedAnswer(text=json.dumps(said))


def turn(number: int, experiment: Experiment, *, happened: float, **more: Any) -> Turn:
    """The fact of a turn that was drawn."""
    given = {
        "experiment": experiment.name, "happened": happened, "event_id": f"turn-{number}", "unit": f"u{number}",
        "digest": experiment.digest, "variant": "treatment", "trace": f"{number:032x}", "sampled": 1.0,
    }  # fmt: skip
    return Turn(**(given | more))


def text(fact: Turn, experiment: Experiment, answer: str = "By policy, no.", **more: Any) -> Text:
    """What was kept of it."""
    given = {
        "request": (Said("system", "Be brief."), Said("user", "May I?")), "context": ("The policy says no.",),
        "tools": (ToolCall("look_up", '{"what": "policy"}'),),
    }  # fmt: skip
    return Text(
        event_id=fact.event_id, kind="turn", experiment=experiment.name, digest=experiment.digest,
        variant=fact.variant, trace=fact.trace or "", unit=unit_digest(fact.unit or ""), happened=fact.happened,
        expires=fact.happened + 1e6, probability=fact.sampled or 1.0, answer=answer, **(given | more),
    )  # fmt: skip


def served(
    log: EventLog,
    texts: TextStore,
    experiment: Experiment,
    count: int,
    *,
    happened: float,
    start: int = 0,
    answers: str | None = None,
    **more: Any,
) -> None:
    """So many turns and their texts; every third answer says nothing of the policy, or all say `answers`."""
    facts = [turn(each, experiment, happened=happened, **more) for each in range(start, start + count)]
    log.append(facts)
    texts.keep(
        [
            text(each, experiment, answers or ("No." if number % 3 == 0 else "By policy, no."))
            for number, each in enumerate(facts)
        ]
    )
