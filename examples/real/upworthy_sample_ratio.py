"""Whether 2,491 real headline tests kept their promise of equal shares: the sample-ratio check on all of them.

The Upworthy Research Archive (Matias, Munger, Aubin Le Quere and Ebersole 2021, CC BY 4.0) has tests of headlines and
pictures on a news site. Its authors warned in 2024 that tests from 25 June 2013 to 10 January 2014 may not have been
randomised as intended. A test promises every arm the same share of the viewers; here each test is held to that.

The data are read from the folder beside this repository; nothing of them is kept here.
Try: python examples/real/upworthy_sample_ratio.py
"""

# ruff: noqa: INP001 - a script beside the definitions, not a package

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import duckdb

from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.sample_ratio import sample_ratio

TABLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "ab_upworthy" / "packages.csv.gz"
THRESHOLD = 0.001
FAULTY = (201326, 201402)
"""First and last week (year and week) of what the archive's authors warned of."""


@dataclass(frozen=True, slots=True)
class Flagged:
    """How many of the tests of a time are flagged; the share is None where there is no test."""

    flagged: int
    tests: int

    @property
    def share(self) -> float | None:
        return self.flagged / self.tests if self.tests else None


def flag(table: Path, *, threshold: float = THRESHOLD) -> tuple[Flagged, Flagged]:
    """The tests flagged inside the authors' fault window, and outside it.

    A test is flagged where equal shares of its impressions are refused at `threshold`. It belongs to the week in
    which it began (14 tests run into a second one). A test too small to be checked would be left out and not counted
    as sound; in this table there is none.
    """
    tests = duckdb.execute(
        "SELECT min(test_week), list(impressions) FROM read_csv($table) GROUP BY test_id",
        {"table": str(table)},
    ).fetchall()
    flagged, checked = {True: 0, False: 0}, {True: 0, False: 0}
    for week, impressions in tests:
        arms = {str(number): viewers for number, viewers in enumerate(impressions, 1)}
        check = sample_ratio(arms, dict.fromkeys(arms, Fraction(1, len(arms))))
        if isinstance(check, NotEstimable):
            continue
        inside = FAULTY[0] <= week <= FAULTY[1]
        checked[inside] += 1
        flagged[inside] += check.p_value < threshold
    return Flagged(flagged[True], checked[True]), Flagged(flagged[False], checked[False])


def report(inside: Flagged, outside: Flagged) -> str:
    """Both counts, as sentences."""
    lines = [f"{inside.tests + outside.tests:,} tests held to equal shares, flagged at p < {THRESHOLD:g}:"]
    for where, found, digits in (
        (f"in the fault window, weeks {FAULTY[0]} to {FAULTY[1]}", inside, 0),
        ("at any other time", outside, 1),
    ):
        share = "no test" if found.share is None else f"{found.share * 100:.{digits}f} %"
        lines.append(f"  {share:>5}  {where} ({found.flagged:,} of {found.tests:,})")
    lines.append(f"Chance alone would flag {THRESHOLD * 100:g} %.")
    return "\n".join(lines)


if __name__ == "__main__":
    if not TABLE.is_file():
        sys.exit(f"the data are not there: {TABLE}. Put the folder `shared` beside this repository")
    print(report(*flag(TABLE)))
