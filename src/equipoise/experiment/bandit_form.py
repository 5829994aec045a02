"""The section `bandit:` of the file, and the value it makes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from equipoise.experiment.bandit import Bandit, Drop, Model, Policy, Stop
from equipoise.experiment.fields import DurationField, Name, Positive, Section, ShareField
from equipoise.experiment.metric import Kind, Metric

__all__ = ["USUAL_MODELS", "BanditForm", "bandit_of"]

USUAL_MODELS: dict[Kind, Model] = {
    "proportion": "beta_bernoulli",
    "mean": "gaussian",
    "count": "gamma_poisson",
}
"""How rewards are distributed where nobody says, by the metric's kind; of the other kinds a unit has no reward."""


class PolicyForm(Section):
    top_two: ShareField | None = None
    epsilon_greedy: ShareField | None = None


class PriorForm(Section):
    alpha: Positive | None = None
    beta: Positive | None = None
    mean: Annotated[float, Field(allow_inf_nan=False)] | None = None
    weight: Positive | None = None
    shape: Positive | None = None
    scale: Positive | None = None
    rate: Positive | None = None

    @property
    def given(self) -> dict[str, float]:
        """What was written, by name."""
        return {name: float(value) for name, value in self if value is not None}


class DropForm(Section):
    below: ShareField
    after: Annotated[int, Field(ge=1)]


class StopForm(Section):
    error: ShareField = Fraction(1, 20)


class BanditForm(Section):
    """How shares follow rewards."""

    policy: Literal["thompson", "top_two", "epsilon_greedy", "ucb"] | PolicyForm = "thompson"
    reward: Name | None = None
    model: Model | None = None
    prior: PriorForm | None = None
    every: DurationField = 3600.0
    explore: ShareField = Fraction(1, 20)
    half_life: DurationField | None = None
    drop: DropForm | None = None
    stop: StopForm = StopForm()


def bandit_of(form: BanditForm | None, metrics: Sequence[Metric]) -> Bandit:
    """The value of a section that passed the checks; of one that is not there, the usual one."""
    form = form or BanditForm()
    reward = next(
        (metric for metric in metrics if metric.name == form.reward),
        metrics[0],
    )
    usual = Bandit(reward="", model="gaussian", prior={})
    policy: Policy = usual.policy
    leader, epsilon = usual.leader, usual.epsilon
    if isinstance(form.policy, str):
        policy = form.policy
    elif form.policy.top_two is not None:
        policy, leader = "top_two", form.policy.top_two
    elif form.policy.epsilon_greedy is not None:
        policy, epsilon = "epsilon_greedy", form.policy.epsilon_greedy
    model = form.model or USUAL_MODELS[reward.kind]
    return Bandit(
        policy=policy,
        reward=reward.name,
        model=model,
        prior=MappingProxyType(form.prior.given if form.prior else _usual_prior(model, reward)),
        every=form.every,
        explore=form.explore,
        half_life=form.half_life,
        drop=None if form.drop is None else Drop(below=float(form.drop.below), after=form.drop.after),
        stop=Stop(error=float(form.stop.error)),
        leader=leader,
        epsilon=epsilon,
    )


def _usual_prior(model: Model, reward: Metric) -> dict[str, float]:
    """What is believed of an arm where nobody says: as much as one unit would tell, about where control is thought to be.

    A rate is anywhere between 0 and 1; a count is as large as the metric's `baseline`, or 1; a mean is Student's t with two
    degrees of freedom about the baseline, as wide as the `spread` between units.
    """
    baseline, spread = reward.baseline, reward.spread
    if model == "beta_bernoulli":
        return {"alpha": 1.0, "beta": 1.0}
    if model == "gamma_poisson":
        return {"shape": 1.0, "rate": 1.0 / baseline if baseline else 1.0}
    return {"mean": baseline or 0.0, "weight": 1.0, "shape": 1.0, "scale": (spread or 1.0) ** 2}
