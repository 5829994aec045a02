"""Laws of the schedule: every block holds what was allocated, every order is as likely, and nobody needs to be asked."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from hashlib import sha256
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.assignment.switchback import Schedule
from equipoise.errors import UsageError
from equipoise.experiment.switchback import BALANCES, Switchback, slot_of

HALVES = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
DAY, WEEK, MONDAY = 86_400, 604_800, 4 * 86_400
NOW = MONDAY + 2900 * WEEK

every = st.sampled_from([60, 900, 1800, 3600, 7200, 21_600, 86_400])
shares = st.sampled_from([
    HALVES,
    {"control": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)},
    {"control": Fraction(3, 4), "treatment": Fraction(1, 4)},
    {"control": Fraction(1, 2), "b": Fraction(1, 4), "c": Fraction(1, 4)},
])  # fmt: skip
quiet = settings(max_examples=60, deadline=None, derandomize=True)


@quiet
@given(
    every,
    shares,
    st.sampled_from([("hour",), ("hour", "weekday")]),
    st.integers(-50, 3000),
    st.integers(0, 10**6),
)
def test_a_time_of_day_or_week_has_every_arm_as_often_as_allocated(every, shares, balance, block, at) -> None:
    """Over as many days (weeks) as a block is long, counted from the calendar's first, each time has each arm in proportion."""
    schedule = Schedule("demo/1", shares, Switchback(balance=balance), every=every)
    span, first = (WEEK, MONDAY) if "weekday" in balance else (DAY, 0)
    size = math.lcm(*(share.denominator for share in shares.values()))
    start = first + block * size * span + at % (span // every) * every
    found = Counter(schedule.arm(str(start + n * span)) for n in range(size))
    assert found == {arm: int(share * size) for arm, share in shares.items()}
    assert len({schedule.blocks.place(str(start + n * span)).block for n in range(size)}) == 1


@quiet
@given(
    st.integers(-50, 20_000), st.sampled_from([1800, 3600, 21_600]), st.sampled_from(["", "/eu", "/a/b c"])
)
def test_a_day_is_shared_out_where_weekdays_are_balanced(day, every, whose) -> None:
    """Half of the slots of each day are control's, whosever they are."""
    drawn = Switchback(balance=("weekday",), by="region" if whose else None)
    schedule = Schedule("demo/1", HALVES, drawn, every=every)
    slots = [f"{day * DAY + at}{whose}" for at in range(0, DAY, every)]
    assert Counter(map(schedule.arm, slots)) == {"control": len(slots) // 2, "treatment": len(slots) // 2}


@quiet
@given(every, st.integers(0, 10**5), st.sampled_from([BALANCES, ("hour",), ("weekday",), ()]))
def test_two_processes_agree_and_the_arms_do_not_hang_on_what_was_asked_before(every, at, balance) -> None:
    """A new schedule and one that has drawn other slots say the same of a slot."""
    drawn = Switchback(balance=balance)
    if balance == ("weekday",) and every == DAY:
        return
    slot = str(NOW + at * every)
    used = Schedule("demo/1", HALVES, drawn, every=every)
    for n in range(600):
        used.arm(str(NOW + n * every))
    assert used.arm(slot) == Schedule("demo/1", HALVES, drawn, every=every).arm(slot)


def test_every_order_of_a_block_is_as_likely_and_blocks_know_nothing_of_each_other() -> None:
    """Over 24,000 blocks of three arms each of six orders, and over 20,000 pairs each of four neighbours, is drawn alike.

    Chi-square with 5 and 3 degrees of freedom at a false alarm of one in a thousand; the draws are fixed.
    """
    arms = {"control": Fraction(1, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)}
    schedule = Schedule("demo/1", arms, Switchback(balance=("hour",)), every=3600)
    orders = Counter(
        tuple(schedule.arm(str((3 * turn + n) * DAY + hour * 3600)) for n in range(3))
        for turn in range(5000, 6000)
        for hour in range(24)
    )
    assert set(orders) == set(permutations(arms))
    assert sum((count - 4000) ** 2 / 4000 for count in orders.values()) < 20.52
    pairs = Schedule("demo/1", HALVES, Switchback(), every=1800)
    # Slots of weeks that begin a block: the other week is their mirror image.
    starts = [NOW + 2 * n * WEEK + at * 1800 for n in range(60) for at in range(335)]
    neighbours = Counter((pairs.arm(str(start)), pairs.arm(str(start + 1800))) for start in starts)
    expected = len(starts) / 4
    assert len(neighbours) == 4
    assert sum((count - expected) ** 2 / expected for count in neighbours.values()) < 16.27


@pytest.mark.parametrize("balance", [BALANCES, ("hour",), ("weekday",), ()])
def test_a_ramp_moves_no_slot(balance) -> None:
    """What is covered at 10 % is covered at 40 % and has the same arm; a block is covered as a whole, one in ten or four."""
    made = {
        share: Schedule(
            "demo/1", HALVES, Switchback(balance=balance), every=1800, coverage=Fraction(share, 100)
        )
        for share in (10, 40, 100)
    }
    slots = [str(NOW + n * 1800) for n in range(336 * 20)]
    arms = {share: {slot: schedule.arm(slot) for slot in slots} for share, schedule in made.items()}
    covered = {share: {slot for slot, arm in of.items() if arm} for share, of in arms.items()}
    assert covered[10] < covered[40] < covered[100] == set(slots)
    assert all(arms[10][slot] == arms[100][slot] for slot in covered[10])
    blocks = {made[10].blocks.place(slot).block for slot in covered[10]}
    if balance:
        assert covered[10] == {slot for slot in slots if made[10].blocks.place(slot).block in blocks}
    assert abs(len(covered[40]) / len(slots) - 0.4) < (0.35 if balance == ("weekday",) else 0.05)


def test_the_rule_as_somebody_else_would_write_it() -> None:
    """The sentences of docs/assignment.md, followed to the letter on 3,000 slots of two regions."""
    schedule = Schedule(
        "support/2",
        {"control": Fraction(1, 4), "treatment": Fraction(3, 4)},
        Switchback(by="region"),
        every=900,
    )
    for n in range(3000):
        region = ("eu", "Übersee")[n % 2]
        start = NOW + 7 * n * 900
        week, time = divmod(start - MONDAY, WEEK)
        block, position = f"w{time}.{week // 4}/{region}", week % 4
        order = sorted(range(4), key=lambda at: sha256(f"equipoise\x001\x00slot\x00support/2\x00{at}\x00{block}".encode()).digest())  # fmt: skip
        expected = "control" if order.index(position) < 1 else "treatment"
        assert schedule.arm(f"{start}/{region}") == expected


def test_what_names_no_slot_is_refused() -> None:
    """A text that is no second, a second at which no slot begins, and a slot of somebody where slots are nobody's."""
    schedule = Schedule("demo/1", HALVES, Switchback(), every=1800)
    for unit, said in {
        "noon": "a slot is named by the second it begins, such as 1767225600 or 1767225600/eu, and this is 'noon'",
        "1/": "a slot is named by the second it begins, such as 1767225600 or 1767225600/eu, and this is '1/'",
        "1801": "no slot of 1800 s begins 1801 seconds after 1970",
        "1800/eu": "slots of this experiment have no name beside their start, and this is '1800/eu'",
    }.items():
        with pytest.raises(UsageError) as refused:
            schedule.arm(unit)
        assert str(refused.value) == said
    assert slot_of("-1800/a\n/b") == (-1800, "a\n/b")
    with pytest.raises(UsageError) as refused:
        Schedule("demo/1", HALVES, Switchback(by="region"), every=1800).arm("1800")
    assert str(refused.value) == "slots of this experiment have a name beside their start, and this is '1800'"
