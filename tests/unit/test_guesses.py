"""How often a key may be guessed: by one address, by all, by whoever has many, and for how long nobody is heard."""

from __future__ import annotations

import random

from equipoise.clock import ManualClock
from equipoise.dashboard.guesses import Guesses


def heard(guesses: Guesses, address: str | None) -> bool:
    """A wrong guess from an address, if it is heard."""
    if guesses.refused_s(address) is not None:
        return False
    guesses.wrong(address)
    return True


def test_one_address_has_five_at_once_and_then_one_in_ten_seconds():
    """However often it tries in between, over an hour: what is refused neither costs nor helps."""
    clock = ManualClock(0.0)
    guesses = Guesses(clock.now)
    count = 0
    for _ in range(36_000):
        count += heard(guesses, "192.0.2.1")
        clock.advance(0.1)
    assert 5 + 358 <= count <= 5 + 360
    assert guesses.refused_s("192.0.2.2") is None


def test_all_together_have_thirty_and_then_one_in_two_seconds():
    """Ten thousand addresses guess what thirty and one in two seconds allow, and no more."""
    clock = ManualClock(0.0)
    guesses = Guesses(clock.now)
    count = 0
    for n in range(36_000):
        count += heard(guesses, f"10.{n % 10_000 // 250}.{n % 250}.1")
        clock.advance(0.1)
    assert 30 + 1_798 <= count <= 30 + 1_800
    assert len(guesses) <= 1_000


def test_no_wait_is_longer_than_ten_seconds_whatever_was_tried():
    """A thousand seeded histories of guesses, refusals and pauses, also by a clock that stands: at most ten, at least one."""
    rng = random.Random(7)
    for _ in range(1_000):
        clock = ManualClock(0.0)
        guesses = Guesses(clock.now)
        for _ in range(80):
            heard(guesses, rng.choice(["192.0.2.1", "2001:db8::1", "x", None]))
            clock.advance(rng.choice([0.0, 0.0, 0.5, 3.0]))
        for address in ("192.0.2.1", "2001:db8::9", "198.51.100.1"):
            wait = guesses.refused_s(address)
            assert wait is None or 1 <= wait <= 10
            clock.advance(float(wait or 0))
            assert guesses.refused_s(address) is None


def test_addresses_that_one_person_has_are_one():
    """Of IPv6 the first 64 bits, an IPv4 address in the clothes of IPv6, an interface's name; what is none shares one."""
    clock = ManualClock(0.0)
    guesses = Guesses(clock.now)
    for n in range(5):
        guesses.wrong(f"2001:db8::{n}")
    assert guesses.refused_s("2001:db8::ffff") == 10
    assert guesses.refused_s("2001:db8:0:1::1") is None
    for _ in range(5):
        guesses.wrong("::ffff:192.0.2.1")
    assert guesses.refused_s("192.0.2.1") == 10
    for n in range(5):
        guesses.wrong(f"fe80::1%eth{n}")
    assert guesses.refused_s("fe80::1") == 10
    for _ in range(5):
        guesses.wrong(None)
    assert guesses.refused_s("nobody knows") == 10
