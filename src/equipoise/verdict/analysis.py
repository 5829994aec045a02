"""What `analyze` gives a person: findings and verdict together, shown wherever they are looked at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from equipoise.analysis.findings import Effect, Findings
from equipoise.files import write_whole
from equipoise.verdict.deciding import Verdict
from equipoise.verdict.screen import ObservedChange, Screen, screen
from equipoise.verdict.text import markdown, summary

__all__ = ["Analysis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Findings and the verdict on them; prints as text, shows as a page in a notebook."""

    findings: Findings
    verdict: Verdict

    def effect(self, metric: str, variant: str | None = None) -> Effect:
        """A metric's effect; `variant` may be left out where there is one treatment. KeyError if withheld."""
        for effect in self.findings.effects:
            if effect.metric == metric and not effect.segment and variant in (None, effect.variant):
                return effect
        raise KeyError(metric)

    @property
    def screen(self) -> Screen | None:
        """What a policy on observed changes alone would say; None where effects are withheld."""
        changes = [
            ObservedChange(
                effect.name,
                effect.treatment - effect.control,
                effect.better,
                None
                if effect.margin is None
                else -effect.margin
                if effect.better == "higher"
                else effect.margin,
            )
            for effect in (*self.findings.primary, *self.findings.guards)
            if effect.control is not None and effect.treatment is not None
        ]
        return screen(changes) if self.findings.primary else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the verdict first, then what it rests on."""
        said = self.screen
        return (
            self.verdict.to_dict()
            | self.findings.to_dict()
            | {
                "screen": None
                if said is None
                else {"word": said.word, "failing": list(said.failing), "says": said.says}
            }
        )

    def to_json(self) -> str:
        """`to_dict` as text; the same findings give the same bytes."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, sort_keys=False)

    def summary(self) -> str:
        """The read-out for a terminal."""
        return summary(self.findings, self.verdict, self.screen)

    def to_markdown(self) -> str:
        """The report for a pull request or a chat."""
        return markdown(self.findings, self.verdict, self.screen)

    def to_html(self) -> str:
        """The report as one self-contained page: no script, no request leaves it."""
        from equipoise.verdict.report import html

        return html(self.findings, self.verdict, self.screen)

    def save(self, path: str | Path) -> Path:
        """Write the HTML report; whole or not at all."""
        return write_whole(Path(path), self.to_html())

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        # A frame of its own, so that the page's style does not leak into the notebook.
        return (
            f'<iframe srcdoc="{escape(self.to_html())}" width="100%" height="700" style="border:0"></iframe>'
        )
