"""The report as text: for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from equipoise.analysis.findings import Effect, Findings
from equipoise.figures.lettering import clean
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.best_arm import ARM_HEADERS, ARMS, arm_rows, bandit_sentences
from equipoise.verdict.deciding import Verdict
from equipoise.verdict.screen import Screen
from equipoise.verdict.wording import NONE, adjusted, interval, labelled, tested, value

__all__ = [
    "BY_TURN",
    "BY_TURN_HEADERS",
    "HEADERS",
    "RULE",
    "RULE_HEADERS",
    "STOPPING",
    "STOPPING_HEADERS",
    "answer",
    "by_turn",
    "cells",
    "decided_by",
    "markdown",
    "rule",
    "sentences",
    "stopping",
    "summary",
]

MARKS = {"ship": "✔", "hold": "■", "roll back": "✖", "keep running": "…", "invalid": "!"}
_HEALTH = {"ok": "✔", "note": "·", "invalid": "✖"}


def headline(verdict: Verdict) -> str:
    """The verdict in one line."""
    arm = f" {verdict.arm}" if verdict.arm else ""
    return f"{verdict.word}{arm}"


def summary(findings: Findings, verdict: Verdict, screen: Screen | None) -> str:
    """The read-out for a terminal: verdict first, then what it rests on."""
    lines = [
        f"{MARKS[verdict.word]} {headline(verdict).upper()}: {verdict.because}",
        decided_by(findings, verdict),
        "",
        f"{findings.experiment}, from {findings.measurement.source}",
        findings.hypothesis,
        findings.look.says[0].upper() + findings.look.says[1:] + ".",
        "",
        *(f"{_HEALTH[check.status]} {check.name}: {check.says}" for check in findings.health),
    ]
    # What somebody sent with a request, such as the value of a segment, is not for a terminal to obey.
    lines = [clean(line) for line in lines]
    if findings.bandit is not None:
        lines += ["", f"{ARMS}:", *_grid(ARM_HEADERS, arm_rows(findings.bandit))]
    if findings.effects:
        lines += ["", *_grid(HEADERS, [cells(effect) for effect in findings.effects])]
        if findings.by_turn:
            lines += ["", f"{BY_TURN}:", *_grid(BY_TURN_HEADERS, by_turn(findings))]
        if findings.segments:
            lines += ["", "By segment:", *_grid(HEADERS, [cells(effect) for effect in findings.segments])]
        if findings.stopping:
            lines += ["", f"{STOPPING}:", *_grid(STOPPING_HEADERS, stopping(findings))]
        lines += ["", *map(clean, beside)] if (beside := sentences(findings)) else []
    elif not findings.healthy:
        lines += ["", "Effects are withheld: on these data none could be trusted."]
    lines += map(clean, _closing(findings, verdict, screen))
    return "\n".join(lines)


def markdown(findings: Findings, verdict: Verdict, screen: Screen | None) -> str:
    """The read-out as Markdown."""
    lines = [
        f"## {MARKS[verdict.word]} {_escape(headline(verdict))}",
        "",
        f"**{_escape(verdict.because)}**",
        "",
        _escape(decided_by(findings, verdict)),
        "",
        f"{_escape(findings.hypothesis)} (`{findings.experiment}`, from {_escape(findings.measurement.source)})",
        "",
        *(
            f"- {_HEALTH[check.status]} {_escape(check.name)}: {_escape(check.says)}"
            for check in findings.health
        ),
        f"- {_escape(findings.look.says)}",
        "",
    ]
    if findings.bandit is not None:
        lines += [f"{ARMS}:", "", *_piped(ARM_HEADERS, arm_rows(findings.bandit)), ""]
    if findings.effects:
        lines += [
            *_piped(HEADERS, [cells(effect) for effect in (*findings.effects, *findings.segments)]),
            "",
        ]
        if findings.by_turn:
            lines += [f"{BY_TURN}:", "", *_piped(BY_TURN_HEADERS, by_turn(findings)), ""]
        if findings.stopping:
            lines += [f"{STOPPING}:", "", *_piped(STOPPING_HEADERS, stopping(findings)), ""]
        lines += [*(f"- {_escape(sentence)}" for sentence in sentences(findings)), ""]
    elif not findings.healthy:
        lines += ["Effects are withheld: on these data none could be trusted.", ""]
    lines += [_escape(line) for line in _closing(findings, verdict, screen)]
    lines += ["", f"{RULE}:", "", *_piped(RULE_HEADERS, rule(findings, verdict))]
    return "\n".join(lines).rstrip() + "\n"


HEADERS = ("metric", "arm", "control", "treatment", "difference (interval)", "test", "answer")


def cells(effect: Effect) -> list[str]:
    """An effect as a row of the table under HEADERS."""
    return [
        effect.name,
        effect.variant,
        value(effect, effect.control),
        value(effect, effect.treatment),
        interval(effect),
        tested(effect.estimate, effect.adjusted_p),
        answer(effect),
    ]


STOPPING = "What each stopping rule would have said at this look; the registered one decides"
STOPPING_HEADERS = ("rule", "arm", "boundary |z|", "statistic", "would say")


def stopping(findings: Findings) -> list[list[str]]:
    """The stopping rules as rows under STOPPING_HEADERS."""
    return [
        [
            rule.rule,
            rule.variant,
            f"{rule.boundary:.3f}",
            NONE if rule.statistic is None else f"{rule.statistic:.2f}",
            f"{rule.says} ({rule.because})" if rule.because else rule.says,
        ]
        for rule in findings.stopping
    ]


BY_TURN = "Metrics of turns, both ways; what is declared decides"
BY_TURN_HEADERS = ("metric", "arm", "per", "control", "treatment", "difference (interval)")


def by_turn(findings: Findings) -> list[list[str]]:
    """Each metric of turns per unit and, below, per turn, as rows under BY_TURN_HEADERS."""
    rows = []
    for each in findings.by_turn:
        turns = " and ".join(NONE if number is None else f"{number:.3g}" for number in each.turns.values())
        for per, effect in ((each.unit, each.per_unit), (f"turn ({turns} a {each.unit})", each.per_turn)):
            values = [value(effect, number) for number in (effect.control, effect.treatment)]
            rows.append([each.metric, each.variant, per, *values, interval(effect)])
    return rows


RULE = "The verdict rule, as declared before launch: the first line that applies decides, here that with the arrow"
RULE_HEADERS = ("line", "where", "verdict")


def rule(findings: Findings, verdict: Verdict) -> list[list[str]]:
    """The rule's lines as rows under RULE_HEADERS, the one that decided with an arrow."""
    return [
        [f"➜ {place}" if place == verdict.branch else str(place), line.says, line.then]
        for place, line in enumerate(findings.rule, 1)
    ]


