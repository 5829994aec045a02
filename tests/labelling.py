"""What people are to label, for the tests: a definition with three variants, and live turns with their texts."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
from processes import QUIET

from equipoise.clock import ManualClock
from equipoise.conduct.register import register
from equipoise.events.facts import Label, Outcome, Score, Shadow, Turn
from equipoise.events.log import EventLog
from equipoise.events.opening import open_log, open_texts
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.texts import Said, Text, TextStore, ToolCall, unit_digest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

LONG = "careful-and-thorough-with-a-name-that-goes-on-and-on"
SAYS = {"control": "Alpha", "brief": "Beta", LONG: "Gamma"}
"""How answers begin: no variant's name is in its answer, so that finding one on a page is finding a leak."""
AXES = {"clarity": "It is easy to follow.", "policy": "It names the rule that applies."}


def definition(**more: Any) -> dict[str, Any]:
    """Control and two treatments, graded on two axes."""
    return {
        "name": "support-bot",
        "hypothesis": "People like the short answer better.",
        "unit": {"type": "conversation", "from": "header:x-conversation-id"},
        "variants": {"control": {}, "brief": {}, LONG: {}},
        "metrics": {
            "resolution_rate": {"priority": "primary", "baseline": 0.5, "mde": "10pp"},
            "handoff_rate": {"priority": "secondary"},
        },
        "capture": {"text": "all"},
        "offline": {
            "cases": {"file": "golden.jsonl"},
            "rubric": {"axes": AXES, "top": 5},
            "judge": {"model": "judge"},
        },
    } | more


def experiment(**more: Any) -> Experiment:
    """The definition, read."""
    return read_canonical(definition(**more))


def a_run(folder: Path, cases: int = 6, *, answers: dict[str, str] | None = None) -> Path:
    """A run of the arena as it is kept, with an answer of each variant to each case; `{n}` is the case's number."""
    said = answers or {name: f"{voice} says this to {{n}}." for name, voice in SAYS.items()}
    path = folder / "run.arena.json"
    path.write_text(
        json.dumps(
            {
                "equipoise": "arena",
                "by_case": [
                    {
                        "id": f"case-{n}",
                        "asked": f"Where is parcel {n}?",
                        "cluster": f"document {n // 2}",
                        "answers": {name: [text.replace("{n}", str(n))] for name, text in said.items()},
                    }
                    for n in range(cases)
                ],
            }
        )
    )
    return path


def live(
    log: EventLog, texts: TextStore, turns: int = 6, *, expires: float = 5_000.0, **more: Any
) -> Experiment:
    """Registered, and served: turns of all arms with their texts; those of control have a shadow of `brief`.

    Every unit has two turns. The judge passes the even ones, and no outcome is good.
    """
    clock = ManualClock(1_000.0)
    found = experiment(**more)
    register(log, found, by="test", reason="a test", clock=clock)
    common = {"experiment": found.name, "digest": found.digest}
    for n in range(turns):
        arm = ("control", "brief", LONG)[n % 3]
        unit, trace = f"unit-{n // 2}", f"{n:032x}"
        facts: list[Any] = [
            Turn(
                **common,
                happened=1_000.0 + n,
                unit=unit,
                variant=arm,
                trace=trace,
                sampled=0.5,
                reason="split",
            )
        ]
        if arm == "control":
            facts.append(
                Shadow(
                    **common, happened=1_000.5 + n, unit=unit, variant="brief", trace=trace, reason="shadow"
                )
            )
        log.append(
            [
                *facts,
                Score(
                    experiment=found.name,
                    happened=1_001.0 + n,
                    unit=unit,
                    trace=trace,
                    name="policy",
                    value=5.0 if n % 2 == 0 else 1.0,
                    evaluator="rubric@1",
                ),
                Outcome(
                    experiment=found.name,
                    happened=1_002.0 + n,
                    unit=unit,
                    name="resolved",
                    value=False,
                ),
            ]
        )
        texts.keep(
            [
                Text(
                    event_id=fact.event_id,
                    kind=fact.kind,
                    experiment=found.name,
                    digest=found.digest,
                    variant=fact.variant,
                    trace=trace,
                    unit=unit_digest(unit),
                    happened=fact.happened,
                    expires=expires,
                    probability=0.5,
                    request=(
                        Said("system", "THE PROMPT OF A VARIANT"),
                        Said("user", f"Where is parcel {n}?"),
                    ),
                    context=(f"Parcel {n} left on Monday.",),
                    answer=f"A {fact.kind} says this to {n}.",
                    tools=(ToolCall("track", f'{{"parcel": {n}}}'),),
                )
                for fact in facts
            ]
        )
    return found


def serve_turns(place: str, found: Experiment, turns: range, received: float) -> None:
    """Turns of control that the judge was to read, with their texts, which the log received at a time."""
    log, texts = SQLiteLog(Path(place), clock=ManualClock(received)), open_texts(place)
    common = {"experiment": found.name, "digest": found.digest, "variant": "control", "happened": received}
    facts = [Turn(**common, unit=f"u{n}", trace=f"{n:032x}", sampled=0.5, reason="split") for n in turns]
    log.append(facts)
    texts.keep(
        [
            Text(**common, event_id=each.event_id, kind="turn", trace=each.trace, unit=None, expires=4e9,
                 probability=0.5, request=(Said("user", "Where is it?"),), answer=f"Here is {each.trace[-3:]}.")
            for each in facts
        ]
    )  # fmt: skip
    log.close()
    texts.close()


@contextmanager
def page(folder: Path, *words: str, log: str = "l.db", port: int = 0, env: dict[str, str] | None = None):
    """`equipoise label` as a process of its own; gives it and its address."""
    command = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "label", *words)
    with forked.Process((*command, "--port", str(port), "--json", "--log", log), cwd=folder, env=QUIET | (env or {})) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)["url"]
        finally:
            process.kill()


def written(folder: Path, cases: int = 6, **more: Any) -> tuple[str, ...]:
    """A definition and a run of it in files; the words that name them."""
    (folder / "golden.jsonl").write_text(json.dumps({"id": "case-0", "input": "Where is parcel 0?"}) + "\n")
    (folder / "e.yaml").write_text(json.dumps(definition(**more)))
    return "e.yaml", "--run", str(a_run(folder, cases))


def kept(log: str | Path) -> list[Label]:
    """The labels in a log."""
    found = open_log(log, create=True)
    try:
        return [record.fact for record in found.read_since(0, kinds=("label",))]
    finally:
        found.close()
