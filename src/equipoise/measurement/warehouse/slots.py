"""Time slots as units, where the rows are: their blocks, what does not count of them, and their values, which come home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.experiment.switchback import Blocks
from equipoise.measurement.slots import places, values_in_time, washed_seconds
from equipoise.measurement.tally import Cap, SlotValue
from equipoise.measurement.warehouse.asking import answer, number, one_row
from equipoise.measurement.warehouse.counting import Counted, held, valued
from equipoise.measurement.warehouse.facts import Facts

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = [
    "blocks_of",
    "in_whole_blocks",
    "of_slots",
    "settled_rows",
    "slot_names",
    "slot_rows",
    "slot_values",
    "with_blocks",
]


def of_slots(experiment: Experiment, facts: Facts) -> tuple[Facts, int]:
    """The facts of a switchback without its wash-out, and how many rows that leaves out.

    The names of slots come home, and are held against the calendar before the engine does. Raises DataError for a unit
    that is no slot, and where a wash-out is declared and no time tells.
    """
    named = facts.table.filter(facts.table.unit.notnull())
    ends = one_row(named.aggregate(least=named.unit.min(), greatest=named.unit.max()))
    # What is no slot may be somebody's name: one is told, and not all of them fetched.
    places(experiment, ends.values())
    places(experiment, sorted(row["unit"] for row in answer(slot_names(facts.table))))
    washed_seconds(experiment, timed=facts.timed)
    table = settled_rows(experiment, facts.table)
    told = one_row(table.aggregate(rows=table.count(), first=table.happened.min(), last=table.happened.max()))
    washed = facts.rows - facts.without_unit - told["rows"]
    return replace(facts, table=table, without_unit=0, **told), washed


def slot_names(facts: Table) -> Table:
    """The names of all slots, each once."""
    return facts.filter(facts.unit.notnull()).select("unit").distinct()


def settled_rows(experiment: Experiment, facts: Table) -> Table:
    """The rows that belong to a slot, after its wash-out."""
    blocks, washed = experiment.blocks, washed_seconds(experiment, timed=True)
    rows = facts.filter(facts.unit.notnull())
    return rows.filter(rows.happened - _start(blocks, rows.unit) >= number(washed)) if washed else rows


def with_blocks(experiment: Experiment, units: Table) -> Table:
    """Slots with their block as the cluster."""
    return units.mutate(cluster=_block(experiment.blocks, units.unit))


def _start(blocks: Blocks, unit: Value) -> Value:
    """When a slot begins, out of its name."""
    return (unit.substr(0, unit.find("/")) if blocks.named else unit).cast("float64")


def _block(blocks: Blocks, unit: Value) -> Value:
    """The name of a slot's block, as `Blocks.place` says it."""
    start = _start(blocks, unit)
    if blocks.letter in ("s", "d"):
        parts = [start.cast("int64") if blocks.letter == "s" else _divided(start, blocks.cycle)]
    else:
        since = start - number(blocks.first)
        turn = _divided(since, blocks.cycle)
        parts = [(since - turn * number(blocks.cycle)).cast("int64"), _divided(turn, blocks.size)]
    name = blocks.letter + parts[0].cast("string")
    for part in parts[1:]:
        name = name + "." + part.cast("string")
    return name + unit.substr(unit.find("/")) if blocks.named else name


def _divided(value: Value, by: int) -> Value:
    """How many times a number goes into a whole one, towards less: engines differ in what they make of numbers below 0."""
    return (value.cast("float64") / number(by)).floor().cast("int64")


def blocks_of(units: Table) -> Table:
    """Each block, and how many arms its slots have."""
    return units.group_by("cluster").aggregate(arms=units.variant.nunique())


def in_whole_blocks(units: Table, everyone: Table, arms: int) -> Table:
    """Those units that count, as `measurement.slots.whole_blocks` says: of blocks that have every arm, unless few have."""
    blocks = blocks_of(everyone)
    told = one_row(
        blocks.aggregate(whole=blocks.count(where=blocks.arms == arms), all_of_them=blocks.count())
    )
    if 2 * told["whole"] < told["all_of_them"]:
        return units
    return units.semi_join(blocks.filter(blocks.arms == arms), "cluster")


def slot_values(
    everyone: Table, counted: Counted, caps: Mapping[str, Cap], last: float | None
) -> tuple[SlotValue, ...]:
    """As `measurement.slots.slot_values`: each slot's value of a metric, in the order of time."""
    rows = answer(slot_rows(held(valued(everyone, [counted], last), counted, caps), counted))
    return values_in_time((row["unit"], row["variant"], row["block"], row["x"], row.get("y")) for row in rows)


def slot_rows(units: Table, counted: Counted) -> Table:
    """A row for each slot that has a value, of a table whose columns are those of `Counted`."""
    known = units.filter(units[counted.x].notnull())
    size = {} if counted.y is None else {"y": known[counted.y]}
    return known.select("unit", "variant", block=known.cluster, x=known[counted.x], **size)
