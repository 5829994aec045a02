"""Outcomes of whole conversations out of a log: against the same told in plain Python, fact by fact."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise import analyze
from equipoise.clock import ManualClock
from equipoise.errors import DataError
from equipoise.events.facts import Exposure, Fact, Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.comparison.restricted_means import RestrictedMean, restricted_mean_of

HOUR, DAY = 3_600.0, 86_400.0

DEFINITION = """
name: talks
hypothesis: People stay, and leave content.
changes: [config]
unit: {type: conversation}
cluster: user
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  turns: {priority: primary, kind: count, of: turn.count, better: higher, spread: 2, mde: 1}
  stays: {kind: proportion, of: turn.count, above: 2, better: higher, window: 1h}
  end: {kind: mean, of: score.sentiment, per_unit: last, better: higher}
  trend: {kind: mean, of: score.sentiment, per_unit: slope, better: higher, window: 2h}
  rising: {kind: proportion, of: score.sentiment, per_unit: slope, above: 0, better: higher}
  back: {kind: proportion, of: conversation.returned, better: higher, window: 2d}
  back_after: {kind: time_to_event, of: conversation.returned, better: lower, window: 2d}
  sold: {kind: count, of: outcome.sold, better: higher, window: 1d, absent: 0}
  handed: {kind: proportion, of: outcome.handed, better: lower, window: 1d, absent: 0}
  cost: {kind: ratio, of: turn.cost_usd, per: turn.count, better: lower}
