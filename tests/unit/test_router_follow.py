"""A router that follows a log: what it hears, what it serves, and what it does while the log is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from demo import DEMO
from gateways import until

from equipoise.assignment.configuration import Configuration, Folding, load_configuration
from equipoise.assignment.epochs import LEAD, LEASE
from equipoise.assignment.following import Following
from equipoise.assignment.pins import MemoryPins
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.move import Moved, kill, pause, ramp, resume, reweight, roll_back, ship
from equipoise.conduct.register import register
from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Exposure, Registration, Turn
from equipoise.events.log import EventLog, MemoryLog, Recorded, StaleHeadError
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

BASE: dict[str, Any] = DEMO | {
    "rollout": {"stages": ["canary", "ab"], "canary": {"coverage": "1%"}},
}
UNITS = [f"conversation-{index}" for index in range(200)]
START = 1_800_000_000.0


def experiment(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


class Fickle(MemoryLog):
    """A log that goes away when told to: it fails, or hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = self.hangs = False
        self.let_go = threading.Event()

    def _answer(self) -> None:
        if self.hangs:
            self.let_go.wait(60)
        if self.fails or self.hangs:
            raise RecordError("the log is away")

    def append(self, facts: Any) -> Any:
        self._answer()
        return super().append(facts)

    def wait(self, position: int, timeout: float) -> int:
        self._answer()
        return super().wait(position, timeout)

    def read_since(self, *args: Any, **kwargs: Any) -> Iterator[Recorded]:
        self._answer()
        return super().read_since(*args, **kwargs)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def log(clock: ManualClock) -> Iterator[Fickle]:
    """A log with the experiment in its ab stage."""
    made = Fickle()
    register(made, experiment(), by="ann", reason="a test", stage="ab", clock=clock)
    yield made
    made.let_go.set()


def heard(router: Router, done: Moved) -> None:
    """Wait until the router serves by what a verb did."""
    assert router._following is not None

    def holds() -> bool:
        assert router._following is not None
        running = router._following.configuration.experiments["demo"]
        return (running.stage, running.service) == (done.stage, done.service) and (
            done.epoch is None or running.epochs[-1].number == done.epoch
        )

    until(holds)


def arms(router: Router) -> dict[str, str | None]:
    return {unit: router.assign(unit).variant for unit in UNITS}


def reasons(router: Router, units: list[str] = UNITS) -> set[str]:
    return {router.assign(unit).reason for unit in units}


def test_a_router_hears_of_a_ramp(log: Fickle, clock: ManualClock) -> None:
    """The canary's one percent, then everybody when the epoch begins: who was in stays, with the same variant."""
    log = Fickle()
    register(log, experiment(), by="ann", clock=clock)
    with Router.follow("demo", log, clock=clock) as router:
        few = arms(router)
        assert sum(variant is not None for variant in few.values()) < 20
        heard(router, ramp(log, "demo", Fraction(1), by="ann", clock=clock))
        assert arms(router) == few
        clock.advance(LEAD)
        until(lambda: reasons(router) == {"split"})
        everybody = arms(router)
        assert all(everybody[unit] == variant for unit, variant in few.items() if variant is not None)
        assert everybody == {unit: Router(experiment(), coverage=1).assign(unit).variant for unit in UNITS}


def test_a_pause_keeps_the_exposed_and_lets_nobody_in(log: Fickle, clock: ManualClock) -> None:
    """Units exposed here keep their variant; others are served the default, unenrolled, until it is over."""
    with Router.follow("demo", log, clock=clock) as router:
        before = arms(router)
        for unit in UNITS[:50]:
            assert router.assign(unit).expose(wait=True)
        # Assigned is not exposed.
        heard(router, pause(log, "demo", by="ann", clock=clock))
        for unit in UNITS[:50]:
            assert (router.assign(unit).variant, router.assign(unit).reason) == (before[unit], "split")
            assert router.assign(unit).expose() is False
        for unit in UNITS[50:]:
            assigned = router.assign(unit)
            assert (assigned.variant, assigned.reason, assigned.config["model"]) == (None, "paused", "a")
            assert assigned.expose(wait=True) is False
        heard(router, resume(log, "demo", by="ann", clock=clock))
        assert arms(router) == before
    assert sum(record.fact.kind == "exposure" for record in log.read_since()) == 50


