"""Which turns count and what their numbers are: one rule, in the words of the engine and of Python.

The read-out counts with the engine (`record`), the windows of guardrails fact by fact (`cells`); they must not differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from equipoise.events.facts import Turn
from equipoise.experiment.metric import CHECKED, TURN_COUNT

__all__ = ["ENROLLED", "enrolled", "number", "turn_number", "turn_value"]

_CENSORED = ("latency_s", "tpot_s")
_TOKENS = ("input_tokens", "output_tokens")
_MEASURED = {
    entry.name for entry in fields(Turn) if str(entry.type).split(" ")[0] in ("float", "int", "bool")
} - {"happened"}
"""What of a turn's body is a number, or true or false."""

# Served the default, or a tester's choice: not control, and nobody's.
ENROLLED = "(reason IS NULL OR (variant IS NOT NULL AND reason <> 'forced'))"


def enrolled(turn: Turn) -> bool:
    """Whether a turn was served within the experiment, as ENROLLED says: not by a tester's choice, nor unenrolled.

    A fallback or a redirect stays in its arm (intention to treat).

    >>> enrolled(Turn(experiment="e", happened=0.0, unit="u", variant="treatment", reason="forced"))
    False
    """
    return turn.reason is None or (turn.variant is not None and turn.reason != "forced")


def turn_value(name: str) -> tuple[tuple[str, ...], str]:
    """What of a turn a quantity is made of (numbers, but for `checks`), and how, for the engine."""
    tokens = " + ".join(f"told.{part}" for part in _TOKENS)
    if name == "tokens":
        return _TOKENS, tokens
    if name == "kilotokens":
        return _TOKENS, f"({tokens}) / 1000.0"
    if name == "answered":
        return ("error",), "told.error = 0"
    if name == TURN_COUNT.name:
        return (), "1.0"
    if name in CHECKED:
        return ("checks",), f"CASE told.checks->>'$.{name}' WHEN 'failed' THEN 1.0 WHEN 'passed' THEN 0.0 END"
    if name not in _MEASURED:
        return (), "happened" if name == "happened" else "NULL"
    if name in _CENSORED:
        return (
            name,
            "cancelled",
        ), f"CASE WHEN coalesce(told.cancelled <> 0, false) THEN NULL ELSE told.{name} END"
    return (name,), f"told.{name}"


def turn_number(name: str) -> Callable[[Turn], float | None]:
    """How a quantity is read from a turn: the same as `turn_value`; None where it was not measured.

    The latency of a turn that was cancelled says how long somebody waited, not how long it would have taken.

    >>> turn_number("kilotokens")(Turn(experiment="e", happened=0.0, input_tokens=900, output_tokens=100))
    1.0
    >>> turn_number("latency_s")(Turn(experiment="e", happened=0.0, latency_s=0.7, cancelled=True))
    """
    if name in ("tokens", "kilotokens"):
        scale = 1.0 if name == "tokens" else 1000.0
        return lambda turn: _tokens(turn, scale)
    if name == "answered":
        return _answered
    if name == TURN_COUNT.name:
        return lambda _: 1.0
    if name in CHECKED:
        return lambda turn: _found(turn, name)
    if name not in _MEASURED:
        return _happened if name == "happened" else lambda _: None
    measured = attrgetter(name)
    if name in _CENSORED:
        return lambda turn: None if turn.cancelled else number(measured(turn))
    return lambda turn: number(measured(turn))


def number(value: Any) -> float | None:
    """A value of JSON as a number, true as 1; None for anything else, words that look like numbers among it.

    >>> number(True), number(3), number("3")
    (1.0, 3.0, None)
    """
    if isinstance(value, float):
        return value
    try:
        return float(value) if isinstance(value, int) else None
    except OverflowError:
        return None


def _tokens(turn: Turn, scale: float) -> float | None:
    there, back = number(turn.input_tokens), number(turn.output_tokens)
    return None if there is None or back is None else (there + back) / scale


def _found(turn: Turn, check: str) -> float | None:
    verdict = turn.checks.get(check) if isinstance(turn.checks, Mapping) else None
    return {"failed": 1.0, "passed": 0.0}.get(verdict) if isinstance(verdict, str) else None


def _answered(turn: Turn) -> float | None:
    error = number(turn.error)
    return None if error is None else float(error == 0.0)


def _happened(turn: Turn) -> float | None:
    return turn.happened
