"""Whoever could be enrolled, as they would be under control: drawn from assumed rates, or again from past units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from equipoise.design.clusters import in_clusters
from equipoise.errors import DataError, UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.cross import ALWAYS
from equipoise.measurement.parts import enrol
from equipoise.measurement.quantiles import make_readings
from equipoise.measurement.record import log_facts
from equipoise.measurement.tables import connect, frame_source, open_table, table_facts
from equipoise.measurement.units import make_units

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Assumed",
    "Crowd",
    "Past",
    "Population",
    "Readings",
    "past_units_of_log",
    "past_units_of_table",
    "whole_clusters",
]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Readings:
    """What a quantile is made of: each unit's readings, one unit after the other; unit i has those from `starts[i]` on.

    `starts` has one number more than there are units.
    """

    values: Numbers
    starts: NDArray[np.int64]

    def of(self, units: NDArray[np.int64]) -> Readings:
        """The readings of these units, in their order; a unit may stand there several times."""
        counts = (self.starts[1:] - self.starts[:-1])[units]
        starts = np.concatenate(([0], np.cumsum(counts)))
        places = np.repeat(self.starts[:-1][units] - starts[:-1], counts) + np.arange(starts[-1])
        return Readings(self.values[places], starts)

    @property
    def units(self) -> NDArray[np.int64]:
        """The number of the unit of each reading."""
        return np.repeat(np.arange(self.starts.size - 1), np.diff(self.starts))


@dataclass(frozen=True)
class Crowd:
    """Units in the order in which they come, one number each: `values` by metric, and `per` what a ratio is divided by.

    What is not known is NaN. `clusters` numbers the cluster of each unit, where there are clusters.
    """

    size: int
    values: Mapping[str, Numbers]
    per: Mapping[str, Numbers] = field(default_factory=dict)
    readings: Mapping[str, Readings] = field(default_factory=dict)
    clusters: NDArray[np.int64] | None = None


class Population(Protocol):
    """Where units come from, and which metrics they have."""

    @property
    def says(self) -> str:
        """What the units are, in a few words."""
        ...

    @property
    def left_out(self) -> Mapping[str, str]:
        """Metrics that its units do not have, and why."""
        ...

    def mean(self, metric: Metric) -> float:
        """What the metric comes to among all of them."""
        ...

    def possible(self, metric: Metric, effect: float) -> float:
        """The effect, as far as there can be one among these units."""
        ...

    def draw(self, size: int, rng: np.random.Generator) -> Crowd:
        """So many units, at random."""
        ...


@dataclass(frozen=True)
class Assumed:
    """Units by the definition's own numbers: rates by their `baseline`, other means by `baseline` and `spread`.

    A rate is drawn as yes or no. A number is drawn from a gamma distribution of that mean and spread, which is what
    money, time and counts look like; from a normal one where its baseline is not above 0. Metrics are independent of one
    another. With `icc` (the intraclass correlation, from 0 to below 1) units come in clusters of `cluster_size` that are
    alike by so much in every metric.
    """

    experiment: Experiment
    icc: float = 0.0
    cluster_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.icc < 1:
            raise UsageError(f"an intraclass correlation lies from 0 to below 1, and this is {self.icc:g}")
        if self.cluster_size < 1:
            raise UsageError(f"a cluster has 1 unit or more, and this is {self.cluster_size}")

    @property
    def says(self) -> str:
        alike = f", in clusters of {self.cluster_size} (icc {self.icc:g})" if self.cluster_size > 1 else ""
        return f"units drawn from the definition's own rates and spreads{alike}"

    @property
    def left_out(self) -> Mapping[str, str]:
        return {
            metric.name: why
            for metric in self.experiment.metrics
            if (why := self._unknown(metric)) is not None
        }

    def _unknown(self, metric: Metric) -> str | None:
        """Why a metric is not drawn; None where it is."""
        if why := _not_assumed(metric):
            return why
        if (
            self.experiment.is_share(metric)
            and in_clusters(self.experiment).metric(metric.name).spread is None
        ):
            return "how clusters differ is not said: it has no `spread`, and there is no `plan.clusters`"
        return None

    def mean(self, metric: Metric) -> float:
        assert metric.baseline is not None
        return metric.baseline

    def possible(self, metric: Metric, effect: float) -> float:
        return _possible(metric, self.mean(metric), effect)

    def draw(self, size: int, rng: np.random.Generator) -> Crowd:
        clusters = np.arange(size) // self.cluster_size if self.cluster_size > 1 else None
        known = [metric for metric in self.experiment.metrics if self._unknown(metric) is None]
        return Crowd(
            size,
            {metric.name: self._drawn(metric, size, clusters, rng) for metric in known},
            clusters=clusters,
        )

    def _drawn(
        self, metric: Metric, size: int, clusters: NDArray[np.int64] | None, rng: np.random.Generator
    ) -> Numbers:
        mean = self.mean(metric)
        alike = clusters is not None and self.icc > 0
        # Of randomised clusters a value is a cluster's, and they vary less than the readings in them.
        spread = in_clusters(self.experiment).metric(metric.name).spread or 0.0
        if self.experiment.is_share(metric):
            return _shares(mean, spread, self.icc, clusters if alike else None, size, rng)
        if metric.kind == "proportion":
            rate: float | Numbers = mean
            if clusters is not None and alike and 0 < mean < 1:
                # Beta-binomial: the rate of a cluster varies so that two of its units correlate by the icc.
                spare = 1.0 / self.icc - 1.0
                rate = rng.beta(mean * spare, (1 - mean) * spare, size=int(clusters[-1]) + 1)[clusters]
            return (rng.random(size) < rate).astype(np.float64)
        own = spread * math.sqrt(1 - self.icc) if alike else spread
        values = _gamma(mean, own, size, rng)
        if clusters is not None and alike:
            values = (
                values + rng.normal(0.0, spread * math.sqrt(self.icc), size=int(clusters[-1]) + 1)[clusters]
            )
        return values


def _shares(
    mean: float,
    spread: float,
    icc: float,
    clusters: NDArray[np.int64] | None,
    size: int,
    rng: np.random.Generator,
) -> Numbers:
    """Shares from a beta distribution of that mean and spread; alike by the icc where units are in `clusters` themselves."""
    most = mean * (1.0 - mean)
    variance = min(spread * spread, most)
    if variance <= 0.0:
        return np.full(size, mean)
    rate: Numbers = np.full(size, mean)
    between = 0.0 if clusters is None else icc * variance
    if clusters is not None:
        spare = most / between - 1.0
        rate = rng.beta(mean * spare, (1.0 - mean) * spare, size=int(clusters[-1]) + 1)[clusters]
    # Beta distributions have a variance of rate·(1 − rate)/(spare + 1); near the greatest they are all but 0 or 1.
    spare = max((most - between) / (variance - between) - 1.0, 1e-3)
    rate = np.clip(rate, 1e-6, 1.0 - 1e-6)
    return rng.beta(rate * spare, (1.0 - rate) * spare)


def _gamma(mean: float, spread: float, size: int, rng: np.random.Generator) -> Numbers:
    if mean <= 0:
        return rng.normal(mean, spread, size)
    shape = (mean / spread) ** 2
    return rng.gamma(shape, mean / shape, size)


def _possible(metric: Metric, mean: float, effect: float) -> float:
    """The effect, as far as a rate stays within 0 and 1, and a number of which none is negative above 0."""
    if metric.kind == "proportion":
        return min(max(effect, -mean), 1.0 - mean)
    return max(effect, -0.99 * mean) if mean > 0 else effect


def _not_assumed(metric: Metric) -> str | None:
    if metric.kind in ("quantile", "ratio", "time_to_event"):
        return f"how a {metric.kind.replace('_', ' ')} varies is told by past units only"
    if metric.baseline is None:
        return "it has no `baseline`"
    if metric.kind != "proportion" and metric.spread is None:
        return "it has no `spread`"
    return None


@dataclass(frozen=True)
class Past:
    """Units that were there, drawn again with everything that is known of each; where there are clusters, whole ones."""

    crowd: Crowd
    says: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    def mean(self, metric: Metric) -> float:
        if metric.name in self.crowd.readings:
            values = self.crowd.readings[metric.name].values
            return float(np.quantile(values, metric.q or 0.5, method="inverted_cdf"))
        values = self.crowd.values[metric.name]
        if metric.name in self.crowd.per:
            both = ~(np.isnan(values) | np.isnan(self.crowd.per[metric.name]))
            return float(values[both].sum() / self.crowd.per[metric.name][both].sum())
        return float(np.nanmean(values))

    def possible(self, metric: Metric, effect: float) -> float:
        return _possible(metric, self.mean(metric), effect)

    def draw(self, size: int, rng: np.random.Generator) -> Crowd:
        clusters = None
        if self.crowd.clusters is None:
            chosen = rng.integers(0, self.crowd.size, size)
        else:
            chosen, clusters = whole_clusters(self.crowd.clusters, size, rng)
        return Crowd(
            size,
            {name: values[chosen] for name, values in self.crowd.values.items()},
            {name: values[chosen] for name, values in self.crowd.per.items()},
            {name: readings.of(chosen) for name, readings in self.crowd.readings.items()},
            clusters,
        )


def whole_clusters(
    codes: NDArray[np.int64], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of units drawn a whole cluster at a time, and the number of the copy each belongs to.

    `codes` numbers the cluster of each unit, from 0; the units stand in the order of their clusters.
    """
    sizes = np.bincount(codes)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    picked = rng.integers(0, sizes.size, math.ceil(size / sizes.mean()) + 1)
    while sizes[picked].sum() < size:
        picked = np.concatenate((picked, rng.integers(0, sizes.size, picked.size)))
    counts = sizes[picked]
    ends = np.cumsum(counts)
    places = np.repeat(starts[picked] - (ends - counts), counts) + np.arange(ends[-1])
    copies = np.repeat(np.arange(picked.size), counts)
    # Members of a cluster do not come one after the other.
    order = rng.permutation(ends[-1])[:size]
    return places[order], copies[order]


