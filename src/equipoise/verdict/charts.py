"""The pictures of findings: what decides, what guards, what is beside it, and how it went over the looks and days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from equipoise.analysis.findings import Effect, Findings
from equipoise.figures.charts import Curve, IntervalRow, Tone, curve_chart, interval_chart
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.text import answer
from equipoise.verdict.wording import is_rate, unit

__all__ = ["Chart", "boundary", "day_by_day", "guards", "others", "primary", "segments", "shares"]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture for a wide and a narrow screen, with the words under it."""

    wide: str
    narrow: str
    caption: str

    @classmethod
    def of(cls, draw: Callable[..., str], caption: str) -> Chart:
        """Drawn twice: `draw` takes `narrow`."""
        return cls(draw(narrow=False), draw(narrow=True), caption)


def primary(findings: Findings) -> Chart | None:
    """The one metric that decides."""
    if not findings.primary:
        return None
    return _intervals(
        [_row(effect, lambda x: x) for effect in findings.primary],
        title=f"{findings.primary[0].metric}: difference from control",
        axis=_axis(findings.primary[0]),
        caption="The primary: the one metric that decides. Right of the line is more, left is less; "
        f"{findings.primary[0].better} is better.",
        points=is_rate(findings.primary[0]),
    )


def guards(findings: Findings) -> Chart | None:
    """Guardrails and critical segments, each against its margin."""
    if not findings.guards:
        return None
    return _intervals(
        [_guard_row(effect) for effect in findings.guards],
        title="Guardrails: how much of the margin is used",
        axis="change for the better, in margins",
        caption="At −1 a metric is worse by all of the margin that was declared acceptable. A guardrail is held "
        "when its whole interval lies right of that, breached when it lies left of it, and not shown in between.",
        reference=-1.0,
        within=0.0,
    )


def others(findings: Findings) -> Chart | None:
    """What informs and does not decide."""
    found = [
        effect
        for effect in findings.effects
        if effect.held is None
        and effect.priority != "primary"
        and not isinstance(effect.relative, NotEstimable)
    ]
    if not found:
        return None
    return _intervals(
        [_relative_row(effect) for effect in found],
        title="Other metrics: change relative to control",
        axis="relative change",
        caption="Secondary and exploratory metrics do not decide; their p-values are adjusted together.",
        percent=True,
    )


def segments(findings: Findings) -> Chart | None:
    """The primary's effect within each segment, below one another."""
    if not findings.segments or not findings.primary:
        return None
    return _intervals(
        [
            replace(_row(effect, lambda x: x), label=f"{effect.segment}, {effect.variant}")
            for effect in findings.segments
        ],
        title=f"{findings.segments[0].metric} within segments: difference from control",
        axis=_axis(findings.segments[0]),
        caption="The primary within each segment. These intervals hold one by one; the answers beside them are "
        "adjusted for their number and do not decide.",
        points=is_rate(findings.segments[0]),
    )


def day_by_day(findings: Findings) -> Chart | None:
    """The primary's effect over all who had come in by each day."""
    if not findings.so_far or not findings.primary:
        return None
    arms = list(dict.fromkeys(each.variant for each in findings.so_far))
    rate = is_rate(findings.primary[0])
    curves = []
    for arm in arms:
        days = [each for each in findings.so_far if each.variant == arm]
        curves.append(Curve(f"{arm} so far", tuple((each.day, each.value) for each in days)))
        if len(arms) == 1:
            curves.append(Curve("upper end", tuple((each.day, each.high) for each in days)))
            curves.append(Curve("lower end", tuple((each.day, each.low) for each in days)))
    scaled = 100.0 if rate else 1.0
    draw = partial(
        curve_chart,
        [replace(curve, points=tuple((x, scaled * y) for x, y in curve.points)) for curve in curves],
        title=f"{findings.primary[0].metric} day by day",
        x="day since the first unit came in",
        y="difference from control" + (", in pp" if rate else ""),
        reference_y=0.0,
    )
    return Chart.of(
        draw,
        "The effect over all units that had come in by the end of each day, with everything they did until now. An "
        "effect that was there all along settles early and stays. The intervals hold for one day each; they are no test.",
    )


def boundary(findings: Findings) -> Chart | None:
    """The statistic at each look between its boundaries."""
    if findings.look.of < 2 or not findings.primary:
        return None
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
    ahead = () if now.final else findings.planned
    limits = used + [(look.fraction, look.boundary) for look in ahead if look.fraction > here]
    if len(limits) == 1:
        limits = [(look.fraction, look.boundary) for look in findings.planned]
    curves = [
        Curve("boundary for an improvement", tuple(limits)),
        Curve("boundary for harm", tuple((x, -y) for x, y in limits)),
        Curve("observed", tuple(seen)),
    ]
    return Chart.of(
        partial(
            curve_chart,
            curves,
            title="The looks so far",
            x="share of the planned information",
            y="statistic (positive: better)",
            percent_x=True,
            from_zero=True,
            reference_y=0.0,
        ),
        "The experiment may stop where the statistic reaches a boundary at a registered look.",
    )


def shares(findings: Findings) -> Chart | None:
    """A bandit's shares over the epochs, a line for each arm, named beside its end."""
    bandit = findings.bandit
    # What nobody came in by is no part of the picture: the last epoch may have been opened long after the last unit.
    came = (
        0 if bandit is None else max((n for n, each in enumerate(bandit.epochs, 1) if each.units), default=0)
    )
    if bandit is None or came < 2:
        return None
    epochs = bandit.epochs[:came]
    starts = [epoch.starts for epoch in epochs]
    first = starts[0]
    timed = first is not None and all(each is not None for each in starts)
    across = [
        (epoch.starts - first) / 3_600.0 if timed and epoch.starts is not None and first is not None else n
        for n, epoch in enumerate(epochs)
    ]
    curves = []
    for arm in bandit.arms:
        had = [epoch.shares.get(arm.variant, 0.0) for epoch in epochs]
        # A share holds until the next epoch begins.
        steps = [(x, share) for x, share in zip(across[1:], had, strict=False)]
        corners = [
            each for pair in zip(steps, zip(across[1:], had[1:], strict=True), strict=True) for each in pair
        ]
        curves.append(Curve(arm.variant, ((across[0], had[0]), *corners)))
    draw = partial(
        curve_chart,
        curves,
        title="How the shares went",
        x="hours since the first epoch" if timed else "epoch",
        y="share of those who came in",
        percent_y=True,
    )
    return Chart.of(draw, "The share of each arm at the beginning of every epoch, as the log announced it.")


def _intervals(
    rows: Sequence[IntervalRow],
    *,
    title: str,
    axis: str,
    caption: str,
    reference: float = 0.0,
    percent: bool = False,
    points: bool = False,
    within: float | None = None,
) -> Chart:
    draw = partial(
        interval_chart,
        rows,
        title=title,
        axis=axis,
        reference=reference,
        percent=percent,
        points=points,
        within=within,
    )
    return Chart.of(draw, caption)


def _axis(effect: Effect) -> str:
    return f"treatment − control, in {unit(effect)}"


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
