"""What people are asked about: cases of an arena run, or live turns whose text was kept; drawn by a hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Protocol

import orjson

from equipoise.clock import Clock, SystemClock
from equipoise.errors import DataError, UsageError
from equipoise.events.facts import Outcome, Score, Turn
from equipoise.events.log import EventLog
from equipoise.events.texts import Said, Text, TextStore
from equipoise.experiment.definition import Experiment

__all__ = [
    "ASKS",
    "Ask",
    "CaseSource",
    "Disagreement",
    "Item",
    "Material",
    "Source",
    "TurnSource",
    "cases_of_run",
    "fraction_of",
    "live_turns",
]

Ask = Literal["preference", "grades", "thumbs"]
ASKS: tuple[Ask, ...] = ("preference", "grades", "thumbs")
_TOLD = ("user", "assistant", "tool", "function")
"""Whose messages a rater reads. What the system was told tells the variants apart."""
_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to label. `item` is a trace or a case's id; `variant` the arm that is graded, or compared with control.

    `draw` and `probability` are as in a `Label`. `cluster` names what belongs together: the unit of a turn, the cluster
    of a case.
    """

    item: str
    variant: str
    unit: str | None = None
    trace: str | None = None
    cluster: str | None = None
    draw: str = "audit"
    probability: float = 1.0

    @cached_property
    def key(self) -> str:
        """What stands for the item on a page: 128 bits of BLAKE2b, which name neither trace nor variant."""
        return blake2b(f"{self.item}\0{self.variant}".encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The texts of an item: what was asked, the context of the answer, and an answer by variant."""

    asked: tuple[Said, ...]
    answers: Mapping[str, str]
    context: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """128 bits of BLAKE2b over the question and the answers: labels are of these texts and of no others."""
        plain = [[each.role, each.text] for each in self.asked], sorted(self.answers.items())
        return blake2b(repr(plain).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


class Source(Protocol):
    """Where items and their texts come from."""

    @property
    def items(self) -> Sequence[Item]: ...

    def read(self, item: Item) -> Material | None:
        """The texts of an item; None where they are there no more."""
        ...


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Cases of a run of the arena: the first sample's answers."""

    items: tuple[Item, ...]
    materials: Mapping[str, Material] = field(repr=False)

    def read(self, item: Item) -> Material | None:
        """The texts of an item, by its key."""
        return self.materials.get(item.key)


@dataclass(frozen=True, slots=True)
class TurnSource:
    """Live turns, each read when it is shown: a text that has expired meanwhile is shown to nobody."""

    items: tuple[Item, ...]
    texts: TextStore = field(repr=False)
    control: str
    compares: bool
    clock: Clock = field(default_factory=SystemClock, repr=False)

    def read(self, item: Item) -> Material | None:
        """The text of a turn, with its shadow's where two are compared."""
        found = self.texts.of_traces([item.item], now=self.clock.now())
        turn = next((text for text in found if text.kind == "turn"), None)
        if turn is None:
            return None
        answers = {self.control if self.compares else item.variant: _answer(turn)}
        if self.compares:
            shadow = next((t for t in found if t.kind == "shadow" and t.variant == item.variant), None)
            if shadow is None:
                return None
            answers[item.variant] = _answer(shadow)
        return Material(
            asked=tuple(each for each in turn.request if each.role in _TOLD),
            # What was retrieved may differ between the two; it belongs to one answer.
            context=() if self.compares else turn.context,
            answers=answers,
        )


def _answer(text: Text) -> str:
    calls = [f"→ {call.name}({call.arguments})" for call in text.tools]
    return "\n".join([*([text.answer] if text.answer else []), *calls])


def fraction_of(salt: str, *what: str) -> float:
    """A number in [0, 1) that follows from a salt and what it is about, and from nothing else.

    >>> 0.0 <= fraction_of("seed 7", "draw", "item") < 1.0
    True
    """
    digest = blake2b("\0".join((salt, *what)).encode("utf-8", "replace"), digest_size=8).digest()
    # 53 bits fit a float exactly, so that 1 is never reached by rounding.
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


def cases_of_run(
    path: Path, experiment: Experiment, ask: Ask, *, share: float = 1.0, salt: str = ""
) -> CaseSource:
    """The cases of a run that `equipoise arena` kept, as items: for `preference` one for each treatment, else for each arm.

    Each is drawn with probability `share`. A case to which an arm gave no answer is no item of that arm. DataError for
    a file that is no such run, or holds none of the definition's variants.
    """
    kept = _run(path)
    arms = [variant.name for variant in experiment.variants]
    control = experiment.control.name
    items: list[Item] = []
    materials: dict[str, Material] = {}
    try:
        for case in kept["by_case"]:
            said = {name: told for name in arms if (told := _first(case["answers"].get(name))) is not None}
            asked = (Said("user", str(case["asked"])),)
            for name, text in said.items():
                if ask == "preference" and (name == control or control not in said):
                    continue
                shown = {name: text} | ({control: said[control]} if ask == "preference" else {})
                item = Item(
                    item=str(case["id"]), variant=name, cluster=case.get("cluster"), probability=share
                )
                if fraction_of(salt, "draw", item.key) < share:
                    items.append(item)
                    materials[item.key] = Material(asked=asked, answers=shown)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the run {path} is not whole: {type(error).__name__} {error}. Run the arena again"
        ) from None
    if not kept["by_case"] or not any(name in case["answers"] for case in kept["by_case"] for name in arms):
        raise DataError(
            f"the run {path} holds no answer of {', '.join(arms)}. Run the arena with this definition, or name "
            "its run with --run"
        )
    return CaseSource(tuple(items), materials)


