"""A bandit as a value: what it plays for, what it believes at first, and how it gives out shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

__all__ = ["MODELS", "POLICIES", "PRIORS", "Bandit", "Drop", "Model", "Policy", "Stop"]

Policy = Literal["thompson", "top_two", "epsilon_greedy", "ucb"]
Model = Literal["beta_bernoulli", "gaussian", "gamma_poisson"]

POLICIES: tuple[Policy, ...] = get_args(Policy)
MODELS: tuple[Model, ...] = get_args(Model)

PRIORS: Mapping[Model, tuple[str, ...]] = {
    "beta_bernoulli": ("alpha", "beta"),
    "gaussian": ("mean", "weight", "shape", "scale"),
    "gamma_poisson": ("shape", "rate"),
}
"""The numbers of each model's prior, in the order in which they are written. All but a mean are above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An arm whose probability of being best is under `below` goes, once `after` of its units are matured."""

    below: float
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When the best arm is named: with at most this probability (0 to 1) that it is another."""

    error: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandit:
    """How shares follow rewards: every `every` seconds an epoch begins, whose shares are what the policy makes of them.

    `reward` names the metric that is played for: its value of a unit is the reward, its `window` the time after which a
    unit without one is no longer pending, and its direction says which arm is best. `model` is how rewards of one arm are
    distributed, and `prior` what is believed of every arm at first:

    * `beta_bernoulli`: rewards are 0 or 1 with a rate that is Beta(`alpha`, `beta`);
    * `gaussian`: rewards are normal, with 1/σ² from Gamma(`shape`, rate `scale`) and a mean from N(`mean`, σ²/`weight`);
    * `gamma_poisson`: rewards are counts, with a rate from Gamma(`shape`, `rate`).

    Every arm that is still in gets `explore` of the units at least. With `half_life` (seconds) a unit that came in so long
    ago counts half. `leader` is the probability with which top-two plays the arm that a draw says is best, and `epsilon`
    that with which epsilon-greedy plays any arm.
    """

    policy: Policy = "thompson"
    reward: str
    model: Model
    prior: Mapping[str, float]
    every: float = 3600.0
    explore: Fraction = Fraction(1, 20)
    half_life: float | None = None
    drop: Drop | None = None
    stop: Stop = Stop()
    leader: Fraction = Fraction(1, 2)
    epsilon: Fraction = Fraction(1, 10)
