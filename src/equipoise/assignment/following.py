"""Keeping up with the ledger, in a thread of its own, so that no request ever waits for the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Self

from equipoise.assignment.configuration import (
    Configuration,
    Folding,
    Read,
    load_configuration,
    save_configuration,
)
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import LEASE
from equipoise.clock import Clock, SystemClock
from equipoise.errors import EquipoiseError, RecordError
from equipoise.events.facts import Exposure, Impression
from equipoise.events.log import EventLog, Recorded
from equipoise.rollout.stages import LEDGER

__all__ = ["Following"]

_PERIOD = 0.1
_PATIENCE = 0.4
_HURT = 0.5
_KEPT_EVERY = 30.0
_A_FEW, _FEWER = 200, 60
"""Exposures noted at a time: at the start, and then (600 a second, a hundredth of the time of a core)."""
_BREATH = 0.01
_EXPOSURES = ("exposure", "impression")


class Following:
    """Follows a log and keeps what runs now; the last good configuration stays when the log does not answer.

    `log` is a log, or a function that opens one (asked again until it does). `read` makes experiments of
    canonical definitions. `last_good` is a file that keeps the configuration between two lives of the process.
    `changed` is called, from the thread that follows, with every new configuration.

    A change is seen within about half a second of its commit. `stale` says that nothing was heard from the log
    for `LEASE` seconds: the configuration may have missed something, and nobody new may enter by it.

    With `enrolled`, exposures are followed too, whoever made them: they are who is in already.
    """

    def __init__(
        self,
        log: EventLog | Callable[[], EventLog],
        read: Read,
        *,
        last_good: Path | None = None,
        changed: Callable[[Configuration], None] | None = None,
        clock: Clock | None = None,
        patience: float = 5.0,
        enrolled: Enrolled | None = None,
    ) -> None:
        self._enrolled, self._enrolled_to = enrolled, 0
        self._exposures: Iterator[Recorded] | None = None
        self._log: EventLog | None = None if callable(log) else log
        self._open: Callable[[], EventLog] | None = log if callable(log) else None
        self._read, self._folding = read, Folding(read)
        self._last_good, self._changed = last_good, changed
        self._clock = clock or SystemClock()
        self._position = 0
        self._news, self._kept = True, 0.0
        self._stopping, self._heard, self._started = (threading.Event() for _ in range(3))
        self.configuration = Configuration()
        self.trouble: str | None = None
        """Why the log was not heard of last, in a sentence; None while it is."""
        if last_good is not None:
            try:
                self.configuration = load_configuration(last_good, read) or Configuration()
            except EquipoiseError as error:
                self.trouble = str(error)
            except Exception as error:  # noqa: BLE001 - a damaged file must not keep a gateway from starting
                self.trouble = f"the last good configuration {last_good} cannot be used: {error!r}"
        self._thread = threading.Thread(target=self._run, name="equipoise-following", daemon=True)
        self._thread.start()
        # What was there at the start is known when this returns, unless the log is away.
        self._started.wait(patience)

    @property
    def stale(self) -> bool:
        """Whether the configuration is older than its lease."""
        return self._clock.now() - self.configuration.as_of > LEASE

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._hear()
                self.trouble = None
                self._heard.set()
                self._started.set()
                pause = _BREATH if self._roll() else _PERIOD
            except Exception as error:  # noqa: BLE001 - whatever is the matter with the log, serving goes on
                self.trouble = str(error) or repr(error)
                if self.configuration.experiments:
                    # There is something to serve by: nobody need wait for the log.
                    self._started.set()
                pause = _HURT
            self._stopping.wait(pause)

    def _hear(self) -> None:
        if self._log is None:
            assert self._open is not None
            self._log = self._open()
        asked = self._clock.now()
        # Nobody waits for news while there is something to do.
        idle = self._heard.is_set() and self._exposures is None
        head = self._log.wait(self._position, _PATIENCE if idle else 0.0)
        if head < self._position:
            raise RecordError(
                f"the log ends at {head} and was read up to {self._position}: it is not the log it was"
            )
        records = list(self._log.read_since(self._position, kinds=LEDGER))
        # A fact is folded once, whatever becomes of the rest of this.
        self._position = max(head, records[-1].position if records else 0)
        self._folding.take(record.fact for record in records)
        self._news = self._news or bool(records)
        if not self._news:
            self.configuration = Configuration(self.configuration.experiments, asked)
        else:
            found = self._folding.configuration(asked)
            if not found.experiments and self.configuration.experiments:
                raise RecordError(
                    "the log holds no experiment, and the last good configuration does: "
                    f"{', '.join(self.configuration.experiments)}. Is it the right log?"
                )
            self.configuration, self._news = found, False
            if self._changed is not None:
                self._changed(found)
            self._kept = 0.0
        # Also kept when nothing moves: what began before it was kept last is not new after a restart.
        if self._last_good is not None and asked - self._kept >= _KEPT_EVERY:
            self._kept = asked
            with suppress(EquipoiseError):
                save_configuration(self.configuration, self._last_good)

    def _roll(self) -> bool:
        """Note some more of who is exposed; whether more of what was there at the start is left.

        The ledger comes first, each time.
        """
        if self._enrolled is None or self._log is None:
            return False
        if self._exposures is None:
            self._exposures = self._written(self._log)
        # A few at a time: what this thread does, the one that serves waits for.
        for _ in range(_A_FEW if self._enrolled_to == 0 else _FEWER):
            record = next(self._exposures, None)
            if record is None:
                self._exposures = None
                return False
            if self._enrolled_to:
                self._enrolled_to = record.position
            if isinstance(record.fact, Exposure | Impression):
                self._enrolled.add(record.fact.experiment, record.fact.unit)
        return self._enrolled_to == 0

    def _written(self, log: EventLog) -> Iterator[Recorded]:
        """The exposures that were written since the last time."""
        head = self._position
        if self._enrolled_to:
            yield from log.read_since(self._enrolled_to, kinds=_EXPOSURES)
            # What is no exposure need not be looked through again.
            self._enrolled_to = max(self._enrolled_to, head)
            return
        # The first time that is a whole log: by experiment, which is what a log finds quickly.
        for name in self.configuration.experiments:
            of = log.read_since(0, experiment=name, kinds=_EXPOSURES)
            yield from takewhile(lambda record: record.position <= head, of)
        self._enrolled_to = max(head, 1)

    def close(self) -> None:
        """Stop following; the log belongs to the caller, unless it was opened here."""
        self._stopping.set()
        self._thread.join(timeout=5)
        if self._open is not None and self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
