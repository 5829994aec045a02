"""Why data cannot be counted as declared, in the same words whichever engine found it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from equipoise.errors import DataError, nearest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric

__all__ = [
    "check_finite",
    "events_at_entry",
    "no_units",
    "other_than_yes_or_no",
    "several_rows",
    "strays",
    "times_to_events",
    "unknown_variant",
    "window_without_times",
]


def strays(count: int, one: str, many: str, example: object) -> str:
    """How many values are not what they should be, with one of them."""
    if count == 1:
        return f"1 value that is not {one}: {example!r}"
    return f"{count:,} values that are not {many}, such as {example!r}"


def no_units() -> DataError:
    """A table in which no row belongs to anybody."""
    return DataError("the table holds no rows with a unit; there is nothing to analyse")


def unknown_variant(experiment: Experiment, variant: str | None, rows: int) -> DataError:
    """So many rows of a variant, or of none, that the definition does not have."""
    known = [each.name for each in experiment.variants]
    named = "no variant" if variant is None else f"the variant '{variant}'"
    offer = nearest(str(variant), known)
    return DataError(
        f"{rows:,} row{' has' if rows == 1 else 's have'} {named}, which the definition does not; "
        f"it has: {', '.join(known)}"
        + (f"; {offer}" if offer else "")
        + ". Add it to `variants:`, or leave those rows out of the table"
    )


def other_than_yes_or_no(metric: Metric, units: int, example: float) -> DataError:
    """A proportion of, or time to, something that so many units have another value of than 0 or 1."""
    of = "time to" if metric.kind == "time_to_event" else "proportion of"
    return DataError(
        f"{metric.name} is a {of} {metric.of}, and {_counted(units)} "
        f"another value than 0 or 1, such as {example:g}. Use `kind: mean`, or record true and false"
    )


def several_rows(experiment: Experiment, units: int) -> DataError | None:
    """Units with several rows where no time tells which is the first; None where no metric asks for that."""
    ordered = [metric for metric in experiment.metrics if metric.per_unit in ("first", "last", "slope")]
    if not ordered or not units:
        return None
    return DataError(
        f"{_counted(units)} several rows, and {ordered[0].name} takes the {ordered[0].per_unit} "
        "of them; name the time column as `source.time`"
    )


def times_to_events(experiment: Experiment, where: str) -> DataError | None:
    """A time to an event where none can be read; None where no metric asks for one."""
    name = next((metric.name for metric in experiment.metrics if metric.kind == "time_to_event"), None)
    return None if name is None else DataError(f"{name} is a time to an event, which {where}")


def events_at_entry(metric: Metric) -> DataError:
    """A table whose events all have the time at which their units came in."""
    return DataError(
        f"{metric.name} is a time to {metric.of}, and in this table each event has the very time at which its unit "
        "came in. Give the event a row of its own, with its unit, its variant and its time; neither a second "
        "column of times nor one of durations is read"
    )


def window_without_times(experiment: Experiment) -> DataError | None:
    """A metric with a window where nothing has a time; None where no metric has one."""
    name = next((metric.name for metric in experiment.metrics if metric.window is not None), None)
    if name is None:
        return None
    return DataError(
        f"{name} has a window, and no time tells what lies within it; name the time column as `source.time`"
    )


def check_finite(metric: Metric, numbers: Iterable[float]) -> None:
    """Raise DataError where a moment has left the range of a number."""
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(
            f"the values of {metric.name} are too large to be added up: their squares leave the range of a "
            "number (about 1e308). Record them in a larger unit"
        )


def _counted(units: int) -> str:
    return f"{units:,} {'unit has' if units == 1 else 'units have'}"
