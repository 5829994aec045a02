"""Which labels stand: a rater may change an answer and take it back, and the log forgets neither."""

from __future__ import annotations

from collections.abc import Iterable

from equipoise.events.facts import Label

__all__ = ["is_taken_back", "standing"]


def is_taken_back(label: Label) -> bool:
    """Whether a label only takes another back: it names that one, and says nothing in its place.

    A rater who passes says so with a label that has no value and takes no other's place.

    >>> given = Label(experiment="e", happened=1.0, name="thumbs", rater="jo", item="t", value=1.0)
    >>> is_taken_back(Label(experiment="e", happened=2.0, name="thumbs", rater="jo", item="t", replaces=given.event_id))
    True
    """
    return label.replaces is not None and label.value is None


def standing(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The labels, in the order of the log, without those that were replaced or taken back.

    >>> first = Label(experiment="e", happened=1.0, name="thumbs", rater="jo", item="t", value=1.0)
    >>> second = Label(experiment="e", happened=2.0, name="thumbs", rater="jo", item="t", value=0.0, replaces=first.event_id)
    >>> [label.value for label in standing([first, second])]
    [0.0]
    """
    found: dict[str, Label] = {}
    for label in labels:
        if label.replaces is not None:
            found.pop(label.replaces, None)
        if not is_taken_back(label):
            found[label.event_id] = label
    return tuple(found.values())
