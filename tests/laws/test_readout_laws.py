"""What must not matter to a read-out does not: the order of facts, their repetition, the names of the arms."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from equipoise import analyze
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log

DAY = 86_400.0
SEEDS = range(5)


def definition(folder: Path, *, cluster: bool = False, first: str = "a", second: str = "b") -> Path:
    path = folder / f"{first}{second}{cluster}.yaml"
    path.write_text(
        f"""
name: laws
hypothesis: What must not matter does not.
changes: [config]
unit: {{type: user}}
{"cluster: team" if cluster else ""}
variants: {{control: {{config: {{x: 1}}}}, {first}: {{config: {{x: 2}}}}, {second}: {{config: {{x: 3}}}}}}
segments: [tier, country]
metrics:
  bought: {{priority: primary, kind: proportion, of: outcome.bought, better: higher, per_unit: any, baseline: 0.4, mde: 0.1, window: 2d, covariates: [before]}}
  spent: {{kind: mean, of: outcome.spent, better: higher, per_unit: sum, winsorise: 0.95, covariates: [before, visits]}}
  per_visit: {{kind: ratio, of: outcome.spent, per: outcome.tries, better: higher}}
plan: {{burn_in: 12h, whole_cycles: true, cycle: 3d}}
""",
        encoding="utf-8",
    )
    return path


def rows(seed: int) -> list[dict[str, Any]]:
    """Two or three rows for each of 600 units over ten days; values are eighths, no two times are equal."""
    rng = random.Random(seed)
    made: list[dict[str, Any]] = []
    times = iter(rng.sample(range(int(10 * DAY)), 2_000))
    for number in range(600):
        arm = rng.choice(("control", "a", "b"))
        before = rng.randrange(40) / 8
        made += [
            {
                "unit": f"u{number}",
                "variant": "control" if turn and number % 200 == 99 else arm,
                "time": float(next(times)),
                "team": f"t{number % 40}",
                "tier": ("gold", "plain", None)[number % 3],
                "country": f"c{number % 5}",
                "before": before if number % 7 else None,
                "visits": float(number % 4),
                "bought": float(rng.random() < 0.3 + before / 40),
                "spent": rng.randrange(80) / 8 + before,
                "tries": float(rng.randrange(1, 4)),
            }
            for turn in range(rng.randrange(2, 4))
        ]
    return made


def shown(path: Path, made: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        analyze(path, pl.DataFrame(made, infer_schema_length=None), closing=True).to_json()
    )
    return told


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_rows_changes_no_byte(tmp_path: Path, seed: int, cluster: bool) -> None:
    """However the rows are shuffled, health, effects, segments and verdict are the same to the last digit."""
    path = definition(tmp_path, cluster=cluster)
    made = rows(seed)
    told = shown(path, made)
    assert all(told[part] for part in ("effects", "segments", "cautions", "otherwise"))
    random.Random(seed + 1).shuffle(made)
    assert shown(path, made) == told


@pytest.mark.parametrize("seed", SEEDS)
def test_renaming_two_arms_renames_their_results(tmp_path: Path, seed: int) -> None:
    """With a and b called b and a, every effect of the one is that of the other, to the last digit."""
    made = rows(seed)
    swapped = {"control": "control", "a": "b", "b": "a"}
    told = shown(definition(tmp_path), made)
    other = shown(
        definition(tmp_path, first="b", second="a"),
        [row | {"variant": swapped[row["variant"]]} for row in made],
    )

    def effects(said: dict[str, Any], names: dict[str, str]) -> dict[tuple[Any, ...], Any]:
        return {
            (part, each["metric"], each["segment"], names[each["variant"]]): (
                each["difference"],
                each["relative"],
                each["adjusted_p"],
                each["adjustment"],
                sorted(each["units"].values()),
            )
            for part in ("effects", "segments", "otherwise")
            for each in said[part]
        }

    assert effects(told, {"a": "a", "b": "b"}) == effects(other, swapped)


def test_exchanging_control_and_treatment_turns_the_sign(tmp_path: Path) -> None:
    """What is gained against control is lost by it: differences change their sign and nothing else."""
    made = [row | {"variant": "control" if row["variant"] == "b" else row["variant"]} for row in rows(7)]
    text = definition(tmp_path).read_text(encoding="utf-8").replace(", b: {config: {x: 3}}", "")
    path = tmp_path / "two.yaml"
    path.write_text(
        text.replace("metrics:", "allocation: {control: 2/3, a: 1/3}\nmetrics:"), encoding="utf-8"
    )
    told = shown(path, made)
    path.write_text(
        text.replace("metrics:", "allocation: {control: 1/3, a: 2/3}\nmetrics:"), encoding="utf-8"
    )
    turned = shown(
        path, [row | {"variant": "a" if row["variant"] == "control" else "control"} for row in made]
    )
    for mine, theirs in zip(
        told["effects"] + told["segments"], turned["effects"] + turned["segments"], strict=True
    ):
        for one, other in (("value", "value"), ("low", "high"), ("high", "low")):
            assert mine["difference"][one] == pytest.approx(-theirs["difference"][other], rel=1e-9, abs=1e-12)
        assert mine["difference"]["p_value"] == pytest.approx(theirs["difference"]["p_value"], rel=1e-6)


def logged(experiment: Experiment, made: list[dict[str, Any]]) -> list[Exposure | Outcome]:
    facts: list[Exposure | Outcome] = []
    for row in made:
        attributes = {
            name: row[name] for name in ("tier", "country", "before", "visits") if row[name] is not None
        }
        facts.append(
            Exposure(
                experiment="laws", happened=row["time"], digest=experiment.digest, unit=row["unit"], unit_type="user",
                variant=row["variant"], probability=1 / 3, reason="split", attributes=attributes,
            )
        )  # fmt: skip
        facts += [
            Outcome(experiment="laws", happened=row["time"], unit=row["unit"], name=name, value=row[name])
            for name in ("bought", "spent", "tries")
        ]
    return facts


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_told_twice_and_in_any_order_count_once(tmp_path: Path, seed: int) -> None:
    """The same facts delivered again, in another order and in pieces, give the same measurement."""
    experiment = load_experiment(definition(tmp_path))
    facts = logged(experiment, rows(seed))
    once, often = MemoryLog(), MemoryLog()
    once.append(facts)
    rng = random.Random(seed)
    for _ in range(2):
        again = rng.sample(facts, len(facts))
        for start in range(0, len(again), 500):
            often.append(again[start : start + 500])
    told, retold = measure_log(experiment, once), measure_log(experiment, often)
    # What was read has a hash of its own, which tells the order; what it comes to does not.
    assert replace(retold, read=None) == replace(told, read=None)
    assert retold.read is not None
    assert told.read is not None
    assert retold.read.facts == told.read.facts
