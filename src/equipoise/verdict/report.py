"""The report as one self-contained page: the verdict on top, then what it rests on."""

from __future__ import annotations

from markupsafe import Markup

from equipoise.analysis.findings import Findings
from equipoise.figures.blocks import banner, figure, table
from equipoise.figures.card import card
from equipoise.figures.lettering import clean
from equipoise.figures.page import page, render
from equipoise.verdict import charts, slot_charts
from equipoise.verdict.best_arm import ARM_HEADERS, ARMS, arm_rows
from equipoise.verdict.conversations import Conversations, Sampled
from equipoise.verdict.deciding import Verdict
from equipoise.verdict.screen import Screen
from equipoise.verdict.text import (
    BY_TURN,
    BY_TURN_HEADERS,
    HEADERS,
    RULE,
    RULE_HEADERS,
    STOPPING,
    STOPPING_HEADERS,
    by_turn,
    cells,
    decided_by,
    rule,
    sentences,
    stopping,
)

__all__ = ["html", "picture"]

_BODY = """
<h1>{{ name }}</h1>
<p class="lead">{{ findings.hypothesis }}</p>
{{ banner }}
<p class="soft">{{ decided_by }}</p>
{% if verdict.would_change %}<p><strong>What would change it:</strong> {{ verdict.would_change }}.</p>{% endif %}
<p>{{ look }}.</p>
{% if later %}<p><strong>Since then:</strong> {{ later }}</p>{% endif %}

<h2>Is the experiment healthy?</h2>
{{ health }}

{% if findings.effects %}
<h2>What it shows</h2>
{% if findings.bandit %}
<h3>{{ arms_says }}</h3>
{{ arms }}
{% endif %}
{% for each in figures %}{{ each }}{% endfor %}
{{ effects }}
{% if findings.by_turn %}
<h3>{{ by_turn_says }}</h3>
{{ by_turn }}
{% endif %}
{% if findings.segments %}
<h3>By segment</h3>
{% for each in forest %}{{ each }}{% endfor %}
{{ segments }}
{% endif %}
{% if findings.stopping %}
<h3>{{ stopping_says }}</h3>
{{ stopping }}
{% endif %}
{% if sentences %}<ul>{% for line in sentences %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
{% if findings.family %}<p>Adjusted together: {{ findings.family }}.</p>{% endif %}
{% elif not findings.healthy %}
<h2>What it shows</h2>
<p>Effects are withheld: on these data none could be trusted.</p>
{% else %}
<h2>What it shows</h2>
<p>Effects are withheld until a look is due; so nobody stops on a lucky day.</p>
{% endif %}

{% if screen %}<h2>The screen on observed changes</h2>
<p>{{ screen.says }}</p>{% endif %}

{% if verdict.evidence %}<h2>The evidence, sentence by sentence</h2>
<ul>{% for line in verdict.evidence %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}

{% if conversations %}<h2>A sample of conversations</h2>
<p>{{ conversations.says }}</p>
{% for each in conversations.sampled %}
<details><summary>{{ each.variant }}, {{ conversations.metric }}: {{ each.value }}</summary>
<dl>{% for who, said in spoken(each) %}<dt>{{ who }}</dt><dd>{% for line in said %}{{ line }}<br>{% endfor %}</dd>
{% endfor %}</dl>
<p class="soft">{{ each.marks }}; trace {{ each.text.trace }}</p></details>
{% endfor %}{% endif %}

{% if findings.declared %}<h2>What was declared before launch</h2>
{{ declared }}{% endif %}

<h2>The verdict rule</h2>
<p>{{ rule_says }}.</p>
{{ rule }}
"""
# The mark stays beside its word on a narrow screen.
_HEALTH = {"ok": "✔\u00a0well", "note": "·\u00a0note", "invalid": "✖\u00a0invalid"}


def html(
    findings: Findings,
    verdict: Verdict,
    screen: Screen | None,
    *,
    later: str = "",
    conversations: Conversations | None = None,
) -> str:
    """The page; the same findings give the same bytes. `later` tells what came after the verdict."""
    look = findings.look.says
    body = render(
        _BODY,
        findings=findings,
        verdict=verdict,
        screen=screen,
        banner=banner(verdict.word, _sentence(verdict.because), kind="verdict"),
        name=findings.experiment.partition("@")[0],
        look=look[0].upper() + look[1:],
        health=table(
            ["check", "state", "what was seen"],
            [[check.name, _HEALTH[check.status], check.says] for check in findings.health],
        ),
        figures=_shown(
            charts.shares(findings),
            charts.primary(findings),
            charts.guards(findings),
            charts.others(findings),
            charts.boundary(findings),
            charts.day_by_day(findings),
            *(
                (slot_charts.schedule(findings), slot_charts.by_time_of_day(findings))
                if findings.carry_over
                else ()
            ),
        ),
        effects=table(HEADERS, [cells(effect) for effect in findings.effects]),
        arms_says=ARMS,
        arms=table(ARM_HEADERS, arm_rows(findings.bandit)) if findings.bandit else "",
        by_turn_says=BY_TURN,
        by_turn=table(BY_TURN_HEADERS, by_turn(findings)) if findings.by_turn else "",
        segments=table(HEADERS, [cells(effect) for effect in findings.segments]),
        forest=_shown(charts.segments(findings)),
        stopping_says=STOPPING,
        stopping=table(STOPPING_HEADERS, stopping(findings)),
        sentences=sentences(findings),
        decided_by=decided_by(findings, verdict),
        rule_says=RULE,
        rule=table(RULE_HEADERS, rule(findings, verdict)),
        later=later,
        conversations=conversations,
        spoken=_spoken,
        declared=table(["name", "declaration"], list(findings.declared.items())),
    )
    return page(f"{findings.experiment}: {verdict.word}", body, foot=_foot(findings))


def picture(findings: Findings, verdict: Verdict) -> str:
    """The verdict, the primary and the guardrails on one card: an SVG."""
    drawn = (charts.primary(findings), charts.guards(findings))
    return card(
        title=findings.experiment.partition("@")[0],
        word=verdict.word,
        sentence=_sentence(verdict.because),
        charts=[chart.wide for chart in drawn if chart is not None],
        foot=_foot(findings),
    )


def _shown(*drawn: charts.Chart | None) -> list[Markup]:
    return [figure(chart.wide, chart.caption, narrow=chart.narrow) for chart in drawn if chart is not None]


def _spoken(sampled: Sampled) -> list[tuple[str, list[str]]]:
    """Who said what, line by line, without what would turn the page around."""
    return [(clean(who), [clean(line) for line in said.splitlines()]) for who, said in sampled.lines]


def _foot(findings: Findings) -> str:
    measured = findings.measurement
    return (
        f"{findings.experiment} · source: {measured.source} · {measured.rows:,} rows · "
        + ", ".join(f"{arm} {units:,} units" for arm, units in measured.units.items())
        + " · intervals hold at the level of this look"
    )


def _sentence(text: str) -> str:
    # A name at the beginning keeps its spelling: `resolution_rate`, not `Resolution_rate`.
    first = text.split(" ", 1)[0]
    return (text if "_" in first else text[0].upper() + text[1:]) + ("" if text.endswith(".") else ".")
