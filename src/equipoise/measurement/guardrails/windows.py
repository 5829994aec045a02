"""Windows over cells: any metric of the definition in any whole minutes, arm by arm.

A window tells of what happened in it, reading by reading: `error_rate` is the share of turns that failed, where the
read-out has the share of units. An empty window is no pass: it has a reason instead of a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.events.windows import CellKey
from equipoise.experiment.metric import Metric
from equipoise.measurement.guardrails.buckets import quantile
from equipoise.measurement.guardrails.cells import MINUTE_S, ONE, TURNS, Cell
from equipoise.stats.estimate import NotEstimable

__all__ = ["Window", "spans", "whole_minutes", "window_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A metric of one arm from `starts` to before `ends` (whole seconds since 1970 UTC).

    `n` readings were in it, `late` of them arrived after their minute was closed. `value` is in the metric's own unit.
    """

    arm: str
    starts: int
    ends: int
    n: int
    late: int
    value: float | NotEstimable


def window_of(
    cells: Mapping[CellKey, Cell], metric: Metric, arm: str, starts: int, ends: int, *, at_least: int = 1
) -> Window:
    """A metric of an arm in a window; without a value where fewer than `at_least` readings are in it.

    A proportion or a mean is that of the readings; a count is how many a turn of the arm; a ratio is one sum by the other;
    a quantile is the read-out's within one per cent (`buckets`). UsageError where the window is not of whole minutes.

    >>> from equipoise.experiment.metric import Quantity
    >>> metric = Metric(name="error_rate", priority="guardrail", tier="code", kind="proportion", better="lower",
    ...                 of=Quantity("turn", "error"), per_unit="any")
    >>> cells = {CellKey(28333333, "treatment", "turn.error"): Cell.of([0.0, 0.0, 1.0, 0.0])}
    >>> window_of(cells, metric, "treatment", 1699999980, 1700000040).value
    0.25
    >>> window_of(cells, metric, "treatment", 1699999980, 1700000040, at_least=200).value
    NotEstimable(reason='there are 4 readings of turn.error in the window, and 200 are asked for')
    """
    of = _within(cells, arm, str(metric.of), starts, ends)
    by: Cell | None = None
    if metric.kind == "count":
        by = _within(cells, arm, TURNS, starts, ends)
    elif metric.per is not None:
        by = _within(cells, arm, str(metric.per), starts, ends)
    # How many a turn is known from turns without any, so it is turns that are sampled.
    sample, what = (
        (by, "turns") if metric.kind == "count" and by is not None else (of, f"readings of {metric.of}")
    )
    value: float | NotEstimable
    if sample.n == 0:
        value = NotEstimable(f"there are no {what} in the window")
    elif sample.n < at_least:
        value = NotEstimable(f"there are {sample.n} {what} in the window, and {at_least} are asked for")
    elif metric.kind == "quantile":
        found = quantile(of.buckets, 0.5 if metric.q is None else metric.q)
        value = NotEstimable(f"{metric.of} was not kept in buckets") if found is None else found
    else:
        value = _divided(metric, of, by)
    return Window(arm=arm, starts=starts, ends=ends, n=sample.n, late=of.late, value=value)


def _divided(metric: Metric, of: Cell, by: Cell | None) -> float | NotEstimable:
    # Of whole numbers Python tells the quotient to the last digit, however large they are.
    try:
        if metric.kind == "ratio" and by is not None:
            if by.total == 0:
                return NotEstimable(
                    f"{metric.per} adds up to 0 in the window, and nothing can be divided by it"
                )
            return of.total / by.total
        return of.total / ((of if by is None else by).n * ONE)
    except OverflowError:
        return NotEstimable(f"{metric.of} adds up to more than a number holds")


def _within(cells: Mapping[CellKey, Cell], arm: str, quantity: str, starts: int, ends: int) -> Cell:
    minutes = range(_minute(starts), _minute(ends))
    found = (cells.get(CellKey(minute, arm, quantity)) for minute in minutes)
    return Cell.together(cell for cell in found if cell is not None)


def _minute(time: int) -> int:
    minute, rest = divmod(time, MINUTE_S)
    if rest:
        raise UsageError(
            f"{time} is no whole minute (seconds since 1970 UTC), and windows begin and end with one"
        )
    return minute


def spans(
    length: float, after: float, until: float, *, every: float | None = None
) -> Iterator[tuple[int, int]]:
    """The windows of `length` seconds that end after one time and not after another, in order.

    They begin at whole multiples of `every` since 1970 UTC: of `length` itself they are tumbling, of a minute sliding
    from minute to minute. UsageError where either is not of whole minutes.

    >>> list(spans(300, 900, 1500)), list(spans(300, 900, 1020, every=60))
    ([(900, 1200), (1200, 1500)], [(660, 960), (720, 1020)])
    """
    step = whole_minutes(length if every is None else every)
    width = whole_minutes(length)
    start = (int(after) - width) // step * step
    while start + width <= after:
        start += step
    while start + width <= until:
        yield start, start + width
        start += step


def whole_minutes(seconds: float) -> int:
    """A window's length as it is; UsageError where it is not of whole minutes."""
    if seconds < MINUTE_S or seconds % MINUTE_S:
        raise UsageError(
            f"a window of {seconds:g} s cannot be watched: what happens is counted by the minute. Declare whole minutes, "
            "such as 5m"
        )
    return int(seconds)
