"""Charts of what an experiment shows: intervals about a reference, and curves over size or looks.

Each is static SVG that reads without colour: shapes, dashes and words say what colours say. `narrow`
draws the same chart for a column as wide as a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from equipoise.figures.canvas import GREY, INK, LINE, Canvas, Text
from equipoise.figures.lettering import clean, width_of, wrap
from equipoise.figures.numerals import ABSENT
from equipoise.figures.scale import Scale, padded

__all__ = ["Curve", "IntervalRow", "curve_chart", "interval_chart"]

Tone = Literal["good", "bad", "unsure", "plain"]

# tone: shape, hollow, colour, word in the key
_TONES: dict[Tone, tuple[str, bool, str, str]] = {
    "good": ("circle", False, "#0b6e4f", "favourable"),
    "bad": ("triangle-down", False, "#b3261e", "unfavourable"),
    "unsure": ("diamond", True, "#8a5a00", "not settled"),
    "plain": ("square", False, "#33475b", "reported only"),
}
# shape, hollow, colour, dash of the first, second, … curve
_STYLES: tuple[tuple[str, bool, str, tuple[int, ...]], ...] = (
    ("circle", False, "#1f5fa8", ()),
    ("square", True, "#b3541e", (7, 4)),
    ("triangle-up", False, "#0b6e4f", (2, 3)),
    ("diamond", True, "#7a3b8f", (10, 3, 2, 3)),
    ("triangle-down", False, "#56606c", (4, 2)),
    ("triangle-right", True, "#8a5a00", (1, 3)),
)


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One line of an interval chart. `value` None says that there is no estimate; `note` should say why.

    `low` and `high` may be infinite (a one-sided interval).
    """

    label: str
    value: float | None
    low: float = -math.inf
    high: float = math.inf
    tone: Tone = "plain"
    note: str = ""

    def __post_init__(self) -> None:
        if self.tone not in _TONES:
            raise ValueError(f"tone is one of {', '.join(_TONES)}, not {self.tone!r}")
        if self.value is not None and not (math.isfinite(self.value) and self.low <= self.high):
            raise ValueError(f"row {self.label!r}: needs a finite value and low ≤ high, or None")


@dataclass(frozen=True, slots=True)
class Curve:
    """A named run of points, in the order in which they are joined; points that are infinite are left out."""

    label: str
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if any(math.isnan(number) for point in self.points for number in point):
            raise ValueError(f"curve {self.label!r}: a point is not a number")


