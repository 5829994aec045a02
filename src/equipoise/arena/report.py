"""The arena's report: a page that needs nothing but itself, and the same in Markdown.

Questions and answers were written by others: they are escaped on the page and fenced in Markdown.
"""

from __future__ import annotations

import re

from equipoise.arena.result import ArenaResult
from equipoise.arena.telling import (
    Table,
    answer_table,
    check_table,
    facts,
    flips,
    interval_rows,
    rubric_table,
    strength,
    variant_table,
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
@media screen and (max-width: 36rem) { .pair { grid-template-columns: minmax(0, 1fr); } }
</style>
<h1>{{ title }}</h1>
{{ banner(result.gate.decision, reason, kind="gate") }}
{{ table(variants[0], variants[1], caption="Each treatment against " ~ result.control.name ~ "; a tie counts half a win") }}
{% if chart %}
{{ figure(chart, "Win rate against " ~ result.control.name ~ " with its interval. " ~ bar, narrow=narrow) }}
{% endif %}
<h2>How much these cases can say</h2>
{% for sentence in strengths %}
<p>{{ sentence }}</p>
{% endfor %}
{% if warnings %}
<h2>To bear in mind</h2>
<ul>
{% for warning in warnings %}
<li>{{ warning }}</li>
{% endfor %}
</ul>
{% endif %}
{% if answers %}
<h2>Answers</h2>
{{ table(answers[0], answers[1]) }}
{% endif %}
{% if rubric %}
<h2>Grades by the rubric</h2>
{{ table(rubric[0], rubric[1], caption="Mean grade by axis") }}
{% endif %}
{% if checks %}
<h2>Checks</h2>
{{ table(checks[0], checks[1]) }}
{% endif %}
{% if flips %}
<h2>Cases that speak most against a treatment</h2>
{% for flip in flips %}
<h3>Case {{ flip.case }}, {{ flip.variant }}</h3>
<p>{{ flip.why }}</p>
<blockquote class="asked" dir="auto">{{ flip.asked }}</blockquote>
<div class="pair">
<div><p class="soft">{{ result.control.name }}</p><pre dir="auto">{{ flip.control }}</pre></div>
<div><p class="soft">{{ flip.variant }}</p><pre dir="auto">{{ flip.treatment }}</pre></div>
</div>
{% endfor %}
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
        variants=variant_table(result),
        chart=chart(narrow=False) if drawn else "",
        narrow=chart(narrow=True) if drawn else "",
        bar=_bar(result),
        strengths=[strength(variant, result) for variant in result.treatments],
        warnings=warnings(result),
        rubric=rubric_table(result),
        answers=answer_table(result),
        checks=check_table(result),
        flips=flips(result),
        facts=facts(result),
    )
    return page(title, body, foot=_FOOT)


def markdown_report(result: ArenaResult) -> str:
    """The same report as Markdown (GitHub's tables)."""
    parts = [
        f"# Prompt Arena: {_inline(result.experiment)}",
        f"**{result.gate.decision.capitalize()}.** {_inline(_reason(result))}",
        _markdown_table(variant_table(result)),
        _bar(result),
        "## How much these cases can say",
        *(_inline(strength(variant, result)) for variant in result.treatments),
    ]
    if said := warnings(result):
        parts += ["## To bear in mind", "\n".join(f"- {_inline(each)}" for each in said)]
    if answers := answer_table(result):
        parts += ["## Answers", _markdown_table(answers)]
    if rubric := rubric_table(result):
        parts += ["## Grades by the rubric", _markdown_table(rubric)]
    if checks := check_table(result):
        parts += ["## Checks", _markdown_table(checks)]
    if against := flips(result):
        parts.append("## Cases that speak most against a treatment")
        for flip in against:
            parts += [
                f"### Case {_inline(flip.case)}, {_inline(flip.variant)}",
                _inline(flip.why),
                "Asked:",
                _fenced(flip.asked),
                f"{_inline(result.control.name)}:",
                _fenced(flip.control),
                f"{_inline(flip.variant)}:",
                _fenced(flip.treatment),
            ]
    parts += [
        "## Where these numbers come from",
        "\n".join(f"- {name}: {_inline(value)}" for name, value in facts(result)),
        _FOOT,
    ]
    return "\n\n".join(parts) + "\n"


_FOOT = (
    "A win rate is the judge's view of these cases. It stands in for no measurement on live traffic, and "
    "says nothing of cases unlike these."
)


def _reason(result: ArenaResult) -> str:
    text = result.gate.reason
    return text if text.endswith(".") else text + "."


def _bar(result: ArenaResult) -> str:
    if result.superior:
        return "To pass, the whole interval must lie above 50%."
    bar = f"{0.5 - result.margin:.1%}"
    return (
        f"To pass, the whole interval must lie above {bar}: not worse than control by more than the margin."
    )


def _markdown_table(table: Table) -> str:
    heads, rows = table
    lines = [
        [_cell(head) for head in heads],
        ["---"] * len(heads),
        *([_cell(cell) for cell in row] for row in rows),
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
