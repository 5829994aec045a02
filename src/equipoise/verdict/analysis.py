"""What `analyze` gives a person: findings and verdict together, shown wherever they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from equipoise.analysis.findings import Effect, Findings
from equipoise.errors import UsageError
from equipoise.files import write_whole
from equipoise.verdict.conversations import Conversations
from equipoise.verdict.deciding import Verdict
from equipoise.verdict.screen import ObservedChange, Screen, screen
from equipoise.verdict.text import markdown, summary

__all__ = ["Analysis", "OverRun", "report_form"]

_FORMS = (".html", ".md", ".json", ".svg", ".png")


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Findings and the verdict on them; prints as text, shows as a page in a notebook.

    `over_run` tells of what arrived after a verdict that stands. `conversations` are there where somebody asked for them.
    """

    findings: Findings
    verdict: Verdict
    over_run: OverRun | None = None
    conversations: Conversations | None = None

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
        # What is observed under shares that followed rewards is no change that a policy was made for.
        return screen(changes) if self.findings.primary and self.findings.bandit is None else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the verdict first, then what it rests on."""
        said = self.screen
        later: dict[str, Any] = {} if self.over_run is None else {"over_run": self.over_run.to_dict()}
        if self.conversations is not None:
            later["conversations"] = self.conversations.to_dict()
        return (
            self.verdict.to_dict()
            | self.findings.to_dict()
            | {
                "screen": None
                if said is None
                else {"word": said.word, "failing": list(said.failing), "says": said.says}
            }
            | later
        )

    def to_json(self) -> str:
        """`to_dict` as text; the same findings give the same bytes."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, sort_keys=False, allow_nan=False)

    def summary(self) -> str:
        """The read-out for a terminal."""
        return summary(self.findings, self.verdict, self.screen) + self._later()

    def to_markdown(self) -> str:
        """The report for a pull request or a chat."""
        return markdown(self.findings, self.verdict, self.screen) + self._later()

    def _later(self) -> str:
        return "" if self.over_run is None else f"\n\n{self.over_run.sentence}"

    def to_html(self) -> str:
        """The report as one self-contained page: no script, no request leaves it."""
        from equipoise.verdict.report import html

        later = "" if self.over_run is None else self.over_run.sentence
        return html(self.findings, self.verdict, self.screen, later=later, conversations=self.conversations)

    def to_svg(self) -> str:
        """The verdict, the primary and the guardrails on one card, for a chat or a slide."""
        from equipoise.verdict.report import picture

        return picture(self.findings, self.verdict)

    def to_png(self) -> bytes:
        """`to_svg` in pixels. Raises MissingExtraError without the extra `png`."""
        from equipoise.figures.raster import png

        return png(self.to_svg())

    def save(self, path: str | Path) -> Path:
        """Write the report by the ending of its name, see `report_form`; whole or not at all."""
        forms: dict[str, Callable[[], str | bytes]] = {
            ".html": self.to_html,
            ".md": self.to_markdown,
            ".json": lambda: self.to_json() + "\n",
            ".svg": self.to_svg,
            ".png": self.to_png,
        }
        return write_whole(Path(path), forms[report_form(path)]())

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        # A frame of its own, so that the page's style does not leak into the notebook.
        return (
            f'<iframe srcdoc="{escape(self.to_html())}" width="100%" height="700" style="border:0"></iframe>'
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OverRun:
    """Facts by kind that arrived after the last look, the verdict that stands, and the analysis of everything.

    The analysis takes the place of the last look, at the information there is now and with the boundary that
    belongs to it (Lan and DeMets 1983; Whitehead 1992, "Overrunning and underrunning in sequential trials"). It
    is recorded nowhere.
    """

    facts: Mapping[str, int]
    verdict: str
    analysis: Analysis

    @property
    def says(self) -> str:
        """What arrived, what the rule would say of it all, and that it changes nothing."""
        told = ", ".join(f"{kind} {count:,}" for kind, count in self.facts.items())
        would = self.analysis.verdict
        return (
            f"over-run: what arrived after the verdict ({told}) does not count in it. Of all the data together the "
            f"rule would say {would.word}: {would.because}. The verdict stands: {self.verdict}"
        )

    @property
    def sentence(self) -> str:
        """`says` with a capital and a full stop."""
        return f"{self.says[0].upper()}{self.says[1:]}."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "facts": dict(self.facts),
            "verdict": self.verdict,
            "says": self.says,
            "read_out": self.analysis.to_dict(),
        }


def report_form(path: str | Path) -> str:
    """The form of a report by the ending of its name: .html (also for none), .md, .json, .svg, .png.

    Raises UsageError for another ending, and for a PNG where this machine cannot draw one: to be asked before work
    is done that only a report would show.

    >>> report_form("out/report"), report_form("report.MD")
    ('.html', '.md')
    """
    path = Path(path)
    form = path.suffix.lower() or ".html"
    if form not in _FORMS:
        raise UsageError(f"a report is written as {', '.join(_FORMS)}, and {path.name} is none of them")
    if form == ".png":
        from equipoise.figures.raster import check_ready

        check_ready()
    return form
