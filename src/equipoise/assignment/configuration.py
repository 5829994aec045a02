"""What runs now: every registered experiment with its stage, its epochs and how it is served.

The configuration is folded from the ledger. It is also what is kept on disk as the last good one, so that a
gateway can start, and go on serving exposed units, while the log is away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from equipoise.assignment.assigning import Assigner, Reason
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import Epoch, History
from equipoise.clock import Clock
from equipoise.errors import EquipoiseError, RecordError
from equipoise.events.facts import Fact
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import thaw
from equipoise.files import write_whole
from equipoise.rollout.stages import ENROLLING, State, fold

__all__ = ["Configuration", "Read", "Running", "load_configuration", "save_configuration"]

Read = Callable[[Mapping[str, Any]], Experiment]
"""What makes an experiment of a canonical definition (`experiment.reading.read_canonical`)."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Running:
    """One registered experiment as it is served; `definition` is its canonical form."""

    experiment: Experiment
    definition: Mapping[str, Any]
    stage: str
    service: str = "open"
    service_since: float = 0.0
    epochs: tuple[Epoch, ...] = ()
    shipped: str | None = None

    @property
    def enrols(self) -> bool:
        """Whether units may enter it now."""
        return self.stage in ENROLLING and self.service == "open"

    def assigner(
        self, clock: Clock, forced: Mapping[str, str] | None = None, enrolled: Enrolled | None = None
    ) -> Assigner:
        """The draws of the experiment as it stands."""
        closed: Reason | None = None
        if not self.enrols:
            closed = "paused" if self.stage in (*ENROLLING, "rolled back") else "not_live"
        redirected = self.service == "redirected"
        return Assigner(
            self.experiment,
            History(self.epochs, clock=clock),
            redirected=redirected,
            # Who is redirected needs no door, nothing is counted; but in shadow nobody belongs to an arm.
            closed=None if redirected and self.stage != "shadow" else closed,
            closed_since=self.service_since,
            forced=forced or {},
            shipped=self.shipped if self.stage == "shipped" and not redirected else None,
            enrolled=enrolled,
        )


@dataclass(frozen=True, slots=True)
class Configuration:
    """Experiments by name, and the time at which this was so (seconds since 1970 UTC; 0: never)."""

    experiments: Mapping[str, Running] = field(default_factory=lambda: MappingProxyType({}))
    as_of: float = 0.0


class Folding:
    """Keeps the state of every experiment while facts of the ledger come in, and reads definitions once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._states: dict[str, State] = {}
        self._experiments: dict[str, Experiment | None] = {}

    def take(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self._states[fact.experiment] = fold([fact], self._states.get(fact.experiment))

    def configuration(self, as_of: float) -> Configuration:
        """What runs now. A definition that cannot be read (of a later version) is left out, not guessed at."""
        found = {
            name: running
            for name, state in sorted(self._states.items())
            if (running := self._running(state)) is not None
        }
        return Configuration(MappingProxyType(found), as_of)

    def _running(self, state: State) -> Running | None:
        if state.registration is None or state.stage is None:
            return None
        digest = state.registration.digest
        if digest not in self._experiments:
            try:
                self._experiments[digest] = self._read(state.registration.definition)
            except EquipoiseError:
                self._experiments[digest] = None
        experiment = self._experiments[digest]
        return None if experiment is None else running_of(state, experiment)


def running_of(state: State, experiment: Experiment) -> Running:
    """The experiment of a state as it is served."""
    registration = state.registration
    epochs = tuple(
        Epoch(
            each.epoch,
            each.starts,
            MappingProxyType({name: Fraction(share) for name, share in each.shares.items()}),
            Fraction(each.coverage),
        )
        for each in state.allocations
    )
    if not epochs:
        # Registered before there were epochs: one, from the beginning.
        epochs = (Epoch(0, 0.0, experiment.allocation, experiment.rollout.ab_coverage),)
    return Running(
        experiment,
        registration.definition if registration else {},
        state.stage or "offline",
        state.service,
        state.service_since,
        epochs,
        state.shipped,
    )


def save_configuration(configuration: Configuration, path: Path) -> None:
    """Keep it as the last good one, whole or not at all."""
    body = orjson.dumps(
        {
            "format": _FORMAT,
            "as_of": configuration.as_of,
            "experiments": [
                {
                    "definition": thaw(each.definition),
                    "stage": each.stage,
                    "service": each.service,
                    "service_since": each.service_since,
                    "shipped": each.shipped,
                    "epochs": [
                        {
                            "number": epoch.number,
                            "starts": epoch.starts,
                            "shares": {name: str(share) for name, share in epoch.shares.items()},
                            "coverage": str(epoch.coverage),
                        }
                        for epoch in each.epochs
                    ],
                }
                for each in configuration.experiments.values()
            ],
        },
        option=orjson.OPT_INDENT_2,
    )
    write_whole(path, f"{hashlib.sha256(body).hexdigest()}\n{body.decode()}")


def load_configuration(path: Path, read: Read) -> Configuration | None:
    """The last good configuration, or None where there is none yet. RecordError for one that is damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"the last good configuration {path} cannot be read: {error.strerror}") from None
    checksum, _, body = raw.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise RecordError(f"the last good configuration {path} is damaged; remove it to start without")
    kept = orjson.loads(body)
    if kept["format"] > _FORMAT:
        raise RecordError(f"{path} was written by a later version. Upgrade equipoise, or remove it")
    found = {}
    for each in kept["experiments"]:
        experiment = read(each["definition"])
        found[experiment.name] = Running(
            experiment,
            each["definition"],
            each["stage"],
            each["service"],
            each["service_since"],
            tuple(
                Epoch(
                    epoch["number"],
                    epoch["starts"],
                    MappingProxyType({name: Fraction(share) for name, share in epoch["shares"].items()}),
                    Fraction(epoch["coverage"]),
                )
                for epoch in each["epochs"]
            ),
            each["shipped"],
        )
    return Configuration(MappingProxyType(found), kept["as_of"])
