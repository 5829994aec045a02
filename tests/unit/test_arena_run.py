"""The arena from files and over a real endpoint: answers, judge, journal, gate and report."""

from __future__ import annotations

import asyncio
import json
import random
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest

from equipoise.arena.exporting import to_dict
from equipoise.arena.report import html_report, markdown_report
from equipoise.arena.run import run_arena, run_arena_sync
from equipoise.errors import (
    BudgetError,
    DataError,
    DefinitionError,
    OutOfReachError,
    UpstreamError,
    UsageError,
)
from equipoise.experiment.amount import Amount
from equipoise.experiment.definition import Experiment, Price, Unit
from equipoise.experiment.offline import (
    Cases,
    Criterion,
    Gate,
    Judge,
    Labels,
    Limits,
    Offline,
    Recording,
    Rubric,
)
from equipoise.experiment.variant import Prompt, Variant
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.stats.preference.preference import win_rate

QUESTIONS = [f"Question {n}?" for n in range(1, 6)]
AXES = ("clarity", "accuracy", "policy")
A = [(3, 4, 1), (4, 3, 1), (3, 2, 1), (4, 4, 1), (3, 3, 1)]
B = [(4, 4, 5), (4, 4, 4), (4, 4, 5), (5, 5, 5), (4, 4, 4)]


def experiment(folder, *, variants=None, prices=None, **offline):
    variants = variants or (
        Variant(name="control", model="bot", system=Prompt("Be helpful.")),
        Variant(name="b", model="bot", system=Prompt("Cite the policy.")),
    )
    return Experiment(
        name="support",
        hypothesis="Citing the policy helps.",
        unit=Unit("conversation"),
        variants=variants,
        allocation={variant.name: Fraction(1, len(variants)) for variant in variants},
        metrics=(),
        offline=Offline(**{"cases": Cases(file="cases.jsonl"), **offline}),
        prices=prices or {},
        digest="0" * 64,
        folder=str(folder),
    )


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "cases.jsonl", [{"id": n, "input": text} for n, text in enumerate(QUESTIONS, 1)])
    return tmp_path


def verdicts(folder, scores, variant="b"):
    write(
        folder, "verdicts.jsonl", [{"case": n, "variant": variant, "p": p} for n, p in enumerate(scores, 1)]
    )
    return Judge(pairwise=Recording(file="verdicts.jsonl", case="case", variant="variant", value="p"))


def recorded_answers(folder, **texts):
    rows = [
        {"case": n, "variant": variant, "text": text}
        for variant, said in texts.items()
        for n, text in enumerate(said, 1)
    ]
    write(folder, "answers.jsonl", rows)
    return Recording(file="answers.jsonl", case="case", variant="variant", value="text")


