"""Golden cases in all their forms, and what cannot be read of them."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise.arena.cases import read_cases
from equipoise.arena.templates import fields, render
from equipoise.errors import DataError
from equipoise.experiment.offline import Cases
from equipoise.scoring.evaluating import Score, fails, passes

PLAIN = [{"id": 1, "input": "Hi"}, {"id": "b", "input": [{"role": "user", "content": "x"}]}]


@pytest.mark.parametrize(
    "name, data",
    [
        ("c.jsonl", '{"id": 1, "input": "Hi"}\n{"id": "b", "input": [{"role": "user", "content": "x"}]}\n'),
        ("c.json", json.dumps(PLAIN)),
        ("c.yaml", "- id: 1\n  input: Hi\n- {id: b, input: [{role: user, content: x}]}\n"),
    ],
)  # fmt: skip
def test_cases_are_the_same_out_of_any_file(tmp_path, name, data):
    """JSON lines, JSON and YAML, plain and gzipped, give the same digest; the order does not matter."""
    (tmp_path / name).write_text(data)
    found = read_cases(Cases(file=name), tmp_path)
    assert [case.id for case in found] == ["1", "b"]
    assert found.cases[1].messages == ({"role": "user", "content": "x"},)
    (tmp_path / "r.jsonl.gz").write_bytes(
        gzip.compress(b'{"id": "b", "input": [{"content": "x", "role": "user"}]}\n{"id": 1, "input": "Hi"}\n')
    )
    assert read_cases(Cases(file="r.jsonl.gz"), tmp_path).digest == found.digest
    (tmp_path / "z.yaml.gz").write_bytes(gzip.compress(json.dumps(PLAIN).encode()))
    assert read_cases(Cases(file="z.yaml.gz"), tmp_path).digest == found.digest


def test_parquet_and_csv_hold_the_same_cases(tmp_path):
    """Columns are columns, whichever file they are in."""
    rows = [{"id": "1", "input": "Hi", "reference": "Ho", "tags": "a, b", "weight": "2", "colour": "red"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (tmp_path / "c.csv").write_text('id,input,reference,tags,weight,colour\n1,Hi,Ho,"a, b",2,red\n')
    one, other = (read_cases(Cases(file=name), tmp_path) for name in ("c.parquet", "c.csv"))
    assert one.digest == other.digest
    (case,) = one
    assert (case.reference, case.tags, case.weight, dict(case.values)) == (
        "Ho",
        ("a", "b"),
        2.0,
        {"colour": "red"},
    )


def test_everything_a_case_of_our_own_may_hold(tmp_path):
    """Context, cluster, weight, tags, what may not fail, how bad it is, evaluators of its own, and values."""
    (tmp_path / "c.yaml").write_text(
        "- id: a\n  input: Q\n  context: [p, q]\n  cluster: 7\n  weight: 0.5\n  tags: [x, y, x]\n  must_pass: true\n"
        "  severity: high\n  evaluators: [not_empty, {contains: five}]\n  threshold: 0.5\n  order: {number: 4}\n"
    )
    (case,) = read_cases(Cases(file="c.yaml"), tmp_path)
    assert (case.context, case.cluster, case.weight, case.tags) == (("p", "q"), "7", 0.5, ("x", "y"))
    assert (case.must_pass, case.severity, case.threshold) == (True, "high", 0.5)
    assert [dict(each) for each in case.evaluators] == [{"not_empty": True}, {"contains": "five"}]
    assert case.values["order"]["number"] == 4
    assert case.held([passes(), fails("no")]).passed is True
    assert case.held([fails("a"), fails("b")]).explanation == "a; b"
    assert case.held([passes(), Score(why_not="none")]).why_not == "none"


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("c.jsonl", "", "hold no case. Write at least one, with 'id' and 'input'"),
        ("c.csv", "id,input\n1,a\n1,b\n", "line 3: the id '1' stands on line 2 already. Give every case an id of its own"),
        ("c.csv", "id,input\n1,\n", "line 2: the column 'input' holds nothing. Accepted: a text, or a list of messages with role and content"),
        ("c.jsonl", '{"id": 1, "input": [{"role": "user"}]}\n', "line 1: the column 'input' holds a list"),
        ("c.jsonl", '{"id": 1, "input": "a", "weight": 0}\n', "line 1: the column 'weight' holds 0. Accepted: a number above 0"),
        ("c.jsonl", '{"id": 1, "input": "a", "severity": "bad"}\n', "line 1: the column 'severity' holds 'bad'. Accepted: low, medium, high, critical"),
        ("c.jsonl", '{"id": 1, "input": "a", "evaluators": [{"contans": "x"}]}\n', "line 1: there is no evaluator 'contans'"),
        ("c.yaml", "- id: 1\n  input: a\n-\n  id: 2\n  question: b\n", "line 4: there is no column 'inputs'. It has: id, question"),
        ("c.yaml", "a: []\n", "are not a list"),
        ("c.yaml", "- !!python/object:os.system {}\n", "is refused"),
        ("c.json", "[1]", "a case is a mapping"),
        ("c.parquet", "no", "are not a sound Parquet file"),
        ("c.txt", "", "are not of a kind this reads. Accepted: .jsonl, .csv, .json, .yaml (each also with .gz) or .parquet"),
    ],
)  # fmt: skip
def test_cases_that_cannot_be_read(tmp_path, name, data, words):
    """One sentence with the file, the line, what is accepted, what to do."""
    (tmp_path / name).write_text(data)
    with pytest.raises(DataError) as caught:
        read_cases(Cases(file=name), tmp_path)
    assert words in str(caught.value)
    assert name in str(caught.value)


PROMPTFOO = """
description: Bot
prompts: ["{{question}}"]
defaultTest:
  vars: {tone: kind}
  assert: [{type: latency, threshold: 5000}]
