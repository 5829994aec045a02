"""What a router answers: a unit's variant and why, and the two things to say about it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Assignment"]


class Recorder(Protocol):
    """What an assignment needs of its router."""

    def record_exposure(self, assignment: Assignment, attributes: Mapping[str, str], wait: bool) -> bool: ...

    def record_outcome(self, assignment: Assignment, name: str, value: float | bool, wait: bool) -> None: ...

    def record_turn(self, assignment: Assignment, measured: Mapping[str, Any], wait: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The variant a unit gets, and why. Being assigned is not being exposed: call `expose` on serving.

    `variant` is None for a unit that is not enrolled; `config` then holds the default (control's
    settings), and nothing about the unit is counted. `probability` is the share of the enrolled units
    that get this variant.
    """

    experiment: str
    unit: str
    variant: str | None
    reason: Literal["split", "not_covered"]
    probability: float | None
    config: Mapping[str, Any]
    epoch: int = 0
    hash_version: int = 1
    recorder: Recorder = field(repr=False, compare=False)

    @property
    def enrolled(self) -> bool:
        """Whether the unit is part of the experiment."""
        return self.variant is not None

    def expose(self, attributes: Mapping[str, str] | None = None, *, wait: bool = False) -> bool:
        """Say that the unit was served its variant.

        Returns whether this was its first exposure here; repeating it is harmless. With `wait`, returns
        only once it is durable. Unenrolled units are not exposed to anything: False, nothing recorded.
        `attributes` are what was known of the unit before treatment (segments, the cluster).
        """
        return self.enrolled and self.recorder.record_exposure(self, attributes or {}, wait)

    def track(self, outcome: str, value: float | bool = True, *, wait: bool = False) -> None:
        """Say what became of the unit: `track("resolved")`, `track("csat", 4)`. Late is fine."""
        if self.enrolled:
            self.recorder.record_outcome(self, outcome, value, wait)

    def turn(self, *, wait: bool = False, **measured: Any) -> None:
        """Say what one call was like: `turn(latency_s=1.2, cost_usd=0.0031, safe=True, error=False)`.

        The names are those of `equipoise.Turn`; what was not measured is left out, never given as zero.
        """
        if self.enrolled:
            self.recorder.record_turn(self, measured, wait)
