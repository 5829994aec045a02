"""Watches as pure state: what a window says of a limit, how long that has been so, and what is decided on it.

A window is breached, clear or unknown. The first breached window alerts; the watch's action is due once so many have
been breached in a row as the watch says, and not again before one was clear, or somebody opened the service again. An
unknown window (empty, or too small) is no pass, so it does not end a streak; and it is no evidence either, so it does
not lengthen one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from equipoise.experiment.amount import Bound
from equipoise.experiment.definition import Action, Watch
from equipoise.stats.estimate import NotEstimable

__all__ = ["Breach", "Judged", "Streak", "judge", "lengthen", "limit_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one window says: its `value` and the `limit` that held, on the metric's own scale, or the `reason` why
    it says nothing.
    """

    verdict: Literal["breached", "clear", "unknown"]
    value: float | None = None
    limit: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A breached window on which something is due: the first of a streak (`alert`), or the one that makes it `sustained`.

    `ends` is the end of the window (seconds since 1970 UTC), `streak` how many in a row were breached by then.
    """

    action: Action
    sustained: bool
    ends: int
    streak: int
    value: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """How a watch stands in one arm: `breached` windows since the last clear one, and whether it `acted` on them.

    `ends` is the end of the last window that was judged (seconds since 1970 UTC; None before any), `last` what it said.
    """

    breached: int = 0
    acted: bool = False
    ends: int | None = None
    last: Judged | None = None


def limit_of(bound: Bound, *, control: float | NotEstimable, baseline: float | None) -> float | NotEstimable:
    """A bound on the metric's own scale, given control's value in the same window and the metric's baseline.

    >>> from equipoise.experiment.amount import parse_bound
    >>> limit_of(parse_bound("control+20%"), control=2.5, baseline=None)
    3.0
    >>> limit_of(parse_bound("baseline-1pp"), control=0.5, baseline=None)
    NotEstimable(reason='the metric has no baseline')
    """
    if bound.reference == "none":
        return bound.amount.value
    reference: float | NotEstimable | None = control if bound.reference == "control" else baseline
    if reference is None:
        return NotEstimable("the metric has no baseline")
    if isinstance(reference, NotEstimable):
        return NotEstimable(f"of control: {reference.reason}")
    return reference + bound.amount.of(reference)


def judge(
    watch: Watch,
    value: float | NotEstimable,
    *,
    control: float | NotEstimable,
    baseline: float | None = None,
) -> Judged:
    """What a window says of a watch's limit: breached above `max` or below `min`; at the limit it is clear.

    >>> from equipoise.experiment.amount import parse_bound
    >>> watch = Watch(metric="latency_p95", max=parse_bound(3.0), window=300.0)
    >>> judge(watch, 3.3, control=2.0).verdict, judge(watch, 3.0, control=2.0).verdict
    ('breached', 'clear')
    >>> judge(watch, NotEstimable("there are no turns in the window"), control=2.0)
    Judged(verdict='unknown', value=None, limit=3.0, reason='there are no turns in the window')
    """
    bound = watch.bound
    if bound is None:
        return Judged(verdict="unknown", reason="the watch has no limit")
    limit = limit_of(bound, control=control, baseline=baseline)
    if isinstance(value, NotEstimable):
        return Judged(
            verdict="unknown",
            limit=None if isinstance(limit, NotEstimable) else limit,
            reason=value.reason,
        )
    if isinstance(limit, NotEstimable):
        return Judged(verdict="unknown", value=value, reason=limit.reason)
    beyond = value < limit if watch.max is None else value > limit
    return Judged(verdict="breached" if beyond else "clear", value=value, limit=limit)


def begun_anew(streak: Streak) -> Streak:
    """A streak after somebody opened the service again: what was breached until then was seen.

    >>> begun_anew(Streak(breached=3, acted=True, ends=900))
    Streak(breached=0, acted=False, ends=900, last=None)
    """
    return Streak(ends=streak.ends, last=streak.last)


def lengthen(
    streak: Streak, watch: Watch, judged: Judged, ends: int, *, opened: float | None = None
) -> tuple[Streak, Breach | None]:
    """A streak after one more window, and what is due on it; a window that was judged already changes nothing.

    One that began before the service was last `opened` again (seconds since 1970 UTC; None: never) has in it what was
    seen by then, and counts for nothing.

    >>> watch = Watch(metric="latency_p95", window=300.0, persist=2, then="pause")
    >>> breached = Judged(verdict="breached", value=3.3, limit=3.0)
    >>> streak, first = lengthen(Streak(), watch, breached, 300)
    >>> streak, second = lengthen(streak, watch, breached, 600)
    >>> first.action, second.action, lengthen(streak, watch, breached, 600)[1]
    ('alert', 'pause', None)
    """
    if streak.ends is not None and ends <= streak.ends:
        return streak, None
    seen = opened is not None and ends - watch.window < opened
    if seen or judged.verdict == "unknown" or judged.value is None or judged.limit is None:
        return replace(streak, ends=ends, last=judged), None
    if judged.verdict == "clear":
        return Streak(ends=ends, last=judged), None
    run = streak.breached + 1
    due = run >= watch.persist and not streak.acted
    after = Streak(breached=run, acted=streak.acted or due, ends=ends, last=judged)
    if not due and run > 1:
        return after, None
    return after, Breach(
        action=watch.then if due else "alert",
        sustained=due,
        ends=ends,
        streak=run,
        value=judged.value,
        limit=judged.limit,
    )
