"""What may be true in a rehearsal: nothing, what was planned, its opposite, a guardrail that is broken."""

from __future__ import annotations

from typing import Protocol

from equipoise.conduct.rehearsal.run import Scenario
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.verdict_rule import asks

__all__ = ["World", "scenarios"]


class World(Protocol):
    """What a rehearsal is drawn from, so far as one needs to know it to say what may be true."""

    @property
    def says(self) -> str:
        """What it is, in a few words."""
        ...

    def mean(self, metric: Metric) -> float:
        """What the metric comes to where nothing differs."""
        ...

    def possible(self, metric: Metric, effect: float) -> float:
        """The effect, as far as there can be one."""
        ...


def scenarios(experiment: Experiment, population: World) -> tuple[Scenario, ...]:
    """What may be true: nothing, the planned effect, its opposite, and for each guardrail that it is broken.

    The first treatment is the arm that differs. A broken guardrail is worse by twice its margin, while the primary is as
    much better as was planned. Rates stay within 0 and 1: what is not possible among these units comes as near as can be,
    and is left out where nothing of it can. UsageError where the primary has neither `mde` nor `margin`, or where nothing
    of its `mde` is possible.
    """
    arm = experiment.treatments[0].name
    primary = experiment.primary
    found = [Scenario("nothing", "no arm differs from control (A/A)", arm, {})]
    mde = _declared(primary, population, "mde")
    by_margin = asks(experiment.verdict, "non_inferior", then="ship")
    margin = _declared(primary, population, "margin") if by_margin else None
    if mde is None and margin is None:
        raise UsageError(f"{primary.name} has no `mde`: nobody said which effect is to be found")
    planned = 0.0
    if mde is not None:
        planned, opposite = (population.possible(primary, effect) for effect in (mde, -mde))
        if planned == 0.0:
            raise UsageError(
                f"{primary.name} comes to {population.mean(primary):.4g} among {population.says}, from where no planned "
                "effect is possible; draw other units"
            )
        found.append(
            Scenario(
                "planned", f"{arm}: {primary.name} better by {abs(planned):.4g}", arm, {primary.name: planned}
            )
        )
        if opposite:
            says = f"{arm}: {primary.name} worse by {abs(opposite):.4g}"
            found.append(Scenario("opposite", says, arm, {primary.name: opposite}))
    if margin is not None and (effect := population.possible(primary, -margin)):
        whole = "its margin of " if effect == -margin else "less than its margin, "
        says = f"{arm}: {primary.name} worse by {whole}{abs(effect):.4g}"
        found.append(Scenario("at the margin", says, arm, {primary.name: effect}))
    for guard in experiment.metrics:
        limit = _declared(guard, population, "margin") if guard.priority == "guardrail" else None
        broken = 0.0 if limit is None else population.possible(guard, -2 * limit)
        if limit is None or not broken:
            continue
        effects = {guard.name: broken} | ({primary.name: planned} if planned else {})
        also = f", and {primary.name} better as planned" if planned else ""
        times = f"{abs(broken / limit):.2g} times" if broken != -2 * limit else "twice"
        says = f"{arm}: {guard.name} worse by {abs(broken):.4g}, {times} its margin{also}"
        found.append(Scenario(f"{guard.name} broken", says, arm, effects))
    return tuple(found)


def _declared(metric: Metric, population: World, of: str) -> float | None:
    """A declared change for the better, on the metric's scale; None where none is declared."""
    amount = metric.mde if of == "mde" else metric.margin
    if amount is None:
        return None
    return metric.sign * float(amount.of(population.mean(metric)))
