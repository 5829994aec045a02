"""Two clocks of every event: whose is ahead, and that one that is wildly off decides neither the beginning nor the end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median_low
from typing import Any

import pytest

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Check
from equipoise.analysis.health import check_health
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Exposure, Fact, Look, Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.postgres import PostgresLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log
from equipoise.measurement.tally import Enrolment, Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import decide

DAY = 86_400.0
START = 20_000 * DAY
YEAR_2100 = 4_102_444_800.0


def experiment(**plan: Any) -> Experiment:
    return read_canonical(
        {
            "name": "clocks",
            "hypothesis": "No clock decides alone.",
            "changes": ["config"],
            "unit": {"type": "user"},
            "variants": {"control": {"config": {"x": 1}}, "treatment": {"config": {"x": 2}}},
            "metrics": {
                "won": {
                    "priority": "primary",
                    "kind": "proportion",
                    "of": "outcome.won",
                    "better": "higher",
                    "window": "2d",
                }
            },
            "plan": plan,
        }
    )


PLAIN = experiment()
CUT = experiment(burn_in="1d", cycle="7d", whole_cycles=True)


Told = Iterable[tuple[float, Fact]]
"""Facts, each with when it is received."""
Measure = Callable[[Experiment, Told], Measurement]


@pytest.fixture(params=["memory", "sqlite", "sealed", "postgres"])
def measure(request: pytest.FixtureRequest, tmp_path: Path) -> Measure:
    """What a log of each kind holds once it was told so."""

    def measured(of: Experiment, told: Told) -> Measurement:
        clock = ManualClock(0.0)
        log: Any
        if request.param == "memory":
            log = MemoryLog(clock)
        elif request.param == "postgres":
            log = PostgresLog(request.getfixturevalue("postgres").database(), clock=clock)
        else:
            log = SQLiteLog(tmp_path / "log.db", clock=clock)
        try:
            for received, fact in sorted(told, key=lambda each: each[0]):
                clock.advance(received - clock.now())
                log.append([fact])
            if request.param == "sealed":
                assert seal(log.path, hot_s=0, segment_facts=17, clock=clock).facts > 0
            return measure_log(of, log)
        finally:
            log.close()

    return measured


def exposure(unit: int, happened: float, of: Experiment) -> Exposure:
    return Exposure(
        experiment="clocks", happened=happened, digest=of.digest, unit=f"u{unit}", unit_type="user",
        variant=of.variants[unit % 2].name, probability=0.5, reason="split",
    )  # fmt: skip


def outcome(unit: int, happened: float, source: str | None = None) -> Outcome:
    return Outcome(
        experiment="clocks", happened=happened, unit=f"u{unit}", name="won", value=True, source=source
    )


def twenty_days(of: Experiment) -> list[tuple[float, Fact]]:
    """Two units a day, and an hour later what became of them; both clocks agree to half a second."""
    told: list[tuple[float, Fact]] = []
    for unit in range(40):
        at = START + unit * DAY / 2
        told += [(at + 0.25, exposure(unit, at, of)), (at + 3600.5, outcome(unit, at + 3600, "shop"))]
    return told


def wild(of: Experiment) -> list[tuple[float, Fact]]:
    """A clock without a battery, and some from the next century."""
    return [
        (START + 10 * DAY, exposure(40, 0.0, of)),
        (START + 10 * DAY, exposure(41, YEAR_2100, of)),
        (START + 10 * DAY, outcome(3, YEAR_2100, "kiosk")),
        (START + 10 * DAY, Turn(experiment="clocks", happened=YEAR_2100, unit="u4", variant="control")),
    ]


def test_a_wild_clock_moves_neither_the_beginning_nor_the_end(measure: Measure) -> None:
    """With one exposure of 1970 and events of 2100: first, last, burn-in and cycles are as without them."""
    measured = measure(CUT, [*twenty_days(CUT), *wild(CUT)])
    assert (measured.first, measured.last) == (START, START + 19.5 * DAY + 3600)
    assert measured.enrolment == Enrolment(burn_in=2, unfinished=10, whole_cycles=2)
    # Who was exposed under a wild clock came in when the record heard of it, in the second cycle.
    assert sum(measured.units.values()) == 30
    assert (measured.aside.redated, measured.aside.ahead) == (2, 3)


@pytest.mark.parametrize("wildly", [False, True], ids=["sound", "wild"])
def test_a_wild_clock_matures_nobody(measure: Measure, wildly: bool) -> None:
    """A window of two days is over for 36 of the 40 units, and the two of the wild clocks, whatever 2100 says."""
    measured = measure(PLAIN, [*twenty_days(PLAIN), *(wild(PLAIN) if wildly else [])])
    tallies = measured.tallies["won"].values()
    assert sum(tally.immature for tally in tallies) == 4
    assert sum(tally.units + tally.missing for tally in tallies) == (38 if wildly else 36)
    assert (measured.aside.redated, measured.aside.ahead) == ((2, 3) if wildly else (0, 0))


LAST = read_canonical(
    {
        "name": "clocks",
        "hypothesis": "No clock decides alone.",
        "changes": ["config"],
        "unit": {"type": "user"},
        "variants": {"control": {"config": {"x": 1}}, "treatment": {"config": {"x": 2}}},
        "metrics": {
            "won": {
                "priority": "primary", "kind": "proportion", "of": "outcome.won", "better": "higher", "per_unit": "last"
            },
            "mood": {"kind": "mean", "of": "score.mood", "better": "higher", "per_unit": "last"},
        },
    }
)  # fmt: skip


def test_what_was_said_of_the_next_century_is_not_the_last_word(measure: Measure) -> None:
    """An outcome dated 2100 and received on the tenth day is later than one of the ninth and earlier than one of the eleventh."""
    told = twenty_days(LAST)

    def lost(unit: int, happened: float) -> Outcome:
        return Outcome(experiment="clocks", happened=happened, unit=f"u{unit}", name="won", value=False)

    for unit, day in ((0, 9), (2, 11)):
        told.append((START + day * DAY, outcome(unit, START + day * DAY)))
        told.append((START + 10 * DAY, lost(unit, YEAR_2100)))
    measured = measure(LAST, told)
    moments = measured.tallies["won"]["control"].moments
    assert moments is not None
    assert (moments.n, moments.mean) == (20, 19 / 20)
    assert measured.last == START + 19.5 * DAY + 3600


def test_a_score_counts_when_its_turn_did_however_long_the_judge_took(measure: Measure) -> None:
    """The second turn's score came first, and the first turn's last: the last mood is the second turn's."""
    told: list[tuple[float, Fact]] = twenty_days(LAST)
    for unit in range(40):
        at = START + unit * DAY / 2
        common = {"experiment": "clocks", "unit": f"u{unit}"}
        told += [
            (at + 1 + k, Turn(**common, happened=at + k, variant="control", trace=f"t{unit} {k}"))
            for k in (0, 1)
        ]
        told += [
            (at + 60 - k, Score(**common, happened=at + 50 - k, name="mood", value=float(k), evaluator="e", trace=f"t{unit} {k}"))
            for k in (0, 1)
        ]  # fmt: skip
    for tally in measure(LAST, told).tallies["mood"].values():
        assert tally.moments is not None
        assert (tally.moments.n, tally.moments.mean) == (20, 1.0)


