"""One conversation, or one trace, as it was: its turns with their texts, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.facts import Label, Outcome, Registration, Score, Turn, encode
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

__all__ = ["Conversation", "ToldTurn", "conversation"]


@dataclass(frozen=True, slots=True)
class ToldTurn:
    """A turn or a shadow, with its text; or, where there is none, why not."""

    turn: Turn
    text: Text | None
    why_not: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return _told(self.turn) | {
            "text": None if self.text is None else self.text.to_dict(),
            "why_not": self.why_not,
        }


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns in the order in which the log took them in, the outcomes of their units, and scores and labels.

    Scores and labels are those of these turns; those that name no turn are of their units.
    """

    turns: tuple[ToldTurn, ...]
    outcomes: tuple[Outcome, ...]
    scores: tuple[Score, ...]
    labels: tuple[Label, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "turns": [each.to_dict() for each in self.turns],
            "outcomes": [_told(each) for each in self.outcomes],
            "scores": [_told(each) for each in self.scores],
            "labels": [_told(each) for each in self.labels],
        }


def conversation(
    log: EventLog, texts: TextStore | None, what: str, *, clock: Clock | None = None
) -> Conversation:
    """What the log and the texts beside it hold of a trace, of a unit by its name, or of a turn by its event id.

    Every fact of traffic is read, so it takes as long as an export. RecordError where nothing is of that name.
    """
    now = (clock or SystemClock()).now()
    turns: list[Turn] = []
    definitions: dict[str, Experiment] = {}
    for record in log.read_since(0, kinds=("registration", "turn", "shadow")):
        fact = record.fact
        if isinstance(fact, Registration):
            definitions[fact.digest] = read_canonical(fact.definition)
        elif isinstance(fact, Turn) and what in (fact.trace, fact.unit, fact.event_id):
            turns.append(fact)
    if not turns:
        raise RecordError(
            f"this log holds no turn of a trace or a unit '{what}'. Name a trace by its 32 hexadecimal digits (the "
            "header x-equipoise-trace of a reply), or a unit as it was given"
        )
    found = (
        {} if texts is None else {text.event_id: text for text in texts.named([each.event_id for each in turns], now=now)}
    )  # fmt: skip
    units = {(each.experiment, each.unit) for each in turns if each.unit is not None}
    outcomes: list[Outcome] = []
    scores: list[Score] = []
    labels: list[Label] = []
    traces = {(each.experiment, each.trace) for each in turns}
    for record in log.read_since(0, kinds=("outcome", "score", "label")):
        fact = record.fact
        if isinstance(fact, Outcome) and (fact.experiment, fact.unit) in units:
            outcomes.append(fact)
        elif isinstance(fact, Score | Label):
            named, here = fact.trace is not None, (fact.experiment, fact.trace) in traces
            if here or (not named and (fact.experiment, fact.unit) in units):
                if isinstance(fact, Score):
                    scores.append(fact)
                else:
                    labels.append(fact)
    return Conversation(
        tuple(
            ToldTurn(
                each, text := found.get(each.event_id), None if text else _why_not(each, definitions, now)
            )
            for each in turns
        ),
        tuple(outcomes),
        tuple(scores),
        tuple(labels),
    )


def _why_not(turn: Turn, definitions: Mapping[str, Experiment], now: float) -> str:
    """Why there is no text of a turn, as far as the log can tell."""
    experiment = definitions.get(turn.digest or "")
    if turn.sampled is not None:
        if experiment is not None and turn.happened + experiment.capture.keep <= now:
            return f"its text has expired: the definition keeps texts for {experiment.capture.keep / 86_400:g} days"
        return (
            f"it was drawn, with probability {turn.sampled:g}, and its text is not there: it was purged, lost on its way "
            "(the gateway's /healthz counts those), or is kept elsewhere"
        )
    if experiment is None:
        return "no text was kept, and its definition is not in this log"
    if not experiment.text_share:
        return "no text was kept: the definition's `capture` says none"
    if experiment.capture.text == "sampled":
        return f"it was not drawn: the definition keeps the text of {experiment.text_share} of the turns"
    return "no text was kept: only the gateway keeps texts, and of completions and responses alone"


def _told(fact: Turn | Outcome | Score | Label) -> dict[str, Any]:
    named = {
        "kind": fact.kind,
        "event_id": fact.event_id,
        "experiment": fact.experiment,
        "happened": fact.happened,
    }
    body: dict[str, Any] = orjson.loads(encode(fact))
    return named | body
