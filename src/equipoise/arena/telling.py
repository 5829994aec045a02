"""What the report says, as words and rows, for the page and for Markdown alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.arena.result import ArenaResult, CaseResult, VariantResult
from equipoise.figures.charts import IntervalRow, Tone
from equipoise.figures.numerals import fixed, p_value, percent
from equipoise.scoring.passing import CheckResult, Failed, Passed
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import cases_to_settle

__all__ = [
    "Flip",
    "Table",
    "answer_table",
    "check_table",
    "facts",
    "flips",
    "interval_rows",
    "rubric_table",
    "strength",
    "variant_table",
    "warnings",
]

_TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "unsure", "invalid": "unsure"}
_FEW = 100
_CLIPPED = 4000
Table = tuple[list[str], list[list[object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A case that speaks against a treatment: what was asked, what the two arms answered, and why it is shown."""

    case: str
    variant: str
    asked: str
    control: str
    treatment: str
    why: str


def variant_table(result: ArenaResult) -> Table:
    """One row a variant, control first."""
    heads = ["variant", "win rate", "SE", f"{result.level:.0%} interval", "won/tied/lost", "unscored"]
    rows: list[list[object]] = []
    for variant in result.variants:
        rate = variant.win_rate
        digits = 3 if variant.cases >= _FEW else 1
        row: list[object] = [variant.name]
        if isinstance(rate, Estimate):
            row += [
                percent(rate.value, digits),
                fixed(rate.standard_error * 100, digits) + " pp",
                f"{percent(rate.low)} to {percent(rate.high)}",
            ]
        else:
            row += ["reference" if rate is None else None, None, None]
        # Without blanks, so that the three numbers stay on one line.
        counts = f"{variant.wins}/{variant.ties}/{variant.losses}"
        rows.append([*row, *([counts, variant.unscored] if rate else [None, None])])
    return heads, rows


def answer_table(result: ArenaResult) -> Table | None:
    """How many answers each variant gave, and how long they are."""
    if result.control.answered is None:
        return None
    return (
        ["variant", "answers", "no answer", "mean characters"],
        [
            [
                each.name,
                each.answered,
                each.errored,
                None if each.mean_chars is None else round(each.mean_chars),
            ]
            for each in result.variants
        ],
    )


def rubric_table(result: ArenaResult) -> Table | None:
    """Mean grade of each axis, one row a variant; how many answers were not graded where any were."""
    if not result.control.rubric:
        return None
    axes = list(result.control.rubric)
    return (
        ["variant", *axes],
        [[variant.name, *(_axis(variant, axis) for axis in axes)] for variant in result.variants],
    )


def check_table(result: ArenaResult) -> Table | None:
    """One row a check, one column a variant: on how many answers it failed."""
    if not result.control.checks:
        return None
    rows: list[list[object]] = []
    for index, check in enumerate(result.control.checks):
        row: list[object] = [check.name + (" (must pass)" if check.must_pass else "")]
        for variant in result.variants:
            count = variant.checks[index]
            ran = count.passed + count.failed
            row.append(f"{count.failed} of {ran} failed" if ran else "not run")
        rows.append(row)
    return ["check", *(variant.name for variant in result.variants)], rows


def interval_rows(result: ArenaResult) -> list[IntervalRow]:
    """The rows of the effect plot."""
    rows = []
    for variant in result.treatments:
        decided = variant.decision
        rate = variant.win_rate
        tone = _TONES[decided.decision] if decided else "plain"
        note = decided.decision if decided else ""
        if isinstance(rate, Estimate):
            rows.append(IntervalRow(variant.name, rate.value, rate.low, rate.high, tone, note))
        elif isinstance(rate, NotEstimable):
            rows.append(IntervalRow(variant.name, None, note=rate.reason))
    return rows


def strength(variant: VariantResult, result: ArenaResult) -> str:
    """How much the cases can say of a treatment, in a sentence or two.

    Five cases get the sentence they deserve: what the interval holds, and how many cases would settle it.
    """
    rate, decided = variant.win_rate, variant.decision
    if decided is None or rate is None:
        return ""
    scored = variant.cases - (variant.unscored or 0)
    noun = f"{scored} scored case{'' if scored == 1 else 's'}"
    if isinstance(rate, NotEstimable):
        said = f"{variant.name}: no win rate, because {rate.reason}."
    else:
        few = " settle little" if scored < _FEW and decided.decision == "inconclusive" else ""
        said = (
            f"{variant.name}: {noun}{few}: the win rate is {percent(rate.value)}, and "
            f"with {result.level:.0%} confidence it lies anywhere from {percent(rate.low)} to {percent(rate.high)}"
            f"{'' if rate.p_value is None else f' (against an even match {p_value(rate.p_value)})'}."
        )
    if decided.decision == "inconclusive":
        if decided.cases_to_settle is None:
            return f"{said} No number of cases can be named that would settle it."
        margin = f"{fixed(result.margin * 100, 1)} percentage points of win rate"
        aim = (
            f"show that an arm better by {margin} is better than control"
            if result.superior
            else f"show that an arm as good as control is no worse by more than {margin}"
        )
        if result.margin == 0 or scored >= cases_to_settle(result.margin, level=result.level):
            aim = "tell the win rate that was seen from the gate's bar"
        return f"{said} To {aim}, with 80% power, takes {decided.cases_to_settle:,} cases."
    return said


