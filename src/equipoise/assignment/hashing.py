"""From a unit to a point: the published contract that any language can implement.

point = first eight bytes, big-endian, of
        SHA-256( "equipoise" NUL version NUL label NUL salt NUL unit )          all in UTF-8

`label` keeps draws apart that must be independent ("coverage", "split"); the salt is the experiment's
name, "/" and its `assignment_version`. The unit stands last, so that nothing in it can imitate a
separator. No normalisation: two spellings are two units. `tests/vectors/assignment.json` holds examples.
"""

from __future__ import annotations

from hashlib import sha256

from equipoise.errors import UsageError

__all__ = ["HASH_VERSION", "SPACE", "point", "prefix", "salt"]

HASH_VERSION = 1
SPACE = 1 << 64
"""Points are whole numbers from 0 to SPACE − 1. (Dividing by SPACE − 1 would let 1.0 through.)"""

MAX_UNIT = 1024


def salt(name: str, assignment_version: int = 1) -> str:
    """What an experiment's draws start from; editing anything else of a definition moves nobody."""
    return f"{name}/{assignment_version}"


def prefix(label: str, salt: str) -> bytes:
    """Everything that is hashed before the unit."""
    return f"equipoise\0{HASH_VERSION}\0{label}\0{salt}\0".encode()


def unit_bytes(unit: object) -> bytes:
    """The unit in UTF-8; UsageError for what cannot name a unit: it is refused, never bucketed."""
    if not isinstance(unit, str):
        raise UsageError(
            f"a unit is named by text, and this is {unit!r} ({type(unit).__name__}); "
            "pass the id as a string, or serve the request unenrolled"
        )
    if not unit or unit.isspace():
        raise UsageError(
            "a unit must have a name, and this one is empty; pass the id, or serve the request unenrolled"
        )
    if len(unit) > MAX_UNIT:
        raise UsageError(f"a unit's name has at most {MAX_UNIT} characters, and this one has {len(unit)}")
    try:
        return unit.encode()
    except UnicodeEncodeError:
        raise UsageError("a unit's name must be valid Unicode, and this one has a lone surrogate") from None


def point(before: bytes, unit: bytes) -> int:
    """Where a unit falls, from 0 to 2**64 − 1, uniformly over units.

    >>> point(prefix("split", salt("demo")), b"conversation-1")
    1522832975040598105
    """
    return int.from_bytes(sha256(before + unit).digest()[:8], "big")
