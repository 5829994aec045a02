"""The judge's mean corrected by labels, against the numbers of the authors' own package.

`ppi_py` 0.2.3 (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic): `ppi_mean_pointestimate` and `ppi_mean_ci` at alpha 0.05
for the columns below. Its limits are normal ones and its spreads divide by n; its judge's mean is that of the cases
without a label, so that a weight λ there is λ · (all weight) / (weight without a label) here.
"""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.corrected_totals import JudgedTotals, corrected_mean_of_totals
from equipoise.stats.normal import critical


def column(n: int, a: int, b: int, m: int) -> np.ndarray:
    return np.array([(a * i * i + b * i + 3) % m for i in range(n)], float)


SAID = column(80, 7, 5, 11) / 10
JUDGE = np.clip([said + ((i * 13) % 7 - 3) / 10 for i, said in enumerate(SAID)], 0.0, 1.0)
REST = column(500, 3, 11, 13) / 12
WEIGHT = np.array([1 + (i % 4) / 2 for i in range(80)])
REST_WEIGHT = np.array([1 + (i % 3) / 2 for i in range(500)])


def found(*, weighted: bool, judge_weight: float | None) -> Estimate:
    """Ours, one case a unit."""
    w = WEIGHT if weighted else np.ones(80)
    rest = REST_WEIGHT if weighted else np.ones(500)
    none = np.zeros(500)
    sums = CrossMoments.of(
        np.concatenate([w * JUDGE, rest * REST]),
        np.concatenate([w, rest]),
        np.concatenate([w * SAID, none]),
        np.concatenate([w, none]),
        np.concatenate([w * JUDGE, none]),
    )
    scale = (w.sum() + rest.sum()) / rest.sum()
    result = corrected_mean_of_totals(
        JudgedTotals(sums, 580, 80), judge_weight=None if judge_weight is None else judge_weight * scale
    )
    assert isinstance(result, Estimate)
    return result


@pytest.mark.parametrize(
    ("weighted", "judge_weight", "value", "low", "high"),
    [
        (False, 1.0, 0.5960833333333333, 0.5491360474080127, 0.6430306192586539),
        (False, 0.5, 0.5961666666666666, 0.5587513885540575, 0.6335819447792758),
        (True, 1.0, 0.5919755233647829, 0.540366310388146, 0.6435847363414198),
        (True, 0.5, 0.5925949045395342, 0.5478104288958826, 0.6373793801831859),
    ],
)
def test_with_a_given_weight_the_estimate_is_the_same(weighted, judge_weight, value, low, high):
    """To nine digits; the standard error within a hundredth, for n − 1.

    With weights theirs is that of a mean of weighted values, whose spread holds that of the weights; ours is that of
    a ratio, and smaller.
    """
    ours = found(weighted=weighted, judge_weight=judge_weight)
    assert ours.value == pytest.approx(value, rel=1e-9)
    theirs = (high - low) / 2 / critical(0.025)
    if weighted:
        assert 0.85 * theirs < ours.standard_error < theirs
    else:
        assert ours.standard_error == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize(
    ("weighted", "value", "low", "high"),
    [
        (False, 0.596120205765178, 0.5565326178243174, 0.6357077937060386),
        (True, 0.5922938390989974, 0.5485650464131667, 0.636022631784828),
    ],
)
def test_a_tuned_weight_finds_nearly_the_same(weighted, value, low, high):
    """Both seek the least variance, each its own: the same to a twentieth of a standard error, and ours is not wider."""
    ours = found(weighted=weighted, judge_weight=None)
    theirs = (high - low) / 2 / critical(0.025)
    assert ours.value == pytest.approx(value, abs=0.05 * theirs)
    assert ours.standard_error < theirs
