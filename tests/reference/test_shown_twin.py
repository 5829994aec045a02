"""Lists that were drawn are measured as a log of the same lists and clicks is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from searching import facts, rankers

from equipoise.events.log import MemoryLog
from equipoise.measurement.measuring import measure_log
from equipoise.measurement.rehearsed.shown import DrawnLists, Shown
from equipoise.measurement.tally import Tally


def drawn(size: int, per_unit: int, seed: int) -> Shown:
    """Lists in which either ranker wins, or none; some begin with nobody's item, and then nobody earns."""
    rng = np.random.default_rng(seed)
    first = rng.integers(-1, 2, size)
    credit = {}
    for name, tied in (("preference", 0.4), ("reports", 0.8)):
        winner = np.where((first < 0) | (rng.random(size) < tied), -1, rng.integers(0, 2, size))
        credit[name] = (winner[:, None] == np.arange(2)).astype(float)
    items = np.where(first[:, None] < 0, 0, 1) * np.ones((1, 2), dtype=np.int64)
    return Shown(
        rng.permutation(np.arange(size) // per_unit) if per_unit > 1 else np.arange(size),
        credit,
        first,
        items,
    )


def same(found: Tally, wanted: Tally) -> None:
    assert replace(found, pairs=None, contrast=None) == replace(wanted, pairs=None, contrast=None)
    for mine, theirs in ((found.pairs, wanted.pairs), (found.contrast, wanted.contrast)):
        assert (mine is None) is (theirs is None)
        for name in ("n", "mean_x", "mean_y", "m2_x", "m2_y", "c_xy") if mine and theirs else ():
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("per_unit", [1, 3])
@pytest.mark.parametrize("size", [2, 40, 300])
def test_drawn_lists_are_measured_as_a_log_of_them(per_unit, size):
    """Units, credit, contrasts, wins and first places as of any moment are those that are read from a log."""
    experiment = rankers()
    shown = drawn(400, per_unit, size)
    found = DrawnLists(experiment, shown).at(size, {"preference": size, "reports": size}, 0.0)
    so_far = Shown(
        shown.units[:size], {name: of[:size] for name, of in shown.credit.items()}, shown.first[:size], shown.items[:size]
    )  # fmt: skip
    log = MemoryLog()
    log.append(list(facts(experiment, so_far)))
    wanted = measure_log(experiment, log)
    assert found.units == wanted.units
    assert found.lists == wanted.lists
    for metric in ("preference", "reports"):
        for arm in ("control", "treatment"):
            same(found.tallies[metric][arm], wanted.tallies[metric][arm])


def test_of_a_metric_only_lists_count_that_are_mature():
    """Lists that were shown too late for a metric's window wait, and so does a unit that has no others."""
    metrics = {
        "preference": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher", "window": "1h"}
    }  # fmt: skip
    experiment = rankers(metrics=metrics)
    found = DrawnLists(experiment, drawn(100, 1, 1)).at(100, {"preference": 60}, 0.0)
    assert found.lists.unripe == {"preference": 40}
    assert [found.tallies["preference"][arm].immature for arm in ("control", "treatment")] == [40, 40]
    none = DrawnLists(experiment, drawn(100, 2, 1)).at(100, {"preference": 0}, 0.0)
    assert none.tallies["preference"]["treatment"].contrast is None
    assert none.tallies["preference"]["treatment"].immature == 50
