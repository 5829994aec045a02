"""A crowd that was served its arms, measured as of any moment: what measuring a record would have given then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.clusters.members import across, whole
from equipoise.measurement.counting import with_totals
from equipoise.measurement.rehearsed.population import Crowd, Numbers
from equipoise.measurement.tally import ClusterTotals, Measurement, Tally
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_of, quantile_overlap
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.moments import Moments, PairMoments

__all__ = ["Drawn", "RunningSums"]


@dataclass(frozen=True, slots=True)
class RunningSums:
    """Running sums over an arm's units in the order in which they came, the first of them 0: of those with a value."""

    known: NDArray[np.int64]
    x: Numbers
    xx: Numbers
    centre: float
    y: Numbers | None = None
    yy: Numbers | None = None
    xy: Numbers | None = None
    centre_y: float = 0.0

    @classmethod
    def of(cls, x: Numbers, y: Numbers | None) -> RunningSums:
        valid = ~np.isnan(x) if y is None else ~(np.isnan(x) | np.isnan(y))
        a, centre = _centred(x, valid)
        known = _running(valid.astype(np.int64))
        if y is None:
            return cls(known, _running(a), _running(a * a), centre)
        b, centre_y = _centred(y, valid)
        return cls(
            known,
            _running(a),
            _running(a * a),
            centre,
            _running(b),
            _running(b * b),
            _running(a * b),
            centre_y,
        )

    def moments(self, n: int) -> Moments:
        known = int(self.known[n])
        if not known:
            return Moments.zero()
        off = float(self.x[n]) / known
        return Moments(known, self.centre + off, max(0.0, float(self.xx[n]) - known * off * off))

    def pairs(self, n: int) -> PairMoments:
        assert self.y is not None
        assert self.yy is not None
        assert self.xy is not None
        known = int(self.known[n])
        if not known:
            return PairMoments.zero()
        off, off_y = float(self.x[n]) / known, float(self.y[n]) / known
        return PairMoments(
            known,
            self.centre + off,
            self.centre_y + off_y,
            max(0.0, float(self.xx[n]) - known * off * off),
            max(0.0, float(self.yy[n]) - known * off_y * off_y),
            float(self.xy[n]) - known * off * off_y,
        )


def _centred(x: Numbers, valid: NDArray[np.bool_]) -> tuple[Numbers, float]:
    """The values less their mean, 0 where there is none: a spread small beside its mean keeps its digits."""
    centre = float(x[valid].mean()) if valid.any() else 0.0
    return np.where(valid, x - centre, 0.0), centre


def _running(values: NDArray[np.generic]) -> NDArray:  # type: ignore[type-arg]
    return np.concatenate((np.zeros(1, dtype=values.dtype), np.cumsum(values)))


