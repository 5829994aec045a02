"""A sampled turn: whether it was drawn to be judged, what an evaluator is given of it, and the facts that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from typing import Any

import orjson

from equipoise.errors import OutOfReachError, UpstreamError
from equipoise.events.facts import Score, Turn
from equipoise.events.texts import Said, Text
from equipoise.experiment.definition import Experiment
from equipoise.scoring.evaluating import Evaluator, Subject, errored
from equipoise.scoring.evaluating import Score as Scored
from equipoise.scoring.online import configuration_of, instrument
from equipoise.scoring.redacting import Redactor, kinds_of

__all__ = ["ask", "asked", "drawn", "input_of", "score_id", "scores_of", "subject_of", "unscored"]

_LONGEST_REASON = 1_000


def drawn(turn: Turn, experiment: Experiment) -> float | None:
    """The probability with which a turn was drawn to be judged; None where it was not, or is none of this revision.

    The gateway drew it to have its text kept. Where more texts are kept than judged, a hash of the turn's id draws among
    them, so that whoever asks draws the same.
    """
    judge = experiment.online_judge
    if (
        judge is None
        or turn.digest != experiment.digest
        or turn.unit is None
        or turn.variant is None
        or not turn.sampled
    ):
        return None
    wanted = turn.sampled if judge.by is not None else min(float(judge.sample), turn.sampled)
    return wanted if _uniform(turn.event_id) * turn.sampled < wanted else None


def _uniform(event_id: str) -> float:
    """A number from 0 to 1, and below 1, that follows from an id and tells nothing of the turn."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=6, person=b"judged").digest(), "big") / 2**48


def asked(text: Text, experiment: Experiment) -> tuple[Said, ...]:
    """What was asked in a turn, without the instruction that its variant put in front of it.

    A golden case does not have that either, and it would tell the judge which variant it reads.
    """
    instructed = any(each.name == text.variant and each.system is not None for each in experiment.variants)
    first = text.request[:1]
    if instructed and not text.omitted and first and first[0].role in ("system", "developer"):
        return text.request[1:]
    return text.request


def input_of(said: Sequence[Said]) -> str | tuple[dict[str, str], ...]:
    """What was asked, as a golden case has it: a user's one message as text, else the messages in turn.

    >>> input_of([Said("user", "May I return it?")])
    'May I return it?'
    >>> input_of([Said("user", "Hello"), Said("assistant", "How can I help?")])[1]
    {'role': 'assistant', 'content': 'How can I help?'}
    """
    if len(said) == 1 and said[0].role == "user":
        return said[0].text
    return tuple({"role": each.role, "content": each.text} for each in said)


def subject_of(turn: Turn, text: Text, experiment: Experiment) -> Subject:
    """A live turn as evaluators see an answer: as it was kept, redacted."""
    return Subject(
        answer=text.answer,
        input=input_of(asked(text, experiment)),
        context=text.context,
        tool_calls=tuple({"name": each.name, "arguments": each.arguments} for each in text.tools),
        latency_s=turn.latency_s,
        cost_usd=turn.cost_usd,
        finish_reason=turn.finish_reason,
        about={"case": turn.event_id, "variant": turn.variant or "", "sample": "0"},
    )


async def ask(evaluator: Evaluator, subject: Subject) -> Mapping[str, Scored]:
    """What an evaluator says; where it cannot be asked, a failure of each of its measures. BudgetError goes through."""
    try:
        return await evaluator.score(subject)
    except (OutOfReachError, UpstreamError) as error:
        return dict.fromkeys(evaluator.measures, errored(str(error), cost_usd=None))


def score_id(evaluator: Evaluator, turn: Turn, measure: str) -> str:
    """The id of what an evaluator, as it is configured, says of a turn: the same whoever asks, and however often."""
    named = orjson.dumps([evaluator.digest, turn.event_id, measure])
    return f"judge-{blake2b(named, digest_size=16).hexdigest()}"


def scores_of(
    evaluator: Evaluator,
    turn: Turn,
    said: Mapping[str, Scored],
    *,
    probability: float,
    now: float,
    replied: Sequence[tuple[str, str | None]] = (),
) -> Iterator[Score]:
    """What an evaluator said of a turn, as facts that happened when it said so.

    `replied` names the models that did the judging, each by what it called itself and its fingerprint.
    """
    configuration: Mapping[str, Any] = configuration_of(evaluator)
    if replied:
        configuration = {
            **configuration,
            "replied": [{"model": model, "fingerprint": mark} for model, mark in replied],
        }
    for measure in evaluator.measures:
        score = said[measure]
        yield replace(
            _unsaid(evaluator, turn, measure, probability, now),
            value=score.value,
            why_not=score.why_not,
            configuration=configuration,
            because=_redacted(score.explanation) or None,
            cost_usd=score.cost_usd,
        )


def unscored(
    evaluators: Sequence[Evaluator], turn: Turn, why_not: str, *, probability: float, now: float
) -> Iterator[Score]:
    """The facts of a turn that was drawn and that nobody will judge, and why."""
    for evaluator in evaluators:
        for measure in evaluator.measures:
            yield replace(_unsaid(evaluator, turn, measure, probability, now), why_not=why_not)


def _unsaid(evaluator: Evaluator, turn: Turn, measure: str, probability: float, now: float) -> Score:
    """The score of a measure of a turn, before anything is said of it."""
    return Score(
        experiment=turn.experiment,
        happened=now,
        event_id=score_id(evaluator, turn, measure),
        unit=turn.unit or "",
        name=measure,
        evaluator=instrument(evaluator),
        probability=probability,
        trace=turn.trace,
    )


@cache
def _everything() -> frozenset[str]:
    return kinds_of(())


def _redacted(said: str) -> str:
    # The log keeps numbers and no texts; a judge's reason is short, and quotes nobody's data.
    return Redactor(_everything(), longest=_LONGEST_REASON).text(said).text
