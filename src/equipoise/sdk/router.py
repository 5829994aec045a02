"""The router: deterministic assignment in the caller's own process, exposures and outcomes to the log."""

from __future__ import annotations

# ruff: noqa: SLF001 - a router makes its assignments, on a path where each call counts.
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from equipoise.assignment.assigning import Assigner, Draw
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import LEASE, Epoch, History
from equipoise.assignment.hashing import salt, unit_bytes
from equipoise.assignment.switchback import slot_now
from equipoise.assignment.tokens import Signer
from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError, UsageError
from equipoise.events.ids import new_id
from equipoise.events.sources import checked_source
from equipoise.sdk.assignment import Assignment

if TYPE_CHECKING:
    from equipoise.assignment.configuration import Configuration
    from equipoise.assignment.following import Following
    from equipoise.assignment.pins import PinStore
    from equipoise.events.log import EventLog
    from equipoise.experiment.definition import Experiment
    from equipoise.sdk.interleaving import ShownList
    from equipoise.sdk.recording import Recording

__all__ = ["Router"]

_NONE: Mapping[str, Any] = MappingProxyType({})
_PARTING = 5.0
"""Seconds that a router which is closed waits for the texts that are left."""


class Router:
    """Assigns units to the variants of one experiment.

    `experiment` is a definition, or the path of one. `log` keeps exposures and outcomes (see
    `open_log`); without it the router assigns and records nothing. `coverage` is the share of units to
    enrol; None takes the definition's. Raising it later enrols more units and moves none. `forced` maps
    units of testers to variants: they are served and never counted. `secret` signs tokens (see
    `Assignment.token`), and those signed with `former_secrets` are still read; `pins` keeps the epochs of units for
    definitions with `pins: required`. `source` is the name of the application, kept with what the router records: a
    read-out tells the clocks of sources apart. `texts` is the place of the log (a path, or `postgresql://…`) beside
    which a wrapped client keeps what was asked and answered, where the definition's `capture` says so; None keeps none.

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
        source: str | None = None,
        texts: str | Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(experiment, str | Path):
            from equipoise.experiment.reading import load_experiment

            experiment = load_experiment(experiment)
        if experiment.method == "bandit":
            raise UsageError(
                f"{experiment.identity} is a bandit, whose shares change, and this router knows those that are declared; "
                "`Router.follow` serves by its log"
            )
        self._clock = clock or SystemClock()
        share = experiment.rollout.ab_coverage if coverage is None else _share(coverage)
        history = History([Epoch(0, 0.0, experiment.allocation, share)], clock=self._clock)
        self._signer = _signer(secret, former_secrets)
        self._enrolled = Enrolled()
        self._start(
            Assigner(experiment, history, forced=forced or {}, enrolled=self._enrolled),
            log,
            pins,
            checked_source(source),
            texts,
        )

    def _start(
        self,
        assigner: Assigner,
        log: EventLog | Callable[[], EventLog] | None,
        pins: PinStore | None,
        source: str | None,
        texts: str | Path | None,
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
        self._record: Recording | None = None
        if log is not None:
            # Who only assigns does not wait for what records to be loaded.
            from equipoise.sdk.recording import Recording

            self._record = Recording(log, self._clock, self._enrolled, source, texts)
        self._following: Following | None = None
        self._direct = self._pins is None and experiment.method != "interleaving"
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
        source: str | None = None,
        texts: str | Path | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """A router for the experiment registered under a name, as it stands at any moment.

        Stages, ramps, pauses and rollbacks are heard of within half a second. While the log is away for longer
        than its lease, exposed units keep their variant and nobody new enters (reason `stale`); nothing is
        raised. `last_good` is a file that keeps the configuration, so that a restart without the log is
        possible. `log` may be a function that opens it; all else is as for a router. Raises RecordError where no such
        experiment is registered and no last good configuration holds it.
        """
        from equipoise.assignment.following import Following
        from equipoise.experiment.reading import read_canonical

        router = cls.__new__(cls)
        # Before anything is opened: a secret or a name that is refused leaves nothing behind.
        router._signer, source = _signer(secret, former_secrets), checked_source(source)
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
        router._start(assigner, log, pins, source, texts)
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

    def assign_now(self, attributes: Mapping[str, Any] = _NONE) -> Assignment:
        """The variant of the time slot that it is now, where slots are randomised (`unit: {type: slot}`).

        A request keeps the assignment it began with, also where its slot ends meanwhile. Raises UsageError where another
        unit is randomised, or where the experiment has slots `by:` an attribute that is not among `attributes`.

        >>> from equipoise.clock import ManualClock
        >>> from equipoise.experiment.reading import read_canonical
        >>> demo = {
        ...     "name": "demo", "hypothesis": "A cache that all share makes it cheaper.", "method": "switchback",
        ...     "unit": {"type": "slot", "every": "30m"}, "changes": ["retrieval"],
        ...     "variants": {"control": {"retrieval": {"cache": "own"}}, "treatment": {"retrieval": {"cache": "shared"}}},
        ...     "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}},
        ... }
        >>> assigned = Router(read_canonical(demo), clock=ManualClock(1_767_225_900)).assign_now()
        >>> assigned.unit, assigned.variant, assigned.probability
        ('1767225600', 'control', 0.5)
        """
        experiment = self._current().experiment
        if experiment.unit.type != "slot":
            raise UsageError(
                f"{experiment.identity} randomises a {experiment.unit.type} and no time slot; name it: `assign(unit)`"
            )
        unit = slot_now(experiment, attributes, self._clock.now())
        if unit is None:
            by = experiment.switchback.by if experiment.switchback else None
            raise UsageError(
                f"slots of {experiment.identity} are by '{by}', and these attributes do not name one; "
                f"pass its value, or serve the request unenrolled"
            )
        return self.assign(unit, attributes)

    def _drawn(self, unit: str, attributes: Mapping[str, Any], token: str | None) -> Draw:
        assigner = self._current()
        if assigner.experiment.method == "interleaving":
            raise UsageError(
                f"{assigner.experiment.identity} interleaves: a unit has no arm in it; "
                "call `router.interleave` with every ranker's list"
            )
        entered = self._entered(unit, token, assigner)
        draw = assigner.draw(unit, attributes, entered=entered)
        if self._pins is not None and draw.counts and entered is None:
            try:
                kept = self._pins.pin(_salt(assigner.experiment), unit, draw.epoch)
            except RecordError:
                exposed = self._record is not None and self._record.exposed.knows(draw, unit)
                return draw if exposed else assigner.outside("unrecorded")
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
            split = self._assigner.experiment.method != "interleaving"
            open_ = split and self._assigner.closed is None and self._pins is None
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

    def interleave(
        self,
        unit: str,
        rankings: Mapping[str, Sequence[str]],
        *,
        query: str | None = None,
        attributes: Mapping[str, Any] = _NONE,
        wait: bool = True,
    ) -> ShownList:
        """One list out of every ranker's (best first, by the variant's name), for one query of a unit.

        The same rankings for the same unit and `query` give the same list in every process; without a `query` one is
        made. That the list was shown is durable before it is returned, unless `wait` is False. A unit that is not
        enrolled, and any while the record is away, gets control's own list, which counts for nobody.

        Raises UsageError for an experiment that does not interleave, for units and items that cannot be named, and where
        there is not one ranking for each variant.
        """
        assigner = self._current()
        experiment = assigner.experiment
        if experiment.method != "interleaving":
            raise UsageError(
                f"{experiment.identity} does not interleave (`method: {experiment.method}`): each unit is shown one "
                "variant; call `router.assign`"
            )
        from equipoise.sdk.interleaving import ShownList, default_list, drawn_list, named_query

        query = new_id() if query is None else named_query(query)
        draw = assigner.draw(unit, attributes)
        shown = drawn_list(experiment, draw, unit, query, rankings)
        reason, counted = draw.reason, draw.counts and bool(shown.items)
        if counted and not self._recording().impression(draw, unit, query, shown, attributes, wait):
            # Nothing is shown of which the record does not know.
            shown, reason, counted = default_list(experiment, "control", rankings), "unrecorded", False
        return ShownList(
            unit=unit,
            query=query,
            items=shown.items,
            teams=shown.teams,
            reason=reason,
            counted=counted,
            _click=self._click,
        )

    def click(
        self,
        unit: str,
        query: str,
        item: str,
        outcome: str = "click",
        value: float | bool = True,
        *,
        wait: bool = False,
    ) -> None:
        """Say what became of an item of a list that was shown, in whatever process: see `ShownList.click`.

        Whether the item was in that list is not known here; one that was not counts for nobody.
        """
        from equipoise.sdk.interleaving import named_query

        unit_bytes(unit)
        self._click(unit, named_query(query), item, outcome, value, wait)

    def _click(self, unit: str, query: str, item: str, outcome: str, value: float | bool, wait: bool) -> None:
        self._recording().click(self._assigner.experiment.name, unit, query, item, outcome, value, wait)

    def token_of(self, assignment: Assignment) -> str | None:
        """Part of `Assignment.token`."""
        if self._signer is None or not assignment.enrolled:
            return None
        return self._signer.sign(
            "assignment", [_salt(assignment._draw.experiment), assignment.unit, assignment.epoch]
        )

    def record_exposure(self, assignment: Assignment, attributes: Mapping[str, Any], wait: bool) -> bool:
        """Part of `Assignment.expose`."""
        return self._recording().exposure(assignment, attributes, wait)

    def record_outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None:
        """Part of `Assignment.track`."""
        self._recording().outcome(assignment, name, value, wait)

    def record_turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None:
        """Part of `Assignment.turn`."""
        self._recording().turn(assignment, measured, wait)

    def _recording(self) -> Recording:
        if self._record is None:
            raise UsageError(
                "this router has no log to write to; make it with Router(experiment, log=open_log('equipoise.db'))"
            )
        return self._record

    @property
    def lost(self) -> int:
        """How many facts could not be written so far."""
        return self._record.writer.failed if self._record is not None else 0

    def flush(self) -> None:
        """Return once everything handed over is written or has failed."""
        if self._record is not None:
            self._record.writer.flush()

    def close(self) -> None:
        """Write what is left and stop; warns of facts and texts that could not be written, if there were any."""
        if self._following is not None:
            self._following.close()
        if self._record is not None and not self._closed:
            self._closed = True
            writer, texts = self._record.writer, self._record.texts
            writer.close()
            if texts is not None:
                # A store that hangs must not keep the process from ending.
                texts.close(_PARTING)
                if gone := texts.lost + texts.waiting:
                    why = texts.trouble or "too many waited to be written"
                    warnings.warn(
                        f"{gone} text{' was' if gone == 1 else 's were'} not kept: {why}",
                        RuntimeWarning,
                        stacklevel=2,
                    )
            if writer.failed:
                warnings.warn(
                    f"{writer.failed} facts could not be written and are lost: {writer.error}",
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
