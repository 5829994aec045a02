"""The turns that wait to be judged: read from the log, bounded by number and by age, done with in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from equipoise.conduct.judging.sampled import drawn, score_id
from equipoise.events.cursors import Cursor, StrayCursorError
from equipoise.events.facts import Turn
from equipoise.events.log import EventLog, is_of_another
from equipoise.experiment.definition import Experiment, OnlineJudge
from equipoise.scoring.evaluating import Evaluator

__all__ = ["Backlog", "Passed", "Waiting"]

_READ_AHEAD = 50_000
"""So many turns are looked at in one reading at most."""
_SPARE = 1_000


@dataclass(slots=True)
class Waiting:
    """A turn that was drawn: where it is in the log, with which probability, under which ids its scores will be.

    `kept` are the ids of those that the log has. `failures` counts how often it could not be judged, `tries` how often
    of these others could be since the time before; `answered` is how many could, then.
    """

    position: int
    turn: Turn
    probability: float
    ids: frozenset[str]
    kept: set[str] = field(default_factory=set)
    failures: int = 0
    tries: int = 0
    answered: int = 0
    gone: bool = False

    @property
    def done(self) -> bool:
        """Whether every evaluator's word is in the log, or the turn is no longer."""
        return self.gone or len(self.kept) == len(self.ids)


@dataclass(frozen=True, slots=True)
class Passed:
    """How far everything is done: the last fact of that, and how many turns that were drawn are newly behind it."""

    position: int
    event_id: str
    turns: int


class Backlog:
    """What waits of one experiment, oldest first; it holds little more than the definition's `backlog` turns."""

    def __init__(
        self, experiment: Experiment, settings: OnlineJudge, evaluators: Collection[Evaluator]
    ) -> None:
        self._experiment, self._settings, self._evaluators = experiment, settings, evaluators
        self._turns: deque[Waiting] = deque()
        self._read_to = 0
        self._behind: tuple[int, str] = (0, "")
        self._seen: tuple[int, str] = (0, "")

    def begin(self, log: EventLog, cursor: Cursor) -> None:
        """Stand where a cursor stands, by whomever it was moved; StrayCursorError for the cursor of another log."""
        self._turns.clear()
        self._read_to = cursor.position
        self._behind = self._seen = (cursor.position, cursor.event_id or "")
        if is_of_another(log, cursor.position, cursor.event_id):
            raise StrayCursorError(
                f"the judge of {self._experiment.identity} stands at position {cursor.position} of another log than this "
                f"one, which ends at {log.head()}. Judge the log it belongs to, or take away the cursors beside this one "
                "(the file ….outbox, or the table equipoise_cursors) to judge this one from its beginning"
            )

    def read(self, log: EventLog, known: Collection[str]) -> None:
        """Take in what is new in the log; scores whose ids are `known` are there already."""
        room, head = self._settings.backlog + _SPARE - len(self._turns), log.head()
        if room <= 0:
            return
        records = log.read_since(self._read_to, experiment=self._experiment.name, kinds=("turn",))
        for looked, record in enumerate(records, 1):
            turn = record.fact
            self._read_to = record.position
            self._seen = (record.position, turn.event_id)
            if isinstance(turn, Turn) and (probability := drawn(turn, self._experiment)) is not None:
                ids = frozenset(
                    score_id(each, turn, measure) for each in self._evaluators for measure in each.measures
                )
                kept = {each for each in ids if each in known}
                self._turns.append(Waiting(record.position, turn, probability, ids, kept))
                room -= 1
            if room <= 0 or looked >= _READ_AHEAD:
                return
        self._read_to = max(self._read_to, head)

    def mark(self, known: Collection[str]) -> None:
        """Scores of these ids are there, whoever gave them."""
        for each in self:
            each.kept.update(one for one in each.ids if one in known)

    def let_go(self, log: EventLog) -> None:
        """Forget those that are in the log no more."""
        if not self._turns:
            return
        there: set[str] = set()
        since, last = self._turns[0].position - 1, self._turns[-1].position
        for record in log.read_since(since, experiment=self._experiment.name, kinds=("turn",)):
            if record.position > last:
                break
            there.add(record.fact.event_id)
        for each in self:
            each.gone = each.turn.event_id not in there

    def __iter__(self) -> Iterator[Waiting]:
        """Those that wait, oldest first."""
        return (each for each in self._turns if not each.done)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def first(self, most: int) -> list[Waiting]:
        """Those that have waited longest; of them those first that failed least, so that a few hold up nobody."""
        return sorted(islice(self, most), key=lambda each: each.failures)

    def falling_out(self, now: float) -> Iterable[tuple[Waiting, str]]:
        """What will not be judged, and why: there is no answer, or it waited too long, or among too many."""
        most, within = self._settings.backlog, self._settings.within
        staying: list[Waiting] = []
        for each in self:
            if each.turn.error or each.turn.cancelled:
                yield each, "the turn ended in an error, or its client went away"
            elif now - each.turn.happened > within:
                yield each, f"it waited for more than {within:g} seconds"
            else:
                staying.append(each)
        for each in staying[: max(0, len(staying) - most)]:
            yield each, f"more than {most:,} turns waited"

    def passed(self) -> Passed | None:
        """Let go of what is done at the front; how far that is, None where it is no farther than before."""
        done = 0
        before = self._behind
        while self._turns and self._turns[0].done:
            each = self._turns.popleft()
            self._behind, done = (each.position, each.turn.event_id), done + 1
        if not self._turns:
            self._behind = max(self._behind, self._seen)
        return Passed(*self._behind, done) if self._behind != before else None
