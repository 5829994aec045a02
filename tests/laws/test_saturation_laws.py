"""What holds of control by its cluster's share of treatment, whatever the clusters."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.estimate import Estimate
from equipoise.stats.health.saturation import Saturated, control_by_saturation
from equipoise.stats.moments import PairMoments


@settings(deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=7), st.sampled_from([(1, 2), (1, 5), (3, 4)]))
def test_over_all_draws_control_goes_with_no_share_however_large_its_cluster(
    outcomes: list[int], drawn: tuple[int, int]
) -> None:
    """Exactly: among all draws of a cluster, weighted by their chance, control's sums and the share's distance from it add to 0."""
    p = Fraction(*drawn)
    off, counted_in = Fraction(0), Fraction(0)
    for arms in product((0, 1), repeat=len(outcomes)):
        treated = sum(arms)
        if treated == len(arms):
            continue
        chance = p**treated * (1 - p) ** (len(arms) - treated)
        total = sum(value for value, arm in zip(outcomes, arms, strict=True) if not arm)
        cell = Saturated(len(arms), treated, PairMoments.zero())
        assert cell.share == float(Fraction(treated, len(arms) - 1))
        off += chance * total * (Fraction(treated, len(arms) - 1) - p)
        counted_in += chance * total * (Fraction(treated, len(arms)) - p)
    assert off == 0
    # With the unit itself in its share they would not.
    assert counted_in == -p * (1 - p) * Fraction(sum(outcomes), len(outcomes))


@st.composite
def clusters(draw: st.DrawFn) -> list[tuple[int, int, float]]:
    """Units, treated, control's sum of outcomes; thirty of them at least, of shares that differ."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(30, 60))
    units = rng.integers(2, draw(st.integers(4, 12)), count)
    treated = [int(rng.integers(0, n)) for n in units]
    return [(int(n), t, float(rng.normal() * (n - t))) for n, t in zip(units, treated, strict=True)]


def found(
    of: list[tuple[int, int, float]], scale: float = 1.0, shift: float = 0.0, *, together: bool = False
) -> Estimate:
    cells: dict[tuple[int, ...], PairMoments] = {}
    for number, (n, t, total) in enumerate(of):
        key = (n, t) if together else (n, t, number)
        own = PairMoments.of([scale * total + shift * (n - t)], [n - t])
        cells[key] = cells.get(key, PairMoments.zero()) + own
    estimate = control_by_saturation([Saturated(key[0], key[1], pairs) for key, pairs in cells.items()])
    assert isinstance(estimate, Estimate)
    return estimate


@settings(deadline=None, max_examples=50)
@given(clusters(), st.floats(0.01, 100.0), st.floats(-1e3, 1e3))
def test_it_moves_with_the_unit_and_not_with_the_level_of_the_outcome(
    of: list[tuple[int, int, float]], scale: float, shift: float
) -> None:
    """In other units it is so many times as much; a constant for everybody changes nothing."""
    plain, other = found(of), found(of, scale, shift)
    slack = 1e-9 * (scale * plain.standard_error + abs(shift))
    assert other.value == pytest.approx(scale * plain.value, abs=slack, rel=1e-9)
    assert other.standard_error == pytest.approx(scale * plain.standard_error, rel=1e-6)
    assert other.degrees_of_freedom == pytest.approx(plain.degrees_of_freedom)


@settings(deadline=None, max_examples=50)
@given(clusters(), st.randoms())
def test_clusters_in_any_order_and_summed_up_by_share_say_the_same(
    of: list[tuple[int, int, float]], chance: object
) -> None:
    """What is summed up where the rows are loses nothing, while every unit of control has a value."""
    apart = found(of)
    shuffled = list(of)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    for other in (found(shuffled), found(of, together=True)):
        assert other.value == pytest.approx(apart.value, rel=1e-9, abs=1e-12)
        assert other.standard_error == pytest.approx(apart.standard_error, rel=1e-9)
        assert other.degrees_of_freedom == pytest.approx(apart.degrees_of_freedom, rel=1e-9)