"""


def experiment(folder: Path, text: str = DEFINITION) -> Experiment:
    path = folder / "talks.yaml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def talks(of: Experiment, *, seed: int, units: int) -> list[Fact]:
    """Conversations of a third as many users, some of nobody known, with turns and scores, a fifth of them scored late."""
    rng = random.Random(seed)
    facts: list[Fact] = []
    for n in range(units):
        since = rng.choice([round(rng.uniform(0, 9 * DAY)), 3 * DAY])
        user = {} if n % 11 == 0 else {"user": f"p{rng.randrange(units // 3)}"}
        unit = f"c{n}"
        common = {"experiment": of.name, "unit": unit}
        facts.append(
            Exposure(
                **common, happened=since, digest=of.digest, unit_type="conversation", reason="split",
                variant=("control", "b")[n % 2], probability=0.5, attributes=user,
            )
        )  # fmt: skip
        for k in range(rng.randrange(6)):
            at = since + k * rng.choice([60.0, 2 * HOUR])
            facts.append(Turn(**common, happened=at, variant="b", cost_usd=rng.random()))
            if rng.random() < 0.7:
                facts.append(
                    Score(**common, happened=at, name="sentiment", value=rng.gauss(0, 1), evaluator="e")
                )
        if rng.random() < 0.3:
            late = since + rng.uniform(0, 2 * DAY)
            facts += [
                Outcome(**common, happened=late, name="sold", value=rng.randrange(9)),
                Outcome(**common, happened=late, name="handed", value=True),
            ]
    rng.shuffle(facts)
    return facts


def filled(facts: Sequence[Fact]) -> MemoryLog:
    """A log that received everything a month later."""
    log = MemoryLog(clock=ManualClock(40 * DAY))
    log.append(facts)
    return log


def told(facts: Sequence[Fact]) -> dict[str, dict[str, dict[str, float]]]:
    """Each metric by arm and unit, in plain Python."""
    exposed = {fact.unit: fact for fact in facts if isinstance(fact, Exposure)}
    turns, scores = defaultdict(list), defaultdict(list)
    for fact in facts:
        if isinstance(fact, Turn):
            turns[fact.unit].append(fact.happened - exposed[fact.unit].happened)
        if isinstance(fact, Score):
            scores[fact.unit].append((fact.happened - exposed[fact.unit].happened, fact.value))
    end = max(fact.happened for fact in facts)
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for unit, exposure in exposed.items():
        since, arm = exposure.happened, exposure.variant
        found["turns"][arm][unit] = len(turns[unit])
        if since + HOUR <= end:
            found["stays"][arm][unit] = sum(at < HOUR for at in turns[unit]) > 2
        ordered = sorted(scores[unit])
        if ordered:
            found["end"][arm][unit] = ordered[-1][1]
        if len(ordered) > 1:
            found["rising"][arm][unit] = np.polyfit(range(len(ordered)), [y for _, y in ordered], 1)[0] > 0
        if since + DAY <= end:
            sold = [fact for fact in facts if isinstance(fact, Outcome) and fact.unit == unit]
            within = [fact for fact in sold if fact.happened < since + DAY]
            found["sold"][arm][unit] = sum(fact.value for fact in within if fact.name == "sold")
            found["handed"][arm][unit] = any(fact.name == "handed" for fact in within)
        early = [y for at, y in ordered if at < 2 * HOUR]
        if len(early) > 1 and since + 2 * HOUR <= end:
            found["trend"][arm][unit] = np.polyfit(range(len(early)), early, 1)[0]
        user = exposure.attributes.get("user")
        if user is not None and since + 2 * DAY <= end:
            found["back"][arm][unit] = any(
                since < other.happened < since + 2 * DAY
                for other in exposed.values()
                if other.attributes.get("user") == user
            )
    return found


def waits(exposed: Sequence[Exposure], arm: str, end: float) -> tuple[list[float], list[bool]]:
    """How long until the next conversation of the same user, two days and the end of the data at most, and whether it came."""
    times, came = [], []
    for one in exposed:
        user = one.attributes.get("user")
        if one.variant != arm or user is None:
            continue
        later = [
            other.happened - one.happened
            for other in exposed
            if other.attributes.get("user") == user and other.happened > one.happened
        ]
        seen = min(end - one.happened, 2 * DAY)
        times.append(min([*later, seen]))
        came.append(bool(later) and min(later) < 2 * DAY)
    return times, came


def mean(tally: Tally) -> float:
    assert tally.moments is not None
    return tally.moments.mean


@pytest.mark.parametrize("seed", range(4))
def test_what_became_of_a_conversation_is_what_plain_python_says(tmp_path: Path, seed: int) -> None:
    """Turns counted, turns after the second, sentiment at the end and its slope, and who came back: unit for unit."""
    of = experiment(tmp_path)
    facts = talks(of, seed=seed, units=240)
    measured = measure_log(of, filled(facts))
    expected = told(facts)
    for name in ("turns", "stays", "end", "trend", "rising", "back", "sold", "handed"):
        for arm, values in expected[name].items():
            tally = measured.tallies[name][arm]
            assert tally.units == len(values), (name, arm)
            assert mean(tally) == pytest.approx(float(np.mean(list(values.values()))), rel=1e-9, abs=1e-12)
            assert tally.moments is not None
            assert tally.moments.variance == pytest.approx(
                float(np.var(list(values.values()), ddof=1)), rel=1e-9
            )
    exposed = {fact.unit: fact for fact in facts if isinstance(fact, Exposure)}
    for arm in ("control", "b"):
        back = waits(list(exposed.values()), arm, max(fact.happened for fact in facts))
        curve = measured.tallies["back_after"][arm]
        expected_mean = restricted_mean_of(*back, horizon=2 * DAY)
        assert isinstance(curve.restricted, RestrictedMean)
        assert isinstance(expected_mean, RestrictedMean)
        assert (curve.units, curve.restricted.events) == (len(back[0]), expected_mean.events)
        assert curve.restricted.value == pytest.approx(expected_mean.value, rel=1e-9)
    # Nobody's conversations have no one who could come back; of all others it is known, one way or the other.
    known = {
        arm: tally.units + tally.immature + tally.missing for arm, tally in measured.tallies["back"].items()
    }
    assert known == measured.units
    assert sum(tally.missing for tally in measured.tallies["back"].values()) > 0


def test_the_order_in_which_facts_arrive_changes_nothing(tmp_path: Path) -> None:
    """Late turns and scores count where they happened: the same conversations in another order give the same digits."""
    of = experiment(tmp_path)
    facts = talks(of, seed=9, units=120)
    turned = [*reversed(facts)]

    def told_of(measured: Measurement) -> object:
        return {
            name: {
                arm: (tally.units, tally.missing, tally.immature, tally.moments)
                for arm, tally in arms.items()
            }
            for name, arms in measured.tallies.items()
            if name != "cost"
        }

    assert told_of(measure_log(of, filled(facts))) == told_of(measure_log(of, filled(turned)))


def test_a_user_comes_back_with_a_turn_after_a_pause(tmp_path: Path) -> None:
    """Where users are the units, half an hour without a turn ends a conversation; before the window's end it must be."""
    of = experiment(
        tmp_path,
        """
name: talks
hypothesis: People come back.
changes: [config]
unit: user
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  back: {priority: primary, kind: proportion, of: conversation.returned, better: higher, window: 1d, baseline: 0.3, mde: 0.1}
""",
    )

    def user(unit: str, *turns: float) -> list[Fact]:
        common = {"experiment": "talks", "unit": unit}
        entry = Exposure(
            **common,
            happened=0.0,
            digest=of.digest,
            unit_type="user",
            reason="split",
            variant="b",
            probability=0.5,
        )
        return [entry, *(Turn(**common, happened=at, variant="b") for at in turns)]

    facts = [
        *user("at once", 0.0, 1799.0, 3598.0),
        *user("later", 0.0, 1800.0),
        *user("in one long talk, then gone", *(60.0 * n for n in range(90))),
        *user("too late", 0.0, DAY),
        *user("without a first turn", 2 * HOUR),
        Exposure(
            experiment="talks", unit="other", happened=0.0, digest=of.digest, unit_type="user", reason="split",
            variant="control", probability=0.5,
        ),
        Outcome(experiment="talks", unit="other", happened=2 * DAY, name="anything", value=True),
        Turn(experiment="talks", unit="other", happened=2 * DAY, variant="control"),
    ]  # fmt: skip
    measured = measure_log(of, filled(facts))
    assert (measured.tallies["back"]["b"].units, mean(measured.tallies["back"]["b"])) == (5, 2 / 5)
    assert (measured.tallies["back"]["control"].units, mean(measured.tallies["back"]["control"])) == (1, 0.0)


