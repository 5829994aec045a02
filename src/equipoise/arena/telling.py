"""What the report says, as words and rows, for the page, for Markdown and for the terminal alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from equipoise.arena.flips import Flip, flips
from equipoise.arena.gate import Decided
from equipoise.arena.result import ArenaResult, Measured, Preference, VariantResult
from equipoise.figures.charts import IntervalRow, Tone
from equipoise.figures.numerals import fixed, number, percent
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = [
    "Flip",
    "Table",
    "criteria_table",
    "facts",
    "flips",
    "interval_rows",
    "judge_table",
    "measure_table",
    "preference_table",
    "settings_table",
    "strength",
    "tag_table",
    "warnings",
]

_TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "unsure"}
_SHOWS = {"superior": "better", "non_inferior": "not worse", "not_worse": "no worse shown"}


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; None stands for what does not apply."""

    heads: list[str]
    rows: list[list[object]]


def criteria_table(result: ArenaResult) -> Table:
    """One row a criterion and treatment: what was asked, what was seen, what follows."""
    heads = [
        "variant",
        "criterion",
        "asked",
        "seen",
        f"{result.rule.level:.0%} interval",
        "decision",
        "cases to settle",
    ]
    rows: list[list[object]] = []
    for arm in result.gate.arms:
        for each in arm.criteria:
            seen, interval = _seen(each)
            settle = None if each.cases_to_settle is None else f"{each.cases_to_settle:,}"
            rows.append(
                [arm.variant, each.criterion.name, _asked(each), seen, interval, each.decision, settle]
            )
    return Table(heads, rows)


def _asked(decided: Decided) -> str:
    criterion, bar = decided.criterion, decided.bar
    if criterion.at_least is not None and criterion.margin is None and criterion.show == "not_worse":
        return f"at least {number(criterion.at_least)}"
    said = _SHOWS[criterion.show]
    if criterion.show != "non_inferior" or bar is None:
        return said
    if criterion.of == "win_rate":
        return f"above {percent(bar)}"
    return f"{said} by more than {_amount(criterion.of, -bar)}"


def _is_share(of: str) -> bool:
    return of in ("win_rate", "pass_rate")


def _amount(of: str, value: float) -> str:
    return f"{fixed(value * 100, 1)} pp" if _is_share(of) else number(value)


def _seen(decided: Decided) -> tuple[str | None, str | None]:
    found, of = decided.estimate, decided.criterion.of
    if isinstance(found, NotEstimable):
        return None, None
    if of == "win_rate":
        return percent(found.value), f"{percent(found.low)} to {percent(found.high)}"
    if _is_share(of):
        return (
            f"{fixed(found.value * 100, 1, signed=True)} pp",
            f"{fixed(found.low * 100, 1, signed=True)} to {fixed(found.high * 100, 1, signed=True)} pp",
        )
    return _signed(found.value), f"{_signed(found.low)} to {_signed(found.high)}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value)


def preference_table(result: ArenaResult) -> Table | None:
    """The pairwise judge, one row a treatment."""
    preferred = [(each.name, each.preference) for each in result.treatments if each.preference is not None]
    if not preferred:
        return None
    corrected = any(each.corrected is not None for _, each in preferred)
    heads = ["variant", "win rate", "SE", "interval", "won/tied/lost", "unscored", "at equal length"]
    heads += ["corrected by labels"] if corrected else []
    rows: list[list[object]] = []
    for name, each in preferred:
        rate = each.raw
        digits = 3 if each.wins + each.ties + each.losses >= 100 else 1
        row: list[object] = [name]
        if isinstance(rate, Estimate):
            row += [
                percent(rate.value, digits),
                fixed(rate.standard_error * 100, digits) + " pp",
                f"{percent(rate.low)} to {percent(rate.high)}",
            ]
        else:
            row += [None, None, None]
        row += [f"{each.wins}/{each.ties}/{each.losses}", each.unscored, _rate(each.controlled)]
        rows.append(row + ([_rate(each.corrected)] if corrected else []))
    return Table(heads, rows)


def _rate(found: Estimate | NotEstimable | None) -> str | None:
    if not isinstance(found, Estimate):
        return None
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def _points(found: Estimate | NotEstimable | None) -> str | None:
    if not isinstance(found, Estimate):
        return None
    low, high = (fixed(each * 100, 1, signed=True) for each in (found.low, found.high))
    return f"{fixed(found.value * 100, 1, signed=True)} pp ({low} to {high})"


