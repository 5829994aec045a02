"""`equipoise log show`: what was asked and answered, and what became of it; `log promote`: a golden case out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, harmless, moment, working

if TYPE_CHECKING:
    from equipoise.conduct.conversation import Conversation, ToldTurn
    from equipoise.events.facts import Label, Outcome
    from equipoise.events.log import EventLog
    from equipoise.events.texts import Text, TextStore

__all__ = ["promote_turn", "show"]

_NAMED = {
    "kind",
    "event_id",
    "experiment",
    "happened",
    "trace",
    "unit",
    "digest",
    "variant",
    "reason",
    "checks",
}
"""What stands in the head of a turn and not among its numbers."""


def show(
    what: Annotated[
        str, typer.Argument(metavar="TRACE|CONVERSATION", help="A trace, or a unit as it was given.")
    ],
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Show a conversation: each turn's text where it was kept, its numbers, and outcomes, scores and labels."""
    from equipoise.conduct.conversation import conversation

    with _opened(log) as (record, texts), working("reading"):
        told = conversation(record, texts, what)
    if as_json:
        emit(told.to_dict())
    else:
        print("\n".join(_lines(told)))


def promote_turn(
    what: Annotated[
        str, typer.Argument(metavar="TRACE", help="A trace, or the event id of one of its turns.")
    ],
    cases: Annotated[Path, typer.Option(help="The golden cases, as JSON lines; made where there are none.")],
    reference: Annotated[str | None, typer.Option(help="The right answer, where it is known.")] = None,
    must_pass: Annotated[bool, typer.Option("--must-pass", help="The case may not fail.")] = False,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Make a golden case out of a live turn, which the arena asks of every variant from then on."""
    from equipoise.conduct.promote import promote

    with _opened(log) as (record, texts), working("reading"):
        done = promote(record, texts, what, cases, reference=reference, must_pass=must_pass)
    if as_json:
        emit(done.to_dict())
        return
    holds = f"{done.cases:,} {'case' if done.cases == 1 else 'cases'}"
    print(harmless(f"case '{done.case}' added to {done.file}, which now holds {holds}"))
    print(f"  their digest: {done.digest}; the arena asks this one of every variant from its next run on")
    for lack in done.lacks:
        print(harmless(f"  {lack}"))


@contextmanager
def _opened(log: str | None) -> Iterator[tuple[EventLog, TextStore | None]]:
    """A log that is there, and the texts beside it, if any."""
    from equipoise import settings
    from equipoise.events.opening import open_log, open_texts
    from equipoise.events.texts import NoTextsError

    where = log or settings.default_log()
    record = open_log(where, create=False)
    try:
        try:
            texts = open_texts(where, create=False)
        except NoTextsError:
            texts = None
        try:
            yield record, texts
        finally:
            if texts is not None:
                texts.close()
    finally:
        record.close()


def _lines(told: Conversation) -> Iterator[str]:
    for each in told.turns:
        yield from _turn(each)
        yield ""
    yield from map(_outcome, told.outcomes)
    yield from _scores(told)
    yield from map(_label, told.labels)
    if not told.outcomes and not told.scores:
        yield "no outcome and no score was recorded of it"


def _turn(told: ToldTurn) -> Iterator[str]:
    turn, said = told.turn, told.to_dict()
    arm = f"variant {turn.variant}" if turn.variant else "no variant"
    digest = f"@{turn.digest[:12]}" if turn.digest else ""
    yield harmless(
        f"{moment(turn.happened)}  {turn.kind} of {turn.experiment}{digest}, {arm} ({turn.reason or 'no reason'})"
    )
    yield harmless(f"  trace {turn.trace or 'none'}, unit {turn.unit or 'none'}")
    numbers = [
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in said.items()
        if name not in _NAMED and name not in ("text", "why_not")
    ]
    yield harmless(f"  {', '.join(numbers) or 'nothing was measured'}")
    if turn.checks:
        yield harmless(f"  checks: {', '.join(f'{name} {found}' for name, found in turn.checks.items())}")
    if told.text is None:
        yield f"  no text: {told.why_not}"
    else:
        yield from _text(told.text)


def _text(text: Text) -> Iterator[str]:
    for message in text.request:
        yield from _said(message.role, message.text)
    for each in text.context:
        yield from _said("context", each)
    yield from _said("answer (blocked)" if text.blocked else "answer", text.answer)
    for each in text.others:
        yield from _said("another choice", each)
    for call in text.tools:
        yield from _said("tool", f"{call.name}({call.arguments})")
    notes = [f"redacted {kind}: {count}" for kind, count in text.redacted.items()]
    notes += [f"cut: {text.cut}"] * bool(text.cut) + [f"left out: {text.omitted}"] * bool(text.omitted)
    yield harmless(f"  ({'; '.join([*notes, f'kept until {moment(text.expires)}'])})")


def _said(who: str, text: str) -> Iterator[str]:
    first, *more = text.splitlines() or [""]
    yield harmless(f"  {who}: {first}")
    for line in more:
        yield harmless(f"    {line}")


def _outcome(fact: Outcome) -> str:
    about = f" of trace {fact.trace}" if fact.trace else ""
    words = f": {fact.comment}" if fact.comment else ""
    return harmless(f"{moment(fact.happened)}  outcome {fact.name} = {fact.value}{about}{words}")


def _scores(told: Conversation) -> Iterator[str]:
    """Each score with its reason, and each instrument once, as it was configured."""
    several = len({each.turn.trace for each in told.turns}) > 1
    shown: set[str] = set()
    for fact in told.scores:
        value = f"= {fact.value}" if fact.value is not None else f"not given: {fact.why_not}"
        about = f" of trace {fact.trace}" if fact.trace and several else ""
        drawn = f", drawn with probability {fact.probability:g}" if fact.probability < 1.0 else ""
        cost = f", ${fact.cost_usd:.6f}" if fact.cost_usd else ""
        yield harmless(
            f"{moment(fact.happened)}  score {fact.name} {value}{about} by {fact.evaluator}{drawn}{cost}"
        )
        if fact.because:
            yield from _said("  because", fact.because)
        if fact.configuration is not None and fact.evaluator not in shown:
            shown.add(fact.evaluator)
            for name, setting in fact.configuration.items():
                said = setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)
                yield from _said(f"  {name}", said)


def _label(fact: Label) -> str:
    value = "passed over" if fact.value is None else f"= {fact.value:g}"
    words = f": {fact.comment}" if fact.comment else ""
    return harmless(
        f"{moment(fact.happened)}  label {fact.name} {value} by {fact.rater} ({fact.draw}){words}"
    )