def test_wild_clocks_in_what_was_imported_long_after_decide_nothing_either() -> None:
    """All received 100 days later in one go: the spread of the delays is no fault of anybody's, and 2100 does not end it."""
    log = MemoryLog(ManualClock(START + 100 * DAY))
    log.append([fact for _, fact in twenty_days(CUT)])
    sound = measure_log(CUT, log)
    log.append([fact for _, fact in wild(CUT)])
    measured = measure_log(CUT, log)
    assert (sound.first, sound.last) == (measured.first, measured.last) == (START, START + 19.5 * DAY + 3600)
    assert sound.enrolment == Enrolment(burn_in=2, unfinished=10, whole_cycles=2)
    # When the two came in nobody knows; they wait.
    assert measured.enrolment == Enrolment(burn_in=2, unfinished=12, whole_cycles=2)
    assert (sound.aside.redated, sound.aside.ahead) == (0, 0)
    assert (measured.aside.redated, measured.aside.ahead) == (2, 3)


def test_what_is_delivered_late_happened_when_it_says(measure: Measure) -> None:
    """An exposure that lay on a device for sixty days is the first of all."""
    late = exposure(50, START - 50 * DAY, PLAIN)
    measured = measure(PLAIN, [*twenty_days(PLAIN), (START + 10 * DAY, late)])
    assert (measured.first, measured.aside.redated) == (late.happened, 0)


