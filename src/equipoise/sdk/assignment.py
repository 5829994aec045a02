"""What a router answers: a unit's variant and why, and the things to say about it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from equipoise.assignment.assigning import Draw, Reason
from equipoise.assignment.hashing import HASH_VERSION

__all__ = ["Assignment"]


class Recorder(Protocol):
    """What an assignment needs of its router."""

    def record_exposure(self, assignment: Assignment, attributes: Mapping[str, Any], wait: bool) -> bool: ...

    def record_outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None: ...

    def record_turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None: ...

    def token_of(self, assignment: Assignment) -> str | None: ...


class Assignment:
    """The variant a unit gets, and why. Being assigned is not being exposed: call `expose` on serving.

    An immutable value: two are equal where unit and draw are. It is made for every request, so it holds
    references and no more.
    """

    __slots__ = ("_attributes", "_draw", "_recorder", "_unit")
    _unit: str
    _draw: Draw
    _recorder: Recorder
    _attributes: Mapping[str, Any]

    @property
    def experiment(self) -> str:
        """`name@digest`."""
        return self._draw.experiment.identity

    @property
    def unit(self) -> str:
        return self._unit

    @property
    def variant(self) -> str | None:
        """The arm the unit belongs to; None for one that is not enrolled, of which nothing is counted."""
        return self._draw.variant

    @property
    def reason(self) -> Reason:
        """Why: `split` for an enrolled unit, else what kept it out (see docs/assignment.md)."""
        return self._draw.reason

    @property
    def probability(self) -> float | None:
        """The share of the enrolled units that get this variant, as it was when the unit entered."""
        return self._draw.probability

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings to serve: the variant's, or control's for a unit that is not enrolled or is redirected."""
        return self._draw.config

    @property
    def epoch(self) -> int:
        """The epoch of the allocation log in which the unit entered."""
        return self._draw.epoch

    @property
    def hash_version(self) -> int:
        return HASH_VERSION

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What was said of the unit when it was assigned."""
        return self._attributes

    @property
    def enrolled(self) -> bool:
        """Whether serving the unit is counted; a tester's forced variant is not."""
        return self._draw.counts

    @property
    def token(self) -> str | None:
        """A signed token that keeps the unit in its epoch; None without a secret. Give it to `assign` again."""
        return self._recorder.token_of(self)

    def expose(self, attributes: Mapping[str, Any] | None = None, *, wait: bool = False) -> bool:
        """Say that the unit was served its variant.

        Returns whether this was its first exposure here; repeating it is harmless. With `wait`, returns
        only once it is durable. Unenrolled units are not exposed to anything: False, nothing recorded.
        `attributes` are what was known of the unit before treatment (segments, the cluster); those given to
        `assign` need not be repeated.
        """
        return self._draw.counts and self._recorder.record_exposure(self, attributes or {}, wait)

    def track(self, outcome: str, value: float | bool = True, *, wait: bool = False) -> None:
        """Say what became of the unit: `track("resolved")`, `track("csat", 4)`. Late is fine."""
        if self._draw.variant is not None and self._draw.reason != "forced":
            self._recorder.record_outcome(self, outcome, value, wait)

    def turn(self, *, wait: bool = False, **measured: Any) -> None:
        """Say what one call was like: `turn(latency_s=1.2, cost_usd=0.0031, safe=True, error=False)`.

        The names are those of `equipoise.Turn`; what was not measured is left out, never given as zero.
        """
        if self._draw.variant is not None and self._draw.reason != "forced":
            self._recorder.record_turn(self, measured, wait)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Assignment):
            return NotImplemented
        return self._said() == other._said()

    def __hash__(self) -> int:
        return hash((self._unit, self.experiment, self.variant, self.reason, self.epoch))

    def _said(self) -> tuple[object, ...]:
        return (
            self._unit,
            self.experiment,
            self.variant,
            self.reason,
            self.epoch,
            self.probability,
            self.config,
        )

    def __repr__(self) -> str:
        return (
            f"Assignment(experiment={self.experiment!r}, unit={self._unit!r}, variant={self.variant!r}, "
            f"reason={self.reason!r}, probability={self.probability!r}, epoch={self.epoch!r})"
        )
