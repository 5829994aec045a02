"""Who is in already is never denied, and hardly ever claimed of a stranger."""

from __future__ import annotations

import time
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from equipoise.assignment.assigning import Assigner
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import Epoch, History
from equipoise.assignment.following import Following
from equipoise.clock import ManualClock
from equipoise.conduct.move import pause
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical

DEFINITION = {
    "name": "demo",
    "hypothesis": "Nobody is moved.",
    "unit": "user",
    "changes": ["model"],
    "attributes": {"tier": "header:x-tier"},
    "target": {"tier": "pro"},
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
}


@given(st.sets(st.tuples(st.text(max_size=5), st.text(min_size=1, max_size=20)), max_size=50))
def test_whoever_was_added_is_held(units):
    """No unit of any experiment is ever denied."""
    enrolled = Enrolled()
    for experiment, unit in units:
        enrolled.add(experiment, unit)
    assert all(enrolled.holds(experiment, unit) for experiment, unit in units)


def test_strangers_are_hardly_ever_taken_for_one_of_them():
    """100,000 units, 100,000 strangers: the chance of a mistake is 10^-13 each, and none is made."""
    enrolled = Enrolled()
    for n in range(100_000):
        enrolled.add("demo", f"user-{n}")
    assert all(enrolled.holds("demo", f"user-{n}") for n in range(100_000))
    assert sum(enrolled.holds("demo", f"stranger-{n}") for n in range(50_000)) == 0
    assert sum(enrolled.holds("other", f"user-{n}") for n in range(50_000)) == 0


def test_an_empty_one_holds_nobody_and_takes_nothing():
    """What nobody needs costs nothing."""
    assert not Enrolled().holds("demo", "user-1")


@given(
    st.text(min_size=1, max_size=20).filter(lambda text: not text.isspace()),
    st.sampled_from(["paused", "stale"]),
)
def test_whoever_is_in_stays_in_whatever_closes_or_changes(unit, why):
    """Closed doors and targeting are for the new; where nobody knows the unit they hold."""
    experiment = read_canonical(DEFINITION)
    clock = ManualClock(1_000.0)
    history = History([Epoch(0, 0.0, {"control": Fraction(1, 2), "treatment": Fraction(1, 2)})], clock=clock)
    enrolled = Enrolled()
    enrolled.add("demo", unit)
    pro, free = {"tier": "pro"}, {"tier": "free"}
    own = Assigner(experiment, history).draw(unit, pro)
    assert own.reason == "split"
    held, unheld = (Assigner(experiment, history, enrolled=each) for each in (enrolled, Enrolled()))
    assert held.draw(unit, free).variant == own.variant
    assert unheld.draw(unit, free).reason == "not_targeted"
    for attributes in (pro, free):
        closed = held.closing(why, 500.0).draw(unit, attributes)
        assert (closed.variant, closed.reason) == (own.variant, "split")
    assert unheld.closing(why, 500.0).draw(unit, pro).reason == why
    # Before it is live nobody belongs to an arm.
    assert held.closing("not_live", 500.0).draw(unit, pro).reason == "not_live"


def test_a_process_that_starts_learns_from_the_log_who_is_in():
    """A pause, and then a restart: whoever the log knows as exposed keeps the variant, whoever exposed them."""
    experiment = read_canonical(
        {key: value for key, value in DEFINITION.items() if key not in ("attributes", "target")}
    )
    log = MemoryLog()
    register(log, experiment, by="test", reason="a test")

    def exposed(*units):
        log.append(
            Exposure(experiment="demo", happened=1.0, digest=experiment.digest, unit=unit, unit_type="user",
                     variant="control", probability=0.5, reason="split")
            for unit in units
        )  # fmt: skip

    exposed(*(f"user-{n}" for n in range(1_000)))
    pause(log, "demo", by="test", reason="a test")
    enrolled = Enrolled()
    with Following(log, read_canonical, enrolled=enrolled) as following:

        def told(unit):
            end = time.monotonic() + 30
            while not enrolled.holds("demo", unit):
                assert time.monotonic() < end
                time.sleep(0.01)

        told("user-999")
        assert all(enrolled.holds("demo", f"user-{n}") for n in range(1_000))
        exposed("late")
        told("late")
        # What is no exposure is passed over once, and not looked through again and again.
        log.append(Turn(experiment="demo", happened=2.0, unit="late") for _ in range(50))
        end = time.monotonic() + 30
        while following._enrolled_to < log.head():
            assert time.monotonic() < end
            time.sleep(0.01)
        assigner = following.configuration.experiments["demo"].assigner(ManualClock(2e9), enrolled=enrolled)
        assert assigner.draw("user-5").variant is not None
        assert assigner.draw("late").variant is not None
        assert assigner.draw("new").reason == "paused"
