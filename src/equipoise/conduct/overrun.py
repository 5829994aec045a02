"""Over-run: what arrived after a verdict, analysed with the rest and never in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.conduct.ledger import registered
from equipoise.conduct.pinning import Pin, computed
from equipoise.events.log import EventLog
from equipoise.verdict.analysis import Analysis

__all__ = ["OverRun", "over_run"]

_COUNTED = ("exposure", "turn", "outcome", "score", "loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverRun:
    """Facts by kind that arrived after the last look, the verdict that stands, and the analysis of everything.

    The analysis takes the place of the last look, at the information there is now and with the boundary that
    belongs to it (Lan and DeMets 1983; Whitehead 1992, "Overrunning and underrunning in sequential trials"). It
    is recorded nowhere.
    """

    facts: Mapping[str, int]
    verdict: str
    analysis: Analysis

    @property
    def says(self) -> str:
        """What arrived, what the rule would say of it all, and that it changes nothing."""
        told = ", ".join(f"{kind} {count:,}" for kind, count in self.facts.items())
        would = self.analysis.verdict
        return (
            f"over-run: what arrived after the verdict ({told}) does not count in it. Of all the data together the "
            f"rule would say {would.word}: {would.because}. The verdict stands: {self.verdict}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "facts": dict(self.facts),
            "verdict": self.verdict,
            "says": self.says,
            "read_out": self.analysis.to_dict(),
        }


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
    if position is None or next(log.read_since(position, experiment=name, kinds=_COUNTED), None) is None:
        return None
    whole = computed(log, Pin(experiment, registration, past, log.head(), closing=True))
    arrived: dict[str, int] = {}
    for record in log.read_since(position, experiment=name, kinds=_COUNTED):
        arrived[record.fact.kind] = arrived.get(record.fact.kind, 0) + 1
    return OverRun(
        facts={kind: arrived[kind] for kind in _COUNTED if kind in arrived},
        verdict=state.decision.verdict,
        analysis=whole,
    )
