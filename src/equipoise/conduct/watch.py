"""Watching an experiment: its log folded into windows beside it, a batch in one transaction, from where it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import orjson

from equipoise.errors import UsageError
from equipoise.events.log import EventLog, Recorded, is_of_another
from equipoise.events.windows import (
    CellKey,
    Folding,
    KeptDecision,
    Member,
    StrayWindowsError,
    Windows,
    unit_key,
)
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.cells import Cell, unit_of
from equipoise.measurement.guardrails.watching import FOLLOWED, Decided, Folded, Standing, Watching
from equipoise.measurement.guardrails.windows import Window, window_of
from equipoise.rollout.streaks import Breach

__all__ = ["BATCH", "Due", "Watcher"]

BATCH = 500
"""So many facts go into one transaction."""
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A decision that is kept: `watch` is its number in the definition, `carried` when it was carried out, if it was.

    `event_id` is the same whoever carries it out and however often: a fact under it is accepted once.
    """

    watch: int
    arm: str
    breach: Breach
    event_id: str
    carried: float | None


class Watcher:
    """Follows one experiment's facts through a log, and keeps its windows, streaks and decisions beside it.

    Any number may follow the same log: one moves the windows on, the others find them moved. A crash anywhere loses
    nothing and counts nothing twice. A decision is kept in the transaction that closes its window; whoever carries it
    out says so (`carried_out`), and one that crashes in between finds it again in `due`.

    Raises UsageError where a watch's window is not of whole minutes, StrayWindowsError where the windows are those of
    another log. For one thread.

    >>> from equipoise.events.log import MemoryLog
    >>> from equipoise.events.opening import open_windows
    >>> from equipoise.experiment.reading import read_canonical
    >>> experiment = read_canonical({"name": "bot", "hypothesis": "It errs less.", "unit": "user", "changes": ["model"],
    ...     "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"error_rate": {"priority": "primary"}}})
    >>> watcher = Watcher(experiment, MemoryLog(), open_windows("memory:"))
    >>> watcher.advance(), watcher.window("error_rate", "treatment", 0, 300).value
    (0, NotEstimable(reason='there are no readings of turn.error in the window'))
    """

    def __init__(self, experiment: Experiment, log: EventLog, windows: Windows) -> None:
        self._experiment, self._log, self._windows = experiment, log, windows
        self._watching = Watching(experiment)
        self._read()

    def _read(self) -> None:
        """Where the windows stand, by whomever they were moved."""
        kept = self._windows.read(self._experiment.digest)
        self._revision, self._position, self._event_id = kept.revision, kept.position, kept.event_id
        self._standing = Standing.decode(kept.state)
        self._cells = {key: Cell.decode(body) for key, body in kept.cells.items()}
        self._members: dict[str, Member] = {}
        self._facts: Iterator[Recorded] | None = None
        if is_of_another(self._log, kept.position, kept.event_id):
            raise StrayWindowsError(
                f"the windows of {self._experiment.identity} stand at position {kept.position} of another log than this "
                f"one, which ends at {self._log.head()}. Watch the log they belong to, or take away the windows "
                "beside this one (the file ….windows, or the tables equipoise_window…) to fold this one from its beginning"
            )

    @property
    def position(self) -> int:
        """The position of the last fact that was taken in; 0 before any."""
        return self._position

    @property
    def standing(self) -> Standing:
        """Where the watches stand: streaks, what the last window of each said, and what did not count."""
        return self._standing

    @property
    def cells(self) -> dict[CellKey, Cell]:
        """The minutes that are kept."""
        return dict(self._cells)

    def advance(self, limit: int = BATCH, *, now: float | None = None) -> int:
        """Take in up to `limit` facts that are new, and close what is over by `now`; durable when this returns.

        Returns how many facts were taken in: 0 where there is nothing new, or another process was quicker. `now` is for a
        log that nothing is written to: it is the log's own time, in seconds since 1970 UTC.
        """
        batch = self._next(limit)
        known = self._recall(batch)
        members = dict(known)
        # What time it is says something only where no fact of before is left to be read.
        over = now if len(batch) < limit else None
        folded = self._watching.fold(self._standing, self._cells, batch, members, now=over)
        fresh = {unit: member for unit, member in members.items() if known.get(unit) != member}
        if not batch and folded.standing == self._standing:
            return 0
        position, event_id = self._position, self._event_id
        if batch:
            position, event_id = batch[-1].position, batch[-1].fact.event_id
        folding = self._folding(folded, fresh, position, event_id)
        try:
            moved = self._windows.save(self._experiment.digest, self._revision, folding)
        except BaseException:
            # The same facts again: should they have been kept after all, the windows have moved, and that is noticed.
            self._facts = None
            raise
        if not moved:
            self._read()
            return 0
        self._position, self._event_id = position, event_id
        self._revision += 1
        since = folded.standing.since
        if since != self._standing.since and since is not None:
            self._cells = {key: cell for key, cell in self._cells.items() if key.minute >= since}
        self._cells.update(folded.cells)
        self._members.update(fresh)
        self._standing = folded.standing
        return len(batch)

    def _next(self, limit: int) -> Sequence[Recorded]:
        if limit < 1:
            raise UsageError(f"{limit} facts are no batch; take at least one at a time")
        if self._facts is None:
            self._facts = iter(
                self._log.read_since(self._position, experiment=self._experiment.name, kinds=FOLLOWED)
            )
        # Read on where the last batch ended: a log reads pages that are longer than a batch.
        batch = list(islice(self._facts, limit))
        if len(batch) < limit:
            self._facts = None
        return batch

    def _recall(self, batch: Sequence[Recorded]) -> dict[str, Member]:
        """The members among the units of a batch; whoever is not in memory is looked up."""
        if len(self._members) > _REMEMBERED:
            self._members.clear()
        units = {unit for record in batch if (unit := unit_of(record.fact)) is not None}
        unknown = {unit_key(unit): unit for unit in units if unit not in self._members}
        found = self._windows.members(self._experiment.digest, [*unknown])
        self._members |= {unknown[key]: member for key, member in found.items()}
        return {unit: self._members[unit] for unit in units if unit in self._members}

    def _folding(
        self, folded: Folded, fresh: dict[str, Member], position: int, event_id: str | None
    ) -> Folding:
        since = folded.standing.since
        return Folding(
            position=position,
            event_id=event_id,
            state=folded.standing.encode(),
            cells={key: cell.encode() for key, cell in folded.cells.items()},
            units={unit_key(unit): member for unit, member in fresh.items()},
            decisions=[_kept(each) for each in folded.decided],
            since=None if since == self._standing.since else since,
        )

    def window(self, metric: str, arm: str, starts: int, ends: int, *, at_least: int = 1) -> Window:
        """A metric in any window of the minutes that are kept (`window_of`); KeyError for one that is not declared."""
        return window_of(self._cells, self._experiment.metric(metric), arm, starts, ends, at_least=at_least)

    def due(self) -> tuple[Due, ...]:
        """What was decided and is not carried out yet, by whomever it was decided, oldest first."""
        return self._decisions(open_only=True)

    def decided(self) -> tuple[Due, ...]:
        """Everything that was ever decided, oldest first."""
        return self._decisions(open_only=False)

    def _decisions(self, *, open_only: bool) -> tuple[Due, ...]:
        return tuple(
            Due(
                watch=each.watch,
                arm=each.arm,
                breach=Breach(**orjson.loads(each.body)),
                event_id=f"{self._experiment.digest}:watch:{each.watch}:{each.arm}:{each.ends}",
                carried=each.carried,
            )
            for each in self._windows.decisions(self._experiment.digest, open_only=open_only)
        )

    def carried_out(self, due: Due) -> bool:
        """Note that it was carried out; False where somebody noted that before."""
        return self._windows.carried(self._experiment.digest, due.watch, due.arm, due.breach.ends)


def _kept(decided: Decided) -> KeptDecision:
    return KeptDecision(
        watch=decided.watch,
        arm=decided.arm,
        ends=decided.breach.ends,
        body=orjson.dumps(asdict(decided.breach)).decode(),
    )