def test_a_kill_serves_control_to_everyone_and_forgets_no_arm(log: Fickle, clock: ManualClock) -> None:
    """Units stay in the arm they belong to, marked as redirected; it is no exposure; resuming brings it back."""
    with Router.follow("demo", log, clock=clock) as router:
        before = arms(router)
        treated = next(unit for unit, variant in before.items() if variant == "treatment")
        router.assign(treated).expose(wait=True)
        heard(router, kill(log, "demo", by="ann", clock=clock))
        assert arms(router) == before
        assert reasons(router) == {"redirected"}
        assert {router.assign(unit).config["model"] for unit in UNITS} == {"a"}
        assert not any(router.assign(unit).expose(wait=True) for unit in UNITS)
        router.assign(treated).turn(latency_s=1.0, wait=True)
        heard(router, resume(log, "demo", by="ann", clock=clock))
        assert reasons(router) == {"split"}
    turn = [record.fact for record in log.read_since(kinds=["turn"])][0]
    assert isinstance(turn, Turn)
    assert (turn.variant, turn.reason, turn.redirected) == ("treatment", "redirected", True)


@pytest.mark.parametrize("where", ["memory", "sqlite"])
def test_a_kill_is_heard_without_being_asked_for(where: str, tmp_path: Path) -> None:
    """Whoever follows is told from the thread that follows, of the kill itself and not of something before it."""
    log: EventLog = open_log("memory:" if where == "memory" else tmp_path / "log.db")
    register(log, experiment(), by="ann", reason="a test", stage="ab")
    killed = threading.Event()

    def changed(configuration: Configuration) -> None:
        if configuration.experiments["demo"].service == "redirected":
            killed.set()

    with Following(log, read_canonical, changed=changed):
        assert not killed.is_set()
        kill(log, "demo", by="ann")
        assert killed.wait(30)
    log.close()


def test_a_rollback_ends_it_now_or_for_new_conversations(log: Fickle, clock: ManualClock) -> None:
    """For new conversations the exposed go on; now, everyone is served control."""
    with Router.follow("demo", log, clock=clock) as router:
        before = arms(router)
        treated = next(unit for unit, variant in before.items() if variant == "treatment")
        router.assign(treated).expose(wait=True)
        done = roll_back(log, "demo", by="ann", reason="slow", scope="new_conversations", clock=clock)
        heard(router, done)
        assert router.assign(treated).config["model"] == "b"
        assert reasons(router, [unit for unit in UNITS if unit != treated]) == {"paused"}
        heard(router, roll_back(log, "demo", by="ann", reason="wrong", clock=clock))
        assert router.assign(treated).config["model"] == "a"
        assert router.assign(treated).reason == "redirected"


def test_what_ships_is_everyones_default_outside_the_holdouts(clock: ManualClock) -> None:
    """Nobody is enrolled any more; a kill afterwards serves control again."""
    log = MemoryLog()
    held = experiment(holdouts={"all": "50%"}, layer={"name": "bots", "range": ["0", "1/2"]})
    register(log, held, by="ann", reason="a test", stage="ab", clock=clock)
    with Router.follow("demo", log, clock=clock) as router:
        out = {unit for unit in UNITS if router.assign(unit).reason == "held_out"}
        assert 0 < len(out) < len(UNITS)
        heard(router, ship(log, "demo", "treatment", by="ann", reason="better", clock=clock))
        for unit in UNITS:
            assigned = router.assign(unit)
            told = (assigned.variant, assigned.reason, assigned.config["model"], assigned.enrolled)
            assert told == ((None, "held_out", "a", False) if unit in out else (None, "shipped", "b", False))
        heard(router, kill(log, "demo", by="ann", clock=clock))
        assert {router.assign(unit).config["model"] for unit in UNITS} == {"a"}
        heard(router, ship(log, "demo", "treatment", by="ann", reason="mended", clock=clock))
        assert {router.assign(unit).config["model"] for unit in UNITS if unit not in out} == {"b"}


