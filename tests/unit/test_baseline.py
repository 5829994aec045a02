"""The baseline of a log and of a table: windows as they were, forecasts of watches, and what it cannot tell."""

from __future__ import annotations

import csv
import random
import re
from dataclasses import replace

import pytest
from scipy.stats import binom
from stable import ERRORS, START, guarded, replayed

from equipoise.cli.baseline import _text
from equipoise.conduct.baseline import baseline, baseline_of_table
from equipoise.conduct.register import register
from equipoise.errors import DataError, RecordError, UsageError
from equipoise.events.facts import Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_definition
from equipoise.measurement.guardrails.windows import window_of
from equipoise.stats.estimate import NotEstimable

WATCHES = [
    {"metric": "latency_p95", "max": "control+20%", "window": "5m", "for": 2, "at_least": 100, "then": "pause"},
    {"metric": "error_rate", "max": 0.01, "window": "5m", "for": 2, "then": "rollback"},
    {"metric": "error_rate", "max": "baseline+200%", "window": "10m", "then": "alert"},
    {"metric": "resolution_rate", "min": 0.5, "window": "5m", "then": "review"},
]  # fmt: skip
WINDOWS = 12


def evenly(turns: int) -> list[float]:
    """So many times in each of an hour's windows, one right after the other."""
    return [300.0 * window + 300.0 * place / turns for window in range(WINDOWS) for place in range(turns)]


def seconds() -> list[float]:
    rng = random.Random(5)
    return [rng.lognormvariate(0.5, 0.4) for _ in range(5_000)]


@pytest.fixture(scope="module")
def told() -> tuple[MemoryLog, Experiment]:
    """An hour of 400 turns a window, as a log."""
    experiment, log = guarded(WATCHES), MemoryLog()
    register(log, experiment, by="me", reason="a rehearsal")
    log.append(list(replayed(experiment, random.Random(2), evenly(400), seconds())))
    return log, experiment


def test_metrics_are_told_as_the_windows_had_them(told):
    """Number, mean and limit of windows are those of the windows of the log; a metric without readings says so."""
    log, _ = told
    found = baseline(log, "bot", quantile=0.9)
    assert (found.arm, found.since, found.until, found.turns) == ("control", START, START + 3600, 4_800)
    assert found.turns_per_day == 4_800 * 24
    latency, errors, longer, resolved, costs = found.metrics
    assert [each.metric for each in (latency, errors, longer, costs)] == [
        "latency_p95", "error_rate", "error_rate", "cost_per_response",
    ]  # fmt: skip
    assert (latency.series.windows, latency.unknown, longer.series.windows) == (12, 0, 5)
    # Of windows with about as many readings each the mean is nearly that of all readings.
    assert errors.value == pytest.approx(errors.series.mean, rel=0.03) == pytest.approx(ERRORS, abs=0.006)
    assert longer.series.limit == NotEstimable("5 windows do not tell their 0.9 quantile; that takes 10")
    assert latency.series.spread < 0.5 < latency.series.limit
    assert resolved == NotEstimable("resolution_rate: there are no readings of outcome.resolved in control")
    assert found.watches[3] == resolved


def test_a_limit_at_the_true_rate_is_forecast_to_act_day_and_night(told):
    """The chance of a window is the binomial tail of its readings; streaks of two, each acting once, in both arms."""
    log, _ = told
    found = baseline(log, "bot")
    watch, metric = found.watches[1], found.metrics[1]
    # About two hundred turns an arm: the counts of the windows are counted one by one.
    expected = 0.0
    for arm in ("control", "treatment"):
        share = watch.expected[arm].actions
        tails = [binom.sf(int(0.01 * n), n, metric.value) for n in (180, 190, 200, 210, 220)]
        low, high = min(tails), max(tails)
        assert 2016 * (1 - low) * low**2 * 0.7 < share < 2016 * (1 - high) * high**2 * 1.3
        expected += share
    assert watch.actions == pytest.approx(expected)
    assert watch.actions > 100.0
    # What is proposed instead is rarer than was asked for, and is a number to paste.
    assert watch.proposal.actions <= 0.1
    assert watch.proposal.watch.max.reference == "none"
    assert watch.proposal.watch.max.amount.value > 0.02
    fewer = baseline(log, "bot", most=10.0).watches[1].proposal
    assert 0.1 < fewer.actions <= 10.0
    assert fewer.watch.max.amount.value < watch.proposal.watch.max.amount.value


