"""The arena's report: a page that needs nothing but itself, and the same in Markdown.

Questions and answers were written by others: they are escaped on the page and fenced in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from equipoise.arena.result import ArenaResult
from equipoise.arena.telling import (
    Flip,
    Table,
    criteria_table,
    facts,
    flips,
    interval_rows,
    judge_table,
    measure_table,
    preference_table,
    settings_table,
    strength,
    tag_table,
    warnings,
)
from equipoise.figures.charts import interval_chart
from equipoise.figures.page import page, render

__all__ = ["html_report", "markdown_report"]

_PAGE = """\
<style>
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.pair pre, .asked { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.pair pre, .asked { max-height: 24rem; overflow: auto; }
.flip { margin: 0 0 1rem; }
.flip summary { cursor: pointer; padding: .35rem 0; }
.mark-word { font-size: .8em; border: 1px solid currentColor; border-radius: .6em; padding: 0 .45em; }
.mark-word { margin-left: .35em; }
@media screen and (max-width: 36rem) { .pair { grid-template-columns: minmax(0, 1fr); } }
</style>
{% macro told(flip) %}
<p>{{ flip.why }}</p>
<blockquote class="asked" dir="auto">{{ flip.asked }}</blockquote>
<div class="pair">
<div><p class="soft">{{ result.control.name }}</p><pre dir="auto">{{ flip.control }}</pre></div>
<div><p class="soft">{{ flip.variant }}</p><pre dir="auto">{{ flip.treatment }}</pre></div>
</div>
{% endmacro %}
{% macro listed(found, opened) %}
{% for flip in found %}
<details class="flip"{% if loop.index <= opened %} open{% endif %}>
<summary><strong>{{ flip.case }}</strong>, {{ flip.variant }}
{%- for mark in flip.marks %}<span class="mark-word">{{ mark }}</span>{% endfor %}</summary>
{{ told(flip) }}
</details>
{% endfor %}
{% endmacro %}
<h1>{{ title }}</h1>
{{ banner(result.gate.decision, reason, kind="gate") }}
{% if criteria.rows %}
{{ table(criteria.heads, criteria.rows, caption="What the gate asks, and what was seen") }}
{% endif %}
{% if chart %}
{{ figure(chart, "Win rate against " ~ result.control.name ~ "; a tie counts half a win.", narrow=narrow) }}
{% endif %}
{% if strengths %}
<h2>How much these cases can say</h2>
{% for sentence in strengths %}
<p>{{ sentence }}</p>
{% endfor %}
{% endif %}
{% if failing %}
<h2>Cases that may not fail, and did</h2>
<ul>
{% for name, why, ids in failing %}
<li>{{ name }}: {{ why }} (cases {{ ids }})</li>
{% endfor %}
</ul>
{% endif %}
{% if warnings %}
<h2>To bear in mind</h2>
<ul>
{% for warning in warnings %}
<li>{{ warning }}</li>
{% endfor %}
</ul>
{% endif %}
{% for heading, each, caption in tables %}
<h2>{{ heading }}</h2>
{{ table(each.heads, each.rows, caption=caption) }}
{% endfor %}
{% if worse %}
<h2>Cases that speak most against a treatment</h2>
{{ listed(worse, 2) }}
{% endif %}
{% if better %}
<h2>Cases that speak most for a treatment</h2>
{{ listed(better, 0) }}
{% endif %}
<h2>Where these numbers come from</h2>
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
"""


def html_report(result: ArenaResult) -> str:
    """A complete page; it loads nothing and runs nothing."""
    rows = interval_rows(result)
    drawn = any(row.value is not None for row in rows)
    title = f"Prompt Arena: {result.experiment}"

    def chart(*, narrow: bool) -> str:
        return interval_chart(
            rows,
            title="Win rate against control",
            axis="win rate",
            reference=0.5,
            percent=True,
            narrow=narrow,
        )

    body = render(
        _PAGE,
        title=title,
        result=result,
        reason=_reason(result),
        criteria=criteria_table(result),
        chart=chart(narrow=False) if drawn else "",
        narrow=chart(narrow=True) if drawn else "",
        strengths=[strength(variant, result) for variant in result.treatments],
        failing=list(_failing(result)),
        warnings=warnings(result),
        tables=list(_tables(result)),
        worse=flips(result, most=8),
        better=flips(result, most=3, worse=False),
        facts=facts(result),
    )
    return page(title, body, foot=_FOOT)


def _tables(result: ArenaResult) -> Iterator[tuple[str, Table, str]]:
    against = f"Each treatment against {result.control.name}"
    for heading, found, caption in (
        ("The pairwise judge", preference_table(result), f"{against}; a tie counts half a win"),
        ("The judge as an instrument", judge_table(result), "With intervals in brackets"),
        ("Measures", measure_table(result), f"{against}, on the cases that both were scored on"),
        ("By tag", tag_table(result), against),
        ("Answers", settings_table(result), "How they were made"),
    ):
        if found is not None and found.rows:
            yield heading, found, caption


def _failing(result: ArenaResult) -> Iterator[tuple[str, str, str]]:
    for variant in result.treatments:
        for why, cases in variant.failing.items():
            shown = ", ".join(cases[:12]) + (f" and {len(cases) - 12} more" if len(cases) > 12 else "")
            yield variant.name, why, shown


def markdown_report(result: ArenaResult) -> str:
    """The same report as Markdown (GitHub's tables), short enough for a pull request."""
    mark = {"pass": "✅", "fail": "❌", "inconclusive": "⏳", "invalid": "⚠️"}[result.gate.decision]
    parts = [
        f"# Prompt Arena: {_inline(result.experiment)}",
        f"{mark} **{result.gate.decision.capitalize()}.** {_inline(_reason(result))}",
    ]
    criteria = criteria_table(result)
    if criteria.rows:
        parts.append(_markdown_table(criteria))
    if result.gate.decision == "inconclusive":
        parts += [_inline(strength(variant, result)) for variant in result.treatments]
    if failing := list(_failing(result)):
        parts += ["## Cases that may not fail, and did"]
        parts.append("\n".join(f"- {_inline(f'{name}: {why} (cases {ids})')}" for name, why, ids in failing))
    if said := warnings(result):
        parts += ["## To bear in mind", "\n".join(f"- {_inline(each)}" for each in said)]
    for heading, found, _ in _tables(result):
        parts += [f"## {heading}", _markdown_table(found)]
    if against := flips(result, most=3):
        parts.append("## Cases that speak most against a treatment")
        parts += [_markdown_flip(flip, result.control.name) for flip in against]
    parts += [
        "## Where these numbers come from",
        "\n".join(f"- {name}: {_inline(value)}" for name, value in facts(result)),
        _FOOT,
    ]
    return "\n\n".join(parts) + "\n"


def _markdown_flip(flip: Flip, control: str) -> str:
    marks = f" ({', '.join(flip.marks)})" if flip.marks else ""
    return "\n\n".join(
        [
            f"<details><summary>{_escaped(f'{flip.case}, {flip.variant}{marks}: {flip.why}')}</summary>",
            "Asked:",
            _fenced(flip.asked),
            f"{_inline(control)}:",
            _fenced(flip.control),
            f"{_inline(flip.variant)}:",
            _fenced(flip.treatment),
            "</details>",
        ]
    )


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_FOOT = (
    "A win rate is the judge's view of these cases. It stands in for no measurement on live traffic, and "
    "says nothing of cases unlike these."
)


def _reason(result: ArenaResult) -> str:
    text = result.gate.reason
    return text if text.endswith(".") else text + "."


def _markdown_table(table: Table) -> str:
    lines = [
        [_cell(head) for head in table.heads],
        ["---"] * len(table.heads),
        *([_cell(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return _inline(f"{value:,}" if isinstance(value, int) else str(value))


def _inline(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
