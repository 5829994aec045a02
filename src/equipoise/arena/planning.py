"""What a gate's cases can show, before anything is asked: the cases each criterion needs, and what it can detect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.arena.exporting import estimate_json
from equipoise.arena.gate import usual_criteria
from equipoise.arena.preparing import Prepared
from equipoise.arena.sizing import Pilot, detectable, needed_cases
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion
from equipoise.stats.estimate import NotEstimable

__all__ = ["Planned", "plan_gate"]

_EFFECT = Amount(0.05)
"""Where better has to be shown and nothing is said of by how much: five points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One criterion: the cases at hand, how many an arm equal to control needs to pass with 80 % power, and what shows.

    `needed` takes the most the scores can vary. `easier` is what is needed where control passes nine cases
    in ten (None where that makes no difference). `detects` is the smallest true difference the cases at
    hand show with 80 % power, on the scale of the measure.
    """

    criterion: Criterion
    cases: int
    needed: int | NotEstimable
    easier: int | NotEstimable | None
    detects: float | NotEstimable

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        plain: dict[str, Any] = {
            "criterion": self.criterion.name,
            "show": self.criterion.show,
            "cases": self.cases,
        }
        for name in ("needed", "easier", "detects"):
            value = getattr(self, name)
            if value is not None:
                plain[name] = estimate_json(value) if isinstance(value, NotEstimable) else value
        return plain


def plan_gate(prepared: Prepared) -> list[Planned]:
    """Every criterion of the gate, or the usual one, with what it needs and what the cases at hand can show."""
    gate = prepared.gate
    passes = bool(prepared.own) or any(evaluator.kind == "rule" for evaluator in prepared.evaluators)
    criteria = gate.criteria or usual_criteria(compares=prepared.comparator is not None, passes=passes)
    cases = len(prepared.cases)
    clusters = len({case.cluster or f"case {case.id}" for case in prepared.cases})
    size = max(1.0, cases / clusters)
    found = []
    for criterion in criteria:
        effect = (criterion.margin or _EFFECT).of(0.5) if criterion.show == "superior" else None
        shared: dict[str, Any] = {"level": gate.level, "samples": prepared.samples, "cluster_size": size}
        needed = needed_cases(criterion, **shared, effect=effect)
        easier = None
        if criterion.of == "pass_rate":
            easier = needed_cases(criterion, **shared, effect=effect, pilot=Pilot.of_pass_rate(0.9))
        found.append(
            Planned(
                criterion=criterion,
                cases=cases,
                needed=needed,
                easier=easier,
                detects=detectable(criterion, cases, **shared),
            )
        )
    return found
