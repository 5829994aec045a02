"""The report as one self-contained page: the verdict on top, then what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from markupsafe import Markup

from equipoise.analysis.findings import Effect, Findings
from equipoise.figures.blocks import banner, figure, table
from equipoise.figures.charts import Curve, IntervalRow, Tone, curve_chart, interval_chart
from equipoise.figures.page import page, render
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.deciding import Verdict
from equipoise.verdict.screen import Screen
from equipoise.verdict.text import HEADERS, answer, cells, sentences
from equipoise.verdict.wording import is_rate

__all__ = ["html"]

_BODY = """
<h1>{{ name }}</h1>
<p class="lead">{{ findings.hypothesis }}</p>
{{ banner }}
{% if verdict.would_change %}<p><strong>What would change it:</strong> {{ verdict.would_change }}.</p>{% endif %}
<p>{{ look }}.</p>

<h2>Is the experiment healthy?</h2>
{{ health }}

{% if findings.effects %}
<h2>What it shows</h2>
{% for each in figures %}{{ each }}{% endfor %}
{{ effects }}
{% if findings.segments %}
<h3>By segment</h3>
{{ forest }}
{{ segments }}
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
"""
# The mark stays beside its word on a narrow screen.
_HEALTH = {"ok": "✔\u00a0well", "note": "·\u00a0note", "invalid": "✖\u00a0invalid"}


def html(findings: Findings, verdict: Verdict, screen: Screen | None) -> str:
    """The page; the same findings give the same bytes."""
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
        figures=_figures(findings),
        effects=table(HEADERS, [cells(effect) for effect in findings.effects]),
        segments=table(HEADERS, [cells(effect) for effect in findings.segments]),
        forest=_forest(findings),
        sentences=sentences(findings),
    )
    measured = findings.measurement
    foot = (
        f"{findings.experiment} · source: {measured.source} · {measured.rows:,} rows · "
        + ", ".join(f"{arm} {units:,} units" for arm, units in measured.units.items())
        + " · intervals hold at the level of this look"
    )
    return page(f"{findings.experiment}: {verdict.word}", body, foot=foot)


def _sentence(text: str) -> str:
    # A name at the beginning keeps its spelling: `resolution_rate`, not `Resolution_rate`.
    first = text.split(" ", 1)[0]
    return (text if "_" in first else text[0].upper() + text[1:]) + ("" if text.endswith(".") else ".")


def _figures(findings: Findings) -> list[Markup]:
    made: list[Markup] = []
    if findings.primary:
        rate = is_rate(findings.primary[0])
        made.append(
            _interval_figure(
                [_row(effect, lambda x: x) for effect in findings.primary],
                title=f"{findings.primary[0].metric}: difference from control",
                axis="treatment − control, in percentage points"
                if rate
                else "treatment − control, in its own unit",
                caption="The primary: the one metric that decides. Right of the line is more, left is less; "
                f"{findings.primary[0].better} is better.",
                points=rate,
            )
        )
    if findings.guards:
        made.append(
            _interval_figure(
                [_guard_row(effect) for effect in findings.guards],
                title="Guardrails: how much of the margin is used",
                axis="change for the better, in margins",
                caption="At −1 a metric is worse by all of the margin that was declared acceptable. A guardrail is held "
                "when its whole interval lies right of that, breached when it lies "
                "left of it, and not shown in between.",
                reference=-1.0,
            )
        )
    others = [
        effect
        for effect in findings.effects
        if effect.held is None
        and effect.priority != "primary"
        and not isinstance(effect.relative, NotEstimable)
    ]
    if others:
        made.append(
            _interval_figure(
                [_relative_row(effect) for effect in others],
                title="Other metrics: change relative to control",
                axis="relative change",
                caption="Secondary and exploratory metrics do not decide; their p-values are adjusted together.",
                percent=True,
            )
        )
    if findings.look.of > 1 and findings.primary:
        made.append(_boundary_figure(findings))
    return made


def _forest(findings: Findings) -> Markup | None:
    """The primary's effect within each segment, below one another."""
    if not findings.segments or not findings.primary:
        return None
    rate = is_rate(findings.segments[0])
    return _interval_figure(
        [
            replace(_row(effect, lambda x: x), label=f"{effect.segment}, {effect.variant}")
            for effect in findings.segments
        ],
        title=f"{findings.segments[0].metric} within segments: difference from control",
        axis="treatment − control, in percentage points" if rate else "treatment − control, in its own unit",
        caption="The primary within each segment. These intervals hold one by one; the answers beside them are "
        "adjusted for their number and do not decide.",
        points=rate,
    )


