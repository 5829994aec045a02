"""What the report says, as rows, for the page, for Markdown and for the terminal alike."""

from __future__ import annotations

import json
from dataclasses import dataclass

from equipoise.arena.gate import Decided
from equipoise.arena.result import ArenaResult, Measured, VariantResult
from equipoise.experiment.variant import thaw
from equipoise.figures.charts import IntervalRow, Tone
from equipoise.figures.numerals import fixed, number, percent
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = [
    "Table",
    "criteria_table",
    "difference_rows",
    "facts",
    "judge_table",
    "measure_table",
    "preference_table",
    "settings_table",
    "tag_table",
    "win_rate_rows",
]

_TONES: dict[str, Tone] = {"pass": "good", "fail": "bad", "inconclusive": "unsure"}
_SHOWS = {"superior": "better", "not_worse": "no worse shown"}


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; None stands for what does not apply."""

    heads: list[str]
    rows: list[list[object]]

    def known(self) -> Table:
        """The table without the columns of which nothing is known.

        >>> Table(["variant", "alpha", "kappa"], [["b", None, 0.4], ["c", None, None]]).known().heads
        ['variant', 'kappa']
        """
        kept = [n for n in range(len(self.heads)) if any(row[n] is not None for row in self.rows)]
        return Table([self.heads[n] for n in kept], [[row[n] for n in kept] for row in self.rows])


def criteria_table(result: ArenaResult) -> Table:
    """One row a criterion and treatment: the decision, what was seen, what was asked, what would settle it."""
    heads = [
        "variant",
        "criterion",
        "decision",
        "seen",
        f"{result.rule.level:.0%} interval",
        "asked",
        "to settle",
    ]
    rows: list[list[object]] = []
    for arm in result.gate.arms:
        for each in arm.criteria:
            share = _is_share(each.criterion.of, result)
            settle = None if each.cases_to_settle is None else f"{each.cases_to_settle:,}"
            asked = _asked(each, share=share)
            rows.append(
                [arm.variant, each.criterion.name, each.decision, *_seen(each, share=share), asked, settle]
            )
    return Table(heads, rows).known()


def _asked(decided: Decided, *, share: bool) -> str:
    criterion = decided.criterion
    floor = None
    if criterion.at_least is not None:
        floor = f"at least {percent(criterion.at_least) if share else number(criterion.at_least)}"
        if criterion.margin is None and criterion.show == "not_worse":
            return floor
    said = _SHOWS.get(criterion.show) or f"at most {_margin(decided, share=share)} worse"
    if criterion.of == "win_rate" and criterion.show == "non_inferior" and decided.bar is not None:
        said = f"above {percent(decided.bar)}"
    return said if floor is None else f"{said}, and {floor}"


def _margin(decided: Decided, *, share: bool) -> str:
    """The margin on the measure's own scale, or as it was declared where that is not known."""
    if decided.bar is None or _is_floor(decided):
        declared = decided.criterion.margin
        return "a margin" if declared is None else str(declared)
    return f"{fixed(-decided.bar * 100, 1)} pp" if share else number(-decided.bar)


def _is_floor(decided: Decided) -> bool:
    """Whether the treatment's own mean is held to a floor here, and not a difference to a margin."""
    return decided.criterion.at_least is not None and decided.bar == decided.criterion.at_least


def _is_share(of: str, result: ArenaResult) -> bool:
    measured = result.control.measures.get(of)
    return of in ("win_rate", "pass_rate") or (measured is not None and measured.bar)


def _seen(decided: Decided, *, share: bool) -> tuple[str | None, str | None]:
    found = decided.estimate
    if decided.criterion.of != "win_rate" and not _is_floor(decided):
        return _apart(found, share=share)
    if isinstance(found, NotEstimable):
        return None, None
    value, low, high = (
        percent(each) if share else number(each) for each in (found.value, found.low, found.high)
    )
    return value, f"{low} to {high}"


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
        row += [f"{each.wins}/{each.ties}/{each.losses}", each.unscored or None, _rate(each.controlled)]
        rows.append(row + ([_rate(each.corrected)] if corrected else []))
    return Table(heads, rows).known()


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
    rows: list[list[object]] = [
        [name, *(cells[index] for cells in columns.values())] for index, (name, _) in enumerate(preferred)
    ]
    table = Table(["variant", *columns], rows).known()
    return table if len(table.heads) > 1 else None


def _plain(found: Estimate | NotEstimable | None) -> str | None:
    if not isinstance(found, Estimate):
        return None
    return f"{fixed(found.value, 2)} ({fixed(found.low, 2)} to {fixed(found.high, 2)})"


