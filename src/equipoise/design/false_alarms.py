"""What a watch does by chance: alarms and actions a week where nothing is wrong, and how soon it acts where something is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from equipoise.design.overlapping import OfBreached, limit_of_bound, of_breached
from equipoise.experiment.amount import Amount, Bound
from equipoise.experiment.definition import Experiment, Watch
from equipoise.experiment.metric import Metric
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.streaks import Streaks, expected_streaks, first_run_chance
from equipoise.stats.guardrails.window_values import Limit, RateOf, WindowValue

__all__ = [
    "ONCE_A_YEAR",
    "WatchForecast",
    "bound_of",
    "breach_chances",
    "declared_forecasts",
    "limit_for",
    "soon",
    "streaks_a_week",
    "too_often",
    "words",
]

WEEK_S = 604_800.0
DAY_S = 86_400.0
ONCE_A_YEAR = 7.0 / 365.0
"""Actions a week above which a plan warns: a service that is paused or rolled back more than once a year by nothing but
chance teaches its people to ignore the watch."""
_QUANTILES = 41

Values = Sequence[WindowValue | None]
"""The value of each window of an arm, in order; None where the window has too few readings to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchForecast:
    """What is expected of one watch of a definition where nothing is wrong; `watch` is its number (from 0).

    `alarms` are streaks that begin and `actions` those that last, both a week, all watched arms together; `breached` is
    the share of their windows that are. Where that is nearly all, one streak never ends, and few begin.
    """

    watch: int
    metric: str
    says: str
    breached: float
    alarms: float
    actions: float
    action: str

    @property
    def too_often(self) -> bool:
        """Whether the watch does more than tell somebody, more than about once a year, or finds most windows breached."""
        return self.breached > 0.5 or (self.action != "alert" and self.actions > ONCE_A_YEAR)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "watch": self.watch,
            "metric": self.metric,
            "says": self.says,
            "action": self.action,
            "breached": self.breached,
            "alarms_per_week": self.alarms,
            "actions_per_week": self.actions,
            "too_often": self.too_often,
        }


def words(watch: Watch) -> str:
    """A watch as its definition says it, on one line of YAML.

    >>> from equipoise.experiment.amount import parse_bound
    >>> words(Watch(metric="error_rate", max=parse_bound("control+1pp"), window=300.0, persist=2, at_least=200,
    ...             then="rollback"))
    '{metric: error_rate, max: control+0.01, window: 5m, for: 2, at_least: 200, then: rollback}'
    """
    side = "min" if watch.max is None else "max"
    said = [f"metric: {watch.metric}", f"{side}: {watch.bound}", f"window: {_minutes(watch.window)}"]
    if watch.every is not None:
        said.append(f"every: {_minutes(watch.every)}")
    if watch.persist != 1:
        said.append(f"for: {watch.persist}")
    if watch.at_least != 1:
        said.append(f"at_least: {watch.at_least}")
    said.append(f"then: {watch.then}")
    if watch.scope != "now":
        said.append(f"scope: {watch.scope}")
    return "{" + ", ".join(said) + "}"


def _minutes(seconds: float) -> str:
    for unit, length in (("d", DAY_S), ("h", 3600.0), ("m", 60.0)):
        if seconds >= length and seconds % length == 0.0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


def bound_of(watch: Watch) -> Bound:
    """The one limit of a watch. ValueError where it has none, which no definition that was read has."""
    if watch.bound is None:
        raise ValueError(f"the watch of {watch.metric} has no limit")
    return watch.bound


def breach_chances(
    bound: Bound, own: Values, control: Values, *, above: bool, baseline: float | None
) -> list[float | None]:
    """The chance of each window to be breached; None where it, or control's beside it, says nothing.

    >>> from equipoise.experiment.amount import parse_bound
    >>> arm = [RateOf(1_000, 0.001), None]
    >>> [each and round(each, 3) for each in breach_chances(parse_bound(0.001), arm, arm, above=True, baseline=None)]
    [0.264, None]
    """
    known: dict[tuple[int, int], float] = {}

    def chance(value: WindowValue | None, beside: WindowValue | None) -> float | None:
        if value is None or (bound.reference == "control" and beside is None):
            return None
        # The same window comes again and again; what is asked of it is the same while both live.
        key = (id(value), id(beside))
        if key not in known:
            known[key] = _chance(bound, value, beside, above=above, baseline=baseline)
        return known[key]

    return [chance(value, beside) for value, beside in zip(own, control, strict=True)]


