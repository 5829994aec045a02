"""The cases that speak most for and against a treatment, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.arena.cautions import clipped
from equipoise.arena.result import ArenaResult, CaseResult
from equipoise.figures.numerals import percent
from equipoise.scoring.evaluating import Score

__all__ = ["Flip", "flips"]

_CLIPPED = 4000
_REASON = 300
_SEVERE = {"critical": 0, "high": 1, "medium": 2, "low": 3, None: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A case on which the two arms differ: what was asked, what they answered, and why it is shown."""

    case: str
    variant: str
    worse: bool
    marks: tuple[str, ...]
    asked: str
    control: str
    treatment: str
    why: str


def flips(result: ArenaResult, most: int = 5, *, worse: bool = True) -> list[Flip]:
    """For each treatment at most `most` cases on which it is worse than control (or, with `worse=False`, better).

    Worst first: cases that may not fail, then by severity, by checks that turned, by the judge's score.
    """
    found: list[Flip] = []
    for variant in result.treatments:
        ranked = []
        for index, case in enumerate(result.cases):
            one, other = (result.control.name, variant.name) if worse else (variant.name, result.control.name)
            broken = _broken(_first(case, one), _first(case, other))
            score = case.preference(variant.name)
            lost = score is not None and (score < 0.5 if worse else score > 0.5)
            if not broken and not lost:
                continue
            rank = (
                not (case.must_pass and broken),
                _SEVERE[case.severity],
                not broken,
                0.0 if score is None else score if worse else -score,
                index,
            )
            ranked.append((rank, _flip(case, result.control.name, variant.name, broken, score, worse=worse)))
        ranked.sort(key=lambda pair: pair[0])
        found += [flip for _, flip in ranked[:most]]
    return found


def _flip(
    case: CaseResult,
    control: str,
    variant: str,
    broken: Mapping[str, str],
    score: float | None,
    *,
    worse: bool,
) -> Flip:
    who = "fails" if worse else f"{control} fails"
    why = [
        f"{who} {name}{f': {clipped(reason, _REASON)}' if reason else ''}" for name, reason in broken.items()
    ]
    if score is not None and (score < 0.5 if worse else score > 0.5):
        sure = score < 0.005 or score > 0.995
        judged = (
            ("loses to control" if worse else "beats control")
            if sure
            else f"has a {percent(score)} chance against control"
        )
        reasons = [reason for each in case.comparisons.get(variant, ()) for reason in each.reasons]
        why.append(judged + (f" (“{clipped(reasons[0], _REASON)}”)" if reasons else ""))
    marks = (
        (["must pass"] if case.must_pass else []) + ([case.severity] if case.severity else []) + [*case.tags]
    )
    return Flip(
        case=clipped(case.id),
        variant=variant,
        worse=worse,
        marks=tuple(marks),
        asked=_clip(case.asked),
        control=_said(case, control),
        treatment=_said(case, variant),
        why="; ".join(why),
    )


def _first(case: CaseResult, variant: str) -> Mapping[str, Score]:
    """The scores of the sample that is shown: the first that has any."""
    return next((scores for scores in case.scores.get(variant, ()) if scores), {})


def _broken(held: Mapping[str, Score], turned: Mapping[str, Score]) -> dict[str, str]:
    return {
        name: score.explanation
        for name, score in turned.items()
        if score.passed is False and (before := held.get(name)) is not None and before.passed is True
    }


def _said(case: CaseResult, variant: str) -> str:
    answers = case.answers.get(variant)
    if not answers:
        return "(the answer is not part of this run)"
    first = answers[0]
    return _clip(first.text) if first.text is not None else f"(no answer: {first.why_not})"


def _clip(text: str) -> str:
    if len(text) <= _CLIPPED:
        return text
    return f"{text[:_CLIPPED]}… ({len(text) - _CLIPPED:,} more characters)"