def measure_table(result: ArenaResult) -> Table | None:
    """One row a measure and treatment: both means, and the difference on the same cases.

    With several samples also the spread between samples of one case, control's and the treatment's: the
    answers' noise, apart from the judge's.
    """
    heads = ["measure", "variant", result.control.name, "treatment", "difference", "interval", "unscored"]
    noisy = any(measured.noise is not None for measured in result.control.measures.values())
    rows: list[list[object]] = []
    for name, control in result.control.measures.items():
        for variant in result.treatments:
            each = variant.measures.get(name)
            if each is None:
                continue
            share = each.bar
            missing = control.unscored + control.errored + each.unscored + each.errored
            row: list[object] = [
                name + (" (must pass)" if each.must_pass else ""),
                variant.name,
                _mean(control, share=share),
                _mean(each, share=share),
                *_apart(each.difference, share=share),
                missing or None,
            ]
            rows.append([*row, f"{number(control.noise)}, {number(each.noise)}"] if noisy else row)
    return Table([*heads, "spread between samples"] if noisy else heads, rows).known() if rows else None


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
    return (
        Table(["tag", "variant", "cases", "win rate", "pass rate, difference"], rows).known()
        if rows
        else None
    )


def settings_table(result: ArenaResult) -> Table | None:
    """How the answers were made: what was asked for, what the endpoint said of itself, what an answer took.

    Columns that nothing is known of are left out.
    """
    if result.control.answered is None:
        return None
    columns: dict[str, list[str | int | None]] = {
        "answers": [variant.answered for variant in result.variants],
        "no answer": [variant.errored or None for variant in result.variants],
        "characters": [_rounded(variant.mean_chars) for variant in result.variants],
        "tokens read": [_tokens(result, variant, written=False) for variant in result.variants],
        "tokens written": [_tokens(result, variant, written=True) for variant in result.variants],
        # No seconds: they differ from run to run, and a run that was resumed has the report of one that was not.
        "cost": [
            None if variant.cost_usd is None else f"${variant.cost_usd:.4f}" for variant in result.variants
        ],
        "answered by": [", ".join(variant.settings.models) or None for variant in result.variants],
        "asked for": [_settings(variant) for variant in result.variants],
    }
    rows: list[list[object]] = [
        [variant.name, *(cells[index] for cells in columns.values())]
        for index, variant in enumerate(result.variants)
    ]
    return Table(["variant", *columns], rows).known()


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _tokens(result: ArenaResult, variant: VariantResult, *, written: bool) -> int | None:
    """All tokens of a variant's answers; None where some answer does not say."""
    answers = [
        one for case in result.cases for one in case.answers.get(variant.name, ()) if one.text is not None
    ]
    used = [one.usage for one in answers if one.usage is not None]
    if not answers or len(used) < len(answers):
        return None
    return sum(each.output_tokens if written else each.input_tokens for each in used)


def _settings(variant: VariantResult) -> str | None:
    """What was asked for beside prompts and places, as `key: value` pairs."""
    asked = {
        key: value
        for key, value in variant.settings.asked.items()
        if key not in ("system", "template", "endpoint")
    }
    return ", ".join(f"{key}: {_value(value)}" for key, value in asked.items()) or None


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(thaw(value), ensure_ascii=False)


def win_rate_rows(result: ArenaResult) -> list[IntervalRow]:
    """The rows of the chart of win rates: raw, at equal length, corrected by labels, where they are known.

    The one that the gate reads carries the gate's decision on it.
    """
    rows = []
    for variant in result.treatments:
        preference = variant.preference
        if preference is None:
            continue
        criteria = variant.decision.criteria if variant.decision else ()
        said = next((each.decision for each in criteria if each.criterion.of == "win_rate"), None)
        for rate, what, decides in (
            (preference.raw, "", preference.decides == "raw"),
            (preference.controlled, "at equal length", False),
            (preference.corrected, "corrected by labels", preference.decides == "corrected"),
        ):
            shown = said if decides else None
            note = ": ".join(part for part in (what, shown) if part)
            if isinstance(rate, Estimate):
                tone = _TONES.get(shown or "", "plain")
                rows.append(IntervalRow(variant.name, rate.value, rate.low, rate.high, tone, note))
            elif rate is not None and (decides or not what):
                note = ": ".join(part for part in (what, rate.reason) if part)
                rows.append(IntervalRow(variant.name, None, note=note))
    return rows


def difference_rows(result: ArenaResult) -> list[IntervalRow]:
    """The rows of the chart of differences: every measure that is a share of answers that pass."""
    rows = []
    for variant in result.treatments:
        said = {
            each.criterion.name: each.decision
            for each in (variant.decision.criteria if variant.decision else ())
            if not _is_floor(each)
        }
        for name, measured in variant.measures.items():
            if measured.bar and isinstance(found := measured.difference, Estimate):
                shown = said.get(name)
                label = name if len(result.treatments) == 1 else f"{name}, {variant.name}"
                tone = _TONES.get(shown or "", "plain")
                rows.append(IntervalRow(label, found.value, found.low, found.high, tone, shown or ""))
    return rows


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
