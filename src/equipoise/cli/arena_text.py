"""What `equipoise arena` says in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.cli.output import rows

if TYPE_CHECKING:
    from equipoise.arena.comparing import Comparing
    from equipoise.arena.planning import Planned
    from equipoise.arena.rehearsing import Rehearsal
    from equipoise.arena.result import ArenaResult
    from equipoise.arena.telling import Table

__all__ = ["arena_text", "comparison_text", "dry_run_text"]

_MARKS = {"pass": "✔", "fail": "✖", "inconclusive": "…", "invalid": "!"}


def arena_text(result: ArenaResult) -> str:
    """The result as a person reads it in a terminal."""
    from equipoise.arena.cautions import failing, strengths, warnings
    from equipoise.arena.flips import flips
    from equipoise.arena.telling import (
        criteria_table,
        facts,
        judge_table,
        measure_table,
        preference_table,
        settings_table,
        tag_table,
    )
    from equipoise.figures.lettering import clean

    decision = result.gate.decision
    several = f" × {result.samples} samples" if result.samples > 1 else ""
    parts = [
        f"{_MARKS[decision]} GATE {decision.upper()}: {clean(result.gate.reason)}",
        f"{result.experiment}, {len(result.cases)} case{'' if len(result.cases) == 1 else 's'}{several}",
        _table(criteria_table(result)),
        _listed("Cases that may not fail, and did:", failing(result)),
        _listed("How much these cases can say:", strengths(result)),
        *(_table(found) for found in (preference_table(result), judge_table(result))),
        _table(measure_table(result)),
        _table(tag_table(result)),
        _listed(
            "Cases that speak most against a treatment:",
            [f"{flip.case} ({flip.variant}): {flip.why}" for flip in flips(result, most=3)],
        ),
        _table(settings_table(result)),
        "\n".join(f"note: {clean(each)}" for each in warnings(result)),
    ]
    parts += [f"spent: {value}" for name, value in facts(result) if name == "spent"]
    return "\n\n".join(part for part in parts if part)


def _listed(heading: str, sentences: Sequence[str]) -> str:
    from equipoise.figures.lettering import clean

    return "\n  ".join([heading, *map(clean, sentences)]) if sentences else ""


def _table(table: Table | None) -> str:
    from equipoise.figures.lettering import clean

    if table is None or not table.rows:
        return ""
    lines = [["–" if cell is None else clean(_told(cell)) for cell in line] for line in table.rows]
    return rows([clean(head) for head in table.heads], lines)


def _told(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def dry_run_text(name: str, rehearsal: Rehearsal, planned: Sequence[Planned]) -> str:
    """What a run will take, and what its cases can show."""
    from equipoise.stats.estimate import NotEstimable

    most = "at most " if rehearsal.at_most else ""
    several = f" × {rehearsal.samples} samples" if rehearsal.samples > 1 else ""
    parts = [f"{name}: {rehearsal.cases} cases{several}; nothing was asked"]
    if rehearsal.requests or rehearsal.kept:
        cost = rehearsal.cost_usd
        told = "unknown" if cost is None else f"about ${cost:.2f}"
        parts.append(
            f"{most}{rehearsal.requests:,} requests, {rehearsal.kept:,} more are in the journal already; cost {told}; about "
            f"{_time(rehearsal.seconds)} at {rehearsal.concurrency} at once"
        )
    else:
        parts.append("everything is recorded: no requests, no cost")
    if rehearsal.models:
        parts.append(
            rows(
                ["model", "requests", "tokens read", "tokens written", "cost"],
                [
                    [
                        each.model,
                        f"{each.requests:,}",
                        f"{each.input_tokens:,}",
                        f"{each.output_tokens:,}",
                        "unknown" if each.cost_usd is None else f"${each.cost_usd:.4f}",
                    ]
                    for each in rehearsal.models
                ],
            )
        )
        source = (
            "as the journal's replies"
            if rehearsal.measured
            else "assumed, for want of replies in the journal"
        )
        parts.append(
            f"Tokens read are characters over four; every answer {rehearsal.answer_tokens:,.0f} tokens and every reply "
            f"{rehearsal.latency_s:.1f} s ({source}). Plug-ins and embeddings are not counted."
        )
    if rehearsal.unpriced:
        parts.append(f"Name a price for {', '.join(rehearsal.unpriced)} under `prices` to know the cost.")
    table = []
    for each in planned:
        needed = "–" if isinstance(each.needed, NotEstimable) else f"{each.needed:,}"
        easier = f"{each.easier:,}" if isinstance(each.easier, int) else "–"
        detects = "–" if isinstance(each.detects, NotEstimable) else _detects(each.criterion.of, each.detects)
        table.append(
            [
                each.criterion.name,
                each.criterion.show.replace("_", " "),
                f"{each.cases:,}",
                needed,
                easier,
                detects,
            ]
        )
    if table:
        parts.append(
            rows(["criterion", "show", "cases", "needed", "needed at 90% passing", "detects"], table)
        )
        parts.append(
            "Needed: so many cases let an arm as good as control (or, to be shown better, better by the margin or five "
            "points) pass with 80% power, whatever the scores vary. Detects: the smallest true difference these cases "
            "show with 80% power."
        )
        parts += [
            f"note: {each.criterion.name}: {each.needed.reason}"
            for each in planned
            if isinstance(each.needed, NotEstimable)
        ]
    return "\n\n".join(parts)


def _detects(of: str, value: float) -> str:
    return f"{value * 100:.1f} pp" if of in ("win_rate", "pass_rate") else f"{value:.3g}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def comparison_text(compared: Comparing, *, markdown: bool = False) -> str:
    """Two runs side by side."""
    from equipoise.figures.numerals import number
    from equipoise.stats.estimate import NotEstimable

    heads = [
        "arm",
        "measure",
        "cases",
        "first",
        "second",
        "difference",
        f"{compared.level:.0%} interval",
        "better",
        "worse",
    ]
    lines = []
    for each in compared.compared:
        found = each.difference
        known = not isinstance(found, NotEstimable)
        lines.append(
            [
                each.arm,
                each.measure,
                f"{each.cases:,}",
                number(each.first),
                number(each.second),
                number(each.second - each.first),
                f"{number(found.low)} to {number(found.high)}" if known else "–",  # type: ignore[union-attr]
                str(len(each.gained)),
                str(len(each.lost)),
            ]
        )
    head = (
        f"first: {compared.first.origin} ({compared.first.tool}), second: {compared.second.origin} "
        f"({compared.second.tool}); second minus first, on the cases that both scored"
    )
    if markdown:
        table = "\n".join(
            f"| {' | '.join(_cell(cell) for cell in line)} |"
            for line in [heads, ["---"] * len(heads), *lines]
        )
    else:
        table = rows(heads, lines)
    parts = [head, table]
    for each in compared.compared:
        if each.lost:
            worst = ", ".join(f"{case} ({number(apart)})" for case, apart in each.lost[:5])
            parts.append(f"{each.arm}, {each.measure}, worse in the second: {worst}")
        if isinstance(each.difference, NotEstimable):
            parts.append(f"note: {each.arm}, {each.measure}: {each.difference.reason}")
    parts += [f"note: {each}" for each in compared.apart]
    return "\n\n".join(parts)


def _cell(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