TABLE = """
name: talks
hypothesis: People stay, and leave content.
changes: [config]
unit: {type: conversation}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  stays: {priority: primary, kind: proportion, of: turn.count, above: 2, better: higher, baseline: 0.5, mde: 0.1}
  trend: {kind: mean, of: score.sentiment, per_unit: slope, better: higher}
  back: {kind: proportion, of: conversation.returned, better: higher, window: 2d}
source: {table: t.csv, unit: talk, variant: arm, time: at, columns: {turn.count: turn, score.sentiment: mood, conversation.returned: back}}
"""


def test_a_table_of_events_gives_the_same_by_its_columns(tmp_path: Path) -> None:
    """One row a turn: a column of ones is counted, a column of moods has a slope, a column of returns says so."""
    of = experiment(tmp_path, TABLE)
    rows = [
        {
            "talk": f"{arm}{n}",
            "arm": arm,
            "at": 100.0 * n + k,
            "turn": 1,
            "mood": n * k / 7,
            "back": n % 3 == 0,
        }
        for arm in ("control", "b")
        for n in range(30)
        for k in range(1 + n % 5)
    ] + [{"talk": "b0", "arm": "b", "at": 9 * DAY, "turn": None, "mood": None, "back": None}]
    measured = measure_table(of, pl.DataFrame(rows, infer_schema_length=None))
    for arm in ("control", "b"):
        # Every fifth has as many turns as its number says, from one to five.
        assert mean(measured.tallies["stays"][arm]) == pytest.approx(3 / 5)
        slopes = [n / 7 for n in range(30) if n % 5]
        trend = measured.tallies["trend"][arm]
        assert (trend.units, trend.missing) == (24, 6)
        assert mean(trend) == pytest.approx(float(np.mean(slopes)), rel=1e-12)
        assert mean(measured.tallies["back"][arm]) == pytest.approx(1 / 3)


def test_a_table_of_units_has_them_already(tmp_path: Path) -> None:
    """Of rows that are units, the number of turns is compared and the slope is taken as it stands."""
    of = experiment(
        tmp_path,
        TABLE.replace("time: at,", "grain: unit,").replace(
            "  back: {kind: proportion, of: conversation.returned, better: higher, window: 2d}\n", ""
        ),
    )
    frame = pl.DataFrame(
        {
            "talk": [f"u{n}" for n in range(8)],
            "arm": ["control", "b"] * 4,
            "turn": [1, 2, 3, 4, None, 6, 2, 0],
            "mood": [0.5, -0.5, None, 0.25, 0.0, 0.0, 1.0, 1.0],
        }
    )
    measured = measure_table(of, frame)
    assert (measured.tallies["stays"]["control"].missing, mean(measured.tallies["stays"]["control"])) == (
        1,
        1 / 3,
    )
    assert mean(measured.tallies["stays"]["b"]) == 1 / 2
    assert mean(measured.tallies["trend"]["control"]) == 0.5


def test_a_slope_needs_to_know_what_came_first(tmp_path: Path) -> None:
    """Several rows of a unit and no time column: refused in a sentence."""
    of = experiment(
        tmp_path,
        TABLE.replace("time: at, ", "").replace(
            "  back: {kind: proportion, of: conversation.returned, better: higher, window: 2d}\n", ""
        ),
    )
    rows = [{"talk": "a", "arm": "b", "turn": 1, "mood": float(k)} for k in range(3)]
    with pytest.raises(DataError) as refused:
        measure_table(of, pl.DataFrame([*rows, {"talk": "c", "arm": "control", "turn": 1, "mood": 0.0}]))
    assert str(refused.value) == (
        "1 unit has several rows, and trend takes the slope of them; name the time column as `source.time`"
    )


def test_the_read_out_says_what_such_a_metric_is(tmp_path: Path) -> None:
    """Thresholds and slopes are told in words, in the read-out and in what was declared."""
    of = experiment(tmp_path, TABLE.replace(", window: 2d", ", window: 1h"))
    rows = [
        {"talk": f"{arm}{n}", "arm": arm, "at": 1000.0 * n + k, "turn": 1, "mood": n * k / 7, "back": False}
        for arm in ("control", "b")
        for n in range(40)
        for k in range(1 + n % 5)
    ]
    found = analyze(of, pl.DataFrame(rows), closing=True)
    for sentence in (
        "stays is the share of units where the sum of turn.count is above 2.",
        "trend is the mean over units of the change from reading to reading of score.sentiment.",
        "back is the share of units whose user began another conversation.",
    ):
        assert sentence in str(found)
        assert sentence in found.to_markdown().replace("\\", "")
    assert found.to_dict()["declared"]["stays"] == (
        "primary, share of units where the sum of turn.count is above 2, higher is better, to detect 0.1"
    )
