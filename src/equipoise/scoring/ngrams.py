"""How much two texts share in n-grams of characters or words: a cosine of counts, without any library."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, get_args

from equipoise.errors import UsageError
from equipoise.stats.estimate import NotEstimable

__all__ = ["Unit", "ngram_cosine"]

Unit = Literal["characters", "words"]

_WORD = re.compile(r"\w+")


def ngram_cosine(
    text: str, reference: str, *, of: Unit = "characters", n: int | None = None
) -> float | NotEstimable:
    """The cosine of the angle between the counts of two texts' n-grams.

    Counts shared spelling or words and punishes paraphrase: it belongs beside a judge, and never alone in a
    gate. Strings of three characters forgive inflection and misspelling; words do not. Two unrelated texts of
    one language share letters, and so seldom score 0.

    Scale: [0, 1], 1 for texts with the same n-grams in the same proportions, 0 for texts that share none.
    Upper and lower case are one, and so is every run of white space; of words, punctuation is no part. `n` is
    at least 1: 3 for characters and 1 for words unless it is given. A text shorter than n is one n-gram.

    Degenerate cases: a text with nothing to count scores 0; not estimable with such a reference. Errors:
    UsageError for another `of` or n. Takes time in the sum of both lengths.
    Source: Salton, Wong & Yang (1975), A Vector Space Model for Automatic Indexing; Damashek (1995), Gauging
    Similarity with n-Grams, for characters.

    >>> ngram_cosine("The refund takes five days.", "the  refund takes five days.")
    1.0
    >>> round(ngram_cosine("Refunds take 5 days.", "The refund takes five days."), 4)
    0.5185
    >>> round(ngram_cosine("five days it takes", "it takes ten days", of="words"), 4)
    0.75
    >>> ngram_cosine("yes", " ")
    NotEstimable(reason='the reference holds no characters')
    """
    if of not in get_args(Unit):
        raise UsageError(f"of must be one of {', '.join(get_args(Unit))}, not {of!r}")
    length = n if n is not None else (3 if of == "characters" else 1)
    if length < 1:
        raise UsageError(f"n must be at least 1, not {length}")
    wanted, said = _counts(reference, of, length), _counts(text, of, length)
    if not wanted:
        return NotEstimable(f"the reference holds no {of}")
    if not said:
        return 0.0
    shared = sum(count * wanted[gram] for gram, count in said.items() if gram in wanted)
    return min(1.0, shared / math.sqrt(_square(said) * _square(wanted)))


def _counts(text: str, of: Unit, n: int) -> Counter[Sequence[str]]:
    folded = text.casefold()
    pieces: Sequence[str] = " ".join(folded.split()) if of == "characters" else tuple(_WORD.findall(folded))
    if not pieces:
        return Counter()
    return Counter(pieces[start : start + n] for start in range(max(1, len(pieces) - n + 1)))


def _square(counts: Counter[Sequence[str]]) -> int:
    return sum(count * count for count in counts.values())
