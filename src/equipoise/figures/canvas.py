"""The sheet a chart is drawn on: exact places for every mark, and SVG that is safe to put on a page.

Nothing is left to be measured at drawing time (no automatic size, legend or axis), so the bytes do not
depend on the fonts of the machine. The finished SVG holds no id, class, script, style or address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree

import vl_convert

from equipoise.figures.lettering import clean

__all__ = ["GREY", "INK", "LINE", "Canvas", "Text"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GREY, LINE, PAPER = "#1d232b", "#56606c", "#dfe3e8", "#ffffff"

_SVG = "http://www.w3.org/2000/svg"
_UNWANTED = ("aria-", "role", "class", "pointer-events", "stroke-miterlimit", "id")


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
    layers: list[dict[str, Any]] = field(default_factory=list)

    def rules(
        self,
        lines: Iterable[tuple[float, float, float, float]],
        *,
        color: str,
        width: float = 1,
        dash: Sequence[int] = (),
    ) -> None:
        """Straight lines from (x, y) to (x2, y2)."""
        values = [{"x": x, "y": y, "x2": x2, "y2": y2} for x, y, x2, y2 in lines]
        mark = {"type": "rule", "color": color, "strokeWidth": width, "strokeDash": list(dash)}
        ends = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
        self._layer(values, mark, {"x": _px("x"), "y": _px("y")} | ends)

    def line(self, places: Iterable[tuple[float, float]], *, color: str, dash: Sequence[int] = ()) -> None:
        """One line through places, in the order given."""
        values = [{"x": x, "y": y, "n": n} for n, (x, y) in enumerate(places)]
        mark = {"type": "line", "color": color, "strokeWidth": 2.25, "strokeDash": list(dash)}
        mark["strokeJoin"] = "round"
        order = {"field": "n", "type": "quantitative"}
        self._layer(values, mark, {"x": _px("x"), "y": _px("y"), "order": order})

    def symbols(
        self,
        places: Iterable[tuple[float, float]],
        *,
        shape: str,
        color: str,
        size: float = 90,
        hollow: bool = False,
    ) -> None:
        """The same symbol at several places; a hollow one hides what is under it."""
        values = [{"x": x, "y": y} for x, y in places]
        mark = {
            "type": "point",
            "shape": shape,
            "size": size,
            "stroke": color,
            "strokeWidth": 2,
            "opacity": 1,
        }
        mark["fill"] = PAPER if hollow else color
        self._layer(values, mark, {"x": _px("x"), "y": _px("y")})

    def texts(self, texts: Iterable[Text]) -> None:
        """Words, grouped by what Vega-Lite fixes for a whole layer."""
        groups: dict[tuple[str, bool], list[dict[str, Any]]] = {}
        for text in texts:
            value = {"x": text.x, "y": text.y, "t": text.text, "s": text.size, "c": text.color}
            groups.setdefault((text.align, text.bold), []).append(value)
        for (align, bold), values in groups.items():
            mark = {"type": "text", "align": align, "baseline": "alphabetic", "font": FONT}
            mark["fontWeight"] = "bold" if bold else "normal"
            encoding = {
                "x": _px("x"),
                "y": _px("y"),
                "text": {"field": "t", "type": "nominal"},
                "size": {"field": "s", "type": "quantitative", "scale": None},
                "color": {"field": "c", "type": "nominal", "scale": None},
            }
            self._layer(values, mark, encoding)

    def svg(self, *, title: str, description: str) -> str:
        """The finished picture, with a name and a description for those who do not see it."""
        spec = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "width": self.width,
            "height": self.height,
            "autosize": {"type": "none"},
            "padding": {"left": self.left, "right": self.right, "top": self.top, "bottom": self.bottom},
            "background": PAPER,
            "layer": self.layers,
            "config": {"view": {"stroke": None}},
        }
        drawn = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="5.20", allowed_base_urls=[])
        return _finished(drawn, clean(title), clean(description))

    def _layer(self, values: list[dict[str, Any]], mark: dict[str, Any], encoding: dict[str, Any]) -> None:
        if values:
            self.layers.append({"data": {"values": values}, "mark": mark, "encoding": encoding})


def _px(name: str) -> dict[str, Any]:
    """A field that already holds pixels."""
    return {"field": name, "type": "quantitative", "scale": None, "axis": None}


def _finished(drawn: str, title: str, description: str) -> str:
    """SVG that scales with its box, speaks through title and description, and carries no id."""
    drawing = ElementTree.fromstring(drawn)
    for element in drawing.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name.startswith(_UNWANTED)]:
            del element.attrib[name]
    _prune(drawing)
    root = ElementTree.Element("svg", {"xmlns": _SVG, "viewBox": drawing.attrib["viewBox"], "width": "100%"})
    root.attrib |= {"role": "img", "aria-label": title}
    ElementTree.SubElement(root, "title").text = title
    ElementTree.SubElement(root, "desc").text = description
    root.extend(list(drawing))
    return ElementTree.tostring(root, encoding="unicode")


def _prune(element: ElementTree.Element) -> None:
    """Drop what draws nothing."""
    for child in list(element):
        _prune(child)
        empty_path = child.tag == "path" and (child.get("display") == "none" or not child.get("d"))
        empty_group = child.tag in ("g", "defs") and len(child) == 0
        if empty_path or empty_group or (child.tag == "path" and not _paints(child)):
            element.remove(child)


def _paints(path: ElementTree.Element) -> bool:
    return any(path.get(kind, "none") != "none" for kind in ("fill", "stroke"))