def test_a_shadow_enrols_nobody_even_when_killed(clock: ManualClock) -> None:
    """Nobody belongs to an arm before the canary."""
    log = MemoryLog()
    staged = experiment(rollout={"stages": ["shadow", "ab"]})
    register(log, staged, by="ann", clock=clock)
    with Router.follow("demo", log, clock=clock) as router:
        assert reasons(router) == {"not_covered"}
        assert set(arms(router).values()) == {None}
        heard(router, kill(log, "demo", by="ann", clock=clock))
        assert set(arms(router).values()) == {None}


def test_a_turn_belongs_to_the_revision_it_was_assigned_in(log: Fickle, clock: ManualClock) -> None:
    """What is said late of an assignment carries its digest, not that of the revision that came meanwhile."""
    with Router.follow("demo", log, clock=clock) as router:
        assigned = router.assign("u")
        assigned.expose(wait=True)
        revised = experiment(hypothesis="Better said.")
        register(log, revised, by="ann", reason="a test", stage="ab", clock=clock)
        until(lambda: router.assign("u").experiment == revised.identity)
        assigned.turn(latency_s=1.0, wait=True)
        assert router.assign("u").variant == assigned.variant
        assert router.assign("u").expose(wait=True)
    facts = [record.fact for record in log.read_since(kinds=["exposure", "turn"])]
    assert [fact.digest for fact in facts if isinstance(fact, Exposure | Turn)] == [
        experiment().digest,
        experiment().digest,
        revised.digest,
    ]


def test_a_token_keeps_a_unit_in_its_epoch(clock: ManualClock) -> None:
    """Across a re-weighting, another process with the secret and the token gives the same variant."""
    log = MemoryLog()
    told = experiment(unit={"type": "conversation", "id": "token"})
    register(log, told, by="ann", reason="a test", stage="ab", clock=clock)
    with pytest.raises(UsageError) as refused:
        Router(told)
    assert str(refused.value) == (
        f"{told.identity} says `unit: {{id: token}}`; give the router the secret to sign tokens with"
    )
    secret = "a secret of some length"
    with Router.follow("demo", log, secret=secret, clock=clock) as router:
        before = {unit: router.assign(unit) for unit in UNITS}
        tokens = {unit: assigned.token for unit, assigned in before.items()}
        shares = {"control": Fraction(1, 20), "treatment": Fraction(19, 20)}
        heard(router, reweight(log, "demo", shares, by="ann", clock=clock))
        clock.advance(LEAD)
        until(lambda: reasons(router) == {"split"})
    with Router.follow("demo", log, secret=secret, clock=clock) as router:
        for unit in UNITS:
            again = router.assign(unit, token=tokens[unit])
            assert (again.variant, again.epoch, again.reason) == (before[unit].variant, 0, "split")
            # One that is forged, or another unit's, says nothing: the unit enters now.
            assert router.assign(unit, token=f"{tokens[unit]}x").epoch == 1
            assert router.assign(unit, token=tokens["conversation-0"]).epoch == (unit != "conversation-0")
        assert sum(router.assign(unit).variant != before[unit].variant for unit in UNITS) > 50
        heard(router, pause(log, "demo", by="ann", clock=clock))
        assert router.assign("conversation-1", token=tokens["conversation-1"]).enrolled
        assert not router.assign("conversation-1").enrolled
        assert router.assign("conversation-1").token is None


class Down(MemoryPins):
    """A pin store that goes away."""

    down = False

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        if self.down:
            raise RecordError("no pins")
        return super().pin(experiment_salt, unit, epoch)

    def find(self, experiment_salt: str, unit: str) -> int | None:
        if self.down:
            raise RecordError("no pins")
        return super().find(experiment_salt, unit)


