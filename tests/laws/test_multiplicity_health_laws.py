"""What holds for every family, allocation and segment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from equipoise.design.conditions import Conditions
from equipoise.design.outcomes import Mean, NoninferiorProportion, Proportion
from equipoise.design.size import Size, detectable, size
from equipoise.stats.families.dunnett import dunnett_adjusted, dunnett_alpha, dunnett_critical
from equipoise.stats.families.multiplicity import benjamini_hochberg, benjamini_yekutieli, bonferroni
from equipoise.stats.health.logged_ratio import LoggedAllocation, logged_ratio
from equipoise.stats.health.novelty import DailyMoments
from equipoise.stats.health.sample_ratio import (
    AnytimeSampleRatio,
    Epoch,
    SampleRatio,
    anytime_sample_ratio_by_epoch,
    sample_ratio_by_epoch,
)
from equipoise.stats.health.segments import SegmentRates, Simpson, simpson_check
from equipoise.stats.normal import two_sided
from equipoise.stats.sizes.power_clusters import size_clusters
from equipoise.stats.sizes.power_judged import labels_needed

weights = st.floats(0.05, 20.0)


@given(weights, st.lists(st.tuples(weights, st.floats(-5, 5)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_dunnett_lies_between_one_test_and_bonferroni(
    control: float, arms: list[tuple[float, float]]
) -> None:
    """p ≤ Dunnett ≤ Bonferroni, in the order of |z|, for any allocation; one treatment gives p itself."""
    ws, zs = [w for w, _ in arms], [z for _, z in arms]
    adjusted = dunnett_adjusted(zs, control, ws)
    single = [two_sided(z) for z in zs]
    for p, dunnett, most in zip(single, adjusted, bonferroni(single), strict=True):
        assert p <= dunnett * (1 + 1e-9)
        assert dunnett <= most * (1 + 1e-9)
    order = sorted(range(len(zs)), key=lambda i: -abs(zs[i]))
    assert [adjusted[i] for i in order] == pytest.approx(sorted(adjusted), abs=1e-12)
    if len(arms) == 1:
        assert adjusted == pytest.approx(single, rel=1e-8, abs=1e-300)


@given(weights, st.lists(weights, min_size=1, max_size=4), st.floats(0.001, 0.4), st.sampled_from([1, 2]))
@settings(max_examples=30, deadline=None)
def test_dunnetts_critical_value_and_p_value_invert_one_another(
    control: float, treatments: list[float], alpha: float, sides: int
) -> None:
    """A statistic at the critical value has p = alpha, and only the ratios of the weights matter."""
    c = dunnett_critical(control, treatments, alpha=alpha, sides=sides)
    zs = [c] + [0.0] * (len(treatments) - 1)
    assert dunnett_adjusted(zs, control, treatments, sides=sides)[0] == pytest.approx(alpha, abs=1e-9)
    assert dunnett_critical(
        7 * control, [7 * w for w in treatments], alpha=alpha, sides=sides
    ) == pytest.approx(c)
    each = dunnett_alpha(control, treatments, alpha=alpha, sides=sides)
    assert alpha / len(treatments) * (1 - 1e-9) <= each <= alpha * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_yekutieli_is_hochberg_at_a_price(ps: list[float]) -> None:
    """Never smaller than Benjamini-Hochberg's, never above 1, and in the same order."""
    for bh, by in zip(benjamini_hochberg(ps), benjamini_yekutieli(ps), strict=True):
        assert bh <= by * (1 + 1e-12) <= 1 + 1e-9


shares = st.lists(st.floats(0.1, 1.0), min_size=3, max_size=3).map(
    lambda ws: dict(zip("abc", (w / sum(ws) for w in ws), strict=True))
)
counts = st.lists(st.integers(0, 300), min_size=3, max_size=3).map(
    lambda ns: dict(zip("abc", ns, strict=True))
)


@given(shares, st.lists(counts, min_size=2, max_size=4), st.floats(1.0, 1e4))
@settings(deadline=None)
def test_naming_an_epoch_twice_changes_no_evidence(
    promise: dict[str, float], parts: list[dict[str, int]], prior: float
) -> None:
    """Epochs with the same shares, and their sum as one epoch: the same evidence at any look."""
    assume(any(sum(part.values()) for part in parts))
    whole = {name: sum(part[name] for part in parts) for name in "abc"}
    split = anytime_sample_ratio_by_epoch([Epoch(part, promise) for part in parts], prior_units=prior)
    once = anytime_sample_ratio_by_epoch([Epoch(whole, promise)], prior_units=prior)
    assert isinstance(split, AnytimeSampleRatio)
    assert isinstance(once, AnytimeSampleRatio)
    assert split.p_value == pytest.approx(once.p_value, rel=1e-6)