def _run(path: Path) -> Mapping[str, Any]:
    try:
        kept = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"the run {path} cannot be read: {error.strerror or error}. Make it with: equipoise arena FILE"
        ) from None
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"the run {path} is not JSON: {error}. Accepted: NAME.arena.json of `equipoise arena`"
        ) from None
    if not isinstance(kept, dict) or kept.get("equipoise") != "arena":
        raise DataError(f"{path} is no run of the arena. Accepted: NAME.arena.json of `equipoise arena`")
    return kept


def _first(samples: Sequence[str | None] | None) -> str | None:
    return samples[0] if samples else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Turns to be labelled because judge and outcome disagree, beside those drawn at random: at most `most`.

    The judge passes a turn whose `score` is at least `bar`; the outcome is good where it is true (or at least one half),
    or the reverse with `lower_is_better`.
    """

    most: int
    score: str
    bar: float
    outcome: str
    lower_is_better: bool = False


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
    """The turns of a revision whose text was kept, each drawn with probability `share`: the audit set.

    For `preference` those that have a shadow's text as well. An item's `probability` is that of having its text kept times
    `share`. Turns where judge and outcome disagree come beside them, and not where the audit holds them already.
    """
    clock = clock or SystemClock()
    kept = {event_id for event_id, _ in texts.turns(experiment.name, experiment.digest, now=clock.now())}
    turns = [
        turn
        for record in log.read_since(0, experiment=experiment.name, kinds=("turn",))
        if isinstance(turn := record.fact, Turn) and turn.event_id in kept and turn.trace is not None
    ]
    drawn = [turn for turn in turns if fraction_of(salt, "draw", turn.event_id) < share]
    compares = ask == "preference"
    items_of = _pairs(texts, experiment, clock) if compares else _singles(experiment)
    items = list(items_of(drawn, "audit", share))
    if disagreement is not None:
        audit = {turn.event_id for turn in drawn}
        rest = [
            turn for turn in _disputed(log, experiment, disagreement, turns) if turn.event_id not in audit
        ]
        rest.sort(key=lambda turn: fraction_of(salt, "disagreement", turn.event_id))
        items += list(items_of(rest, "disagreement", 1.0))[: disagreement.most]
    return TurnSource(tuple(items), texts, experiment.control.name, compares, clock)


_ItemsOf = Callable[[Sequence[Turn], str, float], Iterable[Item]]


def _item(turn: Turn, variant: str, draw: str, share: float) -> Item:
    assert turn.trace is not None
    return Item(
        item=turn.trace,
        trace=turn.trace,
        variant=variant,
        unit=turn.unit,
        cluster=turn.unit,
        draw=draw,
        probability=share * (turn.sampled or 1.0),
    )


def _singles(experiment: Experiment) -> _ItemsOf:
    arms = {variant.name for variant in experiment.variants}

    def items(turns: Sequence[Turn], draw: str, share: float) -> Iterable[Item]:
        return (
            _item(turn, turn.variant, draw, share) for turn in turns if turn.variant in arms and turn.variant
        )

    return items


def _pairs(texts: TextStore, experiment: Experiment, clock: Clock) -> _ItemsOf:
    """What was served by control, beside what a treatment would have answered."""
    control, arms = experiment.control.name, {variant.name for variant in experiment.treatments}

    def items(turns: Sequence[Turn], draw: str, share: float) -> Iterable[Item]:
        served = {turn.trace: turn for turn in turns if turn.trace and turn.variant in (None, control)}
        traces = list(served)
        for at in range(0, len(traces), _AT_ONCE):
            some = [trace for trace in traces[at : at + _AT_ONCE] if trace]
            for text in texts.of_traces(some, now=clock.now()):
                if text.kind == "shadow" and text.variant in arms and text.variant:
                    yield _item(served[text.trace], text.variant, draw, share)

    return items


def _disputed(
    log: EventLog, experiment: Experiment, wanted: Disagreement, turns: Sequence[Turn]
) -> list[Turn]:
    """The turns that the judge passed and the outcome did not, or the other way round."""
    traces = {turn.trace for turn in turns}
    units = {turn.unit for turn in turns}
    passed: dict[str, bool] = {}
    good: dict[str, bool] = {}
    of_unit: dict[str, bool] = {}
    for record in log.read_since(0, experiment=experiment.name, kinds=("score", "outcome")):
        fact = record.fact
        if isinstance(fact, Score) and fact.name == wanted.score and fact.trace in traces and fact.trace:
            if fact.value is not None:
                passed[fact.trace] = fact.value >= wanted.bar
        elif isinstance(fact, Outcome) and fact.name == wanted.outcome:
            well = (fact.value >= 0.5) != wanted.lower_is_better
            if fact.trace in traces and fact.trace:
                good[fact.trace] = well
            elif fact.trace is None and fact.unit in units:
                of_unit[fact.unit] = well
    if not passed:
        raise UsageError(
            f"no turn whose text is there has a score called '{wanted.score}', so nothing can disagree with "
            f"{wanted.outcome}. Name another with --score, or leave out --disagreements"
        )
    found = []
    for turn in turns:
        well_for = good.get(turn.trace or "", of_unit.get(turn.unit or ""))
        if well_for is not None and turn.trace in passed and passed[turn.trace] != well_for:
            found.append(turn)
    return found
