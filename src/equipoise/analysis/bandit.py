"""A bandit's read-out: honest estimates by epoch, at boundaries that hold whenever somebody looks, and the best arm."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import ndtr

from equipoise.analysis.bandit_effects import Epochs
from equipoise.analysis.bandit_findings import BanditArm, BanditFindings, EpochShares, Pair
from equipoise.analysis.declared import declared
from equipoise.analysis.findings import Effect, Findings
from equipoise.analysis.health import check_health
from equipoise.analysis.looks import LookState, PastLook
from equipoise.errors import UsageError
from equipoise.experiment.bandit import Bandit
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.tally import Measurement
from equipoise.stats.anytime.normal_mixture import Mixture
from equipoise.stats.bandits.posteriors import Rewards, prior_of
from equipoise.stats.bandits.probabilities import best_probabilities
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["PLANNED_UNITS", "analyse_bandit"]

PLANNED_UNITS = 10_000
"""Where no plan says how many units there will be, the intervals that hold at every look are narrowest at so many."""

_SURELY = 7.0
_CANARY = "the units are those of the canary, which are no part of the estimate"


def analyse_bandit(
    experiment: Experiment,
    measured: Measurement,
    *,
    planned: float | NotEstimable,
    past: Sequence[PastLook] = (),
    closing: bool = False,
) -> Findings:
    """What a bandit shows now.

    `planned` is the number of units that the plan registered. Every interval that decides is a confidence sequence, so that
    a look is due whenever somebody looks, from the first few units of every arm on. `closing` says that no more data will
    come.
    """
    assert experiment.bandit is not None
    units = PLANNED_UNITS if isinstance(planned, NotEstimable) else planned
    pairs = len(experiment.variants) - 1
    choosing = Mixture.tuned(units, level=1.0 - experiment.bandit.stop.error / pairs)
    guarding = Mixture.tuned(units, level=1.0 - experiment.plan.alpha)
    epochs = Epochs.of(experiment, measured)
    health = check_health(experiment, measured, repeated=True)
    early = _CANARY if measured.aside.in_canary else epochs.too_few(experiment.primary)
    look = _look(experiment, epochs, choosing, guarding, units, past, closing=closing, early=early)
    healthy = all(check.status != "invalid" for check in health)
    playing = epochs.playing
    return Findings(
        experiment=experiment.identity,
        hypothesis=experiment.hypothesis,
        measurement=measured,
        health=health,
        look=look,
        effects=_effects(experiment, epochs, choosing, guarding) if healthy else (),
        treatments=tuple(each.name for each in experiment.treatments if each.name in playing),
        past=tuple(past),
        declared=declared(experiment),
        immature=sum(tally.immature for tally in measured.tallies[experiment.primary.name].values()),
        rule=experiment.verdict,
        bandit=_arms(experiment, measured, epochs, choosing) if healthy else None,
    )


def _look(
    experiment: Experiment,
    epochs: Epochs,
    choosing: Mixture,
    guarding: Mixture,
    planned: float,
    past: Sequence[PastLook],
    *,
    closing: bool,
    early: str | None,
) -> LookState:
    seen = epochs.clock(experiment.primary)
    at = max(seen, 1)
    says = (
        f"{seen:,} units in {len(epochs.rows):,} epoch{'' if len(epochs.rows) == 1 else 's'}; the intervals hold whenever "
        f"somebody looks, and are narrowest at {planned:,.0f} units"
    )
    if closing:
        says += "; no more data will come"
    elif early:
        says = f"a peek, since {early}; {says}"
    return LookState(
        due=closing or early is None,
        final=closing,
        number=len(past) + 1,
        of=1,
        fraction=seen / planned,
        at=at / planned,
        boundary=_boundary(choosing, at),
        guard_boundary=_boundary(guarding, at),
        says=says,
    )


def _boundary(mixture: Mixture, clock: int) -> float:
    """The |z| that rejects at so many units; beyond seven standard errors chance has no part in it."""
    return min(mixture.boundary(max(clock, 1)), _SURELY)


def _level(mixture: Mixture, clock: int) -> float:
    """The level of one look whose interval is that of the sequence."""
    return 1.0 - 2.0 * float(ndtr(-_boundary(mixture, clock)))


def _effects(
    experiment: Experiment, epochs: Epochs, choosing: Mixture, guarding: Mixture
) -> tuple[Effect, ...]:
    found = []
    for metric in experiment.metrics:
        mixture = choosing if metric.priority == "primary" else guarding
        for treatment in experiment.treatments:
            level = _level(mixture, epochs.clock(metric, "control", treatment.name))
            found.append(epochs.effect(metric, treatment.name, level=level))
    for number, segment in enumerate(experiment.critical_segments):
        metric = experiment.metric(segment.metric)
        within = epochs.within(number)
        for treatment in experiment.treatments:
            level = _level(guarding, within.clock(metric, "control", treatment.name))
            found.append(within.effect(metric, treatment.name, level=level, segment=segment))
    return tuple(found)


def _arms(experiment: Experiment, measured: Measurement, epochs: Epochs, choosing: Mixture) -> BanditFindings:
    assert experiment.bandit is not None
    reward = experiment.metric(experiment.bandit.reward)
    believed = _believed(experiment.bandit, reward, epochs)
    arms = tuple(
        BanditArm(
            variant=variant.name,
            share=epochs.share(variant.name),
            units=measured.tallies[reward.name][variant.name].units,
            pending=measured.tallies[reward.name][variant.name].immature,
            naive=epochs.naive(reward, variant.name),
            mean=epochs.mean(reward, variant.name),
            best=believed.get(variant.name),
        )
        for variant in experiment.variants
    )
    leader = _leader(reward, arms)
    against = tuple(
        _pair(reward, leader, arm.variant, epochs, choosing)
        for arm in arms
        if leader is not None and arm.in_play and arm.variant != leader
    )
    shown = bool(against) and all(pair.better for pair in against)
    return BanditFindings(
        reward=reward.name,
        kind=reward.kind,
        better=reward.better,
        error=experiment.bandit.stop.error,
        arms=arms,
        leader=leader,
        against=against,
        best=leader if shown else None,
        regret=_regret(reward, arms, leader),
        epochs=tuple(
            EpochShares(row.number, row.starts, sum(row.units.values()), row.shares)
            for row in measured.epochs
            if row.shares is not None
        ),
    )


def _believed(bandit: Bandit, reward: Metric, epochs: Epochs) -> dict[str, float]:
    """The posterior probability of being best of each arm in play, by the bandit's own model, prior and half-life.

    It is what the shares follow: a belief, and no error rate. Empty where the rewards are not what the model is of.
    """
    arms = sorted(epochs.playing)
    starts = [row.starts for row in epochs.rows]
    rewards = dict.fromkeys(arms, Rewards())
    for row, batch in zip(epochs.rows, epochs.batches(reward), strict=True):
        weight = 1.0
        if bandit.half_life is not None and row.starts is not None and starts[-1] is not None:
            weight = 0.5 ** ((starts[-1] - row.starts) / bandit.half_life)
        for arm in arms:
            if arm in batch.moments:
                found = batch.moments[arm]
                rewards[arm] += Rewards(float(found.n), found.mean, found.m2).times(weight)
    prior = prior_of(bandit.model, bandit.prior)
    try:
        posteriors = [prior.updated(rewards[arm]) for arm in arms]
        chances = best_probabilities(posteriors, lower=reward.better == "lower")
    except (UsageError, ArithmeticError):
        return {}
    return dict(zip(arms, chances, strict=True))


def _leader(reward: Metric, arms: Sequence[BanditArm]) -> str | None:
    """The arm in play with the best estimate; None where an arm in play has none, so that nobody knows."""
    playing = [(arm.variant, arm.mean) for arm in arms if arm.in_play]
    values = {name: reward.sign * mean.value for name, mean in playing if isinstance(mean, Estimate)}
    return max(values, key=lambda name: values[name]) if values and len(values) == len(playing) else None


def _pair(reward: Metric, arm: str | None, other: str, epochs: Epochs, choosing: Mixture) -> Pair:
    assert arm is not None
    level = _level(choosing, epochs.clock(reward, arm, other))
    found = epochs.difference(reward, arm, other, level=level)
    better = (
        isinstance(found, Estimate)
        and found.p_value is not None
        and found.p_value <= 1.0 - level
        and reward.sign * found.value > 0.0
    )
    return Pair(arm=arm, other=other, estimate=found, better=better)


def _regret(reward: Metric, arms: Sequence[BanditArm], leader: str | None) -> float | NotEstimable:
    """What the units of the other arms would have earned more in the leader, by the honest means."""
    means = {arm.variant: arm.mean for arm in arms}
    best = means.get(leader or "")
    if not isinstance(best, Estimate):
        return NotEstimable("it is not known which arm leads")
    missed = 0.0
    for arm in arms:
        mean = means[arm.variant]
        if isinstance(mean, NotEstimable):
            if arm.units:
                return NotEstimable(f"{arm.variant} has no estimate: {mean.reason}")
            continue
        missed += arm.units * reward.sign * (best.value - mean.value)
    return missed
