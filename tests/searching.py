"""Two rankers whose lists are rehearsed, and a log of lists that people were shown and clicked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from equipoise.events.facts import Fact, Impression, Outcome
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.rehearsed.shown import Shown

BASE: dict[str, Any] = {
    "name": "search",
    "hypothesis": "The dense ranker finds what people look for higher up.",
    "unit": "user",
    "method": "interleaving",
    "interleaving": {"length": 5, "agreed": "ignored", "ties": 0.5},
    "variants": {"control": {}, "treatment": {}},
    "metrics": {
        "preference": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher", "mde": "20pp"},
        "reports": {"priority": "guardrail", "kind": "count", "of": "outcome.report", "better": "lower", "margin": 0.04, "spread": 0.3},
    },
    "plan": {"units_per_day": 60, "cycle": "1d"},
}  # fmt: skip


def rankers(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def facts(experiment: Experiment, shown: Shown) -> Iterator[Fact]:
    """What a log has of such lists: of each ranker an item or none, and clicks that earn what was earned."""
    arms = [variant.name for variant in experiment.variants]
    for row in range(shown.size):
        turned = 1 if shown.first[row] == 1 else 0
        teams = [arms[turned], arms[1 - turned]]
        unit, query = f"u{shown.units[row]}", f"q{row}"
        counted = shown.first[row] >= 0
        yield Impression(
            experiment=experiment.name, happened=float(row), digest=experiment.digest, unit=unit, unit_type="user", query=query,
            scheme="team_draft", items=["0", "1"], teams=teams if counted else [None, None], event_id=f"i{row}",
        )  # fmt: skip
        for name, outcome in (("preference", "click"), ("reports", "report")):
            for arm in (0, 1):
                if shown.credit[name][row, arm]:
                    yield Outcome(
                        experiment=experiment.name, happened=row + 0.5, unit=unit, name=outcome, value=True, query=query,
                        item=str(teams.index(arms[arm])), event_id=f"o{row}/{name}/{arm}",
                    )  # fmt: skip