@given(shares, shares, counts, counts)
@settings(deadline=None)
def test_epochs_may_come_in_any_order_and_sound_ones_are_no_alarm(
    first: dict[str, float], second: dict[str, float], a: dict[str, int], b: dict[str, int]
) -> None:
    """The fixed check ignores order; units exactly as promised have a statistic of 0."""
    epochs = [Epoch(a, first), Epoch(b, second)]
    one, two = sample_ratio_by_epoch(epochs), sample_ratio_by_epoch(epochs[::-1])
    if isinstance(one, SampleRatio):
        assert isinstance(two, SampleRatio)
        assert one.statistic == pytest.approx(two.statistic)
        assert one.p_value == pytest.approx(two.p_value)


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_logged_allocations_and_daily_moments_add_up(seed: int, cut: int) -> None:
    """The sum of two parts is the whole, up to rounding, wherever it is cut."""
    rng = np.random.default_rng(seed)
    ps, chosen = rng.dirichlet([2, 2, 2], 60), rng.integers(0, 3, 60)
    names = ("a", "b", "c")
    merged = LoggedAllocation.of(names, chosen[:cut], ps[:cut]) + LoggedAllocation.of(
        names, chosen[cut:], ps[cut:]
    )
    whole = LoggedAllocation.of(names, chosen, ps)
    assert merged.observed == whole.observed
    assert np.allclose(merged.covariance, whole.covariance)
    one, other = logged_ratio(merged), logged_ratio(whole)
    assert isinstance(one, SampleRatio)
    assert isinstance(other, SampleRatio)
    assert one.statistic == pytest.approx(other.statistic, rel=1e-6)
    rows = rng.normal(1e6, 1.0, (60, 3))
    parts = DailyMoments.of(rows[:cut]) + DailyMoments.of(rows[cut:])
    assert np.allclose(parts.products, DailyMoments.of(rows).products, rtol=1e-6, atol=1e-4)


@st.composite
def segments(draw: Any) -> dict[str, SegmentRates]:
    found = {}
    for name in draw(st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=5, unique=True)):
        n_c, n_t = draw(st.integers(0, 200)), draw(st.integers(0, 200))
        found[name] = SegmentRates(draw(st.integers(0, n_c)), n_c, draw(st.integers(0, n_t)), n_t)
    return found


@given(segments())
def test_exchanging_the_arms_turns_every_difference_round(table: dict[str, SegmentRates]) -> None:
    """Pooled, within and gap change sign; within lies among the segments' own differences."""
    found = simpson_check(table)
    assume(isinstance(found, Simpson))
    assert isinstance(found, Simpson)
    turned = simpson_check(
        {k: SegmentRates(s.successes_t, s.n_t, s.successes_c, s.n_c) for k, s in table.items()}
    )
    assert isinstance(turned, Simpson)
    assert (turned.pooled, turned.within, turned.gap) == pytest.approx(
        (-found.pooled, -found.within, -found.gap)
    )
    assert turned.reversed == found.reversed
    parts = found.by_segment.values()
    assert min(parts) - 1e-12 <= found.within <= max(parts) + 1e-12


@st.composite
def conditions(draw: Any) -> Conditions:
    clustered = draw(st.booleans())
    return Conditions(
        arms=draw(st.integers(2, 4)),
        correction=draw(st.sampled_from(["dunnett", "bonferroni"])),
        looks=draw(st.sampled_from([1, 2, 5])),
        icc=draw(st.floats(0.0, 0.3)) if clustered else None,
        cluster_size=draw(st.floats(1.0, 40.0)) if clustered else None,
        cluster_cv=draw(st.floats(0.0, 1.0)) if clustered else 0.0,
    )


@given(
    st.sampled_from([Proportion(0.6), Mean(1.0), NoninferiorProportion(0.6)]),
    st.floats(0.02, 0.08),
    st.sampled_from([0.5, 1.0, 2.0]),
    conditions(),
)
@settings(max_examples=40, deadline=None)
def test_the_units_found_for_an_effect_find_that_effect(
    outcome: Any, effect: float, ratio: float, how: Conditions
) -> None:
    """`detectable` of the total of `size` is the effect again, within the rounding to whole units or clusters."""
    needed = size(outcome, effect, ratio=ratio, conditions=how)
    back = detectable(outcome, needed.total, ratio=ratio, conditions=how)
    assert isinstance(back, Size)
    found = back.mde if back.mde is not None else back.margin
    assert found is not None
    fewest = min((needed.clusters or needed.by_variant).values())
    assume(fewest > 20)
    assert found == pytest.approx(effect, rel=2.5 / fewest + 0.002)
    assert back.total <= needed.total


@given(st.floats(0.01, 0.5), st.floats(2, 50), st.floats(0, 1.5))
@settings(deadline=None)
def test_more_alike_or_more_uneven_clusters_are_never_cheaper(icc: float, m: float, cv: float) -> None:
    """Units grow with the correlation and with the variation of cluster sizes; one unit each costs nothing."""
    base = size_clusters(1.0, 0.2, icc, m, cv).clusters.control
    assert base <= size_clusters(1.0, 0.2, icc * 1.5, m, cv).clusters.control
    assert base <= size_clusters(1.0, 0.2, icc, m, cv + 0.3).clusters.control
    assert size_clusters(1.0, 0.2, icc, 1.0).units == size_clusters(1.0, 0.2, 0.0, 1.0).units


@given(st.floats(0.0, 0.99), st.integers(700, 5000))
def test_a_better_judge_and_more_judged_units_never_need_more_labels(rho: float, judged: int) -> None:
    """Labels fall with the correlation and with the judged units, and never exceed those."""
    found = labels_needed(0.5, 0.08, judged, rho)
    assert isinstance(found, int)
    assert 2 <= found <= judged
    better, more = (
        labels_needed(0.5, 0.08, judged, min(1.0, rho + 0.01)),
        labels_needed(0.5, 0.08, judged + 500, rho),
    )
    assert isinstance(better, int)
    assert isinstance(more, int)
    assert better <= found
    assert more <= found