def _chance(
    bound: Bound, value: WindowValue, control: WindowValue | None, *, above: bool, baseline: float | None
) -> float:
    limit = limit_of_bound(bound, baseline)
    if not isinstance(limit, Limit):
        return _probable(value.beyond(limit, above=above))
    assert control is not None
    return _probable(value.beyond_control(control, limit, above=above))


def _probable(chance: float) -> float:
    return min(max(chance, 0.0), 1.0)


def streaks_a_week(
    chances: Sequence[float | None],
    watch: Watch,
    *,
    autocorrelation: float = 0.0,
    shares: OfBreached | None = None,
) -> Streaks:
    """Streaks expected in a week of such windows, unknown ones and all; none of no windows.

    Where windows overlap, `shares` says what follows a breached one.
    """
    if not chances:
        return Streaks(0.0, 0.0)
    if shares is not None:
        breached = math.fsum(chance for chance in chances if chance) * WEEK_S / watch.step / len(chances)
        return Streaks(breached * shares.begins, breached * shares.acts)
    found = expected_streaks(chances, watch.persist, autocorrelation=autocorrelation)
    weeks = len(chances) * watch.step / WEEK_S
    return Streaks(found.alarms / weeks, found.actions / weeks)


def soon(
    chances: Sequence[float | None],
    watch: Watch,
    *,
    autocorrelation: float = 0.0,
    shares: OfBreached | None = None,
) -> float | NotEstimable:
    """The chance that a watch acts as soon as it can, in its `persist`-th window, where windows are breached so.

    The average over the windows in which it could begin; NotEstimable where all of them are unknown. Where windows overlap,
    `shares` says what follows a breached one; those that were only in part like that are not among them.
    """
    known = [each for each in chances if each is not None]
    if not known:
        return NotEstimable("no window has readings enough")
    if shares is not None:
        return math.fsum(min(each * shares.lasts, 1.0) for each in known) / len(known)
    found = (first_run_chance(each, watch.persist, autocorrelation=autocorrelation) for each in known)
    return math.fsum(found) / len(known)


def limit_for(
    actions: Callable[[Bound], float], shape: Bound, *, above: bool, start: float, step: float, most: float
) -> Bound | NotEstimable:
    """The tightest limit of a shape (of the same reference and scale) with at most so many `actions` a week.

    Where most windows are breached `actions` has to be large, though few streaks begin. It is looked for from `start`
    outward, first by `step` (above 0), and rounded outward to three digits. NotEstimable where none is found within
    `step` times a million.
    """

    def at(distance: float) -> Bound:
        return Bound(shape.reference, Amount(start + (distance if above else -distance), shape.amount.scale))

    inside, outside = 0.0, step
    while actions(at(outside)) > most:
        inside, outside = outside, outside * 2.0
        if outside > step * 1e6:
            return NotEstimable(f"no limit was found with at most {most:g} false actions a week")
    for _ in range(12):
        middle = (inside + outside) / 2.0
        if actions(at(middle)) > most:
            inside = middle
        else:
            outside = middle
    found = at(outside).amount
    return Bound(shape.reference, Amount(_outward(found.value, above=above), found.scale))


def _outward(value: float, *, above: bool) -> float:
    """A number rounded to three digits, upward or downward.

    >>> _outward(3.2461, above=True), _outward(-0.03, above=False)
    (3.25, -0.03)
    """
    exact = Decimal(repr(value))
    if not exact:
        return 0.0
    digits = Decimal(1).scaleb(exact.adjusted() - 2)
    return float(exact.quantize(digits, rounding=ROUND_CEILING if above else ROUND_FLOOR))


def declared_forecasts(
    experiment: Experiment, turns_per_day: float | None
) -> tuple[WatchForecast | NotEstimable, ...]:
    """What is expected of each watch from the definition alone: of rates with a declared `baseline`, in order.

    Turns come at `turns_per_day` (all arms together, evenly, by the coverage of the A/B stage), so many in a window as a
    Poisson number says, each one true with the chance `baseline`, whichever arm. Windows are independent, or share the
    turns that they have in common. What comes less than once a turn is not told by the number of turns. NotEstimable
    says what is missing, watch by watch.
    """
    return tuple(_declared(experiment, number, turns_per_day) for number in range(len(experiment.watches)))


