"""The router: deterministic assignment in the caller's own process, exposures and outcomes to the log."""

from __future__ import annotations

import math
import threading
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
_MEASURED = {entry.name for entry in fields(Turn)} - {entry.name for entry in fields(Fact)} - {"unit"}


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
        share = experiment.rollout.ab_coverage if coverage is None else Fraction(str(coverage))
        self._splitter = Splitter(
            salt(experiment.name, experiment.assignment_version), experiment.allocation, share
        )
        self._configs = {variant.name: freeze(variant.settings) for variant in experiment.variants}
        self._default = self._configs[experiment.control.name]
        self._exposed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._remembering = threading.Lock()

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
        with self._remembering:
            if key in self._exposed:
                self._exposed.move_to_end(key)
                return False
            self._exposed[key] = None
            if len(self._exposed) > _REMEMBERED:
                # Forgetting is safe: an exposure told twice is counted once by the analysis.
                self._exposed.popitem(last=False)
        done = writer.submit(
            Exposure(
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
        )
        done.add_done_callback(lambda future: self._forget_if_lost(key, future))
        if wait:
            done.result()
        return True

    def _forget_if_lost(self, key: tuple[str, str], future: Future[None]) -> None:
        if future.exception() is not None:
            with self._remembering:
                self._exposed.pop(key, None)

    def record_outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None:
        """Part of `Assignment.track`."""
        if not name or not name.replace("_", "a").isalnum():
            raise UsageError(f"an outcome is named by letters, digits and '_', and this is {name!r}")
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            raise UsageError(f"an outcome is true, false or a finite number, and {name} is {value!r}")
        done = self._recording().submit(
            Outcome(
                experiment=self.experiment.name,
                happened=self._clock.now(),
                unit=assignment.unit,
                name=name,
                value=value,
            )
        )
        if wait:
            done.result()

    def record_turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None:
        """Part of `Assignment.turn`."""
        try:
            turn = Turn(
                experiment=self.experiment.name, happened=self._clock.now(), unit=assignment.unit, **measured
            )
        except TypeError:
            accepted = sorted(_MEASURED)
            unknown = sorted(set(measured) - set(accepted))
            raise UsageError(f"a turn has no {', '.join(unknown)}; accepted: {', '.join(accepted)}") from None
        done = self._recording().submit(turn)
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
        """Write what is left and stop."""
        if self._writer:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
