"""The chore of the bandits' weights: when an epoch is nearly over, the rewards so far make the shares of the next one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from equipoise.assignment.epochs import LEAD
from equipoise.conduct.act import BY
from equipoise.errors import EquipoiseError, RecordError
from equipoise.events.log import EventLog
from equipoise.events.tail import AnotherLogError, Tail
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.monitor.loop import News
from equipoise.rollout.stages import LEDGER, State, fold
from equipoise.rollout.weights import next_weights, shares_said

__all__ = ["Weigh", "Weights", "in_a_process"]

Weigh = Callable[[str, Callable[[], bool]], Mapping[str, Any] | None]
"""Weighs the experiment of a name and tells what became of it, as plain JSON; None where it was stopped."""
_EVERY_S = 2.0
_HURT_S = 60.0
_POLL_S = 0.2


class Weights:
    """Opens the epochs of every bandit that is in the stage `ab`, each once, however many monitors there are.

    Rewards are counted by `weigh`, which is another process: what counts them is not light. What is kept here is when to
    try again, and nothing else: all that an epoch rests on is in the log.
    """

    name = "weights"

    def __init__(self, log: EventLog, weigh: Weigh, *, every: float = _EVERY_S) -> None:
        self.every = every
        self._weigh = weigh
        self._ledger = Tail(log, LEDGER)
        self._states: dict[str, State] = {}
        self._experiments: dict[str, Experiment] = {}
        self._again: dict[str, float] = {}
        self._stands: dict[str, dict[str, Any]] = {}

    def run(self, now: float, stopping: Callable[[], bool]) -> Iterator[News]:
        """Weigh every bandit whose epoch is nearly over."""
        self._follow()
        for name, state in tuple(self._states.items()):
            if stopping():
                return
            experiment = self._experiment(state)
            if experiment is None or experiment.bandit is None:
                continue
            yield from self._one(name, experiment, state, now, stopping)

    def _one(
        self, name: str, experiment: Experiment, state: State, now: float, stopping: Callable[[], bool]
    ) -> Iterator[News]:
        identity, bandit = experiment.identity, experiment.bandit
        assert bandit is not None
        due = next_weights(experiment, state)
        stand = self._stands.setdefault(identity, {"epochs": 0, "trouble": None})
        stand |= {
            "due": None if isinstance(due, str) else due,
            "because": due if isinstance(due, str) else None,
        }
        again = self._again.get(identity, 0.0)
        # A clock that was put back is no reason to wait until it is where it was.
        waits = now < again <= now + max(bandit.every, _HURT_S)
        if isinstance(due, str) or now < due - LEAD or waits:
            return
        try:
            told = self._weigh(name, stopping)
        except EquipoiseError as error:
            self._again[identity] = now + min(_HURT_S, bandit.every)
            if stand["trouble"] != str(error):
                stand["trouble"] = str(error)
                yield News(says=str(error), experiment=identity, trouble=True)
            return
        if told is None:
            return
        if stand["trouble"] is not None:
            stand["trouble"] = None
            yield News(says="its rewards are counted again", experiment=identity)
        if told["epoch"] is None:
            self._again[identity] = now + bandit.every
            stand["because"] = told["because"]
            return
        stand["epochs"] += 1
        stand["due"] = told["starts"] + bandit.every
        yield News(says=_says(told), experiment=identity, facts=dict(told))

    def _follow(self) -> None:
        """Fold what happened in the ledger since the last time; a log that is another one is read from its beginning."""
        try:
            self._fold()
        except AnotherLogError:
            self._states = {}
            self._fold()

    def _fold(self) -> None:
        for record in self._ledger.new():
            name = record.fact.experiment
            self._states[name] = fold([record.fact], self._states.get(name))

    def _experiment(self, state: State) -> Experiment | None:
        """The definition of a state, read once; None for one that this version cannot read."""
        if state.registration is None:
            return None
        digest = state.registration.digest
        if digest not in self._experiments:
            try:
                self._experiments[digest] = read_canonical(state.registration.definition)
            except EquipoiseError:
                return None
        return self._experiments[digest]

    def state(self) -> Mapping[str, Any]:
        """Of each bandit when its next epoch is due, or why none is; how many were opened from here; what is the matter."""
        return {"bandits": {identity: dict(stand) for identity, stand in tuple(self._stands.items())}}

    def close(self) -> None:
        """Nothing was opened."""


def _says(told: Mapping[str, Any]) -> str:
    arms = told["evidence"]["arms"]
    matured = sum(each["matured"] for each in arms.values())
    said = f"epoch {told['epoch']} of {matured:,} rewards: {shares_said(told['shares'])}"
    gone = [f"{arm} (best with a probability of {arms[arm]['best']:.2g})" for arm in told["dropped"]]
    return said + (f"; dropped: {', '.join(gone)}" if gone else "")


def in_a_process(place: str) -> Weigh:
    """What weighs an experiment of the log at `place` in a process of its own, which ends when the chore is to stop."""

    def weigh(name: str, stopping: Callable[[], bool]) -> Mapping[str, Any] | None:
        command = [sys.executable, "-m", "equipoise", "rollout", name, "weigh", "--if-due", "--by", BY]
        with subprocess.Popen(  # noqa: S603 - our own command line
            [*command, "--log", place, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:  # fmt: skip
            while True:
                try:
                    said, complained = process.communicate(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if stopping():
                        # What it was about to write is written whole or not at all.
                        process.kill()
                        return None
        if process.returncode:
            raise RecordError(_complaint(complained))
        told: Mapping[str, Any] = orjson.loads(said)
        return told

    return weigh


def _complaint(said: bytes) -> str:
    """What went wrong, in the words of the process that met it."""
    try:
        return str(orjson.loads(said)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "rewards could not be counted, and nobody said why"
