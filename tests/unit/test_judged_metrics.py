"""A judge's metric in the read-out: what labels make of it, when they decide, and what is said without any."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from judged_and_labelled import World, estimated, experiment, logged

from equipoise.conduct.calibration import calibration
from equipoise.conduct.look import look
from equipoise.conduct.looking.overrun import over_run
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.design.plan import plan
from equipoise.errors import DefinitionError
from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Exposure, Fact, Label, Score, Turn
from equipoise.events.opening import open_log
from equipoise.experiment.identity import canonical
from equipoise.measurement.measuring import measure_log
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.judges.corrected_cases import corrected_mean_over_cases
from equipoise.stats.judges.corrected_totals import (
    JudgedTotals,
    corrected_difference_of_totals,
    corrected_mean_of_totals,
    judged_difference_of_totals,
)

# Its scores come from elsewhere, so nothing is declared that this one would judge by.
pytestmark = pytest.mark.filterwarnings("ignore:.*the online judge has nothing to")


def vars_of(label: Label) -> dict[str, object]:
    return {
        name: getattr(label, name)
        for name in ("experiment", "happened", "name", "rater", "item", "trace", "unit", "probability")
    }


@pytest.mark.parametrize("cluster", ["", "cluster: team"])
def test_the_engine_adds_up_what_the_formula_wants(tmp_path, cluster):
    """The sums of every unit, or of every cluster, are those of a loop over the turns; so is the corrected effect."""
    design, world = experiment(tmp_path, metric=", labels: 60", cluster=cluster), World()
    analysis = look(logged(design, world.facts), "judged", closing=True)
    arms = [world.totals(arm, by_team=bool(cluster)) for arm in ("control", "b")]
    for arm, totals in zip(("control", "b"), arms, strict=True):
        judged = analysis.findings.measurement.tallies["polite"][arm].judged
        assert judged is not None
        assert (judged.totals.judged, judged.totals.labels) == (totals.judged, totals.labels)
        assert judged.totals.moments.n == totals.moments.n
        assert judged.totals.moments.means == pytest.approx(totals.moments.means, rel=1e-12)
        for row, other in zip(judged.totals.moments.products, totals.moments.products, strict=True):
            assert row == pytest.approx(other, rel=1e-9, abs=1e-12)
    effect = analysis.effect("polite")
    level = analysis.findings.look.level
    shared = world.shared("b") if cluster else None
    direct = estimated(corrected_difference_of_totals(*arms, shared=shared, level=level))
    assert estimated(effect.estimate).value == pytest.approx(direct.value, rel=1e-9)
    assert estimated(effect.estimate).low == pytest.approx(direct.low, rel=1e-9)
    beside = effect.by_labels
    assert beside is not None
    assert beside.corrected == effect.estimate
    assert estimated(beside.judge).value == pytest.approx(
        estimated(judged_difference_of_totals(*arms, shared=shared)).value, rel=1e-9
    )
    assert estimated(beside.judge).standard_error == pytest.approx(
        estimated(judged_difference_of_totals(*arms, shared=shared)).standard_error, rel=1e-9
    )
    # The judge passes bad answers of b; people do not.
    assert estimated(beside.judge).value > 0.15 > abs(estimated(effect.estimate).value) - 0.15
    assert effect.control == pytest.approx(estimated(corrected_mean_of_totals(arms[0])).value)


def test_only_units_that_were_in_for_the_whole_window_are_corrected(tmp_path):
    """Scores of those whose window is open still count neither for the judge nor for the labels."""
    world = World()
    found = look(
        logged(experiment(tmp_path, metric=", labels: 60, window: 10s"), world.facts), "judged", closing=True
    )
    # The last unit of which something was recorded came in at its number of seconds.
    last = max(int(turn[1][1:]) for turn in world.turns if turn[4] is not None)
    arms = [world.totals(arm, last=last - 10) for arm in ("control", "b")]
    effect = found.effect("polite")
    assert effect.by_labels is not None
    assert list(effect.by_labels.judged.values()) == [arm.judged for arm in arms]
    direct = estimated(corrected_difference_of_totals(*arms))
    assert estimated(effect.estimate).value == pytest.approx(direct.value, rel=1e-9)


def test_with_one_turn_a_unit_it_is_the_estimate_over_cases():
    """All weights alike and a tuned weight: the sums give what `corrected_cases` makes of the cases themselves.

    But for the point about which the judge's scores are centred, which moves the third digit of the weight at most.
    """
    rng = np.random.default_rng(7)
    judge = rng.normal(size=400)
    said = [float(score + rng.normal()) if n < 120 else None for n, score in enumerate(judge)]
    on = np.array([label is not None for label in said], float)
    y = np.array([label or 0.0 for label in said])
    sums = CrossMoments.of(judge, np.ones(400), y * on, on, judge * on)
    found = estimated(corrected_mean_of_totals(JudgedTotals(sums, 400, 120)))
    cases = estimated(corrected_mean_over_cases(said, judge))
    assert (found.value, found.standard_error, found.degrees_of_freedom) == pytest.approx(
        (cases.value, cases.standard_error, cases.degrees_of_freedom), rel=1e-3
    )


def test_before_the_planned_labels_nothing_decides(tmp_path):
    """The look is a peek that says what it waits for; with the labels it is due, and both effects are shown."""
    world = World()
    design = experiment(tmp_path, metric=", labels: 200")
    found = look(logged(design, world.facts), "judged").findings
    labels = {arm: world.totals(arm).labels for arm in ("control", "b")}
    assert max(labels.values()) < 200
    assert not found.look.due
    assert found.look.says == (
        "a peek: how far along the experiment is cannot be told (polite is a judge's opinion until people have labelled "
        f"200 turns of each arm, and they have labelled {labels['control']} of control and {labels['b']} of the treatment). "
        "Effects are withheld"
    )
    assert found.effects == ()


def test_a_last_look_without_the_labels_says_what_is_missing(tmp_path):
    """No more units will come, but labels may: nothing is decided, no alpha is spent, and they are what would change it."""
    world = World(units=60)
    analysis = look(logged(experiment(tmp_path, metric=", labels: 200"), world.facts), "judged", closing=True)
    assert analysis.findings.effects == ()
    assert analysis.verdict.word == "keep running"
    assert analysis.verdict.because.startswith(
        "a peek: how far along the experiment is cannot be told (polite is a judge's opinion until people have labelled 200 turns"
    )


def test_an_audit_plans_for_fifty_labels_in_each_arm(tmp_path):
    """Where an audit is declared a judge's metric waits for labels, unless it says how many or is no judge's."""
    design = experiment(tmp_path, audit="{labels_per_week: 25}")
    assert design.labels_planned(design.primary) == 50
    assert list(plan(design).notes) == [
        (
            "polite is corrected by people's labels and decides nothing before 50 turns of each arm are labelled: 100 in "
            "all, 28 days at 25 a week"
        )
    ]
    assert experiment(tmp_path).labels_planned(design.primary) is None
    worst = experiment(tmp_path, metric=", per_unit: min", audit="{labels_per_week: 25}")
    assert worst.labels_planned(worst.primary) is None
    named = experiment(tmp_path, metric=", labels: 80", audit="{labels_per_week: 25}")
    assert named.labels_planned(named.primary) == 80


def test_without_a_plan_the_judge_decides_and_is_called_an_opinion(tmp_path):
    """As before there were labels, with a caution; labels that are there all the same stand beside."""
    world, design = World(), experiment(tmp_path)
    silent = look(
        logged(design, [fact for fact in world.facts if not isinstance(fact, Label)]), "judged", closing=True
    )
    asked = look(logged(design, world.facts), "judged", closing=True)
    assert silent.effect("polite").by_labels is None
    assert "by_labels" not in silent.to_dict()["effects"][0]
    assert silent.effect("polite").estimate == asked.effect("polite").estimate
    said = {check.name: check.says for check in silent.findings.cautions}
    assert said["judge of polite"] == (
        "polite is the judge's opinion: nobody labelled what it is made of. With `labels` on the metric its effect is "
        "corrected by what people say, and waits for them"
    )
    labels = sum(isinstance(fact, Label) for fact in world.facts)
    assert {check.name: check.says for check in asked.findings.cautions}["judge of polite"] == (
        f"polite is the judge's opinion: {labels} of its turns are labelled, and no number of labels was planned for it to "
        "wait for. With `labels` on the metric its effect is corrected by what people say, and waits for them"
    )
    beside = asked.effect("polite").by_labels
    assert beside is not None
    assert beside.planned is None
    assert "by the judge alone, which decides; corrected by labels (" in asked.summary()


def test_the_judges_of_a_metric_are_part_of_its_health(tmp_path):
    """Kindness to one arm is found by its specificity, and health has the sentence that `show` has."""
    design = experiment(tmp_path, metric=", labels: 60", audit="{minimum_agreement: 0.95}")
    found = look(logged(design, World().facts), "judged", closing=True).findings
    (check,) = [check for check in found.health if check.name == "judge of polite"]
    assert check.status == "note"
    assert check.says.startswith("polite by judge 1 agrees with people on ")
    assert check.says.endswith("below the minimum of 95%: recalibrate; its trend is withheld")
    assert found.so_far == ()


def test_a_look_with_labels_is_computed_again_to_the_byte(tmp_path):
    """Labels are part of what a look is pinned to: those that come later change nothing, those it read are counted."""
    world = World()
    log = logged(experiment(tmp_path, metric=", labels: 60"), world.facts)
    taken = look(log, "judged", closing=True)
    read = taken.findings.measurement.read
    assert read is not None
    assert read.facts["label"] == sum(isinstance(fact, Label) for fact in world.facts)
    later = next(fact for fact in world.facts if isinstance(fact, Label))
    assert later.value is not None
    log.append([Label(**{**vars_of(later), "value": 1.0 - later.value, "replaces": later.event_id})])
    assert verify(log, "judged").looks[0].answer == "same"
    assert look(log, "judged").to_json() == taken.to_json()


def test_labels_that_come_after_a_verdict_are_told_as_an_over_run(tmp_path):
    """The verdict stands, and what late labels would have made of it is said apart."""
    world = World()
    log = logged(experiment(tmp_path, metric=", labels: 60"), world.facts)
    look(log, "judged", closing=True)
    late = next(fact for fact in world.facts if isinstance(fact, Label))
    assert over_run(log, "judged") is None
    log.append([Label(**{**vars_of(late), "value": late.value, "rater": "bob"})])
    told = over_run(log, "judged")
    assert told is not None
    assert dict(told.facts) == {"label": 1}


def test_sealed_labels_and_scores_give_the_same_read_out(tmp_path):
    """Whether facts lie in the hot file or in segments, the bytes of the read-out are the same."""
    design, world = experiment(tmp_path, metric=", labels: 60", audit="{minimum_agreement: 0.9}"), World()
    place = tmp_path / "record.db"
    log = open_log(str(place))
    register(log, design, by="ann")
    log.append(
        [replace(fact, digest=design.digest) if isinstance(fact, Exposure) else fact for fact in world.facts]
    )
    hot = look(log, "judged", closing=True).to_dict()
    log.close()
    assert seal(place, hot_s=0, segment_facts=100).facts > 500
    log = open_log(str(place))
    assert verify(log, "judged").looks[0].answer == "same"
    cold = look(log, "judged").to_dict()
    log.close()
    assert cold["effects"] == hot["effects"]
    assert cold["health"][-1] == hot["health"][-1]


def test_two_judges_of_one_metric_are_said_to_be_two(tmp_path):
    """A judge that was changed in the middle is part of the metric's health."""
    world = World()
    facts = [
        replace(fact, evaluator="judge 2") if isinstance(fact, Score) and n % 3 == 0 else fact
        for n, fact in enumerate(world.facts)
    ]
    found = look(logged(experiment(tmp_path), facts), "judged").findings.health
    assert [check.says for check in found if check.name == "judge of polite"][-1] == (
        "2 judges gave polite its scores: one that was changed starts a new series, and means over both compare two "
        "instruments wherever they did not read both arms alike"
    )


