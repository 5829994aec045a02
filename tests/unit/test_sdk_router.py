"""The door for code: assign, expose, track, turn; what is durable, what is lost, and who is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.clock import ManualClock
from equipoise.errors import EquipoiseError, RecordError, UsageError
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.events.log import MemoryLog, Receipt
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.writer import LogWriter
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

EXPERIMENT = read_canonical(
    {
        "name": "demo",
        "hypothesis": "A newer model resolves more.",
        "unit": {"type": "conversation", "from": "header:x-conversation-id"},
        "changes": ["model", "params"],
        "variants": {
            "control": {"model": "a", "params": {"temperature": 0.3, "stop": ["x"]}},
            "treatment": {"model": "b"},
        },
        "allocation": {"control": "1/4", "treatment": "3/4"},
        "metrics": {"resolution_rate": {"priority": "primary"}},
    }
)


ACCEPTED = (
    "blocked, cached_tokens, cancelled, cost_usd, empty, error, fallback, fingerprint, finish_reason, input_tokens, "
    "itl_max_s, itl_p50_s, itl_p95_s, itl_s, json_valid, latency_s, model, output_tokens, overhead_s, retries, retrieved_documents, "
    "retrieved_tokens, safe, sent_digest, status, stream, tool_calls, tpot_s, trace, ttft_s, warm"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def facts(path: Path) -> list[Fact]:
    log = SQLiteLog(path, create=False)
    found = [record.fact for record in log.read_since()]
    log.close()
    return found


def test_an_assignment_says_what_and_why() -> None:
    """Variant, reason, probability and settings; it is a value that cannot be changed."""
    router = Router(EXPERIMENT)
    assigned = router.assign("conversation-1")
    assert assigned == Router(EXPERIMENT).assign("conversation-1")
    assert (assigned.experiment, assigned.unit, assigned.reason) == (
        EXPERIMENT.identity,
        "conversation-1",
        "split",
    )
    assert assigned.variant in ("control", "treatment")
    assert assigned.enrolled
    assert assigned.probability == {"control": 0.25, "treatment": 0.75}[assigned.variant]
    assert dict(assigned.config) == EXPERIMENT.variant(assigned.variant).settings | (
        {"params": assigned.config["params"]} if assigned.variant == "control" else {}
    )
    with pytest.raises(TypeError):
        assigned.config["model"] = "c"  # type: ignore[index]
    with pytest.raises(AttributeError):
        assigned.variant = "control"  # type: ignore[misc]


def test_a_unit_that_is_not_enrolled_gets_the_default_and_leaves_no_trace() -> None:
    """It is served control's settings, is not control, and nothing said of it is recorded."""
    log = MemoryLog()
    with Router(EXPERIMENT, log=log, coverage=0) as router:
        assigned = router.assign("conversation-1")
        assert (assigned.variant, assigned.reason, assigned.probability) == (None, "not_covered", None)
        assert not assigned.enrolled
        assert assigned.config["model"] == "a"
        assert assigned.expose() is False
        assert assigned.expose(wait=True) is False
        assigned.track("resolved")
        assigned.turn(latency_s=1.0)
    assert log.head() == 0


def test_what_is_said_of_a_unit_arrives_whole() -> None:
    """Exposure, turn and outcome carry the experiment, the unit, the time and everything given."""
    log = MemoryLog()
    clock = ManualClock(100.0)
    with Router(EXPERIMENT, log=log, clock=clock) as router:
        assigned = router.assign("Zoë 🙂")
        assert assigned.expose({"tier": "free"}) is True
        clock.advance(1.0)
        assigned.turn(
            latency_s=1.25, cost_usd=0, input_tokens=10, safe=True, error=False, model="b", ttft_s=None
        )
        clock.advance(1.0)
        assigned.track("resolved")
        assigned.track("csat", 4)
        assigned.track("money", -1.5)
        assigned.track("thumbs_up", False)
    exposure, turn, *outcomes = (record.fact for record in log.read_since())
    assert exposure == Exposure(
        experiment="demo", happened=100.0, event_id=exposure.event_id, digest=EXPERIMENT.digest, unit="Zoë 🙂",
        unit_type="conversation", variant=str(assigned.variant), probability=assigned.probability or 0.0, reason="split",
        epoch=0, hash_version=1, attributes={"tier": "free"},
    )  # fmt: skip
    assert turn == Turn(
        experiment="demo", happened=101.0, event_id=turn.event_id, unit="Zoë 🙂", latency_s=1.25, cost_usd=0,
        input_tokens=10, safe=True, error=False, model="b", digest=EXPERIMENT.digest, variant=assigned.variant, epoch=0,
        reason="split",
    )  # fmt: skip
    assert [(each.name, each.value, each.happened) for each in outcomes if isinstance(each, Outcome)] == [
        ("resolved", True, 102.0), ("csat", 4, 102.0), ("money", -1.5, 102.0), ("thumbs_up", False, 102.0),
    ]  # fmt: skip


