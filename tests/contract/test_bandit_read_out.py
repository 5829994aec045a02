"""A bandit's read-out from its log: the best arm or keep running, whenever it is asked, and the same bytes again."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from fractions import Fraction

import pytest
from bandit_logs import EVEN, TEXT, begin, epoch
from playing import START, bandit, playing, served

from equipoise import load_experiment
from equipoise.analysis.bandit_findings import EpochShares
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.looking.overrun import over_run
from equipoise.conduct.verify import verify
from equipoise.conduct.weigh import weigh
from equipoise.events.log import MemoryLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.charts import shares

ALIKE = {"control": 0.3, "b": 0.3, "c": 0.3}
ONE_BETTER = {"control": 0.3, "b": 0.3, "c": 0.5}
TO_C = {"control": Fraction(1, 20), "b": Fraction(1, 20), "c": Fraction(9, 10)}
WITHOUT_B = {"control": Fraction(1, 4), "c": Fraction(3, 4)}


def read(tmp_path, text=TEXT):
    (tmp_path / "greetings.yaml").write_text(text, encoding="utf-8")
    return load_experiment(tmp_path / "greetings.yaml")


@pytest.fixture
def design(tmp_path):
    return read(tmp_path)


@pytest.fixture
def log():
    return MemoryLog()


def recorded(log):
    return [record.fact for record in log.read_since(kinds=("look", "decision"))]


def asked(log):
    return look(log, "greetings", clock=ManualClock(2e9))


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_best_arm_ships_and_is_computed_again_to_the_byte(kind, design, tmp_path):
    """Three equal epochs and ten that follow the rewards: c ships, is recorded once, and verified."""
    log = MemoryLog() if kind == "memory" else SQLiteLog(tmp_path / "log.db")
    begin(log, design)
    for number in range(1, 4):
        epoch(log, design, number, ONE_BETTER)
    for number in range(4, 14):
        epoch(log, design, number, ONE_BETTER, shares=TO_C)
    found = asked(log)
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c")
    assert found.verdict.because == (
        "the best arm is c: its answered is better than that of control and b, which is said wrongly in at most 5% of such "
        "experiments, however often somebody looks, and every guardrail is held"
    )
    bandit = found.findings.bandit
    assert bandit is not None
    assert (bandit.leader, bandit.best, bandit.error, bandit.removed) == ("c", "c", 0.05, ())
    assert [arm.share for arm in bandit.arms] == [0.05, 0.05, 0.9]
    believed = [arm.best for arm in bandit.arms]
    assert sum(believed) == pytest.approx(1.0)
    assert believed[2] > 0.999
    assert [each.units for each in bandit.epochs] == [0, *[200] * 13]
    taken, decided = recorded(log)
    assert (taken.number, taken.final, decided.verdict, decided.arm) == (1, False, "ship", "c")
    assert json.dumps(taken.evidence["read_out"]["bandit"]) == json.dumps(found.to_dict()["bandit"])
    assert [(each.answer, each.says) for each in verify(log, "greetings").looks] == [("same", "the same")]
    assert asked(log).to_json() == found.to_json()


def test_what_arrives_after_the_verdict_is_told_apart(log, design):
    """The verdict stands; the rule is asked of everything once more, and nothing is recorded."""
    begin(log, design)
    for number in range(1, 12):
        epoch(log, design, number, ONE_BETTER)
    assert asked(log).verdict.word == "ship"
    epoch(log, design, 12, ALIKE)
    later = over_run(log, "greetings")
    assert later.verdict == "ship"
    assert later.facts["exposure"] == 200
    assert later.analysis.findings.measurement.units["c"] > asked(log).findings.measurement.units["c"]
    assert len(recorded(log)) == 2


def test_while_no_arm_is_best_nothing_is_recorded(log, design):
    """Equal arms, looked at after each of four epochs: keep running each time, with the effects shown and no trace left."""
    begin(log, design)
    epoch(log, design, 1, ALIKE)
    for number in range(2, 6):
        epoch(log, design, number, ALIKE)
        found = asked(log)
        assert found.verdict.word == "keep running"
        assert found.findings.look.due
        assert len(found.findings.primary) == 2
    assert recorded(log) == []
    leader = found.findings.bandit.leader
    others = " and ".join(arm for arm in ("control", "b", "c") if arm != leader)
    assert found.verdict.because == (
        f"the leading arm is {leader}, and it is not shown yet that its answered is better than that of {others}"
    )
    assert re.match(
        rf"(about [\d,]+ more units, if it stays as it is|more units): {leader} against ",
        found.verdict.would_change,
    )


def test_before_every_arm_has_some_units_there_is_nothing_to_say(log, design):
    """The first hour's rewards are pending: a peek, with what it waits for."""
    begin(log, design)
    epoch(log, design, 1, ALIKE)
    found = asked(log)
    assert (found.verdict.word, found.verdict.would_change) == (
        "keep running",
        "units with a reward in every arm that is in",
    )
    assert found.verdict.because == (
        "a peek, since control has 0 units with a value, and no two arms are compared before each has 30; 0 units in 2 "
        "epochs; the intervals hold whenever somebody looks, and are narrowest at 1,296 units"
    )


