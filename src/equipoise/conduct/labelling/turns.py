"""Live turns that people are asked about: drawn as they come, each read when it is shown.

A turn that joins changes nothing of those before it: what is drawn follows from the turn, or from its day.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.labelling.audit_set import AuditSet, week_of
from equipoise.conduct.labelling.items import Ask, Item, Material, fraction_of
from equipoise.errors import UsageError
from equipoise.events.facts import Outcome, Score, Shadow, Turn
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment

__all__ = ["Disagreement", "TurnSource", "live_turns", "ration_of"]

_TOLD = ("user", "assistant", "tool", "function")
"""Whose messages a rater reads. What the system was told tells the variants apart."""
_AT_ONCE = 200
_READ = 20_000
"""So many facts are read at a time, after the first time: somebody waits for the page."""
_TEXT_S = 60.0
"""So many seconds a text may be on its way: turn and text are written apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Turns to be labelled because judge and outcome disagree, beside those drawn at random: at most `most`.

    So many of each week, where the definition rations labels by the week. The judge passes a turn whose `score` is at least
    `bar`; the outcome is good where it is true (or at least one half), or the reverse with `lower_is_better`.
    """

    most: int
    score: str
    bar: float
    outcome: str
    lower_is_better: bool = False


def ration_of(experiment: Experiment, ask: Ask) -> int | None:
    """How many labels a week the definition asks for of its judge's turns; None where it leaves that open.

    Pairs are no part of it: a judge of single answers is not audited by which of two is better.
    """
    judge = experiment.online_judge
    return None if judge is None or ask == "preference" else judge.labels_per_week


def live_turns(
    log: EventLog,
    texts: TextStore,
    experiment: Experiment,
    ask: Ask,
    *,
    share: float = 1.0,
    salt: str = "",
    disagreement: Disagreement | None = None,
    clock: Clock | None = None,
) -> TurnSource:
    """The turns of a revision whose text was kept, those that are there and those that come.

    Where the definition rations labels (`ration_of`), those of each week's audit set; else each is drawn with probability
    `share`, for `preference` those that have a shadow's text as well. An item's `probability` is that of both draws:
    that its text was kept (or that it was to be judged), and that it was labelled. Turns where judge and outcome
    disagree come beside them, of those that the draw at random has passed by. UsageError where nothing that has a text
    has the score that a disagreement is about.
    """
    source = TurnSource(
        log, texts, experiment, ask, share=share, salt=salt, disagreement=disagreement, clock=clock
    )
    source.fresh()
    if disagreement is not None:
        source.disputes.insist({item.item for item in source.items})
    return source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """What may become an item: `event_id` is that of its turn, `kept` the probability that its text was kept."""

    event_id: str
    trace: str
    variant: str
    unit: str | None
    kept: float
    week: int | None = None

    @classmethod
    def of(cls, turn: Turn, kept: float, week: int | None = None) -> _Candidate:
        assert turn.trace is not None
        assert turn.variant is not None
        return cls(
            event_id=turn.event_id,
            trace=turn.trace,
            variant=turn.variant,
            unit=turn.unit,
            kept=kept,
            week=week,
        )

    def item(self, draw: str, probability: float) -> Item:
        return Item(
            item=self.trace,
            trace=self.trace,
            variant=self.variant,
            unit=self.unit,
            cluster=self.unit,
            draw=draw,
            probability=probability,
            week=self.week,
        )


class TurnSource:
    """Live turns; a text that has expired meanwhile is shown to nobody. Made by `live_turns`."""

    def __init__(
        self,
        log: EventLog,
        texts: TextStore,
        experiment: Experiment,
        ask: Ask,
        *,
        share: float,
        salt: str,
        disagreement: Disagreement | None,
        clock: Clock | None,
    ) -> None:
        self.ration = ration_of(experiment, ask)
        self.grows = True
        self.disputes = _Disputes(experiment, disagreement, salt)
        self._log, self._texts, self._experiment = log, texts, experiment
        self._compares, self._share, self._salt = ask == "preference", share, salt
        self._clock = clock or SystemClock()
        self._audit = None if self.ration is None else AuditSet(experiment, self.ration)
        self._arms = {each.name for each in experiment.variants}
        if self._compares:
            self._arms.discard(experiment.control.name)
        self._items: dict[str, Item] = {}
        self._position, self._first = 0, True
        # What was heard of and waits: for its text, or for its day to be over.
        self._waiting: list[tuple[Turn | Shadow, float]] = []
        self._of_day: list[tuple[float, _Candidate]] = []

    @property
    def items(self) -> Sequence[Item]:
        """All that have joined, in that order."""
        return tuple(self._items.values())

    def fresh(self) -> Sequence[Item]:
        """What has joined since this was asked last."""
        now = self._clock.now()
        whole = self._hear()
        if self._audit is None:
            joined = list(self._drawn(self._paired(now) if self._compares else self._answered(now)))
        else:
            # Of how many a day's part is drawn is known once all of them were heard of.
            joined = list(self._audited(self._audit, now)) if whole else []
        self._first = False
        found = []
        for item in chain(joined, self.disputes.fresh()):
            if item.key not in self._items:
                self._items[item.key] = item
                found.append(item)
        return found

    def read(self, item: Item) -> Material | None:
        """The text of a turn, with its shadow's where two are compared."""
        found = self._texts.of_traces([item.item], now=self._clock.now())
        turn = next((text for text in found if text.kind == "turn"), None)
        if turn is None:
            return None
        answers = {self._experiment.control.name if self._compares else item.variant: _answer(turn)}
        if self._compares:
            shadow = next((t for t in found if t.kind == "shadow" and t.variant == item.variant), None)
            if shadow is None:
                return None
            answers[item.variant] = _answer(shadow)
        return Material(
            asked=tuple(each for each in turn.request if each.role in _TOLD),
            # What was retrieved may differ between the two; it belongs to one answer.
            context=() if self._compares else turn.context,
            answers=answers,
        )

    def _hear(self) -> bool:
        """What the log has accepted since; whether that was all of it."""
        kinds = ("shadow" if self._compares else "turn", *self.disputes.kinds)
        records = self._log.read_since(self._position, experiment=self._experiment.name, kinds=kinds)
        for looked, record in enumerate(records, 1):
            self._position = record.position
            fact = record.fact
            if isinstance(fact, Score | Outcome):
                self.disputes.hear(fact)
            elif isinstance(fact, Shadow) and self._compares:
                # The gateway says whether it kept the text; whoever names no turn says nothing.
                if fact.sampled or fact.of is None:
                    self._waiting.append((fact, record.received))
            elif isinstance(fact, Turn):
                self._turn(fact, record.received)
            if looked >= _READ and not self._first:
                return False
        return True

    def _turn(self, turn: Turn, received: float) -> None:
        if self._audit is None:
            if turn.sampled and turn.trace is not None and self._may_join(turn.event_id):
                self._waiting.append((turn, received))
        elif self._audit.hear(turn, received) and self.disputes.wanted is not None:
            self._of_day.append((received, _Candidate.of(turn, turn.sampled or 1.0, week_of(received))))

    def _may_join(self, event_id: str | None) -> bool:
        """Whether a turn will be an item, if it has its text: of disputes any may."""
        return event_id is None or self.disputes.wanted is not None or self._by_chance(event_id)

    def _by_chance(self, event_id: str) -> bool:
        return fraction_of(self._salt, "draw", event_id) < self._share

    def _audited(self, audit: AuditSet, now: float) -> Iterator[Item]:
        taken = set()
        for each in audit.close(now):
            taken.add(each.turn.event_id)
            candidate = _Candidate.of(each.turn, each.turn.sampled or 1.0, each.week)
            yield candidate.item("audit", each.probability)
        # Of a day that is not over nobody knows what the draw at random will take.
        passed = [one for received, one in self._of_day if audit.is_drawn(received)]
        self._of_day = [each for each in self._of_day if not audit.is_drawn(each[0])]
        self.disputes.offer(each for each in passed if each.event_id not in taken)

    def _drawn(self, candidates: Iterable[_Candidate]) -> Iterator[Item]:
        for each in candidates:
            if self._by_chance(each.event_id):
                yield each.item("audit", self._share * each.kept)
            else:
                self.disputes.offer([each])

    def _answered(self, now: float) -> Iterator[_Candidate]:
        """The turns whose text is there; the others wait for it a little."""
        ids = [fact.event_id for fact, _ in self._waiting]
        if self._first or len(ids) > _AT_ONCE:
            experiment = self._experiment
            kept = {each for each, _ in self._texts.turns(experiment.name, experiment.digest, now=now)}
        else:
            found = self._texts.named(ids, now=now) if ids else ()
            kept = {text.event_id for text in found if text.digest == self._experiment.digest}
        heard, self._waiting = self._waiting, []
        for fact, received in heard:
            if fact.event_id not in kept:
                if now - received < _TEXT_S:
                    self._waiting.append((fact, received))
            elif isinstance(fact, Turn) and fact.variant in self._arms:
                yield _Candidate.of(fact, fact.sampled or 1.0)

    def _paired(self, now: float) -> Iterator[_Candidate]:
        """What control served beside what a treatment would have answered, where both texts are there."""
        heard, self._waiting = self._waiting, []
        some = [
            (fact, received)
            for fact, received in heard
            if fact.trace is not None
            and fact.variant in self._arms
            and self._may_join(fact.of if isinstance(fact, Shadow) else None)
        ]
        for at in range(0, len(some), _AT_ONCE):
            part = some[at : at + _AT_ONCE]
            traces = list(dict.fromkeys(fact.trace for fact, _ in part if fact.trace is not None))
            served: dict[str, Text] = {}
            shadows = set()
            for text in self._texts.of_traces(traces, now=now):
                if text.digest != self._experiment.digest:
                    continue
                if text.kind == "shadow":
                    shadows.add((text.trace, text.variant))
                elif text.variant in (None, self._experiment.control.name):
                    served[text.trace] = text
            for fact, received in part:
                turn = served.get(fact.trace or "")
                if turn is not None and (fact.trace, fact.variant) in shadows:
                    assert fact.variant is not None
                    yield _Candidate(
                        event_id=turn.event_id,
                        trace=turn.trace,
                        variant=fact.variant,
                        unit=fact.unit,
                        kept=turn.probability,
                    )
                elif now - received < _TEXT_S:
                    self._waiting.append((fact, received))