def test_pins_keep_a_unit_in_its_epoch(clock: ManualClock) -> None:
    """A definition that needs them says so; without the store, whom we exposed stays and nobody new is enrolled."""
    log = MemoryLog()
    pinned = experiment(pins="required")
    register(log, pinned, by="ann", reason="a test", stage="ab", clock=clock)
    with pytest.raises(UsageError) as refused:
        Router(pinned)
    assert str(refused.value) == (
        f"{pinned.identity} says `pins: required`; give the router a store, such as pins=open_pins('pins.db')"
    )
    pins = Down()
    with Router.follow("demo", log, pins=pins, clock=clock) as router:
        before = arms(router)
        router.assign("conversation-0").expose(wait=True)
        shares = {"control": Fraction(1, 20), "treatment": Fraction(19, 20)}
        heard(router, reweight(log, "demo", shares, by="ann", clock=clock))
        clock.advance(LEAD)
        until(lambda: router.assign("new").reason == "split")
        assert arms(router) == before
        assert router.assign("new").epoch == 1
        router.assign("new").expose(wait=True)
        pins.down = True
        known = router.assign("new")
        assert (known.reason, known.epoch) == ("split", 1)
        new = router.assign("newer")
        assert (new.variant, new.reason) == (None, "unrecorded")


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_while_the_log_is_away_the_exposed_stay_and_nobody_enters(
    how: str, log: Fickle, clock: ManualClock
) -> None:
    """Within the lease nothing changes; after it, reason `stale` for the new. Nothing is raised, and it passes."""
    with Router.follow("demo", log, clock=clock) as router:
        before = arms(router)
        for unit in UNITS[:50]:
            router.assign(unit).expose(wait=True)
        setattr(log, how, True)
        assert arms(router) == before
        # What was underway when the log went away may still have come in.
        until(lambda: clock.advance(LEASE + 1) or reasons(router, UNITS[50:]) == {"stale"})
        for unit in UNITS[:50]:
            assert (router.assign(unit).variant, router.assign(unit).reason) == (before[unit], "split")
        new = router.assign(UNITS[60])
        assert (new.variant, new.config["model"], new.expose()) == (None, "a", False)
        log.fails = log.hangs = False
        log.let_go.set()
        until(lambda: reasons(router) == {"split"})
        assert arms(router) == before


def test_a_killed_experiment_stays_killed_while_the_log_is_away(log: Fickle, clock: ManualClock) -> None:
    """Being stale opens nothing: everybody is served control."""
    with Router.follow("demo", log, clock=clock) as router:
        router.assign("conversation-0").expose(wait=True)
        heard(router, kill(log, "demo", by="ann", clock=clock))
        log.fails = True
        clock.advance(LEASE + 1)
        assert {router.assign(unit).config["model"] for unit in UNITS} == {"a"}


def kept(path: Path, log: EventLog, clock: ManualClock) -> None:
    """Leave a last good configuration behind."""
    with Following(log, read_canonical, last_good=path, clock=clock):
        until(path.exists)


def test_a_restart_without_the_log_serves_by_the_last_good_configuration(
    log: Fickle, clock: ManualClock, tmp_path: Path
) -> None:
    """By a token, whoever was in stays; nobody new enters. Without the file there is nothing to serve by."""
    path = tmp_path / "last-good.json"
    kept(path, log, clock)
    found = load_configuration(path, read_canonical)
    assert found is not None
    with Following(log, read_canonical, clock=clock) as following:
        assert found.experiments == following.configuration.experiments
    secret = "a secret of some length"
    with Router(experiment(), secret=secret) as router:
        assigned = router.assign("u")
        token = assigned.token
    log.fails = True
    clock.advance(3_600)
    with Router.follow("demo", log, last_good=path, secret=secret, clock=clock) as router:
        assert router.experiment == experiment()
        assert reasons(router) == {"stale"}
        assert router.assign("u", token=token).variant == assigned.variant
        assert router._following is not None
        assert router._following.trouble == "the log is away"


def test_without_a_log_and_without_a_file_there_is_no_router(log: Fickle, tmp_path: Path) -> None:
    """The error names what is known, and what the log said."""
    log.fails = True
    with pytest.raises(RecordError) as refused:
        Router.follow("demo", log, last_good=tmp_path / "none.json")
    assert str(refused.value) == (
        "no experiment called 'demo' is known; the log holds: none. The log said: the log is away"
    )


