"""From one row per unit to tallies: one grouped query for all metrics, for the whole or for each part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import Across, with_totals
from equipoise.measurement.refusals import check_finite
from equipoise.measurement.shared_clusters import with_constants
from equipoise.measurement.tally import Cap, ClusterTotals, Tally
from equipoise.measurement.warehouse.asking import answer, number, one_row
from equipoise.measurement.warehouse.ranks import Ranks, rank
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.moments import Moments, PairMoments

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = [
    "Counted",
    "Covariate",
    "beside_control",
    "capped",
    "cluster_moments",
    "cluster_sums",
    "crossed",
    "held",
    "moments",
    "read_crossed",
    "ripe",
    "shared_moments",
    "tallies_by",
    "valued",
    "with_part",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariate:
    """A column of units known before treatment: its mean, the share of units it is unknown of, and whether of none."""

    column: str
    mean: float
    unknown: float
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A metric, its number among those counted, and its covariates.

    The table has `x{i}`, and `y{i}` for a ratio, NULL where a unit has no value that counts, and `ripe{i}`:
    whether it has been in long enough.
    """

    metric: Metric
    index: int
    covariates: tuple[Covariate, ...] = ()

    @property
    def x(self) -> str:
        return f"x{self.index}"

    @property
    def y(self) -> str | None:
        return f"y{self.index}" if self.metric.kind == "ratio" else None

    @property
    def ripe(self) -> str:
        return f"ripe{self.index}"

    @property
    def gaps(self) -> tuple[Covariate, ...]:
        """The covariates that are unknown of some units."""
        return tuple(each for each in self.covariates if not each.full)


def ripe(units: Table, metric: Metric, last: float | None) -> Value:
    """Whether a unit has been in for the whole of the metric's window when the data end."""
    import ibis

    if metric.window is None or last is None:
        return ibis.literal(True)
    return units.since + number(metric.window) <= number(last)


def valued(units: Table, counted: Sequence[Counted], last: float | None) -> Table:
    """The units with the columns that `Counted` tells of; none of it is computed before it is counted."""
    columns: dict[str, Value] = {}
    for each in counted:
        known = ripe(units, each.metric, last)
        columns[each.ripe] = known
        parts = [_filled(each.metric, units[f"m{each.index}_{part}"]) for part in ("xy" if each.y else "x")]
        for part in parts:
            known = known & part.notnull()
        for part, name in zip(parts, (each.x, each.y), strict=False):
            columns[str(name)] = known.ifelse(_above(each.metric, part), None)
    return units.mutate(**columns)


def _filled(metric: Metric, value: Value) -> Value:
    """A unit's value with what stands for silence, where that is declared."""
    return value if metric.absent is None else value.coalesce(number(metric.absent))


def _above(metric: Metric, value: Value) -> Value:
    """Whether a unit's value is above the metric's number, 1 or 0, where there is such a number."""
    return value if metric.above is None else (value > number(metric.above)).ifelse(number(1.0), number(0.0))


def capped(units: Table, counted: Sequence[Counted]) -> tuple[Table, dict[str, Cap]]:
    """The metrics winsorised, where declared: one cap for all arms, so that it favours none."""
    caps: dict[str, Cap] = {}
    for each in counted:
        q, x = each.metric.winsorise, units[each.x]
        if q is None:
            continue
        values = units.filter(x.notnull()).select(sample=_text(""), value=x)
        ranks = Ranks(values)
        if not ranks.whole:
            continue
        value = ranks.at({"": rank(q, ranks.whole[""].count)})[""]
        above = one_row(units.aggregate(above=units.count(where=x > number(value))))["above"]
        caps[each.metric.name] = Cap(q, value, above)
        units = held(units, each, caps)
    return units, caps


def held(units: Table, counted: Counted, caps: Mapping[str, Cap]) -> Table:
    """The units with a metric's values held at its cap, where it has one."""
    cap = caps.get(counted.metric.name)
    if cap is None:
        return units
    x, limit = units[counted.x], number(cap.value)
    return units.mutate(**{counted.x: (x > limit).ifelse(limit, x)})