def interval_chart(
    rows: Sequence[IntervalRow],
    *,
    title: str,
    axis: str,
    reference: float = 0.0,
    percent: bool = False,
    points: bool = False,
    narrow: bool = False,
    within: float | None = None,
) -> str:
    """Points with their intervals about a reference line, the numbers at the right of each.

    With `percent` values are fractions shown as percent; with `points`, as percentage points. `within` is a place that the
    axis has whatever the rows are.

    >>> rows = [IntervalRow("resolution rate", 0.042, 0.011, 0.073, "good", "above zero")]
    >>> interval_chart(rows, title="Effects", axis="treatment − control", points=True)[:45]
    '<svg xmlns="http://www.w3.org/2000/svg" viewB'
    """
    factor, suffix = (100.0, " pp") if points else (100.0, "%") if percent else (1.0, "")
    room, left, right = (328.0, 16.0, 16.0) if narrow else (304.0, 206.0, 226.0)
    low, high = _extent(rows, reference, within)
    scale = Scale(low, high, 0, room, 5, factor, suffix, signed=reference == 0)
    heads = wrap(title, left + room + right - 32, 15, lines=3, bold=True)
    canvas = Canvas(room, 0, left, right, 24.0 + 20 * len(heads), 0)

    words: list[Text] = []
    bars: list[tuple[IntervalRow, float]] = []
    between: list[float] = []
    y = 4.0
    for row in rows:
        placed, bar, y = _row_words(row, scale, y, narrow)
        words += placed
        bars.append((row, bar))
        between.append(y)
    if not rows:
        words.append(Text(room / 2, y + 22, "nothing to show", color=GREY, align="center"))
        y += 40
    tones = [tone for tone in _TONES if any(row.tone == tone and row.value is not None for row in rows)]
    key = _key_places(tones, left + room + right - 32) if set(tones) - {"plain"} else {}
    places = [(scale(place), scale.says(place)) for place in scale.ticks()]
    canvas.height, canvas.bottom = y, 54.0 + (max((row for _, row in key.values()), default=-1) + 1) * 20

    bands = _bands([at for row, at in bars if row.value is not None], y) if narrow else [(-4.0, y)]
    canvas.rules(((x, max(a, 0), x, b) for x, _ in places for a, b in bands), color=LINE)
    edge = (0.0, room) if narrow else (16 - left, room + right - 16)
    canvas.rules(((edge[0], at, edge[1], at) for at in between[:-1]), color=LINE)
    canvas.rules([(0, y, room, y)], color=GREY)
    still = scale(reference)
    canvas.rules(((still, a, still, b) for a, b in bands), color=INK, width=1.5, dash=(4, 3))
    for row, at in bars:
        _draw_interval(canvas, row, scale, at)
    words += [
        Text(room / 2, y + 40, line, 13, GREY, align="center") for line in wrap(axis, room, 13, lines=1)
    ]
    words += [Text(x, y + 18, said, 12, GREY, align="center") for x, said in places]
    words += [Text(16 - left, 20 * n - canvas.top + 26, line, 15, bold=True) for n, line in enumerate(heads)]
    for tone, (x, line) in key.items():
        shape, hollow, color, word = _TONES[tone]
        canvas.symbols(
            [(x + 24 - left, y + 58 + 20 * line)], shape=shape, hollow=hollow, color=color, size=70
        )
        words.append(Text(x + 36 - left, y + 62 + 20 * line, word, 12, GREY))
    canvas.texts(words)
    told = "; ".join(_told(row, scale) for row in rows) or "nothing to show"
    return canvas.svg(title=title, description=f"{axis}. Reference {scale.says(reference)}. {told}.")


def _bands(bars: Sequence[float], foot: float) -> list[tuple[float, float]]:
    """Where upright lines may run when words stand between the bars: beside each bar, down to the axis."""
    return [(at - 12, foot if at + 16 >= foot else at + 12) for at in bars]


def _key_places(tones: Sequence[Tone], room: float) -> dict[Tone, tuple[float, int]]:
    """Where each tone's entry in the key begins, and on which of its lines."""
    places: dict[Tone, tuple[float, int]] = {}
    x, line = 0.0, 0
    for tone in tones:
        wide = 36 + width_of(_TONES[tone][3], 12)
        if x and x + wide > room:
            x, line = 0.0, line + 1
        places[tone] = (x, line)
        x += wide
    return places


def _extent(
    rows: Sequence[IntervalRow], reference: float, within: float | None = None
) -> tuple[float, float]:
    """What the axis spans: every point, and the intervals' ends unless one would dwarf the others."""
    shown = [(row.value, row.low, row.high) for row in rows if row.value is not None]
    places = [reference, reference if within is None else within, *(value for value, _, _ in shown)]
    reach = [end - value for value, _, end in shown if math.isfinite(end)]
    reach += [value - end for value, end, _ in shown if math.isfinite(end)]
    most = 3 * median(reach) if reach else 0.0
    ends = [end for _, *pair in shown for end in pair if math.isfinite(end)]
    low = min(places + [max(end, min(places) - most) for end in ends])
    high = max(places + [min(end, max(places) + most) for end in ends])
    return padded(low, high)


