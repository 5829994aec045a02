"""Warm and cold: how often an arm's model had not been asked for a while, and what that cost its latency."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from equipoise.events.facts import Turn
from equipoise.experiment.variant import control_first
from equipoise.measurement.counted import ENROLLED

if TYPE_CHECKING:
    import duckdb

__all__ = ["ArmWarmth", "Warmth", "warmth_by_arm"]

_FEWEST = 20
_COLD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmWarmth:
    """The turns of one arm whose model was warm, or cold: not asked within a minute by the process that served them.

    Medians are of `latency_s`, in seconds, over turns that were answered and not cancelled; None without any.
    """

    warm: int
    cold: int
    warm_median_s: float | None
    cold_median_s: float | None

    @property
    def too_cold(self) -> bool:
        """Whether the traffic is too little to keep the model warm: every fifth turn or more finds it cold.

        With requests that come independently of one another that is fewer than 1.6 a minute (e^-1.6 = 0.2).
        Said from 20 turns on.

        >>> ArmWarmth(warm=15, cold=5, warm_median_s=0.4, cold_median_s=2.0).too_cold
        True
        >>> ArmWarmth(warm=14, cold=5, warm_median_s=0.4, cold_median_s=2.0).too_cold
        False
        """
        turns = self.warm + self.cold
        return turns >= _FEWEST and self.cold >= _COLD * turns


class Warmth:
    """Adds up turns, arm by arm."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._latencies: dict[tuple[str, bool], array[float]] = {}

    def add(self, turn: Turn) -> None:
        """Take a turn in; one of nobody's arm, or of which nobody knows whether its model was warm, is left out."""
        arm, warm = turn.variant, turn.warm
        # A fallback is another model, and whoever was redirected was served another arm's.
        if arm is None or warm is None or turn.redirected or turn.fallback:
            return
        self._counts.setdefault(arm, [0, 0])[warm] += 1
        if turn.latency_s is not None and not turn.cancelled and not turn.error:
            self._latencies.setdefault((arm, warm), array("d")).append(turn.latency_s)

    def arms(self) -> Mapping[str, ArmWarmth]:
        """What was added, by arm, control first.

        >>> warmth = Warmth()
        >>> for warm, latency in ((False, 2.0), (True, 0.3), (True, 0.5)):
        ...     warmth.add(Turn(experiment="e", happened=0.0, variant="b", warm=warm, latency_s=latency))
        >>> warmth.arms()
        {'b': ArmWarmth(warm=2, cold=1, warm_median_s=0.4, cold_median_s=2.0)}
        """

        def middle(arm: str, warm: bool) -> float | None:
            found = self._latencies.get((arm, warm))
            return median(found) if found else None

        return {
            arm: ArmWarmth(
                warm=self._counts[arm][True],
                cold=self._counts[arm][False],
                warm_median_s=middle(arm, True),
                cold_median_s=middle(arm, False),
            )
            for arm in sorted(self._counts, key=control_first)
        }


def warmth_by_arm(connection: duckdb.DuckDBPyConnection) -> dict[str, ArmWarmth]:
    """How warm the models of the arms were by the engine's table of `turns`, as `Warmth` adds it up turn by turn."""
    # A fallback is another model, and whoever was redirected was served another arm's. The two middle values are
    # asked for, and not the median: an engine may interpolate with another rounding.
    found = connection.execute(
        f"""SELECT variant, warm, count(*), quantile_disc(answered_s, 0.5), -quantile_disc(-answered_s, 0.5)
            FROM turns WHERE {ENROLLED} AND variant IS NOT NULL AND warm IS NOT NULL AND NOT redirected
            AND NOT fallback GROUP BY variant, warm"""
    ).fetchall()
    turns = {(arm, warm): count for arm, warm, count, _, _ in found}
    middle = {(arm, warm): (low + high) / 2 for arm, warm, _, low, high in found if low is not None}
    return {
        arm: ArmWarmth(
            warm=turns.get((arm, True), 0),
            cold=turns.get((arm, False), 0),
            warm_median_s=middle.get((arm, True)),
            cold_median_s=middle.get((arm, False)),
        )
        for arm in sorted({arm for arm, _ in turns}, key=control_first)
    }
