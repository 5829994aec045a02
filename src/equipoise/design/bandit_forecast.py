"""What a bandit would do: the rewards it would lose and whom it would expose, beside even shares, by a short simulation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.experiment.bandit import Bandit
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.stats.bandits.posteriors import Rewards
from equipoise.stats.bandits.probabilities import kl_ucb_probabilities, top_two_probabilities
from equipoise.stats.estimate import NotEstimable

__all__ = ["BanditForecast", "forecast_bandit", "when_it_fits"]

DAY = 86_400.0
_RUNS = 200
_DRAWS = 200
_STEPS = 60
"""Epochs are taken together so that there are no more than this: with fewer of them a bandit learns later, not sooner."""

_FITS = (
    "a bandit fits where the reward meanwhile counts, is known soon, and many arms are tried; where a clean estimate is "
    "wanted, or what becomes of it in the long run, an A/B test does"
)

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditForecast:
    """What is to be expected where one treatment is better than the other arms by the planned effect, over so many `units`.

    `lost` and `lost_evenly` are rewards that fewer came, in sum, than had the best arm been played all the time, by the
    bandit and with even shares (in the metric's own unit times units; positive is worse). `worse` and `worse_evenly` are the
    shares of the units that came to a worse arm. `found` is how often the best arm had the best mean at the end. `epochs` is
    how often shares change. All are means over `runs` simulated runs, drawn with `seed`.
    """

    units: int
    days: float
    epochs: int
    effect: float
    lost: float
    lost_evenly: float
    worse: float
    worse_evenly: float
    found: float
    runs: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def forecast_bandit(
    experiment: Experiment, *, units: int | None, units_per_day: float | None, seed: int = 1
) -> BanditForecast | NotEstimable:
    """Simulate a bandit over so many units, by default those that an A/B test of it would need (`plan`).

    Control and all treatments but one are at the reward's baseline, that one is better by its `mde`; units of an epoch
    come in its shares, and are known once the reward's window is over. The drop rule is left out. Not estimable without
    a baseline, an effect, traffic, or (for means) a spread, and where the effect takes the reward out of its range. Errors:
    UsageError for an experiment that is no bandit.
    """
    bandit = experiment.bandit
    if bandit is None:
        raise UsageError(f"{experiment.identity} is no bandit")
    metric = experiment.metric(bandit.reward)
    if metric.baseline is None or metric.mde is None:
        lacking = "`baseline`" if metric.baseline is None else "`mde`"
        return NotEstimable(f"{metric.name} has no {lacking}, from which a bandit could be simulated")
    if units_per_day is None or units is None:
        return NotEstimable("no traffic is given; say `units_per_day` in the plan, or --units-per-day")
    if metric.kind != "proportion" and bandit.model == "gaussian" and metric.spread is None:
        return NotEstimable(f"{metric.name} has no `spread`, by which units differ")
    effect = metric.mde.of(metric.baseline)
    best = metric.baseline + metric.sign * effect
    if metric.kind == "proportion" and not 0 < best < 1:
        return NotEstimable(f"{metric.name} would be {best:.4g}, and a rate lies between 0 and 1")
    if bandit.model == "gamma_poisson" and not (metric.baseline > 0 and best > 0):
        return NotEstimable(
            f"{metric.name} would be {min(best, metric.baseline):.4g}, and counts are above 0"
        )
    days = units / units_per_day
    epochs = max(1, math.ceil(days * DAY / bandit.every))
    arms = len(experiment.variants)
    means = np.full(arms, metric.baseline)
    means[-1] = best
    steps = min(_STEPS, epochs)
    played, means_seen = _simulate(bandit, metric, means, units, days * DAY / steps, steps, seed)
    lost = float((played * np.abs(best - means)).sum(axis=1).mean())
    return BanditForecast(
        units=units,
        days=days,
        epochs=epochs,
        effect=effect,
        lost=lost,
        lost_evenly=units * effect * (arms - 1) / arms,
        worse=float(1.0 - played[:, -1].mean() / units),
        worse_evenly=(arms - 1) / arms,
        found=float(((metric.sign * means_seen).argmax(axis=1) == arms - 1).mean()),
        runs=_RUNS,
        seed=seed,
    )


def _simulate(
    bandit: Bandit, metric: Metric, means: Numbers, units: int, length_s: float, steps: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Units of each run by arm, and the mean reward of those that are known at the end; a step is one epoch or several."""
    rng = np.random.default_rng(seed)
    shape = (_RUNS, means.size)
    late = math.ceil((metric.window or 0.0) / length_s)
    fade = 1.0 if bandit.half_life is None else 0.5 ** (length_s / bandit.half_life)
    shares = np.full(shape, 1.0 / means.size)
    played = np.zeros(shape)
    known = [np.zeros(shape) for _ in range(3)]
    waiting: list[tuple[Numbers, ...]] = []
    explore = float(bandit.explore)
    for step in range(steps):
        came = (step + 1) * units // steps - step * units // steps
        n = rng.multinomial(np.full(_RUNS, came), shares).astype(np.float64)
        played += n
        waiting.append(_rewards(rng, bandit, metric, means, n))
        known = [each * fade for each in known]
        if len(waiting) > late:
            known = [old + new for old, new in zip(known, waiting.pop(0), strict=True)]
        chosen = _chosen(rng, bandit, metric.better == "lower", known)
        shares = explore + (1.0 - explore * means.size) * chosen
        shares /= shares.sum(axis=1, keepdims=True)
    n, total, _ = known
    return played, np.divide(total, n, out=np.full(shape, metric.baseline or 0.0), where=n > 0)


def _rewards(
    rng: np.random.Generator, bandit: Bandit, metric: Metric, means: Numbers, n: Numbers
) -> tuple[Numbers, ...]:
    """Number, sum and sum of squares of the rewards of so many units."""
    if metric.kind == "proportion":
        total = rng.binomial(n.astype(np.int64), means).astype(np.float64)
        return n, total, total
    if bandit.model == "gamma_poisson":
        total = rng.poisson(n * means).astype(np.float64)
        return n, total, total
    spread = metric.spread or 0.0
    total = n * means + rng.standard_normal(n.shape) * spread * np.sqrt(n)
    squares = spread**2 * rng.chisquare(np.maximum(n - 1, 1)) * (n > 1)
    mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    return n, total, squares + n * mean**2


def _chosen(rng: np.random.Generator, bandit: Bandit, lower: bool, known: list[Numbers]) -> Numbers:
    """With what probability the policy plays each arm of each run."""
    n, total, squares = known
    arms = n.shape[1]
    if bandit.policy == "ucb":
        found = [
            kl_ucb_probabilities(
                [Rewards(float(a), float(b / a) if a else 0.0) for a, b in zip(*of, strict=True)], lower=lower
            )
            for of in zip(n, total, strict=True)
        ]
        return np.array(found)
    centre, drawn = _believed(rng, bandit, n, total, squares)
    if bandit.policy == "epsilon_greedy":
        first = centre.argmin(axis=1) if lower else centre.argmax(axis=1)
        epsilon = float(bandit.epsilon)
        greedy: Numbers = epsilon / arms + (1.0 - epsilon) * np.eye(arms)[first]
        return greedy
    winners = drawn.argmin(axis=2) if lower else drawn.argmax(axis=2)
    best: Numbers = np.stack([(winners == arm).mean(axis=0) for arm in range(arms)], axis=1)
    if bandit.policy == "thompson":
        return best
    return np.array([top_two_probabilities([float(p) for p in each], float(bandit.leader)) for each in best])


def _believed(
    rng: np.random.Generator, bandit: Bandit, n: Numbers, total: Numbers, squares: Numbers
) -> tuple[Numbers, Numbers]:
    """The posterior's mean of each arm, and draws from it."""
    prior, size = bandit.prior, (_DRAWS, *n.shape)
    if bandit.model == "beta_bernoulli":
        a, b = prior["alpha"] + total, prior["beta"] + n - total
        return a / (a + b), rng.beta(a, b, size=size)
    if bandit.model == "gamma_poisson":
        shape, rate = prior["shape"] + total, prior["rate"] + n
        return shape / rate, rng.gamma(shape, 1.0 / rate, size=size)
    weight = prior["weight"] + n
    centre = (prior["weight"] * prior["mean"] + total) / weight
    mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    apart = prior["weight"] * n * (mean - prior["mean"]) ** 2 / (2 * weight)
    shape = prior["shape"] + n / 2
    scale = prior["scale"] + np.maximum(squares - n * mean**2, 0.0) / 2 + apart
    return centre, centre + np.sqrt(scale / (shape * weight)) * rng.standard_t(2 * shape, size=size)


def when_it_fits(experiment: Experiment, *, units_per_day: float | None = None) -> tuple[str, ...]:
    """When a bandit fits and when it does not, and what of this one speaks against it, a sentence each.

    Errors: UsageError for an experiment that is no bandit.
    """
    bandit = experiment.bandit
    if bandit is None:
        raise UsageError(f"{experiment.identity} is no bandit")
    metric, arms = experiment.metric(bandit.reward), len(experiment.variants)
    said = [_FITS]
    if metric.window is not None and metric.window >= bandit.every:
        number = math.ceil(metric.window / bandit.every)
        behind = "epoch" if number == 1 else f"{number:,} epochs"
        said.append(
            f"{metric.name} is known after {_span(metric.window)} and shares change every {_span(bandit.every)}: each epoch "
            f"begins without what the last {behind} will have told, and no `every` makes it learn sooner than rewards come"
        )
    if metric.window is not None and metric.window >= 7 * DAY:
        said.append(
            f"{metric.name} takes {_span(metric.window)} to be known: an A/B test has its answer hardly later, and a clean "
            "one"
        )
    if arms == 2:
        said.append(
            "with two arms an A/B test gives half of the units the better one anyway; a bandit saves more where there are "
            "more arms"
        )
    if units_per_day is not None:
        least = float(bandit.explore) * units_per_day * bandit.every / DAY
        if least * arms < 1 or units_per_day * bandit.every / DAY < 10 * arms:
            an_epoch = units_per_day * bandit.every / DAY
            said.append(
                f"about {an_epoch:.3g} units come in an epoch, among {arms} arms: a longer `every` loses nothing"
            )
    least = float(bandit.explore)
    lean = 1.0 / (least * arms)
    if experiment.guardrails and lean > 1.5:
        named = ", ".join(each.name for each in experiment.guardrails)
        said.append(
            f"an arm with {100.0 * least:.3g}% of the units takes {lean:.3g} times as long as with even shares to "
            f"show what {named} is"
        )
    return tuple(said)


def _span(seconds: float) -> str:
    """A duration in the largest unit that leaves a short number."""
    for length, unit in ((DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