def judge_table(result: ArenaResult) -> Table | None:
    """The judge as an instrument, one row a treatment; columns that nothing is known of are left out."""
    preferred = [(each.name, each.preference) for each in result.treatments if each.preference is not None]
    columns: dict[str, list[str | int | None]] = {
        "leans to the first shown": [_points(each.lean) for _, each in preferred],
        "same winner in both orders": [_rate(each.consistency) for _, each in preferred],
        "leans to the longer": [_points(each.length_lean) for _, each in preferred],
        "labels": [each.labels or None for _, each in preferred],
        "agreement with people": [_rate(each.agreement) for _, each in preferred],
        "kappa": [_plain(each.kappa) for _, each in preferred],
        "panel's alpha": [_plain(each.panel_alpha) for _, each in preferred],
        "same verdict when asked again": [_rate(each.judge_noise) for _, each in preferred],
        "prefers its own family": [_points(each.self_preference) for _, each in preferred],
    }
    known = {head: cells for head, cells in columns.items() if any(cell is not None for cell in cells)}
    if not known:
        return None
    rows: list[list[object]] = [
        [name, *(cells[index] for cells in known.values())] for index, (name, _) in enumerate(preferred)
    ]
    return Table(["variant", *known], rows)


def _plain(found: Estimate | NotEstimable | None) -> str | None:
    if not isinstance(found, Estimate):
        return None
    return f"{fixed(found.value, 2)} ({fixed(found.low, 2)} to {fixed(found.high, 2)})"


def measure_table(result: ArenaResult) -> Table | None:
    """One row a measure and treatment: both means, and the difference on the same cases."""
    if not result.control.measures:
        return None
    heads = ["measure", "variant", result.control.name, "treatment", "difference", "interval", "unscored"]
    rows: list[list[object]] = []
    for name, control in result.control.measures.items():
        for variant in result.treatments:
            each = variant.measures.get(name)
            if each is None:
                continue
            share = each.bar
            missing = control.unscored + control.errored + each.unscored + each.errored
            shown = name + (" (must pass)" if each.must_pass else "")
            difference, interval = _apart(each.difference, share=share)
            rows.append(
                [
                    shown,
                    variant.name,
                    _mean(control, share=share),
                    _mean(each, share=share),
                    difference,
                    interval,
                    missing or None,
                ]
            )
    return Table(heads, rows)


def _mean(measured: Measured, *, share: bool) -> str | None:
    if not isinstance(measured.mean, Estimate):
        return None
    return percent(measured.mean.value) if share else number(measured.mean.value)


def _apart(found: Estimate | NotEstimable | None, *, share: bool) -> tuple[str | None, str | None]:
    if not isinstance(found, Estimate):
        return None, None
    if share:
        low, high = (fixed(each * 100, 1, signed=True) for each in (found.low, found.high))
        return f"{fixed(found.value * 100, 1, signed=True)} pp", f"{low} to {high} pp"
    return _signed(found.value), f"{_signed(found.low)} to {_signed(found.high)}"


def tag_table(result: ArenaResult) -> Table | None:
    """One row a tag and treatment: the win rate, and the difference of the pass rate."""
    rows: list[list[object]] = []
    for variant in result.treatments:
        preference, passing = variant.preference, variant.measures.get("pass_rate")
        tags = dict.fromkeys(
            [*(preference.by_tag if preference else ()), *(passing.by_tag if passing else ())]
        )
        for tag in tags:
            cases = sum(tag in case.tags for case in result.cases)
            rows.append(
                [
                    tag,
                    variant.name,
                    cases,
                    _rate(preference.by_tag.get(tag)) if preference else None,
                    _points(passing.by_tag.get(tag)) if passing else None,
                ]
            )
    rows.sort(key=lambda row: str(row[0]))
    return Table(["tag", "variant", "cases", "win rate", "pass rate, difference"], rows) if rows else None


def settings_table(result: ArenaResult) -> Table | None:
    """How the answers were made: settings asked for, what the endpoint said of itself, answers and dollars."""
    if result.control.answered is None:
        return None
    rows: list[list[object]] = []
    for variant in result.variants:
        settings = variant.settings
        asked = {
            key: value
            for key, value in settings.asked.items()
            if key not in ("system", "template", "endpoint")
        }
        rows.append(
            [
                variant.name,
                variant.answered,
                variant.errored,
                None if variant.mean_chars is None else round(variant.mean_chars),
                None if variant.cost_usd is None else f"${variant.cost_usd:.4f}",
                json.dumps(asked, ensure_ascii=False) if asked else None,
                ", ".join(settings.models) or None,
            ]
        )
    return Table(["variant", "answers", "no answer", "characters", "cost", "asked for", "answered by"], rows)


def interval_rows(result: ArenaResult) -> list[IntervalRow]:
    """The rows of the chart: the win rate of each treatment."""
    rows = []
    for variant in result.treatments:
        preference, decided = variant.preference, variant.decision
        if preference is None:
            continue
        rate = preference.raw
        mine = [each for each in (decided.criteria if decided else ()) if each.criterion.of == "win_rate"]
        tone = _TONES.get(mine[0].decision, "plain") if mine else "plain"
        note = mine[0].decision if mine else ""
        if isinstance(rate, Estimate):
            rows.append(IntervalRow(variant.name, rate.value, rate.low, rate.high, tone, note))
        else:
            rows.append(IntervalRow(variant.name, None, note=rate.reason))
    return rows