class _Reader(HTMLParser):
    """Collects what a browser would build, to see that no text became a tag."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [
            value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")
        ]


def test_four_wins_and_a_tie_settle_little(folder):
    """Win rate 90%, inconclusive at margin 0.10, and both reports give the interval and 197 cases."""
    result = run_arena_sync(experiment(folder, judge=verdicts(folder, [1, 1, 1, 1, 0.5])))
    b = result.variant("b")
    seen = b.preference
    assert (seen.raw.value, seen.wins, seen.ties, seen.losses, seen.unscored) == (0.9, 4, 1, 0, 0)
    assert (result.gate.decision, result.gate.exit_code) == ("inconclusive", 4)
    assert b.decision.cases_to_settle == 197
    expected = win_rate([1, 1, 1, 1, 0.5])
    assert seen.raw == expected
    said = (
        f"b, win_rate: the interval {expected.low:.1%} to {expected.high:.1%} includes 40.0%: 5 cases do not settle it. "
        "About 197 cases would settle it (80% power); there are 5."
    )
    assert said in html_report(result)
    assert said.replace("_", r"\_") in markdown_report(result)
    plain = json.loads(json.dumps(to_dict(result)))
    assert plain["gate"]["arms"]["b"]["cases_to_settle"] == 197
    assert plain["gate"]["arms"]["b"]["criteria"][0]["estimate"]["value"] == 0.9


def test_the_worked_rubric_example_from_recorded_grades(folder):
    """Axis means 3.4/3.2/1.0 and 4.2/4.2/4.6, out of a file with one column an axis."""
    rows = [
        {"case": n, "variant": name} | dict(zip(AXES, grades, strict=True))
        for name, table in (("control", A), ("b", B))
        for n, grades in enumerate(table, 1)
    ]
    write(folder, "grades.jsonl", rows)
    judge = Judge(
        pairwise=verdicts(folder, [1, 1, 1, 1, 0.5]).pairwise,
        grades=Recording(file="grades.jsonl", case="case", variant="variant", value=""),
    )
    result = run_arena_sync(experiment(folder, judge=judge, rubric=Rubric(dict.fromkeys(AXES, "…"))))
    means = {
        name: [result.variant(name).measures[axis].mean.value for axis in AXES] for name in ("control", "b")
    }
    assert means["control"] == pytest.approx([3.4, 3.2, 1.0])
    assert means["b"] == pytest.approx([4.2, 4.2, 4.6])
    assert result.variant("b").measures["policy"].difference.value == pytest.approx(3.6)


def test_recorded_answers_rules_and_one_that_must_pass(folder):
    """A leaked address fails the gate, the case is shown, and the length of answers is counted."""
    answers = recorded_answers(
        folder, control=["ok"] * 5, b=["fine", "write to jo@x.example", "fine", "fine", None]
    )
    result = run_arena_sync(
        experiment(
            folder,
            answers=answers,
            judge=verdicts(folder, [1, 1, 1, 1, None]),
            evaluators=({"max_chars": 10},),
            gate=Gate(must_pass=("safety",)),
        )
    )
    b = result.variant("b")
    assert result.gate.decision == "fail"
    assert result.gate.reason == "b: must pass on every case, and does not: safety on 1 of 5 cases"
    assert (b.answered, b.errored, b.preference.unscored, b.mean_chars) == (4, 1, 1, (4 * 3 + 21) / 4)
    assert [(name, b.measures[name].passed, b.measures[name].failed) for name in ("max_chars", "safety")] == [
        ("max_chars", 3, 1),
        ("safety", 3, 1),
    ]
    page = html_report(result)
    assert "fails safety: an e-mail address at character 10" in page
    assert to_dict(result)["by_case"][1]["scores"]["b"][0]["safety"]["explanation"] == (
        "an e-mail address at character 10"
    )
    assert "jo@x.example" not in json.dumps(to_dict(result))


def test_what_models_wrote_stays_text(folder):
    """Neither an answer nor a question can become a tag of the page or end a fence of the Markdown."""
    bad = "</pre><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} ```` \u202e\n# not a heading"
    write(folder, "cases.jsonl", [{"id": "<b>|`1`\n# x", "input": bad}, {"id": "2", "input": "x"}])
    answers = [{"case": "<b>|`1`\n# x", "variant": name, "text": bad} for name in ("control", "b")]
    write(folder, "answers.jsonl", [*answers, {"case": "2", "variant": "b", "text": "x"}])
    write(
        folder,
        "verdicts.jsonl",
        [{"case": "<b>|`1`\n# x", "variant": "b", "p": 0}, {"case": "2", "variant": "b", "p": 0}],
    )
    result = run_arena_sync(
        experiment(
            folder,
            answers=Recording(file="answers.jsonl", case="case", variant="variant", value="text"),
            judge=Judge(pairwise=Recording(file="verdicts.jsonl", case="case", variant="variant", value="p")),
        )
    )
    page = html_report(result)
    reader = _Reader()
    reader.feed(page)
    assert not reader.tags & {"script", "img", "iframe", "b"}
    assert reader.loads == []
    assert "{{ 7*7 }}" in page
    lines = markdown_report(result).split("\n")
    assert "`````text" in lines
    fence, inside = "", set()
    for line in lines:
        if fence:
            inside.add(line)
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            assert not line.startswith("# not")
    assert "# not a heading" in inside


def judge_by_policy(body):
    material = json.loads(body["messages"][1]["content"])
    if "answer" in material:
        return SimulatedAnswer(
            text=json.dumps(dict.fromkeys(material["axes"], 5 if "policy" in material["answer"] else 2))
        )
    a, b = ("policy" in material[f"answer_{letter}"] for letter in "AB")
    return SimulatedAnswer(
        text=json.dumps({"reason": "policy", "winner": "tie" if a == b else "A" if a else "B"})
    )


def bot(body):
    system = body["messages"][0]["content"]
    return SimulatedAnswer(
        text=f"By our policy: {body['messages'][1]['content']}" if "policy" in system else "Sure."
    )


def test_a_live_run_is_resumed_without_asking_twice(folder):
    """An interrupted run leaves a journal; the rerun asks only what is missing; a torn line is cut off."""
    journal = folder / "runs" / "journal.jsonl"
    live = experiment(folder, judge=Judge(model="judge"), rubric=Rubric(dict.fromkeys(AXES, "…")))
    served = {"answers": 0, "judge": 0}
    progress = []

    def answer(body):
        served["answers"] += 1
        return bot(body)

    def judge(body):
        served["judge"] += 1
        if served["judge"] > 7 and failing:
            return SimulatedAnswer(status=500)
        return judge_by_policy(body)

    async def run(answer_url, judge_url):
        async with (
            OpenAICompatible(answer_url, rng=random.Random(1), retries=0) as answers,
            OpenAICompatible(judge_url, rng=random.Random(1), retries=0) as judging,
        ):
            return await run_arena(
                live,
                answers=answers,
                judge=judging,
                journal=journal,
                concurrency=2,
                on_progress=progress.append,
            )

    failing = True
    with SimulatedEndpoint(answer) as answer_url, SimulatedEndpoint(judge) as judge_url:
        with pytest.raises(
            OutOfReachError, match=r"requests in a row failed, .* answered 500 .* run again to go on"
        ):
            asyncio.run(run(answer_url, judge_url))
        kept = journal.read_bytes()
        answered = sum(json.loads(line)["about"]["ask"] == "answer" for line in kept.splitlines())
        assert kept.count(b"\n") == answered + 7
        journal.write_bytes(kept + b'{"key": "torn')
        failing = False
        served |= {"answers": 0, "judge": 0}
        result = asyncio.run(run(answer_url, judge_url))
        # In all: an answer and a grade of each variant, and both orders of the comparison.
        assert served == {"answers": 10 - answered, "judge": 20 - 7}
        assert (result.sent, result.replayed) == (30 - answered - 7, answered + 7)
        assert journal.read_bytes().startswith(kept)
        again = asyncio.run(run(answer_url, judge_url))
    assert (again.sent, again.replayed) == (0, 30)
    assert again == result
    assert (html_report(again), to_dict(again)) == (html_report(result), to_dict(result))
    seen = result.variant("b").preference
    assert (seen.wins, seen.disagreements, seen.raw.value) == (5, 0, 1.0)
    assert result.variant("b").measures["policy"].mean.value == 5.0
    assert result.control.measures["policy"].mean.value == 2.0
    assert (progress[-1].done, progress[-1].total, progress[-1].win_rates) == (5, 5, {"b": 1.0})
    assert "Be helpful" not in journal.read_text()


def test_two_equal_variants_are_asked_once_each(folder):
    """An A/A run draws an answer for each arm, although the requests are the same."""
    counter = iter(range(1000))
    twins = (Variant(name="control", model="bot"), Variant(name="b", model="bot"))
    with (
        SimulatedEndpoint(lambda body: SimulatedAnswer(text=f"answer {next(counter)}")) as url,
        SimulatedEndpoint(lambda body: SimulatedAnswer(text='{"winner": "A"}')) as judge_url,
    ):
        result = run_arena_sync(
            experiment(folder, variants=twins, judge=Judge(model="judge")),
            answers=OpenAICompatible(url, rng=random.Random(1)),
            judge=OpenAICompatible(judge_url, rng=random.Random(1)),
        )
    seen = result.variant("b").preference
    assert next(counter) == 10
    assert (seen.ties, seen.disagreements, seen.first_preferred) == (5, 5, 5)
    assert (seen.lean.value, seen.consistency.value) == (0.5, 0.0)
    assert "on 5 cases the judge changed its mind with the order" in html_report(result)


def test_unreadable_verdicts_are_counted_and_invalidate(folder):
    """A judge that does not keep to the form leaves cases unscored, never lost."""

    def judge(body):
        return (
            SimulatedAnswer(text="A is better")
            if "Question 1" in body["messages"][1]["content"]
            else judge_by_policy(body)
        )

    def run(answers):
        with SimulatedEndpoint(bot) as url, SimulatedEndpoint(answers) as judge_url:
            return run_arena_sync(
                experiment(folder, judge=Judge(model="judge")),
                answers=OpenAICompatible(url, rng=random.Random(1)),
                judge=OpenAICompatible(judge_url, rng=random.Random(1)),
            )

    seen = run(judge).variant("b").preference
    assert (seen.wins, seen.losses, seen.unscored) == (4, 0, 1)
    result = run(lambda body: SimulatedAnswer(text="A is better"))
    assert (result.gate.decision, result.gate.exit_code) == ("invalid", 5)
    assert result.variant("b").preference.unscored == 5
    assert "holds no readable verdict" in markdown_report(result)


def test_an_endpoint_that_never_answers_ends_the_run(folder):
    """Fewer cases than the patience allows: still no report out of nothing."""
    with (
        SimulatedEndpoint(lambda body: SimulatedAnswer(status=401)) as url,
        pytest.raises(UpstreamError) as caught,
    ):
        run_arena_sync(
            experiment(folder, judge=verdicts(folder, [1] * 5), evaluators=({"max_chars": 9},)),
            answers=OpenAICompatible(url, rng=random.Random(1)),
            concurrency=9,
        )
    assert str(caught.value).startswith("none of 10 requests was answered, the last because http://127.0.0.1")
    assert caught.value.exit_code == 6


def test_what_cannot_be_carried_out_is_refused_before_anything_is_asked(folder):
    """No endpoint, an invisible difference, no reference, a wrong check, other cases: one sentence each."""
    (folder / "verdicts-of-others.jsonl").write_text('{"case": "x", "variant": "b", "p": 1}\n')
    others = Judge(
        pairwise=Recording(file="verdicts-of-others.jsonl", case="case", variant="variant", value="p")
    )
    retrieval = (
        Variant(name="control", model="m", retrieval={"k": 3}),
        Variant(name="b", model="m", retrieval={"k": 9}),
    )

    class Nobody:
        async def complete(self, request):
            raise AssertionError

        async def aclose(self):
            pass

    for made, given, kind, words in [
        (experiment(folder, judge=Judge(model="j")), {}, UsageError, "the judge j has to be asked for comparisons, and no endpoint was given"),
        (experiment(folder, evaluators=({"max_chars": 9},)), {}, UsageError, "answers are needed, and there is neither"),
        (experiment(folder, variants=retrieval, evaluators=({"max_chars": 9},)), {"answers": Nobody()}, UsageError, "'b' differs from control in retrieval.k"),
        (experiment(folder, evaluators=({"max_chars": 9},)), {"answers": {"control": Nobody()}}, UsageError, "no endpoint was given for the variant b"),
        (experiment(folder, variants=(Variant(name="control"), Variant(name="b")), evaluators=({"max_chars": 9},)), {"answers": Nobody()}, UsageError, "names no model"),
        (experiment(folder, evaluators=({"equals": {"from": "reference"}},)), {"answers": Nobody()}, DataError, "no case of cases.jsonl has one"),
        (experiment(folder, evaluators=({"maxchars": 9},)), {"answers": Nobody()}, DefinitionError, "did you mean 'max_chars'?"),
        (experiment(folder, judge=others), {}, DataError, "are about none of the cases in cases.jsonl"),
    ]:  # fmt: skip
        with pytest.raises(kind) as caught:
            run_arena_sync(made, **given)
        assert words in str(caught.value)


def test_without_a_judge_the_pass_rate_decides(folder):
    """Rules alone make a gate: not worse by more than five points, which five cases cannot show."""
    result = run_arena_sync(
        experiment(
            folder,
            answers=recorded_answers(folder, control=["a"] * 5, b=["b"] * 5),
            evaluators=({"max_chars": 9},),
        )
    )
    assert result.gate.decision == "inconclusive"
    (decided,) = result.gate.arms[0].criteria
    assert (decided.criterion.of, decided.estimate.value) == ("pass_rate", 0.0)
    assert decided.cases_to_settle > 100
    html_report(result), markdown_report(result)


def many(folder, number):
    write(folder, "cases.jsonl", [{"id": n, "input": f"Question {n}?"} for n in range(number)])


def test_a_run_stops_before_its_limit_and_goes_on_later(folder):
    """What was paid for is kept; the second run pays for the rest alone."""
    many(folder, 20)
    live = experiment(
        folder,
        judge=Judge(model="judge"),
        prices={"bot": Price(1000.0, 1000.0), "judge": Price(1000.0, 1000.0)},
    )
    journal = folder / "j.jsonl"

    def run(limit, answer_url, judge_url):
        return run_arena_sync(
            live,
            answers=OpenAICompatible(answer_url, rng=random.Random(1)),
            judge=OpenAICompatible(judge_url, rng=random.Random(1)),
            journal=journal,
            max_cost_usd=limit,
        )

    answering, judging = SimulatedEndpoint(bot), SimulatedEndpoint(judge_by_policy)
    with answering as answer_url, judging as judge_url:
        with pytest.raises(BudgetError, match=r"stopped before the limit of \$3: this run has spent \$"):
            run(3.0, answer_url, judge_url)
        paid = answering.served + judging.served
        assert 0 < paid < 80
        result = run(None, answer_url, judge_url)
        assert answering.served + judging.served == 80
    assert (result.spent.requests, result.sent, result.replayed) == (80, 80 - paid, paid)
    assert result.spent.cost_usd > 3


def test_several_samples_tell_flaky_cases_and_noise(folder):
    """Three answers a case: pass rates are shares, a case that passes now and then is named."""
    counter = {"n": 0}

    def moody(body):
        counter["n"] += 1
        question = body["messages"][-1]["content"]
        return SimulatedAnswer(text="long answer" if "1" in question and body["seed"] % 2 else "ok")

    with SimulatedEndpoint(moody) as url:
        result = run_arena_sync(
            experiment(folder, samples=3, evaluators=({"max_chars": 5},)),
            answers=OpenAICompatible(url, rng=random.Random(1)),
        )
    assert counter["n"] == 5 * 2 * 3
    assert result.control.answered == 15
    assert result.control.flaky == ("1",)
    assert result.control.measures["pass_rate"].mean.value == pytest.approx((4 + 2 / 3) / 5)
    assert "1 cases pass on some samples and fail on others (1)" in markdown_report(result)


def test_labels_correct_the_judge_and_decide(folder):
    """From enough labelled cases on, the corrected win rate is what the gate reads; before, nothing is decided."""
    many(folder, 200)
    scores = [1.0 if n % 4 else 0.0 for n in range(200)]
    said = [1.0 - p if n % 10 == 0 else p for n, p in enumerate(scores[:80])]
    write(folder, "verdicts.jsonl", [{"case": n, "variant": "b", "p": p} for n, p in enumerate(scores)])
    write(folder, "labels.jsonl", [{"case": n, "variant": "b", "said": p} for n, p in enumerate(said)])
    judge = Judge(pairwise=Recording(file="verdicts.jsonl", case="case", variant="variant", value="p"))
    labels = Recording(file="labels.jsonl", case="case", variant="variant", value="said")

    def run(at_least, **limits):
        gate = Gate(limits=Limits(**limits))
        return run_arena_sync(
            experiment(folder, judge=judge, labels=Labels(recording=labels, at_least=at_least), gate=gate)
        )

    result = run(80)
    seen = result.variant("b").preference
    assert (seen.decides, seen.labels, seen.agreement.value) == ("corrected", 80, 0.9)
    assert 0.6 < seen.kappa.value < 0.8
    assert result.gate.arms[0].criteria[0].estimate == seen.corrected
    assert result.gate.decision == "pass"
    early = run(100)
    assert early.gate.decision == "inconclusive"
    assert "80 of the cases are labelled, and from 100 on the labels decide" in early.gate.reason
    strict = run(80, kappa=0.9)
    assert (strict.gate.decision, "kappa" in strict.gate.reason) == ("invalid", True)


def test_an_application_is_called_with_the_case_and_the_variant(folder):
    """Retrieval is the application's: the function is told k, and what it retrieved is the context."""
    (folder / "app.py").write_text(
        "async def answer(case, variant):\n"
        "    k = variant['retrieval']['k']\n"
        "    if case['id'] == '3':\n"
        "        raise LookupError('no page')\n"
        "    return {'text': f\"{case['input']} {k} passages\", 'context': ['passage'] * k}\n"
    )
    retrieval = (
        Variant(name="control", retrieval={"k": 3}),
        Variant(name="b", retrieval={"k": 9}),
    )
    result = run_arena_sync(
        experiment(
            folder, variants=retrieval, application="app.py:answer", evaluators=({"contains": "9 passages"},)
        )
    )
    b = result.variant("b")
    assert (b.answered, b.errored, b.measures["contains"].passed) == (4, 1, 4)
    assert len(result.cases[0].answers["b"][0].context) == 9
    assert result.cases[2].answers["b"][0].why_not.endswith("raised LookupError: no page")