def past_units_of_log(experiment: Experiment, log: EventLog, *, arm: str = "control") -> Past:
    """The past units of one arm, out of the log of an experiment of that name.

    Only units count that have been in for the whole of every metric's window. DataError where fewer than two are left.
    """
    connection = connect()
    try:
        names, _, read = log_facts(connection, experiment, log)
        return _past(connection, experiment, names, "the log", arm, timed=True, ends=read.latest)
    finally:
        connection.close()


def past_units_of_table(experiment: Experiment, table: str | None = None, *, arm: str = "control") -> Past:
    """The past units of one arm, out of a table: a path, or (None) the file that the definition names.

    As `past_units_of_log`; DataError, too, where the table is not as declared, or lies in a warehouse.
    """
    folder = "." if table is not None else experiment.folder
    if table is None:
        if experiment.source is None:
            raise DataError(f"{experiment.identity} names no table; add `source:` to the definition")
        if experiment.source.connection is not None:
            raise DataError(
                "past units are drawn from a file or a log, and `source.connection` names a warehouse; write its rows to a "
                "Parquet file first"
            )
        table = experiment.source.table
    connection = connect()
    try:
        described = open_table(connection, table, folder)
        declared = frame_source(connection, experiment)
        names = table_facts(connection, experiment, declared)
        return _past(
            connection, experiment, names, described, arm, timed=declared.time is not None, ends=None
        )
    finally:
        connection.close()