def test_no_limit_is_proposed_from_what_never_happened():
    """In an hour without an error every limit looks rare: the first error would roll back, so none is proposed."""
    watches = [
        {"metric": "error_rate", "max": bound, "window": "5m", "for": 2, "then": "rollback"}
        for bound in (0.01, "control+1pp")
    ]
    experiment, log = guarded(watches), MemoryLog()
    register(log, experiment, by="me", reason="a rehearsal")
    facts = replayed(experiment, random.Random(2), evenly(40), seconds())
    log.append([replace(each, error=False) if isinstance(each, Turn) else each for each in facts])
    for each in baseline(log, "bot").watches:
        assert isinstance(each.proposal, NotEstimable)
        assert re.fullmatch(
            r"none of the \d+ readings counted, so how rare a limit is cannot be told; take a longer period",
            each.proposal.reason,
        )


def test_what_past_windows_would_have_made_of_a_watch_is_counted(told):
    """Alarms and actions of the rule on the windows as they were, worked out by hand from each window's value."""
    log, experiment = told
    found = baseline(log, "bot").watches[1].seen
    cells = _cells(log, experiment)
    for arm in ("control", "treatment"):
        values = [
            window_of(
                cells, experiment.metric("error_rate"), arm, START + 300 * k, START + 300 * (k + 1)
            ).value
            for k in range(WINDOWS)
        ]
        text = "".join("x" if value > 0.01 else "." for value in values)
        streaks = [each for each in text.split(".") if each]
        assert found[arm] == (len(streaks), sum(len(each) >= 2 for each in streaks))


def _cells(log: MemoryLog, experiment: Experiment) -> dict:
    from equipoise.measurement.guardrails.cells import KINDS, Counting

    return Counting(experiment).fold(list(log.read_since(0, kinds=KINDS)), {})[0]


def test_a_period_an_arm_and_other_traffic_may_be_asked_for(told):
    """A part of the hour, the treatment's readings, twice the turns: each changes what it should."""
    log, _ = told
    part = baseline(log, "bot", since=START + 600, until=START + 2_999)
    # A minute that is not whole is none.
    assert (part.since, part.until, part.metrics[1].series.windows) == (START + 600, START + 2_940, 7)
    other = baseline(log, "bot", arm="treatment")
    assert other.arm == "treatment"
    assert other.metrics[1].value != baseline(log, "bot").metrics[1].value
    double = baseline(log, "bot", turns_per_day=2 * 4_800 * 24)
    caught = [found.watches[1].proposal.watch.max.amount.value for found in (baseline(log, "bot"), double)]
    # More readings a window, less noise, a tighter limit.
    assert caught[1] < caught[0]


def test_another_definition_may_be_tried_on_the_same_log(told):
    """Watches that are not registered yet, over the arms that were served."""
    log, _ = told
    tried = guarded([WATCHES[0] | {"max": "control+30%", "for": 3}], hypothesis="Another one.")
    found = baseline(log, "bot", definition=tried)
    (watch,) = found.watches
    assert watch.says == (
        "{metric: latency_p95, max: control+30%, window: 5m, for: 3, at_least: 100, then: pause}"
    )
    assert watch.persist == 3
    assert [each.factor for each in watch.caught] == [1.3, 2.0, 5.0]
    assert watch.caught[1].chance > 0.9 > watch.caught[0].chance


def test_an_arm_without_traffic_gets_its_share(told):
    """A past of control alone is shared out as the definition says, and the text says so."""
    experiment, log = guarded(WATCHES[:1]), MemoryLog()
    register(log, experiment, by="me", reason="a rehearsal")
    facts = [
        replace(fact, variant="control", probability=1.0)
        if fact.kind == "exposure"
        else replace(fact, variant="control")
        for fact in replayed(experiment, random.Random(2), evenly(400), seconds())
    ]
    log.append(facts)
    found = baseline(log, "bot")
    assert found.divided
    assert "shared out by the allocation." in _text(found)
    assert 0.0 < found.watches[0].caught[0].chance < 1.0