def tallies_by(
    units: Table,
    counted: Sequence[Counted],
    arms: Sequence[str],
    *,
    clusters: Mapping[str, int] | None,
    across: Across | None = None,
    by: str | Value | None = None,
) -> dict[str, dict[Any, dict[str, Tally]]]:
    """The tallies of metrics by metric, part and arm; without `by` there is one part, called ''.

    `clusters` counts clusters by arm where they carry the variance; they lie `across` the arms.
    """
    if not counted:
        return {}
    clustered = clusters is not None
    units = with_part(units, by)
    rows = answer(moments(units, counted, clustered=clustered))
    summed: dict[tuple[Any, str], dict[str, Any]] = {}
    matched: dict[tuple[str, Any], frozenset[str]] = {}
    totals: dict[tuple[str, Any, str], ClusterTotals] = {}
    shared: dict[tuple[Any, str], dict[str, Any]] = {}
    if clusters is not None:
        table = cluster_sums(units, counted)
        summed = {(row["part"], row["variant"]): row for row in answer(cluster_moments(table, counted))}
        matched = _matched(summed, counted, arms, across)
        totals = _totals(table, counted, matched)
        if across == "shared":
            shared = {(row["part"], row["variant"]): row for row in answer(shared_moments(table, counted))}
    told = {(row["part"], row["variant"]): row for row in rows}
    parts = sorted({part for part, _ in told} | (set() if by is not None else {""}))
    found: dict[str, dict[Any, dict[str, Tally]]] = {each.metric.name: {} for each in counted}
    for each in counted:
        name = each.metric.name
        for part in parts:
            found[name][part] = {
                arm: replace(
                    _tally(told.get((part, arm)), summed.get((part, arm)), each, clustered=clustered),
                    totals=totals.get((name, part, arm)),
                    shared=None
                    if arm in matched.get((name, part), ())
                    else _shared(shared.get((part, arm)), each),
                )
                for arm in arms
            }
    return found


def with_part(table: Table, by: str | Value | None = None) -> Table:
    """The rows of which the part is known, with it as `part`."""
    if by is None:
        return table.mutate(part=_text(""))
    table = table.mutate(part=table[by] if isinstance(by, str) else by)
    return table.filter(table.part.notnull())


def _text(value: str) -> Value:
    import ibis

    return ibis.literal(value, "string")


def moments(units: Table, counted: Sequence[Counted], *, clustered: bool) -> Table:
    """The one query: for each arm and part the counts and moments of every metric, and of its covariates."""
    columns: dict[str, Value] = {"units": units.count()}
    for each in counted:
        known = [units[each.x]] if each.y is None else [units[each.x], units[each.y]]
        if not clustered:
            given = units[each.x].notnull()
            known += [given.ifelse(units[z.column].coalesce(number(z.mean)), None) for z in each.covariates]
            known += [given.ifelse(_unknown(units, z), None) for z in each.gaps]
        columns[f"ripe_{each.index}"] = units.count(where=units[each.ripe])
        columns |= crossed(each.index, known)
    return units.group_by("part", "variant").aggregate(**columns)


def _unknown(units: Table, covariate: Covariate) -> Value:
    return units[covariate.column].isnull().ifelse(number(1.0), number(0.0))


def crossed(index: int, columns: Sequence[Value]) -> dict[str, Value]:
    """How many, the mean of each column, and the covariance of each pair."""
    found = {f"n_{index}": columns[0].count()}
    found |= {f"mean_{index}_{k}": column.mean() for k, column in enumerate(columns)}
    found |= {
        f"cov_{index}_{k}_{j}": a.var(how="pop") if j == k else a.cov(b, how="pop")
        for k, a in enumerate(columns)
        for j, b in enumerate(columns)
        if j >= k
    }
    return found


def read_crossed(
    row: Mapping[str, Any] | None, metric: Metric, index: int, size: int, constants: int = 0
) -> CrossMoments:
    """The cross moments in a row, with `constants` columns of nothing but 0 beside."""
    n = row[f"n_{index}"] if row else 0
    if row is None or not n:
        return CrossMoments.zero(size + constants)
    zeros = (0.0,) * constants
    means = (*(row[f"mean_{index}_{k}"] for k in range(size)), *zeros)
    products = (
        tuple(
            (*(row[f"cov_{index}_{min(k, j)}_{max(k, j)}"] * n for j in range(size)), *zeros)
            for k in range(size)
        )
        + ((0.0,) * (size + constants),) * constants
    )
    check_finite(metric, (*means, *(product for line in products for product in line)))
    return CrossMoments(n, means, products)


def cluster_sums(units: Table, counted: Sequence[Counted]) -> Table:
    """Sums per cluster, NULL where nothing counts: a mean over units is a ratio of sums over clusters.

    Covariates are taken from their mean over all units first, so that a large cluster does not stand out by its size.
    """
    columns: dict[str, Value] = {}
    for each in counted:
        given = units[each.x].notnull()
        sums = [
            units[each.x].sum(),
            units[each.y].sum() if each.y else units[each.x].count().nullif(0).cast("float64"),
        ]
        away = [units[z.column] - number(z.mean) for z in each.covariates]
        away += [_unknown(units, z) - number(z.unknown) for z in each.gaps]
        sums += [given.ifelse(column.coalesce(number(0.0)), None).sum() for column in away]
        columns |= {f"c{each.index}_{k}": column for k, column in enumerate(sums)}
    return units.group_by("part", "variant", "cluster").aggregate(**columns)


def cluster_moments(table: Table, counted: Sequence[Counted]) -> Table:
    """For each arm and part the moments of every metric's sums per cluster."""
    columns: dict[str, Value] = {}
    for each in counted:
        columns |= crossed(each.index, [table[f"c{each.index}_{k}"] for k in range(_size(each))])
    return table.group_by("part", "variant").aggregate(**columns)


