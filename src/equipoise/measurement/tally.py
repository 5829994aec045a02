"""What measuring yields: counts and moments, small enough to send anywhere; no row of anybody's data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from equipoise.measurement.warmth import ArmWarmth
from equipoise.stats.comparison.quantiles import QuantileSummary
from equipoise.stats.comparison.restricted_means import RestrictedMean
from equipoise.stats.comparison.shared_clusters import Overlap
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.interference import ControlDay
from equipoise.stats.health.novelty import DailyMoments
from equipoise.stats.health.saturation import Saturated
from equipoise.stats.judges.corrected_totals import JudgedTotals
from equipoise.stats.moments import Moments, PairMoments

__all__ = [
    "Aside",
    "Cap",
    "ClusterTotals",
    "Daily",
    "Enrolment",
    "EntryDay",
    "EpochTallies",
    "Judged",
    "Lists",
    "Measurement",
    "Members",
    "Read",
    "SegmentTallies",
    "SlotValue",
    "SourceClock",
    "Tally",
    "Won",
]


@dataclass(frozen=True, slots=True)
class ClusterTotals:
    """The sum and the size of every cluster in one arm, in an order shared by all arms and without names.

    A cluster that an arm has nothing of has sum 0 and size 0 there. `whole` says that clusters were randomised: each is in
    one arm alone.
    """

    sums: tuple[float, ...]
    sizes: tuple[float, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """How many members clusters had, how many of them were seen in several clusters, and in several arms."""

    members: int
    in_several: int
    in_several_arms: int


@dataclass(frozen=True, slots=True)
class Cap:
    """What winsorising did: `units` values above `value`, the quantile `q` over all arms, count as `value`."""

    q: float
    value: float
    units: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge and people said of one arm's turns, to correct a judge's metric by labels.

    From `planned` labels in each arm on the corrected effect decides, and before that nothing does; where no number was
    declared (None) the judge's own effect does. `mixed` says that units have several scored turns and the metric is not
    their mean, which is what labels can correct. `shared` is as in `Tally`, with the columns of `totals`.
    """

    totals: JudgedTotals
    planned: int | None = None
    mixed: bool = False
    shared: CrossMoments | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One metric in one variant.

    `units` have a value, `missing` have none. `moments` are of the units' values (proportion, mean,
    count); `pairs` of numerator and denominator, per unit for a ratio, or of sums and counts per
    cluster where the experiment is clustered; `quantile` of a quantile metric, `restricted` of a time to an event,
    where nobody is missing or immature, and of the `units` some are `censored`: seen neither until the event nor
    for the whole window. `immature` units have not been in for the whole of the metric's window; they are in
    neither count. `contrast`, of a treatment whose items share lists with control's, has per unit (or
    cluster) what it earned more than control, and the unit's queries; `pairs` then has what the arm earned,
    and these. `covariates` has the value (for a ratio numerator and denominator) beside the declared
    covariates: first their values, then whether each is unknown. `totals` is there where clusters are few,
    `shared` of a treatment where they are not and have units in control, too: the moments of the clusters that both
    arms have, with control's columns of `covariates` (or of `pairs`) and then the treatment's; of a quantile or a time to
    an event, however many clusters there are, `overlap` says what these give. `judged` is there where labels can correct
    a judge.
    """

    units: int
    missing: int
    moments: Moments | None = None
    pairs: PairMoments | None = None
    quantile: QuantileSummary | NotEstimable | None = None
    restricted: RestrictedMean | NotEstimable | None = None
    immature: int = 0
    censored: int = 0
    covariates: CrossMoments | None = None
    totals: ClusterTotals | None = None
    judged: Judged | None = None
    contrast: PairMoments | None = None
    shared: CrossMoments | None = None
    overlap: Overlap | None = None


@dataclass(frozen=True, slots=True)
class SourceClock:
    """How long the events of one kind and source took from when they happened, by the source, to when they were received.

    Delays are in seconds, to a thousandth; above a minute to a second, above a day to a minute. Below 0 the source's
    clock is ahead of the record's: `ahead` events were. `late` ones took more than a day. `source` is None where
    nobody is named.
    """

    kind: str
    source: str | None
    events: int
    median_s: float
    least_s: float
    most_s: float
    ahead: int
    late: int


@dataclass(frozen=True, slots=True)
class Aside:
    """What of a record does not count, or counts with a mark.

    `orphans` are values of units never exposed, `early` those told before a unit's first exposure; neither
    counts. `unenrolled` are turns served outside the experiment, by reason, and `lost` what could not be
    kept while the record was away, by kind. `conflicts` are events that came
    under the id of another one. `marked` turns count in their arm: cancelled ones without their
    latency, those that a fallback model answered, or that were redirected to control, or blocked. `warmth` has,
    by arm, the turns whose model was warm or cold. `early_by` has those of the early that name their source, by it,
    `judges` how many judges gave a score, where it is several. `canary` units came in during the canary and are left
    out; while it goes on (`in_canary`) they are all there is, and no look is due. `washed_out` turns (of a table: rows)
    happened before their time slot had settled, and do not count.

    `clocks` compares the clocks of each source with the record's. `redated` exposures were so far off that they count
    from when they were received, and so do `ahead` events that are far ahead; those do not say when the data end. A copy of
    the log may have received all of them at other times, and holds the same.
    """

    orphans: int = 0
    early: int = 0
    unenrolled: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    marked: Mapping[str, int] = field(default_factory=dict)
    warmth: Mapping[str, ArmWarmth] = field(default_factory=dict)
    conflicts: int = 0
    early_by: Mapping[str, int] = field(default_factory=dict)
    judges: Mapping[str, int] = field(default_factory=dict)
    canary: int = 0
    in_canary: bool = False
    clocks: tuple[SourceClock, ...] = field(default=(), compare=False)
    redated: int = field(default=0, compare=False)
    ahead: int = field(default=0, compare=False)
    washed_out: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """What of a log was read: how many facts of each kind, the SHA-256 of them all, and how many rows count.

    `received` is when the last of them was received, in seconds since 1970 by the log's own clock; a copy of the log
    may have received them later, and holds the same. `latest` is when the last event happened whose clock is not
    wildly ahead.
    """

    facts: Mapping[str, int]
    digest: str
    rows: int
    received: float | None = field(default=None, compare=False)
    latest: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Units that were exposed and do not count: in the burn-in, or in a cycle that is not over.

    `whole_cycles` is how many cycles are over, or None where that is not asked.
    """

    burn_in: int = 0
    unfinished: int = 0
    whole_cycles: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentTallies:
    """The primary's tallies by value of one attribute and by arm: the most frequent values, in that order.

    `others` counts the values that are too rare to be among them.
    """

    attribute: str
    values: Mapping[str, Mapping[str, Tally]]
    others: int = 0