def test_a_simulated_time_with_the_clock_of_the_machine_is_left_alone() -> None:
    """Whoever records hours of 1970 in a second has no wild clock: every delay is as long as the others."""
    log = MemoryLog()
    for unit in range(50):
        log.append([exposure(unit, unit * 3600.0, PLAIN), outcome(unit, unit * 3600.0 + 60)])
    measured = measure_log(PLAIN, log)
    assert (measured.first, measured.last) == (0.0, 49 * 3600.0 + 60)
    assert (measured.aside.redated, measured.aside.ahead) == (0, 0)


def test_the_delays_of_each_kind_and_source_are_counted(measure: Measure) -> None:
    """Against the same in plain Python: how many, the middle, the ends, ahead and late; to the stated precision."""
    rng = random.Random(7)
    told: list[tuple[float, Fact]] = [(START, exposure(0, START, PLAIN))]
    delays: dict[tuple[str, str | None], list[float]] = {("exposure", None): [0.0]}
    for source in (None, "shop", 'Zoë "source" 🙂'):
        for index in range(rng.randrange(20, 40)):
            delay = rng.choice(
                [rng.gauss(0, 0.1), rng.uniform(-50, 50), rng.uniform(-3e3, 8e4), rng.uniform(9e4, 9e6)]
            )
            received = START + 200 * DAY + index
            told.append((received, outcome(0, received - delay, source)))
            delays.setdefault(("outcome", source), []).append(delay)
    clocks = measure(PLAIN, told).aside.clocks
    assert [(each.kind, each.source) for each in clocks] == sorted(
        delays, key=lambda key: (key[0], key[1] or "")
    )
    for each in clocks:
        of = sorted(delays[each.kind, each.source])
        assert each.events == len(of)
        assert (each.ahead, each.late) == (sum(d < -0.0005 for d in of), sum(d > DAY for d in of))
        for said, exact in ((each.median_s, median_low(of)), (each.least_s, of[0]), (each.most_s, of[-1])):
            precision = 0.0005 if abs(exact) < 60 else 0.5 if abs(exact) < DAY else 30.0
            assert math.isclose(said, exact, rel_tol=0, abs_tol=precision + 1e-6)


def test_whoever_invents_names_is_not_told_of_by_all_of_them() -> None:
    """Fifty sources at most, those with most events; nothing of the others is lost but their line."""
    log = MemoryLog(ManualClock(START))
    log.append([exposure(0, START, PLAIN)])
    log.append([outcome(0, START, f"s{number:03d}") for number in range(200)])
    log.append([outcome(0, START, "shop"), outcome(0, START, "shop")])
    measured = measure_log(PLAIN, log)
    assert len(measured.aside.clocks) == 50
    assert ("shop", 2) in {(each.source, each.events) for each in measured.aside.clocks}
    assert measured.aside.redated == 0


def said_of(measured: Measurement, name: str = "clocks") -> list[Check]:
    return [check for check in check_health(PLAIN, measured, repeated=True) if check.name == name]


def test_health_names_the_source_whose_clock_is_ahead(measure: Measure) -> None:
    """By more than a few seconds: how many events, how far; two seconds are no matter, and others are told of in peace."""
    told = twenty_days(PLAIN)
    told += [(START + 5 * DAY, outcome(2, START + 5 * DAY + 7200, "kiosk")) for _ in range(3)]
    told += [(START + 5 * DAY, outcome(2, START + 5 * DAY + 2, "till")) for _ in range(2)]
    told += [(START + 6 * DAY, outcome(2, START + 3 * DAY, "till"))]
    (check,) = said_of(measure(PLAIN, told))
    assert check == Check(
        "clocks",
        "note",
        "outcomes of kiosk: 3 of 3 happened up to 2 hours after they were received: that clock is ahead; "
        "outcomes of shop: 40, received 0.5 seconds after they happened (median; 0.5 seconds at most); "
        "outcomes of till: 3, received 2 seconds before they happened (median; 3 days at most, 1 after more than a day)",
    )


def test_clocks_that_agree_and_have_no_name_are_no_matter() -> None:
    """Health says nothing of them; with a name it says that all is well."""
    log = MemoryLog(ManualClock(START))
    log.append([exposure(0, START, PLAIN), outcome(0, START)])
    assert said_of(measure_log(PLAIN, log)) == []
    log.append([outcome(0, START, "shop")])
    assert said_of(measure_log(PLAIN, log)) == [
        Check(
            "clocks",
            "ok",
            "outcomes of shop: 1, received 0 seconds after they happened (median; 0 seconds at most)",
        )
    ]


