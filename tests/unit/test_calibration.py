"""Judges held against people: what counts, what is said of it, and what is to be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from equipoise.analysis.calibration import Calibration, Labelled, Series, calibrate
from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.calibration import calibration
from equipoise.conduct.register import register
from equipoise.events.facts import Label, Score
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.labels import answered
from equipoise.stats.estimate import Estimate, NotEstimable

SERIES = Series(score="polite", evaluator="judge 1", scored=500, first=0.0, last=9.0)


def turns(*counts: tuple[float, float, int], weight: float = 1.0, at_random: bool = True) -> list[Labelled]:
    """So many turns of a score and a label, each of a unit of its own."""
    return [
        Labelled(score=score, said={"ann": said}, unit=f"{kind} {n}", weight=weight, at_random=at_random)
        for kind, (score, said, count) in enumerate(counts)
        for n in range(count)
    ]


def value(result: object) -> float:
    assert isinstance(result, Estimate)
    return result.value


def test_six_of_eight_under_a_minimum_of_four_fifths_is_recalibrated():
    """The worked example: 75.0 %, the trend is withheld, and the sentence says what to do."""
    found = calibrate(SERIES, turns((1, 1, 4), (0, 0, 2), (1, 0, 1), (0, 1, 1)), minimum=0.8)
    assert (value(found.agreement), found.advice, found.more, found.trend_withheld) == (
        0.75,
        "recalibrate",
        None,
        True,
    )
    assert found.says == (
        "polite by judge 1 agrees with people on 75.0% of 8 labelled turns (40.9% to 92.9%), below the minimum of 80%: "
        "recalibrate; its trend is withheld"
    )
    assert (value(found.sensitivity), round(value(found.specificity), 3)) == (0.8, 0.667)
    assert value(found.kappa) == pytest.approx(1 - 0.25 / (5 / 8 * 3 / 8 * 2))
    assert found.correlation is None


@pytest.mark.parametrize(
    ("right", "wrong", "minimum", "advice", "more", "says"),
    [
        (45, 5, 0.8, "label more", 12, "90.0% of 50 labelled turns (78.6% to 95.7%), not shown to reach the minimum of 80%; label more: 12"),
        (56, 6, 0.8, "none", None, "90.3% of 62 labelled turns (80.5% to 95.5%), shown to reach the minimum of 80%"),
        (40, 10, 0.8, "label more", None, "80.0% of 50 labelled turns (67.0% to 88.8%), not shown to reach the minimum of 80%, and no number of labels would show that it is above; label more"),
        (7, 1, None, "label more", 42, "87.5% of 8 labelled turns (52.9% to 97.8%); label more: 42"),
        (45, 5, None, "none", None, "90.0% of 50 labelled turns (78.6% to 95.7%); no minimum is declared"),
        (39, 11, 0.785, "recalibrate", None, "78.0% of 50 labelled turns (64.8% to 87.2%), below the minimum of 78.5%: recalibrate; its trend is withheld"),
    ],
)  # fmt: skip
def test_the_advice_follows_from_the_agreement_and_its_interval(right, wrong, minimum, advice, more, says):
    """Below the minimum: recalibrate. Not shown to reach it: so many more labels, at which its lower limit would."""
    found = calibrate(SERIES, turns((1, 1, right), (0, 1, wrong)), minimum=minimum)
    assert (found.advice, found.more) == (advice, more)
    assert found.says == f"polite by judge 1 agrees with people on {says}"


def test_without_a_label_the_judge_is_an_opinion():
    """Nothing is estimated, and it says how many labels would begin to tell."""
    found = calibrate(SERIES, [], minimum=0.8)
    assert isinstance(found.agreement, NotEstimable)
    assert (found.advice, found.more, found.trend_withheld) == ("label more", 50, False)
    assert found.says == (
        "polite by judge 1 is a judge's opinion: no turn drawn at random is labelled; label more: 50"
    )


def test_what_was_looked_for_is_shown_apart():
    """Turns drawn where judge and outcome disagree are counted, and move no estimate."""
    random = turns((1, 1, 40), (0, 0, 20), (1, 0, 4), weight=20.0)
    chosen = turns((1, 0, 30), (0, 0, 3), at_random=False)
    found, alone = calibrate(SERIES, random + chosen), calibrate(SERIES, random)
    assert (found.labels, found.apart, found.apart_alike) == (64, 33, 3)
    assert (found.agreement, found.kappa, found.specificity) == (
        alone.agreement,
        alone.kappa,
        alone.specificity,
    )


def test_a_turn_counts_by_one_over_its_probability():
    """A stratum of which a tenth was drawn weighs ten times as much in every share."""
    drawn = turns((1, 1, 40), (1, 0, 10))
    drawn += turns((1, 1, 0), (1, 0, 0), (0, 0, 30), (0, 1, 10), weight=10.0)
    found = calibrate(SERIES, drawn)
    assert value(found.agreement) == pytest.approx((40 + 300) / 450)
    assert value(found.sensitivity) == pytest.approx(40 / 140)
    assert value(found.specificity) == pytest.approx(300 / 310)
    p, q = (50 / 450, 400 / 450), (140 / 450, 310 / 450)
    expected = 1.0 - p[0] * q[0] - p[1] * q[1]
    assert value(found.kappa) == pytest.approx(1.0 - (110 / 450) / expected)


def test_turns_of_one_unit_tell_less_than_turns_of_many():
    """Ten conversations of ten turns, alike within: the interval is wider and the advice asks for more."""
    said = [(1.0, 1.0 if unit < 8 else 0.0, unit) for unit in range(10) for _ in range(10)]
    apart = [
        Labelled(score=score, said={"ann": label}, unit=str(index))
        for index, (score, label, _) in enumerate(said)
    ]
    together = [Labelled(score=score, said={"ann": label}, unit=str(unit)) for score, label, unit in said]
    wide, narrow = calibrate(SERIES, together, minimum=0.6), calibrate(SERIES, apart, minimum=0.6)
    assert value(wide.agreement) == value(narrow.agreement) == 0.8
    assert isinstance(wide.agreement, Estimate)
    assert isinstance(narrow.agreement, Estimate)
    assert wide.agreement.low < 0.6 < narrow.agreement.low
    assert (wide.units, narrow.units, narrow.advice) == (10, 100, "none")
    assert wide.advice == "label more"
    assert wide.more is not None
    assert wide.more > 150


GRADES = [(5, 5, 20), (4, 4, 20), (3, 3, 15), (2, 2, 10), (4, 5, 10), (3, 4, 10), (1, 2, 5), (5, 3, 2)]


def test_grades_have_a_weighted_kappa_and_a_correlation():
    """Without a threshold grades stay grades: the same grade agrees, and a near one counts for something."""
    found = calibrate(SERIES, turns(*GRADES))
    assert found.graded
    assert (found.sensitivity, found.specificity) == (None, None)
    assert value(found.agreement) == pytest.approx(65 / 92)
    assert value(found.kappa) > value(found.agreement)
    assert value(found.correlation) > 0.8
    assert found.says.startswith(
        "polite by judge 1 gives the same grade as people on 70.7% of 92 labelled turns ("
    )


def test_a_threshold_makes_grades_yes_and_no():
    """From 4 on a grade is good, the judge's and the people's; labels of yes and no are taken as they are."""
    found = calibrate(SERIES, turns(*GRADES), threshold=4.0)
    assert not found.graded
    # 50 are good to both, 10 to people alone (3 for 4), 2 to the judge alone (5 for 3).
    assert value(found.sensitivity) == pytest.approx(50 / 60)
    assert value(found.specificity) == pytest.approx(30 / 32)
    yes_or_no = [(score, float(said >= 4), count) for score, said, count in GRADES]
    assert calibrate(SERIES, turns(*yes_or_no), threshold=4.0).agreement == found.agreement


def test_several_raters_are_put_together_and_held_against_each_other():
    """A majority counts, an even split counts for nothing, and the raters' own agreement stands beside."""
    rated = [Labelled(score=1.0, said={"ann": 1.0, "bob": 1.0, "eve": 0.0}, unit=f"a{n}") for n in range(10)]
    rated += [Labelled(score=0.0, said={"ann": 0.0, "bob": 0.0}, unit=f"b{n}") for n in range(6)]
    rated += [Labelled(score=1.0, said={"ann": 0.0, "bob": 1.0}, unit=f"c{n}") for n in range(4)]
    found = calibrate(SERIES, rated)
    assert (found.labels, found.split, found.raters, found.rated_twice) == (16, 4, 3, 20)
    assert value(found.agreement) == 1.0
    assert value(found.rater_agreement) == pytest.approx((10 / 3 + 6) / 20)
    assert isinstance(found.alpha, Estimate)


