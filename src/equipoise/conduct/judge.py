"""Judge: live turns that were drawn, scored by the offline evaluators, beside the traffic and never in its way."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.endpoints import Connect, Endpoints, judge_places
from equipoise.conduct.judging.backlog import Backlog, Waiting
from equipoise.conduct.judging.metering import DAY_S, Metered, Rate, day_purse
from equipoise.conduct.judging.sampled import ask, score_id, scores_of, subject_of, unscored
from equipoise.errors import BudgetError, RecordError, UpstreamError, UsageError
from equipoise.events.cursors import READER, Cursor, CursorLostError, Cursors, HeldError
from equipoise.events.facts import Purge, Score
from equipoise.events.ids import new_id
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.scoring.evaluators import AskedJudge, Tools
from equipoise.scoring.online import online_evaluators, wants_judge

__all__ = ["BATCH", "Judged", "OnlineJudge", "reader_of"]

BATCH = 32
"""So many turns are judged at a time."""
_SPARE = 1_000
_TEXT_S = 60.0
"""So many seconds a text may be on its way: turn and text are written apart."""
_TURN_S = 60.0
_TRIES = 3
_LONGEST_WAIT_S = 300.0
_TIMEOUT_S = 60.0
_RETRIES = 2
_GRACE_S = 5.0
_GLANCE_S = 0.1


def reader_of(experiment: Experiment) -> str:
    """The name under which the judge's place in the log is kept: one for each revision."""
    return f"{READER}judge {experiment.identity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was done, and what is left: turns `scored`, turns that will not be, by reason, and those that wait.

    `spent_usd` is what the day (UTC) has cost so far; `trouble` says why nothing goes on now, and `resumes` when it will
    (seconds since 1970 UTC), where that is known. `exit_code` is how a program ends that leaves it so: 6 where the judge
    could not be asked, 0 where all is as declared, a budget that is spent included. `elsewhere` is who judges in this one's
    place; then nothing else is said.
    """

    scored: int = 0
    unscored: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    spent_usd: float = 0.0
    trouble: str | None = None
    resumes: float | None = None
    exit_code: int = 0
    elsewhere: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "scored": self.scored,
            "unscored": dict(self.unscored),
            "waiting": self.waiting,
            "spent_usd": self.spent_usd,
            "trouble": self.trouble,
            "resumes": self.resumes,
            "exit_code": self.exit_code,
            "elsewhere": self.elsewhere,
        }


class _FailedError(Exception):
    """The judge could not be asked about this turn; `facts` are what would be said of it."""

    def __init__(self, why: str, facts: Sequence[Score]) -> None:
        super().__init__(why)
        self.facts = facts


class OnlineJudge:
    """Follows the log of one experiment and scores the turns that were drawn, a batch at a time.

    Its place in the log is a cursor that moves past a turn when the turn's scores are durable. Their ids follow from the
    evaluator's configuration and the turn: a crash, or another judge at work, doubles none and misses none. Of several
    processes one judges at a time. What the day has cost is read from the scores in the log.

    Raises UsageError where the definition asks for no online judge, has nothing to judge by, keeps no texts, or names a
    judge whose price is not known beside a budget; StrayCursorError where the cursor is that of another log. For one
    thread, and best for one of its own: a batch takes as long as the judge does.
    """

    def __init__(
        self,
        experiment: Experiment,
        log: EventLog,
        texts: TextStore,
        cursors: Cursors,
        *,
        connect: Connect,
        clock: Clock | None = None,
        at_once: int = 8,
        turn_s: float = _TURN_S,
    ) -> None:
        if experiment.online_judge is None:
            raise UsageError(
                f"{experiment.name} asks for no online judge; add `online_judge: {{sample: 0.05}}` to its definition"
            )
        if not experiment.text_share:
            raise UsageError(
                f"the online judge of {experiment.name} has nothing to read: the definition keeps no texts; add "
                "`capture: {text: sampled}` to it"
            )
        self._settings = experiment.online_judge
        self._experiment, self._log, self._texts, self._cursors = experiment, log, texts, cursors
        self._clock = clock or SystemClock()
        self._at_once, self._turn_s = at_once, turn_s
        self._rng = random.Random()  # noqa: S311 - jitter between tries, nothing secret
        self._name, self._holder = reader_of(experiment), new_id()
        self._who = f"process {os.getpid()} on {socket.gethostname()}"
        self._ask(connect)
        self._cursor: Cursor | None = None
        self._backlog = Backlog(experiment, self._settings, self._evaluators)
        self._heard, self._known, self._mine = 0, set[str](), set[str]()
        self._rate = Rate(self._settings.turns_per_minute, self._clock.now())
        self._answered, self._failures = 0, 0
        self._rests, self._resumes = 0.0, 0.0
        self._trouble: str | None = None
        self._exit_code = 0
        self._runner = asyncio.Runner()

    def _ask(self, connect: Connect) -> None:
        """Open what is asked, and build the evaluators."""
        offline = self._experiment.offline
        opened = Endpoints(connect, self._rng, retries=_RETRIES, timeout_s=_TIMEOUT_S)
        named = offline.judge.asked if offline is not None and offline.judge is not None else ()
        asked = list(zip(named, judge_places(self._experiment), strict=True))
        if not wants_judge(self._experiment):
            asked = []
        self._purse = day_purse(self._experiment, tuple(each.model or "" for each, _ in asked))
        self._metered = [Metered(opened.open(place), self._purse, self._clock) for _, place in asked]
        judges = tuple(
            AskedJudge(provider=provider, model=each.model or "", params=each.params)
            for provider, (each, _) in zip(self._metered, asked, strict=True)
        )
        tools = Tools(folder=Path(self._experiment.folder), judges=judges, embedder=opened.embedder)
        online = online_evaluators(self._experiment, tools)
        self._evaluators, self.left_out = online.evaluators, online.left_out

    def advance(self, limit: int = BATCH, *, stopping: Callable[[], bool] = lambda: False) -> Judged:
        """Judge up to `limit` turns of those that wait; what is done is durable when this returns.

        Harmless to call again at once: while the judge cannot be reached, the budget of the day is spent or another
        process judges, nothing is asked, and that is said. Once `stopping` is true no more is asked; what is under
        way has a few seconds to come.
        """
        if limit < 1:
            raise UsageError(f"{limit} turns are no batch; judge at least one at a time")
        now = self._clock.now()
        try:
            cursor = self._cursors.take(self._name, self._holder, self._who, self._turn_s)
        except HeldError as error:
            self._cursor = None
            return Judged(elsewhere=error.who)
        if self._cursor is None or cursor.position != self._cursor.position:
            self._backlog.begin(self._log, cursor)
            self._known = {
                record.fact.event_id
                for record in self._log.read_since(
                    cursor.position, experiment=self._experiment.name, kinds=("score",)
                )
            }
        self._cursor = cursor
        self._hear(now)
        self._backlog.read(self._log, self._known)
        aside: Counter[str] = Counter()
        chosen: list[tuple[Waiting, Text]] = []
        scored = 0
        try:
            for each, why in self._backlog.falling_out(now):
                self._drop(each, why, now, aside)
            # A clock that was put back is no reason to wait until it is where it was.
            rests = self._rests <= now < self._resumes
            if not rests and (allowed := self._rate.allows(limit, now)):
                chosen = self._chosen(allowed, now, aside)
                scored = self._runner.run(self._batch(chosen, aside, stopping)) if chosen else 0
            self._pass()
            if chosen and self._trouble is not None:
                self._cursors.hindered(self._name, self._trouble)
        except CursorLostError:
            self._cursor = None
        now = self._clock.now()
        return Judged(
            scored=scored,
            unscored=dict(aside),
            waiting=len(self._backlog),
            spent_usd=self._purse.spent(now),
            trouble=self._trouble,
            resumes=self._resumes if self._resumes > now else None,
            exit_code=self._exit_code,
        )

    def _hear(self, now: float) -> None:
        """What was scored since, by whomever: it is done, and it was paid for. Of what was purged nothing is written."""
        assert self._cursor is not None
        head, minute, fresh, purged = self._log.head(), set[str](), False, False
        name = self._experiment.name
        for record in self._log.read_since(self._heard, experiment=name, kinds=("score", "purge")):
            self._heard = record.position
            fact = record.fact
            purged = purged or isinstance(fact, Purge)
            if not isinstance(fact, Score) or fact.event_id in self._mine:
                self._mine.discard(fact.event_id)
                continue
            if record.position > self._cursor.position:
                self._known.add(fact.event_id)
                fresh = True
            if fact.cost_usd is not None:
                self._purse.spend(fact.cost_usd, at=fact.happened)
            if fact.configuration is not None and fact.happened > now - 60.0:
                minute.add(fact.trace or fact.event_id)
        self._heard = max(self._heard, head)
        if fresh:
            self._backlog.mark(self._known)
        if purged:
            self._backlog.let_go(self._log)
        self._rate.take(len(minute))

    def _drop(self, each: Waiting, why: str, now: float, aside: Counter[str]) -> None:
        facts = unscored(self._evaluators, each.turn, why, probability=each.probability, now=now)
        self._keep(each, list(facts))
        aside[why] += 1

    def _keep(self, each: Waiting, facts: Sequence[Score]) -> None:
        """Put on record what is not there yet."""
        fresh = [fact for fact in facts if fact.event_id not in each.kept]
        if fresh:
            self._log.append(fresh)
        ids = {fact.event_id for fact in fresh}
        self._mine |= ids
        each.kept |= ids

    def _chosen(self, allowed: int, now: float, aside: Counter[str]) -> list[tuple[Waiting, Text]]:
        """The turns to judge now, with their texts; of one whose text does not come, that is said."""
        candidates = self._backlog.first(allowed + _SPARE)
        chosen: list[tuple[Waiting, Text]] = []
        for at in range(0, len(candidates), BATCH):
            part = candidates[at : at + BATCH]
            texts = self._texts.named([each.turn.event_id for each in part], now=now)
            found = {text.event_id: text for text in texts}
            for each in part:
                if len(chosen) == allowed:
                    return chosen
                if (text := found.get(each.turn.event_id)) is not None:
                    chosen.append((each, text))
                elif now - each.turn.happened > _TEXT_S:
                    self._drop(each, "its text is not there: lost on its way, purged, or expired", now, aside)
        return chosen

    async def _batch(
        self,
        chosen: Sequence[tuple[Waiting, Text]],
        aside: Counter[str],
        stopping: Callable[[], bool],
    ) -> int:
        """Judge some turns, a few at a time; how many were scored."""
        jobs = iter(chosen)
        scored, failed, spent = 0, list[tuple[Waiting, _FailedError]](), list[BudgetError]()

        async def work() -> None:
            nonlocal scored
            for each, text in jobs:
                if spent or stopping() or (not scored and len(failed) >= self._at_once):
                    return
                self._rate.take(1)
                try:
                    await self._judge(each, text)
                except _FailedError as error:
                    failed.append((each, error))
                except BudgetError as error:
                    spent.append(error)
                else:
                    scored += 1

        held = asyncio.ensure_future(self._hold())
        workers = [asyncio.ensure_future(work()) for _ in range(self._at_once)]
        try:
            await _all(workers, stopping)
        finally:
            for each in (held, *workers):
                each.cancel()
            await asyncio.gather(held, *workers, return_exceptions=True)
            for provider in self._metered:
                provider.replied.clear()
        self._after(scored, failed, spent, aside)
        return scored

    def _after(
        self,
        scored: int,
        failed: Sequence[tuple[Waiting, _FailedError]],
        spent: Sequence[BudgetError],
        aside: Counter[str],
    ) -> None:
        """What a batch says of the next one: go on, wait for the judge, or for the next day's budget."""
        now = self._rests = self._clock.now()
        self._trouble, self._exit_code = None, 0
        self._answered += scored
        for each, error in failed:
            # Others were judged since it failed before: the judge can be reached, and about this one it cannot be asked.
            each.tries += scored > 0 or (each.failures > 0 and self._answered > each.answered)
            each.failures, each.answered = each.failures + 1, self._answered
            if each.tries >= _TRIES:
                self._keep(each, error.facts)
                aside[str(error)] += 1
        if scored:
            self._failures = 0
        elif failed:
            self._failures += 1
            self._trouble, self._exit_code = str(failed[0][1]), UpstreamError.exit_code
            wait = min(_LONGEST_WAIT_S, 2.0**self._failures) * self._rng.uniform(0.5, 1.0)
            self._resumes = now + wait
        if spent:
            self._trouble = str(spent[0])
            self._resumes = (now // DAY_S + 1) * DAY_S

    async def _judge(self, each: Waiting, text: Text) -> None:
        """Ask every evaluator that has not said its word of a turn; _FailedError where one could not be asked."""
        subject = subject_of(each.turn, text, self._experiment)
        facts: list[Score] = []
        failed: list[Score] = []
        trouble: str | None = None
        try:
            for evaluator in self._evaluators:
                if all(score_id(evaluator, each.turn, one) in each.kept for one in evaluator.measures):
                    continue
                said = await ask(evaluator, subject)
                replied = {
                    who
                    for provider in self._metered
                    for who in provider.replied.get((each.turn.event_id, evaluator.name), ())
                }
                found = scores_of(
                    evaluator,
                    each.turn,
                    said,
                    probability=each.probability,
                    now=self._clock.now(),
                    replied=sorted(replied, key=str),
                )
                why = next((score.why_not for score in said.values() if score.errored), None)
                if why is None or evaluator.kind == "rule":
                    facts += found
                else:
                    trouble = why
                    failed += found
        finally:
            # What was paid for is kept, whatever became of the rest.
            self._keep(each, facts)
        if trouble is not None:
            raise _FailedError(trouble, failed)

    async def _hold(self) -> None:
        """Keep the turn while the judge is asked."""
        while True:
            await asyncio.sleep(self._turn_s / 3)
            with suppress(RecordError):
                await asyncio.to_thread(self._cursors.renew, self._name, self._holder, self._turn_s)

    def _pass(self) -> None:
        """Move the cursor past what is done."""
        assert self._cursor is not None
        passed = self._backlog.passed()
        if passed is not None:
            self._cursors.advance(
                self._name,
                self._holder,
                position=passed.position,
                event_id=passed.event_id,
                delivered=passed.turns,
            )
            self._cursor = Cursor(self._name, passed.position, passed.event_id)
        if not len(self._backlog):
            self._known.clear()

    def close(self) -> None:
        """Let another judge, and let go of the endpoints; the log and what is beside it stay open."""
        with suppress(RecordError):
            self._cursors.release(self._name, self._holder)
        while self._metered:
            self._runner.run(self._metered.pop().aclose())
        self._runner.close()


async def _all(workers: Sequence[asyncio.Future[None]], stopping: Callable[[], bool]) -> None:
    """Wait until all have ended, and a little while from when it is time to stop; what went wrong in one is raised."""
    left, until = _GRACE_S, set(workers)
    while until and left > 0.0:
        ended, until = await asyncio.wait(until, timeout=_GLANCE_S, return_when=asyncio.FIRST_EXCEPTION)
        for each in ended:
            each.result()
        left -= _GLANCE_S if stopping() else 0.0
