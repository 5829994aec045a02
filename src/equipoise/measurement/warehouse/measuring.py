"""Measure an Ibis table: the same `Measurement` as from a file, counted where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.by_turn import others
from equipoise.measurement.clusters.members import across, of_units, whole
from equipoise.measurement.daily import DAY
from equipoise.measurement.epochs import SETTLED
from equipoise.measurement.parts import MOST_VALUES
from equipoise.measurement.refusals import other_than_yes_or_no, times_to_events
from equipoise.measurement.restricted_means import restricted_tally
from equipoise.measurement.slots import by_block
from equipoise.measurement.tables import covariate_names
from equipoise.measurement.tally import Aside, Cap, EntryDay, Measurement, SegmentTallies, Tally
from equipoise.measurement.warehouse.asking import answer, engine, keep, number, one_row
from equipoise.measurement.warehouse.counting import Counted, Covariate, capped, held, tallies_by, valued
from equipoise.measurement.warehouse.daily import daily
from equipoise.measurement.warehouse.epochs import announced, by_epoch
from equipoise.measurement.warehouse.facts import Facts, facts_of
from equipoise.measurement.warehouse.members import members_of
from equipoise.measurement.warehouse.quantiles import quantile_tallies, readings_of
from equipoise.measurement.warehouse.restricted_means import check_event_rows, restricted_tallies
from equipoise.measurement.warehouse.saturation import saturations
from equipoise.measurement.warehouse.slots import in_whole_blocks, of_slots, slot_values, with_blocks
from equipoise.measurement.warehouse.standing import standing
from equipoise.measurement.warehouse.units import enrolled, units_of
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["measure_relation"]


def measure_relation(experiment: Experiment, relation: Table) -> Measurement:
    """Measure a table of any engine that Ibis speaks to; no row leaves it, only counts and moments.

    Everything is counted from one state of the rows: the columns that count are kept in a temporary table, which is
    dropped in the end, or counted where they lie, if they stand still there. Sums may differ from another engine's in
    the last digits, because they are added in another order. Raises DataError for columns and values that are not as
    declared, and for what the engine cannot do.
    """
    # A transaction that fails is ended before what was kept is dropped: until then nothing can be.
    with ExitStack() as kept_tables, standing(relation) as still:
        return whole(experiment, _measured(of_units(experiment), relation, kept_tables, still))


def _measured(experiment: Experiment, relation: Table, kept_tables: ExitStack, still: bool) -> Measurement:
    if experiment.source is not None and experiment.source.grain == "unit":
        refused = times_to_events(
            experiment,
            "rows that are units (`source.grain: unit`) do not tell; give events rows of their own",
        )
        if refused:
            raise refused
    metrics = [metric for metric in experiment.metrics if metric.kind != "quantile"]
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    covariates = {name: f"z{index}" for index, name in enumerate(covariate_names(experiment))}
    facts, washed = facts_of(experiment, relation, kept_tables, standing=still), 0
    if experiment.switchback is not None:
        facts, washed = of_slots(experiment, facts)
        experiment = by_block(experiment)
    figures = others(experiment)
    arms = [variant.name for variant in experiment.variants]
    began = announced(facts, arms)
    settled = [*segments.values(), *covariates.values(), *(SETTLED if began else ())]
    found = units_of(experiment, facts, metrics, figures, settled, kept_tables)
    units = found.table if experiment.switchback is None else with_blocks(experiment, found.table)
    everyone, enrolment = enrolled(units, experiment.plan, facts.last, timed=facts.timed)
    kept = facts.timed and experiment.plan.crossed == "first_seen"
    stayed = everyone.filter(~everyone.crossed)
    whole = everyone if kept else stayed
    drawn_together = experiment.switchback is not None and experiment.cluster is not None
    if drawn_together:
        whole = in_whole_blocks(whole, everyone, len(arms))
    known = _covariates(whole, covariates)
    counted = [
        Counted(metric=metric, index=index, covariates=tuple(known[name] for name in metric.covariates))
        for index, metric in enumerate(metrics)
        if metric.kind != "time_to_event"
    ]
    came = {
        metric.name: f"m{index}_x" for index, metric in enumerate(metrics) if metric.kind == "time_to_event"
    }
    for name, column in came.items():
        check_event_rows(found.table, experiment.metric(name), column)
    beside = [Counted(metric=each, index=index) for index, each in enumerate(figures, len(metrics))]
    whole = valued(whole, [*counted, *beside], facts.last)
    _check_yes_or_no(whole, [each for each in counted if not experiment.is_share(each.metric)])
    whole, caps = capped(whole, counted)
    sizes = _by_arm(whole, arms, clustered=experiment.cluster is not None)
    clusters = None if experiment.cluster is None else {arm: sizes[arm]["clusters"] for arm in arms}
    if drawn_together:
        # Of slots all, also those whose blocks are not whole: where an arm's are lost, the sample ratio is to say so.
        sizes = _by_arm(everyone, arms)
    of = {each.metric.name: each for each in counted}
    read = _Reader(experiment, facts, whole, of, came, arms, segments, clusters, kept_tables)
    tallies = read.tallies(experiment.metrics)
    primary = experiment.primary
    return Measurement(
        source=f"{_called(relation)} in {engine(relation)}",
        rows=facts.rows,
        units={arm: sizes[arm]["units"] for arm in arms},
        crossed=found.crossed,
        kept=kept,
        rows_without_unit=facts.without_unit,
        clusters=clusters,
        first=facts.first,
        last=facts.last,
        tallies={metric.name: tallies[metric.name][""] for metric in experiment.metrics},
        critical_segments=tuple(
            read.within(experiment.metric(each.metric), each.attribute, [each.value])[each.value]
            for each in experiment.critical_segments
        ),
        enrolment=enrolment,
        caps=caps,
        segments=tuple(read.segment(primary, attribute) for attribute in segments),
        otherwise=_otherwise(read, of, stayed if kept else everyone, caps) if found.crossed else {},
        entry_days=_entry_days(whole, of[primary.name], arms)
        if primary.name in of and facts.timed and clusters is None
        else (),
        daily=daily(facts, whole, primary, arms),
        members=members_of(facts.table),
        saturations=saturations(experiment, whole, of.get(primary.name)),
        aside=Aside(washed_out=washed),
        slots=slot_values(everyone, of[primary.name], caps, facts.last)
        if experiment.switchback is not None and primary.name in of
        else (),
        epochs=by_epoch(experiment, whole, of, segments, began),
        by_turn={
            name: parts[""]
            for name, parts in tallies_by(
                whole, beside, arms, clusters=clusters, across=across(experiment)
            ).items()
        },
    )


def _by_arm(units: Table, arms: Sequence[str], *, clustered: bool = False) -> dict[str, Mapping[str, int]]:
    """How many units each arm has, and how many clusters, where they are asked for."""
    counts = {"units": units.count()} | ({"clusters": units.cluster.nunique()} if clustered else {})
    found = {row["variant"]: row for row in answer(units.group_by("variant").aggregate(**counts))}
    return {arm: found.get(arm, dict.fromkeys(counts, 0)) for arm in arms}


def _otherwise(
    read: _Reader, of: Mapping[str, Counted], units: Table, caps: Mapping[str, Cap]
) -> Mapping[str, Tally]:
    """The primary among units that were seen in two variants handled the other way; nothing for a quantile."""
    primary = read.experiment.primary
    if not read.facts.timed:
        return {}
    if primary.name in read.came:
        return read.restricted(primary, units)[""]
    if primary.name not in of:
        return {}
    valued_units = held(valued(units, [of[primary.name]], read.facts.last), of[primary.name], caps)
    return tallies_by(
        valued_units,
        [of[primary.name]],
        read.arms,
        clusters=read.clusters,
        across=across(read.experiment),
    )[primary.name][""]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tallies of metrics of every kind, for the whole and for parts."""

    experiment: Experiment
    facts: Facts
    units: Table
    counted: Mapping[str, Counted]
    came: Mapping[str, str]
    arms: Sequence[str]
    segments: Mapping[str, str]
    clusters: Mapping[str, int] | None
    kept: ExitStack
    readings: dict[str, Table] = field(default_factory=dict)

    def tallies(
        self, metrics: Sequence[Metric], by: str | None = None, among: Sequence[str] | None = None
    ) -> dict[str, dict[str, dict[str, Tally]]]:
        """The tallies of metrics by metric, part and arm, of units that have one of the values, where such are given."""

        def part(table: Table) -> Table:
            return table if among is None else table.filter(table[by].isin(list(among)))

        found = tallies_by(
            part(self.units),
            [self.counted[metric.name] for metric in metrics if metric.name in self.counted],
            self.arms,
            clusters=self.clusters,
            across=across(self.experiment),
            by=by,
        )
        for metric in metrics:
            if metric.name in self.came:
                found[metric.name] = self.restricted(metric, part(self.units), by)
            if metric.kind == "quantile":
                found[metric.name] = quantile_tallies(
                    part(self._readings(metric)),
                    part(self.units),
                    metric,
                    self.arms,
                    self.facts.last,
                    by,
                    across=across(self.experiment),
                )
        return found

    def restricted(self, metric: Metric, units: Table, by: str | None = None) -> dict[str, dict[str, Tally]]:
        """A time to an event of some units, by part and arm."""
        assert self.facts.last is not None
        return restricted_tallies(
            units,
            metric,
            self.came[metric.name],
            self.arms,
            last=self.facts.last,
            across=across(self.experiment),
            by=by,
        )

    def within(self, metric: Metric, attribute: str, values: Sequence[str]) -> dict[str, Mapping[str, Tally]]:
        """One metric by value of an attribute; no units where nobody has the value."""
        found = self.tallies([metric], self.segments[attribute], values)[metric.name] if values else {}
        return {value: found.get(value) or self._nobody(metric) for value in values}

    def segment(self, metric: Metric, attribute: str) -> SegmentTallies:
        """One metric by the most frequent values of an attribute; units of which it is not known are in no part."""
        column = self.segments[attribute]
        known = self.units.filter(self.units[column].notnull())
        rows = answer(known.group_by(column).aggregate(size=lambda t: t.count()))
        values = [row[column] for row in sorted(rows, key=lambda row: (-row["size"], row[column]))]
        shown = values[:MOST_VALUES]
        return SegmentTallies(attribute, self.within(metric, attribute, shown), len(values) - len(shown))

    def _nobody(self, metric: Metric) -> dict[str, Tally]:
        if metric.kind == "quantile":
            empty = Tally(units=0, missing=0, quantile=NotEstimable("there are no readings"))
        elif metric.name in self.came:
            clustered = self.clusters is not None
            return {arm: restricted_tally(metric, arm, None, clustered=clustered) for arm in self.arms}
        else:
            ratio = metric.kind == "ratio"
            empty = Tally(
                units=0,
                missing=0,
                moments=None if ratio else Moments.zero(),
                pairs=PairMoments.zero() if ratio or self.clusters is not None else None,
            )
        return dict.fromkeys(self.arms, empty)

    def _parted(self, metric: Metric) -> bool:
        """Whether a metric is read out in parts."""
        critical = {each.metric for each in self.experiment.critical_segments}
        return metric.name in {self.experiment.primary.name, *critical}

    def _readings(self, metric: Metric) -> Table:
        """A metric's readings, made once."""
        if metric.name not in self.readings:
            table = readings_of(
                self.facts,
                self.units,
                metric,
                clustered=self.clusters is not None,
                settled=tuple(self.segments.values()) if self._parted(metric) else (),
            )
            self.readings[metric.name] = keep(table, self.kept)
        return self.readings[metric.name]


