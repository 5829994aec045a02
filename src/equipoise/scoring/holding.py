"""Checking a text while it is being written: what may be the beginning of a match is held back, and no more.

Plain words run through as they come. A piece of text is looked at closely where it holds a digit or a sign, or
a word that begins as one of the list does; it is held back while its end may still become a match: an open number,
an address, a word or phrase that is not done. What was held is cleared as soon as it cannot match any more.

The last word is that of the checks on the whole text, when it is there. This is what keeps a match from being
read before.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from equipoise.scoring.safety import pii
from equipoise.scoring.toxicity import Lexicon, built_in, toxicity

__all__ = ["Holding"]

_MOST = 256
"""Characters that are held at most: the longest match that is held back whole."""
_CONTEXT = 80
_CLOSE = re.compile(r"[0-9@_*#$|€£/\\+=<>%!]|[^\W\d_]-[^\W\d_]-|(.)\1\1")
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_TOKEN = re.compile(r"\S+")
_OPEN = re.compile(r"[0-9@+(]|sk-|gh[pousr]_|AKIA|ASIA|eyJ|xox|BEGIN|[Bb]earer")
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


class Holding:
    """One text on its way: `feed` says up to where it may be read.

    `checks` are `pii` and `toxicity`, or one of them. `failed` names the check that does not hold any more; from
    then on nothing more is cleared. Linear in the length of the text; at most 256 characters are held.

    >>> holding = Holding({"pii"})
    >>> [holding.feed(piece) for piece in ("Write to", " jo@exa", "mple today")]
    [8, 9, 25]
    >>> holding.feed(" or jo@example.org"), holding.failed
    (29, 'pii')
    """

    __slots__ = (
        "_beginnings",
        "_checks",
        "_context",
        "_held",
        "_lexicon",
        "_phrases",
        "_single",
        "_word",
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
        self._context = self._held = self._word = ""
        self._single = False
        self.cleared = 0
        self.failed: str | None = None
        self.overdue = False
        """Whether more had to be cleared than was certain."""

    def feed(self, piece: str) -> int:
        """How many characters of the text so far may be read, with this piece of it."""
        if self.failed is not None or not piece:
            return self.cleared
        if not self._held and not _CLOSE.search(piece) and self._plain(piece):
            self._clear(piece)
            return self.cleared
        self._held += piece
        self._look()
        return self.cleared

    def release(self) -> int:
        """Clear what is held, for it was held for long enough; the checks on the whole text remain."""
        if self._held and self.failed is None:
            self.overdue = True
            self._clear(self._held)
            self._held = ""
        return self.cleared

    def _clear(self, text: str) -> None:
        self.cleared += len(text)
        self._context = (self._context + text)[-_CONTEXT:]
        last = _WORDS.findall(self._context[-40:])
        self._word = last[-1] if last and self._context[-1:].isalpha() else ""

    def _plain(self, piece: str) -> bool:
        """Whether a piece of letters and common punctuation is harmless: no word of it begins as a listed one."""
        words = _WORDS.findall((self._word + piece).casefold())
        single = self._single
        for word in words:
            if len(word) == 1:
                if single:
                    self._single = True
                    return False
                single = True
                continue
            single = False
            if word in self._beginnings or (self._beginnings and self._lexicon.has(word)):
                return False
        self._single = single
        return True

    def _look(self) -> None:
        """The close look: does what is held match, and from where on may it still become a match."""
        window = self._context + self._held
        # A word or number that was cut at the edge is looked at with its beginning, or not at all.
        if len(self._context) == _CONTEXT and (cut := re.search(r"\s", window)):
            window = window[min(cut.start(), len(self._context)) :]
        for name, check in (("pii", pii), ("toxicity", toxicity)):
            if name in self._checks and check(window).passed is False:
                self.failed = name
                # What stands before the match is harmless, and is read as it would have been.
                self._clear_before(check)
                return
        start = self._open_from()
        if len(self._held) - start > _MOST:
            self.overdue = True
            start = len(self._held) - _MOST
        if start:
            text, self._held = self._held[:start], self._held[start:]
            self._clear(text)

    def _clear_before(self, check: object) -> None:
        start = self._open_from()
        tokens = [each.start() for each in _TOKEN.finditer(self._held[:start])]
        for place in reversed([*tokens, start]):
            if callable(check) and check(self._context + self._held[:place]).passed is not False:
                self._clear(self._held[:place])
                break
        self._held = ""

    def _open_from(self) -> int:
        """From where on what is held may be the beginning of a match; its length where nothing may."""
        held = self._held
        tokens = list(_TOKEN.finditer(held))
        start = len(held)
        for index in range(len(tokens) - 1, -1, -1):
            token = tokens[index]
            if not self._is_open(token[0], held[token.start() :], last=token.end() == len(held)):
                break
            start = token.start()
        return start

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
