"""What a check says of a text: it passed, or it failed and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CheckResult", "Failed", "Passed"]


@dataclass(frozen=True, slots=True)
class Passed:
    """The text is as the check wants it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The text is not as the check wants it; `reason` never repeats personal data."""

    reason: str


CheckResult = Passed | Failed
