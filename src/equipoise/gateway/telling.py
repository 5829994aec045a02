"""What a reply says of the experiments it was part of: headers, one line each."""

from __future__ import annotations

from collections.abc import Iterable

from equipoise.assignment.assigning import Draw
from equipoise.gateway.routing import Part

__all__ = ["turn_headers"]

_TOLD: dict[Draw, str] = {}
"""The lines of a draw: there is one draw for all units that get the same."""
_MOST_TOLD = 1_000


def turn_headers(parts: tuple[Part, ...], trace: str, tokens: Iterable[tuple[str, str]]) -> bytes:
    """The trace, the variant, the experiment, the reason, and the `tokens` (names and values) that the client may keep."""
    said = [f"x-equipoise-trace: {trace}\r\n"]
    if len(parts) == 1:
        draw = parts[0].draw
        if (told := _TOLD.get(draw)) is None:
            if len(_TOLD) > _MOST_TOLD:
                _TOLD.clear()
            told = _TOLD[draw] = _lines(draw.variant, draw.experiment.identity, draw.reason)
        said.append(told)
    elif parts:
        arms = ", ".join(part.draw.variant or "none" for part in parts)
        names = ", ".join(part.draw.experiment.identity for part in parts)
        said.append(_lines(arms, names, ", ".join(part.draw.reason for part in parts)))
    said += [f"x-equipoise-{name}: {value}\r\n" for name, value in tokens]
    return "".join(said).encode("latin-1")


def _lines(variant: str | None, experiment: str, reason: str) -> str:
    arm = "" if variant is None else f"x-equipoise-variant: {variant}\r\n"
    return f"{arm}x-equipoise-experiment: {experiment}\r\nx-equipoise-reason: {reason}\r\n"
