"""Vectors without a model, for the simulated endpoint: texts that are spelt alike lie near each other."""

from __future__ import annotations

import math
from zlib import crc32

__all__ = ["hashed_vector"]


def hashed_vector(text: str, dimensions: int = 256) -> list[float]:
    """The text's strings of three characters, counted in as many places as there are dimensions; unit length.

    The same text has the same vector on every machine. Case and the kind of white space do not matter. It
    knows nothing of meaning: never take it for a model's.

    Source: Weinberger, Dasgupta, Langford, Smola & Attenberg (2009), Feature Hashing for Large Scale
    Multitask Learning, section 2, with its sign ξ.

    >>> near, far = hashed_vector("refunds take 5 days"), hashed_vector("Bonjour à tous")
    >>> asked = hashed_vector("a refund takes 5 days")
    >>> round(sum(map(float.__mul__, asked, near)), 1)
    0.6
    >>> abs(sum(map(float.__mul__, asked, far))) < 0.2
    True
    """
    padded = f"  {' '.join(text.casefold().split())}  "
    counts = [0.0] * dimensions
    for start in range(len(padded) - 2):
        hashed = crc32(padded[start : start + 3].encode("utf-8", "surrogatepass"))
        counts[(hashed >> 1) % dimensions] += 1.0 if hashed & 1 else -1.0
    length = math.sqrt(math.fsum(count * count for count in counts))
    if length == 0.0:  # every count met its opposite
        counts[0] = length = 1.0
    return [count / length for count in counts]
