"""Over-run: what arrived after a verdict, analysed with the rest and never in its place."""

from __future__ import annotations

from equipoise.conduct.ledger import registered
from equipoise.conduct.looking.pinning import Pin, computed
from equipoise.events.log import EventLog
from equipoise.verdict.analysis import OverRun

__all__ = ["over_run"]

_COUNTED = ("exposure", "impression", "turn", "outcome", "score", "label", "loss")


def over_run(log: EventLog, name: str) -> OverRun | None:
    """The over-run analysis of an experiment; None where no final verdict stands or nothing arrived after it.

    A table has no order of arrival, so there is none for an experiment whose `source:` is one. Raises RecordError
    where nothing of that name is registered.
    """
    experiment, registration, state = registered(log, name)
    if not state.finished or state.decision is None or not state.looks or experiment.source is not None:
        return None
    *past, last = state.looks
    position = last.evidence.get("position")
    labelled = any(experiment.labels_planned(metric) is not None for metric in experiment.metrics)
    counted = tuple(kind for kind in _COUNTED if kind != "label" or labelled)
    if position is None or next(log.read_since(position, experiment=name, kinds=counted), None) is None:
        return None
    whole = computed(log, Pin(experiment, registration, past, log.head(), closing=True))
    arrived: dict[str, int] = {}
    for record in log.read_since(position, experiment=name, kinds=counted):
        arrived[record.fact.kind] = arrived.get(record.fact.kind, 0) + 1
    return OverRun(
        facts={kind: arrived[kind] for kind in counted if kind in arrived},
        verdict=state.decision.verdict,
        analysis=whole,
    )