def label(item: str, said: float | None, **more: object) -> Label:
    given = {"experiment": "judged", "happened": 5.0, "name": "polite", "rater": "ann"} | more
    return Label(item=item, value=said, **given)  # type: ignore[arg-type]


def test_a_pass_says_nothing_of_an_item():
    """Whoever passes after an answer leaves the item to what others said of it."""
    said = [label("t1", 0.0), label("t1", 1.0, rater="bob"), label("t1", None), label("t2", None)]
    assert {key: dict(found.values) for key, found in answered(said).items()} == {
        ("polite", "t1"): {"bob": 1.0}
    }


def test_a_turn_drawn_at_random_counts_though_it_was_looked_for_as_well():
    """Of its labels only those drawn at random count, with their probability."""
    said = [
        label("t1", 0.0, rater="bob", draw="disagreement"),
        label("t1", 1.0, probability=0.25),
        label("t1", 0.0, rater="eve", draw="disagreement"),
    ]
    found = answered(said)["polite", "t1"]
    assert (found.drawn, found.probability, dict(found.values)) == ("audit", 0.25, {"ann": 1.0})


# Its scores come from elsewhere, so nothing is declared that this one would judge by.
pytestmark = pytest.mark.filterwarnings("ignore:.*the online judge has nothing to")

