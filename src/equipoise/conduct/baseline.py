"""The baseline: past windows of an experiment's log, or of a table, and what its watches would do to them by chance."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from equipoise.conduct.ledger import registered
from equipoise.events.log import EventLog
from equipoise.events.windows import CellKey, Member
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.baseline import Baseline
from equipoise.measurement.guardrails.cells import KINDS, Cell, Counting
from equipoise.measurement.guardrails.learning import measure_baseline
from equipoise.measurement.guardrails.past import Past
from equipoise.measurement.guardrails.table_cells import table_cells

__all__ = ["baseline", "baseline_of_table", "past_of"]

_BATCH = 10_000


def baseline(
    log: EventLog,
    name: str,
    *,
    definition: Experiment | None = None,
    since: float | None = None,
    until: float | None = None,
    arm: str | None = None,
    turns_per_day: float | None = None,
    quantile: float = 0.99,
    most: float = 0.1,
) -> Baseline:
    """What the log of a registered experiment says of its metrics and watches, or of those of another `definition`.

    Who was in which arm is as the registered revision had it. `since` and `until` (seconds since 1970 UTC) bound the
    stable period; the other arguments are those of `measure_baseline`. RecordError where nothing is registered under the
    name, DataError where nothing was recorded in the period.
    """
    experiment, _, _ = registered(log, name)
    asked = experiment if definition is None else definition
    past, _ = past_of(log, name, asked, since=since, until=until)
    return measure_baseline(asked, past, arm=arm, turns_per_day=turns_per_day, quantile=quantile, most=most)


def past_of(
    log: EventLog, name: str, asked: Experiment, *, since: float | None = None, until: float | None = None
) -> tuple[Past, tuple[str, ...]]:
    """The past minutes of a registered experiment, by the metrics of another definition, and the arms that it had.

    RecordError where nothing is registered under the name, DataError where nothing was recorded in the period.
    """
    experiment, _, _ = registered(log, name)
    # The metrics may be new, the arms are those that were served.
    counted = replace(asked, variants=experiment.variants, digest=experiment.digest)
    counting, members = Counting(counted, bucketed=True), dict[str, Member]()
    cells: dict[CellKey, Cell] = {}
    records = log.read_since(0, experiment=name, kinds=KINDS)
    while batch := list(islice(records, _BATCH)):
        found, _ = counting.fold(batch, members)
        for key, cell in found.items():
            cells[key] = cells[key] + cell if key in cells else cell
    return Past.of(cells, since, until), tuple(variant.name for variant in experiment.variants)


def baseline_of_table(
    experiment: Experiment,
    *,
    since: float | None = None,
    until: float | None = None,
    arm: str | None = None,
    turns_per_day: float | None = None,
    quantile: float = 0.99,
    most: float = 0.1,
) -> Baseline:
    """The same of the table that a definition's `source` names, each row of it a turn. DataError where that cannot be."""
    past = Past.of(table_cells(experiment), since, until)
    return measure_baseline(
        experiment, past, arm=arm, turns_per_day=turns_per_day, quantile=quantile, most=most
    )
