"""What follows a breached window where windows overlap: how often it is the first of a row, and how often the row lasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.experiment.amount import Bound
from equipoise.experiment.definition import Watch
from equipoise.stats.guardrails.overlapping import runs_of
from equipoise.stats.guardrails.window_values import Limit, WindowValue

__all__ = ["OfBreached", "limit_of_bound", "of_breached", "typical"]


_LONGEST = 600
"""Rows of more windows are taken to be as frequent as rows of so many, which is never too seldom: longer ones cost more to
draw."""


@dataclass(frozen=True, slots=True)
class OfBreached:
    """Of breached windows, the shares after a clear one (`begins`), after a clear one and the first of as many as act
    (`acts`), and the first of as many, whatever was before (`lasts`).
    """

    begins: float
    acts: float
    lasts: float


def of_breached(
    bound: Bound,
    own: WindowValue,
    control: WindowValue | None,
    watch: Watch,
    *,
    breached: float,
    baseline: float | None,
    alike: float = 0.0,
    seed: int = 0,
) -> OfBreached:
    """The shares for windows with such values, each breached with the chance `breached`; none where that is 0.

    Windows are as many blocks as they are times as long as a step. `alike` is the correlation of windows that follow each
    other without overlap; `seed` is that of what is drawn.

    >>> from equipoise.experiment.amount import parse_bound
    >>> from equipoise.stats.guardrails.window_values import RateOf
    >>> window = RateOf(1_000, 0.001)
    >>> watch = Watch(metric="error_rate", max=parse_bound(0.001), window=300.0, every=60.0, persist=2)
    >>> found = of_breached(parse_bound(0.001), window, None, watch, breached=0.2642, baseline=None)
    >>> 0.15 < found.acts < found.begins < 0.3
    True
    """
    if breached <= 0.0:
        return OfBreached(0.0, 0.0, 0.0)
    blocks, limit = round(watch.window / watch.step), limit_of_bound(bound, baseline)
    first, row = (
        runs_of(
            own,
            control,
            limit,
            breached=breached,
            above=watch.max is not None,
            blocks=blocks,
            run=run,
            alike=alike,
            rng=np.random.default_rng(seed),
        )
        for run in (1, min(watch.persist, _LONGEST))
    )
    begins = first.begins / first.lasts if first.lasts else 0.0
    if watch.persist == 1:
        return OfBreached(begins, begins, 1.0)
    # No row lasts that has not begun.
    acts = min(row.begins / breached, begins)
    return OfBreached(begins, acts, min(row.lasts / breached, 1.0))


def limit_of_bound(bound: Bound, baseline: float | None) -> Limit | float:
    """A watch's limit on the metric's own scale, or beside control's value.

    >>> from equipoise.experiment.amount import parse_bound
    >>> limit_of_bound(parse_bound("baseline+50%"), 2.0), limit_of_bound(parse_bound("control+1pp"), None)
    (3.0, Limit(share=0.0, added=0.01))
    """
    amount = bound.amount
    if bound.reference == "control":
        return Limit(share=amount.value) if amount.scale == "relative" else Limit(added=amount.value)
    reference = 0.0 if bound.reference == "none" or baseline is None else baseline
    return reference + amount.of(reference)


def typical(chances: Sequence[float | None]) -> int | None:
    """Which window stands for those that are breached: half of all breaches are in windows that have them as rarely, or more
    so. None where no window is ever breached.

    >>> typical([None, 0.1, 0.0, 0.4, 0.2, 0.2])
    5
    """
    order = sorted((chance, place) for place, chance in enumerate(chances) if chance)
    half, seen = sum(chance for chance, _ in order) / 2.0, 0.0
    for chance, place in order:
        seen += chance
        if seen >= half:
            return place
    return None
