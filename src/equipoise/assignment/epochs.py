"""When a unit entered: the epochs of the allocation log, and the time in a UUIDv7."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from equipoise.clock import Clock, SystemClock
from equipoise.errors import UsageError

__all__ = ["LEAD", "LEASE", "TOLERANCE", "Epoch", "History"]

LEASE = 5.0
"""A configuration older than this may have missed an epoch that began: nobody new enters by it."""
TOLERANCE = 5.0
"""An id may be made so many seconds in the future: clocks differ."""
LEAD = LEASE + TOLERANCE
"""A new epoch starts at least so many seconds after it was announced, and so after every time that an id may
hold where the announcement has not been heard."""
_UUID7 = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True)
class Epoch:
    """From `starts` (seconds since 1970 UTC) on, who enters gets these shares of this coverage."""

    number: int
    starts: float
    shares: Mapping[str, Fraction]
    coverage: Fraction = Fraction(1)


class History:
    """The epochs of an experiment, oldest first.

    A unit with a UUIDv7 belongs to the epoch in which its id was made. Such times are checked, never
    clamped: an id from before the first epoch, or from the future, takes no part. Other units belong to the
    epoch that is current when they are served.

    `kept` are the arms that still run; an arm that is not was removed, and its units are served control.
    """

    def __init__(
        self,
        epochs: Sequence[Epoch],
        *,
        kept: frozenset[str] | None = None,
        clock: Clock | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        if any(later.starts < earlier.starts for earlier, later in pairwise(epochs)):
            raise UsageError("epochs must be in the order of their start")
        self.epochs = tuple(epochs)
        self._starts = [epoch.starts for epoch in epochs]
        self.kept = frozenset(epochs[-1].shares if epochs else ()) if kept is None else kept
        self.clock = clock or SystemClock()
        self._tolerance = tolerance

    @property
    def current(self) -> Epoch | None:
        """The epoch of now; None before the first has begun."""
        return self.at(None)

    def at(self, time: float | None) -> Epoch | None:
        """The epoch of a time (None: now); None before the first."""
        if len(self.epochs) == 1 and time is None and self.epochs[0].starts == 0:
            return self.epochs[0]
        when = self.clock.now() if time is None else time
        # A bandit has hundreds, and a unit keeps its own for as long as it goes on.
        begun = bisect_right(self._starts, when)
        return self.epochs[begun - 1] if begun else None

    def present(self) -> tuple[Epoch, float, float] | None:
        """The epoch of now, when it began and when the next one begins; None before the first."""
        epoch = self.current
        if epoch is None:
            return None
        later = bisect_right(self._starts, epoch.starts)
        return epoch, epoch.starts, self._starts[later] if later < len(self._starts) else math.inf

    def time_of(self, unit: str) -> float | Literal["bad_id", "bad_time"]:
        """When a unit with a UUIDv7 began, in seconds since 1970 UTC; or why its id does not tell.

        >>> History([]).time_of("conversation-1")
        'bad_id'
        """
        if _UUID7.fullmatch(unit) is None:
            return "bad_id"
        began = int(unit[:8] + unit[9:13], 16) / 1000.0
        return "bad_time" if began > self.clock.now() + self._tolerance else began
