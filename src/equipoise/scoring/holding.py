"""Checking a text while it is being written: what may be the beginning of a match is held back, and no more.

Plain words run through as they come. A piece of text is looked at closely where it could complete a match: it holds a
digit or a sign, or a word of the list or the last word of one of its phrases, together with what was written before.
It is held back while its end may still become a match (an open number, an address, a phrase that is not done), or is
one but may still become another word: `ass` may go on as `assess`. What was held is cleared as soon as it is harmless.

The last word is that of the checks on the whole text, when it is there.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from unicodedata import normalize

from equipoise.scoring.safety import pii
from equipoise.scoring.toxicity import Lexicon, built_in, toxicity

__all__ = ["Holding"]

_MOST = 256
"""Characters that are held at most: the longest match that is held back whole."""
_CONTEXT = 80
_CLOSE = re.compile(
    r"[0-9@_*#$|€£/\\+=<>%!]|[^\W\d_]-[^\W\d_]|(.)\1\1|\s\s\s|::|AKIA|ASIA|AIza|eyJ|xox|glpat-"
)
_BLANKS = re.compile(r"\s{2,}")
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_TOKEN = re.compile(r"\S+")
_OPEN = re.compile(r"[0-9@+(]|sk-|gh[pousr]_|AKIA|ASIA|AIza|eyJ|xox|BEGIN|[Bb]earer")
_WORD = re.compile(r"[^\W\d_]+[.,;:?!\"')]*")


@cache
def _beginnings(lexicon: Lexicon) -> frozenset[str]:
    """Every beginning, of two letters or more, of a word or of the first word of a phrase."""
    entries = [*lexicon.words, *lexicon.stems, *lexicon.phrases]
    firsts = {each.split()[0] for each in entries if each}
    return frozenset(each[:end] for each in firsts for end in range(2, len(each) + 1))


@cache
def _phrases(lexicon: Lexicon) -> frozenset[str]:
    """Every beginning of a phrase that ends within it, at whatever letter."""
    return frozenset(
        each.removesuffix("*")[:end]
        for each in lexicon.phrases
        for end in range(len(each.split()[0]), len(each) + 1)
    )


@cache
def _last_words(lexicon: Lexicon) -> tuple[frozenset[str], tuple[str, ...]]:
    """The words that phrases end with, and the beginnings of those that may go on."""
    lasts = [(_WORDS.findall(each) or [""])[-1] for each in lexicon.phrases]
    ends = [each.endswith("*") for each in lexicon.phrases]
    plain = frozenset(word for word, goes_on in zip(lasts, ends, strict=True) if not goes_on)
    return plain, tuple({word for word, goes_on in zip(lasts, ends, strict=True) if goes_on})


class Holding:
    """One text on its way: `feed` says up to where it may be read.

    `checks` are `pii` and `toxicity`, or one of them. `failed` names the check that does not hold any more; from
    then on nothing more is cleared. Linear in the length of the text; at most 256 characters are held, and a longer
    match is not seen before it is whole.

    >>> holding = Holding({"pii"})
    >>> [holding.feed(piece) for piece in ("Write to", " jo@exa", "mple today")]
    [8, 9, 25]
    >>> holding.feed(" or jo@example.org"), holding.failed
    (29, None)
    >>> holding.feed(" now"), holding.failed
    (29, 'pii')
    """

    __slots__ = (
        "_beginnings",
        "_checks",
        "_context",
        "_ends",
        "_held",
        "_lexicon",
        "_phrases",
        "cleared",
        "failed",
        "overdue",
    )

    def __init__(self, checks: Collection[str], lexicon: Lexicon | None = None) -> None:
        self._checks = frozenset(checks)
        self._lexicon = lexicon or built_in()
        toxic = "toxicity" in self._checks
        self._beginnings = _beginnings(self._lexicon) if toxic else frozenset()
        self._phrases = _phrases(self._lexicon) if toxic else frozenset()
        self._ends = _last_words(self._lexicon) if toxic else (frozenset[str](), ())
        self._context = self._held = ""
        self.cleared = 0
        self.failed: str | None = None
        self.overdue = False
        """Whether more had to be cleared than was certain."""

    def feed(self, piece: str) -> int:
        """How many characters of the text so far may be read, with this piece of it."""
        if self.failed is not None or not piece:
            return self.cleared
        if not self._held and self._runs_free(piece):
            self._clear(piece)
            return self.cleared
        self._held += piece
        self._look()
        return self.cleared

    def finish(self) -> None:
        """The text is whole: what is held is a match, or is cleared."""
        if self._held and self.failed is None:
            self.failed = self._fails(self._window())
            if self.failed is None:
                self._clear(self._held)
                self._held = ""

    @property
    def fed(self) -> int:
        """Characters of the text so far."""
        return self.cleared + len(self._held)

    def release(self, end: int | None = None) -> int:
        """Clear what is held up to a character, for it was held for long enough: unless it is a match as it stands."""
        size = len(self._held) if end is None else min(end - self.cleared, len(self._held))
        if size > 0 and self.failed is None:
            self.failed = self._fails(self._window())
            if self.failed is None:
                self.overdue = True
                text, self._held = self._held[:size], self._held[size:]
                self._clear(text)
        return self.cleared

    def another(self) -> Holding:
        """One that watches another text for the same."""
        return Holding(self._checks, self._lexicon)

    def _clear(self, text: str) -> None:
        self.cleared += len(text)
        context = self._context
        if text.isspace() and context[-1:].isspace():
            # Blanks part words, however many there are: they must not push the words out of sight.
            return
        if "  " in text or "\n" in text:
            text = _BLANKS.sub(" ", text)
        self._context = (context + text)[-_CONTEXT:]

    def _tail(self) -> str:
        """The end of what was cleared, where a word or number of it may go on."""
        context = self._context
        return "" if not context or context[-1].isspace() else context.rsplit(None, 1)[-1]

    def _runs_free(self, piece: str) -> bool:
        """Whether no match can end in a piece: plain letters and punctuation, and no word of it as on the list."""
        joined = piece if piece[0].isspace() else self._tail() + piece
        if _CLOSE.search(joined):
            return False
        if "toxicity" not in self._checks:
            return True
        if not joined.isascii() and normalize("NFC", joined) != joined:
            return False
        words = _WORDS.findall(joined.casefold())
        ends, stems = self._ends
        for word in words:
            if word in self._beginnings or word in ends or self._lexicon.has(word):
                return False
            if stems and word.startswith(stems):
                return False
        if any(len(word) == 1 for word in words):
            # Letters that are set apart may be a word.
            before = " ".join(self._context.rsplit(None, 2)[-2:])
            if sum(len(word) == 1 for word in _WORDS.findall(f"{before} {piece}")) > 1:
                return False
        return True

    def _window(self) -> str:
        window = self._context + self._held
        # A word or number that was cut at the edge is looked at with its beginning, or not at all.
        if len(self._context) == _CONTEXT and (cut := re.search(r"\s", window)):
            window = window[min(cut.start(), len(self._context)) :]
        return window

    def _fails(self, text: str) -> str | None:
        if "pii" in self._checks and pii(text).passed is False:
            return "pii"
        if "toxicity" in self._checks and toxicity(text, words=self._lexicon).passed is False:
            return "toxicity"
        return None

    def _look(self) -> None:
        """The close look: does what is held match, and from where on may it still become a match, or another word?"""
        window, held = self._window(), self._held
        found = self._fails(window)
        start = self._open_from()
        if found is not None:
            last = "" if held[-1].isspace() else window.rsplit(None, 1)[-1]
            done = window[: len(window) - len(last)]
            start = min(start, max(len(held) - len(last), 0))
            if not last or len(held) - start > _MOST or (found := self._fails(done)) is not None:
                self.failed = found
                return
        if len(held) - start > _MOST:
            self.overdue = True
            start = len(held) - _MOST
        if start:
            text, self._held = held[:start], held[start:]
            self._clear(text)

    def _open_from(self) -> int:
        """From where on what is held may be the beginning of a match; its length where nothing may."""
        tail = self._tail()
        held = tail + self._held
        start = len(held)
        for token in reversed(list(_TOKEN.finditer(held))):
            if not self._is_open(token[0], held[token.start() :], last=token.end() == len(held)):
                break
            start = token.start()
        return max(start - len(tail), 0)

    def _is_open(self, token: str, rest: str, *, last: bool) -> bool:
        if any(map(str.isdigit, token)) or (last and _OPEN.search(token)):
            return True
        letters = _WORDS.findall(token.casefold())
        if letters and len(letters[-1]) == 1 and len(token) <= 2:
            return bool(self._beginnings)
        if not self._beginnings:
            return last and not _WORD.fullmatch(token) and "@" in token
        if last and ((letters and letters[-1] in self._beginnings) or not _WORD.fullmatch(token)):
            return True
        return " ".join(rest.casefold().split()) in self._phrases
