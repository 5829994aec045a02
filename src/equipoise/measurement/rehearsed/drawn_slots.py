"""Time slots that were drawn, measured as of any moment: what measuring a record of them would have given then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.experiment.definition import Experiment
from equipoise.experiment.switchback import slot_of
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import Crowd
from equipoise.measurement.slots import by_block
from equipoise.measurement.tally import Measurement, SlotValue

__all__ = ["DrawnSlots"]


@dataclass(frozen=True)
class DrawnSlots:
    """Slots in the order of time, of a switchback: their names, their values in `crowd`, and the number of each one's arm.

    The clusters of `crowd` number the blocks that slots were drawn in.
    """

    experiment: Experiment
    names: Sequence[str]
    crowd: Crowd
    arms: NDArray[np.int64]

    def served(self, units: int) -> tuple[int, ...]:
        """How many of the first so many slots each arm has."""
        found = np.bincount(self.arms[:units], minlength=len(self.experiment.variants))
        return tuple(int(n) for n in found)

    def at(self, exposed: int, mature: Mapping[str, int], time: float) -> Measurement:
        """The measurement when the first `exposed` slots are over, and of a metric those before `mature`.

        A slot whose block is not whole waits, unless most are so. `time` is in seconds since the first of them began.
        """
        kept = np.flatnonzero(self._counts(min(exposed, self.crowd.size)))
        assert self.crowd.clusters is not None
        crowd = Crowd(
            kept.size,
            {name: values[kept] for name, values in self.crowd.values.items()},
            clusters=self.crowd.clusters[kept],
        )
        ripe = {name: int(np.searchsorted(kept, until)) for name, until in mature.items()}
        found = Drawn(by_block(self.experiment), crowd, self.arms[kept]).at(kept.size, ripe, time)
        arms = (variant.name for variant in self.experiment.variants)
        return replace(found, rows=exposed, units=dict(zip(arms, self.served(exposed), strict=True)))

    def values(self, units: int) -> tuple[SlotValue, ...]:
        """The primary of each of the first so many slots, in the order of time."""
        assert self.crowd.clusters is not None
        arms = [variant.name for variant in self.experiment.variants]
        primary = self.crowd.values[self.experiment.primary.name]
        found = []
        for place in range(min(units, self.crowd.size)):
            start, whose = slot_of(self.names[place])
            block = str(self.crowd.clusters[place])
            found.append(SlotValue(float(start), whose, arms[self.arms[place]], block, float(primary[place])))
        return tuple(found)

    def _counts(self, units: int) -> NDArray[np.bool_]:
        """Which of the first so many slots count: as in `measurement.slots.whole_blocks`."""
        every = np.ones(units, dtype=bool)
        drawn = self.experiment.switchback
        if drawn is None or not drawn.balance or not units:
            return every
        assert self.crowd.clusters is not None
        blocks = self.crowd.clusters[:units]
        held = np.zeros((int(blocks.max()) + 1, len(self.experiment.variants)), dtype=bool)
        held[blocks, self.arms[:units]] = True
        arms = held.sum(axis=1)
        whole = arms == len(self.experiment.variants)
        return every if 2 * int(whole.sum()) < int((arms > 0).sum()) else whole[blocks]