def test_of_two_arms_that_beat_control_alike_none_is_named(log, design):
    """Both are better than control beyond the boundary; which of them is best is not known, so nothing ships."""
    begin(log, design)
    for number in range(1, 12):
        epoch(log, design, number, {"control": 0.2, "b": 0.5, "c": 0.5})
    found = asked(log)
    level = found.findings.look.level
    assert all(each.estimate.p_value <= 1 - level for each in found.findings.primary)
    assert found.findings.bandit.best is None
    assert found.verdict.word == "keep running"
    assert len(found.findings.bandit.rivals) == 1


def test_an_arm_that_was_removed_is_no_part_of_the_question(log, design):
    """b goes after three epochs: c is compared with control alone, and the read-out says whose word the removal is."""
    begin(log, design)
    for number in range(1, 4):
        epoch(log, design, number, ONE_BETTER)
    for number in range(4, 9):
        epoch(log, design, number, ONE_BETTER, shares=WITHOUT_B)
    found = asked(log)
    bandit = found.findings.bandit
    assert found.findings.treatments == ("c",)
    assert bandit.removed == ("b",)
    assert [pair.other for pair in bandit.against] == ["control"]
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c")
    assert (
        "b got no more units; that an arm that was removed is not the best is the word of whoever removed it (the drop "
        "rule, or an operator), and the error says nothing of it." in found.to_markdown()
    )
    assert "removed" in found.summary()


def test_an_end_without_a_best_arm_is_a_hold(log, design):
    """With no more data to come it is recorded, and may be verified."""
    begin(log, design)
    for number in range(1, 4):
        epoch(log, design, number, ALIKE)
    found = look(log, "greetings", closing=True, clock=ManualClock(2e9))
    assert found.verdict.word == "hold"
    assert found.verdict.because.startswith("no more data will come, and ")
    assert found.verdict.would_change == "a new experiment with more units, or fewer arms"
    taken, decided = recorded(log)
    assert (taken.final, decided.verdict) == (True, "hold")
    assert verify(log, "greetings").exit_code == 0


def test_where_control_is_best_it_is_a_hold(log, design):
    """Every treatment is worse: nothing ships, and control is named."""
    begin(log, design)
    for number in range(1, 9):
        epoch(log, design, number, {"control": 0.6, "b": 0.3, "c": 0.3})
    found = asked(log)
    assert found.verdict.word == "hold"
    assert found.verdict.because == (
        "the best arm is control: its answered is better than that of b and c, which is said wrongly in at most 5% of such "
        "experiments, however often somebody looks"
    )
    assert found.verdict.would_change == "a new experiment with other arms"
    assert len(recorded(log)) == 2


def test_a_guardrail_that_breaks_in_every_arm_rolls_back(log, design):
    """The dearer arms are worse by more than the margin, by estimates as honest as the reward's."""
    begin(log, design)
    for number in range(1, 6):
        epoch(log, design, number, ONE_BETTER, shares=TO_C, cost={"b": 3.0, "c": 3.0})
    found = asked(log)
    assert found.verdict.word == "roll back"
    assert [each.held for each in found.findings.guards] == ["breached", "breached"]
    assert len(recorded(log)) == 2


