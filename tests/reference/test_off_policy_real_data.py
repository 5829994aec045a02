"""Off-policy evaluation on two policies that ran side by side on a shop's pages: each from the log of the other."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import pytest

from equipoise.conduct.off_policy import evaluate_policy
from equipoise.stats.estimate import Estimate

DATA = Path("../shared/data/bandit_openbandit_men")
if not DATA.is_dir():
    pytest.skip("the real data are not on this machine", allow_module_level=True)

COLUMNS = {"action": "item_id", "probability": "propensity", "reward": "click", "target": "action_prob"}


def rows(name):
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def evaluated(log):
    policy = DATA / "bts_policy.csv.gz" if log == "random" else "uniform"
    return evaluate_policy(DATA / f"{log}.csv.gz", policy, context=("position",), **COLUMNS)


def by_hand(log):
    """Weights and rewards, row by row."""
    plays = {
        (row["item_id"], row["position"]): float(row["action_prob"]) for row in rows("bts_policy.csv.gz")
    }
    found = []
    for row in rows(f"{log}.csv.gz"):
        target = plays[row["item_id"], row["position"]] if log == "random" else 1 / 34
        found.append((target / float(row["propensity"]), float(row["click"])))
    return found


@pytest.mark.parametrize("log", ["random", "bts"])
def test_weights_are_those_of_a_plain_twin(log):
    """Row by row in Python: the weighted mean, the self-normalised one, the effective rows, the largest weight."""
    pairs, found = by_hand(log), evaluated(log).values
    n, total = len(pairs), math.fsum(w for w, _ in pairs)
    earned = math.fsum(w * y for w, y in pairs)
    assert found.inverse_propensity.value == pytest.approx(earned / n, rel=1e-9)
    spread = math.fsum((w * y - earned / n) ** 2 for w, y in pairs) / (n - 1) / n
    assert found.inverse_propensity.standard_error == pytest.approx(math.sqrt(spread), rel=1e-9)
    assert found.self_normalised.value == pytest.approx(earned / total, rel=1e-9)
    assert found.overlap.effective == pytest.approx(total**2 / math.fsum(w * w for w, _ in pairs), rel=1e-9)
    assert found.overlap.largest == max(w for w, _ in pairs)


def test_scores_are_those_of_a_plain_twin():
    """The doubly robust score with predictions made from the other four fifths, each drawn to the mean by ten rows."""
    log = rows("random.csv.gz")
    plays = {
        (row["item_id"], row["position"]): float(row["action_prob"]) for row in rows("bts_policy.csv.gz")
    }
    told = [
        ((row["item_id"], row["position"]), number % 5, float(row["click"]), float(row["propensity"]))
        for number, row in enumerate(log, start=1)
    ]
    scores, predicted = [], []
    for fold in range(5):
        outside = [(cell, y) for cell, of, y, _ in told if of != fold]
        mean = sum(y for _, y in outside) / len(outside)
        sums: dict[tuple[str, str], list[float]] = {}
        for cell, y in outside:
            have = sums.setdefault(cell, [0.0, 0.0])
            have[0], have[1] = have[0] + y, have[1] + 1.0
        model = {
            cell: (sums.get(cell, [0.0, 0.0])[0] + 10 * mean) / (sums.get(cell, [0.0, 0.0])[1] + 10)
            for cell in plays
        }
        expected = {
            place: math.fsum(plays[cell] * model[cell] for cell in plays if cell[1] == place)
            for place in "123"
        }
        for cell, of, y, p in told:
            if of == fold:
                predicted.append(expected[cell[1]])
                scores.append(expected[cell[1]] + plays[cell] / p * (y - model[cell]))
    found = evaluated("random").values
    assert found.doubly_robust.value == pytest.approx(math.fsum(scores) / len(scores), rel=1e-9)
    assert found.direct.value == pytest.approx(math.fsum(predicted) / len(predicted), rel=1e-9)


@pytest.mark.parametrize(("log", "other"), [("random", "bts"), ("bts", "random")])
def test_each_policy_is_evaluated_from_the_other_s_log_as_it_did(log, other):
    """Every weighted estimate differs from what the policy earned in its own log by no more than 2.6 joint errors."""
    found, own = evaluated(log), evaluated(other).played
    assert isinstance(own, Estimate)
    for each in (found.values.inverse_propensity, found.values.self_normalised, found.values.doubly_robust):
        assert isinstance(each, Estimate)
        assert abs(each.value - own.value) <= 2.6 * math.hypot(each.standard_error, own.standard_error)
    assert found.cautions == ()


def test_what_was_found_is_written_down():
    """Clicks in 1,000: 4.5 (2.2 to 6.9) for the sampling policy from random plays, where its own log has 6.9 (5.3 to 8.5)."""
    found, own = evaluated("random"), evaluated("bts")
    told = [
        [round(1_000 * number, 1) for number in (each.value, each.low, each.high)]
        for each in (
            found.values.inverse_propensity,
            found.values.doubly_robust,
            own.played,
            own.values.doubly_robust,
        )
    ]
    assert told == [[4.5, 2.2, 6.9], [4.5, 2.2, 6.9], [6.9, 5.3, 8.5], [3.1, 1.5, 4.6]]
    assert [round(each.values.overlap.effective) for each in (found, own)] == [2_465, 656]
