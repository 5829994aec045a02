"""The router: deterministic assignment in the caller's own process, exposures and outcomes to the log."""

from __future__ import annotations

# ruff: noqa: SLF001 - a router makes its assignments, on a path where each call counts.
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from equipoise.assignment.assigning import Assigner, Draw
from equipoise.assignment.configuration import Configuration
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import LEASE, Epoch, History
from equipoise.assignment.exposing import Exposed
from equipoise.assignment.following import Following
from equipoise.assignment.hashing import HASH_VERSION, salt
from equipoise.assignment.pins import PinStore
from equipoise.assignment.tokens import Signer
from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.events.log import EventLog
from equipoise.events.writer import LogWriter
from equipoise.experiment.definition import Experiment
from equipoise.sdk.assignment import Assignment

__all__ = ["Router"]

_NONE: Mapping[str, Any] = MappingProxyType({})
_OURS = {"unit", "digest", "variant", "epoch", "reason", "redirected", "checks"}
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


class Router:
    """Assigns units to the variants of one experiment.

    `experiment` is a definition, or the path of one. `log` keeps exposures and outcomes (see
    `open_log`); without it the router assigns and records nothing. `coverage` is the share of units to
    enrol; None takes the definition's. Raising it later enrols more units and moves none. `forced` maps
    units of testers to variants: they are served and never counted. `secret` signs tokens (see
    `Assignment.token`), and those signed with `former_secrets` are still read; `pins` keeps the epochs of units for
    definitions with `pins: required`.

    `Router.follow` serves what is registered in a log instead, and hears of every ramp, pause and rollback.

    A router is safe to share between threads. Use it as a context manager, or `close` it, so that
    everything handed over is written; the log stays open, it belongs to the caller.
    """

    def __init__(
        self,
        experiment: Experiment | str | Path,
        *,
        log: EventLog | None = None,
        coverage: Fraction | float | None = None,
        forced: Mapping[str, str] | None = None,
        secret: str | None = None,
        former_secrets: Sequence[str] = (),
        pins: PinStore | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(experiment, Experiment):
            from equipoise.experiment.reading import load_experiment

            experiment = load_experiment(experiment)
        if experiment.method != "ab":
            raise UsageError(
                f"this router splits by `method: ab`, and {experiment.identity} is a {experiment.method}"
            )
        self._clock = clock or SystemClock()
        share = experiment.rollout.ab_coverage if coverage is None else _share(coverage)
        history = History([Epoch(0, 0.0, experiment.allocation, share)], clock=self._clock)
        self._signer = _signer(secret, former_secrets)
        self._enrolled = Enrolled()
        self._start(Assigner(experiment, history, forced=forced or {}, enrolled=self._enrolled), log, pins)

    def _start(
        self,
        assigner: Assigner,
        log: EventLog | Callable[[], EventLog] | None,
        pins: PinStore | None,
    ) -> None:
        experiment = assigner.experiment
        if experiment.pins == "required" and pins is None:
            raise UsageError(
                f"{experiment.identity} says `pins: required`; give the router a store, such as "
                "pins=open_pins('pins.db')"
            )
        if experiment.unit.id == "token" and self._signer is None:
            raise UsageError(
                f"{experiment.identity} says `unit: {{id: token}}`; give the router the secret to sign tokens with"
            )
        self._assigner = assigner
        self._pins = pins if experiment.pins == "required" else None
        self._writer = None if log is None else LogWriter(log)
        self._exposed = Exposed()
        self._following: Following | None = None
        self._direct = self._pins is None
        self._closed = False

    @classmethod
    def follow(
        cls,
        name: str,
        log: EventLog | Callable[[], EventLog],
        *,
        last_good: str | Path | None = None,
        forced: Mapping[str, str] | None = None,
        secret: str | None = None,
        former_secrets: Sequence[str] = (),
        pins: PinStore | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """A router for the experiment registered under a name, as it stands at any moment.

        Stages, ramps, pauses and rollbacks are heard of within half a second. While the log is away for longer
        than its lease, exposed units keep their variant and nobody new enters (reason `stale`); nothing is
        raised. `last_good` is a file that keeps the configuration, so that a restart without the log is
        possible. `log` may be a function that opens it. Raises RecordError where no such experiment is
        registered and no last good configuration holds it.
        """
        from equipoise.experiment.reading import read_canonical

        router = cls.__new__(cls)
        # Before anything is opened: a secret that is refused leaves nothing behind.
        router._signer = _signer(secret, former_secrets)
        router._clock = clock or SystemClock()
        router._enrolled = Enrolled()
        following = Following(
            log,
            read_canonical,
            last_good=None if last_good is None else Path(last_good),
            clock=router._clock,
            enrolled=router._enrolled,
        )
        running = following.configuration.experiments.get(name)
        if running is None:
            following.close()
            known = ", ".join(following.configuration.experiments) or "none"
            raise RecordError(
                f"no experiment called '{name}' is known; the log holds: {known}"
                + (f". The log said: {following.trouble}" if following.trouble else "")
            )
        assigner = running.assigner(router._clock, forced, router._enrolled)
        router._start(assigner, log, pins)
        router._following, router._forced, router._served = following, forced, following.configuration
        router._direct = False
        return router

    _following: Following | None
    _forced: Mapping[str, str] | None
    _served: Configuration
    _fresh_until: float = 0.0

    @property
    def experiment(self) -> Experiment:
        """The experiment, in the revision that is served now."""
        return self._assigner.experiment

    def assign(
        self, unit: str, attributes: Mapping[str, Any] = _NONE, *, token: str | None = None
    ) -> Assignment:
        """The variant of a unit. The same unit gets the same answer in every process, at any time.

        `attributes` are what is known of the unit (targeting asks for them; segments and the cluster are
        kept with its exposure). `token` is what an earlier `Assignment.token` was.

        Raises UsageError for None, empty or non-string units: they are refused, never bucketed.
        """
        assignment = _new(Assignment)
        if token is None and (
            self._direct
            or (
                (following := self._following) is not None
                and following.configuration is self._served
                and self._clock.now() < self._fresh_until
            )
        ):
            assignment._draw = self._assigner.draw(unit, attributes)
        else:
            assignment._draw = self._drawn(unit, attributes, token)
        assignment._unit = unit
        assignment._attributes = attributes
        assignment._recorder = self
        return assignment

    def _drawn(self, unit: str, attributes: Mapping[str, Any], token: str | None) -> Draw:
        assigner = self._current()
        entered = self._entered(unit, token, assigner)
        draw = assigner.draw(unit, attributes, entered=entered)
        if self._pins is not None and draw.counts and entered is None:
            try:
                kept = self._pins.pin(_salt(assigner.experiment), unit, draw.epoch)
            except RecordError:
                return draw if self._exposed.knows(draw, unit) else assigner.outside("unrecorded")
            return draw if kept == draw.epoch else assigner.draw(unit, attributes, entered=kept)
        return draw

    def _current(self) -> Assigner:
        """The assigner of this moment: made anew when the configuration is, closed when that is stale."""
        following = self._following
        if following is None:
            return self._assigner
        served = following.configuration
        if served is not self._served:
            running = served.experiments.get(self._assigner.experiment.name)
            # Nothing but its age has changed most of the time.
            if running is not None and running is not self._served.experiments.get(running.experiment.name):
                # A revision without the variant that testers were forced to serves them like anybody else.
                names = {variant.name for variant in running.experiment.variants}
                forced = {unit: name for unit, name in (self._forced or {}).items() if name in names}
                self._assigner = running.assigner(self._clock, forced, self._enrolled)
            self._served = served
            # As long as this is what runs and everybody may enter, a draw is all that is asked for.
            open_ = self._assigner.closed is None and self._pins is None
            self._fresh_until = served.as_of + LEASE if open_ else 0.0
        return self._assigner.closing("stale", served.as_of + LEASE) if following.stale else self._assigner

    def _entered(self, unit: str, token: str | None, assigner: Assigner) -> int | None:
        if token is not None and self._signer is not None:
            said = self._signer.read("assignment", token)
            if said is not None and said[:2] == [_salt(assigner.experiment), unit]:
                return int(said[2])
        if self._pins is not None:
            try:
                return self._pins.find(_salt(assigner.experiment), unit)
            except RecordError:
                return None
        return None

    def token_of(self, assignment: Assignment) -> str | None:
        """Part of `Assignment.token`."""
        if self._signer is None or not assignment.enrolled:
            return None
        return self._signer.sign(
            "assignment", [_salt(assignment._draw.experiment), assignment.unit, assignment.epoch]
        )

    def record_exposure(self, assignment: Assignment, attributes: Mapping[str, Any], wait: bool) -> bool:
        """Part of `Assignment.expose`."""
        writer = self._recording()
        draw, unit = assignment._draw, assignment.unit
        if draw.variant is None or draw.probability is None:
            return False
        first, durable = self._exposed.begin(draw, unit)
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
            )
            try:
                writer.submit(fact).add_done_callback(lambda done: self._told(draw, unit, done.exception()))
            except BaseException as error:
                self._exposed.settle(draw, unit, error)
                raise
        if wait and durable is not None:
            # Whoever comes second waits for the first one's fact: it is the same promise.
            durable.result()
        return first

    def _told(self, draw: Draw, unit: str, error: BaseException | None) -> None:
        self._exposed.settle(draw, unit, error)
        if error is None:
            self._enrolled.add(draw.experiment.name, unit)

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
                digest=assignment._draw.experiment.digest,
                variant=assignment.variant,
                epoch=assignment.epoch,
                reason=assignment.reason,
                redirected=assignment.reason in ("redirected", "removed") or None,
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
        if self._following is not None:
            self._following.close()
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


_new = Assignment.__new__


def _salt(experiment: Experiment) -> str:
    return salt(experiment.name, experiment.assignment_version)


def _signer(secret: str | None, former: Sequence[str]) -> Signer | None:
    if secret is None and former:
        raise UsageError("former secrets only read tokens; give the secret that signs them now, too")
    return None if secret is None else Signer(secret, *former)


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
