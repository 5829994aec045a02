"""Judges: how replies are read, over a real endpoint, and what recorded judgements may be."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import DataError
from equipoise.experiment.definition import Recording
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.scoring.judging import last_json
from equipoise.scoring.pairwise import PairwiseJudge, combine, read_winner
from equipoise.scoring.recorded import read_grades, read_verdicts
from equipoise.scoring.rubric import RubricJudge, read_grade, rubric_means

A = [(3, 4, 1), (4, 3, 1), (3, 2, 1), (4, 4, 1), (3, 3, 1)]
B = [(4, 4, 5), (4, 4, 4), (4, 4, 5), (5, 5, 5), (4, 4, 4)]
AXES = ("clarity", "accuracy", "policy")


def test_the_worked_example_of_rubric_means():
    """Five answers on three axes: A 3.4/3.2/1.0 and B 4.2/4.2/4.6, computed from the rows."""
    for rows, means in ((A, [3.4, 3.2, 1.0]), (B, [4.2, 4.2, 4.6])):
        found = rubric_means(dict(zip(AXES, row, strict=True)) for row in rows)
        assert [found[axis].mean for axis in AXES] == pytest.approx(means, abs=1e-12)
        assert [(found[axis].scored, found[axis].unscored) for axis in AXES] == [(5, 0)] * 3


def test_an_axis_nobody_scored_has_no_mean():
    """Unscored is counted, and is no zero."""
    means = rubric_means([{"a": None}, {"a": None}])
    assert (means["a"].mean, means["a"].scored, means["a"].unscored) == (None, 0, 2)


@given(
    st.text(max_size=50), st.dictionaries(st.text(), st.integers() | st.text()), st.text(alphabet="ab 1}\n")
)
def test_the_last_object_is_read_whatever_stands_around_it(before, value, after):
    """Words before and after, braces among them, do not hide the judge's object."""
    assert last_json(before.replace('"', "") + " " + json.dumps(value) + after) == value


def test_deeply_nested_replies_do_not_break_the_reader():
    """A reply made of braces is unreadable, no more."""
    assert last_json("{" * 50_000) is None
    assert last_json('{"a":' * 2000) is None