def _row_words(row: IntervalRow, scale: Scale, top: float, narrow: bool) -> tuple[list[Text], float, float]:
    """The words of one row, the height of its bar, and where the row ends."""
    said, between = _value(row, scale)
    if narrow:
        beside = width_of(f"{said} {between}", 13)
        labels = wrap(row.label, max(scale.end - beside - 12, 130), 14)
        words = [Text(0, top + 18 + 17 * n, line, 14) for n, line in enumerate(labels)]
        y = top + 18 + 17 * max(len(labels) - 1, 0)
        notes = wrap(row.note, scale.end, 12, lines=3)
        words += [Text(0, y + 16 * (n + 1), line, 12, GREY) for n, line in enumerate(notes)]
        words.append(Text(scale.end, top + 18, f"{said} {between}".strip(), 13, align="right"))
        y += 16 * len(notes)
        return words, y + 18, y + (12 if row.value is None else 34)
    labels, notes = wrap(row.label, 182, 13.5), wrap(row.note, 182, 12, lines=3)
    block = 17 * len(labels) + 15 * len(notes)
    tall = max(block, 22) + 14
    y = top + (tall - block) / 2
    words = []
    for line in labels:
        y += 17
        words.append(Text(-190, y - 4, line, 13.5))
    for line in notes:
        y += 15
        words.append(Text(-190, y - 4, line, 12, GREY))
    middle = top + tall / 2
    beside = width_of(said, 13.5, bold=True) + width_of(between, 12.5) + 8 <= 192
    words.append(Text(scale.end + 18, middle + (5 if beside else -3), said, 13.5, bold=True))
    words.append(Text(scale.end + 210, middle + (5 if beside else 13), between, 12.5, GREY, align="right"))
    return words, middle, top + tall


def _value(row: IntervalRow, scale: Scale) -> tuple[str, str]:
    if row.value is None:
        return ABSENT, ""
    ends = " to ".join(scale.says(end, 1, unit=False) for end in (row.low, row.high))
    return scale.says(row.value, 1), f"[{ends}]"


def _told(row: IntervalRow, scale: Scale) -> str:
    said = "no estimate" if row.value is None else " ".join(_value(row, scale))
    tone = "" if row.tone == "plain" or row.value is None else f", {_TONES[row.tone][3]}"
    return f"{row.label}: {said}{tone}" + (f" ({row.note})" if row.note else "")


def _draw_interval(canvas: Canvas, row: IntervalRow, scale: Scale, y: float) -> None:
    if row.value is None:
        return
    shape, hollow, color, _ = _TONES[row.tone]
    low, high = max(row.low, scale.low), min(row.high, scale.high)
    canvas.rules([(scale(low), y, scale(high), y)], color=color, width=2.5)
    for end, drawn, arrow in ((row.low, low, "triangle-left"), (row.high, high, "triangle-right")):
        if end == drawn:
            canvas.rules([(scale(drawn), y - 5, scale(drawn), y + 5)], color=color, width=2)
        else:
            canvas.symbols([(scale(drawn), y)], shape=arrow, color=color, size=60)
    canvas.symbols([(scale(row.value), y)], shape=shape, hollow=hollow, color=color, size=110)


