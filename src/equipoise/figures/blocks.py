"""The blocks a report is built of: a banner with its word and mark, a table, a figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from markupsafe import Markup, escape

from equipoise.figures.lettering import clean
from equipoise.figures.numerals import ABSENT, number

__all__ = ["MARKS", "banner", "figure", "table"]

Kind = Literal["verdict", "gate"]

_WORDS: dict[Kind, tuple[str, ...]] = {
    "verdict": ("ship", "hold", "roll back", "keep running", "invalid"),
    "gate": ("pass", "fail", "inconclusive", "invalid"),
}
_CHECK = "M5 12.5l4.5 4.5L19 7.5"
_DOTS = "M5.5 12h.01M12 12h.01M18.5 12h.01"
# One drawing per word, so that no word is told from another by colour alone.
MARKS = {
    "ship": _CHECK,
    "pass": _CHECK,
    "hold": "M9 6v12M15 6v12",
    "fail": "M6.5 6.5l11 11M17.5 6.5l-11 11",
    "roll back": "M9 5L4.5 9.5L9 14M5 9.5h9a5 5 0 0 1 0 10h-4",
    "keep running": _DOTS,
    "inconclusive": _DOTS,
    "invalid": "M12 5v9M12 18.5h.01",
}
_NUMBER = r"([<>≤≥≈]\s?)?[+−-]?(\d[\d.,]*|∞)(\s?(%|pp|s|ms|×))?( × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
_NUMERIC = re.compile(rf"(p [=<>] )?\[?{_NUMBER}((,| to|/| of|–) ?{_NUMBER})?\]?")


def banner(word: str, sentence: str, *, kind: Kind | None = None) -> Markup:
    """A verdict or a gate's result, with the sentence that explains it.

    `kind` is needed only to say that "invalid" is a gate's; the other words belong to one kind alone.

    >>> banner("roll back", "A guardrail was breached.").startswith('<section class="verdict roll-back"')
    True
    """
    kinds = [known for known, words in _WORDS.items() if word in words and kind in (None, known)]
    if not kinds:
        accepted = " | ".join(f"{known}: {', '.join(words)}" for known, words in _WORDS.items())
        raise ValueError(f"no banner says {word!r} (kind {kind}); accepted: {accepted}")
    mark = Markup(
        '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="{}"/></svg>'
    ).format(MARKS[word])
    return Markup(
        '<section class="{kind} {name}" aria-label="{label}">{mark}'
        '<div><p class="word">{word}</p><p class="sentence">{sentence}</p></div></section>'
    ).format(
        kind=kinds[0],
        name=word.replace(" ", "-"),
        label=kinds[0].capitalize(),
        mark=mark,
        word=word.capitalize(),
        sentence=sentence,
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> Markup:
    """A table in a box of its own that scrolls where it is too wide; the first cell heads its row.

    Columns of numbers are set to the right. Numbers are written by `number`, None as a dash.

    >>> table(["arm", "units"], [["control", 1200], ["treatment", None]]).count('class="num"')
    3
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if any(len(row) != len(headers) for row in cells):
        raise ValueError(f"every row needs {len(headers)} cells, as many as there are headers")
    numeric = [_is_numeric([row[n] for row in cells]) for n in range(len(headers))]
    classes = [Markup(' class="num"') if yes else Markup("") for yes in numeric]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(shape, header)
        for shape, header in zip(classes, headers, strict=True)
    )
    lines = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup('<th scope="row"{}>{}</th>' if n == 0 else "<td{}>{}</td>").format(classes[n], cell)
                for n, cell in enumerate(row)
            )
        )
        for row in cells
    )
    named = Markup("<caption>{}</caption>").format(caption) if caption else Markup("")
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>{}'
        "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>"
    ).format(caption or "Table: " + ", ".join(map(str, headers)), named, head, lines)


def figure(svg: str, caption: str, *, narrow: str = "") -> Markup:
    """A chart on its card with a caption; `narrow`, if given, takes its place on a phone.

    The charts must come from this package: they are put on the page as they are.
    """
    if not svg.startswith("<svg") or not (narrow == "" or narrow.startswith("<svg")):
        raise ValueError("a figure shows a chart drawn as SVG")
    wide = Markup('<div class="card{}">{}</div>').format(" wide" if narrow else "", Markup(svg))
    small = Markup('<div class="card narrow">{}</div>').format(Markup(narrow)) if narrow else Markup("")
    words = Markup("<figcaption>{}</figcaption>").format(caption) if caption else Markup("")
    return Markup('<figure class="figure">{}{}{}</figure>').format(wide, small, words)


def _cell(value: object) -> Markup:
    if value is None:
        return Markup(ABSENT)
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, (int, float)):
        return escape(number(value))
    return value if isinstance(value, Markup) else escape(clean(str(value)))


def _is_numeric(column: Sequence[Markup]) -> bool:
    said = [cell for cell in column if cell not in (ABSENT, "")]
    return bool(said) and all(_NUMERIC.fullmatch(cell.unescape()) for cell in said)
