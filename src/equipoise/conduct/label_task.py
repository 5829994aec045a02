"""What people are asked and shown: questions, the settings of a task, an item as a rater sees it, progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.conduct.label_items import Ask
from equipoise.errors import UsageError
from equipoise.events.texts import Said
from equipoise.experiment.definition import Experiment

__all__ = [
    "FIRST",
    "NEITHER",
    "SECOND",
    "Progress",
    "Question",
    "Settings",
    "Shown",
    "questions_of",
    "rater_name",
]

NEITHER, FIRST, SECOND = 0, 1, 2
"""The answers to `preference`, as they are given: the one shown first, the one shown second, neither."""
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is asked of an item: the `name` of its label, the words, and the answers there are."""

    name: str
    words: str
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How people label. `overlap` is the share of items that each go to `raters` people; the others go to one.

    `seed` decides who sees what in which order.
    """

    ask: Ask
    overlap: float = 0.0
    raters: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An item as its rater sees it: no variant is named, and the order of two answers is the rater's own.

    `given` holds what the rater answered before, as it was given (None: passed), and `seen` stands for it: an answer
    that comes back with another `seen` was given in a window that knew less. `previous` and `next` are keys of items.
    """

    key: str
    questions: tuple[Question, ...]
    asked: tuple[Said, ...]
    context: tuple[str, ...]
    answers: tuple[str, ...]
    given: Mapping[str, int | None] | None
    seen: str
    previous: str | None
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is: items that the rater answered and that are left for them; items labelled in full, of all.

    `last` stands for the rater's last answer, which is what can be taken back; None where there is none.
    """

    answered: int
    left: int
    complete: int
    items: int
    last: str | None


def questions_of(experiment: Experiment, ask: Ask) -> tuple[Question, ...]:
    """What is asked: which of two is better, thumbs, or a grade for every axis of the definition's rubric.

    UsageError where grades are asked for and the definition has no rubric.
    """
    if ask == "preference":
        return (Question("preference", "Which answer is better?", (FIRST, SECOND, NEITHER)),)
    if ask == "thumbs":
        return (Question("thumbs", "Is this a good answer?", (1, 0)),)
    rubric = experiment.offline.rubric if experiment.offline is not None else None
    if rubric is None:
        raise UsageError(
            f"{experiment.name} has no rubric (`offline.rubric`), so there are no axes to grade. "
            "Ask for --ask preference or --ask thumbs, or give it one"
        )
    return tuple(
        Question(axis, words, tuple(range(1, rubric.top + 1))) for axis, words in rubric.axes.items()
    )


def rater_name(text: str) -> str:
    """A rater's name as it is kept, without spaces around it; UsageError for none, a long or an unprintable one.

    >>> rater_name("  Jo ")
    'Jo'
    """
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"a rater needs a name of 1 to {_LONGEST_NAME} printable characters")
    return name
