"""The arena from files and over a real endpoint: answers, judge, journal, gate and report."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest

from equipoise.arena.cases import read_cases
from equipoise.arena.report import html_report, markdown_report
from equipoise.arena.run import run_arena, run_arena_sync
from equipoise.errors import DataError, DefinitionError, UpstreamError, UsageError
from equipoise.experiment.definition import Cases, Experiment, Gate, Judge, Offline, Recording, Rubric, Unit
from equipoise.experiment.variant import Prompt, Variant
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.stats.preference.preference import win_rate

QUESTIONS = [f"Question {n}?" for n in range(1, 6)]
AXES = ("clarity", "accuracy", "policy")
A = [(3, 4, 1), (4, 3, 1), (3, 2, 1), (4, 4, 1), (3, 3, 1)]
B = [(4, 4, 5), (4, 4, 4), (4, 4, 5), (5, 5, 5), (4, 4, 4)]


def experiment(folder, *, variants=None, **offline):
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
        offline=Offline(**{"cases": Cases("cases.jsonl"), **offline}),
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
    result = run_arena_sync(
        experiment(folder, judge=verdicts(folder, [1, 1, 1, 1, 0.5]), gate=Gate(margin=0.10))
    )
    b = result.variant("b")
    assert (b.win_rate.value, b.wins, b.ties, b.losses, b.unscored) == (0.9, 4, 1, 0, 0)
    assert (result.gate.decision, result.gate.exit_code) == ("inconclusive", 4)
    assert b.decision.cases_to_settle == 197
    expected = win_rate([1, 1, 1, 1, 0.5])
    assert b.win_rate == expected
    assert expected.low < 0.4
    said = (
        f"b: 5 scored cases settle little: the win rate is 90.0%, and with 95% confidence it lies anywhere from "
        f"{expected.low:.1%} to {expected.high:.1%} (against an even match p = 0.125). To show that an arm as good as control is no worse by "
        "more than 10.0 percentage points of win rate, with 80% power, takes 197 cases."
    )
    assert said in html_report(result)
    assert said.replace("_", r"\_") in markdown_report(result)
    assert json.loads(json.dumps(result.to_dict()))["variants"]["b"]["decision"]["cases_to_settle"] == 197


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
    means = {name: [result.variant(name).rubric[axis].mean for axis in AXES] for name in ("control", "b")}
    assert means["control"] == pytest.approx([3.4, 3.2, 1.0])
    assert means["b"] == pytest.approx([4.2, 4.2, 4.6])
    assert "| control | 3.4 | 3.2 | 1.0 |\n| b | 4.2 | 4.2 | 4.6 |" in markdown_report(result)


def test_recorded_answers_checks_and_a_must_pass_rule(folder):
    """A leaked address fails the gate, the case is shown, and the length of answers is counted."""
    answers = recorded_answers(
        folder, control=["ok"] * 5, b=["fine", "write to jo@x.example", "fine", "fine", None]
    )
    result = run_arena_sync(
        experiment(
            folder,
            answers=answers,
            judge=verdicts(folder, [1, 1, 1, 1, None]),
            checks=({"max_chars": 10},),
            gate=Gate(must_pass=("safety",)),
        )
    )
    b = result.variant("b")
    assert result.gate.decision == "fail"
    assert result.gate.reason == "b: must pass on every case, and does not: safety on 1 of 5 cases"
    assert (b.answered, b.errored, b.unscored, b.mean_chars) == (4, 1, 1, (4 * 3 + 21) / 4)
    assert [(check.name, check.passed, check.failed, check.not_run) for check in b.checks] == [
        ("max_chars", 3, 1, 1),
        ("safety", 3, 1, 1),
    ]
    page = html_report(result)
    assert "fails safety: an e-mail address at character 10" in page
    assert (
        result.to_dict()["by_case"][1]["failed_checks"]["b"]["safety"] == "an e-mail address at character 10"
    )
    assert "jo@x.example" not in json.dumps(result.to_dict())


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

    async def run():
        async with (
            SimulatedEndpoint(answer) as answer_url,
            SimulatedEndpoint(judge) as judge_url,
            OpenAICompatible(answer_url, rng=random.Random(1), retries=0) as answers,
            OpenAICompatible(judge_url, rng=random.Random(1), retries=0) as judging,
        ):
            return await run_arena(
                live,
                answers=answers,
                judge=judging,
                journal=journal,
                concurrency=2,
                on_progress=lambda done, total, what: progress.append((done, total, what)),
            )

    failing = True
    with pytest.raises(
        UpstreamError, match=r"5 requests in a row failed, .* answered 500 .* run again to go on"
    ):
        asyncio.run(run())
    assert served["answers"] == 10
    kept = journal.read_bytes()
    assert kept.count(b"\n") == 17
    journal.write_bytes(kept + b'{"key": "torn')
    failing = False
    served |= {"answers": 0, "judge": 0}
    result = asyncio.run(run())
    assert served == {"answers": 0, "judge": 20 - 7}
    assert (result.asked, result.replayed) == (13, 17)
    assert journal.read_bytes().startswith(kept)
    again = asyncio.run(run())
    assert (again.asked, again.replayed) == (0, 30)
    assert again.variants == result.variants
    b = result.variant("b")
    assert (b.wins, b.disagreements, b.win_rate.value) == (5, 0, 1.0)
    assert b.rubric["policy"].mean == 5.0
    assert result.control.rubric["policy"].mean == 2.0
    assert progress[-1] == (5, 5, "comparisons")
    assert {what for _, _, what in progress} == {"answers", "grades", "comparisons"}
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
    b = result.variant("b")
    assert next(counter) == 10
    assert (b.ties, b.disagreements, b.first_preferred) == (5, 5, 5)
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

    b = run(judge).variant("b")
    assert (b.wins, b.losses, b.unscored) == (4, 0, 1)
    result = run(lambda body: SimulatedAnswer(text="A is better"))
    assert (result.gate.decision, result.variant("b").unscored) == ("invalid", 5)
    assert "holds no readable verdict" in markdown_report(result)


def test_an_endpoint_that_never_answers_ends_the_run(folder):
    """Fewer cases than the patience allows: still no report out of nothing."""
    with (
        SimulatedEndpoint(lambda body: SimulatedAnswer(status=401)) as url,
        pytest.raises(UpstreamError) as caught,
    ):
        run_arena_sync(
            experiment(folder, judge=verdicts(folder, [1] * 5)),
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
        (experiment(folder, checks=({"max_chars": 9},)), {}, UsageError, "answers are needed, and there is neither"),
        (experiment(folder, variants=retrieval), {"answers": Nobody()}, UsageError, "'b' differs from control in retrieval.k"),
        (experiment(folder), {"answers": {"control": Nobody()}}, UsageError, "no endpoint was given for the variant b"),
        (experiment(folder, variants=(Variant(name="control"), Variant(name="b"))), {"answers": Nobody()}, UsageError, "names no model"),
        (experiment(folder, checks=({"equals": {"from": "reference"}},)), {"answers": Nobody()}, DataError, "5 of 5 cases have none"),
        (experiment(folder, checks=({"maxchars": 9},)), {"answers": Nobody()}, DefinitionError, "did you mean 'max_chars'?"),
        (experiment(folder, judge=others), {}, DataError, "are about none of the cases in cases.jsonl"),
    ]:  # fmt: skip
        with pytest.raises(kind) as caught:
            run_arena_sync(made, **given)
        assert words in str(caught.value)


def test_without_a_judge_nothing_is_concluded(folder):
    """Checks alone show no win rate; the gate says what is missing."""
    result = run_arena_sync(
        experiment(
            folder,
            answers=recorded_answers(folder, control=["a"] * 5, b=["b"] * 5),
            checks=({"max_chars": 9},),
        )
    )
    assert result.gate.decision == "invalid"
    assert result.to_dict()["variants"]["b"]["win_rate"] == {
        "not_estimable": "nothing compares the answers: name a pairwise judge under `offline.judge`"
    }
    html_report(result), markdown_report(result)


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


@pytest.mark.parametrize(
    "name, data",
    [
        ("c.jsonl", '{"id": 1, "input": "Hi"}\n{"id": "b", "input": [{"role": "user", "content": "x"}]}\n'),
        ("c.yaml", "- id: 1\n  input: Hi\n- {id: b, input: [{role: user, content: x}]}\n"),
    ],
)  # fmt: skip
def test_cases_are_the_same_out_of_any_file(tmp_path, name, data):
    """JSON lines and YAML, plain and gzipped, give the same digest; the order does not matter."""
    spec = Cases(name)
    (tmp_path / name).write_text(data)
    found = read_cases(spec, tmp_path)
    assert [case.id for case in found] == ["1", "b"]
    assert found.cases[1].messages == ({"role": "user", "content": "x"},)
    (tmp_path / "r.jsonl.gz").write_bytes(
        gzip.compress(b'{"id": "b", "input": [{"content": "x", "role": "user"}]}\n{"id": 1, "input": "Hi"}\n')
    )
    assert read_cases(Cases("r.jsonl.gz"), tmp_path).digest == found.digest


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("c.jsonl", "", "hold no case. Write at least one, with 'id' and 'input'"),
        ("c.csv", "id,input\n1,a\n1,b\n", "line 3: the id '1' stands on line 2 already. Give every case an id of its own"),
        ("c.csv", "id,input\n1,\n", "line 2: the column 'input' holds nothing. Accepted: a text, or a list of messages with role and content"),
        ("c.jsonl", '{"id": 1, "input": [{"role": "user"}]}\n', "line 1: the column 'input' holds a list"),
        ("c.yaml", "- id: 1\n  input: a\n-\n  id: 2\n  question: b\n", "line 4: there is no 'input'. It has: id, question"),
        ("c.yaml", "cases: []\n", "are not a list"),
        ("c.yaml", "- !!python/object:os.system {}\n", "is refused"),
        ("c.txt", "", "are not of a kind this reads. Accepted: .jsonl, .ndjson or .csv, each also with .gz, or .yaml"),
    ],
)  # fmt: skip
def test_cases_that_cannot_be_read(tmp_path, name, data, words):
    """One sentence with the file, the line, what is accepted, what to do."""
    (tmp_path / name).write_text(data)
    with pytest.raises(DataError) as caught:
        read_cases(Cases(name), tmp_path)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_the_sync_entry_works_inside_a_running_loop(folder):
    """As in a notebook."""

    async def cell():
        return run_arena_sync(experiment(folder, judge=verdicts(folder, [1] * 5)))

    assert asyncio.run(cell()).variant("b").wins == 5


def test_paths_start_at_the_experiments_folder(folder, monkeypatch):
    """The current directory does not matter."""
    made = experiment(folder, judge=verdicts(folder, [0.5] * 5))
    monkeypatch.chdir(Path("/"))
    assert run_arena_sync(made).variant("b").ties == 5
