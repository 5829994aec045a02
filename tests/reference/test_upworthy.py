"""The sample-ratio check finds the randomisation fault that the authors of a real archive warned of."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import sys
from pathlib import Path

import pytest
from scipy.stats import chisquare

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT.parent / "shared" / "data" / "ab_upworthy" / "packages.csv.gz"

pytestmark = pytest.mark.skipif(
    not TABLE.is_file(), reason="the Upworthy data are not beside the repository (../shared/data/ab_upworthy)"
)


@pytest.fixture(scope="module")
def upworthy():
    spec = importlib.util.spec_from_file_location(
        "upworthy_sample_ratio", ROOT / "examples" / "real" / "upworthy_sample_ratio.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_two_thirds_are_flagged_in_the_fault_window_and_few_outside(upworthy):
    """67 % of the tests inside the authors' window and 1.4 % of those outside, to the printed digit."""
    inside, outside = upworthy.flag(TABLE)
    assert f"{inside.share * 100:.0f} %" == "67 %"
    assert f"{outside.share * 100:.1f} %" == "1.4 %"
    printed = upworthy.report(inside, outside)
    assert "2,491 tests" in printed
    assert "67 %  in the fault window" in printed
    assert "1.4 %  at any other time" in printed


def test_an_independent_count_agrees(upworthy):
    """The same table read without duckdb and tested by scipy.stats flags the same numbers of tests."""
    arms, weeks = {}, {}
    with gzip.open(TABLE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            arms.setdefault(row["test_id"], []).append(int(row["impressions"]))
            week = int(row["test_week"])
            weeks[row["test_id"]] = min(week, weeks.get(row["test_id"], week))
    flagged = {test for test, counts in arms.items() if chisquare(counts).pvalue < 0.001}
    window = {test for test, week in weeks.items() if 201326 <= week <= 201402}
    inside, outside = upworthy.flag(TABLE)
    assert (inside.tests, inside.flagged) == (len(window), len(window & flagged))
    assert (outside.tests, outside.flagged) == (len(arms) - len(window), len(flagged - window))


def test_a_stricter_threshold_flags_fewer_of_the_same_tests(upworthy):
    """The number of tests that are checked does not depend on the threshold, and the number flagged falls with it."""
    usual, strict = upworthy.flag(TABLE)[0], upworthy.flag(TABLE, threshold=1e-9)[0]
    assert strict.tests == usual.tests
    assert 0 < strict.flagged < usual.flagged
