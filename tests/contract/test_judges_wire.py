"""One suite for all that compares and for all that grades, asked over a real endpoint or read from a file."""

from __future__ import annotations

import asyncio
import json
import random
from types import MappingProxyType

import pytest

from equipoise.errors import OutOfReachError
from equipoise.experiment.offline import Judge, Recording, Rubric
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.evaluators import AskedJudge, Tools, read_evaluators
from equipoise.scoring.pairwise import pairwise_comparator
from equipoise.scoring.recorded import recorded_comparator, recorded_grades
from equipoise.scoring.rubric import rubric_evaluator

RUBRIC = Rubric({"clarity": "Easy to follow.", "policy": "Names the rule."})
GOOD, POOR = "By policy you have 30 days.", "No idea."


def subject(answer, case="1", variant="b"):
    about = {"case": case, "variant": variant, "sample": "0"}
    return Subject(answer=answer, input="How long?", context=("30 days.",), about=about)


def judging(body):
    """A judge that knows what is right, whichever kind of judge it is asked to be."""
    asked = json.loads(body["messages"][1]["content"])
    good = lambda answer: answer == GOOD  # noqa: E731 - one line says it
    if "answer_A" in asked:
        said = {"reason": "names the policy", "winner": "A" if good(asked["answer_A"]) else "B"}
    elif "axes" in asked:
        said = {axis: {"reason": "r", "score": 5 if good(asked["answer"]) else 2} for axis in asked["axes"]}
    elif "criterion" in asked:
        said = {"reason": "r", "score": 5 if good(asked["answer"]) else 2}
    elif "statement" in asked:
        said = {"reason": "r", "meets": good(asked["answer"])}
    else:
        said = {"claims": [{"claim": "30 days", "passage": "30 days", "supported": good(asked["answer"])}]}
    return SimulatedAnswer(text=f"Let me see.\n```json\n{json.dumps(said, indent=1)}\n```")


def over_the_wire(answer, job, **endpoint):
    """What a job makes of judges at a real server, and every body the server saw."""
    seen = []

    def noting(body):
        seen.append(body)
        return answer(body)

    async def go(url):
        async with OpenAICompatible(url, rng=random.Random(1)) as provider:
            return await job(
                lambda model="j", **params: AskedJudge(provider=provider, model=model, params=params)
            )

    with SimulatedEndpoint(noting, **endpoint) as url:
        return asyncio.run(go(url)), seen


def verdicts(folder, *, ordered):
    orders = ("variant", "control") if ordered else ("",)
    rows = [f"1,b,{p},{first}" for p, first in zip((1, 1), orders, strict=False)]
    (folder / "v.csv").write_text("\n".join(["case,arm,p,first", *rows]) + "\n")
    first = "first" if ordered else None
    return Recording(file="v.csv", case="case", variant="arm", value="p", first=first)


COMPARATORS = {
    "a judge in both orders": lambda judge, folder: pairwise_comparator(Judge(model="j"), [judge()], None),
    "a judge in one order": lambda judge, folder: pairwise_comparator(
        Judge(model="j", both_orders=False), [judge()], RUBRIC
    ),
    "a judge asked thrice": lambda judge, folder: pairwise_comparator(
        Judge(model="j", samples=3), [judge()], None
    ),
    "a panel": lambda judge, folder: pairwise_comparator(
        Judge(panel=(Judge(model="j"), Judge(model="k"))), [judge(), judge("k", temperature=1)], None
    ),
    "recorded verdicts": lambda judge, folder: recorded_comparator(
        verdicts(folder, ordered=False), folder, variants=["b"]
    ),
    "recorded verdicts in both orders": lambda judge, folder: recorded_comparator(
        verdicts(folder, ordered=True), folder, variants=["b"]
    ),
}


@pytest.mark.parametrize("make", COMPARATORS.values(), ids=COMPARATORS)
def test_every_comparator_says_which_is_better_and_who_said_it(tmp_path, make):
    """A score or why not; orders as promised; a digest that the same configuration gives again."""

    async def job(judge):
        comparator, again = make(judge, tmp_path), make(judge, tmp_path)
        assert comparator.digest == again.digest
        assert len(bytes.fromhex(comparator.digest)) == 32
        found = await comparator.compare(subject(GOOD), subject(POOR, variant="control"))
        return comparator, found

    (comparator, found), seen = over_the_wire(judging, job)
    assert (found.score, found.why_not, found.errored, found.disagreed) == (1.0, None, False, False)
    assert found.asked == comparator.both_orders
    assert {"treatment"} >= {found.treatment_first, found.control_first} - {None}
    assert comparator.recorded == (not seen)
    assert comparator.models == (() if comparator.recorded else tuple(sorted({b["model"] for b in seen})))
    assert found.cost_usd == (0.0 if comparator.recorded else None)  # the price is not known


