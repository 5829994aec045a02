"""Real experiments over time: how often daily peeking would have declared a winner, and how often registered looks.

ASOS Digital Experiments Dataset (Liu et al. 2021, CC BY 4.0): 46 experiments with 59 treatments, four metrics
each, as running totals every 12 or 24 hours. Nothing is drawn here, so there is no chance of a false alarm:
the figures are facts about these data. `pytest -s` prints them.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.looks.sequential import crossing_probabilities, next_boundary
from equipoise.stats.looks.spending import obrien_fleming
from equipoise.stats.moments import Moments

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ab_asos_series" / "series.csv.gz"
PLANNED = (0.2, 0.4, 0.6, 0.8, 1.0)

pytestmark = pytest.mark.skipif(
    not DATA.is_file(), reason="the ASOS series are not beside the repository (../shared/data/ab_asos_series)"
)


class Row(NamedTuple):
    metric: str
    peeked: bool
    at_end: bool
    stopped: bool
    fraction: float
    falls: bool
    error: float


def series() -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """(z, information) of each look, by experiment, treatment and metric; information only ever grows."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    with gzip.open(DATA, "rt") as file:
        for row in csv.DictReader(file):
            arms = []
            for arm in "ct":
                n, mean, variance = (row[f"{name}_{arm}"] for name in ("count", "mean", "variance"))
                if not (n and mean and variance) or float(n) < 2 or math.isnan(float(mean)):
                    break
                arms.append(Moments(int(float(n)), float(mean), float(variance) * (float(n) - 1)))
            if len(arms) < 2:
                continue
            effect = difference_of_means(*arms)
            if isinstance(effect, Estimate) and effect.statistic is not None:
                key = row["experiment_id"], row["variant_id"], row["metric_id"]
                found[key].append((effect.statistic, effect.standard_error**-2))
    return found


def rising(looks: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The looks at which information had grown by at least two in a thousand; the last one is the last of all.

    Where a skewed outcome shows its outliers late, its variance grows faster than its units and information
    may fall; such readings are no looks.
    """
    kept = [looks[0]]
    for z, information in looks[1:]:
        if information - kept[-1][1] >= 2e-3 * information:
            kept.append((z, information))
    kept[-1] = (looks[-1][0], kept[-1][1])
    return kept


def registered(looks: list[tuple[float, float]]) -> tuple[bool, float]:
    """Whether five looks at fifths of the final information, O'Brien–Fleming spending, would have stopped.

    Also the fraction of the information at which they stopped (1 where they never did).
    """
    most, fractions, bounds = looks[-1][1], [], []
    for planned in PLANNED:
        seen = next(((z, i / most) for z, i in looks if i / most >= planned - 1e-9), (looks[-1][0], 1.0))
        z, fraction = seen
        if fractions and fraction - fractions[-1] < 1e-3:
            continue  # two plans met by the same reading are one look
        last = planned == 1.0 or fraction >= 1.0 - 1e-9
        bound = next_boundary(fractions, bounds, fraction, 0.05, obrien_fleming, last=last)
        fractions.append(fraction)
        bounds.append(bound)
        if abs(z) >= bound:
            return True, fraction
        if last:
            break
    return False, 1.0


def test_peeking_every_day_declares_winners_that_do_not_last() -> None:
    """Peeking at 0.05 declares far more winners than the full data do; registered looks about as many."""
    rows = []
    for (_, _, metric), looks in series().items():
        if len(looks) < 5:
            continue
        growing = rising(looks)
        stopped, fraction = registered(growing)
        steps = [i / growing[-1][1] for _, i in growing]
        rows.append(
            Row(
                metric=metric,
                peeked=any(abs(z) >= 1.959964 for z, _ in looks),
                at_end=abs(looks[-1][0]) >= 1.959964,
                stopped=stopped,
                fraction=fraction,
                falls=any(after[1] < before[1] * 0.998 for before, after in pairwise(looks)),
                error=crossing_probabilities(steps, [1.959964] * len(steps)).total,
            )
        )
    print()
    for metric in ("1", "2", "3", "4", "1234"):
        of = [row for row in rows if row.metric in metric]
        peeked, at_end, stopped = (sum(getattr(r, x) for r in of) for x in ("peeked", "at_end", "stopped"))
        print(
            f"metric {metric}: {len(of)} series; peeking declares {peeked} ({peeked / len(of):.1%}), "
            f"{sum(r.peeked and not r.at_end for r in of)} of them not significant at the end; "
            f"the end alone {at_end}; registered looks {stopped}, "
            f"at {np.mean([r.fraction for r in of if r.stopped]):.0%} of the information; "
            f"true error of peeking where information rises {np.mean([r.error for r in of if not r.falls]):.1%} "
            f"({sum(not r.falls for r in of)} series)"
        )
    assert len(rows) > 200
    peeked, at_end, stopped = (sum(getattr(r, x) for r in rows) for x in ("peeked", "at_end", "stopped"))
    assert peeked > 2 * at_end
    assert abs(stopped - at_end) <= 0.25 * at_end
    assert np.mean([r.error for r in rows if not r.falls]) > 0.2
