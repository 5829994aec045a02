"""What may be true in a rehearsal: nothing, what was planned, its opposite, a guardrail that is broken."""

from __future__ import annotations

from dataclasses import replace

from equipoise.conduct.rehearsing import Scenario
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.verdict_rule import asks
from equipoise.measurement.population import Population

__all__ = ["scenarios"]


def scenarios(experiment: Experiment, population: Population) -> tuple[Scenario, ...]:
    """What may be true: nothing, the planned effect, its opposite, and for each guardrail that it is broken.

    The first treatment is the arm that differs. A broken guardrail is worse by twice its margin, while the primary is as
    much better as was planned. UsageError where the primary has neither `mde` nor `margin`.
    """
    arm = experiment.treatments[0].name
    primary = experiment.primary
    found = [Scenario("nothing", "no arm differs from control (A/A)", arm, {})]
    mde = _effect(primary, population, "mde")
    by_margin = asks(experiment.verdict, "non_inferior", then="ship")
    margin = _effect(primary, population, "margin") if by_margin else None
    if mde is None and margin is None:
        raise UsageError(f"{primary.name} has no `mde`: nobody said which effect is to be found")
    if mde is not None:
        says = f"{arm}: {primary.name} {{}} by {abs(mde):.4g}"
        found += [
            Scenario("planned", says.format("better"), arm, {primary.name: mde}),
            Scenario("opposite", says.format("worse"), arm, {primary.name: -mde}),
        ]
    if margin is not None:
        says = f"{arm}: {primary.name} worse by its margin of {abs(margin):.4g}"
        found.append(Scenario("at the margin", says, arm, {primary.name: -margin}))
    for guard in experiment.metrics:
        limit = _effect(guard, population, "margin") if guard.priority == "guardrail" else None
        if limit is None:
            continue
        effects = {guard.name: -2 * limit} | ({} if mde is None else {primary.name: mde})
        also = "" if mde is None else f", and {primary.name} better as planned"
        says = f"{arm}: {guard.name} worse by {abs(2 * limit):.4g}, twice its margin{also}"
        found.append(Scenario(f"{guard.name} broken", says, arm, effects))
    return tuple(_possible(experiment, population, each) for each in found)


def _effect(metric: Metric, population: Population, of: str) -> float | None:
    """A declared change for the better, on the metric's scale; None where none is declared."""
    amount = metric.mde if of == "mde" else metric.margin
    if amount is None:
        return None
    return metric.sign * float(amount.of(population.mean(metric)))


def _possible(experiment: Experiment, population: Population, scenario: Scenario) -> Scenario:
    """The scenario with rates that stay within 0 and 1."""
    effects = {}
    for name, effect in scenario.effects.items():
        metric = experiment.metric(name)
        mean = population.mean(metric)
        if metric.kind == "proportion":
            effects[name] = min(max(effect, -mean), 1.0 - mean)
        else:
            effects[name] = max(effect, -0.99 * mean) if mean > 0 else effect
    return replace(scenario, effects=effects)
