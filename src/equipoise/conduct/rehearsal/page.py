"""A rehearsal as a self-contained page: what ends how, how soon, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from equipoise.conduct.rehearsal.found import Rehearsal
from equipoise.figures.blocks import figure, table
from equipoise.figures.charts import Curve, IntervalRow, curve_chart, interval_chart
from equipoise.figures.page import page, render

__all__ = ["rehearsal_page"]

_BODY = """
<h1>Rehearsal of {{ name }}</h1>
<p class="lead">{{ hypothesis }}</p>
<p>{{ says }}</p>
<ul>{% for line in promises %}<li>{{ line }}</li>{% endfor %}</ul>

<h2>How it ends</h2>
{{ ships }}
{{ words }}
<ul>{% for line in scenarios %}<li>{{ line }}</li>{% endfor %}</ul>

<h2>How long it takes</h2>
{{ course }}
{{ length }}

{% if lost %}<h2>What is lost on the way</h2>
<p>{{ lost_says }}</p>
{{ lost }}{% endif %}

{% if aside %}<h2>What was not rehearsed</h2>
<ul>{% for line in aside %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
"""


def rehearsal_page(found: Rehearsal, hypothesis: str) -> str:
    """The page; it needs nothing beside itself."""
    pace = "" if found.per_day is None else f", {found.per_day:,.0f} of them a day"
    says = (
        f"The design was carried out {found.runs:,} times for each line below, on {found.population}{pace}, with a look "
        f"after each {found.per_look:,} {found.counted}. Seed {found.seed}."
    )
    lost = found.lost
    body = render(
        _BODY,
        name=found.experiment,
        hypothesis=hypothesis,
        says=says,
        promises=found.promises(),
        ships=_ships(found),
        words=table(
            ["what is true", "ships", "holds", "rolls back", "invalid", "time was up"],
            [
                [each.scenario.name, *(f"{n / each.runs:.1%}" for n in each.words.values())]
                for each in found.outcomes
            ],
        ),
        # Not in the table: beside sentences its numbers would be out of sight on a narrow page.
        scenarios=[f"{each.scenario.name}: {each.scenario.says}." for each in found.outcomes],
        course=_course(found),
        length=table(
            found.length,
            [each.length for each in found.outcomes],
        ),
        lost_says=(
            f"Within {found.horizon:,} {found.counted}, against serving the better arm from the first one on, "
            f"{found.lost_in}."
        ),
        # A policy a line: their names are long, and the scenarios few.
        lost=table(*_turned(lost)) if lost else None,
        aside=[
            *(f"{name}: {why}." for name, why in found.left_out.items()),
            *(f"{note}." for note in found.notes),
        ],
    )
    return page(f"Rehearsal of {found.experiment}", body)


def _ships(found: Rehearsal) -> Markup:
    rows = [
        IntervalRow(each.scenario.name, each.ships.value, each.ships.low, each.ships.high)
        for each in found.outcomes
    ]

    def drawn(*, narrow: bool) -> str:
        return interval_chart(
            rows,
            title="Runs that shipped",
            axis="share of the runs",
            percent=True,
            reference=found.plan.power,
            narrow=narrow,
        )

    return figure(
        drawn(narrow=False),
        "Share of the runs that shipped, with 95 % intervals; the line is the planned power.",
        narrow=drawn(narrow=True),
    )


def _steps(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """What stays as it is until the next moment."""
    found = list(points[:1])
    for (_, before), (moment, after) in pairwise(points):
        found += [(moment, before), (moment, after)]
    return tuple(found)


def _course(found: Rehearsal) -> Markup:
    by_day = found.per_day is not None
    curves = [Curve(each.scenario.name, _steps(each.ended)) for each in found.outcomes]

    def drawn(*, narrow: bool) -> str:
        return curve_chart(
            curves,
            title="Runs that had ended",
            x="days" if by_day else found.counted,
            y="share of the runs",
            percent_y=True,
            from_zero=True,
            narrow=narrow,
        )

    said = "day" if by_day else f"number of {found.counted}"
    return figure(
        drawn(narrow=False), f"Share of the runs that had ended by each {said}.", narrow=drawn(narrow=True)
    )


def _turned(lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    header, *rest = (list(column) for column in zip(*lines, strict=True))
    return ["policy", *header[1:]], rest