def _interval_figure(
    rows: Sequence[IntervalRow],
    *,
    title: str,
    axis: str,
    caption: str,
    reference: float = 0.0,
    percent: bool = False,
    points: bool = False,
) -> Markup:
    wide, narrow = (
        interval_chart(
            rows, title=title, axis=axis, reference=reference, percent=percent, points=points, narrow=small
        )
        for small in (False, True)
    )
    return figure(wide, caption, narrow=narrow)


def _tone(effect: Effect) -> Tone:
    return {"better": "good", "held": "good", "worse": "bad", "breached": "bad"}.get(answer(effect), "unsure")  # type: ignore[return-value]


def _row(effect: Effect, scaled: Callable[[float], float]) -> IntervalRow:
    return _interval_row(
        f"{effect.metric}, {effect.variant}", effect.estimate, _tone(effect), answer(effect), scaled
    )


def _relative_row(effect: Effect) -> IntervalRow:
    label = f"{effect.metric}, {effect.variant}"
    return _interval_row(label, effect.relative, _tone(effect), answer(effect), lambda x: x)


def _guard_row(effect: Effect) -> IntervalRow:
    label = f"{effect.name}, {effect.variant}"
    if not effect.margin:
        return IntervalRow(label, None, note=effect.because or "")
    sign = (1 if effect.better == "higher" else -1) / effect.margin
    return _interval_row(label, effect.estimate, _tone(effect), effect.held or "", lambda x: sign * x)


def _interval_row(
    label: str, estimate: Estimate | NotEstimable, tone: Tone, note: str, scaled: Callable[[float], float]
) -> IntervalRow:
    if isinstance(estimate, NotEstimable):
        return IntervalRow(label, None, note=estimate.reason)
    low, high = sorted((scaled(estimate.low), scaled(estimate.high)))
    return IntervalRow(label, scaled(estimate.value), low, high, tone, note)


def _boundary_figure(findings: Findings) -> Markup:
    now = findings.look
    used = [(past.fraction, past.boundary) for past in findings.past]
    seen = [(past.fraction, past.statistic) for past in findings.past if past.statistic is not None]
    if now.fraction is not None:
        used.append((min(now.fraction, 1.0), now.boundary))
        statistics = [
            effect.estimate.statistic * (1 if effect.better == "higher" else -1)
            for effect in findings.primary
            if isinstance(effect.estimate, Estimate) and effect.estimate.statistic is not None
        ]
        if statistics:
            seen.append((min(now.fraction, 1.0), max(statistics)))
    # What was used replaces the plan up to here; what is planned continues it.
    here = used[-1][0] if used else 0.0
    limits = used + [(look.fraction, look.boundary) for look in findings.planned if look.fraction > here]
    if len(limits) == 1:
        limits = [(look.fraction, look.boundary) for look in findings.planned]
    curves = [
        Curve("boundary for an improvement", tuple(limits)),
        Curve("boundary for harm", tuple((x, -y) for x, y in limits)),
        Curve("observed", tuple(seen)),
    ]
    wide, narrow = (
        curve_chart(
            curves,
            title="The looks so far",
            x="share of the planned information",
            y="statistic (positive: better)",
            percent_x=True,
            reference_y=0.0,
            narrow=small,
        )
        for small in (False, True)
    )
    return figure(
        wide,
        "The experiment may stop where the statistic reaches a boundary at a registered look.",
        narrow=narrow,
    )
