"""An SVG as a PNG, drawn by resvg."""

from __future__ import annotations

from functools import cache

from equipoise.errors import MissingExtraError, UsageError

__all__ = ["check_ready", "png"]


def png(svg: str, *, zoom: float = 2.0) -> bytes:
    """The picture in pixels, `zoom` for each unit of the drawing. Raises as `check_ready`."""
    check_ready()
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom, font_family="DejaVu Sans"))


def check_ready() -> None:
    """Raises MissingExtraError without resvg, and UsageError where no font is installed: a picture without its words
    would be a wrong one.
    """
    try:
        import resvg_py  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("a PNG", "png") from None
    if not _has_fonts():
        raise UsageError(
            "no font is installed on this machine, and a PNG would have no words. "
            "Install one (Debian: fonts-dejavu-core), or use the HTML report"
        )


@cache
def _has_fonts() -> bool:
    import resvg_py

    blank = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" width="20" height="20">{}</svg>'
    word = '<text x="2" y="16" font-family="sans-serif" font-size="16px">A</text>'
    drawn, empty = (bytes(resvg_py.svg_to_bytes(svg_string=blank.format(text))) for text in (word, ""))
    return drawn != empty