@dataclass(slots=True)
class _Disputes:
    """Turns that the judge passed and the outcome did not, or the other way round, of those that are offered."""

    experiment: Experiment
    wanted: Disagreement | None
    salt: str
    passed: dict[str, bool] = field(default_factory=dict)
    good: dict[str, bool] = field(default_factory=dict)
    good_units: dict[str, bool] = field(default_factory=dict)
    offered: defaultdict[str, list[_Candidate]] = field(default_factory=lambda: defaultdict(list))
    of_unit: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    touched: set[str] = field(default_factory=set)
    given: Counter[int | None] = field(default_factory=Counter)

    @property
    def kinds(self) -> tuple[str, ...]:
        return () if self.wanted is None else ("score", "outcome")

    def hear(self, fact: Score | Outcome) -> None:
        """A score or an outcome; the last of a turn stands."""
        wanted = self.wanted
        if wanted is None:
            return
        if isinstance(fact, Score):
            if fact.name == wanted.score and fact.value is not None and fact.trace is not None:
                self.passed[fact.trace] = fact.value >= wanted.bar
                self.touched.add(fact.trace)
        elif fact.name == wanted.outcome:
            well = (fact.value >= 0.5) != wanted.lower_is_better
            if fact.trace is not None:
                self.good[fact.trace] = well
                self.touched.add(fact.trace)
            else:
                self.good_units[fact.unit] = well
                self.touched |= self.of_unit.get(fact.unit, set())

    def offer(self, candidates: Iterable[_Candidate]) -> None:
        """Turns that were not drawn at random, and never will be."""
        if self.wanted is None:
            return
        for each in candidates:
            self.offered[each.trace].append(each)
            self.touched.add(each.trace)
            if each.unit is not None:
                self.of_unit[each.unit].add(each.trace)

    def insist(self, drawn: AbstractSet[str]) -> None:
        """UsageError where there are turns, drawn at random (their traces) or offered, and none of them has the score."""
        known = drawn | self.offered.keys()
        if self.wanted is not None and known and not self.passed.keys() & known:
            raise UsageError(
                f"no turn whose text is there has a score called '{self.wanted.score}', so nothing can disagree with "
                f"{self.wanted.outcome}. Name another with --score, or leave out --disagreements"
            )

    def fresh(self) -> Iterator[Item]:
        """Those that are newly found, in a random order, until there are enough of their week."""
        if self.wanted is None or not self.touched:
            return
        found = [each for trace in self.touched for each in self.offered.get(trace, ()) if self._apart(each)]
        self.touched.clear()
        for each in sorted(found, key=lambda one: fraction_of(self.salt, "disagreement", one.event_id)):
            if self.given[each.week] < self.wanted.most:
                self.given[each.week] += 1
                self.offered[each.trace].remove(each)
                yield each.item("disagreement", each.kept)

    def _apart(self, each: _Candidate) -> bool:
        well = self.good.get(each.trace, self.good_units.get(each.unit or ""))
        return well is not None and each.trace in self.passed and self.passed[each.trace] != well


def _answer(text: Text) -> str:
    calls = [f"→ {call.name}({call.arguments})" for call in text.tools]
    return "\n".join([*([text.answer] if text.answer else []), *calls])
