"""Off-policy promises: intervals from another policy's log hold what the policy would have earned.

Each simulation is seeded and states its replications. The tolerance is that of a binomial count at |z| = 4, so that
over all seeds one check in 16,000 would raise a false alarm.
"""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest

from equipoise.stats.adaptive.off_policy import OffPolicy, off_policy
from equipoise.stats.estimate import Estimate

PROMISED = 0.01
LOGGING = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
TARGET = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
RATES = np.array([[0.1, 0.2, 0.3], [0.4, 0.2, 0.1]])
TRUTH = float((TARGET * RATES).sum(axis=1).mean())


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def evaluated(rng: np.random.Generator, rows: int, *, per_user: int = 1, wrong: float = 0.0) -> OffPolicy:
    """Rows in two contexts with three actions, evaluated with a model that is off by `wrong`.

    A user has `per_user` rows, the same context, and a liking of their own.
    """
    users = rows // per_user
    context = np.repeat(rng.integers(0, 2, users), per_user)
    liking = np.repeat(rng.normal(0.0, 0.1 if per_user > 1 else 0.0, users), per_user)
    action = (rng.random(rows)[:, None] > LOGGING[context].cumsum(axis=1)).sum(axis=1)
    rewards = rng.random(rows) < np.clip(RATES[context, action] + liking, 0.0, 1.0)
    model = RATES + wrong * np.array([1.0, -1.0, 1.0])
    return off_policy(
        rewards.astype(float),
        LOGGING[context, action],
        TARGET[context, action],
        predicted=model[context, action],
        expected=(TARGET * model).sum(axis=1)[context],
        clusters=np.repeat(np.arange(users), per_user) if per_user > 1 else None,
    )


def shares(replications: int, seed: int, rows: int = 1_000, **how: float) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    held: dict[str, list[bool]] = {}
    for _ in range(replications):
        found = evaluated(rng, rows, **how)  # type: ignore[arg-type]
        for name in ("inverse_propensity", "self_normalised", "direct", "doubly_robust"):
            each = getattr(found, name)
            assert isinstance(each, Estimate)
            held.setdefault(name, []).append(each.low <= TRUTH <= each.high)
    return {name: fmean(each) for name, each in held.items()}


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_weighted_estimates_cover_whatever_the_model(wrong: float) -> None:
    """3,000 logs of 1,000 rows: weights cover 95 ± 1 %, with a model that is right or off by a tenth; the direct method
    alone does not once its model is off.
    """
    found = shares(3_000, seed=1, wrong=wrong)
    modelled = found.pop("direct")
    for name, share in found.items():
        assert share == pytest.approx(0.95, abs=PROMISED + tolerance(0.95, 3_000)), name
    assert (modelled < 0.8) == (wrong > 0.0)


def test_rows_of_one_user_belong_together() -> None:
    """2,000 logs of 200 users with ten rows each: clustered intervals cover 95 ± 1 % of the time."""
    found = shares(2_000, seed=2, rows=2_000, per_user=10)
    found.pop("direct")
    for name, share in found.items():
        assert share == pytest.approx(0.95, abs=PROMISED + tolerance(0.95, 2_000)), name


def test_a_model_narrows_the_interval() -> None:
    """200 logs: with a model that is right the doubly robust interval is narrower than plain weights by a tenth or more."""
    rng = np.random.default_rng(3)
    found = [evaluated(rng, 1_000) for _ in range(200)]
    plain = fmean(each.inverse_propensity.standard_error for each in found)  # type: ignore[union-attr]
    robust = fmean(each.doubly_robust.standard_error for each in found)  # type: ignore[union-attr]
    assert robust < 0.9 * plain
