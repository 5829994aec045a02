"""A card: the verdict and its charts as one picture, for where a page cannot go."""

from __future__ import annotations

import re
from collections.abc import Sequence

from equipoise.figures.blocks import MARKS
from equipoise.figures.canvas import FONT, GREY, INK
from equipoise.figures.lettering import clean, wrap

__all__ = ["card"]

_WIDTH = 736.0
_EDGE = 24.0
_PAPER = "#fbfaf8"
# As on the page: the tone of a word and its tint. The mark tells the words apart without either.
_TONES = {
    "ship": ("#0b6e4f", "#e9f4ef"),
    "roll back": ("#b3261e", "#fbecea"),
    "hold": ("#7a4f00", "#fbf3e2"),
    "keep running": ("#33475b", "#edf1f5"),
    "invalid": ("#b3261e", "#ffffff"),
}
_ROOT = re.compile(r'^<svg xmlns="[^"]*" viewBox="0 0 ([\d.]+) ([\d.]+)" width="100%"')


def card(*, title: str, word: str, sentence: str, charts: Sequence[str] = (), foot: str = "") -> str:
    """One SVG, 736 wide: the title, the word with its mark and sentence, the charts one under the other, the foot.

    `word` is one of the five verdicts; `charts` come from this package. Long texts are cut with an ellipsis.
    ValueError for another word, and for what is no chart.

    >>> drawn = card(title="a test", word="ship", sentence="It is better.")
    >>> drawn.startswith("<svg") and "Ship" in drawn
    True
    """
    if word not in _TONES:
        raise ValueError(f"a card says one of {', '.join(_TONES)}, not {word!r}")
    tone, tint = _TONES[word]
    inside = _WIDTH - 2 * _EDGE
    parts: list[str] = []
    y = 46.0
    for line in wrap(title, inside, 22, bold=True):
        parts.append(_words(_EDGE, y, line, 22, INK, bold=True))
        y += 28
    lines = wrap(sentence, inside - 100, 15, lines=4)
    tall = 62.0 + 21 * len(lines)
    parts.append(
        f'<rect x="{_EDGE}" y="{y - 12}" width="{inside}" height="{tall}" rx="10" fill="{tint}" stroke="{tone}" '
        f'stroke-width="1.5"/><rect x="{_EDGE}" y="{y - 12}" width="8" height="{tall}" rx="3" fill="{tone}"/>'
        f'<g transform="translate({_EDGE + 26},{y + 6}) scale(1.4)" fill="none" stroke="{tone}" stroke-width="2.4" '
        f'stroke-linecap="round" stroke-linejoin="round"><path d="{MARKS[word]}"/></g>'
    )
    parts.append(_words(_EDGE + 78, y + 26, word.capitalize(), 24, tone, bold=True))
    parts += [_words(_EDGE + 78, y + 52 + 21 * n, line, 15, INK) for n, line in enumerate(lines)]
    y += tall + 6
    for chart in charts:
        found = _ROOT.match(chart)
        if not found:
            raise ValueError("a card holds charts drawn as SVG")
        high = float(found[2]) * inside / float(found[1])
        place = f'x="{_EDGE:g}" y="{y:.2f}" width="{inside:g}" height="{high:.2f}"'
        parts.append(f'<svg {place} viewBox="0 0 {found[1]} {found[2]}"{chart[found.end() :]}')
        parts.append(f'<rect {place} rx="6" fill="none" stroke="#dcdfe3"/>')
        y += high + 16
    for line in wrap(foot, inside, 12, lines=3):
        parts.append(_words(_EDGE, y + 14, line, 12, GREY))
        y += 18
    y += 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {y:.2f}" width="{_WIDTH:g}" height="{y:.2f}" '
        f'role="img"><title>{_safe(f"{title}: {word}")}</title>'
        f'<rect width="{_WIDTH:g}" height="{y:.2f}" fill="{_PAPER}"/>{"".join(parts)}</svg>'
    )


def _words(x: float, y: float, text: str, size: float, color: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="{_safe(FONT)}" font-size="{size:g}px" fill="{color}"{weight}>'
        f"{_safe(text)}</text>"
    )


def _safe(text: str) -> str:
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, entity)
    return clean(text)
