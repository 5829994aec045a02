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
    """The labels that stand, in the order of the log; a pass is one of them, as it is what a rater said last.

    Of a rater's labels of one item (and its variant) under one name the last stands, whether or not it names the one
    before; what was replaced or taken back does not, in whatever order the labels arrived.

    >>> told = {"experiment": "e", "name": "thumbs", "rater": "jo", "item": "t"}
    >>> first = Label(happened=1.0, value=1.0, **told)
    >>> second = Label(happened=2.0, value=0.0, replaces=first.event_id, **told)
    >>> back = Label(happened=3.0, replaces=second.event_id, **told)
    >>> standing([first, second]) == (second,), standing([first, second, back])
    (True, ())
    """
    told = list(labels)
    gone = {label.replaces for label in told if label.replaces is not None}
    last = {
        (label.name, label.item, label.trace, label.variant, label.rater): label.event_id
        for label in told
        if label.event_id not in gone
    }
    kept = set(last.values())
    return tuple(label for label in told if label.event_id in kept and not is_taken_back(label))
