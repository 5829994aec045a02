"""The source of a fact: who told it, where that is not our own gateway or Router."""

from __future__ import annotations

from equipoise.errors import UsageError

__all__ = ["checked_source"]

_LONGEST = 100


def checked_source(said: object) -> str | None:
    """The name of a source: text of 1 to 100 printable characters, or None where nobody is named; else UsageError.

    >>> checked_source("checkout-service")
    'checkout-service'
    >>> checked_source("")
    Traceback (most recent call last):
    equipoise.errors.UsageError: a `source` is text of 1 to 100 printable characters, and this is ''
    """
    if said is None:
        return None
    if not isinstance(said, str) or not 0 < len(said) <= _LONGEST or not said.isprintable():
        raise UsageError(
            f"a `source` is text of 1 to {_LONGEST} printable characters, and this is {said!r:.120}"
        )
    return said