@pytest.mark.parametrize(
    "reply, winner",
    [
        ('{"reason": "x", "winner": "A"}', "A"),
        ('```json\n{"reason": "x", "winner": "tie"}\n```', "tie"),
        ('First {"winner": "A"}, on reflection {"winner": "b"}', "B"),
        ('{"winner": "A"} then {"note": 1}', None),
        ('{"winner": "C"}', None),
        ('{"winner": 1}', None),
        ('[{"winner": "A"}]', "A"),
        ("A", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_or_it_is_none(reply, winner):
    """The last object decides; a letter in the prose never does."""
    found = read_winner(reply)
    assert (found[0] if found else None) == winner


def test_both_orders_make_one_comparison():
    """Agreement wins or loses, disagreement of any kind is a tie, an unreadable reply is unscored."""
    score = {
        "A": {"A": 0.5, "B": 1.0, "tie": 0.5},
        "B": {"A": 0.0, "B": 0.5, "tie": 0.5},
        "tie": {"A": 0.5, "B": 0.5, "tie": 0.5},
    }
    for first, row in score.items():
        for second, expected in row.items():
            found = combine((first, ""), (second, ""))
            assert found.score == expected
            assert found.disagreed == ((first, second) not in {("A", "B"), ("B", "A"), ("tie", "tie")})
    none = combine(None, None)
    assert none.score is None
    assert (
        none.why_not
        == "the judge’s reply with treatment first and with control first holds no readable verdict"
    )


def judged(answer, job):
    async def go():
        async with SimulatedEndpoint(answer) as url, OpenAICompatible(url, rng=random.Random(1)) as provider:
            return await job(provider)

    return asyncio.run(go())


def test_a_live_pairwise_judge_sees_both_orders_and_no_variant_names():
    """The answers trade places between the two requests; neither request names the variants."""
    seen = []

    def answer(body):
        material = json.loads(body["messages"][1]["content"])
        seen.append(material)
        assert body["temperature"] == 0
        winner = "A" if "policy" in material["answer_A"] else "B"
        return SimulatedAnswer(text=f'So: {{"reason": "cites it", "winner": "{winner}"}}')

    found = judged(
        answer,
        lambda provider: PairwiseJudge(provider=provider, model="j").compare(
            request="q", treatment="by policy", control="no", about={"case": "1", "variant": "secret-arm"}
        ),
    )
    assert (found.score, found.disagreed, found.reasons) == (1.0, False, ("cites it", "cites it"))
    assert [(each["answer_A"], each["answer_B"]) for each in seen] == [
        ("by policy", "no"),
        ("no", "by policy"),
    ]
    assert "secret-arm" not in json.dumps(seen)


def test_a_judge_that_takes_what_it_sees_first_only_makes_ties():
    """A position lean cancels out, and is seen."""
    found = judged(
        lambda body: SimulatedAnswer(text='{"winner": "A"}'),
        lambda provider: PairwiseJudge(provider=provider, model="j").compare(
            request="q", treatment="x", control="y", about={}
        ),
    )
    assert (found.score, found.disagreed, found.treatment_first, found.control_first) == (
        0.5,
        True,
        "treatment",
        "control",
    )


def test_equal_answers_are_a_tie_that_costs_nothing():
    """The judge is not asked to tell a text from itself."""
    found = asyncio.run(
        PairwiseJudge(provider=None, model="j").compare(
            request="q", treatment="same", control="same\n", about={}
        )
    )
    assert (found.score, found.asked) == (0.5, False)


def test_a_live_rubric_judge_asks_once_with_the_axes_turned():
    """One request for all axes, beginning where the rotation says; a score off the scale is none."""
    orders = []

    def answer(body):
        orders.append(list(json.loads(body["messages"][1]["content"])["axes"]))
        return SimulatedAnswer(text='Clear, 9 of 10.\n{"policy": 7, "clarity": 4, "accuracy": 3.5}')

    def job(provider):
        judge = RubricJudge(provider=provider, model="j", axes=dict.fromkeys(AXES, "…"))
        return judge.grade(request="q", answer="a", rotation=4, about={})

    grade = judged(answer, job)
    assert grade.scores == {"clarity": 4.0, "accuracy": 3.5, "policy": None}
    assert grade.why_not == "no score from 1 to 5 for policy"
    assert orders == [["accuracy", "policy", "clarity"]]


@pytest.mark.parametrize("score", ["true", '"4"', "0", "6", "null", "[4]", "1e999"])
def test_what_is_no_score_on_the_scale_is_unscored(score):
    """Only a number from 1 to the top counts."""
    assert read_grade(f'{{"a": {score}}}', axes=["a"], top=5).scores == {"a": None}


def test_a_judges_identity_is_all_of_its_configuration():
    """Another model, parameter, axis or scale is another judge."""
    base = RubricJudge(provider=None, model="j", axes={"a": "x"})
    others = [
        RubricJudge(provider=None, model="k", axes={"a": "x"}),
        RubricJudge(provider=None, model="j", axes={"a": "y"}),
        RubricJudge(provider=None, model="j", axes={"a": "x"}, top=7),
        RubricJudge(provider=None, model="j", axes={"a": "x"}, params={"temperature": 1}),
    ]
    assert len({judge.digest for judge in [base, *others]}) == 5


def recording(tmp_path, text, **names):
    (tmp_path / "r.csv").write_text(text)
    return Recording(file="r.csv", case="case", variant="arm", value="p", names=names)


@pytest.mark.parametrize("value", ["1.01", "-0.1", "nan", "win", "inf"])
def test_a_recorded_verdict_off_the_scale_is_refused(tmp_path, value):
    """A verdict is a number from 0 to 1, or nothing."""
    with pytest.raises(DataError) as caught:
        read_verdicts(recording(tmp_path, f"case,arm,p\n1,b,{value}\n"), tmp_path, variants=["b"])
    assert str(caught.value) == (
        f"the recorded verdicts {tmp_path}/r.csv, line 2: the column 'p' holds '{value}'. "
        "Accepted: a number from 0 to 1, or nothing where there is none"
    )


def test_recorded_judgements_read_what_is_declared_and_leave_the_rest(tmp_path):
    """Other variants' rows are left alone, an empty cell is unscored, names are mapped."""
    table = "case,arm,p,a\n1,gpt,0.25,\n2,gpt,,5\n1,other,9,9\n"
    found = read_verdicts(recording(tmp_path, table, b="gpt"), tmp_path, variants=["b"])
    assert found.scores == {("1", "b"): 0.25, ("2", "b"): None}
    grades = read_grades(recording(tmp_path, table, b="gpt"), tmp_path, variants=["b"], axes=["a"], top=5)
    assert grades.grades == {("1", "b"): {"a": None}, ("2", "b"): {"a": 5.0}}


def test_a_variant_without_rows_and_a_row_that_stands_twice(tmp_path):
    """Both are refused with the way out."""
    with pytest.raises(DataError) as caught:
        read_verdicts(recording(tmp_path, "case,arm,p\n1,gpt,1\n"), tmp_path, variants=["gtp"])
    assert str(caught.value) == (
        f"the recorded verdicts {tmp_path}/r.csv have no row of the variant 'gtp'. The column 'arm' holds: gpt; "
        "did you mean 'gpt'? Map the variant under `names` to what the file calls it"
    )
    with pytest.raises(DataError, match="line 3: case '1' of 'gpt' stands on line 2 already"):
        read_verdicts(recording(tmp_path, "case,arm,p\n1,gpt,1\n1,gpt,0\n"), tmp_path, variants=["gpt"])