def test_a_name_that_is_not_registered_is_refused(log: Fickle) -> None:
    """The error says what the log holds."""
    with pytest.raises(RecordError) as refused:
        Router.follow("dem", log)
    assert str(refused.value) == "no experiment called 'dem' is known; the log holds: demo"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_last_good_configuration_keeps_nobody_from_starting(
    damage: str, log: Fickle, clock: ManualClock, tmp_path: Path
) -> None:
    """It is told apart by its checksum, said as trouble, and written anew as soon as the log is heard."""
    path = tmp_path / "last-good.json"
    kept(path, log, clock)
    whole = path.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole.replace(b'"open"', b'"oopn"'),
        "empty": b"",
        "other": b"\xff\x00 not a configuration",
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(RecordError) as refused:
        load_configuration(path, read_canonical)
    assert str(refused.value) == f"the last good configuration {path} is damaged; remove it to start without"
    log.fails = True
    with Following(log, read_canonical, last_good=path, clock=clock, patience=0.2) as following:
        assert dict(following.configuration.experiments) == {}
        log.fails = False
        until(lambda: "demo" in following.configuration.experiments and following.trouble is None)
        until(lambda: path.read_bytes() != damaged)
    assert load_configuration(path, read_canonical) is not None


def test_an_empty_log_does_not_take_the_place_of_the_last_good_configuration(
    clock: ManualClock, tmp_path: Path
) -> None:
    """A log that was deleted and made anew is trouble, not the news that nothing runs any more."""
    where, path = tmp_path / "log.db", tmp_path / "last-good.json"
    log = open_log(where)
    register(log, experiment(), by="ann", reason="a test", stage="ab", clock=clock)
    kept(path, log, clock)
    log.close()
    whole = path.read_bytes()
    for each in tmp_path.glob("log.db*"):
        each.unlink()
    clock.advance(60)
    with Router.follow("demo", lambda: open_log(where), last_good=path, clock=clock) as router:
        assert reasons(router) == {"stale"}
        assert router._following is not None
        assert router._following.trouble == (
            "the log holds no experiment, and the last good configuration does: demo. Is it the right log?"
        )
    assert path.read_bytes() == whole


def test_a_log_that_became_shorter_is_not_the_log_it_was(log: Fickle, clock: ManualClock) -> None:
    """What was read is gone: it is trouble, and the configuration stays."""
    with Following(log, read_canonical, clock=clock) as following:
        until(lambda: following._position == 3)
        log._records.clear()
        until(lambda: following.trouble is not None)
        assert following.trouble == "the log ends at 0 and was read up to 3: it is not the log it was"
        assert "demo" in following.configuration.experiments


def test_what_began_before_it_was_kept_is_not_new_after_a_restart(
    log: Fickle, clock: ManualClock, tmp_path: Path
) -> None:
    """The file is kept anew from time to time although nothing moves, so that its age tells little."""
    path = tmp_path / "last-good.json"
    with Following(log, read_canonical, last_good=path, clock=clock):
        until(path.exists)
        clock.advance(600)

        def fresh() -> bool:
            found = load_configuration(path, read_canonical)
            return found is not None and found.as_of == START + 600

        until(fresh)


def test_a_log_may_be_a_function_that_opens_it(clock: ManualClock, tmp_path: Path) -> None:
    """What is served is recorded in it all the same, as soon as it opens."""
    where = tmp_path / "log.db"
    log = open_log(where)
    register(log, experiment(), by="ann", reason="a test", stage="ab", clock=clock)
    with Router.follow("demo", lambda: open_log(where), clock=clock) as router:
        assert router.assign("u").expose(wait=True)
    assert [record.fact.kind for record in log.read_since()][3:] == ["exposure"]
    log.close()


