"""What must not matter to a read-out does not: the order and pieces facts come in, how often, and what arms are called."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise import load_experiment
from equipoise.clock import ManualClock
from equipoise.conduct.analyze import analyze
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Fact, Outcome, Score, Turn
from equipoise.events.log import EventLog, MemoryLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment

DEFINITION = """
name: twin
hypothesis: Names are names.
unit: {type: user}
variants: {control: {}, NEAR: {}, FAR: {}}
segments: [tier]
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher}
  error_rate: {priority: guardrail, margin: 5pp}
  latency_p95: {priority: guardrail, margin: 50%}
  grade: {priority: secondary, kind: mean, of: score.grade, better: higher}
"""


def definition(folder: Path, near: str = "b", far: str = "c") -> Experiment:
    (folder / "twin.yaml").write_text(DEFINITION.replace("NEAR", near).replace("FAR", far), encoding="utf-8")
    return load_experiment(folder / "twin.yaml")


def rows(seed: int, near: str = "b", far: str = "c", units: int = 600) -> list[dict[str, Any]]:
    """One row a unit. Measured values are eighths: their sums are exact in whatever order they are added."""
    rng = random.Random(seed)
    arms = {"control": 0.5, near: 0.6, far: 0.45}
    made = []
    for number in range(units):
        arm = rng.choice(list(arms))
        made.append(
            {
                "unit": f"user {number}", "variant": arm, "tier": rng.choice("xy"), "won": rng.random() < arms[arm],
                "error": rng.random() < 0.1, "latency_s": rng.randrange(8, 80) / 8, "grade": rng.randrange(64) / 8,
            }
        )  # fmt: skip
    return made


def told(experiment: Experiment, made: list[dict[str, Any]]) -> list[Fact]:
    """The same as facts, each unit's exposure before what became of it by its time, not by its place."""
    facts: list[Fact] = []
    for number, row in enumerate(made):
        common: dict[str, Any] = {"experiment": "twin", "unit": row["unit"], "happened": 1_000.0 + number}
        after = common | {"happened": 5_000.0 + number}
        facts += [
            Exposure(**common, event_id=f"{number} e", digest=experiment.digest, unit_type="user", variant=row["variant"],
                     probability=1 / 3, reason="split", attributes={"tier": row["tier"]}),
            Turn(**after, event_id=f"{number} t", variant=row["variant"], error=row["error"], latency_s=row["latency_s"]),
            Outcome(**after, event_id=f"{number} o", name="won", value=row["won"]),
            Score(**after, event_id=f"{number} s", name="grade", value=row["grade"], evaluator="judge"),
        ]  # fmt: skip
    return facts


ARRIVED = ManualClock(8_000.0)
"""When everything arrived, to whichever log: a look says how far the two clocks are apart."""


def looked(log: EventLog, experiment: Experiment, batches: list[list[Fact]]) -> str:
    """The whole read-out of a log that took in these batches."""
    register(log, experiment, by="ann", clock=ManualClock(0.0))
    for batch in batches:
        log.append(batch)
    analysis = look(log, "twin", closing=True, clock=ManualClock(9_000.0))
    log.close()
    said = json.loads(analysis.to_json())
    assert len(said["effects"]) > 6
    # Where it was read is no part of what it says.
    return json.dumps(said | {"source": ""}, sort_keys=True)


@pytest.mark.parametrize("seed", [6])
def test_neither_order_nor_pieces_nor_repetition_is_seen_in_a_look(tmp_path, seed):
    """In order, shuffled, one by one, each fact twice, exposures told again, in a file: the same read-out, every digit."""
    experiment = definition(tmp_path)
    facts = told(experiment, rows(seed))
    rng = random.Random(seed)
    shuffled = rng.sample(facts, len(facts))
    twice = rng.sample([*facts, *facts], 2 * len(facts))
    again = [replace(each, event_id=f"again {each.event_id}", happened=each.happened + 60) for each in facts if isinstance(each, Exposure)]  # fmt: skip
    expected = looked(MemoryLog(ARRIVED), experiment, [facts])
    for name, log, batches in [
        ("shuffled", MemoryLog(ARRIVED), [shuffled]),
        ("one by one", MemoryLog(ARRIVED), [[fact] for fact in shuffled]),
        ("twice", MemoryLog(ARRIVED), [twice[:1500], twice[1500:], shuffled]),
        ("in a file, in pieces", SQLiteLog(tmp_path / "log.db", clock=ARRIVED), [twice[at : at + 97] for at in range(0, len(twice), 97)]),
    ]:  # fmt: skip
        assert looked(log, experiment, batches) == expected, name
    # A re-logged exposure is another row of the record, and another event by its clock, and no other unit.
    without_rows = [
        {key: value for key, value in json.loads(each).items() if key not in ("rows", "clocks")}
        for each in (looked(MemoryLog(ARRIVED), experiment, [again, facts]), expected)
    ]
    assert without_rows[0] == without_rows[1]


@pytest.mark.parametrize("seed", range(2))
def test_neither_order_nor_files_are_seen_in_a_read_out_of_a_table(tmp_path, seed):
    """Shuffled, in one file or in seven of them, CSV or Parquet, with columns in any order: every digit the same."""
    experiment = definition(tmp_path)
    made = rows(seed)
    expected = json.loads(analyze(experiment, pa.Table.from_pylist(made)).to_json())
    shuffled = random.Random(seed).sample(made, len(made))
    for part in range(7):
        own = [dict(sorted(row.items(), reverse=part % 2 == 1)) for row in shuffled[part::7]]
        pq.write_table(pa.Table.from_pylist(own), tmp_path / f"part-{part}.parquet")
        with (tmp_path / f"part-{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(own[0]))
            writer.writeheader()
            writer.writerows(own)
    for table in (
        pa.Table.from_pylist(shuffled),
        str(tmp_path / "part-*.parquet"),
        str(tmp_path / "part-*.csv"),
    ):
        said = json.loads(analyze(experiment, table).to_json())
        assert said | {"source": ""} == expected | {"source": ""}


@pytest.mark.parametrize("names", [("brief", "chatty"), ("z", "a")], ids=["same order", "other order"])
@pytest.mark.parametrize("seed", range(2))
def test_what_arms_are_called_is_seen_in_their_names_alone(tmp_path, seed, names):
    """Two treatments renamed, in the definition and in the data: each has the numbers it had, also where they change places."""
    near, far = names
    before, after = (
        analyze(definition(tmp_path, *pair), pa.Table.from_pylist(rows(seed, *pair))) for pair in (("b", "c"), names)
    )  # fmt: skip
    new = {"control": "control", "b": near, "c": far}

    def effects(analysis: Any, called: dict[str, str]) -> dict[Any, Any]:
        return {
            (each["metric"], each["segment"], called[each["variant"]]): {
                key: {called[arm]: count for arm, count in value.items()}
                if key in ("units", "missing")
                else value
                for key, value in each.items()
                if key != "variant"
            }
            for each in json.loads(analysis.to_json())["effects"]
        }

    assert effects(before, new) == effects(after, {name: name for name in new.values()})
    assert {new[arm]: units for arm, units in before.findings.measurement.units.items()} == dict(after.findings.measurement.units)  # fmt: skip
    assert (before.verdict.word, new.get(before.verdict.arm or "")) == (after.verdict.word, after.verdict.arm)
