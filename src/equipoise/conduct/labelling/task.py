"""What people are asked and shown: questions, the settings of a task, an item as a rater sees it, progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from equipoise.conduct.labelling.items import Ask
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
    "ThisWeek",
    "check_choices",
    "preference_choice",
    "preference_value",
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
class ThisWeek:
    """How far the audit set of an ISO `week` is, such as 2026-W48: of the `ration`, how many were `drawn` so far (a part
    each day), and `labelled` in full. `earlier` items of the sets of weeks before are left. By all raters together.

    >>> ThisWeek(week="2026-W48", ration=50, drawn=21, labelled=12, earlier=7).says
    '12 of 50 this week, 21 drawn so far; 7 left of earlier weeks'
    """

    week: str
    ration: int
    drawn: int
    labelled: int
    earlier: int

    @property
    def says(self) -> str:
        """That in words."""
        so_far = f", {self.drawn} drawn so far" if self.drawn < self.ration else ""
        left = f"; {self.earlier} left of earlier weeks" if self.earlier else ""
        return f"{self.labelled} of {self.ration} this week{so_far}{left}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is: items that the rater answered and that are left for them; items labelled in full, of all.

    `last` stands for the rater's last answer, which is what can be taken back; None where there is none. `week` is None
    where labels are not rationed by the week.
    """

    answered: int
    left: int
    complete: int
    items: int
    last: str | None
    week: ThisWeek | None = None


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


def check_choices(questions: Sequence[Question], choices: Mapping[str, int | None]) -> None:
    """UsageError unless each question has one of its answers (None: passed), and nothing else is answered."""
    for question in questions:
        if question.name not in choices:
            raise UsageError(f"{question.name} has no answer; answer it, or skip the item")
        choice = choices[question.name]
        if choice is not None and choice not in question.choices:
            raise UsageError(
                f"{choice} is no answer to {question.name}; accepted: {', '.join(map(str, question.choices))}"
            )
    unknown = set(choices) - {question.name for question in questions}
    if unknown:
        raise UsageError(f"{min(unknown)} is not asked")


def preference_value(choice: int, *, variant_first: bool) -> float:
    """An answer to `preference` as a label keeps it: 1 says that the variant is better and not control.

    >>> preference_value(FIRST, variant_first=False), preference_value(NEITHER, variant_first=False)
    (0.0, 0.5)
    """
    return 0.5 if choice == NEITHER else float((choice == FIRST) == variant_first)


def preference_choice(value: float, *, variant_first: bool) -> int:
    """The answer that a label keeps, as it was given.

    >>> preference_choice(0.0, variant_first=False) == FIRST
    True
    """
    if value == 0.5:
        return NEITHER
    return FIRST if (value == 1.0) == variant_first else SECOND


def rater_name(text: str) -> str:
    """A rater's name as it is kept, without spaces around it; UsageError for none, a long or an unprintable one.

    >>> rater_name("  Jo ")
    'Jo'
    """
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"a rater needs a name of 1 to {_LONGEST_NAME} printable characters")
    return name
