"""Whoever was exposed keeps the variant, whatever becomes of coverage, shares and arms."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from equipoise.assignment.assigning import Assigner, Draw
from equipoise.assignment.configuration import Folding
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import LEAD, LEASE, TOLERANCE, Epoch, History
from equipoise.assignment.pins import MemoryPins, PinStore
from equipoise.assignment.tokens import Signer
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.move import ramp, reweight
from equipoise.conduct.register import register
from equipoise.errors import UsageError
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
    "rollout": {"stages": ["canary", "ab"], "canary": {"coverage": "1%"}},
}
THREE = {
    "variants": BASE["variants"] | {"brief": {"model": "c"}},
    "allocation": {"control": "1/4", "treatment": "1/2", "brief": "1/4"},
    "rollout": {"stages": ["ab"]},
}


def uuid7(seconds: float, rng: random.Random) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) made at a time."""
    whole = int(seconds * 1000) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return str(UUID(int=whole))


@dataclass
class Online:
    """An experiment in a log, and who was exposed to which arm so far; the clock is set by hand."""

    remembers: dict[str, Any]
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_800_000_000.0))
    log: MemoryLog = field(default_factory=MemoryLog)
    exposed: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    pins: PinStore = field(default_factory=MemoryPins)
    signer: Signer = field(default_factory=lambda: Signer("a secret of some length"))
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def experiment(self, **more: Any) -> Experiment:
        return read_canonical(BASE | self.remembers | more)

    def assigner(self) -> Assigner:
        """As a process sees it that has just started and heard everything."""
        folding = Folding(read_canonical)
        folding.take(record.fact for record in self.log.read_since())
        return folding.configuration(self.clock.now()).experiments["demo"].assigner(self.clock)

    def draw(self, assigner: Assigner, unit: str) -> Draw:
        """The draw of a unit with what is remembered of it, and from now on remembered."""
        entered = None
        if unit in self.tokens:
            said = self.signer.read("assignment", self.tokens[unit])
            assert said is not None
            entered = int(said[2])
        if assigner.experiment.pins == "required":
            entered = self.pins.find("demo/1", unit)
        drawn = assigner.draw(unit, entered=entered)
        if drawn.counts and assigner.experiment.unit.id == "token":
            self.tokens[unit] = self.signer.sign("assignment", ["demo/1", unit, drawn.epoch])
        if drawn.counts and assigner.experiment.pins == "required":
            assert self.pins.pin("demo/1", unit, drawn.epoch) == drawn.epoch
        return drawn

    def serve(self, units: int) -> int:
        """New units come, and all known ones come again and keep their arm; returns how many are new in it."""
        assigner = self.assigner()
        for unit, variant in self.exposed.items():
            drawn = self.draw(assigner, unit)
            assert drawn.variant == variant, (unit, variant, drawn)
        before = len(self.exposed)
        for index in range(units):
            self.clock.advance(0.001)
            unit = (
                uuid7(self.clock.now(), self.rng)
                if self.remembers["unit"].get("id") == "uuid7"
                else f"conversation-{self.clock.now():.3f}-{index}"
            )
            drawn = self.draw(assigner, unit)
            if drawn.counts and drawn.variant is not None:
                self.exposed[unit] = drawn.variant
        return len(self.exposed) - before


MEMORIES: dict[str, dict[str, Any]] = {
    "uuid7": {"unit": {"type": "conversation", "id": "uuid7"}},
    "token": {"unit": {"type": "conversation", "id": "token"}},
    "pins": {"unit": {"type": "conversation"}, "pins": "required"},
}
NOTHING: dict[str, Any] = {"unit": {"type": "conversation"}}


