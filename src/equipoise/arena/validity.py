"""What makes the numbers of a treatment invalid: too much is missing, or the judge is beyond its limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from equipoise.arena.result import CaseResult, Measured, Preference
from equipoise.experiment.offline import Criterion, Limits
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["invalid_reasons"]


def invalid_reasons(
    cases: Sequence[CaseResult],
    *,
    control: str,
    treatment: str,
    criteria: Sequence[Criterion],
    measures: Mapping[str, Mapping[str, Measured]],
    preference: Preference | None,
    limits: Limits,
) -> tuple[str, ...]:
    """Why nothing may be concluded about one treatment; empty where something may.

    Of every measure that a criterion asks for, and of the comparisons if one asks for the win rate, at most
    `limits.unscored` may be missing in either arm (what is missing is rarely missing at random), and so of
    answers. Lean, kappa and self-preference are held to their limits by their point estimates: to wait until an
    interval lies beyond a limit would be the more lenient the fewer cases there are. A limit that is asked
    for and cannot be told is not kept.

    >>> invalid_reasons(
    ...     [], control="a", treatment="b", criteria=[Criterion(of="correct")], measures={"a": {}, "b": {}},
    ...     preference=None, limits=Limits()
    ... )
    ("nothing was measured of 'correct'",)
    """
    asked = dict.fromkeys(criterion.of for criterion in criteria)
    return (
        *_missing_answers(cases, (control, treatment), limits.unscored),
        *(reason for of in asked if of == "win_rate" for reason in _comparisons(cases, treatment, limits)),
        *(
            reason
            for of in asked
            if of != "win_rate"
            for reason in _scores(of, (control, treatment), measures, limits)
        ),
        *_judge(preference, limits),
    )


def _missing_answers(cases: Sequence[CaseResult], arms: Sequence[str], most: float) -> Iterator[str]:
    for arm in arms:
        answers = [answer for case in cases for answer in case.answers.get(arm, ())]
        missing = sum(answer.text is None for answer in answers)
        if missing > most * len(answers):
            yield f"{missing} of {len(answers)} answers by {arm} are missing, more than {most:.0%}"


def _comparisons(cases: Sequence[CaseResult], treatment: str, limits: Limits) -> Iterator[str]:
    found = [case.comparisons.get(treatment, ()) for case in cases]
    asked = [each for comparisons in found for each in comparisons]
    missing = sum(each.score is None for each in asked)
    if len(asked) == missing:
        yield "no case was scored against control"
    elif missing > limits.unscored * len(asked):
        noun = "comparisons" if any(len(comparisons) > 1 for comparisons in found) else "cases"
        yield f"{missing} of {len(asked)} {noun} are unscored, more than {limits.unscored:.0%}"


def _scores(
    of: str, arms: Sequence[str], measures: Mapping[str, Mapping[str, Measured]], limits: Limits
) -> Iterator[str]:
    for arm in arms:
        found = measures[arm].get(of)
        if found is None or not found.scored:
            yield f"nothing was measured of '{of}'"
            return
        missing = found.unscored + found.errored
        total = missing + found.scored
        if missing > limits.unscored * total:
            yield (
                f"{missing} of {total} answers by {arm} are unscored on '{of}', more than {limits.unscored:.0%}"
            )


def _judge(preference: Preference | None, limits: Limits) -> Iterator[str]:
    if preference is None:
        return
    if limits.lean is not None:
        lean = _known(preference.lean)
        if isinstance(lean, NotEstimable):
            yield f"the judge's lean to what it sees first may be {limits.lean:.1%} at most, and {lean.reason}"
        elif abs(lean.value) > limits.lean:
            side = "first" if lean.value > 0.0 else "last"
            yield f"the judge leans by {abs(lean.value):.1%} to what it sees {side}, more than {limits.lean:.1%}"
    if limits.kappa is not None:
        kappa = _known(preference.kappa)
        if isinstance(kappa, NotEstimable):
            yield f"the judge's kappa with people must be {limits.kappa:g} at least, and {kappa.reason}"
        elif kappa.value < limits.kappa:
            yield f"the judge's kappa with people is {kappa.value:.2f}, below {limits.kappa:g}"
    if limits.self_preference is not None and preference.shares_family is not None:
        own, arm = _known(preference.self_preference), preference.shares_family
        if isinstance(own, NotEstimable):
            yield (
                f"the judge is of the family of {arm} alone and may prefer it by {limits.self_preference:.1%} at most, "
                f"and {own.reason}"
            )
        elif own.value > limits.self_preference:
            yield (
                f"the judge is of the family of {arm} alone and prefers it by {own.value:.1%}, more than "
                f"{limits.self_preference:.1%}"
            )


def _known(found: Estimate | NotEstimable | None) -> Estimate | NotEstimable:
    return NotEstimable("that is not known") if found is None else found
