"""A crowd that was drawn is measured as a table of the same units is; and past units come back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise.errors import DataError
from equipoise.events.facts import Exposure, Outcome, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_table
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import (
    Crowd,
    Past,
    Readings,
    past_units_of_log,
    past_units_of_table,
)

DEFINITION = """
name: crowd
hypothesis: What is drawn is measured as what is recorded.
changes: [config]
unit: {type: user, from: header:x-user}
CLUSTER
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  ok: {priority: primary, kind: proportion, of: outcome.ok, better: higher, baseline: 0.5, mde: 0.1}
  paid: {priority: guardrail, kind: mean, of: outcome.paid, better: lower, margin: 10%}
  per_try: {priority: guardrail, kind: ratio, of: outcome.paid, per: outcome.tries, better: lower, margin: 10%}
  half: {priority: guardrail, kind: quantile, q: 0.5, of: outcome.wait, better: lower, margin: 10%}
"""


def defined(folder: Path, cluster: str = "") -> Experiment:
    path = folder / "crowd.yaml"
    path.write_text(DEFINITION.replace("CLUSTER", cluster), encoding="utf-8")
    return load_experiment(path)


def crowd(size: int, *, clusters: int = 0, seed: int = 1) -> Crowd:
    """Units with gaps in every metric, and none to five readings each."""
    rng = np.random.default_rng(seed)

    def gaps(values: np.ndarray) -> np.ndarray:
        return np.where(rng.random(size) < 0.1, np.nan, values)

    paid = gaps(rng.gamma(2.0, 3.0, size))
    counts = rng.integers(0, 6, size)
    return Crowd(
        size,
        {"ok": gaps((rng.random(size) < 0.4).astype(float)), "paid": paid, "per_try": paid},
        {"per_try": gaps(rng.integers(1, 5, size).astype(float))},
        {"half": Readings(rng.gamma(3.0, 1.0, counts.sum()), np.concatenate(([0], np.cumsum(counts))))},
        rng.integers(0, clusters, size) if clusters else None,
    )


def table_of(experiment: Experiment, drawn: Drawn, units: int) -> pa.Table:
    """The first units as events: a row with what there is one of, and a row for each reading."""
    rows = []
    arms = [variant.name for variant in experiment.variants]
    readings = drawn.crowd.readings["half"]
    for unit in range(units):
        row = {"unit": f"u{unit:06}", "variant": arms[drawn.arms[unit]], "time": float(unit)}
        if drawn.crowd.clusters is not None:
            row["team"] = f"t{drawn.crowd.clusters[unit]}"
        values = drawn.crowd.values
        once = {
            "outcome.ok": values["ok"][unit],
            "outcome.paid": values["paid"][unit],
            "outcome.tries": drawn.crowd.per["per_try"][unit],
        }
        rows.append(row | {name: None if np.isnan(value) else float(value) for name, value in once.items()})
        waits = readings.values[readings.starts[unit] : readings.starts[unit + 1]]
        rows += [row | {"outcome.wait": float(wait)} for wait in waits]
    names = ["unit", "variant", "time", *(["team"] if drawn.crowd.clusters is not None else [])]
    names += ["outcome.ok", "outcome.paid", "outcome.tries", "outcome.wait"]
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def close(found: object, wanted: object) -> None:
    """Equal, numbers to nine digits."""
    assert type(found) is type(wanted), (found, wanted)
    if isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    elif isinstance(wanted, tuple) and isinstance(found, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    elif hasattr(wanted, "__dataclass_fields__"):
        for name in wanted.__dataclass_fields__:
            close(getattr(found, name), getattr(wanted, name))
    else:
        assert found == wanted


@pytest.mark.parametrize("clusters", [0, 12, 90])
@pytest.mark.parametrize("units", [2, 40, 700])
def test_a_crowd_is_measured_as_a_table_of_its_units(tmp_path, clusters, units):
    """Counts, moments, pairs, clusters and quantiles as of any moment are those that the engine counts."""
    experiment = defined(tmp_path, "cluster: team" if clusters else "")
    rng = np.random.default_rng(units)
    drawn = Drawn(experiment, crowd(800, clusters=clusters), rng.integers(0, 2, 800))
    found = drawn.at(units, dict.fromkeys(("ok", "paid", "per_try", "half"), units), 0.0)
    wanted = measure_table(experiment, table_of(experiment, drawn, units))
    assert found.units == wanted.units
    # Of two units, some metric has none: what stands for nothing differs, and nothing is made of it.
    for metric in ("ok", "paid", "per_try", "half") if units > 2 else ():
        for arm in ("control", "b"):
            mine, theirs = found.tallies[metric][arm], wanted.tallies[metric][arm]
            if mine.totals is not None:
                # The order of the clusters is one for all arms, whatever it is.
                assert sorted(mine.totals.sizes) == pytest.approx(sorted(theirs.totals.sizes))
                assert sorted(mine.totals.sums) == pytest.approx(sorted(theirs.totals.sums))
            close(replace(mine, totals=None), replace(theirs, totals=None))
            assert (mine.overlap is not None) == (
                clusters > 0 and units > 2 and arm == "b" and metric == "half"
            )
            assert (mine.shared is not None) == (
                clusters == 90 and units == 700 and arm == "b" and metric != "half"
            )
    if clusters and units > 2:
        assert found.clusters == wanted.clusters


def test_of_a_metric_only_those_count_that_are_mature(tmp_path):
    """Units that came too late for a metric's window are immature in it, and count in the others."""
    experiment = defined(tmp_path)
    drawn = Drawn(experiment, crowd(100), np.arange(100) % 2)
    mature = {"ok": 60, "paid": 100, "per_try": 100, "half": 0}
    found = drawn.at(100, mature, 0.0)
    assert [found.tallies["ok"][arm].immature for arm in ("control", "b")] == [20, 20]
    assert [found.tallies["paid"][arm].immature for arm in ("control", "b")] == [0, 0]
    assert [found.tallies["half"][arm].immature for arm in ("control", "b")] == [50, 50]


