"""What people said of an item: the labels that stand, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from equipoise.events.facts import Label
from equipoise.events.labels import standing

__all__ = ["Answered", "answered"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What people said of one item under one name: the values by rater, and how the item was drawn.

    `drawn` is `audit` as soon as one label was drawn at random, and then only those are among the `values`; their
    `probability` is that of being labelled, of all turns there are.
    """

    item: str
    drawn: Literal["audit", "disagreement"]
    probability: float
    values: Mapping[str, float]

    @property
    def value(self) -> float:
        """What they say together: the mean of the raters' values."""
        return sum(self.values.values()) / len(self.values)


def item_of(label: Label) -> str:
    """What a label is about: the trace of a turn, or what was shown."""
    return label.item if label.trace is None else label.trace


def answered(labels: Iterable[Label]) -> dict[tuple[str, str], Answered]:
    """The labels that stand, by name and item. A label that says no probability it can be drawn with does not count.

    >>> given = {"experiment": "e", "happened": 0.0, "name": "polite", "item": "t1"}
    >>> said = [Label(rater="ann", value=1.0, **given), Label(rater="bob", value=0.0, **given)]
    >>> answered(said)["polite", "t1"].value
    0.5
    """
    found: dict[tuple[str, str], Answered] = {}
    for label in standing(labels):
        if label.value is None or not 0.0 < label.probability <= 1.0:
            continue
        key = label.name, item_of(label)
        drawn: Literal["audit", "disagreement"] = "audit" if label.draw == "audit" else "disagreement"
        before = found.get(key)
        if before is not None and before.drawn == drawn:
            values = dict(before.values) | {label.rater: float(label.value)}
            found[key] = Answered(key[1], drawn, before.probability, values)
        elif before is None or drawn == "audit":
            found[key] = Answered(key[1], drawn, label.probability, {label.rater: float(label.value)})
    return found
