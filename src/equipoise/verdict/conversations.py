"""A sample of conversations beside a verdict: for the eye, and no part of what decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.events.texts import Text

__all__ = ["Conversations", "Sampled"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One turn of the sample: its text, and the primary's value of its unit or of itself, in words."""

    variant: str
    value: str
    text: Text

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Who said what, in the order in which it is read."""
        text = self.text
        return (
            *((each.role, each.text) for each in text.request),
            *(("context", each) for each in text.context),
            ("answer (blocked)" if text.blocked else "answer", text.answer),
            *(("another choice", each) for each in text.others),
            *(("tool", f"{each.name}({each.arguments})") for each in text.tools),
        )

    @property
    def marks(self) -> str:
        """What is missing of it."""
        said = [f"redacted {kind}: {count}" for kind, count in self.text.redacted.items()]
        said += [f"texts cut: {self.text.cut}"] * bool(self.text.cut)
        said += [f"left out: {self.text.omitted}"] * bool(self.text.omitted)
        return "; ".join(said) or "nothing was redacted"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"variant": self.variant, "value": self.value, "text": self.text.to_dict()}


@dataclass(frozen=True, slots=True)
class Conversations:
    """The sample, in the order of the arms, and a sentence that says how it was chosen, or why there is none."""

    metric: str
    says: str
    sampled: tuple[Sampled, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "says": self.says,
            "metric": self.metric,
            "sampled": [each.to_dict() for each in self.sampled],
        }
