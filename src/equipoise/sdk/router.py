"""The router: deterministic assignment in the caller's own process, exposures and outcomes to the log."""

from __future__ import annotations

import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from equipoise.assignment.assigning import Splitter
from equipoise.assignment.hashing import HASH_VERSION, salt
from equipoise.clock import Clock, SystemClock
from equipoise.errors import UsageError
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.events.log import EventLog
from equipoise.events.writer import LogWriter
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import freeze
from equipoise.sdk.assignment import Assignment

__all__ = ["Router"]

_REMEMBERED = 50_000
_MEASURED = {
    entry.name: str(entry.type).split(" |", maxsplit=1)[0]
    for entry in fields(Turn)
    if entry.name not in {"unit", *(base.name for base in fields(Fact))}
}
_TYPES = {
    "float": "a finite number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
}


class Router:
    """Assigns units to the variants of one experiment.

    `experiment` is a definition, or the path of one. `log` keeps exposures and outcomes (see
    `open_log`); without it the router assigns and records nothing. `coverage` is the share of units to
    enrol; None takes the definition's. Raising it later enrols more units and moves none.

    A router is safe to share between threads. Use it as a context manager, or `close` it, so that
    everything handed over is written; the log stays open, it belongs to the caller.
    """

    def __init__(
        self,
        experiment: Experiment | str | Path,
        *,
        log: EventLog | None = None,
        coverage: Fraction | float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(experiment, Experiment):
            from equipoise.experiment.reading import load_experiment

            experiment = load_experiment(experiment)
        if experiment.method != "ab":
            raise UsageError(
                f"this router splits by `method: ab`, and {experiment.identity} is a {experiment.method}"
            )
        self.experiment = experiment
        self._clock = clock or SystemClock()
        self._writer = LogWriter(log) if log is not None else None
        share = experiment.rollout.ab_coverage if coverage is None else _share(coverage)
        self._splitter = Splitter(
            salt(experiment.name, experiment.assignment_version), experiment.allocation, share
        )
        self._configs = {variant.name: freeze(variant.settings) for variant in experiment.variants}
        self._default = self._configs[experiment.control.name]
        self._exposed: OrderedDict[tuple[str, str], Future[None] | None] = OrderedDict()
        self._remembering = threading.Lock()
        self._closed = False

    def assign(self, unit: str) -> Assignment:
        """The variant of a unit. The same unit gets the same answer in every process, at any time.

        Raises UsageError for None, empty or non-string units: they are refused, never bucketed.
        """
        draw = self._splitter.draw(unit)
        return Assignment(
            experiment=self.experiment.identity,
            unit=unit,
            variant=draw.variant,
            reason=draw.reason,
            probability=draw.probability,
            config=self._default if draw.variant is None else self._configs[draw.variant],
            hash_version=HASH_VERSION,
            recorder=self,
        )

    def record_exposure(self, assignment: Assignment, attributes: Mapping[str, str], wait: bool) -> bool:
        """Part of `Assignment.expose`."""
        writer = self._recording()
        variant = assignment.variant
        if variant is None or assignment.probability is None:
            return False
        key = (assignment.unit, variant)
        durable: Future[None] = Future()
        with self._remembering:
            first = key not in self._exposed
            if first:
                self._exposed[key] = durable
            else:
                self._exposed.move_to_end(key)
            if len(self._exposed) > _REMEMBERED:
                # Forgetting is safe: an exposure told twice is counted once by the analysis.
                self._exposed.popitem(last=False)
            told = self._exposed[key]
        if first:
            fact = Exposure(
                experiment=self.experiment.name,
                happened=self._clock.now(),
                digest=self.experiment.digest,
                unit=assignment.unit,
                unit_type=self.experiment.unit.type,
                variant=variant,
                probability=assignment.probability,
                reason=assignment.reason,
                epoch=assignment.epoch,
                hash_version=assignment.hash_version,
                attributes=dict(attributes),
            )
            try:
                writer.submit(fact).add_done_callback(
                    lambda done: self._settle(key, durable, done.exception())
                )
            except BaseException as error:
                self._settle(key, durable, error)
                raise
        if wait and told is not None:
            # Whoever comes second waits for the first one's fact: it is the same promise.
            told.result()
        return first

    def _settle(self, key: tuple[str, str], durable: Future[None], error: BaseException | None) -> None:
        """An exposure is durable, or lost; a lost one is forgotten, so that the next call tells it again."""
        with self._remembering:
            if self._exposed.get(key) is durable:
                if error is None:
                    self._exposed[key] = None
                else:
                    del self._exposed[key]
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(error)

    def record_outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None:
        """Part of `Assignment.track`."""
        if not isinstance(name, str) or not name.isascii() or not name.replace("_", "a").isalnum():
            raise UsageError(f"an outcome is named by letters, digits and '_', and this is {name!r}")
        if (number := _number(value)) is None:
            raise UsageError(f"an outcome is true, false or a finite number, and {name} is {value!r}")
        done = self._recording().submit(
            Outcome(
                experiment=self.experiment.name,
                happened=self._clock.now(),
                unit=assignment.unit,
                name=name,
                value=number,
            )
        )
        if wait:
            done.result()

    def record_turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None:
        """Part of `Assignment.turn`."""
        if unknown := sorted(set(measured) - _MEASURED.keys()):
            raise UsageError(f"a turn has no {', '.join(unknown)}; accepted: {', '.join(sorted(_MEASURED))}")
        done = self._recording().submit(
            Turn(
                experiment=self.experiment.name,
                happened=self._clock.now(),
                unit=assignment.unit,
                **{name: _measured(name, value) for name, value in measured.items()},
            )
        )
        if wait:
            done.result()

    def _recording(self) -> LogWriter:
        if self._writer is None:
            raise UsageError(
                "this router has no log to write to; make it with Router(experiment, log=open_log('equipoise.db'))"
            )
        return self._writer

    @property
    def lost(self) -> int:
        """How many facts could not be written so far."""
        return self._writer.failed if self._writer else 0

    def flush(self) -> None:
        """Return once everything handed over is written or has failed."""
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Write what is left and stop; warns of facts that could not be written, if there were any."""
        if self._writer and not self._closed:
            self._closed = True
            self._writer.close()
            if self._writer.failed:
                warnings.warn(
                    f"{self._writer.failed} facts could not be written and are lost: {self._writer.error}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _share(coverage: object) -> Fraction:
    try:
        return Fraction(str(coverage))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"coverage is a share from 0 to 1, and this is {coverage!r}") from None


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
