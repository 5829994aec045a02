"""A hundred real conversations with an airline's agent, through the log: their outcomes, clusters, judge and labels.

Four trials of each of 25 tasks. The data hold texts, tool calls and whether the request was resolved, and no times: a
minute passes between two answers here, and a day between two trials of a task. Half of the tasks play the treatment.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Effect, Findings
from equipoise.clock import ManualClock
from equipoise.events.facts import Exposure, Fact, Label, Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.agreement import agreement, cohens_kappa
from equipoise.stats.judges.prediction_powered import JudgedArm, corrected_proportion
from equipoise.stats.moments import Moments, PairMoments

ROOT = Path(__file__).resolve().parents[2]
AIRLINE = ROOT.parent / "shared" / "data" / "agent_airline_runs"
DAY, MINUTE = 86_400.0, 60.0

pytestmark = pytest.mark.skipif(not AIRLINE.is_dir(), reason="the airline runs are not beside the repository")

DEFINITION = """
name: airline
hypothesis: Nothing differs but the tasks.
changes: [config]
unit: {type: conversation}
CLUSTER
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  resolution_rate: {priority: primary, baseline: 0.3, mde: 0.2}
  handoff_rate: {}
  turns: {kind: count, of: turn.count, better: lower}
  goes_on: {kind: proportion, of: turn.count, above: 6, better: lower}
  tool_calls: {}
  time_to_done: {kind: time_to_event, of: outcome.resolved, better: lower, window: 20m}
  mood_at_the_end: {kind: mean, of: score.mood, per_unit: last, better: higher}
  mood: {kind: mean, of: score.mood, per_unit: slope, better: higher}