tests:
  - description: parcels
    vars: {question: ["Where is it?", "When does it come?"], strict: no}
    assert:
      - {type: icontains, value: parcel, weight: 3}
      - {type: not-contains, value: "{{tone}}"}
      - {type: javascript, value: output.length < 9}
      - {type: assert-set, assert: [{type: is-json}, {type: regex, value: "a+"}]}
    threshold: 0.5
    metadata: {area: delivery}
  - vars: {question: Hello}
    assert: [{type: llm-rubric, value: is friendly}, {type: javascript, value: "1"}]
"""


def test_tests_of_promptfoo_are_read_as_they_are(tmp_path):
    """Variables expand, assertions become evaluators, and what is not carried over is said once, with its count."""
    (tmp_path / "promptfooconfig.yaml").write_text(PROMPTFOO)
    cases = read_cases(Cases(file="promptfooconfig.yaml", input="question"), tmp_path)
    assert [(case.id, case.input) for case in cases] == [
        ("1", "Where is it?"), ("1.2", "When does it come?"), ("2", "Hello"),
    ]  # fmt: skip
    first = cases.cases[0]
    rules = [{key: value for key, value in each.items() if key != "name"} for each in first.evaluators]
    assert rules == [
        {"latency": 5.0},
        {"contains": "parcel"},
        {"contains": "kind", "negated": True},
        {"json_valid": True},
        {"regex": "a+"},
    ]
    assert (first.weights, first.threshold, first.tags) == (
        (1.0, 3.0, 1.0, 1.0, 1.0),
        0.5,
        ("area=delivery",),
    )
    assert (first.values["tone"], first.values["strict"]) == ("kind", "no")
    assert cases.remarks[0] == "the cases in promptfooconfig.yaml were read as tests of promptfoo"
    assert "assertions of the type javascript are not carried over (3 times)" in cases.remarks


def test_a_csv_of_promptfoo(tmp_path):
    """`__expected` columns hold assertions in their short form."""
    (tmp_path / "t.csv").write_text(
        "question,__expected,__expected2,__threshold\nHi,contains:yes,not-icontains: no,0.5\nHo,the very text,is-json,\n"
    )
    first, second = read_cases(Cases(file="t.csv"), tmp_path)
    assert [dict(each)["contains"] for each in first.evaluators] == ["yes", "no"]
    assert first.evaluators[1]["negated"] is True
    assert (first.threshold, second.threshold) == (0.5, None)
    assert [{*each} - {"name"} for each in second.evaluators] == [{"equals"}, {"json_valid"}]


def test_samples_of_inspect(tmp_path):
    """Numbered where they have no id; choices are lettered below the question; metadata are values."""
    rows = [
        {"input": "2+2?", "target": "4", "metadata": {"level": 1}},
        {"id": "mc", "input": "Which?", "target": ["B"], "choices": ["red", "blue"]},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_cases(Cases(file="s.jsonl"), tmp_path)
    assert (first.id, first.reference, first.values["level"]) == ("1", "4", 1)
    assert (second.id, second.input, second.reference) == ("mc", "Which?\nA) red\nB) blue", "B")


def test_evaluation_data_of_mlflow(tmp_path):
    """A response is the reference, facts and guidelines are asked of the judge."""
    row = {
        "inputs": {"question": "What is it?", "user": "u1"},
        "expectations": {
            "expected_response": "A lamp",
            "expected_facts": ["it is red"],
            "guidelines": "Be brief",
        },
        "tags": {"area": "shop"},
    }
    (tmp_path / "m.json").write_text(json.dumps([row]))
    (case,) = read_cases(Cases(file="m.json"), tmp_path)
    assert (case.input, case.reference, case.tags) == ("What is it?", "A lamp", ("area=shop",))
    assert [each["meets"] for each in case.evaluators] == [
        "The answer states this fact: it is red",
        "Be brief",
    ]


def test_a_template_is_filled_and_never_evaluated():
    """Names stand for values; what a value holds stays as it is; anything more is refused."""
    values = {"input": "{{ secret }}", "user": {"name": "Jo"}, "n": 3}
    assert render("Dear {{user.name}} ({{ n }}): {{input}}", values) == "Dear Jo (3): {{ secret }}"
    assert fields("{{a}} {{ b.c }} {{a}}") == ("a", "b.c")
    with pytest.raises(
        DataError, match=r"asks for 'usr', and the case has no such value\. It has: input, n, user; did"
    ):
        render("{{ usr }}", values)
    for more in ("{% if x %}", "{{ input | upper }}", "{{ 7 * 7 }}"):
        with pytest.raises(DataError, match="more than the name of a value"):
            render(more, values)
