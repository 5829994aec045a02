"""A grid of time slots: a row for each day, a mark for each slot, and its arm told by shape and filling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.figures.canvas import GREY, INK, LINE, Canvas, Text
from equipoise.figures.lettering import clean, width_of, wrap

__all__ = ["SlotRow", "slot_grid"]

_MARKS = (
    ("circle", True, "#1f5fa8"),
    ("square", False, "#b3541e"),
    ("triangle-up", False, "#0b6e4f"),
    ("diamond", True, "#7a3b8f"),
    ("triangle-down", True, "#56606c"),
    ("triangle-right", False, "#8a5a00"),
)

_LEAST = 9.0
"""A slot of fewer pixels than this has no room for a hollow shape."""


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One day: its name, and of each slot the number of its arm, or None where none was served."""

    label: str
    cells: tuple[int | None, ...]


def slot_grid(
    rows: Sequence[SlotRow], arms: Sequence[str], *, title: str, heads: Sequence[str], narrow: bool = False
) -> str:
    """Days below one another, slots side by side; every row has as many cells as there are `heads`, some of them empty.

    Raises ValueError for a row of another length, or an arm without a number.

    >>> rows = [SlotRow("Mon 30 Nov", (0, 1)), SlotRow("Tue 1 Dec", (1, None))]
    >>> "circle is control" in slot_grid(rows, ["control", "treatment"], title="Arms", heads=["0:00", "12:00"])
    True
    """
    for row in rows:
        if len(row.cells) != len(heads) or any(
            cell is not None and not 0 <= cell < len(arms) for cell in row.cells
        ):
            raise ValueError(
                f"row {row.label!r}: one arm of {len(arms)} (or None) for each of {len(heads)} slots"
            )
    room, left, right = (262.0, 74.0, 24.0) if narrow else (592.0, 104.0, 24.0)
    tall = 13.0 if narrow else 16.0
    lines = wrap(title, left + room + right - 32, 15, lines=3, bold=True)
    canvas = Canvas(room, tall * len(rows), left, right, 52.0 + 20 * len(lines), 44)
    step = room / max(len(heads), 1)
    # A mark is as wide as its area says and its line more.
    area = max(min(step, tall) - 3.5, 1.0) ** 2
    words = [Text(16 - left, 20 * n - canvas.top + 26, line, 15, bold=True) for n, line in enumerate(lines)]
    words += [
        Text(-8, tall * (n + 0.5) + 4, clean(row.label), 11 if narrow else 12, INK, align="right")
        for n, row in enumerate(rows)
    ]
    told = [(n, clean(head)) for n, head in enumerate(heads) if head]
    canvas.rules(((step * n, -4, step * n, tall * len(rows)) for n, _ in told), color=LINE)
    words += [Text(step * n, -9, head, 11, GREY) for n, head in told]
    small = step < _LEAST
    for number, _ in enumerate(arms):
        at = [(n, m) for m, row in enumerate(rows) for n, cell in enumerate(row.cells) if cell == number]
        _draw(canvas, number, [(step * (n + 0.5), tall * (m + 0.5)) for n, m in at], area, step, small=small)
    across, foot = 16 - left, tall * len(rows) + 26
    for number, arm in enumerate(arms):
        _draw(canvas, number, [(across + 6, foot)], 70.0, 12.0, small=small)
        words.append(Text(across + 18, foot + 4, clean(arm), 12, GREY))
        across += 36 + width_of(clean(arm), 12)
    canvas.texts(words)
    key = ", ".join(f"{_named(n, small=small)} is {clean(arm)}" for n, arm in enumerate(arms))
    days = f"{len(rows)} day{'' if len(rows) == 1 else 's'}"
    return canvas.svg(title=title, description=f"{days} of {len(heads)} slots each; {key}.")


def _draw(
    canvas: Canvas,
    number: int,
    places: Sequence[tuple[float, float]],
    area: float,
    step: float,
    *,
    small: bool,
) -> None:
    """The marks of one arm. Where there is no room for a shape the first arm is a thin line, and the others blocks."""
    shape, hollow, color = _MARKS[number % len(_MARKS)]
    if small and not number:
        canvas.rules(((x - step / 2, y, x + step / 2, y) for x, y in places), color=color, width=1)
    else:
        canvas.symbols(places, shape=shape, hollow=hollow, color=color, size=area)


def _named(number: int, *, small: bool) -> str:
    shape, hollow, _ = _MARKS[number % len(_MARKS)]
    return "a thin line" if small and not number else f"{'hollow' if hollow else 'filled'} {shape}"
