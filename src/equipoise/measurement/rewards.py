"""What a bandit learns from: of each arm the rewards that are matured, those that are missing, and those still pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from equipoise.errors import UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import WHOLE, Counted, one, tallies_by
from equipoise.measurement.cross import ALWAYS
from equipoise.measurement.parts import enrol
from equipoise.measurement.record import log_facts
from equipoise.measurement.tables import connect
from equipoise.measurement.units import check_yes_or_no, make_units
from equipoise.stats.bandits.posteriors import Rewards

if TYPE_CHECKING:
    import duckdb

__all__ = ["ArmRewards", "rewards_of_log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRewards:
    """What is known of an arm: units that are `matured` and have a reward, and of which window is over without (`missing`).

    `pending` units are within the reward's window: they have none yet, whatever was said of them so far. `rewards` are
    those of the matured, discounted by their age where the bandit has a half-life.
    """

    matured: int = 0
    missing: int = 0
    pending: int = 0
    rewards: Rewards = field(default_factory=Rewards)


def rewards_of_log(
    experiment: Experiment, log: EventLog, *, until: int | None = None
) -> Mapping[str, ArmRewards]:
    """The rewards of every arm, up to a position of the log where one is given.

    They are counted by the rules of the read-out: in the arm of a unit's first exposure, from then until the metric's window
    is over, by when the data end. Only whole cycles are no matter here. With a half-life a unit counts 2^(−age / half-life),
    its age being that of its first exposure to within `every` seconds. Units of a cluster count as if they were alone.

    Raises UsageError where the experiment is no bandit, DataError where nobody was exposed, or a reward is not what its
    kind says.
    """
    bandit = experiment.bandit
    if bandit is None:
        raise UsageError(f"{experiment.identity} is no bandit, and plays for nothing")
    # What is asked of the log is the reward; what a judge said is the reward, whatever people say of the judge.
    metric = replace(experiment.metric(bandit.reward), priority="primary", tier="code", covariates=())
    asked = replace(
        experiment,
        metrics=(metric,),
        segments=(),
        critical_segments=(),
        plan=replace(experiment.plan, whole_cycles=False),
    )
    connection = connect()
    try:
        names, _, read = log_facts(connection, asked, log, until)
        latest = "'inf'::DOUBLE" if read.latest is None else repr(read.latest)
        (last,) = one(connection, f"SELECT max(happened) FILTER (WHERE happened <= {latest}) FROM facts")
        ends = last if last is None or read.received is None else min(last, read.received)
        recorded = names[metric.of]
        if metric.kind == "proportion" and metric.above is None:
            check_yes_or_no(connection, [(metric, recorded)], "facts")
        columns, _, crossed = make_units(connection, asked, [metric], names, [], timed=True)
        enrol(connection, asked.plan, ends, timed=True)
        aside = crossed and asked.plan.crossed == "exclude"
        connection.execute(
            f"CREATE TEMP VIEW units AS SELECT * FROM enrolled {'WHERE NOT crossed' if aside else ''}"
        )
        value = columns[metric.name][0]
        if metric.kind == "proportion":
            check_yes_or_no(connection, [(metric, value)], "units")
        return _by_arm(connection, experiment, metric, value, ends)
    finally:
        connection.close()


def _by_arm(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    metric: Metric,
    value: str,
    ends: float | None,
) -> Mapping[str, ArmRewards]:
    bandit = experiment.bandit
    assert bandit is not None
    ripe = ALWAYS if metric.window is None or ends is None else f"since + {metric.window!r} <= {ends!r}"
    aged = bandit.half_life is not None and ends is not None
    arms = [variant.name for variant in experiment.variants]
    parts = tallies_by(
        connection,
        [Counted(metric=metric, x=value, ripe=ripe)],
        arms,
        clusters=None,
        by=f"CAST(floor(({ends!r} - since) / {bandit.every!r}) AS BIGINT)" if aged else WHOLE,
    )[metric.name]
    found = dict.fromkeys(arms, ArmRewards())
    for part, tallies in parts.items():
        # A unit's age is the middle of the time between two epochs.
        weight = 1.0
        if bandit.half_life is not None and aged:
            weight = 0.5 ** ((max(0, int(part)) + 0.5) * bandit.every / bandit.half_life)
        for arm, tally in tallies.items():
            known, moments = found[arm], tally.moments
            told = Rewards() if moments is None else Rewards(float(moments.n), moments.mean, moments.m2)
            found[arm] = ArmRewards(
                matured=known.matured + tally.units,
                missing=known.missing + tally.missing,
                pending=known.pending + tally.immature,
                rewards=known.rewards + told.times(weight),
            )
    return found
