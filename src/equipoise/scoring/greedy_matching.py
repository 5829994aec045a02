"""Greedy matching of the pieces of two texts by their vectors, as BERTScore does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.errors import MissingExtraError

__all__ = ["GreedyMatch", "Pieces", "greedy_match", "pieces_of"]

Pieces = Literal["words", "sentences"]

_WORD = re.compile(r"\w+(?:['’]\w+)*")
# A full stop of Chinese or Japanese needs no blank after it.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyMatch:
    """How well the pieces of an answer and of a reference find each other; all three lie in [0, 1].

    `precision` falls for what only the answer says, `recall` for what only the reference says; `f1` is their
    harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def pieces_of(text: str, of: Pieces) -> tuple[str, ...]:
    """The words or sentences of a text, in their order, as they are spelt.

    >>> pieces_of("It's free. Ask us!", "words")
    ("It's", 'free', 'Ask', 'us')
    >>> pieces_of("It's free. Ask us!", "sentences")
    ("It's free.", 'Ask us!')
    """
    if of == "words":
        return tuple(_WORD.findall(text))
    return tuple(piece for each in _SENTENCE_END.split(text) if (piece := each.strip()))


def greedy_match(
    answer: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
) -> GreedyMatch:
    """Every piece is matched with the piece of the other text that is most like it.

    Takes unit vectors, one a piece, all of one length; at least one on either side. Precision is the mean
    over the answer's pieces of the highest cosine with any of the reference's, recall the same with the sides
    exchanged, F1 their harmonic mean. There are no weights by rarity and no rescaling by a baseline, and a
    mean below 0 counts as 0, so that all lie in [0, 1]; with an F1 of 0 where precision and recall are both 0.

    The vectors are those of the pieces by themselves. BERTScore reads a word's vector within its sentence,
    which tells the meanings of one word apart; plain vectors of words are weaker, and the scores of the two
    are not to be compared.

    Errors: ValueError for an empty side or vectors of different lengths; MissingExtraError without numpy.
    Takes time in the product of both numbers of pieces.
    Source: Zhang, Kishore, Wu, Weinberger & Artzi (2020), BERTScore: Evaluating Text Generation with BERT
    (ICLR), section 3, the equations of R, P and F.

    >>> match = greedy_match([(1.0, 0.0)], [(1.0, 0.0), (0.6, 0.8)])
    >>> match.precision, match.recall, round(match.f1, 4)
    (1.0, 0.8, 0.8889)
    """
    try:
        import numpy as np
    except ModuleNotFoundError as error:
        raise MissingExtraError("greedy matching") from error
    if not len(answer) or not len(reference):
        raise ValueError("greedy matching needs at least one piece on either side")
    said, wanted = np.asarray(answer, dtype=float), np.asarray(reference, dtype=float)
    best_said = np.empty(len(said))
    best_wanted = np.full(len(wanted), -np.inf)
    # In blocks: a long answer must not fill the memory with every pair at once.
    for start in range(0, len(said), _BLOCK):
        cosines = said[start : start + _BLOCK] @ wanted.T
        best_said[start : start + _BLOCK] = cosines.max(axis=1)
        best_wanted = np.maximum(best_wanted, cosines.max(axis=0))
    precision, recall = _share(float(best_said.mean())), _share(float(best_wanted.mean()))
    total = precision + recall
    return GreedyMatch(
        precision=precision, recall=recall, f1=2 * precision * recall / total if total else 0.0
    )


def _share(mean: float) -> float:
    return min(1.0, max(0.0, mean))