@pytest.mark.parametrize("make", list(COMPARATORS.values())[:4], ids=list(COMPARATORS)[:4])
def test_every_asked_comparator_counts_what_it_cannot_use(tmp_path, make):
    """Garbage is unscored, a refusal by the endpoint is errored; neither is a tie or a loss."""

    async def job(judge):
        return await make(judge, tmp_path).compare(subject(GOOD), subject(POOR, variant="control"))

    garbage, _ = over_the_wire(lambda body: SimulatedAnswer(text="I give A 4 of 5."), job)
    assert (garbage.score, garbage.errored) == (None, False)
    assert "holds no readable verdict" in garbage.why_not
    down, _ = over_the_wire(lambda body: SimulatedAnswer(status=400, error="broken"), job)
    assert (down.score, down.errored) == (None, True)
    assert "the judge did not answer: " in down.why_not


def declared(each):
    return lambda judge, folder: read_evaluators([each], tools=Tools(judges=(judge(),)))[0][0]


def grades(folder):
    (folder / "g.csv").write_text("case,arm,clarity,policy\n1,b,5,5\n2,b,2,2\n")
    return Recording(file="g.csv", case="case", variant="arm", value="clarity")


EVALUATORS = {
    "rubric": (lambda judge, folder: rubric_evaluator(RUBRIC, [judge()]), 5.0, 2.0),
    "rubric by a panel": (lambda judge, folder: rubric_evaluator(RUBRIC, [judge(), judge("k")]), 5.0, 2.0),
    "recorded grades": (
        lambda judge, folder: recorded_grades(grades(folder), folder, variants=["b"], rubric=RUBRIC),
        5.0,
        2.0,
    ),
    "g_eval": (declared({"g_eval": {"criteria": "Right?", "steps": ["Read.", "Compare."]}}), 5.0, 2.0),
    "faithfulness": (declared({"faithfulness": True}), 1.0, 0.0),
    "meets": (declared({"meets": "It names the policy."}), 1.0, 0.0),
}


@pytest.mark.parametrize(("make", "high", "low"), EVALUATORS.values(), ids=EVALUATORS)
def test_every_judge_scores_just_what_it_measures(tmp_path, make, high, low):
    """A better answer scores higher, on the judge's own scale; the digest is the same again."""

    async def job(judge):
        evaluator, again = make(judge, tmp_path), make(judge, tmp_path)
        assert evaluator.digest == again.digest
        assert (evaluator.kind, evaluator.revision) == ("judge", 1)
        good, poor = await evaluator.score(subject(GOOD)), await evaluator.score(subject(POOR, case="2"))
        assert set(good) == set(poor) == set(evaluator.measures)
        return good, poor

    (good, poor), _ = over_the_wire(judging, job)
    assert {score.value for score in good.values()} == {high}
    assert {score.value for score in poor.values()} == {low}


ASKED = {name: make for name, (make, _, _) in EVALUATORS.items() if name != "recorded grades"}


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_every_asked_judge_tells_garbage_from_failure_and_lets_the_end_of_a_run_through(tmp_path, make):
    """Unscored, errored, raised: three things, and no number for any of them."""

    async def job(judge):
        return await make(judge, tmp_path).score(subject(GOOD))

    for reply in ("4 of 5", "{}", '{"score": "five", "meets": "yes", "claims": 3, "clarity": 0}'):
        found, _ = over_the_wire(lambda body, reply=reply: SimulatedAnswer(text=reply), job)
        assert all((each.value, each.errored) == (None, False) and each.why_not for each in found.values())
    down, _ = over_the_wire(lambda body: SimulatedAnswer(status=400, error="broken"), job)
    assert all(each.errored and "the judge did not answer: " in each.why_not for each in down.values())

    class Ended:
        async def complete(self, request):
            raise OutOfReachError("the run has ended")

    with pytest.raises(OutOfReachError, match="the run has ended"):
        asyncio.run(
            make(lambda model="j": AskedJudge(provider=Ended(), model=model), tmp_path).score(subject(GOOD))
        )


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_every_judge_wishes_for_determinism_and_does_without(tmp_path, make):
    """Temperature 0, a seed and a strict schema where the endpoint knows them; the same score where it does not."""

    async def job(judge):
        return await make(judge, tmp_path).score(subject(GOOD))

    granted, seen = over_the_wire(judging, job)
    for body in seen:
        assert (body["temperature"], isinstance(body["seed"], int)) == (0, True)
        form = body["response_format"]
        assert (form["type"], form["json_schema"]["strict"]) == ("json_schema", True)
        schema = form["json_schema"]["schema"]
        assert (schema["additionalProperties"], set(schema["required"])) == (False, set(schema["properties"]))
    refused, plainly = over_the_wire(judging, job, refuses=("response_format",))
    assert refused == granted
    assert not {"temperature", "seed", "response_format", "logprobs"} & set(plainly[-1])