@dataclass(frozen=True, slots=True)
class Daily:
    """The primary by day since first exposure and by arm, over units that had all the `days`; none if too few."""

    days: int
    moments: Mapping[str, DailyMoments] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlotValue:
    """What the primary was in one time slot: `total` over `size`, which is 1 unless the primary is a ratio.

    `start` is in seconds since 1970 UTC, `whose` the value that has slots of its own, `block` what it was drawn with.
    """

    start: float
    whose: str | None
    variant: str
    block: str
    total: float
    size: float = 1.0

    @property
    def value(self) -> float | None:
        """The slot's own value; None where a ratio has nothing to be taken per."""
        return self.total / self.size if self.size else None


@dataclass(frozen=True, slots=True)
class EntryDay:
    """The primary's tallies, by arm, of the units that came in on one day: 0 is the first 24 hours."""

    day: int
    tallies: Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class Won:
    """The primary's queries that a treatment won and lost against control, and the units that it won or lost more.

    Of probabilistic lists the first two are sums of chances.
    """

    wins: float
    losses: float
    units_for: int
    units_against: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """The lists of an interleaved experiment that count: how many, and whose was the `first` item that counts, by ranker.

    `short` has by ranker in how many it had nothing left to give. What counts for nobody: lists shown `again` under the
    name of another one of the unit, clicks on `strange` items that are not in the list they name, and outcomes that are of
    the `whole` list or of none. `unripe` are, by metric, lists that are younger than its window. `won` is by treatment.
    """

    shown: int
    units: int
    first: Mapping[str, int]
    short: Mapping[str, int]
    again: int
    strange: int
    whole: int
    unripe: Mapping[str, int]
    won: Mapping[str, Won]

    def counted(self, metric: str) -> int:
        """How many lists count for a metric: those that its window is over for."""
        return self.shown - self.unripe.get(metric, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochTallies:
    """Who came in during one epoch of a bandit: its announced `shares`, and each metric's tallies by arm.

    `tallies` have no covariates. `shares` is None where the epoch was never announced. `starts` is in seconds since 1970
    UTC. `logged` has the lowest and the highest probability that the exposures of an arm hold. `critical` has the tallies
    of each critical segment.
    """

    number: int
    starts: float | None
    shares: Mapping[str, float] | None
    units: Mapping[str, int]
    logged: Mapping[str, tuple[float, float]]
    tallies: Mapping[str, Mapping[str, Tally]]
    critical: tuple[Mapping[str, Tally], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a source holds about an experiment.

    `units` counts the analysed units by variant, every variant of the definition included. `crossed`
    units were seen in several variants; they count for the one seen first (`kept`), or are left out
    where no time tells which that was. `critical_segments` holds, for each critical segment of the
    definition and in its order, the tallies of its metric within it. `rows_without_unit` could not be attributed to anybody.
    `segments` has the primary by segment, `otherwise` the primary's tallies had crossed units been handled the
    other way (empty where none crossed, or no time tells), `daily` the primary by day since exposure where it
    adds up, `entry_days` the primary by the day its units came in, `caps` what was winsorised, by metric.
    `by_turn` has the other figure of metrics of turns, by metric and arm (`measurement.by_turn`). `slots` has the primary
    slot by slot where time slots were randomised, `members` who was in which cluster, where clusters were and it is told,
    `control_days` the primary of control by day and share of the treatment, where that changed, `saturations` by how many of
    its cluster's others were treated, where units were drawn within clusters (or why that would tell nothing).
    `clusters` counts clusters by variant, or is None. `first` and `last` are seconds since 1970. `epochs` has a bandit
    by epoch. `lists` is there where rankers share lists; `units` then has every unit in every arm. `aside` is what does
    not count, `read` what of a log went in (None for a table).
    """

    source: str
    rows: int
    units: Mapping[str, int]
    crossed: int
    kept: bool
    rows_without_unit: int
    clusters: Mapping[str, int] | None
    first: float | None
    last: float | None
    tallies: Mapping[str, Mapping[str, Tally]]
    aside: Aside = field(default_factory=Aside)
    critical_segments: tuple[Mapping[str, Tally], ...] = ()
    read: Read | None = None
    enrolment: Enrolment = Enrolment()
    caps: Mapping[str, Cap] = field(default_factory=dict)
    segments: tuple[SegmentTallies, ...] = ()
    otherwise: Mapping[str, Tally] = field(default_factory=dict)
    daily: Daily | None = None
    entry_days: tuple[EntryDay, ...] = ()
    by_turn: Mapping[str, Mapping[str, Tally]] = field(default_factory=dict)
    slots: tuple[SlotValue, ...] = ()
    epochs: tuple[EpochTallies, ...] = ()
    lists: Lists | None = None
    members: Members | None = None
    control_days: tuple[ControlDay, ...] = ()
    saturations: tuple[Saturated, ...] | NotEstimable | None = None
