"""Safety checks that may run before an answer ships: each takes microseconds and says why it fails.

What they find and miss on labelled data is measured in docs/safety.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from equipoise.scoring.evaluating import Score, fails, passes
from equipoise.scoring.personal_data import PersonalData, find_personal_data
from equipoise.scoring.toxicity import Lexicon, read_lexicon, toxicity

__all__ = [
    "Lexicon",
    "PersonalData",
    "complete",
    "find_personal_data",
    "is_empty",
    "leak",
    "not_empty",
    "pii",
    "read_lexicon",
    "safety",
    "toxicity",
]

_RUN_OF_WORDS = 8
"""So many words in a row are not said by chance."""
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})(.*)$", re.MULTILINE)


def pii(text: str, *, allow: Collection[str] = ()) -> Score:
    """Fails where the text holds personal data; the reason says what and where, and does not repeat it.

    >>> pii("Write to jo@example.org").explanation
    'an e-mail address at character 10'
    """
    found = find_personal_data(text, allow=allow)
    if not found:
        return passes()
    named = [f"{_article(each.kind)} {each.kind} at character {each.start + 1}" for each in found[:3]]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return fails(", ".join(named) + more)


def is_empty(text: str) -> bool:
    r"""Whether a text shows nothing: white space and invisible characters only.

    >>> is_empty(" \u200b\n"), is_empty("ok")
    (True, False)
    """
    return not any(character.isprintable() and not character.isspace() for character in text)


def not_empty(text: str) -> Score:
    """Fails where the answer says nothing."""
    return fails("the answer is empty") if is_empty(text) else passes()


def safety(text: str, *, allow: Collection[str] = ()) -> Score:
    """The combined check: the answer says something, and it holds no personal data."""
    said = not_empty(text)
    return pii(text, allow=allow) if said.passed else said


def complete(text: str, finish_reason: str | None = None) -> Score:
    """Fails where an answer was cut off: by the limit of tokens, or inside a code fence or a JSON value.

    >>> complete("It takes five", "length").explanation
    'the answer was cut off at the limit of tokens'
    >>> complete('{"a": [1, 2').explanation
    'the answer ends inside a JSON value'
    """
    if finish_reason in ("length", "max_tokens"):
        return fails("the answer was cut off at the limit of tokens")
    if _in_code_block(text):
        return fails("the answer ends inside a code block")
    if text.lstrip()[:1] in ("{", "[") and _unclosed(text):
        return fails("the answer ends inside a JSON value")
    return passes()


def _in_code_block(text: str) -> bool:
    """Whether the last fence that was opened is not closed: by its own mark, as many times or more (CommonMark 4.5)."""
    if "```" not in text and "~~~" not in text:
        return False
    opened = ""
    for fence in _FENCE.finditer(text):
        marks, rest = fence[1], fence[2]
        if not opened:
            # With the mark again in its line it is code within a line.
            opened = "" if marks[0] == "`" and "`" in rest else marks
        elif marks.startswith(opened) and not rest.strip():
            opened = ""
    return bool(opened)


def _unclosed(text: str) -> bool:
    """Whether the value that the text begins with is still open at its end; what follows a whole one is prose."""
    depth, quoted, escaped = 0, False, False
    for mark in text:
        if quoted:
            quoted, escaped = escaped or mark != '"', not escaped and mark == "\\"
        elif mark == '"':
            quoted = True
        elif mark in "{[":
            depth += 1
        elif mark in "}]":
            depth -= 1
            if not depth:
                return False
    return True


def leak(text: str, canaries: Sequence[str]) -> Score:
    """Fails where an answer repeats what it must not: a mark planted in a prompt, or a run of its words.

    A canary of up to eight words must stand in the answer whole, whatever its case and white space; of a
    longer one, such as a whole system prompt, any eight words in a row. Words are what blanks and punctuation part:
    of a prompt in a script without blanks, whole sentences are looked for. Linear in the lengths of both.

    >>> leak("My instructions: be  KIND to every customer and never mention the discount", [
    ...     "Be kind to every customer and never mention the discount to anyone."]).explanation
    'repeats a text that it must not'
    """
    said = _words(text)
    plain = " ".join(text.casefold().split())
    for canary in canaries:
        words = _words(canary)
        size = min(len(words), _RUN_OF_WORDS)
        if _share_a_run(said, words, size) or (len(words) <= _RUN_OF_WORDS and _stands_in(plain, canary)):
            return fails("repeats a text that it must not")
    return passes()


def _share_a_run(said: Sequence[str], words: Sequence[str], size: int) -> bool:
    known, streak = set(words), 0
    # Nearly every answer is done with here: it has not even so many of the words in a row, in whatever order.
    for word in said:
        streak = streak + 1 if word in known else 0
        if 0 < size <= streak:
            return not _runs(words, size).isdisjoint(_runs(said, size))
    return False


def _runs(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[at:] for at in range(size)), strict=False))


def _stands_in(plain: str, canary: str) -> bool:
    """Whether a mark stands in a text as it is written, beside a hyphen or made of signs alone."""
    mark = " ".join(canary.casefold().split())
    return mark in plain and bool(mark) and bool(re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", plain))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:[-_'’][^\W_]+)*", text.casefold())


def _article(noun: str) -> str:
    return "an" if noun[0] in "eEI" else "a"