def test_a_conversation_counts_once_however_long_it_is(tmp_path):
    """Arms that differ in length alone do not differ: turns of a long conversation share its one vote."""
    facts: list[Fact] = []
    for n in range(240):
        arm, unit = ("control", "b")[n % 2], f"c{n}"
        facts.append(
            Exposure(
                experiment="judged",
                happened=float(n),
                digest="",
                unit=unit,
                unit_type="conversation",
                variant=arm,
                probability=0.5,
                reason="assigned",
            )
        )
        # Half of the conversations are good throughout; in b those that are bad are three times as long.
        good = float(n % 4 < 2)
        length = 6 if arm == "b" and not good else 2
        for k in range(length):
            trace = f"{unit}-{k}"
            facts.append(Turn(experiment="judged", happened=n + 0.1, unit=unit, variant=arm, trace=trace))
            # Every other turn is drawn, with a probability that says so.
            if k % 2 == 0:
                given = {"experiment": "judged", "name": "polite", "unit": unit, "trace": trace}
                judge = 1.0 - good if n % 12 > 9 else good
                facts.append(Score(happened=n + 0.2, value=judge, evaluator="j", probability=0.5, **given))
                facts.append(Label(happened=n + 0.3, value=good, rater="ann", item=trace, **given))
    found = look(logged(experiment(tmp_path, metric=", labels: 60"), facts), "judged", closing=True)
    effect = found.effect("polite")
    assert (effect.control, effect.treatment) == (pytest.approx(0.5), pytest.approx(0.5))