def shared_moments(table: Table, counted: Sequence[Counted]) -> Table:
    """For each treatment and part the moments of every metric's sums of the clusters that control has, too: control's
    columns, then the treatment's.
    """
    names = [f"c{each.index}_{k}" for each in counted for k in range(_size(each))]
    both = beside_control(table, table.variant == "control", "cluster", names)
    columns: dict[str, Value] = {}
    for each in counted:
        own = [f"c{each.index}_{k}" for k in range(_size(each))]
        known = both[own[0]].notnull() & both[f"control_{own[0]}"].notnull()
        sums = [both[name] for name in (*(f"control_{name}" for name in own), *own)]
        columns |= crossed(each.index, [known.ifelse(column, None) for column in sums])
    return both.group_by("part", "variant").aggregate(**columns)


def beside_control(table: Table, control: Value, cluster: str, names: Sequence[str]) -> Table:
    """The rows of treatments' clusters that control has, too, with control's columns beside as `control_…`.

    `table` has a row for each `cluster` of each arm of a `part`, and `control` is true of control's.
    """
    of_control = table.filter(control)
    beside = of_control.select(
        control_part=of_control.part,
        control_cluster=of_control[cluster],
        **{f"control_{name}": of_control[name] for name in names},
    )
    treated = table.filter(~control)
    return treated.join(
        beside, [treated.part == beside.control_part, treated[cluster] == beside.control_cluster]
    )


def _size(counted: Counted) -> int:
    """How many sums of a cluster a metric has, with those of its covariates."""
    return 2 + len(counted.covariates) + len(counted.gaps)


def _shared(row: Mapping[str, Any] | None, each: Counted) -> CrossMoments | None:
    if row is None or not row[f"n_{each.index}"]:
        return None
    moments = read_crossed(row, each.metric, each.index, 2 * _size(each))
    return with_constants(moments, len(each.covariates) - len(each.gaps))


def _tally(
    row: Mapping[str, Any] | None, summed: Mapping[str, Any] | None, each: Counted, *, clustered: bool
) -> Tally:
    extra, constants = len(each.covariates) + len(each.gaps), len(each.covariates) - len(each.gaps)
    outcome = 2 if each.y else 1
    of_units = read_crossed(
        row,
        each.metric,
        each.index,
        outcome if clustered else outcome + extra,
        0 if clustered else constants,
    )
    mature = row[f"ripe_{each.index}"] if row else 0
    carried = read_crossed(summed, each.metric, each.index, 2 + extra, constants) if clustered else of_units
    return Tally(
        units=of_units.n,
        missing=mature - of_units.n,
        immature=(row["units"] if row else 0) - mature,
        moments=None if each.y else of_units.column(0) if of_units.n else Moments.zero(),
        pairs=(carried.pair(0, 1) if carried.n else PairMoments.zero()) if each.y or clustered else None,
        covariates=carried if each.covariates and carried.n else None,
    )


def _matched(
    summed: Mapping[tuple[Any, str], Mapping[str, Any]],
    counted: Sequence[Counted],
    arms: Sequence[str],
    across: Across | None,
) -> dict[tuple[str, Any], frozenset[str]]:
    """By metric and part the arms of which each cluster's totals are asked for, where there are any."""
    sizes: dict[tuple[str, Any], dict[str, Moments]] = defaultdict(dict)
    for (part, arm), row in summed.items():
        for each in counted:
            sizes[each.metric.name, part][arm] = read_crossed(row, each.metric, each.index, 2).column(1)
    found = {place: with_totals(of, arms, across) for place, of in sizes.items()}
    return {place: of for place, of in found.items() if of}


def _totals(
    table: Table, counted: Sequence[Counted], matched: Mapping[tuple[str, Any], frozenset[str]]
) -> dict[tuple[str, Any, str], ClusterTotals]:
    """Of matched arms each cluster's sum and size, in one order in a part; 0 and 0 where an arm has none of it."""
    if not matched:
        return {}
    rows = answer(table.filter(table.part.isin(sorted({part for _, part in matched}))))
    result = {}
    for each in counted:
        parts: dict[Any, dict[str, dict[str, tuple[float, float]]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            if row[f"c{each.index}_0"] is not None and (each.metric.name, row["part"]) in matched:
                pair = row[f"c{each.index}_0"], row[f"c{each.index}_1"]
                parts[row["part"]][row["cluster"]][row["variant"]] = pair
        for part, clusters in parts.items():
            # Put in order here: engines differ in how they sort text.
            told = [clusters[name] for name in sorted(clusters)]
            for arm in matched[each.metric.name, part]:
                pairs = [cluster.get(arm, (0.0, 0.0)) for cluster in told]
                result[each.metric.name, part, arm] = ClusterTotals(
                    tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
                )
    return result
