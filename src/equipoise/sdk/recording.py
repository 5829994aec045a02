"""What is told of assignments: exposures once, outcomes and turns as they come, through one writer."""

from __future__ import annotations

# ruff: noqa: SLF001 - a router makes its assignments, on a path where each call counts.
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.assignment.assigning import Draw
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.exposing import Exposed
from equipoise.assignment.hashing import HASH_VERSION
from equipoise.assignment.interleaving import Interleaved
from equipoise.clock import Clock
from equipoise.errors import UsageError
from equipoise.events.facts import Exposure, Fact, Impression, Outcome, Turn
from equipoise.events.log import EventLog
from equipoise.events.writer import LogWriter
from equipoise.sdk.assignment import Assignment

if TYPE_CHECKING:
    from equipoise.events.text_writer import TextWriter

__all__ = ["Recording"]

_ENDURED = 2.5
"""Seconds that a list to be shown waits for the record; whoever searches is better off with the default then."""
_OURS = {
    "member",
    "unit",
    "digest",
    "variant",
    "epoch",
    "reason",
    "redirected",
    "checks",
    "sampled",
    "source",
}
_MEASURED = {
    entry.name: str(entry.type).split(" |", maxsplit=1)[0]
    for entry in fields(Turn)
    if entry.name not in _OURS | {base.name for base in fields(Fact)}
}
_TYPES = {
    "float": "a finite number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
}


class Recording:
    """A router's side of the record. The log belongs to the caller, unless it is opened here.

    `source` is the name under which it tells what it tells, or None. `texts` is the place of the log beside which texts
    of turns are kept, or None for nowhere.
    """

    def __init__(
        self,
        log: EventLog | Callable[[], EventLog],
        clock: Clock,
        enrolled: Enrolled,
        source: str | None = None,
        texts: str | Path | None = None,
    ) -> None:
        self.source = source
        self.writer = LogWriter(log)
        self.texts = None if texts is None else _text_writer(texts, clock)
        self.exposed = Exposed()
        self._clock, self._enrolled = clock, enrolled

    def exposure(self, assignment: Assignment, attributes: Mapping[str, Any], wait: bool) -> bool:
        """A unit was served its variant: whether this is the first that is heard of it."""
        draw, unit = assignment._draw, assignment.unit
        if draw.variant is None or draw.probability is None:
            return False
        first, durable = self.exposed.begin(draw, unit)
        if first:
            fact = Exposure(
                experiment=draw.experiment.name,
                happened=self._clock.now(),
                digest=draw.experiment.digest,
                unit=unit,
                unit_type=draw.experiment.unit.type,
                variant=draw.variant,
                probability=draw.probability,
                reason=draw.reason,
                epoch=draw.epoch,
                hash_version=HASH_VERSION,
                attributes={**assignment.attributes, **attributes},
                source=self.source,
            )
            try:
                self.writer.submit(fact).add_done_callback(
                    lambda done: self._told(draw, unit, done.exception())
                )
            except BaseException as error:
                self.exposed.settle(draw, unit, error)
                raise
        if wait and durable is not None:
            # Whoever comes second waits for the first one's fact: it is the same promise.
            durable.result()
        return first

    def _told(self, draw: Draw, unit: str, error: BaseException | None) -> None:
        self.exposed.settle(draw, unit, error)
        if error is None:
            self._enrolled.add(draw.experiment.name, unit)

    def impression(
        self,
        draw: Draw,
        unit: str,
        query: str,
        shown: Interleaved,
        attributes: Mapping[str, Any],
        wait: bool,
    ) -> bool:
        """A unit is about to be shown a list; whether the record has it, or with `wait` off, took it."""
        experiment = draw.experiment
        assert experiment.interleaving is not None
        fact = Impression(
            experiment=experiment.name,
            happened=self._clock.now(),
            digest=experiment.digest,
            unit=unit,
            unit_type=experiment.unit.type,
            query=query,
            scheme=experiment.interleaving.scheme,
            items=list(shown.items),
            teams=list(shown.teams),
            short=list(shown.short) or None,
            shares=None if shown.shares is None else {name: list(of) for name, of in shown.shares.items()},
            ranks=None if shown.ranks is None else {name: list(of) for name, of in shown.ranks.items()},
            epoch=draw.epoch,
            hash_version=HASH_VERSION,
            attributes=dict(attributes),
            source=self.source,
        )
        done = self.writer.submit(fact)
        done.add_done_callback(
            lambda told: None if told.exception() else self._enrolled.add(experiment.name, unit)
        )
        try:
            return not wait or done.exception(timeout=_ENDURED) is None
        except TimeoutError:
            # Should it be written yet, it is a list that nobody clicked on.
            return False

    def click(
        self, experiment: str, unit: str, query: str, item: str, name: str, value: float | bool, wait: bool
    ) -> None:
        """Something became of an item of a list."""
        done = self.writer.submit(
            Outcome(
                experiment=experiment,
                happened=self._clock.now(),
                unit=unit,
                name=_outcome_name(name),
                value=_outcome_value(name, value),
                source=self.source,
                query=query,
                item=item,
            )
        )
        if wait:
            done.result()

    def outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None:
        """Something became of a unit."""
        done = self.writer.submit(
            Outcome(
                experiment=assignment._draw.experiment.name,
                happened=self._clock.now(),
                unit=assignment.unit,
                name=_outcome_name(name),
                value=_outcome_value(name, value),
                source=self.source,
            )
        )
        if wait:
            done.result()

    def turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None:
        """A call and its answer, as far as they were measured."""
        if unknown := sorted(set(measured) - _MEASURED.keys()):
            raise UsageError(f"a turn has no {', '.join(unknown)}; accepted: {', '.join(sorted(_MEASURED))}")
        done = self.writer.submit(
            Turn(
                experiment=assignment._draw.experiment.name,
                happened=self._clock.now(),
                unit=assignment.unit,
                digest=assignment._draw.experiment.digest,
                variant=assignment.variant,
                epoch=assignment.epoch,
                reason=assignment.reason,
                redirected=assignment.reason in ("redirected", "removed") or None,
                source=self.source,
                member=assignment._draw.experiment.member_of(assignment.attributes),
                **{name: _measured(name, value) for name, value in measured.items()},
            )
        )
        if wait:
            done.result()