def strength(variant: VariantResult, result: ArenaResult) -> str:
    """How much the cases can say of a treatment: what follows from each criterion, in sentences."""
    decided = variant.decision
    if decided is None:
        return ""
    if decided.decision in ("pass", "fail", "invalid") or not decided.criteria:
        return f"{variant.name}: {decided.reason}."
    open_ones = [each for each in decided.criteria if each.decision == "inconclusive"]
    said = [f"{variant.name}, {each.criterion.name}: {each.reason}" for each in open_ones] or [
        f"{variant.name}: {decided.reason}"
    ]
    settle = decided.cases_to_settle
    end = (
        f" About {settle:,} cases would settle it (80% power); there are {len(result.cases):,}."
        if settle is not None
        else " No number of cases can be named that would settle it."
    )
    return ". ".join(said) + "." + end


def warnings(result: ArenaResult) -> list[str]:
    """What to bear in mind: what is missing, how the judge leans, what changed under the run."""
    said = [*result.remarks]
    for variant in result.variants:
        said += _about_answers(variant, result)
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
        shown = ", ".join(variant.flaky[:5]) + ("…" if len(variant.flaky) > 5 else "")
        yield f"{variant.name}: {len(variant.flaky)} cases pass on some samples and fail on others ({shown})"
    ours, theirs = variant.mean_chars, result.control.mean_chars
    if variant is not result.control and ours and theirs and not 0.8 <= ours / theirs <= 1.25:
        yield (
            f"{variant.name}: its answers are {fixed(ours / theirs, 2)} times as long as control's ({ours:,.0f} against "
            f"{theirs:,.0f} characters on average), and judges lean to longer answers: see the win rate at equal length"
        )


def _about_judge(name: str, preference: Preference, result: ArenaResult) -> Iterator[str]:
    if preference.unscored:
        yield (
            f"{name}: {preference.unscored} of {preference.judged} comparisons are unscored and stand in no rate: "
            + _reasons(result, name)
        )
    if preference.disagreements:
        yield (
            f"{name}: on {preference.disagreements} cases the judge changed its mind with the order of the answers, and "
            f"they count as ties; on {preference.first_preferred} of them it took what it saw first"
        )
    if isinstance(preference.controlled, NotEstimable) and isinstance(preference.raw, Estimate):
        yield f"{name}: no win rate at equal length, because {preference.controlled.reason}"
    if preference.shares_family is not None:
        known = _points(preference.self_preference)
        why = (
            preference.self_preference.reason if isinstance(preference.self_preference, NotEstimable) else ""
        )
        yield f"the judge is of the same model family as {preference.shares_family} alone: " + (
            f"it prefers that arm by {known} beyond what people or other judges say"
            if known
            else f"it may prefer it, and by how much cannot be told{f' ({why})' if why else ''}"
        )
    if preference.saved:
        yield (
            f"{name}: judging stopped after step {preference.steps}, at {preference.judged} cases; {preference.saved} were "
            "not compared"
        )


def _reasons(result: ArenaResult, variant: str) -> str:
    """The reason given most often, and how often."""
    counts: dict[str, int] = {}
    for case in result.cases:
        for comparison in case.comparisons.get(variant, ()):
            if comparison.score is None:
                reason = comparison.why_not or "no reason is known"
                counts[reason] = counts.get(reason, 0) + 1
    if not counts:
        return "nothing compares the answers"
    reason, count = max(counts.items(), key=lambda pair: pair[1])
    return f"{reason}{'' if len(counts) == 1 else f' ({count} of them; other reasons for the rest)'}"


def facts(result: ArenaResult) -> list[tuple[str, str]]:
    """What a reader needs to get the same numbers again."""
    several = f", {result.samples} answers each" if result.samples > 1 else ""
    listed = [
        ("definition", f"{result.experiment}@{result.digest[:12]}"),
        (
            "cases",
            f"{len(result.cases):,} in {result.cases_origin}{several}, sha256 {result.cases_digest[:12]}",
        ),
        ("answers", result.answers_origin),
    ]
    for each in result.evaluators:
        who = f" by {each.model}" if each.model else ""
        revision = f", revision {each.revision}" if each.revision > 1 else ""
        listed.append((each.name, f"{each.does}, {each.how}{who}{revision} (sha256 {each.digest[:12]})"))
    spent = result.spent
    if spent.requests:
        cost = "" if spent.cost_usd is None else f", ${spent.cost_usd:.4f}"
        listed.append(
            (
                "spent",
                f"{spent.requests:,} requests, {spent.input_tokens:,} tokens read and {spent.output_tokens:,} written{cost}",
            )
        )
    return [*listed, ("seed", str(result.seed))]