def test_strata_that_are_kept_unequally_count_as_they_are(tmp_path):
    """Half of the mobile texts and a tenth of the others are kept, judged and labelled: each stands for as many as there are."""
    facts: list[Fact] = []
    for n in range(240):
        arm, unit, mobile = ("control", "b")[n % 2], f"c{n}", n % 12 < 10
        kept = 0.5 if mobile else 0.1
        given = {"experiment": "judged", "happened": float(n), "unit": unit}
        of_turn = given | {"name": "polite", "trace": f"t{n}", "probability": kept}
        good, strict = float(mobile), n % 24 < 2
        facts += [
            Exposure(
                **given, digest="", unit_type="conversation", variant=arm, probability=0.5, reason="assigned"
            ),
            Turn(**given, variant=arm, reason="assigned", trace=f"t{n}", sampled=kept),
            Score(**of_turn, value=0.0 if strict else good, evaluator="j"),
            Label(**of_turn, value=good, rater="ann", item=f"t{n}"),
        ]
    log = logged(experiment(tmp_path, metric=", labels: 60"), facts)
    effect = look(log, "judged", closing=True).effect("polite")
    # A hundred mobile turns of an arm stand for two hundred, and twenty others for two hundred.
    assert (effect.control, effect.treatment) == (pytest.approx(0.5), pytest.approx(0.5))
    (found,) = calibration(log, "judged")
    assert estimated(found.agreement).value == pytest.approx(1.0 - 40 / 800)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (", labels: 60, covariates: [age]", "judged.yaml:9: metrics.polite.covariates: an effect is corrected by labels or changed by covariates, not both; leave out covariates or `labels`"),
        (", labels: 60, winsorise: 0.99", "judged.yaml:9: metrics.polite.winsorise: an effect is corrected by labels or changed by winsorise, not both; leave out winsorise or `labels`"),
        (", labels: 60, tier: human", "judged.yaml:9: metrics.polite.labels: labels correct what a judge scored, and this is none; accepted: `of: score.NAME`"),
        (", labels: 10", "judged.yaml:9: metrics.polite.labels: 10 is out of range; accepted: at least 20"),
    ],
)  # fmt: skip
def test_labels_that_cannot_correct_are_refused(tmp_path, metric, says):
    """Each fault names its line, what is wrong and what to do."""
    with pytest.raises(DefinitionError) as refused:
        experiment(tmp_path, metric=metric)
    assert says in str(refused.value)