def test_health_says_what_was_dated_anew(measure: Measure) -> None:
    """Two exposures and three events of wild clocks, each said."""
    (check,) = said_of(measure(PLAIN, [*twenty_days(PLAIN), *wild(PLAIN)]))
    assert check == Check(
        "clocks",
        "note",
        "exposures without a source: 1 of 42 happened up to 27,472 days after they were received: that clock is ahead; "
        "outcomes of kiosk: 1 of 1 happened up to 27,472 days after they were received: that clock is ahead; "
        "turns without a source: 1 of 1 happened up to 27,472 days after they were received: that clock is ahead; "
        "2 exposures are dated so far from when they were received that they count from then; "
        "3 events are dated so long after they were received that they count from then, and do not say when the data end; "
        "outcomes of shop: 40, received 0.5 seconds after they happened (median; 0.5 seconds at most)",
    )


def test_early_values_name_the_source_whose_clock_is_behind(measure: Measure) -> None:
    """An outcome that came before the exposure by its source's clock: whose they are is said."""
    told = twenty_days(PLAIN)
    told += [(START + DAY, outcome(2, START + DAY - 60, "kiosk")) for _ in range(2)]
    told += [(START + DAY, outcome(2, START + DAY - 60)), (START + DAY, outcome(2, START + DAY - 60, "till"))]
    measured = measure(PLAIN, told)
    assert (measured.aside.early, dict(measured.aside.early_by)) == (4, {"kiosk": 2, "till": 1})
    (check,) = said_of(measured, "early values")
    assert check.says == (
        "4 outcomes or turns were told before the first exposure of their unit and left out; "
        "a source whose clock is behind loses outcomes this way. By source: kiosk 2, till 1"
    )


def test_the_read_out_shows_the_clocks_in_every_form(tmp_path: Path) -> None:
    """JSON has every source's numbers; text, Markdown and the page say what health says. A source's name is escaped."""
    log = MemoryLog(ManualClock(START))
    (_, exposed), (_, won), *_ = twenty_days(PLAIN)
    log.append([exposed, won, outcome(0, START + 60, "<b>kiosk</b>")])
    findings = analyse(PLAIN, measure_log(PLAIN, log), maximum=NotEstimable("no size was planned"))
    analysis = Analysis(findings=findings, verdict=decide(findings))
    assert findings.to_dict()["clocks"] == [
        {
            "kind": "exposure", "source": None, "events": 1, "median_s": 0.0, "least_s": 0.0, "most_s": 0.0,
            "ahead": 0, "late": 0,
        },
        {
            "kind": "outcome", "source": "<b>kiosk</b>", "events": 1, "median_s": -60.0, "least_s": -60.0,
            "most_s": -60.0, "ahead": 1, "late": 0,
        },
        {
            "kind": "outcome", "source": "shop", "events": 1, "median_s": -3600.0, "least_s": -3600.0,
            "most_s": -3600.0, "ahead": 1, "late": 0,
        },
    ]  # fmt: skip
    sentence = "outcomes of shop: 1 of 1 happened up to 1 hour after they were received: that clock is ahead"
    for form in ("html", "md", "json"):
        page = tmp_path / f"report.{form}"
        analysis.save(page)
        assert sentence in page.read_text("utf-8")
    assert "<b>kiosk</b>" not in (tmp_path / "report.html").read_text("utf-8")
    assert sentence in str(analysis)


def test_a_look_at_a_copy_of_the_log_is_the_same_look() -> None:
    """Received two hours later, with a source that seems late or ahead: not a byte of the evidence is another."""
    kept = []
    for later in (0.0, 7200.0):
        clock = ManualClock(START)
        log = MemoryLog(clock)
        register(log, PLAIN, by="ann", clock=clock)
        clock.advance(21 * DAY + later)
        log.append([fact for _, fact in twenty_days(PLAIN)])
        log.append([outcome(0, START + 21 * DAY + 3600, "shop")])
        given = look(log, "clocks", closing=True, clock=clock)
        (record,) = log.read_since(kinds=["look"])
        assert isinstance(record.fact, Look)
        kept.append((record.fact.evidence, [each for each in given.findings.health if each.name == "clocks"]))
        assert verify(log, "clocks").exit_code == 0
    (one, early), (other, late) = kept
    assert one == other
    assert (early[0].status, late[0].status) == ("note", "ok")
