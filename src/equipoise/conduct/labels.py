"""People label: who is shown what next, in which order, and what becomes of an answer. Doors show it and hold no logic.

All state is folded from the labels in the log, so several raters, windows and processes agree, and nothing is lost with
a process.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.labelling.audit_set import week_name, week_of
from equipoise.conduct.labelling.items import Item, Material, Source, fraction_of
from equipoise.conduct.labelling.task import (
    Progress,
    Settings,
    Shown,
    ThisWeek,
    check_choices,
    preference_choice,
    preference_value,
    questions_of,
    rater_name,
)
from equipoise.errors import UsageError
from equipoise.events.facts import Label
from equipoise.events.ids import new_id
from equipoise.events.labels import is_taken_back
from equipoise.events.log import EventLog, StaleHeadError
from equipoise.experiment.definition import Experiment

__all__ = ["AnsweredElsewhereError", "Labelling"]

_LONGEST_S = 86_400.0
_TRIES = 20
_REMEMBERED = 100
"""Raters whose order is kept at hand."""


class AnsweredElsewhereError(UsageError):
    """The rater answered the same item in another window meanwhile; that answer stands."""


_Place: TypeAlias = tuple[int, float, str]


@dataclass(slots=True)
class _Answer:
    """What one rater says of one item: a standing label for each question."""

    labels: dict[str, Label] = field(default_factory=dict)
    position: int = 0

    @property
    def seen(self) -> str:
        return " ".join(sorted(label.event_id for label in self.labels.values()))


class Labelling:
    """A task for people: the items of a source, asked one by one. Safe to share between threads.

    Order, overlap and which of two answers stands first follow from the seed, the item and the rater, so a page that is
    loaded again is the same page. Items that join meanwhile take their place in each rater's order, and change nothing of
    the others; of audit sets this week's come first.
    """

    def __init__(
        self,
        log: EventLog,
        experiment: Experiment,
        source: Source,
        settings: Settings,
        *,
        clock: Clock | None = None,
    ) -> None:
        if settings.raters < 1 or not 0.0 <= settings.overlap <= 1.0:
            raise UsageError(
                f"an overlap is a share from 0 to 1 and goes to at least one rater, not {settings.overlap:g} to "
                f"{settings.raters}"
            )
        if not source.items and not source.grows:
            none = f"no item with the texts that {settings.ask} needs was drawn. Draw a larger --share"
            raise UsageError(f"there is nothing to label of {experiment.name}: {none}")
        self.experiment, self.settings = experiment, settings
        self.questions = questions_of(experiment, settings.ask)
        self._log, self._source, self._clock = log, source, clock or SystemClock()
        self._salt = f"{experiment.digest}:{settings.seed}"
        self._items: dict[str, Item] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._wanted: dict[str, int] = {}
        self._lock = threading.RLock()
        self._position = 0
        self._answers: dict[str, dict[str, _Answer]] = {}
        self._early: dict[tuple[str, str], list[tuple[Label, int]]] = {}
        self._complete: set[str] = set()
        self._mine: dict[str, dict[str, int]] = {}
        self._gone: set[str] = set()
        self._digests: dict[str, str] = {}
        self._turns: dict[str, list[_Place]] = {}
        for each in source.items:
            self._join(each)

    @property
    def grows(self) -> bool:
        """Whether items may still join."""
        return self._source.grows

    # What is there.

    def next(self, rater: str) -> str | None:
        """The key of the item that a rater is asked next; None where nothing is left for them."""
        with self._lock:
            self._catch_up()
            return next(self._open(rater), None)

    def show(self, rater: str, key: str) -> Shown | None:
        """An item as the rater sees it; None where there is no such item, or its text is there no more."""
        with self._lock:
            self._catch_up()
            item = self._items.get(key)
            material = None if item is None else self._material(item)
            if item is None or material is None:
                return None
            path = self._path(rater)
            here = path.index(key) if key in path else None
            answer = self._answers[key].get(rater)
            return Shown(
                key=key,
                questions=self.questions,
                asked=material.asked,
                context=material.context,
                answers=tuple(material.answers[name] for name in self._order(rater, item)),
                given=None
                if answer is None
                else {name: self._choice(rater, item, label.value) for name, label in answer.labels.items()},
                seen="" if answer is None else answer.seen,
                previous=path[here - 1] if here else None,
                next=path[here + 1] if here is not None and here + 1 < len(path) else None,
            )

    def progress(self, rater: str) -> Progress:
        """How far the rater is, and all of them together."""
        with self._lock:
            self._catch_up()
            last = self._last(rater)
            return Progress(
                answered=len(self._mine.get(rater, ())),
                left=sum(1 for _ in self._open(rater)),
                complete=len(self._complete - self._gone),
                items=len(self._items) - len(self._gone),
                last=None if last is None else self._answers[last][rater].seen,
                week=self._week(),
            )

    def _week(self) -> ThisWeek | None:
        """How far the audit set of this week is, and what is left of those before."""
        if self._source.ration is None:
            return None
        week = week_of(self._clock.now())
        drawn = {key for key, item in self._items.items() if item.draw == "audit"}
        mine = {key for key in drawn if self._items[key].week == week}
        return ThisWeek(
            week=week_name(week),
            ration=self._source.ration,
            drawn=len(mine),
            labelled=len(mine & self._complete),
            earlier=len(drawn - mine - self._complete - self._gone),
        )

    # What is said.

    def answer(
        self,
        rater: str,
        key: str,
        choices: Mapping[str, int | None],
        *,
        seen: str = "",
        seconds: float | None = None,
    ) -> None:
        """Keep an answer; it is durable when this returns. `choices` holds one for every question, None to pass.

        The same answer once more changes nothing. Raises UsageError for no such item or choice, and
        AnsweredElsewhereError where the rater's answer is not the one that was `seen`.
        """
        rater = rater_name(rater)
        item = self._items.get(key)
        material = None if item is None else self._material(item)
        if item is None or material is None:
            raise UsageError("there is no such item, or its text is there no more; go on with the next")
        check_choices(self.questions, choices)
        if seconds is not None and not 0.0 <= seconds <= _LONGEST_S:
            seconds = None
        first = self._order(rater, item)[0] if len(material.answers) > 1 else None
        values = {name: self._value(item, first, choice) for name, choice in choices.items()}
        now = self._clock.now()
        for _ in range(_TRIES):
            with self._lock:
                self._catch_up()
                before = self._answers[key].get(rater) or _Answer()
                if {name: label.value for name, label in before.labels.items()} == values:
                    return
                if before.seen != seen:
                    raise AnsweredElsewhereError(
                        "you answered this in another window meanwhile, and that answer stands; change it here if you "
                        "think otherwise"
                    )
                facts = [
                    fact
                    for name, value in values.items()
                    for fact in self._labels(
                        Label(
                            experiment=self.experiment.name,
                            happened=now,
                            name=name,
                            rater=rater,
                            item=item.item,
                            value=value,
                            unit=item.unit,
                            trace=item.trace,
                            variant=item.variant,
                            first=first,
                            draw=item.draw,
                            probability=item.probability,
                            seconds=None if seconds is None else round(seconds, 3),
                            digest=self.experiment.digest,
                            shown=material.digest,
                        ),
                        before.labels.get(name),
                    )
                ]
                if self._keep(facts):
                    return
        raise UsageError("the log was busy, and nothing was kept; answer once more")

    def undo(self, rater: str, last: str) -> str | None:
        """Take back the rater's last answer, if it is still the one that `last` stands for; the key of its item."""
        for _ in range(_TRIES):
            with self._lock:
                self._catch_up()
                key = self._last(rater)
                if key is None:
                    return None
                answer = self._answers[key][rater]
                if answer.seen != last:
                    return None
                if self._keep([self._taken_back(label) for label in answer.labels.values()]):
                    return key
        raise UsageError("the log was busy, and nothing was taken back; try once more")

    def _labels(self, label: Label, before: Label | None) -> Sequence[Label]:
        """The facts of an answer in another's place."""
        if before is None:
            return (label,)
        if label.value is None:
            # Without a value and in another's place it would say that nothing was said: it is taken back, then passed.
            return (self._taken_back(before), label)
        return (replace(label, replaces=before.event_id),)

    def _taken_back(self, label: Label) -> Label:
        return replace(
            label,
            event_id=new_id(),
            happened=self._clock.now(),
            value=None,
            seconds=None,
            replaces=label.event_id,
        )

    def _keep(self, facts: Sequence[Label]) -> bool:
        """Whether the facts were kept: not if somebody's label came meanwhile."""
        try:
            self._log.append_if(facts, self._position, experiment=self.experiment.name, kinds=(Label.kind,))
        except StaleHeadError:
            return False
        return True

    # What follows from the labels.

    def _join(self, item: Item) -> None:
        """Take in an item, with what was said of it by those who heard of it before."""
        key, named = item.key, (item.item, item.variant)
        self._items[key], self._keys[named] = item, key
        several = fraction_of(self._salt, "overlap", key) < self.settings.overlap
        self._wanted[key] = self.settings.raters if several else 1
        self._answers[key] = {}
        for rater, order in self._turns.items():
            insort(order, self._place(rater, item))
        for label, position in self._early.pop(named, ()):
            self._fold(label, position)

    def _catch_up(self) -> None:
        for item in self._source.fresh():
            if item.key not in self._items:
                self._join(item)
        for record in self._log.read_since(
            self._position, experiment=self.experiment.name, kinds=(Label.kind,)
        ):
            self._position = record.position
            label = record.fact
            if isinstance(label, Label):
                self._fold(label, record.position)

    def _fold(self, label: Label, position: int) -> None:
        if all(label.name != question.name for question in self.questions):
            return
        named = label.item, label.variant or ""
        key = self._keys.get(named)
        if key is None:
            if self._source.grows:
                self._early.setdefault(named, []).append((label, position))
            return
        if label.trace is None and label.shown != self._shown_digest(key):
            # A case of another run: what was said of other answers is not said of these.
            return
        answers = self._answers[key].setdefault(label.rater, _Answer())
        standing = answers.labels.get(label.name)
        if standing is not None and label.replaces == standing.event_id:
            del answers.labels[label.name]
        if not is_taken_back(label):
            answers.labels[label.name] = label
            answers.position = position
        if not answers.labels:
            del self._answers[key][label.rater]
        self._settle(key, label.rater)

    def _settle(self, key: str, rater: str) -> None:
        """What follows for a rater, and for the item: who passed leaves it to another."""
        answers = self._answers[key]
        mine = self._mine.setdefault(rater, {})
        if rater in answers and len(answers[rater].labels) == len(self.questions):
            mine[key] = answers[rater].position
        else:
            mine.pop(key, None)
        said = sum(
            len(each.labels) == len(self.questions)
            and any(label.value is not None for label in each.labels.values())
            for each in answers.values()
        )
        if said >= self._wanted[key]:
            self._complete.add(key)
        else:
            self._complete.discard(key)

    def _shown_digest(self, key: str) -> str | None:
        if key not in self._digests:
            material = self._source.read(self._items[key])
            if material is None:
                return None
            self._digests[key] = material.digest
        return self._digests[key]

    def _last(self, rater: str) -> str | None:
        mine = self._mine.get(rater, {})
        return max(mine, key=mine.__getitem__, default=None)

    def _open(self, rater: str) -> Iterator[str]:
        """What is left for a rater, in an order of their own: two who start together seldom meet."""
        if rater not in self._turns:
            if len(self._turns) >= _REMEMBERED:
                self._turns.clear()
            self._turns[rater] = sorted(self._place(rater, item) for item in self._items.values())
        over = self._gone | self._complete | self._mine.get(rater, {}).keys()
        return (key for _, _, key in self._turns[rater] if key not in over)

    def _place(self, rater: str, item: Item) -> _Place:
        """Where an item stands in a rater's order: of the latest week first, else by chance."""
        return -(item.week or 0), fraction_of(self._salt, "turn", rater, item.key), item.key

    def _path(self, rater: str) -> list[str]:
        """What the rater answered, in that order, and what is left."""
        mine = self._mine.get(rater, {})
        return [*sorted(mine, key=mine.__getitem__), *self._open(rater)]

    def _material(self, item: Item) -> Material | None:
        material = self._source.read(item)
        if material is None:
            self._gone.add(item.key)
        else:
            self._digests[item.key] = material.digest
        return material

    def _order(self, rater: str, item: Item) -> tuple[str, ...]:
        if self.settings.ask != "preference":
            return (item.variant,)
        control = self.experiment.control.name
        ahead = fraction_of(self._salt, "order", rater, item.key) < 0.5
        return (item.variant, control) if ahead else (control, item.variant)

    def _value(self, item: Item, first: str | None, choice: int | None) -> float | None:
        if choice is None or self.settings.ask != "preference":
            return None if choice is None else float(choice)
        return preference_value(choice, variant_first=first == item.variant)

    def _choice(self, rater: str, item: Item, value: float | None) -> int | None:
        if value is None or self.settings.ask != "preference":
            return None if value is None else round(value)
        return preference_choice(value, variant_first=self._order(rater, item)[0] == item.variant)