def test_the_best_arm_does_not_ship_with_a_broken_guardrail(log, design):
    """c is best and too dear, b is not: neither ships."""
    begin(log, design)
    for number in range(1, 12):
        epoch(log, design, number, ONE_BETTER, cost={"c": 3.0})
    found = asked(log)
    assert found.findings.bandit.best == "c"
    assert found.verdict.word == "keep running"
    assert "cost is breached there" in found.verdict.because


def test_units_that_were_lost_make_it_invalid(log, design):
    """Every third exposure to c is missing: nothing is shown, and nothing recorded."""
    begin(log, design)
    for number in range(1, 16):
        epoch(log, design, number, ALIKE, units=400, lost="c")
    found = asked(log)
    assert found.verdict.word == "invalid"
    assert "the units do not follow the shares of their epochs" in found.verdict.because
    assert found.findings.bandit is None
    assert found.findings.effects == ()
    assert recorded(log) == []


def test_exposures_under_another_probability_make_it_invalid(log, design):
    """Whatever divides by a probability that was not the real one is wrong."""
    begin(log, design)
    epoch(log, design, 1, ALIKE, logged={"b": 0.5})
    assert asked(log).verdict.because == (
        "sample ratio: in epoch 1 exposures to b hold a probability of 0.5 where the epoch gave it 0.3333; find out who "
        "served them before reading anything else"
    )


def test_an_epoch_that_nobody_announced_makes_it_invalid(log, design):
    """Its exposures may be of another log."""
    begin(log, design)
    epoch(log, design, 1, ALIKE)
    epoch(log, design, 7, ALIKE, announced=False)
    assert asked(log).verdict.because == (
        "sample ratio: units came in during epoch 7, which the log never announced; exposures of another log, or of another "
        "`assignment_version`, may be among them"
    )


def test_estimates_are_those_of_the_batches(log, design):
    """The difference of the read-out lies within its interval around that of the truth, and its plain means beside it."""
    begin(log, design)
    for number in range(1, 6):
        epoch(log, design, number, ONE_BETTER)
    bandit = asked(log).findings.bandit
    for arm in bandit.arms:
        assert isinstance(arm.mean, Estimate)
        assert arm.mean.low < ONE_BETTER[arm.variant] < arm.mean.high
        # All epochs have the same shares: nothing followed anything, and the two means differ by chance alone.
        assert arm.naive == pytest.approx(arm.mean.value, abs=0.02)
    assert isinstance(bandit.regret, float)
    assert 0 < bandit.regret < 400


def test_what_has_no_honest_estimate_says_why(tmp_path):
    """A quantile has no moments that add up."""
    design = read(tmp_path, TEXT.replace("  cost: {", "  latency_p95: {priority: secondary}\n  cost: {"))
    log = MemoryLog()
    begin(log, design)
    epoch(log, design, 1, ALIKE)
    epoch(log, design, 2, ALIKE)
    slow = asked(log).effect("latency_p95", "b")
    assert slow.estimate == NotEstimable(
        "a quantile has no moments that add up over epochs; a bandit's effects are those of proportions, means, counts and "
        "ratios"
    )


def test_units_of_one_team_vary_together(tmp_path):
    """The same units in teams that are alike: the same estimate, a wider interval, and the number of clusters is noted."""
    alone, teams = read(tmp_path), read(tmp_path, TEXT.replace("bandit: {", "cluster: team\nbandit: {"))
    found = []
    for design in (alone, teams):
        log = MemoryLog()
        begin(log, design)
        for number in range(1, 5):
            epoch(log, design, number, ALIKE, alike=0.4)
        found.append(asked(log))
    plain, clustered = (each.effect("answered", "c").estimate for each in found)
    assert clustered.value == pytest.approx(plain.value)
    assert clustered.standard_error > 1.1 * plain.standard_error
    assert found[1].findings.measurement.clusters == {"control": 20, "b": 20, "c": 20}
    assert any(check.name == "clusters" for check in found[1].findings.health)


