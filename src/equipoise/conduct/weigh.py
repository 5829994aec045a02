"""Weigh: a bandit's matured rewards are counted, and what the policy makes of them are the shares of a new epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from equipoise.assignment.epochs import LEAD
from equipoise.clock import Clock
from equipoise.conduct.move import share_out
from equipoise.conduct.moving import moving
from equipoise.errors import GateError
from equipoise.events.log import EventLog, StaleHeadError
from equipoise.experiment.bandit import Bandit
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import control_first
from equipoise.measurement.rewards import ArmRewards, rewards_of_log
from equipoise.rollout.weights import next_weights
from equipoise.stats.bandits.posteriors import Posterior, prior_of
from equipoise.stats.bandits.probabilities import best_probabilities, policy_probabilities, shares_of

__all__ = ["Weighed", "next_shares", "weigh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What became of a bandit's shares: the `epoch` that was opened (None: none, and `because` says why), when it starts.

    `shares` are exact fractions as text, `dropped` the arms that went with it, and `evidence` what all that rests on, as it
    stands in the ledger.
    """

    experiment: str
    epoch: int | None = None
    starts: float | None = None
    shares: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    because: str | None = None


def weigh(log: EventLog, name: str, *, by: str, if_due: bool = False, clock: Clock | None = None) -> Weighed:
    """Open an epoch with the shares that the rewards so far say, where they say others than there are.

    With `if_due` only where the last epoch has lasted for as long as the bandit says. Any number may call it: an epoch is
    opened once, by whoever was first, and the others find it open. An arm that the drop rule says goes is removed as by
    `remove`, and its units are counted. Nothing is opened where no reward is matured yet, or where a move came between
    (a pause, an operator's own shares): `because` says so.

    Raises GateError for an experiment that is no bandit, DataError for rewards that are not what their kind says,
    RecordError where nothing is registered under the name.
    """
    at = moving(log, name, by, None, clock)
    bandit, identity = at.experiment.bandit, at.experiment.identity
    if bandit is None:
        raise GateError(f"{identity} is no bandit; `reweight` gives it other shares")
    due = next_weights(at.experiment, at.state)
    if isinstance(due, str):
        return Weighed(experiment=identity, because=due)
    # Announced so long before it starts.
    if if_due and at.now < due - LEAD:
        return Weighed(experiment=identity, because="the epoch is not over yet")
    if next(log.read_since(0, experiment=name, kinds=("exposure",)), None) is None:
        return Weighed(experiment=identity, because="nobody is exposed yet")
    found = rewards_of_log(at.experiment, log, until=at.head)
    arms = sorted(at.shares, key=control_first)
    if not any(found[arm].matured for arm in arms):
        return Weighed(experiment=identity, because="no reward is matured yet")
    shares, dropped, decided = next_shares(at.experiment, {arm: found[arm] for arm in arms})
    evidence = {**decided, "position": at.head}
    told = {arm: str(share) for arm, share in shares.items()}
    if told == dict(at.shares):
        return Weighed(
            experiment=identity, shares=told, evidence=evidence, because="the shares stay as they are"
        )
    try:
        moved = share_out(at, shares, evidence=evidence)
    except StaleHeadError:
        return Weighed(experiment=identity, because="somebody else moved it meanwhile")
    return Weighed(
        experiment=identity,
        epoch=moved.epoch,
        starts=moved.starts,
        shares=told,
        dropped=dropped,
        evidence=evidence,
    )


def next_shares(
    experiment: Experiment, found: Mapping[str, ArmRewards]
) -> tuple[dict[str, Fraction], tuple[str, ...], dict[str, Any]]:
    """The shares that the policy gives the arms of `found` which stay, the arms that go, and what that rests on."""
    bandit = experiment.bandit
    assert bandit is not None
    lower = experiment.metric(bandit.reward).better == "lower"
    prior = prior_of(bandit.model, bandit.prior)
    believed = {arm: prior.updated(each.rewards) for arm, each in found.items()}
    best = dict(zip(believed, best_probabilities([*believed.values()], lower=lower), strict=True))
    dropped = _dropped(bandit, experiment.control.name, best, found)
    kept = {arm: posterior for arm, posterior in believed.items() if arm not in dropped}
    played = dict(
        zip(
            kept,
            policy_probabilities(
                bandit.policy,
                [*kept.values()],
                [found[arm].rewards for arm in kept],
                leader=float(bandit.leader),
                epsilon=float(bandit.epsilon),
                lower=lower,
            ),
            strict=True,
        )
    )
    evidence: dict[str, Any] = {
        "policy": bandit.policy,
        "reward": bandit.reward,
        "model": bandit.model,
        "arms": {arm: _told(found[arm], believed[arm], best[arm], played.get(arm)) for arm in found},
    }
    if dropped:
        evidence["dropped"] = [*dropped]
    return shares_of(played, bandit.explore), dropped, evidence


def _told(found: ArmRewards, believed: Posterior, best: float, played: float | None) -> dict[str, Any]:
    return {
        "matured": found.matured,
        "missing": found.missing,
        "pending": found.pending,
        "counted": found.rewards.n,
        "mean": found.rewards.mean if found.rewards.n else None,
        "posterior": believed.parameters,
        "best": best,
        "played": played,
    }


def _dropped(
    bandit: Bandit, control: str, best: Mapping[str, float], found: Mapping[str, ArmRewards]
) -> tuple[str, ...]:
    """The treatments that the rule says go. Control stays, for it is what their units are served, and one treatment does."""
    if bandit.drop is None:
        return ()
    treatments = sorted((arm for arm in best if arm != control), key=lambda arm: (best[arm], arm))
    beaten = [
        arm
        for arm in treatments[:-1]
        if best[arm] < bandit.drop.below and found[arm].matured >= bandit.drop.after
    ]
    return tuple(sorted(beaten))