def _declared(experiment: Experiment, number: int, turns: float | None) -> WatchForecast | NotEstimable:
    watch = experiment.watches[number]
    metric, bound = experiment.metric(watch.metric), bound_of(watch)
    missing = _missing(metric, turns)
    if missing is not None or metric.baseline is None or turns is None:
        return NotEstimable(f"{watch.metric}: {missing}")
    each_window = turns * watch.window / DAY_S * float(experiment.rollout.ab_coverage)
    total, breached = Streaks(0.0, 0.0), []
    for arm in experiment.watched_arms(bound):
        shares = experiment.allocation
        own, control = (each_window * float(shares[name]) for name in (arm, experiment.control.name))
        # How the arms' numbers of turns meet makes no difference that is seen.
        pairs = list(zip(_counts(own), _counts(control), strict=True))
        windows = [[_window(n, metric.baseline, watch) for n in side] for side in zip(*pairs, strict=True)]
        chances = breach_chances(
            bound, windows[0], windows[1], above=watch.max is not None, baseline=metric.baseline
        )
        known = [chance for chance in chances if chance is not None]
        if not known:
            return NotEstimable(
                f"{watch.metric}: a window of {arm} has about {own:,.0f} turns, and {watch.at_least:,} are asked for"
            )
        breached.append(math.fsum(known) / len(known))
        follows = None
        if watch.every is not None:
            # As many turns as there are usually, or as are asked for.
            one, other = (RateOf(max(round(n), watch.at_least, 1), metric.baseline) for n in (own, control))
            (chance,) = breach_chances(
                bound, [one], [other], above=watch.max is not None, baseline=metric.baseline
            )
            follows = of_breached(bound, one, other, watch, breached=chance or 0.0, baseline=metric.baseline)
        found = streaks_a_week([breached[-1]] * 64, watch, shares=follows)
        share = len(known) / len(chances)
        total = Streaks(total.alarms + share * found.alarms, total.actions + share * found.actions)
    return WatchForecast(
        watch=number,
        metric=watch.metric,
        says=words(watch),
        breached=math.fsum(breached) / len(breached),
        alarms=total.alarms,
        actions=total.actions,
        action=watch.then,
    )


def _window(turns: int, rate: float, watch: Watch) -> RateOf | None:
    return RateOf(turns, rate) if turns >= max(1, watch.at_least) else None


def _missing(metric: Metric, turns: float | None) -> str | None:
    if metric.kind != "proportion" or metric.of.stream != "turn":
        return (
            f"how a {metric.kind} of {metric.of} varies is not in the definition; `equipoise baseline` takes it from "
            "past windows"
        )
    if metric.baseline is None:
        return "it has no `baseline` rate; `equipoise baseline` finds one"
    if turns is None:
        return "no traffic is given; say --turns-per-day"
    return None


def _counts(expected: float) -> list[int]:
    """Numbers of turns as a Poisson distribution has them, each as likely as the others."""
    from scipy.special import ndtri

    spread = math.sqrt(expected)
    deviates = (float(ndtri((place + 0.5) / _QUANTILES)) for place in range(_QUANTILES))
    return [max(0, round(expected + spread * deviate)) for deviate in deviates]


def too_often(forecasts: Sequence[WatchForecast | NotEstimable]) -> tuple[str, ...]:
    """A sentence for each watch that acts for nothing more than about once a year, or finds most windows breached."""
    return tuple(
        f"the watch of {each.metric} {_does(each)}. A wider limit, a longer window or more windows in a row (`for`) make it "
        "rarer; `equipoise baseline` finds a limit"
        for each in forecasts
        if isinstance(each, WatchForecast) and each.too_often
    )


def _does(forecast: WatchForecast) -> str:
    if forecast.breached > 0.5:
        return f"would find {forecast.breached:.0%} of windows breached where nothing is wrong"
    does, often = _DOES[forecast.action], _often(forecast.actions)
    return f"would {does} {often} for nothing, and more than once a year is too often"


_DOES = {"pause": "pause", "rollback": "roll back", "review": "ask for a review"}


def _often(actions: float) -> str:
    return f"{actions:.3g} times a week" if actions >= 1.0 else f"{actions * 365.0 / 7.0:.3g} times a year"
