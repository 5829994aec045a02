"""Designs that ran elsewhere, as tables: a bandit's plays with the shares they were drawn by, a switchback's turns."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
from switched import served, switchback

from equipoise.events.facts import Turn
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment

START = 1_700_000_000.0
_HOUR = 3600.0

BANDIT = """
name: plays
hypothesis: One of three greetings gets more answers.
method: bandit
changes: [config]
unit: {type: user, id: uuid7}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}, c: {config: {x: 3}}}
segments: [tier]
critical_segments:
  - {where: tier=gold, metric: cost, margin: 0.1}
  - {where: tier=none, metric: answered, margin: 3pp}
metrics:
  answered: {priority: primary, kind: proportion, of: outcome.answered, better: higher, window: 2h}
  cost: {priority: guardrail, kind: mean, of: turn.cost_usd, better: lower, per_unit: sum, winsorise: 0.95, covariates: [before], margin: 0.1}
  per_turn: {kind: ratio, of: turn.cost_usd, per: turn.count, better: lower}
  slow: {kind: quantile, q: 0.9, of: turn.latency_s, better: lower}
"""

SHARES = ((0.34, 0.33, 0.33), (0.34, 0.33, 0.33), (0.1, 0.3, 0.6), (0.1, 0.1, 0.8), (0.2, 0.0, 0.8))
"""By epoch, of control, b and c: in the last b is removed."""


def bandit(folder: Path, source: str = "") -> Experiment:
    """The bandit's definition; `source` is that section of it, where there is one."""
    (folder / "plays.yaml").write_text(BANDIT + source, encoding="utf-8")
    return load_experiment(folder / "plays.yaml")


def plays(seed: int, *, units: int = 300) -> pa.Table:
    """Some rows of each unit in the hours after it came in, an hour an epoch; a few units come again under other shares."""
    rng = random.Random(seed)
    made = []
    for of in range(units):
        hour = of * len(SHARES) // units
        arm = rng.choices(range(3), SHARES[hour])[0]
        at = START + (hour + rng.random()) * _HOUR
        for n in range(rng.randrange(1, 4)):
            later = n and hour < 4 and rng.random() < 0.015
            shown, now = (rng.choices(range(3), SHARES[4])[0], 4) if later else (arm, hour)
            made.append(
                {
                    "unit": f"user {of}",
                    "variant": ("control", "b", "c")[shown],
                    "time": at + n * rng.random() * _HOUR,
                    "epoch": now,
                    "probability": SHARES[now][shown],
                    "tier": ("gold", "plain", None)[of % 3],
                    "before": None if of % 7 == 0 else of / 3,
                    "answered": None if rng.random() < 0.2 else rng.random() < 0.3 + 0.2 * (shown == 2),
                    "cost_usd": rng.expovariate(5.0),
                    "count": 1,
                    "latency_s": rng.expovariate(1.0),
                }
            )
    made.append(made[0] | {"unit": None, "variant": "nobody's", "probability": 2.0})
    return pa.Table.from_pylist(made)


def slots(source: object = None, **drawn: object) -> Experiment:
    """A switchback of regions with a metric of every kind that slots have; `drawn` and `source` stand in their sections."""
    metrics = {
        "cost": {
            "priority": "primary",
            "kind": "mean",
            "of": "turn.cost_usd",
            "better": "lower",
            "winsorise": 0.95,
        },
        "per_turn": {"kind": "ratio", "of": "turn.cost_usd", "per": "turn.count", "better": "lower"},
        "turns": {"kind": "mean", "of": "turn.count", "per_unit": "sum", "better": "higher"},
        "slow": {"kind": "quantile", "q": 0.75, "of": "turn.latency_s", "better": "lower"},
    }
    section = {"by": "region", "begins": "2026-12-28", "wash_out": "30m"} | drawn
    attributes = {"region": {"from": "header:x-region"}} if section["by"] else {}
    more = {} if source is None else {"source": source}
    return switchback(switchback=section, metrics=metrics, attributes=attributes, **more)


def turns_of(experiment: Experiment, weeks: float, *, seed: int) -> pa.Table:
    """Turns of its slots as rows; one slot has a turn of the other arm, one nothing but a turn in its wash-out."""
    rng = random.Random(seed)
    assert experiment.switchback is not None
    whose = ("eu", "us/1") if experiment.switchback.by else (None,)
    facts = served(
        experiment,
        lambda at, arm, before: rng.expovariate(1.0) + (arm == "treatment"),
        weeks=weeks,
        whose=whose,
        seed=seed,
    )  # type: ignore[arg-type]
    made = [
        {
            "unit": fact.unit,
            "variant": fact.variant,
            "time": fact.happened - 2.0,
            "cost_usd": None if rng.random() < 0.1 else fact.cost_usd,
            "count": 1,
            "latency_s": rng.expovariate(1.0),
        }
        for fact in facts
        if isinstance(fact, Turn)
    ]
    first, second = made[0], next(each for each in made if each["unit"] != made[0]["unit"])
    other = {"control": "treatment", "treatment": "control"}
    made.append(first | {"variant": other[str(first["variant"])], "time": first["time"] + 100.0})  # type: ignore[operator]
    made = [each for each in made if each["unit"] != second["unit"]]
    made.append(second | {"time": float(str(second["unit"]).split("/")[0]) + 5.0})
    made.append(first | {"unit": " ", "variant": "control"})
    return pa.Table.from_pylist(made)