def test_past_units_of_a_table_are_its_units(tmp_path):
    """Every control unit comes back once, with its values and readings, and what is drawn is drawn from them."""
    experiment = defined(tmp_path)
    arms = np.arange(300) % 2
    drawn = Drawn(experiment, crowd(300), arms)
    table = tmp_path / "past.parquet"
    pq.write_table(table_of(experiment, drawn, 300), table)
    past = past_units_of_table(experiment, str(table))
    where = np.flatnonzero(arms == 0)
    for name, values in drawn.crowd.values.items():
        np.testing.assert_array_equal(past.crowd.values[name], values[where])
    readings = drawn.crowd.readings["half"].of(where)
    np.testing.assert_array_equal(past.crowd.readings["half"].starts, readings.starts)
    assert sorted(past.crowd.readings["half"].values) == sorted(readings.values)
    again = past.draw(5_000, np.random.default_rng(3))
    assert again.size == 5_000
    known = set(past.crowd.values["paid"][~np.isnan(past.crowd.values["paid"])])
    assert set(again.values["paid"][~np.isnan(again.values["paid"])]) <= known
    assert past.says.startswith("150 past units of control in ")
    assert np.nanmean(again.values["ok"]) == pytest.approx(past.mean(experiment.metric("ok")), abs=0.03)


def test_past_units_come_in_whole_clusters(tmp_path):
    """A cluster that is drawn is drawn with all its units, and every draw is a cluster of its own."""
    experiment = defined(tmp_path, "cluster: team")
    drawn = Drawn(experiment, crowd(300, clusters=12), np.zeros(300, dtype=np.int64))
    past = past_units_of_table(experiment, table_of(experiment, drawn, 300))
    assert isinstance(past, Past)
    sizes = np.bincount(past.crowd.clusters)
    again = past.draw(4_000, np.random.default_rng(5))
    found = np.bincount(again.clusters)
    # The last ones to come are cut off where enough are there.
    assert set(found[found > 0]) <= set(range(1, sizes.max() + 1))
    assert again.clusters.max() + 1 == pytest.approx(4_000 / sizes.mean(), rel=0.2)


def test_past_units_of_a_log_have_been_in_for_every_window(tmp_path):
    """Units that came within the longest window before the end of the log are no past units."""
    path = tmp_path / "windows.yaml"
    path.write_text(
        """
name: windows
hypothesis: Whoever has not been in for long is not drawn.
changes: [config]
unit: {type: user, from: header:x-user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  resolved: {priority: primary, kind: proportion, of: outcome.resolved, better: higher, window: 1h, absent: 0, mde: 5pp}
  slow: {priority: guardrail, kind: quantile, q: 0.9, of: turn.latency_s, better: lower, margin: 10%}
""",
        encoding="utf-8",
    )
    experiment = load_experiment(path)
    log = MemoryLog()
    for unit in range(20):
        at = 600.0 * unit
        log.append(
            [
                Exposure(
                    experiment="windows", happened=at, digest=experiment.digest, unit=f"u{unit}", unit_type="user",
                    variant="control" if unit % 2 else "b", probability=0.5, reason="split",
                ),
                Turn(experiment="windows", happened=at, unit=f"u{unit}", variant="control", latency_s=1.0 + unit),
                Outcome(experiment="windows", happened=at + 30, unit=f"u{unit}", name="resolved", value=unit % 4 == 1),
            ]
        )  # fmt: skip
    past = past_units_of_log(experiment, log)
    # The log ends 19 × 600 + 30 s after its beginning: units 1, 3, … 13 of control have been in for an hour.
    assert past.crowd.size == 7
    assert sorted(past.crowd.values["resolved"]) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    assert sorted(past.crowd.readings["slow"].values) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
    with pytest.raises(DataError, match=r"^the log has 0 units of nobody that count and have been in"):
        past_units_of_log(experiment, log, arm="nobody")
