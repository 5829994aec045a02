"""Every online judge that a log asks for: one for each revision that declares one, opened as it is registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.endpoints import Connect
from equipoise.conduct.judge import BATCH, Judged, OnlineJudge
from equipoise.errors import EquipoiseError, words_of
from equipoise.events.cursors import Cursors, StrayCursorError
from equipoise.events.facts import Registration
from equipoise.events.log import EventLog
from equipoise.events.tail import AnotherLogError, Tail
from equipoise.events.texts import TextStore
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

__all__ = ["OnlineJudges"]

_LINGER_S = 120.0
"""So many seconds the judge of a revision that was replaced looks out for turns that are still on their way."""
_AGAIN_S = 60.0


class OnlineJudges:
    """Follows a log's registrations, and does what is due of every online judge that they declare.

    One that cannot work (a price or a key is missing, its cursor is another log's) says so in its `trouble` and is tried
    again a minute later; the others go on. The judge of a revision that was replaced judges what waits and is let go.
    `texts` and `cursors` are called when the first judge is opened. For one thread.

    >>> from equipoise.events.log import MemoryLog
    >>> from equipoise.events.opening import open_cursors, open_texts
    >>> judges = OnlineJudges(MemoryLog(), lambda: open_texts("memory:"), lambda: open_cursors("memory:"),
    ...                       connect=lambda url, key: (url or "http://127.0.0.1:9/v1", None))
    >>> judges.advance()
    {}
    """

    def __init__(
        self,
        log: EventLog,
        texts: Callable[[], TextStore],
        cursors: Callable[[], Cursors],
        *,
        connect: Connect,
        clock: Clock | None = None,
        folder: str = ".",
    ) -> None:
        self._log, self._open_texts, self._open_cursors = log, texts, cursors
        self._connect, self._clock, self._folder = connect, clock or SystemClock(), folder
        self._texts: TextStore | None = None
        self._cursors: Cursors | None = None
        self._registrations = Tail(log, ("registration",))
        self._wanted: dict[str, Experiment] = {}
        self._replaced: dict[str, float] = {}
        self._judges: dict[str, OnlineJudge] = {}
        self._refused: dict[str, tuple[float, Judged]] = {}

    def advance(
        self, limit: int = BATCH, *, stopping: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Judged]:
        """Judge up to `limit` turns of each revision that has any, and say what was done, by `name@digest`.

        Once `stopping` is true no more is asked.
        """
        self._follow()
        done: dict[str, Judged] = {}
        for digest, experiment in list(self._wanted.items()):
            if stopping():
                break
            done[experiment.identity] = told = self._one(digest, experiment, limit, stopping)
            since = self._replaced.get(digest)
            over = since is not None and self._clock.now() - since > _LINGER_S
            if over and not told.waiting and told.trouble is None:
                self._let_go(digest)
                del self._wanted[digest], self._replaced[digest]
        return done

    def _follow(self) -> None:
        try:
            self._register()
        except AnotherLogError:
            for digest in list(self._judges):
                self._let_go(digest)
            self._wanted.clear()
            self._replaced.clear()
            self._register()

    def _register(self) -> None:
        for record in self._registrations.new():
            fact = record.fact
            if not isinstance(fact, Registration):
                continue
            for digest, other in self._wanted.items():
                if other.name == fact.experiment and digest != fact.digest:
                    self._replaced.setdefault(digest, record.received)
            self._replaced.pop(fact.digest, None)
            experiment = replace(read_canonical(fact.definition), folder=self._folder)
            if experiment.online_judge is not None:
                self._wanted[fact.digest] = experiment

    def _one(self, digest: str, experiment: Experiment, limit: int, stopping: Callable[[], bool]) -> Judged:
        since, refused = self._refused.get(digest, (0.0, Judged(resumes=0.0)))
        # A clock that was put back is no reason to wait until it is where it was.
        if since <= self._clock.now() < (refused.resumes or 0.0):
            return refused
        try:
            if digest not in self._judges:
                self._texts = self._texts or self._open_texts()
                self._cursors = self._cursors or self._open_cursors()
                self._judges[digest] = OnlineJudge(
                    experiment,
                    self._log,
                    self._texts,
                    self._cursors,
                    connect=self._connect,
                    clock=self._clock,
                )
            return self._judges[digest].advance(limit, stopping=stopping)
        except Exception as error:  # noqa: BLE001 - what is the matter with one must not keep the others from judging
            self._let_go(digest)
            if isinstance(error, StrayCursorError):
                # Whoever mends that takes the file away: the next try opens what is there then.
                self._let_go_of_files()
            now = self._clock.now()
            code = error.exit_code if isinstance(error, EquipoiseError) else EquipoiseError.exit_code
            told = Judged(trouble=words_of(error), resumes=now + _AGAIN_S, exit_code=code)
            self._refused[digest] = now, told
            return told

    def _let_go(self, digest: str) -> None:
        if (judge := self._judges.pop(digest, None)) is not None:
            judge.close()

    def _let_go_of_files(self) -> None:
        for digest in list(self._judges):
            self._let_go(digest)
        for each in (self._texts, self._cursors):
            if each is not None:
                with suppress(EquipoiseError):
                    each.close()
        self._texts = self._cursors = None

    def close(self) -> None:
        """Let others judge; texts and cursors are closed, the log is the caller's."""
        self._let_go_of_files()