def _past(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    names: Mapping[Quantity, str],
    described: str,
    arm: str,
    *,
    timed: bool,
    ends: float | None,
) -> Past:
    valued = [metric for metric in experiment.metrics if metric.kind not in ("quantile", "time_to_event")]
    columns, _, _ = make_units(connection, experiment, valued, names, [], timed=timed)
    row = connection.execute("SELECT max(happened) FROM facts").fetchone()
    last = row[0] if row else None
    ends = last if ends is None or last is None else min(last, ends)
    enrol(connection, experiment.plan, ends, timed=timed)
    longest = max((metric.window or 0.0 for metric in experiment.metrics), default=0.0)
    whole = ALWAYS if not longest or ends is None else f"since + {longest!r} <= {ends!r}"
    order = "cluster, unit" if experiment.cluster else "unit"
    connection.execute(
        f"""CREATE TEMP TABLE units AS SELECT *, row_number() OVER (ORDER BY {order}) - 1 AS place
            {", dense_rank() OVER (ORDER BY cluster) - 1 AS code" if experiment.cluster else ""}
            FROM enrolled WHERE variant = ? AND {whole}""",
        [arm],
    )
    wanted = {
        f"{metric.name}/{i}": column for metric in valued for i, column in enumerate(columns[metric.name])
    }
    asked = ", ".join(f'{column}::DOUBLE AS "{name}"' for name, column in wanted.items()) or "0.0 AS nothing"
    code = ", code" if experiment.cluster else ""
    found = connection.execute(f"SELECT {asked}{code} FROM units ORDER BY place").fetchnumpy()
    size = len(next(iter(found.values())))
    if size < 2:
        raise DataError(
            f"{described} has {size} units of {arm} that count and have been in for every metric's window; a rehearsal "
            "draws from 2 or more"
        )
    told = {name: np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan) for name in wanted}
    readings, left_out = {}, {}
    for metric in experiment.metrics:
        if metric.kind == "quantile":
            readings[metric.name] = _readings(connection, metric, names[metric.of], size)
        elif metric.kind == "time_to_event":
            left_out[metric.name] = "a time to an event is not drawn again"
    left_out |= {
        metric.name: f"no unit of {arm} has a value of it"
        for metric in valued
        if np.isnan(told[f"{metric.name}/0"]).all()
    }
    left_out |= {
        metric.name: f"what it is divided by comes to nothing among the units of {arm}"
        for metric in valued
        if metric.per
        and metric.name not in left_out
        and not _divides(*(told[f"{metric.name}/{i}"] for i in (0, 1)))
    }
    clusters = np.asarray(found["code"], dtype=np.int64) if experiment.cluster else None
    crowd = Crowd(
        size,
        {metric.name: told[f"{metric.name}/0"] for metric in valued if metric.name not in left_out},
        {
            metric.name: told[f"{metric.name}/1"]
            for metric in valued
            if metric.per and metric.name not in left_out
        },
        {name: each for name, each in readings.items() if each.values.size},
        clusters,
    )
    left_out |= {
        name: f"no unit of {arm} has a reading of it"
        for name, each in readings.items()
        if not each.values.size
    }
    many = f" in {clusters[-1] + 1:,} clusters" if clusters is not None else ""
    return Past(crowd, f"{size:,} past units of {arm}{many} in {described}, drawn again", left_out)


def _divides(values: Numbers, per: Numbers) -> bool:
    return float(per[~(np.isnan(values) | np.isnan(per))].sum()) > 0


def _readings(connection: duckdb.DuckDBPyConnection, metric: Metric, column: str, size: int) -> Readings:
    table = f"past_{metric.name.replace('.', '_').replace('-', '_')}"
    make_readings(connection, f'"{table}"', metric, column, ripe=ALWAYS, clustered=False)
    found = connection.execute(
        f'SELECT units.place AS place, value FROM "{table}" JOIN units ON units.number = block ORDER BY place, value'
    ).fetchnumpy()
    counts = np.bincount(np.asarray(found["place"], dtype=np.int64), minlength=size)
    return Readings(np.asarray(found["value"], dtype=np.float64), np.concatenate(([0], np.cumsum(counts))))
