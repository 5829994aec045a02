"""Taking personal data out of a text before it is kept: each piece becomes its kind in brackets.

Data is found by its shape, see `personal_data`; and once more in the text as a reader or a parser would take it: letters
and digits of other widths and scripts, characters that nobody sees, and characters written as escapes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from equipoise.scoring.personal_data import PersonalData, find_personal_data

__all__ = ["KINDS", "Redacted", "Redactor", "kinds_of"]

KINDS = {
    "secrets": "key or token",
    "email": "e-mail address",
    "iban": "IBAN",
    "card": "card number",
    "ssn": "social security number",
    "ip": "IP address",
    "phone": "phone number",
}
"""What a definition calls a kind of personal data, and what it is called in a text."""

_ESCAPE = re.compile(
    r"(?<!\\)\\++(?:u([0-9A-Fa-f]{4})|([bfnrt\"/]))|%(?:25)*+([2-7][0-9A-Fa-f])"
    r"|&(?:amp;)*+#(?:[xX]([0-9A-Fa-f]{1,6})|([0-9]{1,7}));"
)
"""Escapes of JSON, of URLs and of HTML, also those of escapes: JSON in JSON has as many backslashes as it likes."""
_KEY = "-----BEGIN"
_END = "-----END"
_BLANKS = "\u00a0\u2007\u2009\u202f"
"""Blanks of typesetters, which are taken for blanks wherever data is looked for."""
_BEYOND = 8_192
"""Characters that are looked at beyond the longest text that is kept: what begins before its end is found whole."""


def kinds_of(words: Collection[str]) -> frozenset[str]:
    """The kinds that a definition's `redact` stands for.

    Nothing said is everything, and so is a word that this version does not know: too much is redacted rather than
    too little.

    >>> sorted(kinds_of(["email", "phone"])), kinds_of(["nothing"]), kinds_of([]) == frozenset(KINDS.values())
    (['e-mail address', 'phone number'], frozenset(), True)
    """
    if set(words) == {"nothing"}:
        return frozenset()
    if not words or not set(words) <= set(KINDS):
        return frozenset(KINDS.values())
    return frozenset(KINDS[word] for word in words)


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text that may be kept, and whether it is shorter than what was said."""

    text: str
    cut: bool


@dataclass(slots=True)
class Redactor:
    r"""Redacts the texts of one turn and counts what it took out, by kind.

    A text has at most `longest` characters; what is cut off is never looked at again. Time is linear in that.

    >>> redactor = Redactor(kinds_of(["pii"]))
    >>> redactor.text("Write to jo@example.org or to jo\\u0040example.org").text
    'Write to [e-mail address] or to [e-mail address]'
    >>> redactor.found
    Counter({'e-mail address': 2})
    """

    kinds: frozenset[str]
    longest: int = 32_768
    found: Counter[str] = field(default_factory=Counter)

    def text(self, said: str) -> Redacted:
        """A text without what was to be taken out of it."""
        # Half a surrogate pair cannot be written as UTF-8.
        looked = said[: self.longest + _BEYOND].encode("utf-8", "replace").decode()
        pieces: list[str] = []
        at = 0
        for each in self._spans(looked):
            if each.start >= self.longest:
                break
            pieces += looked[at : each.start], f"[{each.kind}]"
            at = each.end
            self.found[each.kind] += 1
        pieces.append(looked[at : max(self.longest, at)])
        return Redacted("".join(pieces), len(said) > max(self.longest, at))

    def _spans(self, text: str) -> Iterator[PersonalData]:
        """What is to go, in order and apart from one another."""
        if not self.kinds:
            return
        found = list(find_personal_data(text))
        read, places = _as_read(text)
        if places is not None:
            found += [
                PersonalData(places[each.start], places[each.end], each.kind)
                for each in find_personal_data(read)
            ]
        end = 0
        for each in sorted(found):
            if each.kind not in self.kinds or each.end <= end:
                continue
            # What overlaps goes on where the one before ended.
            start, end = max(each.start, end), each.end
            if text.startswith(_KEY, each.start):
                end = _end_of_key(text, each.end)
            yield PersonalData(start, end, each.kind)


def _end_of_key(text: str, start: int) -> int:
    """Where a private key ends whose first line ends at `start`: everything, where its last line is missing."""
    last = text.find(_END, start)
    if last < 0:
        return len(text)
    dashes = text.find("-----", last + len(_END))
    return len(text) if dashes < 0 else dashes + 5


def _as_read(text: str) -> tuple[str, list[int] | None]:
    """The text as a reader takes it, and for each of its characters where it stands in the given one.

    None in place of the places where both are the same.
    """
    # Nearly every text is as it is read, accents, quotes and dashes included.
    if not _ESCAPE.search(text) and (text.isascii() or all(_plain(each) == each for each in set(text))):
        return text, None
    pieces: list[str] = []
    places: list[int] = []
    at = 0

    def take(said: str, start: int) -> None:
        for character in said:
            plain = _plain(character)
            pieces.append(plain)
            places.extend([start] * len(plain))

    for match in _ESCAPE.finditer(text):
        for place in range(at, match.start()):
            take(text[place], place)
        take(_meant(match), match.start())
        at = match.end()
    for place in range(at, len(text)):
        take(text[place], place)
    places.append(len(text))
    return "".join(pieces), places


def _meant(escape: re.Match[str]) -> str:
    """The character that an escape of JSON, of a URL or of HTML stands for; a blank for the end of a line."""
    short, hexadecimal, decimal = escape[2], escape[1] or escape[3] or escape[4], escape[5]
    if short:
        return " " if short in "bfnrt" else short
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(code) if code < 0x110000 else "\ufffd"


@lru_cache(4_096)
def _plain(character: str) -> str:
    """A character in ASCII where it has a form there; nothing for what is not seen."""
    if character.isascii():
        return character
    if unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() and character not in _BLANKS else character
