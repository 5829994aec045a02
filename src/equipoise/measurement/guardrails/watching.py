"""The watches of an experiment over its facts: minutes are counted, windows close, streaks lengthen, and it is decided.

Everything here is a function of the facts in the order of the log: where the batches end changes nothing.
"""

from __future__ import annotations

import math
from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import orjson

from equipoise.errors import RecordError
from equipoise.events.facts import Transition
from equipoise.events.log import Recorded
from equipoise.events.windows import CellKey, Member
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.cells import AHEAD_S, GRACE_S, KINDS, MINUTE_S, Cell, Counting
from equipoise.measurement.guardrails.windows import spans, whole_minutes, window_of
from equipoise.rollout.stages import reopened
from equipoise.rollout.streaks import Breach, Judged, Streak, begun_anew, judge, lengthen

__all__ = ["FOLLOWED", "Decided", "Folded", "Standing", "Watching"]

FOLLOWED = (*KINDS, Transition.kind)
"""The kinds of fact that a watch takes in: what is counted, and who opened the service again."""

_KEEP_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is due on a window: of the definition's watch number `watch` (from 0) in one arm."""

    watch: int
    arm: str
    breach: Breach


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the watches stand, beside the cells.

    `watermark` is the latest time of arrival (seconds since 1970 UTC; None before any fact), `closed` for each watch the
    end of its last window, `streaks` by watch and arm, `aside` what did not count by reason (`cells`). Cells of minutes
    before `since` are gone. `opened` is when the service was last opened again after it had been closed (None: never).
    """

    watermark: float | None = None
    closed: tuple[int, ...] = ()
    streaks: Mapping[tuple[int, str], Streak] = field(default_factory=dict)
    aside: Mapping[str, int] = field(default_factory=dict)
    since: int | None = None
    opened: float | None = None

    def encode(self) -> str:
        """The standing as JSON.

        >>> standing = Standing(watermark=7.5, closed=(300,), streaks={(0, "b"): Streak(breached=1, ends=300)})
        >>> Standing.decode(standing.encode()) == standing
        True
        """
        return orjson.dumps(
            {
                "watermark": self.watermark,
                "closed": self.closed,
                "streaks": [[watch, arm, asdict(streak)] for (watch, arm), streak in self.streaks.items()],
                "aside": self.aside,
                "since": self.since,
                "opened": self.opened,
            }
        ).decode()

    @classmethod
    def decode(cls, text: str) -> Standing:
        """The standing that was encoded; that of the beginning for `{}`. RecordError for anything else."""
        try:
            told: dict[str, Any] = orjson.loads(text)
            if not told:
                return cls()
            return cls(
                watermark=told["watermark"],
                closed=tuple(told["closed"]),
                streaks={(watch, arm): _streak(streak) for watch, arm, streak in told["streaks"]},
                aside=told["aside"],
                since=told["since"],
                opened=told.get("opened"),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise RecordError(
                f"the standing of the watches is damaged: {error}. Take the windows away (the file ….windows, or the "
                "tables equipoise_window…) to fold the log anew"
            ) from None


def _streak(told: dict[str, Any]) -> Streak:
    last = told.pop("last")
    return Streak(**told, last=None if last is None else Judged(**last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What some facts changed: the standing, the cells that are others now, and what was decided."""

    standing: Standing
    cells: Mapping[CellKey, Cell]
    decided: tuple[Decided, ...]


