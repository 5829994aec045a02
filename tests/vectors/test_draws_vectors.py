"""Published draws with holdouts, targets, layers, coverage and epochs: `draws.json` was written once.

The file was made by `published` below, which follows docs/assignment.md and knows nothing of the library.
"""

from __future__ import annotations

import json
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from equipoise.assignment.assigning import Assigner
from equipoise.assignment.epochs import Epoch, History
from equipoise.clock import ManualClock
from equipoise.experiment.reading import read_canonical

FILE = Path(__file__).parent / "draws.json"
PUBLISHED = "2d6902c2403e9bbafbafddcc8f82a6791fad2e3ac7579a767fdb4a5773f3c81b"
DRAWS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


def at(label: str, salt: str, unit: str) -> Fraction:
    """Where a unit is between 0 and 1."""
    hashed = sha256(f"equipoise\0001\0{label}\0{salt}\0{unit}".encode())
    return Fraction(int(hashed.hexdigest()[:16], 16), 2**64)


def floor(share: str | Fraction) -> Fraction:
    """A share, cut to a whole number of points."""
    return Fraction(int(Fraction(share) * 2**64), 2**64)


def fulfils(value: Any, test: str, wanted: Any) -> bool:
    if test in ("in", "not_in"):
        kinds = [bool if isinstance(each, bool) else float if isinstance(each, int | float) else str for each in wanted]  # fmt: skip
        kind = bool if isinstance(value, bool) else float if isinstance(value, int | float) else type(value)
        found = any(one is kind and each == value for one, each in zip(kinds, wanted, strict=True))
        return kind in kinds and found == (test == "in")
    if test == "starts_with":
        return isinstance(value, str) and value[: len(wanted)] == wanted
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return {
        "at_least": value >= wanted,
        "above": value > wanted,
        "at_most": value <= wanted,
        "below": value < wanted,
    }[test]


def published(design: dict[str, Any], now: float, unit: str, known: dict[str, Any]) -> tuple[str | None, str]:
    """The arm of a unit and the reason, by the sentences of the document."""
    for name, share in design["holdouts"].items():
        if at("holdout", name, unit) < floor(share):
            return None, "held_out"
    for attribute, tests in design["target"].items():
        if not all(fulfils(known.get(attribute), test, wanted) for test, wanted in tests.items()):
            return None, "not_targeted"
    if design["layer"] is not None:
        name, start, end = design["layer"]
        if not floor(start) <= at("layer", name, unit) < floor(end):
            return None, "other_layer"
    when = now
    if design["id"] == "uuid7":
        try:
            made = UUID(unit)
        except ValueError:
            return None, "bad_id"
        if made.version != 7:
            return None, "bad_id"
        when = int.from_bytes(made.bytes[:6], "big") / 1000
        if when > now + 5:
            return None, "bad_time"
    begun = [epoch for epoch in design["epochs"] if epoch["starts"] <= when]
    if not begun:
        return None, "before_start"
    salt = f"{design['name']}/{design['assignment_version']}"
    if at("coverage", salt, unit) >= floor(begun[-1]["coverage"]):
        return None, "not_covered"
    end, shares = Fraction(0), begun[-1]["shares"]
    for arm in ["control", *sorted(set(shares) - {"control"})]:
        end += Fraction(shares[arm])
        if at("split", salt, unit) < floor(end):
            return arm, "split" if arm in design["epochs"][-1]["shares"] else "removed"
    raise AssertionError("the last arm closes the range")


def test_the_file_is_the_one_that_was_published() -> None:
    """Never written again, small, and with an example of every answer."""
    assert sha256(FILE.read_bytes()).hexdigest() == PUBLISHED
    assert FILE.stat().st_size < 300 * 1024
    assert DRAWS["hash_version"] == 1
    assert len(DRAWS["rows"]) >= 300
    counted = {row[4] for row in DRAWS["rows"]}
    assert counted == {
        "split", "removed", "held_out", "not_targeted", "other_layer", "not_covered", "before_start", "bad_id", "bad_time",
    }  # fmt: skip
    assert sum(not row[1].isascii() for row in DRAWS["rows"]) >= 40


@pytest.mark.parametrize("index", range(len(DRAWS["designs"])))
def test_every_unit_gets_the_draw_that_was_published(index: int) -> None:
    """The library and a second implementation give the published arm for the published reason."""
    design = DRAWS["designs"][index]
    layer = design["layer"]
    experiment = read_canonical(
        {
            "name": design["name"],
            "hypothesis": "None; these are examples.",
            "unit": {"type": "conversation", "id": design["id"]},
            "attributes": {"country": {"type": "text"}, "age": {"type": "number"}, "beta": {"type": "boolean"}},
            "target": design["target"],
            "holdouts": design["holdouts"],
            "layer": None if layer is None else {"name": layer[0], "range": layer[1:]},
            "assignment_version": design["assignment_version"],
            "variants": {arm: {"config": {"arm": arm}} for arm in design["epochs"][-1]["shares"]},
            "changes": ["config"],
            "metrics": {"resolution_rate": {"priority": "primary"}},
        }
    )  # fmt: skip
    epochs = [
        Epoch(number, each["starts"], {arm: Fraction(share) for arm, share in each["shares"].items()}, Fraction(each["coverage"]))
        for number, each in enumerate(design["epochs"])
    ]  # fmt: skip
    assigner = Assigner(experiment, History(epochs, clock=ManualClock(DRAWS["now"])))
    rows = [row for row in DRAWS["rows"] if row[0] == index]
    assert rows
    for _, unit, known, arm, reason in rows:
        drawn = assigner.draw(unit, known)
        assert (drawn.variant, drawn.reason) == (arm, reason), (unit, known)
        assert published(design, DRAWS["now"], unit, known) == (arm, reason), (unit, known)
