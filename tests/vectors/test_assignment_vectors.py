"""The published assignment contract: `assignment.json` was written once, and everything must agree with it."""

from __future__ import annotations

import json
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from equipoise.assignment.hashing import HASH_VERSION, SPACE, point, prefix, salt
from equipoise.assignment.splitting import Splitter, cut_points

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "assignment.json").read_text("utf-8"))


def second_point(name: str, version: int, label: str, unit: str) -> int:
    """The sentence of the specification, by somebody who has not seen the library."""
    hashed = sha256(b"equipoise\x001\x00")
    for part in (label, f"{name}/{version}"):
        hashed.update(part.encode("utf-8") + b"\x00")
    hashed.update(unit.encode("utf-8"))
    return int(hashed.hexdigest()[:16], 16)


def second_draw(
    name: str, version: int, unit: str, shares: dict[str, Fraction], coverage: Fraction
) -> str | None:
    """The rule of the file on real intervals: cuts at floor(2**64 × running sum), control first."""
    if second_point(name, version, "coverage", unit) >= coverage * 2**64 // 1:
        return None
    end = Fraction(0)
    for arm in ["control", *sorted(set(shares) - {"control"})]:
        end += shares[arm]
        if second_point(name, version, "split", unit) < end * 2**64 // 1:
            return arm
    raise AssertionError("the last arm closes the range")


def test_the_file_is_the_one_that_was_published() -> None:
    """The file names its hash version and algorithm, stays small, and is never written again by anybody."""
    path = Path(__file__).parent / "assignment.json"
    assert sha256(path.read_bytes()).hexdigest() == PUBLISHED
    assert path.stat().st_size < 300 * 1024
    assert VECTORS["hash_version"] == HASH_VERSION == 1
    assert VECTORS["algorithm"] == (
        'point = first eight bytes, big-endian, of SHA-256("equipoise" NUL version NUL label NUL name "/" '
        "assignment_version NUL unit), all in UTF-8 and without normalisation"
    )
    assert len(VECTORS["points"]) + len(VECTORS["draws"]) >= 900


def test_every_point_is_where_it_was_published() -> None:
    """The library and a second implementation put each unit on the published point."""
    for name, version, label, unit, published in VECTORS["points"]:
        assert str(point(prefix(label, salt(name, version)), unit.encode())) == published, (name, label, unit)
        assert str(second_point(name, version, label, unit)) == published, (name, label, unit)


def test_two_spellings_of_one_word_are_two_units() -> None:
    """Nothing is normalised, trimmed or folded: é composed and decomposed fall on different points."""
    published = {
        unit: where
        for name, version, label, unit, where in VECTORS["points"]
        if (name, version, label) == ("demo", 1, "split")
    }
    for one, other in [
        ("\u00e9", "e\u0301"),
        ("a", "A"),
        ("a", " a"),
        ("a", "a "),
        ("\u00c5", "\u212b"),
        ("a", "a\u200b"),
    ]:
        assert published[one] != published[other]


@pytest.mark.parametrize(
    "shares, published", VECTORS["cuts"], ids=lambda value: "+".join(map(str, value))[:40]
)
def test_cut_points_are_exact(shares: list[str], published: list[str]) -> None:
    """Cuts are exact floors of fractions, and the last arm closes the range at 2**64."""
    cuts = cut_points([Fraction(share) for share in shares])
    assert [str(cut) for cut in cuts] == published
    assert cuts[-1] == SPACE


@pytest.mark.parametrize("index", range(len(VECTORS["designs"])))
def test_every_unit_gets_the_variant_that_was_published(index: int) -> None:
    """The library and a second implementation draw the published variant, or none outside the coverage."""
    design = VECTORS["designs"][index]
    shares = {arm: Fraction(share) for arm, share in design["shares"].items()}
    coverage = Fraction(design["coverage"])
    rows = [row for row in VECTORS["draws"] if row[3] == index]
    assert len(rows) == 48
    for name, version, unit, _, published in rows:
        assert Splitter(salt(name, version), shares, coverage).arm(unit) == published, (name, unit)
        assert second_draw(name, version, unit, shares, coverage) == published, (name, unit)


PUBLISHED = "b608ba4415301174dfa894e27d223024be7186a2d32cfbb5b3ff9cc241715f83"