def _entry_days(units: Table, counted: Counted, arms: Sequence[str]) -> tuple[EntryDay, ...]:
    """The primary by whole days since the first unit came in, without covariates."""
    start = one_row(units.aggregate(start=units.since.min()))["start"]
    if start is None:
        return ()
    day = ((units.since - number(start)) / number(DAY)).floor().cast("int64")
    found = tallies_by(units, [replace(counted, covariates=())], arms, clusters=None, by=day)
    return tuple(EntryDay(each, tallies) for each, tallies in found[counted.metric.name].items())


def _called(relation: Table) -> str:
    """What a reader of the report knows the relation by."""
    from ibis.expr.operations import DatabaseTable

    node = relation.op()
    return f"the table {node.name}" if isinstance(node, DatabaseTable) else "a query"


def _covariates(units: Table, columns: Mapping[str, str]) -> dict[str, Covariate]:
    """What stands for a covariate where it is unknown: a fill near the values keeps the digits."""
    if not columns:
        return {}
    told = one_row(
        units.aggregate(
            units=units.count(),
            **{f"mean_{name}": units[name].mean() for name in columns.values()},
            **{f"known_{name}": units[name].count() for name in columns.values()},
        )
    )
    return {
        name: Covariate(
            column=column,
            mean=told[f"mean_{column}"] or 0.0,
            unknown=1.0 - told[f"known_{column}"] / told["units"] if told["units"] else 0.0,
            full=told[f"known_{column}"] == told["units"],
        )
        for name, column in columns.items()
    }


def _check_yes_or_no(units: Table, counted: Sequence[Counted]) -> None:
    """What was recorded was checked before; two yeses of one unit may add up to 2."""
    proportions = [each for each in counted if each.metric.kind == "proportion" and each.metric.above is None]
    if not proportions:
        return
    others = {each.index: units[f"m{each.index}_x"] for each in proportions}
    wrong = {index: (value != 0) & (value != 1) for index, value in others.items()}
    told = one_row(
        units.aggregate(
            **{f"others_{index}": units.count(where=each) for index, each in wrong.items()},
            **{f"other_{index}": others[index].min(where=each) for index, each in wrong.items()},
        )
    )
    for each in proportions:
        if told[f"others_{each.index}"]:
            raise other_than_yes_or_no(each.metric, told[f"others_{each.index}"], told[f"other_{each.index}"])