class Watching:
    """How an experiment is watched: `fold` takes facts in.

    A window is closed ten seconds after its end, by the clock of the log, and is judged once, then: each begins where the
    one before ended, or with `every` so much later than it began. Facts that arrive later land in their minute, where they
    count as late and change no decision. Minutes are kept for an hour, or for the longest window, beyond what the next
    windows need. A watch relative to control watches the treatments, any other every arm. UsageError where a watch's
    window is not of whole minutes.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._counting = Counting(experiment)
        self._watches = experiment.watches
        self._lengths = [whole_minutes(watch.window) for watch in experiment.watches]
        self._steps = [whole_minutes(watch.step) for watch in experiment.watches]
        self._keep_s = max([_KEEP_S, *self._lengths])
        self._arms = [experiment.watched_arms(watch.bound) for watch in experiment.watches]

    def fold(
        self,
        standing: Standing,
        cells: MutableMapping[CellKey, Cell],
        records: Iterable[Recorded],
        members: MutableMapping[str, Member],
        *,
        now: float | None = None,
    ) -> Folded:
        """Take facts in, in the order of the log, with `cells` and `members` as they are; then close what is over by `now`.

        Who is exposed among them is put into `members`; nothing else that is passed in is changed.
        """
        under_way = _UnderWay(standing, cells)
        waiting: list[Recorded] = []
        closing = self._closing(under_way)
        for record in records:
            if under_way.watermark is None and isinstance(record.fact, Transition):
                # Time begins with the first fact that counts.
                continue
            if record.received >= closing or under_way.watermark is None:
                self._count(under_way, waiting, members)
                waiting = []
                self._close(under_way, record.received)
                closing = self._closing(under_way)
            under_way.watermark = max(under_way.watermark or 0.0, record.received)
            if reopened(record.fact, self._experiment.digest):
                # Windows that were over by then are judged: what they said was seen.
                under_way.opened = record.received
                under_way.streaks = {key: begun_anew(each) for key, each in under_way.streaks.items()}
            waiting.append(record)
        self._count(under_way, waiting, members)
        if now is not None and under_way.watermark is not None and now >= closing:
            self._close(under_way, now)
        return under_way.folded()

    def _count(
        self, under_way: _UnderWay, records: list[Recorded], members: MutableMapping[str, Member]
    ) -> None:
        found, aside = self._counting.fold(records, members, since=under_way.since)
        for key, cell in found.items():
            before = under_way.cells.get(key)
            under_way.changed[key] = cell if before is None else before + cell
        under_way.aside.update(aside)

    def _closing(self, under_way: _UnderWay) -> float:
        """When the next window closes; where nothing is watched, when the next minutes may go."""
        if under_way.since is None:
            return math.inf
        ends = (end + step for end, step in zip(under_way.closed, self._steps, strict=True))
        return min(ends, default=under_way.since * MINUTE_S + 2.0 * self._keep_s) + GRACE_S

    def _close(self, under_way: _UnderWay, now: float) -> None:
        """Judge every window that is over by `now`."""
        until = now - GRACE_S
        if under_way.watermark is None:
            # Windows of before the first fact are nobody's.
            under_way.closed = [int(until // step) * step for step in self._steps]
        else:
            # Nothing that arrived so far may have happened later: in a long silence only the last window is looked at.
            silent = under_way.watermark + AHEAD_S
            for number, (length, step) in enumerate(zip(self._lengths, self._steps, strict=True)):
                closed, quiet = under_way.closed[number], min(until, silent + length)
                first = spans(length, closed, quiet, every=step)
                last = spans(length, max(closed, quiet, until - 2.0 * step), until, every=step)
                for starts, ends in chain(first, last):
                    if starts <= silent or ends + step > until:
                        self._judge(under_way, number, starts, ends)
                    under_way.closed[number] = ends
        under_way.watermark = max(under_way.watermark or 0.0, now)
        begins = (
            ends + step - length
            for ends, step, length in zip(under_way.closed, self._steps, self._lengths, strict=True)
        )
        needed = min(begins, default=int(until))
        under_way.since = int((needed - self._keep_s) // MINUTE_S)

    def _judge(self, under_way: _UnderWay, number: int, starts: int, ends: int) -> None:
        watch = self._watches[number]
        metric = self._experiment.metric(watch.metric)

        def value(arm: str) -> Any:
            return window_of(under_way.cells, metric, arm, starts, ends, at_least=watch.at_least).value

        control = value(self._experiment.control.name)
        for arm in self._arms[number]:
            own = control if arm == self._experiment.control.name else value(arm)
            judged = judge(watch, own, control=control, baseline=metric.baseline)
            streak, breach = lengthen(
                under_way.streaks.get((number, arm), Streak()), watch, judged, ends, opened=under_way.opened
            )
            under_way.streaks[number, arm] = streak
            if breach is not None:
                under_way.decided.append(Decided(watch=number, arm=arm, breach=breach))


class _UnderWay:
    """A standing while facts are taken in; what it began with stays as it was."""

    def __init__(self, standing: Standing, cells: MutableMapping[CellKey, Cell]) -> None:
        self.watermark, self.since, self.opened = standing.watermark, standing.since, standing.opened
        self.closed = list(standing.closed)
        self.streaks = dict(standing.streaks)
        self.aside = Counter(standing.aside)
        self.changed: dict[CellKey, Cell] = {}
        # Read only, but for the first of them.
        self.cells = ChainMap(self.changed, cells)
        self.decided: list[Decided] = []

    def folded(self) -> Folded:
        since = self.since
        return Folded(
            standing=Standing(
                watermark=self.watermark,
                closed=tuple(self.closed),
                streaks=self.streaks,
                aside=dict(self.aside),
                since=since,
                opened=self.opened,
            ),
            cells={key: cell for key, cell in self.changed.items() if since is None or key.minute >= since},
            decided=tuple(self.decided),
        )
