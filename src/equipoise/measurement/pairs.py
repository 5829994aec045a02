"""Pairs: a turn that somebody saw, and what a treatment would have answered to it.

A shadow names the turn it belongs to; one written by an earlier version names only the trace, and then it is paired where
the trace has one turn.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from equipoise.events.bodies import bodies_of
from equipoise.events.facts import Fact, Shadow, Turn, decode
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.counted import turn_number

__all__ = ["Pair", "Pairs", "pair_number", "pairs_of"]

_TRACE = re.compile(rb'"trace":"([^"\\]*)"')


@dataclass(frozen=True, slots=True)
class Pair:
    """One request, answered twice: by control, which was served, and by `treatment.variant`, which nobody saw."""

    control: Turn
    treatment: Shadow

    @property
    def conversation(self) -> str:
        """What the request belongs to: pairs of one are alike. A request of no unit stands for itself."""
        unit = self.control.unit
        return f"turn {self.control.event_id}" if unit is None else f"unit {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The pairs of each treatment, in the order in which their shadows were recorded, and what is in none, by reason."""

    by_arm: Mapping[str, Sequence[Pair]]
    aside: Mapping[str, int]


def pairs_of(log: EventLog, experiment: Experiment) -> Pairs:
    """Every pair that the log holds of a revision.

    Shadows are few, and read as facts. Of the turns the bodies are looked through for the traces of shadows. `aside` counts
    shadows whose turn is not there or not known (`unpaired`), and pairs whose turn was `cancelled` or answered by another
    model (`fallback`).
    """
    shadows = [
        record.fact
        for record in log.read_since(0, experiment=experiment.name, kinds=("shadow",))
        if isinstance(record.fact, Shadow) and record.fact.digest == experiment.digest
    ]
    turns = _turns(log, experiment, shadows)
    by_arm: dict[str, list[Pair]] = {each.name: [] for each in experiment.treatments}
    aside = Counter[str]()
    for shadow in shadows:
        turn = _turn_of(shadow, turns.get(shadow.trace or "", ()))
        if turn is None or shadow.variant not in by_arm:
            aside["unpaired"] += 1
        elif turn.cancelled or turn.fallback:
            aside["cancelled" if turn.cancelled else "fallback"] += 1
        else:
            by_arm[shadow.variant].append(Pair(turn, shadow))
    return Pairs(by_arm=by_arm, aside=dict(aside))


def _turn_of(shadow: Shadow, turns: Sequence[Turn]) -> Turn | None:
    if shadow.of is None:
        return turns[0] if len(turns) == 1 else None
    return next((each for each in turns if each.event_id == shadow.of), None)


def _turns(log: EventLog, experiment: Experiment, shadows: Sequence[Shadow]) -> dict[str, list[Turn]]:
    """The turns of the traces of shadows, by trace."""
    named: dict[bytes, list[str | None]] = {}
    for shadow in shadows:
        if shadow.trace is not None:
            named.setdefault(shadow.trace.encode(), []).append(shadow.of)
    found: dict[bytes, list[tuple[int, float, bytes]]] = {}
    for page in bodies_of(log, experiment.name, "turn", until=log.head()) if named else ():
        for position, happened, _, body in page:
            if (match := _TRACE.search(body)) is not None and match[1] in named:
                found.setdefault(match[1], []).append((position, happened, body))
    turns: dict[str, list[Turn]] = {}
    for trace, those in found.items():
        of = named[trace]
        for position, happened, body in those:
            # A body does not say its fact's id. Where a trace has one turn and one shadow, the shadow does; others are few.
            event_id = of[0] if len(those) == len(of) == 1 else None
            turn = (
                _fact_at(log, experiment.name, position)
                if event_id is None
                else decode(
                    "turn", event_id=event_id, experiment=experiment.name, happened=happened, body=body
                )
            )
            if isinstance(turn, Turn) and turn.digest == experiment.digest:
                turns.setdefault(trace.decode(), []).append(turn)
    return turns


def _fact_at(log: EventLog, name: str, position: int) -> Fact | None:
    record = next(log.read_since(position - 1, experiment=name, kinds=("turn",)), None)
    return None if record is None else record.fact


def pair_number(name: str) -> Callable[[Turn], float | None]:
    """How a quantity of a turn is read where a turn stands beside its shadow: as `turn_number`, but for the latency.

    A turn's latency holds what the gateway took, a shadow's does not: it is what the model took in both.

    >>> pair_number("latency_s")(Turn(experiment="e", happened=0.0, latency_s=0.75, overhead_s=0.25))
    0.5
    """
    plain = turn_number(name)
    if name != "latency_s":
        return plain

    def latency(turn: Turn) -> float | None:
        seconds = plain(turn)
        return None if seconds is None else max(0.0, seconds - (turn.overhead_s or 0.0))

    return latency
