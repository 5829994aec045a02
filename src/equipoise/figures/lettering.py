"""Words in a picture: made safe, measured without a font, broken into lines."""

from __future__ import annotations

import unicodedata

__all__ = ["clean", "width_of", "wrap"]

_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def clean(text: str) -> str:
    """Text as it may stand in XML: one line, without control, surrogate or direction-changing characters.

    >>> clean("two" + chr(10) + "lines" + chr(0) + chr(0x202E) + "  ok")
    'two lines ok'
    """
    kept = "".join(
        " " if char in "\t\n\r\x0b\x0c\x85\u2028\u2029" else char
        for char in text
        if char.isspace() or (unicodedata.category(char) not in ("Cc", "Cs", "Cn") and char not in _TURNING)
    )
    return " ".join(kept.split())


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, by the classes of its characters alone (no font is asked).

    >>> width_of("漢字", 10) > width_of("ab", 10) > width_of("il", 10)
    True
    """
    total = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF":
            total += 1.05
        elif unicodedata.combining(char):
            continue
        elif char in "ijl.,:;'|!()[]ft ":
            total += 0.36
        else:
            total += 0.74 if char.isupper() or char in "mw%@—+−" else 0.61
    return total * size * (1.1 if bold else 1)


def wrap(text: str, room: float, size: float, *, lines: int = 2, bold: bool = False) -> tuple[str, ...]:
    """Text broken into at most so many lines that fit; what is left over becomes an ellipsis.

    >>> wrap("resolution rate among returning customers", 110, 13)
    ('resolution rate', 'among returni…')
    >>> wrap("", 100, 13)
    ()
    """
    size *= 1.1 if bold else 1
    words, broken = clean(text).split(" "), [""]
    while words:
        word = words.pop(0)
        longer = f"{broken[-1]} {word}".strip()
        if width_of(longer, size) <= room:
            broken[-1] = longer
        elif broken[-1] and len(broken) < lines and width_of(word, size) <= room:
            broken.append(word)
        else:
            fits = _fitting(longer, room, size, "" if len(broken) < lines else "…")
            broken[-1] = fits
            if len(broken) == lines:
                break
            broken.append("")
            words.insert(0, longer[len(fits) :].strip())
    return tuple(line for line in broken if line)


def _fitting(text: str, room: float, size: float, end: str) -> str:
    """As much of the text, and at least one character, as fits together with its end."""
    used, kept = width_of(end, size), 0
    for char in text:
        used += width_of(char, size)
        if used > room and kept:
            break
        kept += 1
    return text[:kept].rstrip() + end