def test_a_unit_is_exposed_once() -> None:
    """The first call says so, repetitions are harmless and record nothing; another router may repeat it."""
    log = MemoryLog()
    with Router(EXPERIMENT, log=log) as router:
        assert [router.assign("u").expose() for _ in range(5)] == [True, False, False, False, False]
        assert router.assign("v").expose() is True
    with Router(EXPERIMENT, log=log) as router:
        assert router.assign("u").expose() is True
    assert [record.fact.unit for record in log.read_since() if isinstance(record.fact, Exposure)] == [
        "u",
        "v",
        "u",
    ]


def test_waiting_means_it_is_on_disk(path: Path) -> None:
    """With wait=True the fact can be read from the file by another connection when the call returns."""
    log = SQLiteLog(path)
    router = Router(EXPERIMENT, log=log)
    assigned = router.assign("u")
    assert assigned.expose(wait=True) is True
    assert [fact.kind for fact in facts(path)] == ["exposure"]
    assigned.track("resolved", wait=True)
    assert [fact.kind for fact in facts(path)] == ["exposure", "outcome"]
    assigned.turn(latency_s=1.0, wait=True)
    assert [fact.kind for fact in facts(path)] == ["exposure", "outcome", "turn"]
    router.close()
    log.close()


class Held(MemoryLog):
    """A log in memory whose disk is slow: it accepts nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.asked = threading.Event()

    def append(self, facts: Any) -> Receipt:
        self.asked.set()
        assert self.go.wait(30)
        return super().append(facts)


def test_whoever_exposes_second_and_waits_waits_for_the_first() -> None:
    """wait=True promises durability also to the caller whose unit another thread is exposing just now."""
    log = Held()
    with Router(EXPERIMENT, log=log) as router, ThreadPoolExecutor(1) as pool:
        assert router.assign("u").expose() is True
        assert log.asked.wait(30)
        second = pool.submit(router.assign("u").expose, wait=True)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.1)
        log.go.set()
        assert second.result(timeout=30) is False
        assert log.head() == 1


def test_closing_writes_what_is_left(path: Path) -> None:
    """Everything handed over is on disk after close, in order; the log stays open and is the caller's."""
    log = SQLiteLog(path)
    router = Router(EXPERIMENT, log=log)
    for index in range(3_000):
        router.assign("u").track("count", index)
    router.close()
    router.close()
    assert [fact.value for fact in facts(path) if isinstance(fact, Outcome)] == list(range(3_000))
    assert log.head() == 3_000
    log.close()


def test_flushing_writes_what_was_said_so_far(path: Path) -> None:
    """flush returns when everything before it is on disk, and the router goes on."""
    log = SQLiteLog(path)
    with Router(EXPERIMENT, log=log) as router:
        for index in range(500):
            router.assign("u").track("count", index)
        router.flush()
        assert len(facts(path)) == 500
        router.assign("u").track("count", 500)
    assert len(facts(path)) == 501
    log.close()


def test_a_router_is_shared_by_threads(path: Path) -> None:
    """Each unit is exposed by exactly one of them, and nothing is lost."""
    log = SQLiteLog(path)
    with Router(EXPERIMENT, log=log) as router:

        def serve(worker: int) -> int:
            first = 0
            for index in range(200):
                assigned = router.assign(f"unit-{index}")
                first += assigned.expose()
                assigned.track("count", worker)
            return first

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(serve, range(8))) == 200
    kept = facts(path)
    assert sorted(fact.unit for fact in kept if isinstance(fact, Exposure)) == sorted(
        f"unit-{i}" for i in range(200)
    )
    assert sum(isinstance(fact, Outcome) for fact in kept) == 1_600
    log.close()


def test_a_lost_fact_is_told(path: Path) -> None:
    """A log that fails: waiting raises, not waiting counts, closing warns, and a lost exposure is told again."""
    log = SQLiteLog(path)
    log.close()
    sentence = f"the log {path} could not be written: Cannot operate on a closed database."
    router = Router(EXPERIMENT, log=log)
    assigned = router.assign("u")
    for call in (
        lambda: assigned.expose(wait=True),
        lambda: assigned.track("resolved", wait=True),
        lambda: assigned.turn(safe=True, wait=True),
    ):
        with pytest.raises(RecordError) as lost:
            call()
        assert str(lost.value) == sentence
    assert router.lost == 3
    assert assigned.expose() is True
    router.flush()
    assert router.lost == 4
    assert assigned.expose() is True
    with pytest.warns(RuntimeWarning) as warned:
        router.close()
    assert [str(each.message) for each in warned] == [
        f"5 facts could not be written and are lost: {sentence}"
    ]
    assert router.lost == 5
    router.close()


