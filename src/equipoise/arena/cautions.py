"""What a reader should bear in mind, in sentences: what stays open, what is missing, what leans, what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from equipoise.arena.result import ArenaResult, Preference, VariantResult
from equipoise.figures.lettering import clean
from equipoise.figures.numerals import fixed
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["clipped", "failing", "some", "strengths", "warnings"]

_WIDEST = 60
_ALIKE = (0.8, 1.25)
"""Mean lengths of answers within this ratio are taken as alike."""


def clipped(text: str, most: int = _WIDEST) -> str:
    """A name as it may stand within a sentence: on one line, harmless, and not too long.

    >>> clipped("order" + chr(27) + "[31m 66", 9)
    'order[31…'
    """
    plain = clean(text)
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are.

    >>> some(["1", "2", "3"], most=2), some(["1", "2"])
    ('1, 2 and 1 more', '1, 2')
    """
    shown = ", ".join(clipped(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def strengths(result: ArenaResult) -> list[str]:
    """What the cases leave open, one sentence or two for each criterion, and how many cases would settle it."""
    said: list[str] = []
    for variant in result.treatments:
        decided = variant.decision
        if decided is None:
            continue
        before = len(said)
        for each in decided.criteria:
            if each.decision != "inconclusive":
                continue
            if each.cases_to_settle is not None:
                end = f"About {each.cases_to_settle:,} cases would settle it (80% power); there are {len(result.cases):,}."
            else:
                end = "No number of cases can be named that would settle it."
            said.append(f"{variant.name}, {each.criterion.name}: {each.reason}. {end}")
        if decided.decision == "inconclusive" and len(said) == before:
            said.append(f"{variant.name}: {decided.reason}.")
    return said


def failing(result: ArenaResult) -> list[str]:
    """The cases that may not fail and did, a sentence for each treatment and reason."""
    return [
        f"{variant.name}: {why}, on {some(cases, 12)}"
        for variant in result.treatments
        for why, cases in variant.failing.items()
    ]


def warnings(result: ArenaResult) -> list[str]:
    """What to bear in mind: what is missing, how the judge leans, what changed under the run."""
    said = [*result.remarks]
    for variant in result.variants:
        said += _about_answers(variant, result)
    said += _about_scores(result)
    for variant in result.treatments:
        if variant.preference is not None:
            said += _about_judge(variant.name, variant.preference, result)
    if result.spent.unpriced and result.spent.requests:
        said.append(
            f"no price is known for {', '.join(result.spent.unpriced)}, so the cost is not whole; name it under `prices`"
        )
    return said


def _about_answers(variant: VariantResult, result: ArenaResult) -> Iterator[str]:
    if variant.errored:
        total = (variant.answered or 0) + variant.errored
        yield f"{variant.name}: {variant.errored} of {total} answers are missing"
    if len(variant.settings.models) > 1:
        yield f"{variant.name}: the endpoint answered as {' and '.join(variant.settings.models)} within one run"
    if len(variant.settings.fingerprints) > 1:
        yield (
            f"{variant.name}: the endpoint gave {len(variant.settings.fingerprints)} different system fingerprints: "
            "it changed while it answered"
        )
    if variant.settings.seed_granted is False:
        yield f"{variant.name}: its endpoint refuses a seed, so the same answers cannot be had again"
    if variant.flaky:
        yield (
            f"{variant.name}: {len(variant.flaky)} cases pass on some samples and fail on others ({some(variant.flaky)})"
        )
    ours, theirs = variant.mean_chars, result.control.mean_chars
    if variant is not result.control and ours and theirs and not _ALIKE[0] <= ours / theirs <= _ALIKE[1]:
        yield (
            f"{variant.name}: its answers are {fixed(ours / theirs, 2)} times as long as control's ({ours:,.0f} against "
            f"{theirs:,.0f} characters on average)"
            + (
                ", and judges lean to longer answers: see the win rate at equal length"
                if _judged(result)
                else ""
            )
        )


def _judged(result: ArenaResult) -> bool:
    return any(variant.preference is not None for variant in result.treatments)


def _about_scores(result: ArenaResult) -> Iterator[str]:
    """For each measure how many answers have no score, of all variants together."""
    for name in result.control.measures:
        reasons = Counter(
            score.why_not or "no reason is known"
            for case in result.cases
            for samples in case.scores.values()
            for scores in samples
            if (score := scores.get(name)) is not None and score.value is None
        )
        if not reasons:
            continue
        missing = sum(reasons.values())
        total = missing + sum(variant.measures[name].scored for variant in result.variants)
        yield f"{name}: {missing} of {total} answers have no score and stand in no mean: {_most(reasons)}"


def _about_judge(name: str, preference: Preference, result: ArenaResult) -> Iterator[str]:
    if preference.unscored:
        reasons = Counter(
            comparison.why_not or "no reason is known"
            for case in result.cases
            for comparison in case.comparisons.get(name, ())
            if comparison.score is None
        )
        yield (
            f"{name}: {preference.unscored} of {preference.judged} comparisons are unscored and stand in no rate: "
            + (_most(reasons) if reasons else "nothing compares the answers")
        )
    if preference.disagreements:
        yield (
            f"{name}: on {preference.disagreements} cases the judge changed its mind with the order of the answers, and "
            f"they count as ties; on {preference.first_preferred} of them it took what it saw first"
        )
    if isinstance(preference.raw, Estimate):
        for rate, what in (
            (preference.controlled, "win rate at equal length"),
            (preference.corrected, "win rate corrected by labels"),
        ):
            if isinstance(rate, NotEstimable):
                yield f"{name}: no {what}, because {rate.reason}"
    if preference.shares_family in (name, result.control.name):
        yield _about_family(name, preference)
    if preference.saved:
        yield (
            f"{name}: judging stopped after step {preference.steps}, at {preference.judged} cases; {preference.saved} were "
            "not compared"
        )


def _about_family(name: str, preference: Preference) -> str:
    found = preference.self_preference
    head = f"{name}: the judge is of the same model family as {preference.shares_family} alone"
    if isinstance(found, Estimate):
        value, low, high = (
            fixed(each * 100, 1, signed=True) for each in (found.value, found.low, found.high)
        )
        return f"{head}: it prefers that arm by {value} pp ({low} to {high}) beyond what people or other judges say"
    why = f" ({found.reason})" if found is not None else ""
    return f"{head}: it may prefer it, and by how much cannot be told{why}"


def _most(reasons: Counter[str]) -> str:
    """The reason given most often, and how often."""
    ((reason, count),) = reasons.most_common(1)
    return f"{clipped(reason, 300)}{'' if len(reasons) == 1 else f' ({count} of them; other reasons for the rest)'}"