TEXT = """
name: judged
hypothesis: A judge is an instrument.
changes: [config]
unit: {type: conversation}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  polite: {priority: primary, kind: mean, of: score.polite, better: higher, spread: 0.5, mde: 0.1}
AUDIT
"""


def definition(folder: Path, audit: str = "{minimum_agreement: 0.8}") -> Path:
    path = folder / "judged.yaml"
    path.write_text(
        TEXT.replace(
            "AUDIT",
            f"online_judge: {{sample: 5%, audit: {audit}}}" if audit else "",
        ),
        encoding="utf-8",
    )
    return path


def facts() -> list[Score | Label]:
    """Two judges; the first read 8 turns that are labelled, 6 of them as people do; the second read others."""
    told: list[Score | Label] = []
    for n in range(20):
        score = Score(
            experiment="judged",
            happened=float(n),
            unit=f"c{n}",
            name="polite",
            value=float(n % 2),
            evaluator="judge 1" if n < 12 else "judge 2",
            trace=f"t{n}",
            probability=0.05,
        )
        told.append(score)
    told += [label(f"t{n}", float(n % 2) if n < 6 else 1.0 - n % 2, trace=f"t{n}") for n in range(8)]
    return [*told, label("t10", 1.0, draw="disagreement"), label("nobody", 1.0)]


def told(folder: Path, audit: str = "{minimum_agreement: 0.8}") -> tuple[Calibration, ...]:
    log = MemoryLog(ManualClock(100.0))
    register(log, load_experiment(definition(folder, audit)), by="ann")
    log.append(facts())
    return calibration(log, "judged")