@dataclass
class Drawn:
    """A crowd and the arm of each of its units, of an experiment: `arms` numbers the experiment's variants.

    Units come one after the other in the order of the crowd. `at` measures as of a moment: what is counted in both arms
    is the same that a record's measurement would have counted, and is summed up in advance.
    """

    experiment: Experiment
    crowd: Crowd
    arms: NDArray[np.int64]
    _where: list[NDArray[np.int64]] = field(init=False)
    _sums: dict[tuple[str, int], RunningSums] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.experiment.cluster is None:
            # They may be alike all the same: what is not declared is not known to the measurement. Randomised clusters are
            # units, each a cluster of its own, as a record has them.
            of_units = np.arange(self.crowd.size) if self.experiment.unit.type == "cluster" else None
            self.crowd = replace(self.crowd, clusters=of_units)
        self._where = [np.flatnonzero(self.arms == i) for i in range(len(self.experiment.variants))]
        if self.crowd.clusters is None:
            for metric in self._valued:
                per = self.crowd.per.get(metric.name)
                for i, where in enumerate(self._where):
                    self._sums[metric.name, i] = RunningSums.of(
                        self.crowd.values[metric.name][where], None if per is None else per[where]
                    )

    @property
    def _valued(self) -> Sequence[Metric]:
        return [metric for metric in self.experiment.metrics if metric.kind != "quantile"]

    def served(self, units: int) -> tuple[int, ...]:
        """How many of the first so many units each arm has."""
        return tuple(int(np.searchsorted(where, units)) for where in self._where)

    def at(self, exposed: int, mature: Mapping[str, int], time: float) -> Measurement:
        """The measurement when the first `exposed` units count, and of a metric those before `mature`.

        `time` is in seconds since the first of them came.
        """
        names = [variant.name for variant in self.experiment.variants]
        seen = self.served(exposed)
        clusters = None
        if self.crowd.clusters is not None:
            among = self.crowd.clusters
            clusters = {
                name: int(np.unique(among[where[:n]]).size)
                for name, where, n in zip(names, self._where, seen, strict=True)
            }
        tallies: dict[str, dict[str, Tally]] = {}
        for metric in self.experiment.metrics:
            ripe = self.served(min(exposed, mature[metric.name]))
            tallies[metric.name] = {
                name: self._tally(metric, i, ripe[i], immature=seen[i] - ripe[i])
                for i, name in enumerate(names)
            }
            if clusters is not None and metric.kind == "quantile":
                self._add_overlap(metric, tallies[metric.name], names, ripe)
            elif clusters is not None:
                self._add_of_clusters(metric, tallies[metric.name], names, ripe)
        measured = Measurement(
            source="a rehearsal",
            rows=exposed,
            units=dict(zip(names, seen, strict=True)),
            crossed=0,
            kept=True,
            rows_without_unit=0,
            clusters=clusters,
            first=0.0,
            last=time,
            tallies=tallies,
        )
        return whole(self.experiment, measured)

    def _tally(self, metric: Metric, arm: int, stop: int, *, immature: int) -> Tally:
        where = self._where[arm][:stop]
        if metric.kind == "quantile":
            readings = self.crowd.readings[metric.name].of(where)
            blocks = readings.units
            if self.crowd.clusters is not None:
                blocks = self.crowd.clusters[where][blocks]
            with_one = int((np.diff(readings.starts) > 0).sum())
            found = quantile_of(readings.values, blocks, q=metric.q or 0.5)
            return Tally(units=with_one, missing=stop - with_one, immature=immature, quantile=found)
        if self.crowd.clusters is not None:
            return self._clustered(metric, where, immature)
        sums = self._sums[metric.name, arm]
        if metric.name in self.crowd.per:
            pairs = sums.pairs(stop)
            return Tally(units=pairs.n, missing=stop - pairs.n, immature=immature, pairs=pairs)
        moments = sums.moments(stop)
        return Tally(units=moments.n, missing=stop - moments.n, immature=immature, moments=moments)

    def _columns(
        self, metric: Metric, where: NDArray[np.int64]
    ) -> tuple[Numbers, Numbers, NDArray[np.int64]]:
        """Value, size (or what a ratio is divided by) and cluster of the units that have a value."""
        assert self.crowd.clusters is not None
        x = self.crowd.values[metric.name][where]
        per = self.crowd.per.get(metric.name)
        y = np.ones_like(x) if per is None else per[where]
        valid = ~(np.isnan(x) | np.isnan(y))
        return x[valid], y[valid], self.crowd.clusters[where][valid]

    def _clustered(self, metric: Metric, where: NDArray[np.int64], immature: int) -> Tally:
        x, y, clusters = self._columns(metric, where)
        _, place = np.unique(clusters, return_inverse=True)
        pairs = PairMoments.of(np.bincount(place, weights=x), np.bincount(place, weights=y))
        ratio = metric.name in self.crowd.per
        return Tally(
            units=x.size,
            missing=where.size - x.size,
            immature=immature,
            moments=None if ratio else Moments.of(x),
            pairs=pairs,
        )

    def _add_of_clusters(
        self,
        metric: Metric,
        tallies: dict[str, Tally],
        names: Sequence[str],
        stop: Sequence[int],
    ) -> None:
        """Of few clusters the totals, of many the moments of those that a treatment shares with control."""
        columns = [self._columns(metric, self._where[i][: stop[i]]) for i in range(len(names))]
        every = np.unique(np.concatenate([clusters for _, _, clusters in columns]))
        arms = {}
        for name, (x, y, clusters) in zip(names, columns, strict=True):
            place = np.searchsorted(every, clusters)
            sums, sizes = (np.bincount(place, weights=each, minlength=every.size) for each in (x, y))
            arms[name] = sums, sizes, np.bincount(place, minlength=every.size) > 0
        known = {name: Moments.of(sizes[there]) for name, (_, sizes, there) in arms.items()}
        matched = with_totals(known, names, across(self.experiment))
        for name, (sums, sizes, there) in arms.items():
            if name in matched:
                totals = ClusterTotals(tuple(sums.tolist()), tuple(sizes.tolist()))
                tallies[name] = replace(tallies[name], totals=totals)
            elif name != "control" and (both := there & arms["control"][2]).any():
                of_both = [each[both] for each in (*arms["control"][:2], sums, sizes)]
                tallies[name] = replace(tallies[name], shared=CrossMoments.of(*of_both))

    def _add_overlap(
        self, metric: Metric, tallies: dict[str, Tally], names: Sequence[str], stop: Sequence[int]
    ) -> None:
        """What clusters with readings in control and in a treatment give to both quantiles' errors."""
        assert self.crowd.clusters is not None
        arms = {}
        for i, name in enumerate(names):
            found = tallies[name].quantile
            if isinstance(found, QuantileSummary):
                where = self._where[i][: stop[i]]
                readings = self.crowd.readings[metric.name].of(where)
                of = self.crowd.clusters[where][readings.units]
                most = int(self.crowd.clusters.max()) + 1
                arms[name] = (
                    np.bincount(of, weights=readings.values <= found.value, minlength=most),
                    np.bincount(of, minlength=most).astype(np.float64),
                )
        for name, (below, every) in arms.items():
            if name == "control" or "control" not in arms:
                continue
            below_c, every_c = arms["control"]
            both = (every > 0) & (every_c > 0)
            overlap = quantile_overlap(
                PairMoments.of(below_c[every_c > 0], every_c[every_c > 0]),
                PairMoments.of(below[every > 0], every[every > 0]),
                CrossMoments.of(*(each[both] for each in (below_c, every_c, below, every))),
            )
            tallies[name] = replace(tallies[name], overlap=overlap)
