"""What another policy would have earned: each method's estimate, the overlap it rests on, and what to beware of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from equipoise.analysis.findings import describe
from equipoise.measurement.policies import PolicySums
from equipoise.stats.adaptive.off_policy import OffPolicy, direct, few, overlap, policy_value
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["Evaluation", "evaluate"]

_UNPLAYED, _MOSTLY = 0.01, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A policy's mean reward from somebody else's log.

    `values` are the estimates by method; `played` is what the log's own policy earned in the same rows, and `gain` how
    much more the evaluated one would have (doubly robust less what was earned, row by row). `unplayed` is the share of
    its plays of which the log has no row. `cautions` say what to beware of.
    """

    source: str
    policy: str
    reward: str
    values: OffPolicy
    played: Estimate | NotEstimable
    gain: Estimate | NotEstimable
    unplayed: float
    cautions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        found, seen = self.values, self.values.overlap
        return {
            "source": self.source,
            "policy": self.policy,
            "reward": self.reward,
            "values": {
                "inverse_propensity": describe(found.inverse_propensity),
                "self_normalised": describe(found.self_normalised),
                "direct": describe(found.direct),
                "doubly_robust": describe(found.doubly_robust),
            },
            "played": describe(self.played),
            "gain": describe(self.gain),
            "overlap": asdict(seen) | {"mean": describe(seen.mean), "unplayed": self.unplayed},
            "cautions": list(self.cautions),
        }


def evaluate(sums: PolicySums, *, reward: str, clustered: bool = False, level: float = 0.95) -> Evaluation:
    """The estimates of what was measured; none where log and policy hardly overlap, or most of its plays are not there."""
    seen = overlap(sums.weights, sums.largest, clusters=sums.weights_by_group if clustered else None)
    gain: Estimate | NotEstimable
    refused = None if seen.enough else few(seen)
    if sums.unplayed > _MOSTLY:
        refused = NotEstimable(
            f"of {sums.unplayed:.0%} of the policy's plays the log has no row, so that it says nothing of the policy"
        )
    if refused is None:
        robust = policy_value(sums.robust, method="doubly_robust", level=level)
        values = OffPolicy(
            inverse_propensity=policy_value(sums.weighted, method="inverse_propensity", level=level),
            self_normalised=policy_value(sums.normalised, method="self_normalised", level=level),
            direct=direct(sums.predicted, robust),
            doubly_robust=robust,
            overlap=seen,
        )
        gain = policy_value(sums.gained, method="doubly_robust", level=level)
    else:
        gain = refused
        values = OffPolicy(
            inverse_propensity=gain, self_normalised=gain, direct=gain, doubly_robust=gain, overlap=seen
        )
    return Evaluation(
        source=sums.source,
        policy=sums.policy,
        reward=reward,
        values=values,
        played=_played(sums, level),
        gain=gain,
        unplayed=sums.unplayed,
        cautions=tuple(_cautions(sums, values)),
    )


def _played(sums: PolicySums, level: float) -> Estimate | NotEstimable:
    """The plain mean: every row weighs 1 for the policy that played it."""
    found = policy_value(sums.played, method="inverse_propensity", level=level)
    return found if isinstance(found, NotEstimable) else replace(found, method="mean of what was earned")


def _cautions(sums: PolicySums, values: OffPolicy) -> list[str]:
    seen, said = values.overlap, []
    if seen.off:
        # Weights that are all the same have no interval, and the largest of them is their mean.
        mean = seen.mean.value if isinstance(seen.mean, Estimate) else seen.largest
        said.append(
            f"the weights average {mean:.3g} where 1 is right: the logged probabilities are not those that were "
            "played by, or the policy plays what the log could not"
        )
    if sums.unplayed > _UNPLAYED:
        said.append(
            f"{sums.unplayed:.1%} of the policy's plays have no row in the log: of those only the model says anything"
        )
    return said
