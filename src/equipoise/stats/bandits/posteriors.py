"""What is believed of an arm: conjugate posteriors of a rate, a mean and a count, from one reward or from many at once.

Nothing here needs more than the standard library, so that a process may play by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, positive

__all__ = ["BetaBernoulli", "Draws", "GammaPoisson", "Gaussian", "Posterior", "Rewards", "prior_of"]

_ROUNDING = 1e-9


class Draws(Protocol):
    """Where random numbers come from: a `random.Random`, or what draws alike."""

    def random(self) -> float: ...
    def betavariate(self, alpha: float, beta: float) -> float: ...
    def gammavariate(self, alpha: float, beta: float) -> float: ...
    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float: ...


@dataclass(frozen=True, slots=True)
class Rewards:
    """The matured rewards of an arm: how many (`n`, or the sum of their weights), their mean, and the sum of squared
    deviations from it.

    A pull whose reward is not known yet is no reward: it is pending, and is not in here. Rewards add up, and with
    `times` old ones count less. Errors: UsageError for a negative `n` or `m2` and for numbers that are not finite.

    >>> Rewards.of([1.0, 0.0]) + Rewards.of([1.0, 1.0])
    Rewards(n=4.0, mean=0.75, m2=0.75)
    >>> Rewards.of([1.0, 0.0]).times(0.5)
    Rewards(n=1.0, mean=0.5, m2=0.25)
    """

    n: float = 0.0
    mean: float = 0.0
    m2: float = 0.0

    def __post_init__(self) -> None:
        finite("mean", self.mean)
        for name, value in (("n", self.n), ("m2", self.m2)):
            if finite(name, value) < 0:
                raise UsageError(f"{name} must be at least 0, not {value}")

    @classmethod
    def of(cls, values: Iterable[float]) -> Rewards:
        """The rewards of raw values. UsageError where one is not finite.

        >>> Rewards.of([2.0, 4.0])
        Rewards(n=2.0, mean=3.0, m2=2.0)
        """
        known = [finite("a reward", value) for value in values]
        if not known:
            return cls()
        mean = math.fsum(known) / len(known)
        return cls(float(len(known)), mean, math.fsum((value - mean) ** 2 for value in known))

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return self.n * self.mean

    def __add__(self, other: Rewards) -> Rewards:
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        return Rewards(
            n, self.mean + apart * other.n / n, self.m2 + other.m2 + apart * apart * self.n * other.n / n
        )

    def times(self, weight: float) -> Rewards:
        """The same, each counting `weight` times (0 and up)."""
        return Rewards(self.n * weight, self.mean, self.m2 * weight)


@dataclass(frozen=True, slots=True)
class BetaBernoulli:
    """A rate of rewards that are 0 or 1: Beta(`alpha`, `beta`), so many successes and failures, the prior's included.

    Source: Thompson (1933), Biometrika 25; Chapelle & Li (2011), NeurIPS, algorithm 2.

    >>> BetaBernoulli(1.0, 1.0).updated(1.0)
    BetaBernoulli(alpha=2.0, beta=1.0)
    >>> BetaBernoulli(1.0, 1.0).updated(0.5)
    Traceback (most recent call last):
    equipoise.errors.UsageError: a rate is of rewards that are 0 or 1, and this one is 0.5; play a gaussian or gamma_poisson
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        positive("alpha", self.alpha)
        positive("beta", self.beta)

    def updated(self, reward: float | Rewards) -> BetaBernoulli:
        """What is believed after a reward, or after many. UsageError for a reward that is neither 0 nor 1."""
        if isinstance(reward, Rewards):
            # Of zeros and ones, and of nothing else between them, the squared deviations add up to n·mean·(1 − mean).
            spread = reward.n * reward.mean * (1.0 - reward.mean)
            if not 0 <= reward.mean <= 1 or abs(reward.m2 - spread) > _ROUNDING * (1.0 + reward.n):
                raise UsageError(
                    f"a rate is of rewards that are 0 or 1, and among {reward.n:g} with a mean of {reward.mean:g} there "
                    "are others; play a gaussian or gamma_poisson"
                )
            return BetaBernoulli(self.alpha + reward.total, self.beta + (reward.n - reward.total))
        if reward not in (0, 1):
            raise UsageError(
                f"a rate is of rewards that are 0 or 1, and this one is {reward:g}; play a gaussian or gamma_poisson"
            )
        return BetaBernoulli(self.alpha + reward, self.beta + (1 - reward))

    @property
    def mean(self) -> float:
        """The expected rate."""
        return self.alpha / (self.alpha + self.beta)

    def draw(self, rng: Draws) -> float:
        """A rate that may be the true one: one `betavariate`."""
        return rng.betavariate(self.alpha, self.beta)

    @property
    def parameters(self) -> dict[str, float]:
        """Its numbers by name, as a definition writes them."""
        return {"alpha": self.alpha, "beta": self.beta}