def test_a_definition_of_a_later_version_is_left_out() -> None:
    """The others are served; nothing of it is guessed."""
    log = MemoryLog()
    register(log, experiment(), by="ann", reason="a test", stage="ab")
    register(log, experiment(name="other"), by="ann", reason="a test", stage="ab")
    folding = Folding(read_canonical)
    folding.take(record.fact for record in log.read_since())
    later = Registration(experiment="demo", happened=1.0, digest="d" * 64, definition={"name": "demo", "from_the_future": 1}, plan={}, by="ann")  # fmt: skip
    moved = next(record.fact for record in log.read_since(experiment="demo", kinds=["transition"]))
    assert set(folding.configuration(0.0).experiments) == {"demo", "other"}
    folding.take([later, moved])
    assert set(folding.configuration(0.0).experiments) == {"other"}


def test_a_listener_that_fails_does_not_fold_anything_twice(log: Fickle, clock: ManualClock) -> None:
    """An error in whoever is told is trouble of theirs: the epochs are as many as there are."""
    told = []

    def changed(configuration: Configuration) -> None:
        told.append(len(configuration.experiments["demo"].epochs))
        raise ValueError("a defect")

    with Following(log, read_canonical, changed=changed, clock=clock, patience=0.2) as following:
        until(lambda: len(told) == 1)
        ramp(log, "demo", Fraction(1), by="ann", clock=clock)
        until(lambda: len(told) == 2)
        until(lambda: following.trouble is None)
    assert told == [1, 2]


def test_a_tester_whose_variant_is_gone_is_served_like_anybody(log: Fickle, clock: ManualClock) -> None:
    """A revision without the forced variant raises nothing into the caller."""
    log = Fickle()
    three = {
        "variants": BASE["variants"] | {"brief": {"model": "c"}},
        "unit": {"type": "user", "id": "token"},
    }
    secret = "a secret of some length"
    register(log, experiment(**three), by="ann", reason="a test", stage="ab", clock=clock)
    forced = {"tester": "brief", "other": "treatment"}
    with Router.follow("demo", log, forced=forced, secret=secret, clock=clock) as router:
        assert router.assign("tester").config["model"] == "c"
        two = experiment(unit=three["unit"])
        register(log, two, by="ann", reason="a test", stage="ab", clock=clock)
        until(lambda: router.assign("u").experiment == two.identity)
        assert router.assign("tester").reason in ("split", "removed")
        assert router.assign("other").reason == "forced"


VERBS: list[Callable[[EventLog], Moved]] = [
    lambda log: enter(log, "demo", "canary", by="one", reason="back"),
    lambda log: ramp(log, "demo", Fraction(1), by="one"),
    lambda log: pause(log, "demo", by="one"),
    lambda log: kill(log, "demo", by="one"),
    lambda log: roll_back(log, "demo", by="one", reason="slow"),
    lambda log: ship(log, "demo", "treatment", by="one", reason="better"),
]


class Together(MemoryLog):
    """A log in which two operators have both looked before either of them writes."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def append_if(self, *args: Any, **kwargs: Any) -> Any:
        if self.barrier is not None:
            self.barrier.wait(30)
            # What the one who was first does afterwards waits for nobody.
            self.barrier = None
        return super().append_if(*args, **kwargs)


@pytest.mark.parametrize("verb", VERBS)
def test_of_two_operators_exactly_one_moves(verb: Callable[[EventLog], Moved]) -> None:
    """Both decided on the same state: one is done, the other is told to look again; nothing is half done."""
    log = Together()
    remembering = experiment(unit={"type": "conversation", "id": "uuid7"})
    register(log, remembering, by="ann", reason="a test", stage="ab")
    head = log.head()
    log.barrier = threading.Barrier(2)

    def attempt(first: bool) -> Moved | StaleHeadError:
        try:
            return verb(log) if first else kill(log, "demo", by="two")
        except StaleHeadError as stale:
            return stale

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, (True, False)))
    assert sorted(isinstance(result, Moved) for result in results) == [False, True]
    winner = "one" if isinstance(results[0], Moved) else "two"
    written = [record.fact for record in log.read_since(head)]
    assert written
    assert {getattr(fact, "by", None) for fact in written} == {winner}
