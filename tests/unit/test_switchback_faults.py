"""Faults of a switchback's definition: slots that cannot be drawn, and questions that a slot cannot answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.errors import DefinitionError
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.experiment.switchback import Switchback

BASE = """\
name: demo
hypothesis: A cache that all share makes it cheaper.
method: {method}
unit: {unit}
changes: [retrieval]
variants:
  control: {{retrieval: {{cache: own}}}}
  treatment: {{retrieval: {{cache: shared}}}}
metrics:
  cost: {{priority: primary, kind: mean, of: turn.cost_usd, better: lower}}
"""
SLOTS = "{type: slot, every: 30m}"
QUIET = "switchback: {wash_out: 5m}\n"

FAULTS: dict[str, tuple[str, str, str, list[str]]] = {
    "a section of another method": ("ab", "user", QUIET, [
        "11: switchback: this section says how time slots are drawn, and the method is ab; set `method: switchback`, or leave the section out",
    ]),
    "units that are no slots": ("switchback", "user", QUIET, [
        "4: unit.type: a switchback randomises time slots, and this is a user; accepted: `unit: {type: slot, every: 1h}`",
    ]),
    "slots that fit no day": ("switchback", "{type: slot, every: 7h}", QUIET, [
        "4: unit.every: slots of 25200 s do not begin at the same times of day, so they cannot be balanced over them; accepted: a part of a day, such as 15m, 30m, 1h, 6h or 1d; or draw each slot by itself: `switchback: {balance: []}`",
    ]),
    "slots of a broken second": ("switchback", "{type: slot, every: 1500ms}", "switchback: {balance: [], wash_out: 1s}\n", [
        "4: unit.every: a slot is named by the second it begins; accepted: whole seconds",
    ]),
    "a wash-out of everything": ("switchback", SLOTS, "switchback: {wash_out: 30m, balance: [hour, hour]}\n", [
        "11: switchback.balance: it is balanced over each of these once; accepted: [hour, weekday]",
        "11: switchback.wash_out: nothing is left of slots of 1800 s; accepted: less than `unit.every`",
    ]),
    "slots by nobody": ("switchback", SLOTS, "switchback: {wash_out: 5m, by: region}\n", [
        "11: switchback.by: 'region' is not a declared attribute; declare it: `attributes: {region: {from: header:x-region}}`",
    ]),
    "slots by a number": ("switchback", SLOTS, "switchback: {wash_out: 5m, by: shop}\nattributes: {shop: {type: number}}\n", [
        "12: attributes.shop.type: slots are named by it, and names are texts; accepted: text",
    ]),
    "blocks that begin on no day": ("switchback", SLOTS, "switchback: {wash_out: 5m, begins: 2026-02-30}\n", [
        "11: switchback.begins: '2026-02-30' is no day; accepted: a day such as 2026-11-30",
    ]),
    "shares that no block holds": ("switchback", SLOTS, QUIET + "allocation: {control: 1/13, treatment: 12/13}\n", [
        "12: allocation: a block that shares out its slots so has 13 of them; accepted: shares with a common denominator of at most 12; or draw each slot by itself: `switchback: {balance: []}`",
    ]),
    "shares that no day holds": ("switchback", SLOTS, "switchback: {wash_out: 5m, balance: [weekday]}\nallocation: {control: 2/5, treatment: 3/5}\n", [
        "12: allocation: a day has 48 slots, which cannot be shared out so; accepted: slots of which a day has a multiple of 5",
    ]),
    "what belongs to units that come back": ("switchback", "{type: slot, every: 30m, from: header:x-slot, id: uuid7}", QUIET + "pins: required\ncluster: region\n", [
        "13: cluster: slots are correlated in time, and their blocks see to it; use `switchback: {by: …}`",
        "12: pins: no slot comes back, and nothing is pinned to one; leave it out",
        "4: unit.from: a slot is told by the clock, not by the request; leave it out",
        "4: unit.id: when a slot began is in its name; leave it out",
    ]),
    "questions that a slot cannot answer": ("switchback", SLOTS, "  error_rate: {priority: guardrail, margin: 1pp}\n  csat: {kind: mean, of: outcome.csat, better: higher, covariates: [age]}\n" + QUIET, [
        "12: metrics.csat.covariates: of a slot nothing is known before it begins; leave it out",
        "11: metrics.error_rate.kind: a slot has many turns and is no yes or no; accepted: mean (the slot's mean, such as the share of its turns), count, ratio or quantile; give it a name of its own",
    ]),
}  # fmt: skip


def spoken(folder: Path, text: str) -> list[str]:
    path = folder / "e.yaml"
    path.write_text(text, "utf-8")
    try:
        return [f"warning {each}".replace(f"{path}:", "") for each in read_definition(path).warnings]
    except DefinitionError as error:
        return [str(fault).replace(f"{path}:", "") for fault in error.faults]


@pytest.mark.parametrize("name", FAULTS)
def test_a_switchback_that_cannot_be_drawn_says_why(name: str, tmp_path: Path) -> None:
    """Each sentence is whole: line, field, what is wrong, what is accepted, what to do; and there is no other."""
    method, unit, more, said = FAULTS[name]
    assert sorted(spoken(tmp_path, BASE.format(method=method, unit=unit) + more)) == sorted(said)


def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path) -> None:
    """No wash-out, and a watch that compares an arm with one that never runs beside it, are read with a warning."""
    text = (
        BASE.format(method="switchback", unit=SLOTS)
        + "watches: [{metric: cost, max: control+20%, window: 5m}]\n"
    )
    assert spoken(tmp_path, text) == [
        "warning 1: switchback.wash_out: no time is left for one arm to wear off before the other is counted; declare it, such as `wash_out: 5m`, unless nothing of an arm outlasts its slot",
        "warning 11: watches[0]: in a switchback one arm runs at a time, so a window has no control to compare with; accepted: a limit that is a number, or relative to the baseline",
    ]
    by = BASE.format(method="switchback", unit=SLOTS) + (
        "switchback: {wash_out: 5m, by: region}\nattributes: {region: {from: header:x-region}}\n"
        "watches: [{metric: cost, max: control+20%, window: 5m}]\n"
    )
    assert spoken(tmp_path, by) == []


def test_a_switchback_keeps_its_meaning_and_its_name() -> None:
    """What is kept reads back to the same value; the usual section changes no digest, and each key of it does."""
    usual = {
        "name": "demo", "hypothesis": "It is cheaper.", "method": "switchback", "unit": {"type": "slot", "every": "30m"},
        "changes": ["model"], "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
        "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}},
    }  # fmt: skip
    plain = read_canonical(usual)
    assert plain.switchback == Switchback()
    assert "switchback" not in canonical(plain)
    assert read_canonical(usual | {"switchback": {"balance": ["weekday", "hour"]}}).digest == plain.digest
    digests = {plain.digest}
    for section in (
        {"balance": []},
        {"balance": ["hour"]},
        {"balance": ["weekday"]},
        {"by": "region"},
        {"begins": "2026-11-30"},
        {"wash_out": "5m"},
        {"expected_correlation": 0.25},
    ):
        read = read_canonical(usual | {"switchback": section})
        assert read_canonical(canonical(read)) == read
        digests.add(read.digest)
    assert len(digests) == 8
    assert read_canonical(usual | {"method": "ab"}).switchback is None