@pytest.mark.parametrize("memory", [*MEMORIES, "none"])
def test_a_ramp_moves_nobody_who_was_exposed(memory: str) -> None:
    """1 → 5 → 25 → 100 %: none of the exposed moves, and each step enrols its share of the new ones."""
    online = Online(MEMORIES.get(memory, NOTHING))
    register(online.log, online.experiment(), by="ann", clock=online.clock)
    for share in (0.01, 0.05, 0.25, 1.0):
        if share != 0.01:
            ramp(online.log, "demo", Fraction(str(share)), by="ann", clock=online.clock)
            # Before the new epoch begins, everything is as it was.
            online.serve(50)
            online.clock.advance(LEAD)
        new = online.serve(1_500)
        assert abs(new - 1_500 * share) <= 6 * (1_500 * share * (1 - share)) ** 0.5
    assert len(online.exposed) > 1_500


@pytest.mark.parametrize("memory", MEMORIES)
def test_shares_and_arms_move_nobody_who_was_exposed(memory: str) -> None:
    """Re-weighting, an arm more in a new revision, and an arm less: the exposed stay, the new get the new shares."""
    online = Online(MEMORIES[memory])
    register(online.log, online.experiment(), by="ann", reason="a test", stage="ab", clock=online.clock)
    online.serve(1_000)
    reweight(online.log, "demo", {"control": Fraction(1, 10), "treatment": Fraction(9, 10)}, by="ann", clock=online.clock)  # fmt: skip
    online.clock.advance(LEAD)
    before = dict(online.exposed)
    online.serve(1_000)
    new = [variant for unit, variant in online.exposed.items() if unit not in before]
    # Six standard errors of 1,000 draws at one in ten.
    assert abs(new.count("control") - 100) <= 6 * 90**0.5
    register(online.log, online.experiment(**THREE), by="ann", reason="a test", clock=online.clock)
    online.clock.advance(LEAD)
    before = dict(online.exposed)
    online.serve(1_000)
    new = [variant for unit, variant in online.exposed.items() if unit not in before]
    assert abs(new.count("brief") - 250) <= 6 * (1_000 * 3 / 16) ** 0.5
    reweight(online.log, "demo", {"control": Fraction(1, 2), "brief": Fraction(1, 2)}, by="ann", clock=online.clock)  # fmt: skip
    online.clock.advance(LEAD)
    online.serve(500)
    assigner = online.assigner()
    removed = [unit for unit, variant in online.exposed.items() if variant == "treatment"]
    assert len(removed) > 900
    for unit in removed:
        drawn = online.draw(assigner, unit)
        # It belongs to its arm and is served control, which is no exposure.
        assert (drawn.variant, drawn.reason, drawn.serves) == ("treatment", "removed", "control")
        assert drawn.config["model"] == "a"
        assert not drawn.counts


def test_a_revision_may_not_move_whom_nothing_remembers() -> None:
    """Without a memory, other shares, another arm and a smaller coverage are refused; a new version is not."""
    online = Online(NOTHING)
    whole = {"rollout": {"stages": ["ab"]}}
    register(online.log, online.experiment(**whole), by="ann", clock=online.clock)
    head = online.log.head()
    for more in (THREE, whole | {"allocation": {"control": "1/4", "treatment": "3/4"}}):
        with pytest.raises(UsageError) as refused:
            register(online.log, online.experiment(**more), by="ann", clock=online.clock)
        assert str(refused.value) == (
            "other shares would move units of demo that are exposed: it cannot be told when they entered. Keep the "
            "allocation, set `unit: {id: uuid7}`, `unit: {id: token}` or `pins: required` before the experiment "
            "starts, or reshuffle everybody with a new `assignment_version`"
        )
    with pytest.raises(UsageError) as refused:
        register(online.log, online.experiment(), by="ann", clock=online.clock)
    assert str(refused.value) == (
        "a coverage of 1.00% instead of 100.00% would take exposed units out of demo: it cannot be told when they "
        "entered. Cover as many as before, or reshuffle everybody with a new `assignment_version`"
    )
    assert online.log.head() == head
    register(online.log, online.experiment(assignment_version=2), by="ann", clock=online.clock)
    (epoch,) = online.assigner().history.epochs
    assert (epoch.number, epoch.starts, epoch.coverage) == (0, online.clock.now(), Fraction(1, 100))


