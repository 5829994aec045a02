"""Laws of cells and windows: they add in any order and any grouping, and batches change nothing."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from watched import OVERLAPPING, START, exposure, recorded, traffic, turn, watched

from equipoise.events.log import Recorded
from equipoise.measurement.guardrails.buckets import RELATIVE_ERROR, bucket, middle, quantile
from equipoise.measurement.guardrails.cells import Cell, Counting
from equipoise.measurement.guardrails.watching import Standing, Watching
from equipoise.measurement.guardrails.windows import spans

numbers = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(min_value=sys.float_info.min, allow_infinity=False)
cells = st.builds(
    lambda values, late, bucketed: Cell.of(values, late=late, bucketed=bucketed),
    st.lists(numbers, max_size=8),
    st.integers(0, 8),
    st.booleans(),
)


@given(cells, cells, cells)
def test_cells_add_in_any_order_and_grouping(a, b, c):
    """Associative and commutative, with the empty cell as zero: to the last digit, for any finite numbers."""
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == Cell.together((c, a, b))
    assert a + Cell() == a


@given(cells)
def test_a_cell_is_read_back_as_it_was_written(cell):
    """Whatever was counted in it."""
    assert Cell.decode(cell.encode()) == cell


@given(st.lists(numbers, max_size=30))
def test_a_total_is_the_exact_sum(values):
    """The sum of a cell is the sum without any rounding on the way, but for 2^-61 a number."""
    exact = math.fsum(values) if all(abs(value) < 1e300 for value in values) else None
    if exact is not None:
        assert math.isclose(Cell.of(values).sum, exact, rel_tol=1e-15, abs_tol=len(values) * 2.0**-60)


@given(ordinary)
def test_a_bucket_stands_for_its_numbers_within_one_per_cent(value):
    """Of any positive number that is not too near to 0 for a double, and of its negative."""
    assert abs(middle(bucket(value)) - value) <= RELATIVE_ERROR * value
    assert middle(bucket(-value)) == -middle(bucket(value))


@given(st.lists(numbers, min_size=2, max_size=30))
def test_buckets_have_the_order_of_their_numbers(values):
    """A larger number is never in an earlier bucket, and only 0 is in bucket 0."""
    ordered = sorted(values)
    assert all(bucket(low) <= bucket(high) for low, high in pairwise(ordered))
    assert all((bucket(value) == 0) == (value == 0.0) for value in values)


@given(
    st.lists(ordinary | ordinary.map(lambda value: -value) | st.just(0.0), min_size=1, max_size=200),
    st.integers(0, 100),
)
def test_a_quantile_is_the_ranked_number_within_one_per_cent(values, percent):
    """Against the sorted numbers themselves, at every percentage."""
    exact = sorted(values)[max(1, math.ceil(percent * len(values) / 100)) - 1]
    told = quantile(Cell.of(values, bucketed=True).buckets, percent / 100)
    assert told is not None
    assert abs(told - exact) <= RELATIVE_ERROR * abs(exact)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 120), max_size=6))
def test_where_batches_end_changes_nothing(seed, sizes):
    """Facts taken in at once, and in batches of any sizes with what is kept in between: the same cells and decisions."""
    experiment = watched(OVERLAPPING)
    records = [
        Recorded(place, at, fact)
        for place, (at, fact) in enumerate(traffic(experiment, seed, 250, per_minute=12.0), 1)
    ]
    watching = Watching(experiment)
    whole = watching.fold(Standing(), {}, records, {})
    standing, kept, members, decided, start = Standing(), {}, {}, (), 0
    for size in [*sizes, len(records)]:
        part = watching.fold(standing, kept, records[start : start + size], members)
        standing, decided, start = (
            Standing.decode(part.standing.encode()),
            decided + part.decided,
            start + size,
        )
        kept = {key: Cell.decode(cell.encode()) for key, cell in (kept | part.cells).items() if standing.since is None or key.minute >= standing.since}  # fmt: skip
    assert (standing, kept, decided) == (whole.standing, dict(whole.cells), whole.decided)
    assert whole.decided


@given(st.permutations(range(12)), st.sampled_from([0.5, 90.0]))
def test_the_order_of_arrival_within_an_open_window_changes_nothing(order, delay):
    """Turns of known units in any order make the same cells."""
    experiment = watched()
    turns = [
        turn("u", "treatment", START + 7.0 * each, latency_s=0.1 * each, error=each == 5)
        for each in range(12)
    ]
    facts = [exposure(experiment, "u", "treatment", START), *(turns[place] for place in order)]
    straight = [exposure(experiment, "u", "treatment", START), *turns]
    counting = Counting(experiment)
    assert counting.fold(recorded(facts, delay=delay), {}) == counting.fold(
        recorded(straight, delay=delay), {}
    )


@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 10_000), st.integers(0, 4_000), st.integers(0, 4_000)
)
def test_spans_are_the_windows_that_end_within_the_time(width, step, after, one, other):
    """Each once, in order, at whole multiples; cut anywhere, the parts are the whole."""
    length, every = width * 60.0, step * 60.0
    whole = list(spans(length, after, after + one + other, every=every))
    assert whole == [
        *spans(length, after, after + one, every=every),
        *spans(length, after + one, after + one + other, every=every),
    ]
    assert whole == [
        (ends - width * 60, ends)
        for ends in range(after - after % 60, after + one + other + 1, 60)
        if after < ends and (ends - width * 60) % every == 0
    ]
