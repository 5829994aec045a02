"""The exact quantile of all readings of an arm's units, with the variance of its unit or cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import Across
from equipoise.measurement.tally import Tally
from equipoise.measurement.warehouse.asking import Sample, answer, by_sample, number
from equipoise.measurement.warehouse.counting import beside_control, crossed, read_crossed, ripe, with_part
from equipoise.measurement.warehouse.facts import Facts
from equipoise.measurement.warehouse.ranks import Ranks, rank
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_levels, quantile_overlap
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import PairMoments
from equipoise.stats.normal import critical

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["quantile_tallies", "readings_of"]

_Found = tuple[int, PairMoments, QuantileSummary | NotEstimable]
"""A sample's units, the moments of its blocks' readings below and of all of them, and its quantile."""

_NOBODY: _Found = (0, PairMoments.zero(), NotEstimable("there are no readings"))


def readings_of(
    facts: Facts, units: Table, metric: Metric, *, clustered: bool, settled: Sequence[str]
) -> Table:
    """Every reading that counts: `arm`, `block` (whose variance it shares), `value`, segments; `unit` in clusters."""
    counted = units.filter(ripe(units, metric, facts.last)).select(
        "unit", "arm", "since", *settled, block=units.cluster if clustered else units.key
    )
    told = facts.table.select("unit", "happened", value=facts.names[metric.of])
    rows = told.filter(told.value.notnull()).join(counted, "unit")
    if metric.window is not None:
        rows = rows.filter(rows.happened < rows.since + number(metric.window))
    return rows.select("arm", "block", "value", *(["unit"] if clustered else []), *settled)


def quantile_tallies(
    readings: Table,
    units: Table,
    metric: Metric,
    arms: Sequence[str],
    last: float | None,
    by: str | None = None,
    *,
    across: Across | None,
) -> dict[str, dict[str, Tally]]:
    """A quantile metric by part and arm, out of its readings; without `by` there is one part, called ''.

    `across` says how clusters lie across the arms, where they carry the variance.
    """
    everyone = with_part(units, by)
    sizes = {
        (row["part"], row["variant"]): row
        for row in answer(
            everyone.group_by("part", "variant").aggregate(
                units=everyone.count(), mature=everyone.count(where=ripe(everyone, metric, last))
            )
        )
    }
    parted = with_part(readings, by)
    sample = parted.arm.cast("string") + " " + parted.part if by else parted.arm
    found, blocks = _quantiles(parted.mutate(sample=sample), metric.q or 0.5)
    shared = {} if blocks is None or across not in ("shared", "blocks") else _shared(blocks, metric)
    result: dict[str, dict[str, Tally]] = {}
    for part in sorted({part for part, _ in sizes} | (set() if by else {""})):
        result[part] = {}
        for index, arm in enumerate(arms):
            size = sizes.get((part, arm), {"units": 0, "mature": 0})
            here, control = (f"{index} {part}", f"0 {part}") if by else (index, 0)
            seen, below, quantile = found.get(here, _NOBODY)
            both = shared.get((part, index))
            result[part][arm] = Tally(
                units=seen,
                missing=size["mature"] - seen,
                immature=size["units"] - size["mature"],
                quantile=quantile,
                overlap=None if both is None else quantile_overlap(found[control][1], below, both),
            )
    return result


def _quantiles(readings: Table, q: float) -> tuple[dict[Sample, _Found], Table | None]:
    """By sample, how many units it has readings of, and its quantile; and the blocks, where there are readings."""
    ranks = Ranks(readings)
    if not ranks.whole:
        return {}, None
    values = ranks.at({sample: rank(q, each.count) for sample, each in ranks.whole.items()})
    table = _each_block(readings, values)
    blocks = _share_below(table)
    levels = {sample: quantile_levels(q, moments) for sample, (_, moments) in blocks.items()}
    asked = {sample: pair for sample, pair in levels.items() if not isinstance(pair, NotEstimable)}
    low, high = (
        ranks.at({sample: rank(pair[side], ranks.whole[sample].count) for sample, pair in asked.items()})
        for side in (0, 1)
    )
    result: dict[Sample, _Found] = {}
    for sample, (seen, moments) in blocks.items():
        level = levels[sample]
        if isinstance(level, NotEstimable):
            result[sample] = seen, moments, level
        elif high[sample] <= low[sample]:
            result[sample] = seen, moments, NotEstimable("the readings do not vary around the quantile")
        else:
            error = (high[sample] - low[sample]) / (2.0 * critical(0.025))
            result[sample] = seen, moments, QuantileSummary(q, moments.n, values[sample], error)
    return result, table


def _each_block(readings: Table, values: Mapping[Sample, float]) -> Table:
    """The units of each block of a sample, and how many of its readings lie at or below the quantile, of how many."""
    rows = readings.mutate(
        below=(readings.value <= by_sample(readings, values)).ifelse(number(1.0), number(0.0))
    )
    counts = {"a": rows.below.sum(), "b": rows.count().cast("float64")}
    clustered = "unit" in rows.columns
    keys = ("sample", "part", "arm", "block") if clustered else ("sample", "block")
    return rows.group_by(*keys).aggregate(**counts, **({"units": rows.unit.nunique()} if clustered else {}))


def _shared(blocks: Table, metric: Metric) -> dict[tuple[str, int], CrossMoments]:
    """By part and treatment's number, of the blocks that control has, too: readings below and all, of control and of it."""
    both = beside_control(blocks, blocks.arm == 0, "block", ["a", "b"])
    columns = [both[name] for name in ("control_a", "control_b", "a", "b")]
    found = both.group_by("part", "arm").aggregate(**crossed(0, columns))
    return {(row["part"], row["arm"]): read_crossed(row, metric, 0, 4) for row in answer(found)}


def _share_below(blocks: Table) -> dict[Sample, tuple[int, PairMoments]]:
    """By sample its units, and the moments of its blocks' readings below and of all of them."""
    clustered = "units" in blocks.columns
    found = blocks.group_by("sample").aggregate(
        n=blocks.count(),
        # Without clusters a block is a unit.
        units=blocks.units.sum() if clustered else blocks.count(),
        a=blocks.a.mean(),
        b=blocks.b.mean(),
        aa=blocks.a.var(how="pop"),
        bb=blocks.b.var(how="pop"),
        ab=blocks.a.cov(blocks.b, how="pop"),
    )
    return {
        row["sample"]: (
            int(row["units"]),
            PairMoments(
                row["n"], row["a"], row["b"], row["aa"] * row["n"], row["bb"] * row["n"], row["ab"] * row["n"]
            ),
        )
        for row in answer(found)
    }