@pytest.mark.parametrize("memory", [*MEMORIES, "none"])
def test_a_shadow_enrols_nobody_afterwards(memory: str) -> None:
    """Whoever began in the shadow stage is in no canary, and the canary never opens to more than its share."""
    staged = {"rollout": {"stages": ["shadow", "canary", "ab"], "canary": {"coverage": "1%"}}}
    online = Online(MEMORIES.get(memory, NOTHING) | staged)
    register(online.log, online.experiment(), by="ann", clock=online.clock)
    assert online.serve(300) == 0
    early = [uuid7(online.clock.now(), online.rng) for _ in range(300)]
    enter(online.log, "demo", "canary", by="ann", reason="a test", clock=online.clock)
    assert online.serve(300) == 0
    online.clock.advance(LEAD)
    assert online.serve(2_000) <= 20 + 6 * 20**0.5
    if memory == "uuid7":
        assert {online.assigner().draw(unit).reason for unit in early} == {"not_covered"}


def test_a_time_in_an_id_is_checked_and_never_clamped() -> None:
    """From before the first epoch, from the future, or of another kind of id: not enrolled, and each with its word."""
    online = Online(MEMORIES["uuid7"])
    start = online.clock.now()
    register(online.log, online.experiment(), by="ann", reason="a test", stage="ab", clock=online.clock)
    online.clock.advance(60)
    assigner = online.assigner()
    now = online.clock.now()
    made = uuid7(now, online.rng)
    for unit, reason in [
        (made, "split"),
        (uuid7(start, online.rng), "split"),
        (uuid7(start - 0.002, online.rng), "before_start"),
        (uuid7(0.0, online.rng), "before_start"),
        (uuid7(now + TOLERANCE, online.rng), "split"),
        (uuid7(now + TOLERANCE + 0.002, online.rng), "bad_time"),
        (uuid7(now + 10**9, online.rng), "bad_time"),
        ("conversation-1", "bad_id"),
        (made[:14] + "4" + made[15:], "bad_id"),
        (made[:19] + "0" + made[20:], "bad_id"),
        (made.replace("-", ""), "bad_id"),
        ("{" + made + "}", "bad_id"),
        (made[:-1] + "\u0661", "bad_id"),
        (made + "\n", "bad_id"),
        (made[:-1] + "_", "bad_id"),
    ]:
        drawn = assigner.draw(unit)
        assert drawn.reason == reason, (unit, reason)
        assert (drawn.variant is None) == (reason != "split")
        assert drawn.config["model"] == ("a" if drawn.variant is None else drawn.config["model"])


def test_whoever_has_not_heard_of_an_epoch_agrees_with_whoever_has() -> None:
    """Up to the end of the lease, any id that either accepts gets the same arm from both."""
    even = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
    first = Epoch(0, 1_800_000_000.0, even)
    announced = 1_800_000_100.0
    second = Epoch(1, announced + LEAD, {"control": Fraction(1, 10), "treatment": Fraction(9, 10)})
    experiment = read_canonical(BASE | MEMORIES["uuid7"])
    rng = random.Random(3)
    for late in (0.0, 0.5, LEASE):
        clock = ManualClock(announced + late)
        # It heard of everything up to the moment of the announcement, and its lease has not run out.
        deaf = Assigner(experiment, History([first], clock=clock))
        heard = Assigner(experiment, History([first, second], clock=clock))
        for ahead in (-60.0, -0.001, 0.0, 1.0, TOLERANCE - 0.001):
            for _ in range(40):
                unit = uuid7(clock.now() + ahead, rng)
                assert (deaf.draw(unit).variant, deaf.draw(unit).epoch) == (
                    heard.draw(unit).variant,
                    heard.draw(unit).epoch,
                )


def test_an_epoch_nobody_has_heard_of_is_not_guessed() -> None:
    """A token of an epoch that has not come in yet: the default, and nothing counted."""
    online = Online(MEMORIES["token"])
    register(online.log, online.experiment(), by="ann", reason="a test", stage="ab", clock=online.clock)
    drawn = online.assigner().draw("u", entered=1)
    assert (drawn.variant, drawn.reason) == (None, "stale")