def test_pinned_cases_and_a_judge_that_changes_invalidate(folder):
    """A gate speaks of the cases and the judge that were agreed on."""
    judge = verdicts(folder, [1] * 5)
    digest = run_arena_sync(experiment(folder, judge=judge)).cases_digest
    for pin, decision in ((digest[:16], "pass"), ("0" * 16, "invalid")):
        gate = Gate(criteria=(Criterion(of="win_rate", margin=Amount(0.4)),))
        result = run_arena_sync(
            experiment(folder, judge=judge, cases=Cases(file="cases.jsonl", sha256=pin), gate=gate)
        )
        assert result.gate.decision == decision
    assert "the cases are not those that are pinned" in result.gate.reason


def test_judging_in_steps_stops_when_the_answer_is_clear(folder):
    """Everything is won: after the first step nothing more is asked, and the calls that were saved are counted."""
    many(folder, 300)
    calls = {"n": 0}

    def judge(body):
        calls["n"] += 1
        return judge_by_policy(body)

    with SimulatedEndpoint(bot) as url, SimulatedEndpoint(judge) as judge_url:
        result = run_arena_sync(
            experiment(folder, judge=Judge(model="judge"), gate=Gate(sequential=True)),
            answers=OpenAICompatible(url, rng=random.Random(1)),
            judge=OpenAICompatible(judge_url, rng=random.Random(1)),
            concurrency=32,
        )
    seen = result.variant("b").preference
    assert result.gate.decision == "pass"
    assert (seen.judged, seen.saved, seen.steps, seen.unscored) == (30, 270, 1, 0)
    assert calls["n"] == 60
    assert "judging stopped after step 1, at 30 cases; 270 were not compared" in markdown_report(result)