@dataclass(frozen=True, slots=True)
class Gaussian:
    """A mean of normal rewards: 1/σ² is Gamma(`shape`, rate `scale`), and given σ the mean is N(`location`, σ²/`weight`).

    By itself the mean is Student's t with 2·`shape` degrees of freedom about `location`, of scale
    √(`scale`/(`shape`·`weight`)). Source: Gelman et al. (2013), Bayesian Data Analysis, section 3.3, with κ = `weight`,
    ν/2 = `shape`, νσ²/2 = `scale`.

    >>> Gaussian(0.0, 1.0, 1.0, 1.0).updated(2.0)
    Gaussian(location=1.0, weight=2.0, shape=1.5, scale=2.0)
    """

    location: float
    weight: float
    shape: float
    scale: float

    def __post_init__(self) -> None:
        finite("location", self.location)
        for name in ("weight", "shape", "scale"):
            positive(name, getattr(self, name))

    def updated(self, reward: float | Rewards) -> Gaussian:
        """What is believed after a reward, or after many."""
        told = reward if isinstance(reward, Rewards) else Rewards(1.0, finite("a reward", reward))
        weight = self.weight + told.n
        apart = told.mean - self.location
        return Gaussian(
            self.location + apart * told.n / weight,
            weight,
            self.shape + told.n / 2,
            self.scale + told.m2 / 2 + apart * apart * self.weight * told.n / (2 * weight),
        )

    @property
    def mean(self) -> float:
        """Where the mean is believed to lie."""
        return self.location

    def draw(self, rng: Draws) -> float:
        """A mean that may be the true one: one `gammavariate`, then one `gauss`."""
        precision = rng.gammavariate(self.shape, 1.0 / self.scale)
        # A precision that has left the range of a number is that of a variance beyond it.
        return rng.gauss(self.location, 1.0 / math.sqrt(max(precision, 1e-300) * self.weight))

    @property
    def parameters(self) -> dict[str, float]:
        """Its numbers by name, as a definition writes them."""
        return {"mean": self.location, "weight": self.weight, "shape": self.shape, "scale": self.scale}


@dataclass(frozen=True, slots=True)
class GammaPoisson:
    """A rate of counts: Gamma(`shape`, `rate`). What is not negative is taken, and taken to vary as counts do.

    Of other amounts, such as costs, the variance is then believed to be as large as the mean, in the unit in which they are
    written: in dollars of a cent it is believed larger than it is, and the bandit learns slowly; `gaussian` learns it.
    Source: Gelman et al. (2013), Bayesian Data Analysis, section 2.6.

    >>> GammaPoisson(1.0, 1.0).updated(Rewards.of([3, 2]))
    GammaPoisson(shape=6.0, rate=3.0)
    """

    shape: float
    rate: float

    def __post_init__(self) -> None:
        positive("shape", self.shape)
        positive("rate", self.rate)

    def updated(self, reward: float | Rewards) -> GammaPoisson:
        """What is believed after a reward, or after many. UsageError for one below 0, where it can be told."""
        told = reward if isinstance(reward, Rewards) else Rewards(1.0, finite("a reward", reward))
        if told.mean < 0:
            raise UsageError(f"a count is not negative, and this reward is {told.mean:g}; play a gaussian")
        return GammaPoisson(self.shape + told.total, self.rate + told.n)

    @property
    def mean(self) -> float:
        """The expected rate."""
        return self.shape / self.rate

    def draw(self, rng: Draws) -> float:
        """A rate that may be the true one: one `gammavariate`."""
        return rng.gammavariate(self.shape, 1.0 / self.rate)

    @property
    def parameters(self) -> dict[str, float]:
        """Its numbers by name, as a definition writes them."""
        return {"shape": self.shape, "rate": self.rate}


Posterior: TypeAlias = BetaBernoulli | Gaussian | GammaPoisson


def prior_of(model: str, prior: Mapping[str, float]) -> Posterior:
    """What is believed at first, by the words of a definition. UsageError for a model or a number that is not known.

    >>> prior_of("gamma_poisson", {"shape": 1.0, "rate": 0.25})
    GammaPoisson(shape=1.0, rate=0.25)
    """
    try:
        if model == "beta_bernoulli":
            return BetaBernoulli(prior["alpha"], prior["beta"])
        if model == "gaussian":
            return Gaussian(prior["mean"], prior["weight"], prior["shape"], prior["scale"])
        if model == "gamma_poisson":
            return GammaPoisson(prior["shape"], prior["rate"])
    except KeyError as error:
        raise UsageError(f"the prior of {model} has no {error}") from None
    raise UsageError(f"there is no model '{model}'; accepted: beta_bernoulli, gaussian, gamma_poisson")