def test_a_pause_keeps_whoever_began_before_it() -> None:
    """With a time in the id, what began before the doors were closed is in, and what begins after is not."""
    online = Online(MEMORIES["uuid7"])
    register(online.log, online.experiment(), by="ann", reason="a test", stage="ab", clock=online.clock)
    online.clock.advance(10)
    closed = online.assigner().closing("paused", online.clock.now())
    online.clock.advance(10)
    assert closed.draw(uuid7(online.clock.now() - 10.01, online.rng)).reason == "split"
    late = uuid7(online.clock.now() - 9.9, online.rng)
    assert closed.draw(late).reason == "paused"
    enrolled = Enrolled()
    enrolled.add(closed.experiment.name, late)
    served = Assigner(closed.experiment, closed.history, closed="paused", enrolled=enrolled)
    assert served.draw(late).reason == "split"
    assert closed.closing("stale", 0.0) is closed


def test_epochs_stand_in_their_order() -> None:
    """A history with a start before the one of the epoch before it is refused."""
    even = {"control": Fraction(1)}
    with pytest.raises(UsageError) as refused:
        History([Epoch(0, 2.0, even), Epoch(1, 1.0, even)])
    assert str(refused.value) == "epochs must be in the order of their start"


def test_a_clock_that_is_behind_does_not_break_the_order() -> None:
    """A revision registered from a machine whose clock is behind starts no earlier than the epoch before it."""
    online = Online(MEMORIES["uuid7"])
    register(online.log, online.experiment(), by="ann", reason="a test", stage="ab", clock=online.clock)
    ramp(online.log, "demo", Fraction(1), by="ann", clock=online.clock)
    behind = ManualClock(online.clock.now() - 60)
    register(online.log, online.experiment(hypothesis="Better said."), by="ann", reason="x", stage="ab", clock=behind)  # fmt: skip
    starts = [epoch.starts for epoch in online.assigner().history.epochs]
    assert starts == sorted(starts)
    assert len(starts) == 3


class SetClock:
    """A clock that others set, forwards and backwards."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"holdouts": {"all": "10%"}},
        {"target": {"country": ["DE"]}},
        {"layer": {"name": "l", "range": ["0", "1/2"]}},
    ],
    ids=["split alone", "holdout", "target", "layer"],
)
def test_who_comes_in_gets_the_epoch_of_the_moment_however_the_clock_moves(more):
    """An assigner that went from epoch to epoch draws as one that was made this moment, also after a step backwards."""
    rng = random.Random(11)
    experiment = read_canonical(BASE | {"unit": "conversation"} | more)
    starts = [100.0, 200.0, 200.0, 350.0, 351.0, 900.0]
    epochs = [
        Epoch(
            number,
            start,
            {"control": Fraction(share, 10), "treatment": Fraction(10 - share, 10)},
            Fraction(1 if number % 2 else 7, 1 if number % 2 else 10),
        )
        for number, (start, share) in enumerate(zip(starts, [5, 1, 9, 3, 8, 2], strict=True))
    ]
    clock = SetClock()
    goes_on = Assigner(experiment, History(epochs, clock=clock))
    seen = set()
    for _ in range(3_000):
        clock.at = rng.choice([rng.uniform(0.0, 1_000.0), rng.choice(starts), rng.choice(starts) - 1e-6])
        unit, where = f"unit-{rng.randrange(400)}", {"country": rng.choice(["DE", "FR"])}
        drawn = goes_on.draw(unit, where)
        fresh = Assigner(experiment, History(epochs, clock=clock)).draw(unit, where)
        assert (drawn.variant, drawn.reason, drawn.epoch) == (fresh.variant, fresh.reason, fresh.epoch)
        last = max((each.number for each in epochs if each.starts <= clock.at), default=None)
        if drawn.reason == "split":
            assert drawn.epoch == last
            seen.add(last)
        elif last is None and drawn.reason not in ("held_out", "not_targeted", "other_layer"):
            assert drawn.reason == "before_start"
    assert seen == {0, 2, 3, 4, 5}
