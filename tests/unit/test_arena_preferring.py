"""The pairwise judge's numbers: each told by cases whose answer can be counted by hand."""

from __future__ import annotations

import math

import pytest

from equipoise.arena.case import Case
from equipoise.arena.preferring import prefer
from equipoise.arena.result import Answered, CaseResult
from equipoise.arena.stepping import Judging, interval_after, order_of, plan_judging, settled
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion, Labels, Recording
from equipoise.scoring.pairwise import Comparison
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import krippendorffs_alpha

WINNER = {1.0: "treatment", 0.5: "tie", 0.0: "control"}


def both(score, **other):
    """A verdict that is the same in both orders."""
    return Comparison(score=score, treatment_first=WINNER[score], control_first=WINNER[score], **other)


def unread(why="the judge’s reply holds no readable verdict", **other):
    return Comparison(score=None, why_not=why, **other)


def panel(**by_judge):
    scores = [each.score for each in by_judge.values() if each.score is not None]
    return Comparison(score=sum(scores) / len(scores), by_judge=by_judge)


def case(number, *comparisons, lengths=None, **other):
    answers = {}
    if lengths is not None:
        answers = {name: (Answered(text="x" * n),) for name, n in zip("ab", lengths, strict=True)}
    return CaseResult(
        id=str(number),
        asked="?",
        comparisons={"b": comparisons} if comparisons else {},
        answers=answers,
        **other,
    )


def found(cases, **other):
    return prefer(cases, control="a", treatment="b", level=0.95, **other)


def labels(at_least):
    return Labels(
        recording=Recording(file="labels.csv", case="case", variant="variant", value="p"), at_least=at_least
    )


def test_wins_ties_losses_and_what_is_missing_are_counted_apart():
    """Samples are averaged first; unscored counts cases, errored comparisons, and a case without any is unscored."""
    cases = [
        case(1, both(1.0), both(0.0)),
        case(2, both(1.0), unread()),
        case(3, both(0.0)),
        case(4, unread("the endpoint failed", errored=True)),
        case(5),
    ]
    seen = found(cases)
    assert (seen.wins, seen.ties, seen.losses, seen.unscored, seen.errored) == (1, 1, 1, 2, 1)
    assert seen.raw.value == pytest.approx(0.5)
    assert (seen.judged, seen.saved, seen.steps, seen.decides) == (4, 0, 1, "raw")


