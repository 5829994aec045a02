"""The sheet a chart is drawn on: exact places for every mark, and SVG that is safe to put on a page.

Nothing is left to be measured at drawing time (no automatic size, legend or axis), so the bytes do not
depend on the fonts of the machine. The finished SVG holds no id, class, script, style or address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from xml.etree import ElementTree as ET

from equipoise.figures.lettering import clean

__all__ = ["GREY", "INK", "LINE", "Canvas", "Text"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GREY, LINE, PAPER = "#1d232b", "#56606c", "#dfe3e8", "#ffffff"

_SVG = "http://www.w3.org/2000/svg"
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}


@dataclass(frozen=True, slots=True)
class Text:
    """Words at a place; `x` and `y` in pixels from the plot's upper left corner, `y` to the base line."""

    x: float
    y: float
    text: str
    size: float = 13
    color: str = INK
    bold: bool = False
    align: Literal["left", "center", "right"] = "left"


@dataclass(slots=True)
class Canvas:
    """A plot of fixed size with room around it, filled mark by mark."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    marks: list[ET.Element] = field(default_factory=list)

    def rules(
        self,
        lines: Iterable[tuple[float, float, float, float]],
        *,
        color: str,
        width: float = 1,
        dash: Sequence[int] = (),
    ) -> None:
        """Straight lines from (x, y) to (x2, y2)."""
        for x, y, x2, y2 in lines:
            ends = {"x1": _px(x), "y1": _px(y), "x2": _px(x2), "y2": _px(y2)}
            drawn = {"stroke": color, "stroke-width": f"{width:g}"}
            drawn |= {"stroke-dasharray": ",".join(map(str, dash))} if dash else {}
            self.marks.append(ET.Element("line", ends | drawn))

    def line(self, places: Iterable[tuple[float, float]], *, color: str, dash: Sequence[int] = ()) -> None:
        """One line through places, in the order given."""
        drawn = "L".join(f"{_px(x)},{_px(y)}" for x, y in places)
        self._path(f"M{drawn}" if drawn else "", stroke=color, width=2.25, dash=dash, join="round")

    def symbols(
        self,
        places: Iterable[tuple[float, float]],
        *,
        shape: str,
        color: str,
        size: float = 90,
        hollow: bool = False,
    ) -> None:
        """The same symbol at several places; a hollow one hides what is under it. `size` is its area."""
        for x, y in places:
            place = f"translate({_px(x)},{_px(y)})"
            self._path(_SHAPES[shape](size), stroke=color, width=2, fill=PAPER if hollow else color, at=place)

    def texts(self, texts: Iterable[Text]) -> None:
        """Words."""
        for text in texts:
            mark = ET.Element(
                "text",
                {
                    "x": _px(text.x),
                    "y": _px(text.y),
                    "text-anchor": _ANCHORS[text.align],
                    "font-family": FONT,
                    "font-size": f"{text.size:g}px",
                    "fill": text.color,
                }
                | ({"font-weight": "bold"} if text.bold else {}),
            )
            mark.text = clean(text.text)
            self.marks.append(mark)

    def svg(self, *, title: str, description: str) -> str:
        """The finished picture, with a name and a description for those who do not see it."""
        across, down = self.left + self.width + self.right, self.top + self.height + self.bottom
        root = ET.Element(
            "svg",
            {
                "xmlns": _SVG,
                "viewBox": f"0 0 {_px(across)} {_px(down)}",
                "width": "100%",
                "role": "img",
                "aria-label": clean(title),
            },
        )
        ET.SubElement(root, "title").text = clean(title)
        ET.SubElement(root, "desc").text = clean(description)
        ET.SubElement(root, "rect", {"width": _px(across), "height": _px(down), "fill": PAPER})
        plot = ET.SubElement(root, "g", {"transform": f"translate({_px(self.left)},{_px(self.top)})"})
        plot.extend(self.marks)
        return ET.tostring(root, encoding="unicode")

    def _path(
        self,
        drawn: str,
        *,
        stroke: str,
        width: float,
        fill: str = "none",
        dash: Sequence[int] = (),
        join: str = "",
        at: str = "",
    ) -> None:
        if not drawn:
            return
        given = {"d": drawn, "fill": fill, "stroke": stroke, "stroke-width": f"{width:g}"}
        given |= {"stroke-dasharray": ",".join(map(str, dash))} if dash else {}
        given |= {"stroke-linejoin": join} if join else {}
        given |= {"transform": at} if at else {}
        self.marks.append(ET.Element("path", given))


def _px(value: float) -> str:
    """A length in pixels, to the hundredth, without a needless point or a minus before zero."""
    return f"{round(value, 2) + 0.0:g}" if abs(value) < 1e5 else f"{value:.0f}"


def _circle(area: float) -> str:
    r = _px(math.sqrt(area / math.pi))
    return f"M{r},0A{r},{r},0,1,1,-{r},0A{r},{r},0,1,1,{r},0Z"


def _joined(*corners: tuple[float, float]) -> str:
    return "M" + "L".join(f"{_px(x)},{_px(y)}" for x, y in corners) + "Z"


def _square(area: float) -> str:
    r = math.sqrt(area) / 2
    return _joined((-r, -r), (r, -r), (r, r), (-r, r))


def _diamond(area: float) -> str:
    r = math.sqrt(area / 2)
    return _joined((0, -r), (r, 0), (0, r), (-r, 0))


def _triangle(area: float, turned: int) -> str:
    """A triangle about the origin that points up, turned clockwise by so many quarters."""
    r = math.sqrt(area)
    corners = [(0.0, -0.55 * r), (0.6 * r, 0.5 * r), (-0.6 * r, 0.5 * r)]
    for _ in range(turned):
        corners = [(-y, x) for x, y in corners]
    return _joined(*corners)


_SHAPES: dict[str, Callable[[float], str]] = {
    "circle": _circle,
    "square": _square,
    "diamond": _diamond,
    "triangle-up": partial(_triangle, turned=0),
    "triangle-right": partial(_triangle, turned=1),
    "triangle-down": partial(_triangle, turned=2),
    "triangle-left": partial(_triangle, turned=3),
}
"""How each symbol is drawn about the origin, by its area in square pixels."""
