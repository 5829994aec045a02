"""A sample of conversations for a report: chosen by a hash, whatever became of them."""

from __future__ import annotations

from hashlib import sha256

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import registered
from equipoise.events.facts import Outcome, Score, Turn
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import TURN_COUNT
from equipoise.verdict.conversations import Conversations, Sampled

__all__ = ["PER_ARM", "sample"]

PER_ARM = 6
"""Turns of each arm that are shown at most."""


def sample(
    log: EventLog, texts: TextStore | None, name: str, *, values: bool = True, clock: Clock | None = None
) -> Conversations:
    """Up to six turns of each arm of a registered experiment whose texts are there, with the primary's `values` or without.

    Which ones is decided by a hash of the definition's digest and the turn's id alone: nobody can choose those that suit,
    and the same texts give the same sample. RecordError where nothing of that name is registered.
    """
    experiment, _, _ = registered(log, name)
    metric = experiment.primary.name
    if not experiment.text_share:
        return Conversations(metric, "No texts are kept: the definition's `capture` says none.", ())
    if texts is None:
        return Conversations(metric, "No texts are there: none were kept beside this log.", ())
    now = (clock or SystemClock()).now()
    turns = texts.turns(name, experiment.digest, now=now)
    chosen = [
        event_id
        for variant in experiment.variants
        for event_id in sorted(
            (each for each, arm in turns if arm == variant.name),
            key=lambda each: sha256(f"{experiment.digest}{each}".encode()).digest(),
        )[:PER_ARM]
    ]
    found = {text.event_id: text for text in texts.named(chosen, now=now)}
    told = _values(log, experiment, found) if values else {}
    sampled = tuple(
        Sampled(
            text.variant or "",
            told.get(event_id, "not told") if values else "withheld until a look is due",
            text,
        )
        for event_id in chosen
        if (text := found.get(event_id)) is not None
    )
    if not sampled:
        return Conversations(metric, "No text of a turn in an arm is there, or none is any more.", ())
    return Conversations(
        metric,
        f"Up to {PER_ARM} turns of each arm, out of those whose text was kept, chosen by a hash and not by what became of "
        "them. They show what a variant does; how often it does so is said above.",
        sampled,
    )


def _values(log: EventLog, experiment: Experiment, texts: dict[str, Text]) -> dict[str, str]:
    """What the primary's quantity was for each of these turns, or for its unit, in words."""
    of = experiment.primary.of
    units: dict[str, str | None] = {}
    values: dict[str, str] = {}
    for record in log.read_since(0, experiment=experiment.name, kinds=("turn",)):
        turn = record.fact
        if isinstance(turn, Turn) and turn.event_id in texts:
            units[turn.event_id] = turn.unit
            if of.stream == "turn" and of != TURN_COUNT:
                values[turn.event_id] = _word(getattr(turn, of.name, None))
    if of.stream not in ("outcome", "score"):
        return values
    wanted, told = {unit for unit in units.values() if unit is not None}, dict[str, list[str]]()
    for record in log.read_since(0, experiment=experiment.name, kinds=(of.stream,)):
        fact = record.fact
        if isinstance(fact, Outcome | Score) and fact.unit in wanted and fact.name == of.name:
            told.setdefault(fact.unit, []).append(_word(fact.value))
    return {
        event_id: ", ".join(told.get(unit, ())) or "not told" if unit is not None else "of no unit"
        for event_id, unit in units.items()
    }


def _word(value: object) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