def test_a_definition_without_labels_keeps_its_digest(tmp_path):
    """The number of labels is part of the identity of a definition that has it, and of no other."""
    assert "labels" not in canonical(experiment(tmp_path))["metrics"]["polite"]
    assert canonical(experiment(tmp_path, metric=", labels: 60"))["metrics"]["polite"]["labels"] == 60


def test_several_turns_of_which_one_counts_cannot_be_corrected(tmp_path):
    """Labels correct a mean over turns: the first, the last or any of several is said to be none."""
    design = experiment(tmp_path, metric=", labels: 60, per_unit: last")
    found = look(logged(design, World().facts), "judged", closing=True).effect("polite").estimate
    assert isinstance(found, NotEstimable)
    assert found.reason == (
        "units have several judged turns, and labels correct their mean; polite has `per_unit: last`"
    )


def test_a_measurement_of_labels_up_to_a_position_reads_no_further(tmp_path):
    """A look is pinned to a position, and a label beyond it is not there."""
    world = World(units=80)
    log = logged(experiment(tmp_path, metric=", labels: 60"), world.facts)
    whole = measure_log(experiment(tmp_path, metric=", labels: 60"), log)
    head = log.head()
    part = measure_log(experiment(tmp_path, metric=", labels: 60"), log, until=head - 40)
    labels = [
        sum(tally.judged.totals.labels for tally in found.tallies["polite"].values() if tally.judged)
        for found in (whole, part)
    ]
    assert labels[1] < labels[0]
    assert not math.isnan(sum(labels))