def test_a_bandit_for_a_mean_that_should_be_low_with_a_ratio_and_a_critical_segment(tmp_path):
    """The cheapest arm is best, cost per answer is a ratio of the same kind, and the gold tier is guarded by itself."""
    text = TEXT.replace(
        "proportion, of: outcome.answered, better: higher, window: 1h, absent: 0, baseline: 0.3, mde: 0.1",
        "mean, of: outcome.cost, better: lower, window: 1h, baseline: 2, spread: 0.5, mde: 0.1",
    )
    text = text.replace("  answered:", "  paid:").replace(
        "  cost: {priority: guardrail, kind: mean, of: outcome.cost, better: lower, margin: 0.5}",
        "  per_answer: {priority: secondary, kind: ratio, of: outcome.cost, per: outcome.answered, better: lower}",
    )
    text += "segments: [tier]\ncritical_segments: [{where: tier=gold, metric: paid, margin: 0.2}]\n"
    design = read(tmp_path, text)
    log = MemoryLog()
    begin(log, design)
    for number in range(1, 8):
        epoch(
            log,
            design,
            number,
            {"control": 0.3, "b": 0.3, "c": 0.3},
            shares=EVEN if number < 4 else TO_C,
            cost={"c": 1.7},
        )
    found = asked(log)
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c"), found.summary()
    cheap = found.effect("paid", "c").estimate
    assert isinstance(cheap, Estimate)
    assert cheap.low < -0.3 < cheap.high < 0
    guards = {(each.name, each.variant): each for each in found.findings.guards}
    gold = guards["paid in tier=gold", "c"]
    assert gold.held == "held"
    assert sum(gold.units.values()) < sum(found.effect("paid", "c").units.values())
    ratio = found.effect("per_answer", "c")
    assert isinstance(ratio.estimate, Estimate)
    assert ratio.control == pytest.approx(2 / 0.3, rel=0.25)
    assert ratio.estimate.low < (1.7 - 2) / 0.3 < ratio.estimate.high
    assert "paid in tier=gold" in found.to_markdown()
    assert "so that they are too high on average" in found.to_markdown()


def test_the_report_shows_arms_and_shares(log, design, tmp_path):
    """The page has the arms' table, the bias by name and the picture of the shares; the screen on raw changes is not there."""
    begin(log, design)
    for number in range(1, 4):
        epoch(log, design, number, ALIKE, shares=EVEN if number < 3 else TO_C)
    found = asked(log)
    page = found.to_html()
    assert "How the shares went" in page
    # An epoch that was opened long after the last unit came in would squeeze all the others into a corner.
    (last,) = found.findings.bandit.epochs[-1:]
    empty = EpochShares(last.number + 1, (last.starts or 0.0) + 1e7, 0, last.shares)
    later = replace(found.findings.bandit, epochs=(*found.findings.bandit.epochs, empty))
    assert shares(replace(found.findings, bandit=later)) == shares(found.findings)
    assert "plain mean, biased" in page
    assert "Plain means are biased" in page
    assert (
        "A difference is taken within epochs, so that a good afternoon is no part of it: it need not be that of the means."
        in page
    )
    assert "The screen on observed changes" not in page
    assert found.screen is None
    assert found.save(tmp_path / "card.svg").read_text().startswith("<svg")
    assert replace(found.findings, bandit=None).to_dict().keys() == found.findings.to_dict().keys() - {
        "bandit"
    }


@pytest.mark.parametrize("policy", ["thompson", "top_two"])
def test_what_the_monitor_weighs_is_read_out(policy):
    """Units come in by the epochs that `weigh` opens: every look is healthy, and the best arm is found and verified."""
    clock = ManualClock(START)
    log, design = MemoryLog(clock), bandit({"policy": policy})
    rng = random.Random(7)
    playing(log, design, clock)
    found = None
    for _ in range(16):
        served(log, design, clock, rng, 240, {"control": 0.4, "b": 0.4, "c": 0.6}, apart=15.0)
        weigh(log, "bot", by="monitor", clock=clock)
        found = look(log, "bot", clock=clock)
        assert found.findings.healthy, found.summary()
        if found.verdict.word == "ship":
            break
    assert found is not None
    assert (found.verdict.word, found.verdict.arm) == ("ship", "c")
    assert len(found.findings.bandit.epochs) >= 3
    # What the shares were made of is what the read-out says is believed, but for what matured since.
    assert found.findings.bandit.arms[2].best > 0.9
    assert [each.answer for each in verify(log, "bot").looks] == ["same"]