def warnings(result: ArenaResult) -> list[str]:
    """What to bear in mind: the judge's leanings, and what is missing."""
    said = []
    for variant in result.treatments:
        if variant.unscored and variant.win_rate is not None:
            said.append(
                f"{variant.name}: {variant.unscored} of {variant.cases} cases are unscored and stand in no rate: "
                + _reasons(result, variant.name)
            )
        if variant.disagreements:
            said.append(
                f"{variant.name}: on {variant.disagreements} cases the judge changed its mind with the order of the "
                f"answers, and they count as ties; on {variant.first_preferred} of them it took what it saw first."
            )
        ours, theirs = variant.mean_chars, result.control.mean_chars
        if ours and theirs and not 0.8 <= ours / theirs <= 1.25:
            said.append(
                f"{variant.name}: its answers are {fixed(ours / theirs, 2)} times as long as control's "
                f"({ours:,.0f} against {theirs:,.0f} characters on average). Judges lean to longer answers; "
                "no correction for that is made here."
            )
    return said


def facts(result: ArenaResult) -> list[tuple[str, str]]:
    """What a reader needs to get the same numbers again."""
    listed = [
        ("definition", f"{result.experiment}@{result.digest[:12]}"),
        ("cases", f"{len(result.cases):,} in {result.cases_origin}, sha256 {result.cases_digest[:12]}"),
        ("answers", result.answers_origin),
    ]
    for evaluator in result.evaluators:
        how = "recorded in" if evaluator.kind == "recorded" else "asked live:"
        name = "pairwise judge" if evaluator.does == "pairwise" else "rubric judge"
        listed.append((name, f"{how} {evaluator.name} (sha256 {evaluator.digest[:12]})"))
    bar = "above 50%" if result.superior else f"above {percent(0.5 - result.margin)}"
    listed.append(("gate", f"the {result.level:.0%} interval of the win rate lies {bar}"))
    return [*listed, ("seed", str(result.seed))]


def flips(result: ArenaResult, most: int = 3) -> list[Flip]:
    """For each treatment the cases that speak most against it.

    First those on which it fails a check that control passes (must-pass checks before others), then those
    it loses, by the judge's score. At most `most` for each treatment.
    """
    needed = {check.name for check in result.control.checks if check.must_pass}
    found: list[Flip] = []
    for variant in result.treatments:
        against = [
            (rank, flip)
            for case in result.cases
            if (rank_flip := _against(case, result.control.name, variant.name, needed)) is not None
            for rank, flip in [rank_flip]
        ]
        against.sort(key=lambda pair: pair[0])
        found += [flip for _, flip in against[:most]]
    return found


def _against(
    case: CaseResult, control: str, variant: str, needed: set[str]
) -> tuple[tuple[int, float], Flip] | None:
    broken = _broken(case.checks.get(control, {}), case.checks.get(variant, {}))
    comparison = case.comparisons.get(variant)
    score = comparison.score if comparison else None
    lost = score is not None and score < 0.5
    if not broken and not lost:
        return None
    why = [f"fails {name}: {reason}" for name, reason in broken.items()]
    if lost and comparison is not None and score is not None:
        judged = "loses to control" if score < 0.005 else f"has a {percent(score)} chance against control"
        why.append(judged + (f" (“{comparison.reasons[0]}”)" if comparison.reasons else ""))
    rank = 0 if needed.intersection(broken) else 1 if broken else 2
    flip = Flip(
        case=case.id,
        variant=variant,
        asked=_clip(case.asked),
        control=_said(case, control),
        treatment=_said(case, variant),
        why="; ".join(why),
    )
    return (rank, 0.5 if score is None else score), flip


def _broken(control: Mapping[str, CheckResult], treatment: Mapping[str, CheckResult]) -> dict[str, str]:
    return {
        name: result.reason
        for name, result in treatment.items()
        if isinstance(result, Failed) and isinstance(control.get(name), Passed)
    }


def _said(case: CaseResult, variant: str) -> str:
    answer = case.answers.get(variant)
    if answer is None:
        return "(the answer is not part of this run)"
    return _clip(answer.text) if answer.text is not None else f"(no answer: {answer.why_not})"


def _clip(text: str) -> str:
    if len(text) <= _CLIPPED:
        return text
    return f"{text[:_CLIPPED]}… ({len(text) - _CLIPPED:,} more characters)"


def _axis(variant: VariantResult, axis: str) -> str | None:
    mean = variant.rubric.get(axis)
    if mean is None or mean.mean is None:
        return None
    return fixed(mean.mean, 1) + (f" ({mean.unscored} not graded)" if mean.unscored else "")


def _reasons(result: ArenaResult, variant: str) -> str:
    """The reason given most often, and how often."""
    counts: dict[str, int] = {}
    for case in result.cases:
        comparison = case.comparisons.get(variant)
        if comparison is not None and comparison.score is None:
            reason = comparison.why_not or "no reason is known"
            counts[reason] = counts.get(reason, 0) + 1
    if not counts:
        return "nothing compares the answers."
    reason, count = max(counts.items(), key=lambda pair: pair[1])
    return f"{reason}{'' if len(counts) == 1 else f' ({count} of them; other reasons for the rest)'}."