def test_a_journal_is_one_runs_and_is_a_journal(folder):
    """A second run is refused while one writes; a file that is none is left as it is."""
    from equipoise.arena.journal import open_journal

    path = folder / "journal.jsonl"
    with (
        open_journal(path),
        pytest.raises(UsageError, match="another run is writing the journal"),
        open_journal(path),
    ):
        pass
    for content in (b"my notes", b'{"id": 1}\n'):
        path.write_bytes(content)
        with pytest.raises(DataError), open_journal(path):
            pass
        assert path.read_bytes() == content


def test_the_sync_entry_works_inside_a_running_loop(folder):
    """As in a notebook."""

    async def cell():
        return run_arena_sync(experiment(folder, judge=verdicts(folder, [1] * 5)))

    assert asyncio.run(cell()).variant("b").preference.wins == 5


def test_paths_start_at_the_experiments_folder(folder, monkeypatch):
    """The current directory does not matter."""
    made = experiment(folder, judge=verdicts(folder, [0.5] * 5))
    monkeypatch.chdir(Path("/"))
    assert run_arena_sync(made).variant("b").preference.ties == 5


def test_half_a_surrogate_pair_breaks_nothing(folder):
    """An application or a judge may send what UTF-8 cannot say; the run is written all the same."""
    from equipoise.arena.exporting import csv_text, junit_xml, run_text
    from equipoise.files import write_whole

    (folder / "app.py").write_text(
        "def answer(case, variant):\n    return 'half \\ud800 ' + variant['name']\n"
    )
    with SimulatedEndpoint(
        lambda body: SimulatedAnswer(text='{"reason": "odd \\ud83d here", "winner": "A"}')
    ) as url:
        result = run_arena_sync(
            experiment(folder, application="app.py:answer", judge=Judge(model="judge")),
            judge=OpenAICompatible(url, rng=random.Random(1)),
        )
    assert result.variant("b").preference.ties == 5
    for name, text in (
        ("r.html", html_report(result)),
        ("r.json", run_text(result)),
        ("r.csv", csv_text(result)),
        ("r.xml", junit_xml(result)),
    ):
        assert write_whole(folder / name, text).stat().st_size > 0


def test_a_new_revision_of_the_rubric_starts_a_new_series_of_verdicts(folder):
    """The words stay, the number changes: every verdict is asked anew, the answers are not."""
    journal = folder / "j.jsonl"

    def run(revision, answer_url, judge_url):
        rubric = Rubric(dict.fromkeys(AXES, "…"), revision=revision)
        return run_arena_sync(
            experiment(folder, judge=Judge(model="judge"), rubric=rubric),
            answers=OpenAICompatible(answer_url, rng=random.Random(1)),
            judge=OpenAICompatible(judge_url, rng=random.Random(1)),
            journal=journal,
        )

    with SimulatedEndpoint(bot) as answer_url, SimulatedEndpoint(judge_by_policy) as judge_url:
        sent = [run(revision, answer_url, judge_url).sent for revision in (1, 1, 2)]
    assert sent == [30, 0, 20]
