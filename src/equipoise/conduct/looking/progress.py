"""Progress: how far an experiment is on its way to the next registered look, and when that is to be expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equipoise.conduct.redirecting import FirstExposures
from equipoise.events.facts import Look
from equipoise.experiment.definition import Experiment
from equipoise.rollout.stages import STAGES, State, canary_ended

__all__ = ["NextLook", "Pace", "next_look", "pace_of", "pace_so_far", "upcoming"]

_FEWEST = 10
_SHORTEST_S = 3600.0
_LONGEST_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How many new units come in a day; `per_day` is None where that cannot be told yet, and `because` says why."""

    per_day: float | None
    because: str | None = None


def pace_of(times: Iterable[float], *, since: float, now: float) -> Pace:
    """The pace at which units came in: those of the last seven days, or since `since` (the last epoch, say).

    `times` are those of the first exposures (all in seconds since 1970 UTC). It is told from ten units and an hour on.

    >>> pace_of([3600.0 * hour for hour in range(48)], since=0.0, now=172_800.0)
    Pace(per_day=24.0, because=None)
    >>> pace_of([10.0], since=0.0, now=60.0)
    Pace(per_day=None, because='1 unit came in since the shares last changed, and ten tell a pace')
    """
    start = max(since, now - _LONGEST_S)
    count = sum(start <= time <= now for time in times)
    if count < _FEWEST:
        came = "1 unit" if count == 1 else f"{count} units"
        return Pace(None, f"{came} came in since the shares last changed, and ten tell a pace")
    if now - start < _SHORTEST_S:
        return Pace(None, "the shares changed less than an hour ago")
    return Pace(count / (now - start) * 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """The registered look that comes next: look `number` of `of`, at a `fraction` of the planned information.

    `units` is how many units the plan expects by then, and `expected` when they are in and were seen for as long as the
    primary's window (seconds since 1970 UTC); None where that cannot be told, and `because` says why. The look is due by
    information, and not by units: `equipoise analyze` tells. `noun` is what the plan counts.
    """

    number: int
    of: int
    fraction: float
    units: int | None
    expected: float | None
    because: str | None = None
    noun: str = "units"


def next_look(
    planned: Sequence[Mapping[str, Any]],
    taken: Sequence[Look],
    *,
    exposed: int,
    pace: Pace,
    window: float | None,
    now: float,
    noun: str = "units",
) -> NextLook | None:
    """The first planned look beyond those that were taken; None after the last.

    >>> planned = [{"number": 1, "fraction": 0.5, "units": 1000}, {"number": 2, "fraction": 1.0, "units": 2000}]
    >>> found = next_look(planned, [], exposed=400, pace=Pace(200.0), window=86_400.0, now=0.0)
    >>> found.number, found.units, found.expected / 86_400
    (1, 1000, 4.0)
    """
    before = max((look.fraction for look in taken), default=0.0)
    ahead = [look for look in planned if float(look["fraction"]) > before + 1e-9]
    if not ahead or any(look.final for look in taken):
        return None
    look = ahead[0]
    units = None if look.get("units") is None else int(look["units"])
    expected, because = None, None
    if units is None:
        because = f"no size could be planned, so nobody knows how many {noun} that takes"
    elif exposed >= units:
        expected = now + (window or 0.0)
        because = f"the {noun} are in; `equipoise analyze` says whether the look is due"
    elif pace.per_day is None:
        because = pace.because
    else:
        expected = now + (units - exposed) / pace.per_day * 86_400.0 + (window or 0.0)
    return NextLook(
        number=int(look["number"]),
        of=len(planned),
        fraction=float(look["fraction"]),
        units=units,
        expected=expected,
        because=because,
        noun=noun,
    )


def pace_so_far(state: State, found: FirstExposures, now: float) -> Pace:
    """The pace of an experiment since its shares last changed."""
    since = max((each.starts for each in state.allocations if each.starts <= now), default=0.0)
    return pace_of((each.happened for each in found.by_unit.values()), since=since, now=now)


def upcoming(experiment: Experiment, state: State, found: FirstExposures, now: float) -> NextLook | None:
    """The registered look that comes next; None after the last, after a verdict that ends it, and where it is over."""
    if state.registration is None or state.finished or state.stage not in STAGES:
        return None
    look = next_look(
        state.registration.plan.get("looks", ()),
        state.looks,
        exposed=found.counted(canary_ended(experiment, state)).total(),
        pace=pace_so_far(state, found, now),
        window=experiment.primary.window,
        now=now,
        noun=experiment.counted,
    )
    if look is None or experiment.bandit is None:
        return look
    # Its shares change all the time, and it waits for no look.
    return replace(look, expected=None, because="a bandit may be read out at any time: `equipoise analyze`")