def test_cases_of_one_cluster_and_of_more_weight_are_told_in_the_rate():
    """Copies in a cluster widen the interval; a case of weight three counts three times as much as one of weight one."""
    alone = found([case(n, both(float(n % 2))) for n in range(80)])
    copied = found([case(n, both(float(n // 4 % 2)), cluster=f"{n // 4}") for n in range(80)])
    assert copied.raw.standard_error > 1.8 * alone.raw.standard_error
    heavy = found([case(n, both(float(n % 2)), weight=1.0 + 2.0 * (n % 2)) for n in range(80)])
    assert heavy.raw.value == pytest.approx(0.75)
    plan = plan_judging(80, level=0.95)
    steps = found(
        [case(n, both(float(n % 2)), weight=1.0 + 2.0 * (n % 2)) for n in range(80)],
        judging=Judging(plan=plan, step=len(plan.sizes) - 1),
    )
    assert steps.raw.value == pytest.approx(0.75)


def test_two_orders_give_the_lean_and_the_consistency():
    """Of 40 cases the judge takes what it sees first on 10 and what it sees second on 2: a lean of 10 points."""
    first = Comparison(score=0.5, treatment_first="treatment", control_first="control")
    last = Comparison(score=0.5, treatment_first="control", control_first="treatment")
    seen = found([case(n, first if n < 10 else last if n < 12 else both(float(n % 2))) for n in range(40)])
    assert (seen.disagreements, seen.first_preferred) == (12, 10)
    assert seen.lean.value == pytest.approx((10 - 2) / 40 / 2)
    assert seen.consistency.value == pytest.approx(28 / 40)


def test_one_order_by_lot_gives_a_lean_and_no_consistency():
    """Shown first it wins 30 of 40, shown second 10 of 40: a lean of a quarter."""
    cases = [
        case(n, Comparison(score=float(n % 4 > 0), treatment_first=WINNER[float(n % 4 > 0)]))
        for n in range(40)
    ]
    cases += [
        case(40 + n, Comparison(score=float(n % 4 == 0), control_first=WINNER[float(n % 4 == 0)]))
        for n in range(40)
    ]
    seen = found(cases)
    assert seen.lean.value == pytest.approx(0.25)
    assert (seen.consistency, seen.disagreements) == (None, None)


def test_a_panel_leans_as_its_members_do_on_average():
    """One member always takes the first shown, the other never errs: together they lean by a quarter."""
    leans = Comparison(score=0.5, treatment_first="treatment", control_first="control")
    seen = found([case(n, panel(one=leans, two=both(float(n % 2)))) for n in range(40)])
    assert seen.lean.value == pytest.approx(0.25)
    assert seen.consistency.value == pytest.approx(0.5)


def test_the_alpha_of_a_panel_has_a_row_for_each_judge():
    """It is Krippendorff's of judges by cases; a member that gave no verdict is a gap, and full agreement is 1."""
    said = [
        [1.0, 0.0, 0.5, 1.0, 0.0, 1.0] * 6,
        [1.0, 0.0, 1.0, 1.0, None, 1.0] * 6,
        [1.0, 0.5, 0.5, 1.0, 0.0, 0.0] * 6,
    ]

    def member(score):
        return unread() if score is None else both(score)

    cases = [
        case(n, panel(x=member(x), y=member(y), z=member(z)))
        for n, (x, y, z) in enumerate(zip(*said, strict=True))
    ]
    names = {1.0: "win", 0.5: "tie", 0.0: "loss", None: None}
    expected = krippendorffs_alpha(
        [[names[score] for score in row] for row in said], categories=["loss", "tie", "win"]
    )
    assert found(cases).panel_alpha.value == pytest.approx(expected.value)
    agreed = found([case(n, panel(x=both(float(n % 2)), y=both(float(n % 2)))) for n in range(60)])
    assert agreed.panel_alpha.value == pytest.approx(1.0)
    assert found([case(n, both(1.0)) for n in range(60)]).panel_alpha is None


def test_judge_noise_is_told_of_repeats_alone_or_within_a_panel():
    """Two of three askings alike is a third of the pairs; a panel's members are asked repeatedly, too."""
    steady = both(1.0, repeats=(both(1.0),) * 3)
    noisy = both(1.0, repeats=(both(1.0), both(1.0), both(0.0)))
    half = [case(n, steady if n % 2 else noisy) for n in range(40)]
    assert found(half).judge_noise.value == pytest.approx((1 + 1 / 3) / 2)
    within = [case(n, panel(one=steady, two=noisy)) for n in range(40)]
    assert found(within).judge_noise.value == pytest.approx((1 + 1 / 3) / 2)
    assert found([case(n, both(1.0)) for n in range(4)]).judge_noise is None


def test_the_longer_answer_is_what_the_length_lean_speaks_of():
    """It wins 30 of 40, whichever arm gave it: a lean of 25 points, and the rate at equal length says one half."""
    cases = []
    for n in range(80):
        longer_wins = n % 4 != 0
        ours_longer = n // 4 % 2 == 0
        won = longer_wins == ours_longer
        cases.append(case(n, both(float(won)), lengths=(100, 150) if ours_longer else (150, 100)))
    seen = found(cases)
    assert seen.length_lean.value == pytest.approx(0.25)
    assert seen.controlled.value == pytest.approx(0.5, abs=0.01)
    bare = found([case(n, both(float(n % 2))) for n in range(40)])
    assert bare.controlled == NotEstimable("the lengths of the answers are not known")
    assert bare.length_lean is None


def labelled(n, label, score, **other):
    return case(n, both(score), labels={} if label is None else {"b": label}, **other)


def test_labels_decide_once_there_are_enough_of_them():
    """The judge takes an eighth of the cases for wins that people call losses; the correction takes it away."""
    cases = []
    for n in range(400):
        truth = float(n % 4 < 2)
        judge = 1.0 if n % 4 == 2 and n // 8 % 2 == 0 else truth
        cases.append(labelled(n, truth if n // 4 % 2 else None, judge))
    seen = found(cases, labels=labels(100))
    assert (seen.decides, seen.labels) == ("corrected", 200)
    assert seen.raw.value == pytest.approx(0.625)
    assert seen.corrected.value == pytest.approx(0.5)
    assert seen.corrected.null == 0.5
    few = found(cases, labels=labels(201))
    assert few.corrected == NotEstimable("200 of the cases are labelled, and from 201 on the labels decide")
    assert (found(cases).corrected, found(cases).decides) == (None, "raw")


def test_where_every_case_is_labelled_the_labels_alone_are_the_answer():
    """There is nothing left for the judge to say, with few labels or many."""
    for number in (30, 100):
        seen = found([labelled(n, float(n % 4 > 0), float(n % 2)) for n in range(number)], labels=labels(20))
        assert seen.corrected.value == pytest.approx(sum(n % 4 > 0 for n in range(number)) / number)
        assert seen.corrected.method == "mean, labels alone, t interval"


def test_the_correction_knows_clusters_and_weights():
    """Copied cases are no news: four copies of 200 cases have nearly the error of those 200."""
    label, score = [1.0, 0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0, 1.0]
    once = [labelled(n, label[n % 5] if n % 2 else None, score[n % 5]) for n in range(200)]
    alone = found(once, labels=labels(50)).corrected
    copied = [
        labelled(f"{n}.{copy}", label[n % 5] if n % 2 else None, score[n % 5], cluster=str(n))
        for n in range(200)
        for copy in range(4)
    ]
    seen = found(copied, labels=labels(50)).corrected
    assert seen.value == pytest.approx(alone.value, abs=0.01)
    assert seen.standard_error == pytest.approx(alone.standard_error, rel=0.05)
    weighted = found(
        [labelled(n, float(n % 2), float(n % 2), weight=1.0 + 2.0 * (n % 2)) for n in range(200)],
        labels=labels(50),
    ).corrected
    assert weighted.value == pytest.approx(0.75)
    few = found([labelled(n, float(n % 2), 1.0, cluster=f"{n // 20}") for n in range(200)], labels=labels(50))
    assert few.corrected == NotEstimable(
        "the labels lie in clusters worth 10 of equal size, and a corrected estimate needs 20"
    )


def test_agreement_and_kappa_are_with_people_on_the_labelled_cases():
    """80 of 100 alike, both even-handed: kappa is 0.6."""
    cases = [labelled(n, float(n % 2) if n % 10 > 1 else 1.0 - n % 2, float(n % 2)) for n in range(100)]
    cases += [labelled(100 + n, None, 1.0) for n in range(50)]
    seen = found(cases, labels=labels(50))
    assert seen.agreement.value == pytest.approx(0.8)
    assert seen.kappa.value == pytest.approx(0.6)


MODELS = {"a": "claude-3-5-haiku", "b": "gpt-4.1-mini", "c": "gpt-4.1-nano"}


def test_a_judge_of_one_arms_family_is_named_whatever_other_pairs_there_are():
    """Two treatments share the judge's family, and each alone beside control; people say what is earned."""
    cases = [labelled(n, float(n % 2), 1.0 if n % 10 == 0 else float(n % 2)) for n in range(100)]
    seen = found(cases, judge_models=["gpt-4.1"], variant_models=MODELS)
    assert seen.shares_family == "b"
    assert seen.self_preference.value == pytest.approx(0.1)
    turned = found(cases, judge_models=["claude-opus-4"], variant_models=MODELS)
    assert turned.shares_family == "a"
    assert turned.self_preference.value == pytest.approx(-0.1)
    for judges, models in ((["mistral-large"], MODELS), (["gpt-4.1"], MODELS | {"a": "gpt-4o"})):
        neither = found(cases, judge_models=judges, variant_models=models)
        assert (neither.shares_family, neither.self_preference) == (None, None)
    unlabelled = found(
        [case(n, both(1.0)) for n in range(9)], judge_models=["gpt-4.1"], variant_models=MODELS
    )
    assert unlabelled.self_preference == NotEstimable(
        "neither people's labels nor judges of another family say what to expect"
    )


def test_in_a_panel_the_judge_of_the_family_is_held_against_the_others_and_against_people():
    """It alone prefers the arm on every fifth case; the panel's mean would halve what it does."""
    cases = [
        case(
            n,
            panel(
                **{"gpt-4.1": both(1.0 if n % 5 == 0 else float(n % 2)), "mistral-large": both(float(n % 2))}
            ),
        )
        for n in range(100)
    ]
    asked = {"judge_models": ["gpt-4.1", "mistral-large"], "variant_models": MODELS}
    assert found(cases, **asked).self_preference.value == pytest.approx(0.1)
    known = [
        CaseResult(id=each.id, asked="?", comparisons=each.comparisons, labels={"b": float(n % 2)})
        for n, each in enumerate(cases)
    ]
    assert found(known, **asked).self_preference.value == pytest.approx(0.1)


def test_each_tag_has_its_own_rate():
    """Of two cases and more; a tag on one case has none."""
    cases = [
        case(n, both(float(n % 3 == 0)), tags=("odd",) if n % 2 else ("even", f"only {n}")) for n in range(60)
    ]
    rates = found(cases).by_tag
    assert sorted(rates) == ["even", "odd"]
    assert rates["odd"].value == pytest.approx(10 / 30)


def test_judging_in_steps_is_said_with_a_wider_interval_and_without_a_test():
    """200 of 500 cases judged: the others are spared and not unscored; raw and corrected are repeated intervals."""
    plan = plan_judging(500, level=0.95)
    judged = [labelled(n, float(n % 2) if n % 3 else None, float(n % 4 > 0)) for n in range(200)]
    cases = judged + [case(n) for n in range(200, 500)]
    seen = found(cases, labels=labels(50), judging=Judging(plan=plan, step=3))
    assert (seen.judged, seen.saved, seen.steps, seen.unscored) == (200, 300, 4, 0)
    once = found(judged, labels=labels(50))
    for wide, narrow in ((seen.raw, once.raw), (seen.corrected, once.corrected)):
        assert wide.value == pytest.approx(narrow.value)
        assert wide.low < narrow.low < narrow.high < wide.high
        assert (wide.level, wide.p_value) == (0.95, None)
        assert wide.method.endswith(", repeated over 10 steps")


def test_a_step_is_settled_where_the_gate_would_decide():
    """The margin is the gate's own, also where none is declared; a floor counts; `not_worse` waits for something."""
    plan = plan_judging(500, level=0.95)
    last = Judging(plan=plan, step=9)
    even = [float(n % 2) for n in range(500)]
    worse = [float(n % 100 < 43) for n in range(500)]
    better = [float(n % 100 < 60) for n in range(500)]
    default, superior = Criterion(of="win_rate"), Criterion(of="win_rate", show="superior")
    # 43 % is below one half, and neither above nor below 40 %.
    assert isinstance(interval_after(last, worse, None), Estimate)
    assert settled(last, worse, None, superior)
    assert not settled(last, worse, None, default)
    assert settled(last, even, None, default)
    assert not settled(last, even, None, superior)
    assert settled(last, better, None, superior)
    assert not settled(last, better, None, Criterion(of="win_rate", show="superior", at_least=0.58))
    assert settled(last, better, None, Criterion(of="win_rate", show="superior", at_least=0.75))
    assert not settled(last, even, None, Criterion(of="win_rate", show="not_worse"))
    assert settled(last, worse, None, Criterion(of="win_rate", show="not_worse"))
    assert settled(last, even, None, Criterion(of="win_rate", margin=Amount(0.10)))
    assert not settled(last, [1.0], None, superior)


def test_boundaries_fall_and_the_order_is_by_lot_with_clusters_whole():
    """Pocock-like: no early boundary is out of reach; the same seed gives the same order, another another."""
    plan = plan_judging(500, level=0.95)
    assert plan.sizes[-1] == 500
    assert all(1.96 < boundary < 2.75 for boundary in plan.boundaries)
    assert plan_judging(1, level=0.95).sizes == (1,)
    assert math.isclose(plan_judging(40, level=0.95).boundaries[0], 1.959964, abs_tol=1e-4)
    cases = [Case(id=str(n), input="?", cluster=f"document {n % 20}" if n < 60 else None) for n in range(80)]
    order = order_of(cases, 1)
    assert sorted(order, key=lambda each: int(each.id)) == cases
    turned = order_of(list(reversed(cases)), 1)
    assert [each.cluster for each in order] == [each.cluster for each in turned]
    assert order != order_of(cases, 2)
    runs = [each.cluster for n, each in enumerate(order) if n == 0 or order[n - 1].cluster != each.cluster]
    named = [cluster for cluster in runs if cluster is not None]
    assert len(named) == len(set(named)) == 20
