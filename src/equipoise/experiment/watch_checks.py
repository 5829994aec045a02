"""What a watch must say for itself: a metric that is there, one limit, and windows that can be put together of minutes."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.errors import Fault
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, WatchForm
from equipoise.experiment.unknown_names import unknown_metric

__all__ = ["OVERLAPPING", "watch_cautions", "watch_faults"]

Found = Iterator[tuple[FieldPath, Fault]]
OVERLAPPING = 60
"""A minute is in so many windows of a watch at most: each of them puts together all of its minutes anew."""
_MINUTE_S = 60
_SHOWN = 6


def watch_faults(form: Form, document: Document) -> Found:
    """Every contradiction within a watch, and of watches with metrics, with the path it belongs to."""
    metrics = [*form.metrics]
    for index, watch in enumerate(form.watches):
        here: FieldPath = ("watches", index)
        yield from unknown_metric((*here, "metric"), watch.metric, metrics, document)
        if (watch.max is None) == (watch.min is None):
            yield here, document.fault(here, "a watch has one limit", accepted="either max or min")
        if watch.scope != "now" and watch.then != "rollback":
            path = (*here, "scope")
            yield (
                path,
                document.fault(
                    path,
                    f"a scope is that of a rollback, and this watch says {watch.then}",
                    accepted="`scope: new_conversations` beside `then: rollback`",
                ),
            )
        if watch.every is not None:
            yield from _steps(watch, watch.every, (*here, "every"), document)


def _steps(watch: WatchForm, every: float, path: FieldPath, document: Document) -> Found:
    """Windows that follow each other by something else than a whole part of their length."""
    steps = _accepted(watch.window)
    if every in steps or every == watch.window > 0.0:
        return
    shown = ", ".join(f"{step // _MINUTE_S}m" for step in steps[:_SHOWN])
    yield (
        path,
        document.fault(
            path,
            f"a window of {watch.window:g} s cannot be judged every {every:g} s: it is put together of whole minutes, each "
            f"of them in equally many windows and in {OVERLAPPING} at most",
            accepted=f"{shown}{', …' if len(steps) > _SHOWN else ''}"
            if steps
            else "a window of whole minutes first",
        ),
    )


def _accepted(window: float) -> list[int]:
    """How often a window may be judged, in seconds: whole minutes that it is a whole number of times as long as."""
    if not _whole(window):
        return []
    minutes = int(window // _MINUTE_S)
    return [
        minutes // times * _MINUTE_S
        for times in range(min(OVERLAPPING, minutes), 0, -1)
        if minutes % times == 0
    ]


def watch_cautions(experiment: Experiment, document: Document) -> Iterator[Fault]:
    """Windows that read, and that no monitor will look at."""
    for index, watch in enumerate(experiment.watches):
        if not _whole(watch.window):
            yield document.fault(
                ("watches", index, "window"),
                f"a window of {watch.window:g} s cannot be watched: what happens is counted by the minute",
                accepted="whole minutes, such as 5m",
            )


def _whole(seconds: float) -> bool:
    return seconds >= _MINUTE_S and seconds % _MINUTE_S == 0