def curve_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x: str,
    y: str,
    percent_x: bool = False,
    percent_y: bool = False,
    reference_y: float | None = None,
    from_zero: bool = False,
    narrow: bool = False,
) -> str:
    """Curves over a common axis, each named beside its end; up to a dozen points are marked one by one.

    The axis begins at 0 with `from_zero`, and else where the curves do.

    >>> power = Curve("two-sided, 5%", ((500, 0.21), (1000, 0.42), (2000, 0.71), (3000, 0.87)))
    >>> "two-sided, 5%" in curve_chart([power], title="Power", x="units per arm", y="power", percent_y=True)
    True
    """
    room, tall = (288.0, 240.0) if narrow else (460.0, 300.0)
    left, right = (48.0, 24.0) if narrow else (62.0, 198.0)
    drawn = [tuple(point for point in curve.points if all(map(math.isfinite, point))) for curve in curves]
    level = () if reference_y is None else (reference_y,)
    across = _curve_scale(
        [p[0] for points in drawn for p in points] + [0.0] * from_zero,
        along=(0, room),
        count=4 if narrow else 6,
        percent=percent_x,
    )
    up = _curve_scale(
        [p[1] for points in drawn for p in points] + [*level], along=(tall, 0), count=6, percent=percent_y
    )
    names = [wrap(curve.label, 300 if narrow else 138, 13) for curve in curves]
    heads = wrap(title, left + room + right - 32, 15, lines=3, bold=True)
    listed = 17 * sum(map(len, names)) + 5 * len(names) + 8 if narrow else 0
    canvas = Canvas(room, tall, left, right, 54.0 + 20 * len(heads) + listed, 56)
    scored = [tick for tick in up.ticks() if all(abs(up(tick) - up(at)) > 13 for at in level)]

    canvas.rules(((0, up(tick), room, up(tick)) for tick in up.ticks()), color=LINE)
    canvas.rules([(0, tall, room, tall)], color=GREY)
    canvas.rules(((across(tick), tall, across(tick), tall + 5) for tick in across.ticks()), color=GREY)
    canvas.rules(((0, up(at), room, up(at)) for at in level), color=INK, width=1.25, dash=(4, 3))
    words = [Text(-8, up(at) + 4, up.says(at), 12, INK, bold=True, align="right") for at in level]
    words += [
        Text(across(tick), tall + 20, across.says(tick), 12, GREY, align="center") for tick in across.ticks()
    ]
    words += [Text(-8, up(tick) + 4, up.says(tick), 12, GREY, align="right") for tick in scored]
    words += [
        Text(room / 2, tall + 43, line, 13, GREY, align="center") for line in wrap(x, room, 13, lines=1)
    ]
    words += [Text(16 - left, -16, line, 13, GREY) for line in wrap(y, room, 13, lines=1)]
    words += [Text(16 - left, 20 * n - canvas.top + 26, line, 15, bold=True) for n, line in enumerate(heads)]

    beside = _name_places([tall / 2 if not points else up(points[-1][1]) for points in drawn], names, tall)
    listing = 20 * len(heads) - canvas.top + 30
    for n, (points, name) in enumerate(zip(drawn, names, strict=True)):
        shape, hollow, color, dash = _STYLES[n % len(_STYLES)]
        # Every further round has the symbols of the one before, filled where they were hollow.
        hollow ^= bool(n // len(_STYLES) % 2)
        places = [(across(px), up(py)) for px, py in points]
        if len(places) > 1:
            canvas.line(places, color=color, dash=dash)
        if len(places) <= 12:
            canvas.symbols(places, shape=shape, hollow=hollow, color=color, size=64)
        sample, at = (16 - left, listing) if narrow else (room + 18, beside[n])
        canvas.rules([(sample, at, sample + 22, at)], color=color, width=2.25, dash=dash)
        if len(places) <= 12:
            canvas.symbols([(sample + 11, at)], shape=shape, hollow=hollow, color=color, size=50)
        words += [Text(sample + 30, at + 4.5 + 16 * row, line, 13) for row, line in enumerate(name)]
        listing += 17 * len(name) + 5
    canvas.texts(words)
    return canvas.svg(title=title, description=_curves_told(curves, x, y, across, up, reference_y))


def _curve_scale(values: Sequence[float], *, along: tuple[float, float], count: int, percent: bool) -> Scale:
    """The span of the values, from zero where zero is near; shares stay within 0 to 100 percent.

    Only upright is there room beyond the outermost values: across, a curve begins and ends at the edge.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    upright = along[0] > along[1]
    whole = percent and low >= 0 and high <= 1
    bottom, top = padded(low, high) if upright or low == high else (low, high)
    if 0 <= low <= 0.4 * high or (whole and bottom < 0):
        bottom = 0.0
    if whole:
        top = min(top, 1.0)
    return Scale(bottom, top, *along, count, 100.0 if percent else 1.0, "%" if percent else "")


def _name_places(wanted: Sequence[float], names: Sequence[Sequence[str]], tall: float) -> list[float]:
    """Heights for the names, near their curves' ends, in the same order, not on top of each other."""
    order = sorted(range(len(wanted)), key=lambda n: (wanted[n], n))
    places = list(wanted)
    floor = 0.0
    for n in order:
        places[n] = max(wanted[n], floor)
        floor = places[n] + 16 * len(names[n]) + 6
    ceiling = tall + 8
    for n in reversed(order):
        places[n] = min(places[n], ceiling - 16 * len(names[n]))
        ceiling = places[n] - 6
    return [round(place, 2) for place in places]


def _curves_told(
    curves: Sequence[Curve], x: str, y: str, across: Scale, up: Scale, reference_y: float | None
) -> str:
    told = [f"{y} over {x}"]
    if reference_y is not None:
        told.append(f"reference at {up.says(reference_y, 1)}")
    for curve in curves:
        few = curve.points if len(curve.points) <= 12 else (curve.points[0], curve.points[-1])
        run = ", ".join(f"{up.says(py, 1)} at {across.says(px)}" for px, py in few)
        told.append(f"{clean(curve.label)}: {run or 'no points'}")
    return "; ".join(told) + "."