def _text_writer(place: str | Path, clock: Clock) -> TextWriter:
    from equipoise.events.opening import open_texts
    from equipoise.events.text_writer import TextWriter

    # Nobody else may be there to remove what has expired.
    return TextWriter(lambda create: open_texts(place, create=create), expires=True, clock=clock)


def _outcome_name(name: object) -> str:
    if not isinstance(name, str) or not name.isascii() or not name.replace("_", "a").isalnum():
        raise UsageError(f"an outcome is named by letters, digits and '_', and this is {name!r}")
    return name


def _outcome_value(name: object, value: object) -> float | bool:
    if (number := _number(value)) is None:
        raise UsageError(f"an outcome is true, false or a finite number, and {name} is {value!r}")
    return number


def _number(value: object) -> float | bool | None:
    """A truth value or a finite number as plain Python (numpy's float64 becomes one), or None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return int(value)
    return float(value) if isinstance(value, float) and math.isfinite(value) else None


def _measured(name: str, value: object) -> Any:
    """A measured value of a turn as its fact keeps it; None is "not measured"."""
    wanted = _MEASURED[name]
    number = _number(value)
    fits = {
        "float": number is not None and not isinstance(number, bool),
        "int": isinstance(number, int) and not isinstance(number, bool),
        "bool": isinstance(number, bool),
        "str": isinstance(value, str),
    }
    if value is not None and not fits[wanted]:
        raise UsageError(f"{name} of a turn is {_TYPES[wanted]}, and this is {value!r}")
    return value if number is None else number
