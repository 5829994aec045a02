"""What the gate promises of a pass rate: rarely a false alarm, seldom a missed harm, and a pass at its own number.

Cases differ in difficulty (beta), so that the answers of two arms to one case are alike; in clusters they
share it, and each arm has its own wobble there, so that the differences are alike, too. Each simulation is seeded and
states its replications. The tolerance is that of a binomial count at |z| = 4: over all seeds one check
in 30,000 would raise a false alarm. Long versions have more replications and more settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from equipoise.arena.gate import decide_criterion
from equipoise.arena.sizing import Pilot, detectable, needed_cases
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion, Show
from equipoise.stats.cases.pass_rates import difference_of_pass_rates, pass_rate_over_cases
from equipoise.stats.cases.worst_cases import difference_of_worst
from equipoise.stats.estimate import Estimate, NotEstimable

Decide = Callable[[np.ndarray, np.ndarray, np.ndarray | None], str]


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def gate(show: Show, margin: float = 0.05) -> Decide:
    criterion = Criterion(of="pass_rate", show=show, margin=Amount(margin))

    def decide(control: np.ndarray, treatment: np.ndarray, clusters: np.ndarray | None) -> str:
        found = difference_of_pass_rates(control, treatment, clusters)
        return decide_criterion(criterion, estimate=found, cases=control.size, level=0.95).decision

    return decide


def arms(
    rng: np.random.Generator, n: int, size: int, base: float, worse: float = 0.0, samples: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Shares of passes of both arms; `worse` is by how much the treatment's rate is lower in truth."""
    clusters = np.repeat(np.arange(-(-n // size)), size)[:n]
    groups = int(clusters[-1]) + 1
    easy = rng.beta(2 * base, 2 * (1 - base), groups)[clusters]
    # A third of a cluster's chance is each arm's own: it is drawn anew from the same distribution.
    chances = []
    for _ in range(2):
        own = rng.beta(2 * base, 2 * (1 - base), groups)[clusters]
        chances.append(np.where(rng.random(groups)[clusters] < 1 / 3, own, easy) if size > 1 else easy)
    control = rng.binomial(samples, chances[0]) / samples
    # Worse takes the same share of every case's chance to pass, better of every case's chance to fail.
    changed = (
        chances[1] * (1 - worse / base) if worse >= 0 else chances[1] - worse * (1 - chances[1]) / (1 - base)
    )
    treatment = rng.binomial(samples, changed) / samples
    return control, treatment, clusters if size > 1 else None


def share(decide: Decide, decision: str, replications: int, seed: int, *args: float) -> float:
    rng = np.random.default_rng(seed)
    n, size, base, *more = args
    found = [decide(*arms(rng, int(n), int(size), base, *more)) for _ in range(replications)]
    return found.count(decision) / replications


def test_identical_variants_rarely_fail() -> None:
    """100 and 500 cases, each its own or five a cluster, 600 replications: superiority fails at most 5 %."""
    for n in (100, 500):
        for size in (1, 5):
            found = share(gate("superior"), "fail", 600, 11, n, size, 0.8)
            assert found <= 0.04 + tolerance(0.04, 600), (n, size, found)


@pytest.mark.long
@pytest.mark.parametrize("show", ["superior", "not_worse"])
@pytest.mark.parametrize("n", [100, 500])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("base", [0.7, 0.8, 0.9, 0.98])
def test_identical_variants_fail_in_five_per_cent_at_most(show: Show, n: int, size: int, base: float) -> None:
    """4,000 replications: planned for 4 %, so that 5 % is not passed."""
    found = share(gate(show), "fail", 4000, 12, n, size, base)
    assert found <= 0.05


@pytest.mark.parametrize("worse, least", [(0.058, 0.75), (0.116, 0.99)])
def test_a_worse_variant_fails(worse: float, least: float) -> None:
    """500 cases that pass eight or nine times in ten, 400 replications: 5.8 and 11.6 points less are seen."""
    for base in (0.8, 0.9):
        found = share(gate("superior"), "fail", 400, 13, 500, 1, base, worse)
        assert found >= least, (base, found)


@pytest.mark.long
@pytest.mark.parametrize("base", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("show", ["superior", "not_worse"])
def test_how_often_a_worse_variant_fails(base: float, show: Show) -> None:
    """500 cases, 4,000 replications: what theory gives from the discordant pairs, which vary with the base rate."""
    rng = np.random.default_rng(14)
    for worse in (0.058, 0.116):
        many = arms(rng, 400_000, 1, base, worse)
        error = float(np.std(many[1] - many[0])) / math.sqrt(500)
        expected = 0.5 * math.erfc((1.751 - worse / error) / math.sqrt(2))  # z of one-sided 4 %
        found = share(gate(show), "fail", 4000, 15, 500, 1, base, worse)
        assert found == pytest.approx(expected, abs=0.015 + tolerance(expected, 4000))


def named(base: float | None, size: int, margin: float = 0.05, samples: int = 1) -> int:
    pilot = None if base is None else Pilot.of_pass_rate(base)
    number = needed_cases(
        Criterion(of="pass_rate", margin=Amount(margin)),
        level=0.95,
        pilot=pilot,
        samples=samples,
        cluster_size=size,
    )
    assert isinstance(number, int)
    return number


def test_a_variant_as_good_passes_at_the_number_named() -> None:
    """Without a pilot and with control's rate known, 300 replications: at least 80 % pass."""
    for base in (None, 0.8):
        found = share(gate("non_inferior"), "pass", 300, 16, named(base, 1), 1, 0.8)
        assert found >= 0.8


@pytest.mark.long
@pytest.mark.parametrize("base", [0.7, 0.8, 0.9, 0.97])
@pytest.mark.parametrize("better", [0.0, 0.01])
@pytest.mark.parametrize("known", [False, True])
def test_a_variant_as_good_or_better_passes_at_the_number_named(
    base: float, better: float, known: bool
) -> None:
    """2,000 replications: at least 80 %, whether control's rate is known or not."""
    number = named(base if known else None, 1)
    found = share(gate("non_inferior"), "pass", 2000, 17, number, 1, base, -better)
    assert found >= 0.8


@pytest.mark.long
def test_the_number_named_is_not_far_above_what_is_needed() -> None:
    """Every case a coin in both arms, so that half are discordant: 80 ± 3 % pass, 2,000 replications."""
    rng, number, passed = np.random.default_rng(18), named(None, 1), 0
    for _ in range(2000):
        control, treatment = rng.integers(0, 2, (2, number)).astype(float)
        passed += gate("non_inferior")(control, treatment, None) == "pass"
    assert passed / 2000 == pytest.approx(0.8, abs=0.01 + tolerance(0.8, 2000))


@pytest.mark.long
@pytest.mark.parametrize("base", [0.7, 0.9])
def test_the_number_named_for_clusters_and_samples(base: float) -> None:
    """Five a cluster, and three samples a case, without a pilot: at least 80 % of 1,000 pass."""
    assert share(gate("non_inferior"), "pass", 1000, 19, named(None, 5), 5, base) >= 0.8
    number = named(None, 1, samples=3)
    assert share(gate("non_inferior"), "pass", 1000, 20, number, 1, base, 0.0, 3) >= 0.8


@pytest.mark.long
def test_the_detectable_difference_is_detected() -> None:
    """500 cases, the spread of a pilot between equals: the difference named is shown in 80 to 88 %, 2,000 replications."""
    rng = np.random.default_rng(21)
    control, treatment, _ = arms(rng, 400_000, 1, 0.8)
    pilot = Pilot(variance=float(np.var(treatment - control)))
    smallest = detectable(Criterion(of="pass_rate", show="superior"), 500, level=0.95, pilot=pilot)
    assert isinstance(smallest, float)
    found = share(gate("superior"), "fail", 2000, 22, 500, 1, 0.8, smallest)
    assert 0.8 - tolerance(0.8, 2000) <= found <= 0.88


@pytest.mark.long
def test_one_rate_is_covered_on_both_sides() -> None:
    """Rates near 1 in clusters of five, 2,000 replications: a floor is wrongly reached in at most 3.5 %."""
    for n in (100, 500):
        for base in (0.8, 0.97):
            rng, low, high = np.random.default_rng(23), 0, 0
            for _ in range(2000):
                _, shares, clusters = arms(rng, n, 5, base)
                found = pass_rate_over_cases(shares, clusters)
                assert isinstance(found, Estimate)
                low, high = low + (found.low > base), high + (found.high < base)
            assert max(low, high) / 2000 <= 0.035 + tolerance(0.035, 2000), (n, base, low, high)


def _worst_error(n: int, size: int, bend: Callable[[np.ndarray], np.ndarray], replications: int) -> float:
    """How often the interval of the difference in the worst 5 % misses 0 between like arms."""
    rng, missed, known = np.random.default_rng(24), 0, 0
    clusters = np.repeat(np.arange(n // size), size)
    for _ in range(replications):
        hard = 0.7 * rng.normal(size=n) + 0.7 * rng.normal(size=n // size)[clusters]
        control, treatment = (bend(hard + 0.7 * rng.normal(size=n)) for _ in range(2))
        found = difference_of_worst(control, treatment, 0.05, clusters if size > 1 else None)
        if not isinstance(found, NotEstimable):
            known += 1
            missed += not found.low <= 0.0 <= found.high
    return missed / max(known, 1)


def test_the_worst_cases_are_compared_fairly() -> None:
    """200 cases, normal scores, 500 replications: between like arms a difference shows in at most 7 %."""
    assert _worst_error(200, 1, lambda x: x, 500) <= 0.07


@pytest.mark.long
@pytest.mark.parametrize("n", [100, 200, 500])
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(
    "bend", [lambda x: x, lambda x: np.clip(np.round(4 + x), 1, 5), lambda x: -np.exp(0.8 * x)],
    ids=["normal", "graded", "skewed"],
)  # fmt: skip
def test_the_worst_cases_of_any_shape(n: int, size: int, bend: Callable[[np.ndarray], np.ndarray]) -> None:
    """3,000 replications: at most 7 % on both sides together, at 100 skewed or graded cases as at 500."""
    assert _worst_error(n, size, bend, 3000) <= 0.07 + tolerance(0.07, 3000)