def test_what_a_judge_is_told_to_send_is_sent_and_not_wished_otherwise():
    """A temperature, a seed or a form of reply of the user's own stand."""

    async def job(judge):
        own = judge(temperature=0.7, seed=11, response_format={"type": "json_object"})
        await rubric_evaluator(RUBRIC, [own]).score(subject(GOOD))

    _, (body,) = over_the_wire(judging, job)
    assert (body["temperature"], body["seed"], body["response_format"]) == (0.7, 11, {"type": "json_object"})


def test_g_eval_weighs_where_it_may_and_says_where_it_may_not():
    """The wire's own log-probabilities: 4 with 0.9 and 5 with 0.1 make 4.1; without them it is the 4."""
    text = '{"reason": "r", "score": 4}'
    likely = [[('{"reason": "r", "score": ', 0.0)], [("4", -0.1053605), ("5", -2.3025851)], [("}", 0.0)]]

    async def job(judge):
        evaluator = declared({"g_eval": "It is right."})(judge, None)
        return (await evaluator.score(subject(GOOD)))["g_eval"]

    weighed, (body,) = over_the_wire(lambda body: SimulatedAnswer(text=text, likely=likely), job)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert (weighed.value, weighed.label) == (pytest.approx(4.1), "probability-weighted")
    plain, _ = over_the_wire(
        lambda body: SimulatedAnswer(text=text, likely=likely), job, refuses=("logprobs",)
    )
    assert (plain.value, plain.label) == (4.0, "not probability-weighted")


def test_no_judge_learns_which_variant_it_judges():
    """Neither name nor order stands in what is sent."""

    async def job(judge):
        comparator = pairwise_comparator(Judge(model="j"), [judge()], None)
        await comparator.compare(subject(GOOD, variant="secret-arm"), subject(POOR, variant="control"))

    _, seen = over_the_wire(judging, job)
    assert len(seen) == 2
    assert not any(word in json.dumps(seen) for word in ("secret-arm", "control", "treatment"))


def test_digests_tell_configurations_apart():
    """Another model, parameter, axis, scale, statement or number of askings is another judge."""
    plain = MappingProxyType({})
    judge = lambda model="j", params=plain: AskedJudge(provider=None, model=model, params=params)  # noqa: E731
    hot = MappingProxyType({"temperature": 1})
    rubrics = [
        rubric_evaluator(rubric, [asked], samples=samples)
        for rubric, asked, samples in (
            (RUBRIC, judge(), 1),
            (RUBRIC, judge("k"), 1),
            (RUBRIC, judge(params=hot), 1),
            (RUBRIC, judge(), 2),
            (Rubric(RUBRIC.axes, top=7), judge(), 1),
            (Rubric(RUBRIC.axes, revision=2), judge(), 1),
            (Rubric({"clarity": "Else."}), judge(), 1),
        )
    ]
    pairs = [
        pairwise_comparator(settings, [asked], rubric)
        for settings, asked, rubric in (
            (Judge(model="j"), judge(), None),
            (Judge(model="j"), judge(), RUBRIC),
            (Judge(model="j", both_orders=False), judge(), None),
            (Judge(model="j", samples=2), judge(), None),
            (Judge(model="j"), judge(params=hot), None),
        )
    ]
    said = [
        declared(each)(judge, None)
        for each in ({"meets": "a"}, {"meets": "b"}, {"g_eval": "a"}, {"faithfulness": True})
    ]
    digests = [each.digest for each in (*rubrics, *pairs, *said)]
    assert len(set(digests)) == len(digests)
