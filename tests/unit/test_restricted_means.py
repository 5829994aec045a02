"""A time to an event from the definition to the report: what is refused, what is said, and what is decided."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from equipoise import analyze, plan
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.errors import DataError, UsageError
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    relative_difference_of_restricted_means,
    restricted_mean_of,
)
from equipoise.stats.estimate import Estimate, NotEstimable

HOUR = 3600.0

DEFINITION = """
name: waits
hypothesis: People get their answer sooner.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
segments: [tier]
metrics:
  wait: {priority: primary, kind: time_to_event, of: outcome.resolved, better: lower, window: 1d, baseline: 30000, spread: 20000, mde: 2h}
  hand: {priority: guardrail, kind: time_to_event, of: outcome.handed, better: higher, window: 12h, margin: 10%}
  late: {kind: time_to_event, of: outcome.resolved, better: lower, window: 2h}
"""


def definition(folder: Path, *edits: tuple[str, str]) -> Experiment:
    text = DEFINITION.replace("mde: 2h", "mde: 7200")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path = folder / "waits.yaml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def rows(
    *, units: int = 400, days: float = 4.0, teams: int = 50, wait_b: float = 0.7
) -> list[dict[str, Any]]:
    """Units that come in evenly; of every ten two never resolve, the others after hours, in b after fewer."""
    made: list[dict[str, Any]] = []
    for number in range(2 * units):
        arm, n = ("control", "b")[number % 2], number // 2
        entry = days * 24 * HOUR * n / units
        of = {
            "unit": f"u{number}",
            "variant": arm,
            "team": f"t{n % teams}",
            "tier": ("gold", "plain")[n % 2],
        }
        made.append({**of, "time": entry, "resolved": None, "handed": None})
        wait = HOUR * (1.0 + 2.5 * ((7 * n) % 10)) * (wait_b if arm == "b" else 1.0)
        if n % 10 < 8 and entry + wait <= days * 24 * HOUR:
            made.append({**of, "time": entry + wait, "resolved": True, "handed": None})
        if n % 10 == 9 and entry + 5 * HOUR <= days * 24 * HOUR:
            made.append({**of, "time": entry + 5 * HOUR, "resolved": None, "handed": True})
    return made


def frame(made: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(made, infer_schema_length=None)


def test_a_time_to_an_event_decides_guards_and_informs(tmp_path):
    """As primary, guardrail, secondary and in segments: values and effects in seconds, said in words, in every form."""
    found = analyze(definition(tmp_path), frame(rows()), closing=True)
    wait, hand, late = (found.effect(name) for name in ("wait", "hand", "late"))
    assert isinstance(wait.estimate, Estimate)
    assert found.verdict.word == "ship"
    assert wait.control is not None
    assert 7 * HOUR < wait.control < 24 * HOUR
    assert wait.estimate.value == pytest.approx((wait.treatment or 0.0) - wait.control)
    assert wait.estimate.high < 0.0
    assert isinstance(wait.relative, Estimate)
    assert wait.relative.value == pytest.approx(wait.estimate.value / wait.control)
    assert wait.estimate.method == "difference of restricted mean times, Kaplan–Meier"
    assert (wait.units, wait.missing, wait.immature) == (
        {"control": 400, "b": 400},
        {"control": 0, "b": 0},
        {"control": 0, "b": 0},
    )
    assert hand.held == "held"
    assert hand.margin == pytest.approx(0.1 * (hand.control or 0.0))
    assert late.adjusted_p is not None
    assert [effect.segment for effect in found.findings.segments] == ["tier=gold", "tier=plain"]
    assert all(isinstance(effect.estimate, Estimate) for effect in found.findings.segments)
    health = {check.name: check.says for check in found.findings.health}
    censored = sum(tally.censored for tally in found.findings.measurement.tallies["wait"].values())
    assert 0 < censored < 200
    assert health["window of wait"] == (
        f"{800 - censored} units were seen until outcome.resolved or for the whole window of 1 day; {censored} units not "
        "yet, which count for as long as they were seen"
    )
    sentence = "wait is the mean time to resolved within 1 day, in seconds."
    assert str(found).count(sentence) == found.to_markdown().count(sentence) == 1
    assert sentence in found.to_html()
    assert "treatment − control, in seconds" in found.to_html()
    assert f"{wait.control:,.0f} s" in str(found)
    assert json.loads(found.to_json())["declared"]["wait"] == (
        "primary, mean time to resolved within 1 day, in seconds, lower is better, to detect 7200"
    )


def test_where_everybody_was_seen_to_the_end_it_is_the_mean_of_the_cut_times(tmp_path):
    """A week after the last entry the effect is that of a mean of min(time, a day), told by a table of it."""
    made = [
        *rows(),
        {"unit": "u0", "variant": "control", "time": 14 * 24 * HOUR, "team": "t0", "tier": "gold"},
    ]
    came = {(row["unit"]): row["time"] for row in made if row.get("resolved")}
    entered = {row["unit"]: row for row in reversed(made)}
    cut = [
        {**row, "resolved": min(came.get(unit, math.inf) - row["time"], 24 * HOUR)}
        for unit, row in entered.items()
    ]
    mean = definition(
        tmp_path, ("kind: time_to_event, of: outcome.resolved, better: lower, window: 1d", "kind: mean, of: outcome.resolved, better: lower"),
        ("  hand:", "  # hand:"), ("  late:", "  # late:"),
    )  # fmt: skip
    expected = analyze(mean, frame(cut), closing=True).effect("wait").estimate
    told = analyze(definition(tmp_path), frame(made), closing=True).effect("wait").estimate
    assert isinstance(told, Estimate)
    assert isinstance(expected, Estimate)
    for name in ("value", "standard_error", "low", "high", "p_value", "degrees_of_freedom"):
        assert getattr(told, name) == pytest.approx(getattr(expected, name), rel=1e-9), name


def test_registered_looks_at_a_log_come_out_the_same_again(tmp_path):
    """Three looks while units come in: each knows more than the one before, and each is verified byte by byte."""
    experiment = definition(
        tmp_path, ("metrics:", "plan: {looks: [0.3, 0.6, 1.0]}\nmetrics:"), ("7200", "6000")
    )
    log = MemoryLog()
    register(log, experiment, by="test", clock=ManualClock(1e6))
    told = sorted(rows(units=600, wait_b=0.95), key=lambda row: row["time"])
    fractions = []
    for start in (0, 700, 1400):
        log.append(
            fact for row in told[start : {0: 700, 700: 1400}.get(start)] for fact in facts(experiment, row)
        )
        fractions.append(look(log, "waits", clock=ManualClock(1e6 + start)).findings.look.fraction)
    assert fractions == sorted(fractions)
    assert len(set(fractions)) == 3
    assert [each.answer for each in verify(log, "waits").looks] == ["same"] * 3


def facts(experiment: Experiment, row: dict[str, Any]) -> list[Exposure | Outcome]:
    common = {"experiment": "waits", "happened": row["time"], "unit": row["unit"]}
    named = [name for name in ("resolved", "handed") if row[name]]
    if named:
        return [Outcome(**common, name=name, value=True) for name in named]
    return [
        Exposure(
            **common, digest=experiment.digest, unit_type="user", variant=row["variant"], probability=0.5,
            reason="split", attributes={"tier": row["tier"]},
        )
    ]  # fmt: skip


def test_few_clusters_have_no_interval_and_many_have(tmp_path):
    """From thirty clusters in an arm on; below, the reason says how many there are."""
    experiment = definition(tmp_path, ("segments:", "cluster: team\nsegments:"))
    many = analyze(experiment, frame(rows(teams=40)), closing=True).effect("wait")
    few = analyze(experiment, frame(rows(teams=12)), closing=True).effect("wait")
    assert isinstance(many.estimate, Estimate)
    assert many.estimate.degrees_of_freedom is not None
    assert many.estimate.degrees_of_freedom <= 78
    assert few.estimate == NotEstimable(
        "control has 12 clusters, and with fewer than 30 a mean time to an event has no interval that can be trusted"
    )


def test_before_the_first_window_is_over_nothing_is_known(tmp_path):
    """Half a day of data, a window of a day: the curve ends before the horizon, and the arm has no value."""
    effect = analyze(definition(tmp_path), frame(rows(days=0.5)), closing=True).effect("wait")
    assert (effect.control, effect.estimate) == (
        None,
        NotEstimable(
            "no unit of control has been seen without the event for the whole window yet, so its curve is not known so far"
        ),
    )


def test_an_arm_without_units_and_with_one_says_so(tmp_path):
    experiment = definition(tmp_path)
    for left, reason in (
        (0, "no unit of the treatment has a value"),
        (1, "b has 1 unit, and a spread needs at least two"),
    ):
        made = [row for row in rows() if row["variant"] == "control" or row["unit"] in ["u161"][:left]]
        tallies = analyze(experiment, frame(made), closing=True).findings.measurement.tallies["wait"]
        assert tallies["b"].units == left
        assert isinstance(tallies["b"].restricted, NotEstimable)
        if left:
            assert tallies["b"].restricted.reason == reason


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            [{"unit": f"u{n}", "variant": ("control", "b")[n % 2], "time": 60.0 * n, "resolved": n % 3 == 0} for n in range(40)],
            ("wait is a time to outcome.resolved, and in this table each event has the very time at which its unit came in. "
            "Give the event a row of its own, with its unit, its variant and its time; neither a second column of times "
            "nor one of durations is read"),
        ),
        (
            [{"unit": f"u{n}", "variant": ("control", "b")[n % 2], "time": 60.0 * n, "resolved": 37.5 * n} for n in range(40)],
            ("wait is a time to outcome.resolved, and 39 units have another value than 0 or 1, such as 37.5. "
            "Use `kind: mean`, or record true and false"),
        ),
        (
            [{"unit": f"u{n}", "variant": ("control", "b")[n % 2], "resolved": True} for n in range(40)],
            "wait has a window, and no time tells what lies within it; name the time column as `source.time`",
        ),
    ],
    ids=["one row a unit", "durations", "no time"],
)  # fmt: skip
def test_a_table_that_does_not_tell_times_is_refused(tmp_path, made, said):
    """What a column of times, of durations, or no time at all would be taken for is said before anything is counted."""
    experiment = definition(tmp_path, ("  hand:", "  # hand:"), ("segments: [tier]", ""))
    with pytest.raises(DataError) as error:
        analyze(experiment, frame(made), closing=True)
    assert str(error.value) == said


def test_a_plan_sizes_it_by_the_spread_of_the_cut_times(tmp_path):
    """As a mean of min(time, window): the same units; without a spread the reason says of what."""
    drawn = plan(definition(tmp_path))
    assert drawn.sizes["wait"].total == 2 * 123
    assert drawn.sizes["hand"] == NotEstimable("hand has a relative `margin` and no `baseline` to take it of")
    assert (
        "the size of wait is in units seen for the whole window; units that came in later tell less"
        in drawn.notes
    )
    bare = plan(definition(tmp_path, (", spread: 20000", "")))
    assert bare.sizes["wait"] == NotEstimable(
        "wait needs a `spread` (standard deviation of the units' times, each the window at most) to size for"
    )


GOOD = RestrictedMean(horizon=10.0, blocks=50, events=20, value=6.0, standard_error=0.5)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            lambda: restricted_mean_of([], [], horizon=1.0),
            "a spread needs at least two, not 0, units or clusters",
        ),
        (
            lambda: restricted_mean_of([1.0, 2.0, 3.0], [True, True, False], horizon=3.5),
            "nobody has been seen up to the horizon, and beyond the last the curve is not known",
        ),
        (
            lambda: restricted_mean_of([1.0, 4.0], [True, False], horizon=3.5, clusters=[7, 7]),
            "a spread needs at least two, not 1, units or clusters",
        ),
        (
            lambda: difference_of_restricted_means(
                GOOD, RestrictedMean(horizon=10.0, blocks=50, events=9, value=9.0, standard_error=0.1)
            ),
            (
                "the event came to 9 units of the treatment within the horizon, and fewer than 10 do not tell how far the mean "
                "time may be off"
            ),
        ),
        (
            lambda: relative_difference_of_restricted_means(
                RestrictedMean(horizon=10.0, blocks=50, events=1, value=9.0, standard_error=0.1), GOOD
            ),
            (
                "the event came to 1 unit of control within the horizon, and fewer than 10 do not tell how far the mean time may "
                "be off"
            ),
        ),
        (
            lambda: difference_of_restricted_means(
                *[RestrictedMean(horizon=10.0, blocks=50, events=50, value=4.0, standard_error=0.0)] * 2
            ),
            "all events of each arm came at one time, so they have no spread",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(asked, reason):
    assert asked() == NotEstimable(reason)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: restricted_mean_of([1.0], [True], horizon=0.0), "horizon must be a finite number greater than 0, not 0.0"),
        (lambda: restricted_mean_of([1.0], [True, False], horizon=1.0), "times and events must have the same length, not 1 and 2"),
        (lambda: restricted_mean_of([1.0], [True], horizon=1.0, clusters=[1, 2]), "times and clusters must have the same length, not 1 and 2"),
        (lambda: restricted_mean_of([-1.0, 2.0], [True, True], horizon=1.0), "times must all be finite numbers of at least 0"),
        (lambda: restricted_mean_of(np.array([1.0, np.nan]), [True, True], horizon=1.0), "times must all be finite numbers of at least 0"),
        (lambda: RestrictedMean(horizon=1.0, blocks=1, events=0, value=1.0, standard_error=0.0), "blocks must be a whole number of at least 2, not 1"),
        (lambda: RestrictedMean(horizon=1.0, blocks=2, events=0, value=1.5, standard_error=0.0), "value must lie between 0 and the horizon of 1, not 1.5"),
        (lambda: RestrictedMean(horizon=1.0, blocks=2, events=0, value=1.0, standard_error=-1.0), "standard_error must be at least 0, not -1.0"),
        (
            lambda: difference_of_restricted_means(GOOD, RestrictedMean(horizon=9.0, blocks=50, events=20, value=6.0, standard_error=0.5)),
            "both arms need the same horizon, not 10 and 9",
        ),
        (lambda: difference_of_restricted_means(GOOD, GOOD, level=95), "level must lie strictly between 0 and 1, not 95"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_are_refused(asked, said):
    with pytest.raises(UsageError) as error:
        asked()
    assert str(error.value) == said