def decided_by(findings: Findings, verdict: Verdict) -> str:
    """Which line of the rule the verdict is by."""
    lines = len(findings.rule)
    line = findings.rule[verdict.branch - 1] if verdict.branch <= lines else None
    said = line.says if line is not None and line.when else "no other applies"
    return f"By line {verdict.branch} of {lines} of the verdict rule: {said}."


def answer(effect: Effect) -> str:
    """What the effect says for the decision, in a word or two."""
    if effect.held is not None:
        return effect.held
    if isinstance(effect.estimate, NotEstimable):
        return NONE
    p = effect.estimate.p_value if effect.adjusted_p is None else effect.adjusted_p
    if p is None or p > 1.0 - effect.estimate.level:
        return "no difference shown"
    better = (effect.estimate.value > 0) == (effect.better == "higher")
    return "better" if better else "worse"


def sentences(findings: Findings) -> list[str]:
    """What belongs beside the effects: what a metric is, covariates, crossed units handled the other way, cautions.

    Labels are told of once for each effect that has them, the judge's own effect beside the corrected one; so are
    covariates, whether they helped or not.
    """
    said = list(
        dict.fromkeys(
            f"{effect.metric} is the {effect.in_words}." for effect in findings.effects if effect.in_words
        )
    )
    said += [
        adjusted(effect, effect.adjustment)
        for effect in findings.effects
        if effect.adjustment is not None and effect.held is None
    ]
    said += [
        labelled(effect, effect.by_labels)
        for effect in findings.effects
        if effect.by_labels is not None and not effect.segment
    ]
    said += [f"{each.says}." for each in findings.by_turn if each.says]
    said += [] if findings.bandit is None else bandit_sentences(findings.bandit)
    handled = "left out" if findings.measurement.kept else "counted for the variant seen first"
    said += [
        f"Sensitivity: with the {findings.measurement.crossed:,} units seen in two variants {handled}, "
        f"{effect.metric} in {effect.variant} is {interval(effect)}."
        for effect in findings.otherwise
    ]
    return said + [f"{_HEALTH[check.status]} {check.name}: {check.says}" for check in findings.cautions]


def _closing(findings: Findings, verdict: Verdict, screen: Screen | None) -> list[str]:
    lines = [""]
    if findings.family:
        lines.append(f"Adjusted together: {findings.family}.")
    if screen is not None:
        lines.append(screen.says)
    if verdict.would_change:
        lines.append(f"What would change it: {verdict.would_change}.")
    return lines if len(lines) > 1 else []


def _grid(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [list(headers), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headers))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _piped(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(_escape(header) for header in headers) + " |",
        "|" + "---|" * len(headers),
        *("| " + " | ".join(_escape(cell) for cell in row) + " |" for row in rows),
    ]


def _escape(text: str) -> str:
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return clean(text)
