"""The pictures of a switchback: which arm ran when, and what the primary was at each time of day."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial

from equipoise.analysis.findings import Findings
from equipoise.figures.charts import Curve, curve_chart
from equipoise.figures.slot_grid import SlotRow, slot_grid
from equipoise.verdict.charts import Chart

__all__ = ["by_time_of_day", "schedule"]

_DAY = 86_400
_DAYS = 28
"""So many days are shown, the last ones."""
_ACROSS = 96
"""Slots of less than a quarter of an hour are too many to be seen side by side."""


def schedule(findings: Findings) -> Chart | None:
    """Which arm each slot had, day by day; of several regions that switch by themselves, the first by name."""
    slots = findings.measurement.slots
    if not slots:
        return None
    starts = sorted({slot.start % _DAY for slot in slots})
    every = round(min((later - earlier for earlier, later in itertools.pairwise(starts)), default=_DAY))
    across = _DAY // every if every and not _DAY % every else 0
    if not 1 <= across <= _ACROSS:
        return None
    whose = min((slot.whose for slot in slots if slot.whose is not None), default=None)
    arms = ["control", *findings.treatments]
    days: dict[int, list[int | None]] = {}
    for slot in slots:
        if slot.whose == whose:
            day, at = divmod(round(slot.start), _DAY)
            days.setdefault(day, [None] * across)[at // every] = arms.index(slot.variant)
    shown = sorted(days)[-_DAYS:]
    hours = max(1, across // 8)
    draw = partial(
        slot_grid,
        [SlotRow(_day(day), tuple(days[day])) for day in shown],
        arms,
        title="Which arm ran when" + (f", in {whose}" if whose is not None else ""),
        heads=[_time(n * every) if n % hours == 0 else "" for n in range(across)],
    )
    left = len(days) - len(shown)
    return Chart.of(
        draw,
        "Each mark is a time slot (UTC), told apart by its shape; where there is none, nothing was served or nothing counts."
        + (f" The last {len(shown)} of {len(days)} days." if left else ""),
    )


def by_time_of_day(findings: Findings) -> Chart | None:
    """The primary in each arm by the time of day at which slots began: the mean of slots."""
    slots = [slot for slot in findings.measurement.slots if slot.value is not None]
    if not slots or not findings.primary:
        return None
    means: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for slot in slots:
        assert slot.value is not None
        means[slot.variant][slot.start % _DAY / 3600].append(slot.value)
    if len({hour for of in means.values() for hour in of}) < 2:
        return None
    curves = [
        Curve(arm, tuple((hour, sum(values) / len(values)) for hour, values in sorted(means[arm].items())))
        for arm in ("control", *findings.treatments)
        if arm in means
    ]
    return Chart.of(
        partial(
            curve_chart,
            curves,
            title=f"{findings.primary[0].metric} by time of day",
            x="hour (UTC)",
            y="mean of slots",
        ),
        "Arms that differ by as much at every hour have an effect that was there all along. Nothing here is a test.",
    )


def _day(day: int) -> str:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return f"{date:%a} {date.day} {date:%b}"


def _time(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}"
