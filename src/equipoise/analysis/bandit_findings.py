"""What a bandit shows: its arms, which of them is best and with what error, what it cost, how its shares went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from equipoise.experiment.metric import Kind
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["BanditArm", "BanditFindings", "EpochShares", "Pair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditArm:
    """One arm: its share of those who come in now (0 where it was removed), what it had, and what it earned.

    `mean` is the honest estimate, its interval for one reading; `naive` the plain mean, which is biased. `units` have a
    reward, `pending` do not yet. `best` is the posterior probability of being best among the arms in play,
    where the model has one.
    """

    variant: str
    share: float
    units: int
    pending: int
    naive: float | NotEstimable
    mean: Estimate | NotEstimable
    best: float | None = None

    @property
    def in_play(self) -> bool:
        """Whether units still come in."""
        return self.share > 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The leading arm against another one, at the level at which the best arm may be named at any time."""

    arm: str
    other: str
    estimate: Estimate | NotEstimable
    better: bool


@dataclass(frozen=True, slots=True)
class EpochShares:
    """An epoch: when it began (seconds since 1970 UTC), who came in, and the shares by arm."""

    number: int
    starts: float | None
    units: int
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditFindings:
    """A bandit's read-out beside the effects.

    `reward` is the metric that is played for. `leader` is the arm in play with the best estimate, `against` compares it
    with each other arm in play, and `best` is its name once it is better than all of them: that another one is best has a
    probability of at most `error`, however often this was asked. `regret` is about how much reward (of all units
    together) was missed by not giving everybody the leader. `removed` arms are no part of the question.
    """

    reward: str
    kind: Kind
    better: Literal["higher", "lower"]
    error: float
    arms: tuple[BanditArm, ...]
    leader: str | None
    against: tuple[Pair, ...]
    best: str | None
    regret: float | NotEstimable
    epochs: tuple[EpochShares, ...]

    @property
    def removed(self) -> tuple[str, ...]:
        """The arms that get no more units."""
        return tuple(arm.variant for arm in self.arms if not arm.in_play)

    @property
    def rivals(self) -> tuple[Pair, ...]:
        """The comparisons that keep the leader from being named."""
        return tuple(pair for pair in self.against if not pair.better)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "reward": self.reward,
            "better": self.better,
            "error": self.error,
            "leader": self.leader,
            "best": self.best,
            "removed": list(self.removed),
            "regret": _told(self.regret),
            "arms": [
                {
                    "variant": arm.variant,
                    "share": arm.share,
                    "units": arm.units,
                    "pending": arm.pending,
                    "mean": _told(arm.mean),
                    "naive_biased": _told(arm.naive),
                    "probability_best": arm.best,
                }
                for arm in self.arms
            ],
            "against": [
                {
                    "arm": pair.arm,
                    "other": pair.other,
                    "difference": _told(pair.estimate),
                    "better": pair.better,
                }
                for pair in self.against
            ],
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }


def _told(result: Estimate | NotEstimable | float) -> Any:
    if isinstance(result, NotEstimable):
        return {"not_estimable": result.reason}
    return asdict(result) if isinstance(result, Estimate) else result
