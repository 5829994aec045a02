"""Guardrails in shadow: how often a margin that is just kept is called broken, and one that is broken is seen.

Conversations of one to eight turns, alike within and between arms: each has a pace of its own, and one that only the treatment
meets. Seeded. A two-sided 95 % interval puts 2.5 % beyond each end, so a treatment exactly at its margin is called breached
in 2.5 % of the read-outs; the tolerance is that of a binomial count at |z| = 4, so that one check in 30,000 would raise a
false alarm, and to it is added 1 % for the skewness of samples of this size. The usual run has 200 read-outs of each kind,
the long one 600.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from equipoise.analysis.shadowed import guard_in_shadow, paired_effect
from equipoise.events.facts import Shadow, Turn
from equipoise.experiment.amount import Amount
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.pairs import Pair
from equipoise.stats.estimate import Estimate

SKEW = 0.01
often = pytest.mark.parametrize("replications", [200, pytest.param(600, marks=pytest.mark.long)])


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def pairs(
    rng: np.random.Generator,
    conversations: int,
    values: Callable[[np.random.Generator, int], list[dict[str, Any]]],
) -> list[Pair]:
    """Pairs of so many conversations; `values` gives what is measured of the turns of one, control's and the treatment's."""
    found = []
    for number in range(conversations):
        for told in values(rng, int(rng.integers(1, 9))):
            common: dict[str, Any] = {
                "experiment": "e",
                "happened": 0.0,
                "unit": f"c{number}",
                "event_id": "t",
            }
            found.append(
                Pair(Turn(**common, **told["control"]), Shadow(**common, variant="b", **told["treatment"]))
            )
    return found


def slower(factor: float) -> Callable[[np.random.Generator, int], list[dict[str, Any]]]:
    """Log-normal latencies, the treatment's longer by a factor on the whole, and by another in each conversation."""

    def values(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
        shared, own = 0.4 * rng.normal(), 0.2 * rng.normal()
        return [
            {
                "control": {"latency_s": math.exp(shared + 0.3 * rng.normal())},
                "treatment": {"latency_s": factor * math.exp(shared + own + 0.3 * rng.normal())},
            }
            for _ in range(turns)
        ]

    return values


def failing(control: float, treatment: float) -> Callable[[np.random.Generator, int], list[dict[str, Any]]]:
    """Errors, of which a conversation has more or fewer: Beta-distributed rates, with four turns' worth of likeness."""

    def values(rng: np.random.Generator, turns: int) -> list[dict[str, Any]]:
        rates = {
            arm: rng.beta(4 * rate, 4 * (1 - rate))
            for arm, rate in (("control", control), ("treatment", treatment))
        }
        return [
            {arm: {"error": bool(rng.random() < rate)} for arm, rate in rates.items()} for _ in range(turns)
        ]

    return values


def breaches(
    metric: Metric,
    values: Callable[[np.random.Generator, int], list[dict[str, Any]]],
    seed: int,
    replications: int,
    conversations: int = 60,
) -> float:
    rng = np.random.default_rng(seed)
    held = [guard_in_shadow(metric, "b", pairs(rng, conversations, values)).held for _ in range(replications)]
    return held.count("breached") / replications


def metric(kind: Any, of: str, margin: float, **more: Any) -> Metric:
    return Metric(name="m", priority="guardrail", tier="code", kind=kind, of=Quantity.parse(of), better="lower",
                  per_unit="mean", margin=Amount(margin), **more)  # fmt: skip


@often
def test_the_interval_of_a_mean_difference_covers(replications: int) -> None:
    """Sixty conversations: 95 %, two points less at most beside the tolerance."""
    rng = np.random.default_rng(11)
    factor = 1.1
    # E exp(a·Z) = exp(a²/2): 0.4² + 0.3² of control's, 0.2² more of the treatment's.
    truth = factor * math.exp(0.29 / 2) - math.exp(0.25 / 2)
    covered = 0
    for _ in range(replications):
        found = paired_effect("latency_s", "b", pairs(rng, 60, slower(factor))).estimate
        assert isinstance(found, Estimate)
        covered += found.low <= truth <= found.high
    assert covered / replications == pytest.approx(0.95, abs=0.02 + tolerance(0.95, replications))


@often
def test_errors_at_the_margin_are_seldom_called_a_breach_and_errors_beyond_it_are(replications: int) -> None:
    """2 % against 7 % at a margin of five points: at most 2.5 %; 2 % against 30 %: nearly always."""
    guard = metric("proportion", "turn.error", 0.05)
    assert breaches(guard, failing(0.02, 0.07), 12, replications) <= 0.025 + SKEW + tolerance(
        0.025, replications
    )
    assert breaches(guard, failing(0.02, 0.30), 13, replications) >= 0.95 - tolerance(0.95, replications)


@often
def test_latencies_at_the_margin_are_seldom_called_a_breach_and_twice_as_slow_is_seen(
    replications: int,
) -> None:
    """The 95th percentile, whose sides count as independent: fewer than 2.5 % at the margin; a doubled one nearly always."""
    q95 = {factor: float(np.quantile(_latencies(factor), 0.95)) for factor in (1.0, 1.2)}
    own = float(np.quantile(_latencies(1.0, own=0.2), 0.95))
    guard = metric("quantile", "turn.latency_s", 1.2 * own - q95[1.0], q=0.95)
    assert breaches(guard, slower(1.2), 14, replications) <= 0.025 + SKEW + tolerance(0.025, replications)
    doubled = metric("quantile", "turn.latency_s", 0.5, q=0.95)
    assert breaches(doubled, slower(2.0), 15, replications, conversations=120) >= 0.95 - tolerance(
        0.95, replications
    )


@often
def test_a_limit_that_is_just_met_is_seldom_called_passed_and_one_far_behind_is_seen(
    replications: int,
) -> None:
    """Errors, a mean and a 95th percentile exactly at the limit: at most 2.5 %; three times it: nearly always."""
    latency = {"mean": math.exp(0.29 / 2), "q95": float(np.quantile(_latencies(1.0, own=0.2), 0.95))}
    for seed, (kind, of, at, values, more) in enumerate(
        (
            ("proportion", "turn.error", 0.2, failing(0.02, 0.2), {}),
            ("mean", "turn.latency_s", latency["mean"], slower(1.0), {}),
            ("quantile", "turn.latency_s", latency["q95"], slower(1.0), {"q": 0.95}),
        )
    ):
        at_it = metric(kind, of, 99.0, limit=at, **more)
        assert breaches(at_it, values, 20 + seed, replications) <= 0.025 + SKEW + tolerance(
            0.025, replications
        )
        passed = metric(kind, of, 99.0, limit=at / 3, **more)
        assert breaches(passed, values, 30 + seed, replications, conversations=120) >= 0.95 - tolerance(
            0.95, replications
        )


def _latencies(factor: float, own: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    spread = math.sqrt(0.25 + own**2)
    return np.asarray(factor * np.exp(spread * rng.normal(size=2_000_000)))
