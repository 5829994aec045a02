"""Which units were exposed already: bounded in memory, and never wrong about a first time."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from equipoise.assignment.assigning import Draw

__all__ = ["Exposed"]

_REMEMBERED = 10_000


class Exposed:
    """Remembers the units that were told as exposed, by experiment revision, unit type, unit and variant.

    Units are kept whole, so that no two are mistaken for one another. At most twice `remembered` are kept:
    when a generation is full it becomes the former one, and what was in the one before is forgotten.
    Forgetting is safe: an exposure told twice is counted once by the analysis.

    Safe to share between threads.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._recent: set[str] = set()
        self._former: set[str] = set()
        self._telling: dict[str, Future[None]] = {}
        self._keys: dict[tuple[str, str, str | None], str] = {}

    def _key(self, draw: Draw, unit: str) -> str:
        experiment = draw.experiment
        of = (experiment.digest, experiment.unit.type, draw.variant)
        if (key := self._keys.get(of)) is None:
            # A short name for it: there is one of these for every unit that is remembered.
            key = self._keys[of] = f"{len(self._keys)}\0"
        return key + unit

    def knows(self, draw: Draw, unit: str) -> bool:
        """Whether the unit's exposure is durable, as far as is remembered here."""
        key = self._key(draw, unit)
        if key in self._recent:
            return True
        if key not in self._former:
            return False
        with self._lock:
            self._keep(key)
        return True

    def begin(self, draw: Draw, unit: str) -> tuple[bool, Future[None] | None]:
        """Whether the caller is the first to tell of it; and what to wait for until it is durable, if not yet."""
        key = self._key(draw, unit)
        with self._lock:
            if key in self._recent or key in self._former:
                self._keep(key)
                return False, None
            if (told := self._telling.get(key)) is not None:
                return False, told
            mine = self._telling[key] = Future()
            # Several wait for it: one of them that gives up may not cancel it for the others.
            mine.set_running_or_notify_cancel()
            return True, mine

    def remember(self, draw: Draw, unit: str) -> None:
        """The unit's exposure is durable."""
        with self._lock:
            self._keep(self._key(draw, unit))

    def settle(self, draw: Draw, unit: str, error: BaseException | None) -> None:
        """It is durable; or it is lost, and then the next one to serve the unit tells it again."""
        key = self._key(draw, unit)
        with self._lock:
            told = self._telling.pop(key, None)
            if error is None:
                self._keep(key)
        if told is not None:
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(error)

    def _keep(self, key: str) -> None:
        if key not in self._recent:
            if len(self._recent) >= self._remembered:
                self._former, self._recent = self._recent, set()
            self._recent.add(key)

    def __len__(self) -> int:
        return len(self._recent | self._former)