def test_a_changed_judge_starts_a_new_series(tmp_path):
    """Each evaluator is calibrated by the labels of its own turns, in the order in which the series began."""
    first, second = told(tmp_path)
    assert (first.series.evaluator, first.series.scored, first.labels, first.apart) == ("judge 1", 12, 8, 1)
    assert (first.series.first, first.series.last) == (0.0, 11.0)
    assert first.says == (
        "polite by judge 1 agrees with people on 75.0% of 8 labelled turns (40.9% to 92.9%), below the minimum of 80%: "
        "recalibrate; its trend is withheld"
    )
    assert (second.series.evaluator, second.labels, second.advice) == ("judge 2", 0, "label more")


def test_a_threshold_is_declared_with_the_audit(tmp_path):
    """It reaches the calibration, and changes the digest of a definition that has it and of no other."""
    assert {each.threshold for each in told(tmp_path, "{threshold: 1}")} == {1.0}
    plain = canonical(load_experiment(definition(tmp_path)))
    cut = canonical(load_experiment(definition(tmp_path, "{minimum_agreement: 0.8, threshold: 4}")))
    assert plain["online_judge"] == {"sample": "1/20", "audit": {"minimum_agreement": 0.8}}
    assert cut["online_judge"]["audit"] == {"minimum_agreement": 0.8, "threshold": 4.0}


def test_show_tells_how_good_the_judges_are(tmp_path):
    """`equipoise show` has a line a judge, and what stands beside it; --json has all of it."""
    place = tmp_path / "record.db"
    log = open_log(str(place))
    register(log, load_experiment(definition(tmp_path)), by="ann")
    log.append(facts())
    log.close()
    shown = CliRunner().invoke(app, ["show", "judged", "--log", str(place)])
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("judge: "))
    assert lines[start : start + 4] == [
        (
            "judge: polite by judge 1 agrees with people on 75.0% of 8 labelled turns (40.9% to 92.9%), below the minimum "
            "of 80%: recalibrate; its trend is withheld"
        ),
        "  kappa 0.50 (-0.45 to 0.92), sensitivity 0.75 (0.30 to 0.95), specificity 0.75 (0.30 to 0.95)",
        "  apart: 1 turn drawn where judge and outcome disagree, and people side with the judge on 0; in no estimate",
        "judge: polite by judge 2 is a judge's opinion: no turn drawn at random is labelled; label more: 50",
    ]
    told = json.loads(CliRunner().invoke(app, ["show", "judged", "--json", "--log", str(place)]).stdout)
    first = told["calibration"][0]
    assert (first["labels"], first["agreement"]["value"], first["advice"]) == (8, 0.75, "recalibrate")
    assert (first["trend_withheld"], first["correlation"]) == (True, None)


def test_a_rule_is_no_judge_until_people_label_it(tmp_path):
    """A rule that scores beside a judge asks for no labels; once people gave some, it is held against them like a judge."""
    log = MemoryLog(ManualClock(100.0))
    register(log, load_experiment(definition(tmp_path)), by="ann")
    log.append(
        [
            Score(
                experiment="judged", happened=1.0, unit="c1", name=name, value=1.0, evaluator=f"{name}@1", trace="t1",
                configuration={"name": name, "kind": kind},
            )
            for name, kind in (("polite", "judge"), ("safety", "rule"))
        ]
    )  # fmt: skip
    assert [each.series.score for each in calibration(log, "judged")] == ["polite"]
    log.append([label("t1", 1.0, name="safety")])
    assert [each.series.score for each in calibration(log, "judged")] == ["polite", "safety"]


def test_where_nobody_labels_and_no_audit_is_declared_nothing_is_said(tmp_path):
    """An experiment that never asked people has no calibration."""
    log = MemoryLog(ManualClock(100.0))
    register(log, load_experiment(definition(tmp_path, "")), by="ann")
    log.append([each for each in facts() if isinstance(each, Score)])
    assert calibration(log, "judged") == ()