def test_nothing_lost_is_nothing_said(path: Path) -> None:
    """A router that wrote everything closes in silence, with a count of zero (warnings are errors here)."""
    log = SQLiteLog(path)
    with Router(EXPERIMENT, log=log) as router:
        router.assign("u").expose()
    assert router.lost == 0
    log.close()


def test_a_closed_router_still_assigns_and_refuses_to_record() -> None:
    """What is said after closing is refused aloud, each time, and never taken for an exposure."""
    router = Router(EXPERIMENT, log=MemoryLog())
    router.close()
    assigned = router.assign("u")
    assert assigned.enrolled
    for call in (
        assigned.expose,
        assigned.expose,
        lambda: assigned.track("resolved"),
        lambda: assigned.turn(safe=True),
    ):
        with pytest.raises(UsageError) as refused:
            call()
        assert str(refused.value) == "this writer is closed; make another to go on writing"


def test_a_router_without_a_log_assigns_only() -> None:
    """Recording without a log is an error with the way out, not a silence."""
    with Router(EXPERIMENT) as router:
        assigned = router.assign("u")
        for call in (assigned.expose, lambda: assigned.track("resolved"), lambda: assigned.turn(safe=True)):
            with pytest.raises(UsageError) as refused:
                call()
            assert str(refused.value) == (
                "this router has no log to write to; make it with Router(experiment, log=open_log('equipoise.db'))"
            )
        router.flush()
        assert router.lost == 0


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda a: a.track(""), "an outcome is named by letters, digits and '_', and this is ''"),
        (lambda a: a.track("a b"), "an outcome is named by letters, digits and '_', and this is 'a b'"),
        (lambda a: a.track("outcome.resolved"), "an outcome is named by letters, digits and '_', and this is 'outcome.resolved'"),
        (lambda a: a.track("résolu"), "an outcome is named by letters, digits and '_', and this is 'résolu'"),
        (lambda a: a.track(None), "an outcome is named by letters, digits and '_', and this is None"),
        (lambda a: a.track("csat", "4"), "an outcome is true, false or a finite number, and csat is '4'"),
        (lambda a: a.track("csat", None), "an outcome is true, false or a finite number, and csat is None"),
        (lambda a: a.track("csat", float("nan")), "an outcome is true, false or a finite number, and csat is nan"),
        (lambda a: a.track("csat", float("-inf")), "an outcome is true, false or a finite number, and csat is -inf"),
        (lambda a: a.track("csat", 10**19), "an outcome is true, false or a finite number, and csat is 10000000000000000000"),
        (lambda a: a.turn(latency=1.0, cost=2), "a turn has no cost, latency; accepted: " + ACCEPTED),
        (lambda a: a.turn(unit="other"), "a turn has no unit; accepted: " + ACCEPTED),
        (lambda a: a.turn(event_id="x"), "a turn has no event_id; accepted: " + ACCEPTED),
        (lambda a: a.turn(latency_s="1.2"), "latency_s of a turn is a finite number, and this is '1.2'"),
        (lambda a: a.turn(latency_s=float("nan")), "latency_s of a turn is a finite number, and this is nan"),
        (lambda a: a.turn(latency_s=True), "latency_s of a turn is a finite number, and this is True"),
        (lambda a: a.turn(input_tokens=1.5), "input_tokens of a turn is a whole number, and this is 1.5"),
        (lambda a: a.turn(safe=1), "safe of a turn is true or false, and this is 1"),
        (lambda a: a.turn(model=4), "model of a turn is text, and this is 4"),
        (lambda a: a.expose({"tier": object()}), "this exposure cannot be kept: Type is not JSON serializable: object"),
        (lambda a: a.expose({"tier": "\ud800"}), "this exposure cannot be kept: str is not valid UTF-8: surrogates not allowed"),
        (lambda a: a.turn(model="\ud800"), "this turn cannot be kept: str is not valid UTF-8: surrogates not allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_refused_where_it_is_said(call: Any, sentence: str) -> None:
    """The caller hears of it at once; nobody else's facts are lost with it, and nothing of it is kept."""
    log = MemoryLog()
    with Router(EXPERIMENT, log=log) as router:
        assigned = router.assign("u")
        with pytest.raises(UsageError) as refused:
            call(assigned)
        assert str(refused.value) == sentence
        router.assign("v").track("resolved")
        assert assigned.expose(wait=True) is True
    assert router.lost == 0
    assert sorted(record.fact.kind for record in log.read_since()) == ["exposure", "outcome"]


def test_numbers_of_numpy_are_numbers() -> None:
    """float64, as it comes out of an array, is kept as the number it is."""
    log = MemoryLog()
    with Router(EXPERIMENT, log=log) as router:
        router.assign("u").track("csat", np.float64(4.5))
        router.assign("u").turn(latency_s=np.float64(0.1))
    outcome, turn = (record.fact for record in log.read_since())
    assert isinstance(outcome, Outcome)
    assert outcome.value == 4.5
    assert isinstance(turn, Turn)
    assert turn.latency_s == 0.1


class Gone(MemoryLog):
    """A log that has gone away."""

    def append(self, facts: Any) -> Receipt:
        raise RecordError("gone")


def test_a_writer_tells_each_waiting_caller() -> None:
    """Every future holds the error of its own delivery; the writer counts them and goes on."""
    with LogWriter(Gone()) as writer:
        futures = [
            writer.submit(Outcome(experiment="e", happened=0.0, unit="u", name="n", value=1))
            for _ in range(20)
        ]
        writer.flush()
        assert [str(future.exception(timeout=10)) for future in futures] == ["gone"] * 20
        assert writer.failed == 20
        assert str(writer.error) == "gone"


def test_a_full_backlog_slows_down_and_loses_nothing() -> None:
    """Beyond the backlog submitting waits for the disk."""
    log = Held()
    writer = LogWriter(log, backlog=5)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(
            lambda: [
                writer.submit(Outcome(experiment="e", happened=0.0, unit="u", name="n", value=i))
                for i in range(50)
            ]
        )
        assert log.asked.wait(30)
        with pytest.raises(TimeoutError):
            done.result(timeout=0.1)
        log.go.set()
        done.result(timeout=30)
    writer.close()
    assert [record.fact.value for record in log.read_since() if isinstance(record.fact, Outcome)] == list(
        range(50)
    )


HEAVY = ("numpy", "duckdb", "aiohttp", "starlette", "scipy", "pyarrow", "pandas", "jinja2")


@pytest.mark.parametrize(
    "script",
    [
        "import equipoise; equipoise.Router",
        "import equipoise; equipoise.EventLog, equipoise.Exposure, equipoise.Assignment",
        (
            "import equipoise; log = equipoise.open_log('memory:'); router = equipoise.Router(sys.argv[1], log=log); "
            "assigned = router.assign('u'); assigned.expose(wait=True); assigned.track('resolved'); router.close()"
        ),
    ],
)
def test_the_light_path_is_light(script: str, tmp_path: Path) -> None:
    """Routing and recording in a fresh process load no numbers, no server and no client."""
    import json

    from equipoise.experiment.identity import canonical

    (tmp_path / "e.json").write_text(json.dumps(canonical(EXPERIMENT)), "utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\nprint(sorted(set(sys.modules) & set({HEAVY!r})))", str(tmp_path / "e.json")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, ran.returncode) == ("[]\n", "", 0)


def test_every_error_of_the_router_is_of_the_family() -> None:
    """One except clause is enough around a router."""
    assert issubclass(UsageError, EquipoiseError)
    assert issubclass(RecordError, EquipoiseError)


def test_a_router_with_a_name_signs_what_it_records(path: Path) -> None:
    """`source` stands on exposure, turn and outcome; without it there is none; a name that is none is refused first."""
    for source, unit in (("checkout", "u1"), (None, "u2")):
        log = SQLiteLog(path)
        with Router(EXPERIMENT, log=log, source=source) as router:
            assigned = router.assign(unit)
            assigned.expose()
            assigned.turn(latency_s=1.0)
            assigned.track("resolved")
        log.close()
    told = [(type(fact).__name__, getattr(fact, "source", "")) for fact in facts(path)]
    kinds = ("Exposure", "Turn", "Outcome")
    assert told == [*((kind, "checkout") for kind in kinds), *((kind, None) for kind in kinds)]

    def opened() -> SQLiteLog:
        raise AssertionError("nothing is opened for a name that is refused")

    for wrong in ("", "a\nb", "x" * 101, 7):
        said = f"a `source` is text of 1 to 100 printable characters, and this is {wrong!r}"
        with pytest.raises(UsageError) as refused:
            Router(EXPERIMENT, source=wrong)  # type: ignore[arg-type]
        assert str(refused.value) == said
        with pytest.raises(UsageError, match="a `source` is text"):
            Router.follow("demo", opened, source=wrong)  # type: ignore[arg-type]
