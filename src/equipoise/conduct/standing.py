"""Standing: how a registered experiment is served now, its epochs, whom it has exposed, and how warm its canary is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.conduct.enter import warmth
from equipoise.conduct.ledger import registered
from equipoise.conduct.redirecting import first_exposures
from equipoise.events.log import EventLog
from equipoise.measurement.warmth import ArmWarmth

__all__ = ["EpochLine", "Standing", "standing"]


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One epoch: from `starts` (seconds since 1970 UTC) on, these shares of this coverage, and who came in."""

    epoch: int
    starts: float
    shares: dict[str, str]
    coverage: str
    exposed: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The stage, the service (`open`, `paused`, `redirected`), the arm that shipped, and every epoch.

    `warmth` has the turns of a canary, by arm; it is empty in any other stage.
    """

    experiment: str
    stage: str
    service: str
    shipped: str | None
    exposed: dict[str, int]
    epochs: tuple[EpochLine, ...]
    warmth: Mapping[str, ArmWarmth]

    def to_dict(self) -> dict[str, Any]:
        said = asdict(self)
        for arm, each in self.warmth.items():
            said["warmth"][arm]["too_cold"] = each.too_cold
        return said


def standing(log: EventLog, name: str) -> Standing:
    """How an experiment stands. Units count once, in the arm and epoch of their first exposure to this revision."""
    experiment, _, state = registered(log, name)
    counts = Counter((arm, epoch) for arm, epoch, _ in first_exposures(log, experiment).values())
    arms = sorted(
        {variant.name for variant in experiment.variants} | {arm for arm, _ in counts},
        key=lambda arm: (arm != "control", arm),
    )
    return Standing(
        experiment=experiment.identity,
        stage=state.stage or "offline",
        service=state.service,
        shipped=state.shipped,
        exposed={arm: sum(n for (of, _), n in counts.items() if of == arm) for arm in arms},
        epochs=tuple(
            EpochLine(
                each.epoch,
                each.starts,
                dict(each.shares),
                each.coverage,
                {arm: counts[arm, each.epoch] for arm in arms},
            )
            for each in state.allocations
        ),
        warmth=warmth(log, experiment) if state.stage == "canary" else {},
    )