"""
RETURNS = "  again: {kind: proportion, of: conversation.returned, better: higher, window: 36h}\n"
GLAD = re.compile(r"\b(thank|thanks|great|perfect|sounds good|appreciate|yes)\b", re.IGNORECASE)
SORRY = re.compile(r"\b(no|not|unfortunately|frustrat\w*|disappoint\w*|why|but)\b", re.IGNORECASE)


def conversations() -> list[dict[str, Any]]:
    """Each with its answers to the customer, and what the customer said to each of them."""
    with gzip.open(AIRLINE / "conversations.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        row["id"], row["arm"] = f"{row['task_id']}/{row['trial']}", ("control", "b")[row["task_id"] % 2]
        row["turns"], calls = [], 0
        for message in row["messages"]:
            calls += len(message.get("tool_calls") or [])
            if message["role"] == "assistant" and message.get("content"):
                row["turns"].append({"calls": calls, "reply": None})
                calls = 0
            elif message["role"] == "user" and row["turns"]:
                row["turns"][-1]["reply"] = message["content"]
        row["handed_off"] = any(
            call["name"] == "transfer_to_human_agents"
            for message in row["messages"]
            for call in message.get("tool_calls") or []
        )
    return rows


def mood(reply: str) -> float:
    """A stand-in for an evaluator: glad words less sorry ones, from −1 to 1."""
    glad, sorry = len(GLAD.findall(reply)), len(SORRY.findall(reply))
    return (glad - sorry) / max(1, glad + sorry)


def judged(row: Mapping[str, Any]) -> bool:
    """A stand-in for a judge who reads the end: resolved where the customer parts with thanks from no other person."""
    replies = [turn["reply"] for turn in row["turns"] if turn["reply"]]
    return not row["handed_off"] and bool(GLAD.search(replies[-1]))


def log_of(rows: list[dict[str, Any]], of: Experiment) -> MemoryLog:
    """Exposures, turns, scores in the order of an evaluator that is behind, outcomes in the end, and labels of people."""
    facts: list[Fact] = []
    for row in rows:
        begins, common = row["trial"] * DAY + row["task_id"], {"experiment": "airline", "unit": row["id"]}
        facts.append(
            Exposure(
                **common, happened=begins, digest=of.digest, unit_type="conversation", variant=row["arm"],
                probability=0.5, reason="split", attributes={"task": str(row["task_id"])},
            )
        )  # fmt: skip
        for k, turn in enumerate(row["turns"]):
            trace, at = f"{row['id']} {k}", begins + k * MINUTE
            facts.append(
                Turn(**common, happened=at, variant=row["arm"], trace=trace, tool_calls=turn["calls"])
            )
            if turn["reply"]:
                value = mood(turn["reply"])
                # The latest turns are scored first.
                late = at + DAY - k * 10 * MINUTE
                facts.append(
                    Score(**common, happened=late, name="mood", value=value, evaluator="words", trace=trace)
                )
        ends = begins + len(row["turns"]) * MINUTE
        facts += [
            Outcome(**common, happened=ends, name="resolved", value=bool(row["reward"])),
            Outcome(**common, happened=ends, name="handed_off", value=row["handed_off"]),
            Label(
                experiment="airline", happened=ends + DAY, name="resolved", rater="the benchmark", item=trace,
                value=row["reward"], unit=row["id"], trace=trace,
            ),
        ]  # fmt: skip
    log = MemoryLog(ManualClock(9 * DAY))
    log.append(facts)
    return log


def read_out(folder: Path, rows: list[dict[str, Any]], *, clustered: bool) -> Findings:
    path = folder / "airline.yaml"
    text = DEFINITION.replace("CLUSTER", "cluster: task" if clustered else "")
    path.write_text(text + (RETURNS if clustered else ""), encoding="utf-8")
    of = load_experiment(path)
    return analyse(of, measure_log(of, log_of(rows, of)), maximum=1.0, closing=True)


def effects(findings: Findings) -> dict[str, Effect]:
    return {effect.metric: effect for effect in findings.effects}


def by_hand(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean over conversations of each metric, by arm, in plain Python."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        moods = [mood(turn["reply"]) for turn in row["turns"] if turn["reply"]]
        minutes = len(row["turns"])
        told = {
            "resolution_rate": row["reward"],
            "handoff_rate": row["handed_off"],
            "turns": minutes,
            "goes_on": minutes > 6,
            "tool_calls": sum(turn["calls"] for turn in row["turns"]),
            "mood_at_the_end": moods[-1],
            "time_to_done": min(minutes if row["reward"] else 20, 20) * MINUTE,
        }
        if len(moods) > 1:
            told["mood"] = np.polyfit(range(len(moods)), moods, 1)[0]
        for name, value in told.items():
            values[name][row["arm"]].append(float(value))
    return {name: {arm: float(np.mean(of)) for arm, of in arms.items()} for name, arms in values.items()}


def test_outcomes_of_real_conversations_are_those_that_stand_in_the_texts(tmp_path: Path) -> None:
    """Resolved, handed over, turns, tool calls, mood and its slope, time to done: each as plain Python counts them."""
    rows = conversations()
    found, expected = effects(read_out(tmp_path, rows, clustered=False)), by_hand(rows)
    assert sum(row["handed_off"] for row in rows) == 18
    for name, arms in expected.items():
        assert found[name].control == pytest.approx(arms["control"], rel=1e-9), name
        assert found[name].treatment == pytest.approx(arms["b"], rel=1e-9), name
        assert sum(found[name].missing.values()) == 0 or name == "mood"


def test_four_trials_of_a_task_widen_every_interval_that_tasks_decide(tmp_path: Path) -> None:
    """Naive against clustered by task: the same effects, and intervals a quarter to two thirds wider.

    Each trial is followed by another of its task within a day and a half, as far as the data go.
    """
    rows = conversations()
    naive, found = (read_out(tmp_path, rows, clustered=clustered) for clustered in (False, True))
    clustered = effects(found)
    ratio = {}
    for name, effect in effects(naive).items():
        if name == "time_to_done":
            # Twelve tasks an arm are too few for the interval of a mean time.
            assert not isinstance(clustered[name].estimate, Estimate)
            continue
        one, other = effect.estimate, clustered[name].estimate
        assert isinstance(one, Estimate)
        assert isinstance(other, Estimate)
        assert one.value == pytest.approx(other.value, rel=1e-9)
        ratio[name] = (other.high - other.low) / (one.high - one.low)
    assert {name for name, wider in ratio.items() if wider < 1.2} == set()
    assert ratio["resolution_rate"] == pytest.approx(1.66, abs=0.01)
    # The data end half an hour into the fourth day: of the third and fourth trials it is not known yet.
    again = clustered["again"]
    assert again.control == again.treatment == 1.0
    assert (sum(again.units.values()), sum(again.immature.values())) == (50, 50)


def test_tool_calls_stand_per_conversation_and_per_turn(tmp_path: Path) -> None:
    """The two figures are sums over conversations, and over turns."""
    rows = conversations()
    (beside,) = [
        each for each in read_out(tmp_path, rows, clustered=False).by_turn if each.metric == "tool_calls"
    ]
    for arm, value in (("control", beside.per_turn.control), ("b", beside.per_turn.treatment)):
        turns = [turn for row in rows if row["arm"] == arm for turn in row["turns"]]
        assert value == pytest.approx(sum(turn["calls"] for turn in turns) / len(turns), rel=1e-12)
        assert beside.turns[arm] == pytest.approx(len(turns) / sum(row["arm"] == arm for row in rows))


def test_a_judge_of_manners_is_found_out_by_labels() -> None:
    """Customers part with thanks from agents that did the wrong thing: the judge is far off, the corrected rate is not.

    Labels are those of every fourth conversation, one trial a task; the rate of all hundred is known and is 31 %.
    """
    rows = conversations()
    truth, said = [row["reward"] == 1.0 for row in rows], [judged(row) for row in rows]
    tasks = [row["task_id"] for row in rows]
    alike, kappa = agreement(truth, said, clusters=tasks), cohens_kappa(truth, said, clusters=tasks)
    assert isinstance(alike, Estimate)
    assert isinstance(kappa, Estimate)
    assert alike.value == pytest.approx(
        np.mean([one == other for one, other in zip(truth, said, strict=True)])
    )
    assert kappa.low < 0.2
    assert np.mean(said) > 0.6 > 0.31 == np.mean(truth)
    for trial in range(4):
        labelled = [n for n, row in enumerate(rows) if row["trial"] == trial]
        others = [n for n, row in enumerate(rows) if row["trial"] != trial]
        corrected = corrected_proportion(
            JudgedArm(
                PairMoments.of([float(truth[n]) for n in labelled], [float(said[n]) for n in labelled]),
                Moments.of([float(said[n]) for n in others]),
            )
        )
        assert isinstance(corrected, Estimate)
        assert corrected.low < 0.31 < corrected.high
