"""Shadow: what a treatment would have answered, beside what control did: paired, before any user sees it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise.analysis.findings import describe
from equipoise.analysis.shadowed import QUANTITIES, PairedEffect, guards, paired_effect
from equipoise.clock import Clock, SystemClock
from equipoise.events.log import EventLog
from equipoise.events.texts import Text, TextStore
from equipoise.experiment.definition import Experiment
from equipoise.measurement.pairs import Pair, Pairs, pairs_of
from equipoise.scoring.ngrams import ngram_cosine
from equipoise.stats.cases.case_means import share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["NO_USERS", "Likeness", "Shadowing", "TextPair", "drawn_texts", "shadow"]

NO_USERS = (
    "nobody saw these answers: they say what a treatment does and costs, and nothing of what users make of it"
)

_MOST_COMPARED = 500
_TEXTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the texts of both answers are: the mean cosine of their n-grams over so many pairs, in [0, 1].

    1 is the same wording. A paraphrase that says the same is unlike: it tells how much changed, and not whether for
    better or worse.
    """

    pairs: int
    estimate: Estimate | NotEstimable

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"pairs": self.pairs, "cosine": describe(self.estimate)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowing:
    """The read-out of shadow: pairs and conversations of each treatment, differences by turn, guardrails, likeness.

    `likeness` is empty where no texts were given. `aside` counts what is in no pair, by reason.
    """

    experiment: str
    turns: Mapping[str, int]
    conversations: Mapping[str, int]
    effects: tuple[PairedEffect, ...]
    guardrails: tuple[PairedEffect, ...]
    likeness: Mapping[str, Likeness] = field(default_factory=dict)
    aside: Mapping[str, int] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """What none of it says."""
        return NO_USERS

    @property
    def beyond(self) -> tuple[str, ...]:
        """A sentence for each guardrail that is shown to be worse than its margin, or beyond its limit."""
        return tuple(
            f"{each.name} of {each.variant} {each.because}"
            for each in self.guardrails
            if each.held == "breached"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "experiment": self.experiment,
            "turns": dict(self.turns),
            "conversations": dict(self.conversations),
            "effects": [each.to_dict() for each in self.effects],
            "guardrails": [each.to_dict() for each in self.guardrails],
            "likeness": {arm: each.to_dict() for arm, each in self.likeness.items()},
            "aside": dict(self.aside),
            "says": self.says,
        }


def shadow(
    log: EventLog,
    experiment: Experiment,
    *,
    texts: TextStore | None = None,
    seed: int = 0,
    clock: Clock | None = None,
) -> Shadowing:
    """Read out the shadow of a registered revision. Nothing is written.

    With `texts` the answers of up to 500 pairs of each treatment are compared, drawn by `seed` from those whose texts were
    kept on both sides.
    """
    pairs = pairs_of(log, experiment)
    likeness = {}
    if texts is not None:
        likeness = {
            arm: _likeness(drawn_texts(texts, those, most=_MOST_COMPARED, seed=seed, clock=clock))
            for arm, those in pairs.by_arm.items()
        }
    return _read_out(experiment, pairs, likeness)


def _read_out(experiment: Experiment, pairs: Pairs, likeness: Mapping[str, Likeness]) -> Shadowing:
    return Shadowing(
        experiment=experiment.identity,
        turns={arm: len(those) for arm, those in pairs.by_arm.items()},
        conversations={
            arm: len({pair.conversation for pair in those}) for arm, those in pairs.by_arm.items()
        },
        effects=tuple(
            paired_effect(name, arm, those) for arm, those in pairs.by_arm.items() for name in QUANTITIES
        ),
        guardrails=guards(experiment, pairs.by_arm),
        likeness=likeness,
        aside=pairs.aside,
    )


@dataclass(frozen=True, slots=True)
class TextPair:
    """A pair with the texts of both answers."""

    pair: Pair
    control: Text
    treatment: Text


def drawn_texts(
    texts: TextStore, pairs: Sequence[Pair], *, most: int, seed: int, clock: Clock | None = None
) -> list[TextPair]:
    """Up to `most` pairs whose texts were kept on both sides and that ended in an answer, in an order drawn by `seed`."""
    now = (clock or SystemClock()).now()
    order = [pair for pair in pairs if pair.treatment.sampled is not None]
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    found: list[TextPair] = []
    for start in range(0, len(order), _TEXTS_AT_ONCE):
        some = order[start : start + _TEXTS_AT_ONCE]
        ids = [each for pair in some for each in (pair.control.event_id, pair.treatment.event_id)]
        kept = {text.event_id: text for text in texts.named(ids, now=now)}
        for pair in some:
            control, treatment = kept.get(pair.control.event_id), kept.get(pair.treatment.event_id)
            if control is not None and treatment is not None and control.answer and treatment.answer:
                found.append(TextPair(pair, control, treatment))
        if len(found) >= most:
            break
    return found[:most]


def _likeness(pairs: Sequence[TextPair]) -> Likeness:
    if not pairs:
        return Likeness(0, NotEstimable("of no pair the texts of both answers are kept"))
    found = [(each, ngram_cosine(each.treatment.answer, each.control.answer)) for each in pairs]
    scored = [(each, value) for each, value in found if not isinstance(value, NotEstimable)]
    if not scored:
        return Likeness(0, NotEstimable("no answer of control holds any characters"))
    return Likeness(
        len(scored),
        share_over_cases([value for _, value in scored], [each.pair.conversation for each, _ in scored]),
    )
