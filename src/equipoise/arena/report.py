"""The arena's report: a page that needs nothing but itself, and the same in Markdown.

Questions and answers were written by others: they are escaped on the page and fenced in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from equipoise.arena.cautions import failing, strengths, warnings
from equipoise.arena.flips import Flip, flips
from equipoise.arena.result import ArenaResult
from equipoise.arena.telling import (
    Table,
    criteria_table,
    difference_rows,
    facts,
    judge_table,
    measure_table,
    preference_table,
    settings_table,
    tag_table,
    win_rate_rows,
)
from equipoise.figures.charts import IntervalRow, interval_chart
from equipoise.figures.lettering import clean
from equipoise.figures.page import page, render

__all__ = ["html_report", "markdown_report"]

_PAGE = """\
<style>
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem; }
.pair p { margin: 0 0 .25rem; overflow-wrap: anywhere; }
.pair pre { margin: 0; }
.pair pre, .asked { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.pair pre, .asked { max-height: 24rem; overflow: auto; }
.flip { margin: 0; padding: .25rem 0; border-bottom: 1px solid var(--line); }
.flip[open] { padding-bottom: 1.25rem; }
.flip summary { padding: .4rem 0; overflow-wrap: anywhere; font-weight: 400; }
.flip summary bdi { font-weight: 650; }
.flip .why { overflow-wrap: anywhere; }
.mark-word { font-size: .8em; color: var(--soft); border: 1px solid var(--line); border-radius: .6em; }
.mark-word { display: inline-block; margin-left: .35em; padding: 0 .5em; }
.mark-word.grave { color: var(--bad); border-color: currentColor; }
.scroll td { min-width: 7.5rem; }
.scroll td.num { min-width: 0; }
.flip[open] summary .brief { display: none; }
.brief { display: block; color: var(--soft); font-size: .9rem; }
.said li { overflow-wrap: anywhere; margin-bottom: .35rem; }
@media screen and (max-width: 36rem) { .pair { grid-template-columns: minmax(0, 1fr); } }
</style>
{% macro listed(found, opened) %}
{% for flip in found %}
<details class="flip"{% if loop.index <= opened %} open{% endif %}>
<summary><bdi>{{ flip.case }}</bdi>{% if several %}, {{ flip.variant }}{% endif %}
{%- for mark in flip.marks %}
<span class="mark-word{% if mark in grave %} grave{% endif %}">{{ mark }}</span>
{%- endfor %}
<span class="brief">{{ flip.why|truncate(110, true, "…", 0) }}</span></summary>
<p class="why">{{ flip.why }}</p>
<blockquote class="asked" dir="auto">{{ flip.asked }}</blockquote>
<div class="pair">
<div><p class="soft">{{ control }}</p><pre dir="auto">{{ flip.control }}</pre></div>
<div><p class="soft">{{ flip.variant }}</p><pre dir="auto">{{ flip.treatment }}</pre></div>
</div>
</details>
{% endfor %}
{% endmacro %}
{% macro sentences(heading, listed) %}
{% if listed %}
<h2>{{ heading }}</h2>
<ul class="said">
{% for sentence in listed %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
{% endif %}
{% endmacro %}
<h1>{{ title }}</h1>
{{ banner(decision, reason, kind="gate") }}
{{ sentences("Cases that may not fail, and did", failing) }}
{% if criteria.rows %}
{{ table(criteria.heads, criteria.rows, caption="What the gate asks, and what was seen") }}
{% endif %}
{% for wide, narrow, caption in charts %}
{{ figure(wide, caption, narrow=narrow) }}
{% endfor %}
{{ sentences("How much these cases can say", strengths) }}
{{ sentences("To bear in mind", warnings) }}
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
{% if settings %}
<h2>How the answers were made</h2>
{{ table(settings.heads, settings.rows) }}
{% endif %}
<h2>Where these numbers come from</h2>
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
"""
_GRAVE = ("must pass", "critical", "high")
_FOOT = (
    "A win rate is the judge's view of these cases. It stands in for no measurement on live traffic, and "
    "says nothing of cases unlike these."
)


def html_report(result: ArenaResult) -> str:
    """A complete page; it loads nothing and runs nothing."""
    title = f"Prompt Arena: {result.experiment}"
    body = render(
        _PAGE,
        title=title,
        decision=result.gate.decision,
        reason=_reason(result),
        control=result.control.name,
        several=len(result.treatments) > 1,
        grave=_GRAVE,
        criteria=criteria_table(result),
        charts=list(_charts(result)),
        strengths=strengths(result),
        failing=failing(result),
        warnings=warnings(result),
        tables=list(_tables(result)),
        worse=flips(result, most=8),
        better=flips(result, most=3, worse=False),
        settings=settings_table(result),
        facts=facts(result),
    )
    return page(title, body, foot=_FOOT)


def _charts(result: ArenaResult) -> Iterator[tuple[str, str, str]]:
    """Each chart twice, for a wide page and for a narrow one, with its caption."""
    control = result.control.name

    def drawn(
        rows: list[IntervalRow], caption: str, title: str, axis: str, **form: Any
    ) -> Iterator[tuple[str, str, str]]:
        if any(row.value is not None for row in rows):
            wide, narrow = (
                interval_chart(rows, title=title, axis=axis, narrow=narrow, **form)
                for narrow in (False, True)
            )
            yield wide, narrow, caption

    yield from drawn(
        win_rate_rows(result),
        f"Win rate against {control}; a tie counts half a win.",
        "Win rate against control",
        "win rate",
        reference=0.5,
        percent=True,
    )
    yield from drawn(
        difference_rows(result),
        f"Share of cases that pass, each treatment's minus that of {control}, on the same cases.",
        "What passes, beside control",
        "treatment − control",
        points=True,
    )


def _tables(result: ArenaResult) -> Iterator[tuple[str, Table, str]]:
    against = f"Each treatment against {result.control.name}"
    for heading, found, caption in (
        ("The pairwise judge", preference_table(result), f"{against}; a tie counts half a win"),
        ("The judge as an instrument", judge_table(result), "With intervals in brackets"),
        ("Measures", measure_table(result), f"{against}, on the cases that both were scored on"),
        ("By tag", tag_table(result), against),
    ):
        if found is not None and found.rows:
            yield heading, found, caption


def markdown_report(result: ArenaResult) -> str:
    """The same report as Markdown (GitHub's), short enough for a pull request: what is long is folded away."""
    mark = {"pass": "✅", "fail": "❌", "inconclusive": "⏳", "invalid": "⚠️"}[result.gate.decision]
    parts = [
        f"# Prompt Arena: {_inline(result.experiment)}",
        f"{mark} **{result.gate.decision.capitalize()}.** {_inline(_reason(result))}",
    ]
    criteria = criteria_table(result)
    if criteria.rows:
        parts.append(_markdown_table(criteria))
    tables = list(_tables(result))
    for heading, found, _ in tables[:1]:
        parts += [f"## {heading}", _markdown_table(found)]
    for heading, said in (
        ("Cases that may not fail, and did", failing(result)),
        ("How much these cases can say", strengths(result)),
        ("To bear in mind", warnings(result)),
    ):
        if said:
            parts += [f"## {heading}", "\n".join(f"- {_inline(each)}" for each in said)]
    if against := flips(result, most=3):
        parts.append("## Cases that speak most against a treatment")
        parts += [_markdown_flip(flip, result.control.name) for flip in against]
    more = [part for heading, found, _ in tables[1:] for part in (f"### {heading}", _markdown_table(found))]
    if settings := settings_table(result):
        more += ["### How the answers were made", _markdown_table(settings)]
    if more:
        parts.append(_folded("More numbers", *more))
    listed = "\n".join(f"- {_inline(name)}: {_inline(value)}" for name, value in facts(result))
    return "\n\n".join([*parts, _folded("Where these numbers come from", listed), _FOOT]) + "\n"


def _folded(summary: str, *parts: str) -> str:
    return "\n\n".join([f"<details><summary>{_escaped(summary)}</summary>", *parts, "</details>"])


def _markdown_flip(flip: Flip, control: str) -> str:
    marks = f" ({', '.join(flip.marks)})" if flip.marks else ""
    return _folded(
        f"{flip.case}, {flip.variant}{marks}: {flip.why}",
        "Asked:",
        _fenced(flip.asked),
        f"{_inline(control)}:",
        _fenced(flip.control),
        f"{_inline(flip.variant)}:",
        _fenced(flip.treatment),
    )


def _escaped(text: str) -> str:
    """Text within a tag within Markdown."""
    return _calling_nobody(clean(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", _calling_nobody(clean(text)))


def _calling_nobody(text: str) -> str:
    """Text in which a forge sees nobody to notify and no address to link: a word joiner, unseen, stands between."""
    return text.replace("@", "@\u2060").replace("://", ":\u2060//")


def _harmless(text: str) -> str:
    """Lines of text without characters that steer a terminal, turn the direction or cannot be written."""
    return "\n".join(clean(line) if _STEERING.search(line) else line for line in text.split("\n"))


_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _fenced(text: str) -> str:
    text = _harmless(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