def test_a_table_is_read_as_a_log_is(tmp_path):
    """The same rows from a file: the same metrics, watches and proposals, to the last digit."""
    experiment, log = guarded(WATCHES[:3]), MemoryLog()
    register(log, experiment, by="me", reason="a rehearsal")
    facts = list(replayed(experiment, random.Random(2), evenly(200), seconds()))
    log.append(facts)
    with (tmp_path / "turns.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "arm", "at", "latency_s", "error", "cost_usd", "answered", "resolved"])
        for fact in facts:
            if fact.kind == "turn":
                rows.writerow([fact.unit, fact.variant, repr(fact.happened), repr(fact.latency_s), str(fact.error).lower(), repr(fact.cost_usd), str(not fact.error).lower(), ""])  # fmt: skip
    lines = "".join(
        f"  - {{metric: {each['metric']}, max: {each['max']}, window: {each['window']}, for: {each.get('for', 1)}, at_least: {each.get('at_least', 1)}, then: {each['then']}}}\n"
        for each in WATCHES[:3]
    )
    (tmp_path / "bot.yaml").write_text(
        f"""name: bot
hypothesis: Another model answers sooner.
unit: conversation
changes: [model]
variants: {{control: {{model: a}}, treatment: {{model: b}}}}
metrics:
  resolution_rate: {{priority: primary}}
  latency_p95: {{priority: guardrail, margin: 0.5}}
  error_rate: {{priority: guardrail, margin: 1pp, baseline: {ERRORS}}}
  cost_per_response: {{priority: guardrail, margin: 10%}}
source:
  table: turns.csv
  unit: who
  variant: arm
  time: at
  columns: {{turn.latency_s: latency_s, turn.error: error, turn.cost_usd: cost_usd, turn.answered: answered, outcome.resolved: resolved}}
watches:
{lines}"""
    )
    from_table = baseline_of_table(read_definition(tmp_path / "bot.yaml").experiment).to_dict()
    from_log = baseline(log, "bot").to_dict()
    assert from_table.pop("experiment") != from_log.pop("experiment")
    assert from_table == from_log


def test_what_cannot_be_told_is_refused_with_a_way_on(told):
    """Nothing registered, nothing in the period, an arm or a number that is none, a table without times."""
    log, experiment = told
    with pytest.raises(RecordError):
        baseline(log, "bit")
    refusals = [
        ({"until": START - 60.0}, DataError, "nothing was recorded in this period, so there is no window to learn from. Widen --since and --until, or leave them out"),
        ({"arm": "treatmnt"}, UsageError, "bot has no variant 'treatmnt'; it has control, treatment; did you mean 'treatment'?"),
        ({"turns_per_day": 0.0}, UsageError, "turns per day must be a number above 0, and this is 0"),
        ({"most": float("nan")}, UsageError, "false actions a week must be a number above 0, and this is nan"),
        ({"quantile": 0.2}, UsageError, "the quantile of the windows must be between 0.5 and 1, and this is 0.2"),
    ]  # fmt: skip
    for asked, kind, message in refusals:
        with pytest.raises(kind) as refused:
            baseline(log, "bot", **asked)
        assert str(refused.value) == message
    other = guarded(WATCHES[:1])
    astray = MemoryLog()
    register(astray, other, by="me", reason="a rehearsal")
    astray.append([*replayed(other, random.Random(3), evenly(2), seconds(), starts=60.0), *replayed(other, random.Random(4), evenly(2), seconds())])  # fmt: skip
    with pytest.raises(DataError) as refused:
        baseline(astray, "bot")
    assert str(refused.value) == (
        "what was recorded is said to have happened within 19,676 days, and some clock was wrong. Say --since and --until, "
        "400 days apart at most"
    )
    assert baseline(astray, "bot", since=START).turns == 24
    with pytest.raises(DataError) as refused:
        baseline_of_table(experiment)
    assert str(refused.value) == (
        "bot names no table (`source:`), so its past is in the log: equipoise baseline NAME"
    )
