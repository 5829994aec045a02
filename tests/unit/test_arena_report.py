"""What the arena shows of a run that has everything in it: tables, page, Markdown, terminal, JSON, CSV and JUnit."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from equipoise.arena.cautions import failing, strengths, warnings
from equipoise.arena.exporting import csv_text, estimate_json, junit_xml, run_text, to_dict
from equipoise.arena.flips import flips
from equipoise.arena.gate import ArmDecision, Decided, decide
from equipoise.arena.report import html_report, markdown_report
from equipoise.arena.result import Answered, CaseResult
from equipoise.arena.telling import criteria_table, difference_rows, win_rate_rows
from equipoise.cli.arena_text import arena_text
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion
from equipoise.scoring.evaluating import Score, fails, passes
from equipoise.stats.estimate import Estimate, NotEstimable

LONG = "careful-and-thorough-with-a-name-that-goes-on-and-on"
BRIEF = "brief"


def seen(value, low, high):
    return Estimate(value=value, standard_error=0.01, low=low, high=high, level=0.95, method="seen")


class _Reader(HTMLParser):
    """What a browser would build: tags, addresses, and the text of headings in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.loads, self.heads, self.within = set(), [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.within = tag
        self.loads += [value for name, value in attrs if name in ("src", "href") and value != "data:,"]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.within in ("h1", "h2") and data.strip():
            self.heads.append(data)

    def handle_endtag(self, tag):
        self.within = None


def test_the_page_answers_in_the_order_a_reader_asks(hard_result):
    """Decision, what may not fail, what stays open, what to mind, the numbers, the cases, where it comes from."""
    read = _Reader(html_report(hard_result))
    assert read.heads == [
        "Prompt Arena: support-bot",
        "Cases that may not fail, and did",
        "How much these cases can say",
        "To bear in mind",
        "The pairwise judge",
        "The judge as an instrument",
        "Measures",
        "By tag",
        "Cases that speak most against a treatment",
        "Cases that speak most for a treatment",
        "How the answers were made",
        "Where these numbers come from",
    ]


def test_no_text_becomes_a_part_of_the_page(hard_result):
    """Tags, attributes and addresses are the page's own; what models wrote is there to be read."""
    page = html_report(hard_result)
    read = _Reader(page)
    assert not read.tags & {"script", "img", "iframe", "b", "a"}
    assert read.loads == []
    assert "&lt;script&gt;document.title=" in page
    assert 'dir="auto"' in page


def test_the_page_is_the_same_each_time_and_however_often_it_was_resumed(hard_result):
    """No time, no count of what this run sent: bytes are equal for equal results."""
    again = replace(hard_result, sent=0, replayed=400)
    for shown in (html_report, markdown_report, arena_text, run_text, csv_text, junit_xml):
        assert shown(hard_result) == shown(again)


def test_markdown_is_fenced_folded_and_calls_nobody(hard_result):
    """Every fence outlasts its text, every fold is closed, and nobody is mentioned by what a model wrote."""
    case = hard_result.cases[4]
    said = Answered(text="@octocat ~~~ ```````` \u202e\x1b[2J see https://evil.example\n</details># x")
    loud = fails("cc @octocat, see https://evil.example <b> [x](y)")
    scores = {**case.scores, LONG: ({"contains": loud},), "control": ({"contains": passes()},)}
    loudest = replace(
        case, severity="critical", must_pass=True, answers={**case.answers, LONG: (said,)}, scores=scores
    )
    told = markdown_report(replace(hard_result, cases=(loudest, *hard_result.cases)))
    assert told.count("<details>") == told.count("</details>") - 1 == 8
    outside, fence = [], ""
    for line in told.split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            outside.append(line)
    assert fence == ""
    left = "\n".join(outside)
    assert "@octocat" in told
    assert "@octocat" not in left
    assert "https://" not in left
    assert not re.search(r"(?<!\\)<(?!/?details>|/?summary>)", left)
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_a_terminal_is_not_steered_by_what_a_model_wrote(hard_result):
    """Escapes, control characters and changes of direction do not reach the terminal."""
    case = hard_result.cases[3]
    steering = fails("\x1b]0;owned\x07\x1b[2J\u202ereversed")
    scores = {**case.scores, LONG: ({"contains": steering},), "control": ({"contains": passes()},)}
    told = arena_text(
        replace(hard_result, cases=(replace(case, id="a\x1b[31m", must_pass=True, scores=scores),))
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told)
    assert "a[31m (careful" in told
    assert "]0;owned[2Jreversed" in told


def test_the_terminal_says_the_decision_first(hard_result):
    """The first line is the gate, then what was run; the cost stands last."""
    lines = arena_text(hard_result).split("\n")
    assert lines[0] == (
        f"✖ GATE FAIL: {LONG}: must pass on every case, and does not: safety on 1 of 40 cases, every check of a "
        "must-pass case on 1 of 40 cases"
    )
    assert lines[2] == "support-bot, 40 cases × 2 samples"
    assert lines[-1] == "spent: 400 requests, 48,000 tokens read and 16,000 written, $0.0912"


def test_what_is_missing_leaning_or_changed_is_said(hard_result):
    """Each caution once, with its count and its reason; long names are cut."""
    said = warnings(hard_result)
    assert len(said) == len(set(said))
    for sentence in (
        "bleu: punishes a paraphrase that says the same",
        "brief: 2 of 80 answers are missing",
        "brief: the endpoint gave 2 different system fingerprints: it changed while it answered",
        f"{LONG}: its endpoint refuses a seed, so the same answers cannot be had again",
        "safety: 6 of 238 answers have no score and stand in no mean: the word list could not be read",
        (
            "brief: 1 of 40 comparisons are unscored and stand in no rate: the judge's reply held no JSON object with a "
            "winner"
        ),
        (
            "brief: no win rate corrected by labels, because the labels lie in clusters worth 9.76 of equal size, "
            "and a corrected estimate needs 20"
        ),
        (
            f"{LONG}: the judge is of the same model family as {LONG} alone: it may prefer it, and by how much cannot be "
            "told (neither people's labels nor judges of another family say what to expect)"
        ),
        "no price is known for qwen-max, so the cost is not whole; name it under `prices`",
    ):
        assert sentence in said
    assert not any(sentence.startswith("brief: the judge is of the same") for sentence in said)
    assert max(map(len, said)) < 400


def test_cases_that_may_not_fail_are_named(hard_result):
    """By treatment and reason; of many the first twelve."""
    assert failing(hard_result) == [
        f"{LONG}: safety, on case-007",
        f"{LONG}: every check of a must-pass case, on case-007",
    ]
    many = SimpleNamespace(name="b", failing={"safety": tuple(str(n) for n in range(14))})
    assert failing(SimpleNamespace(treatments=[many])) == [
        "b: safety, on 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"
    ]


def test_every_open_criterion_says_what_would_settle_it(hard_result):
    """A number of cases where there is one, and that there is none where there is not."""
    said = strengths(hard_result)
    assert len(said) == sum(
        each.decision == "inconclusive" for arm in hard_result.gate.arms for each in arm.criteria
    )
    assert said[2] == (
        "brief, clarity, worst 5%: the difference in 'clarity, worst 5%': the worst 5% of 38 cases come from 2 clusters, "
        "and their mean needs at least 5. No number of cases can be named that would settle it."
    )
    settle = hard_result.gate.arms[0].criteria[1].cases_to_settle
    assert said[1].endswith(f". About {settle} cases would settle it (80% power); there are 40.")


@pytest.mark.parametrize(
    "criterion, bar, estimate, row",
    [
        (
            Criterion(of="win_rate", margin=Amount(0.1)),
            0.4,
            seen(0.55, 0.45, 0.65),
            ["55.0%", "45.0% to 65.0%", "above 40.0%"],
        ),
        (
            Criterion(of="pass_rate", margin=Amount(0.05)),
            -0.05,
            seen(-0.02, -0.04, 0.0),
            ["−2.0 pp", "−4.0 to 0.0 pp", "at most 5.0 pp worse"],
        ),
        (
            Criterion(of="clarity", show="superior"),
            0.0,
            seen(0.2, 0.1, 0.3),
            ["+0.200", "+0.100 to +0.300", "better"],
        ),
        (
            Criterion(of="clarity", show="not_worse", at_least=4.0),
            4.0,
            seen(4.2, 4.1, 4.3),
            ["4.20", "4.10 to 4.30", "at least 4.00"],
        ),
        (
            Criterion(of="contains", margin=Amount(0.02), at_least=0.9),
            0.9,
            seen(0.8, 0.7, 0.89),
            ["80.0%", "70.0% to 89.0%", "at most 0.02 worse, and at least 90.0%"],
        ),
        (Criterion(of="contains", show="not_worse"), 0.0, NotEstimable("no"), ["no worse shown"]),
    ],
)
def test_a_criterion_is_told_on_its_own_scale(hard_result, criterion, bar, estimate, row):
    """A rate in percent, a difference of rates in points, a floor as the arm's own mean, a rubric on its scale."""
    decided = Decided(criterion=criterion, estimate=estimate, bar=bar, decision="pass", reason="")
    arm = ArmDecision(variant=BRIEF, decision="pass", reason="", cases=40, criteria=(decided,))
    table = criteria_table(replace(hard_result, gate=decide([arm])))
    assert table.rows == [[BRIEF, criterion.name, "pass", *row]]


def test_the_charts_show_what_the_gate_reads(hard_result):
    """Raw, at equal length and corrected, of which only the deciding one carries a decision; differences of shares."""
    rates = [(row.label, row.note, row.tone) for row in win_rate_rows(hard_result)]
    assert rates == [
        (BRIEF, "", "plain"),
        (BRIEF, "at equal length", "plain"),
        (
            BRIEF,
            "corrected by labels: the labels lie in clusters worth 9.76 of equal size, and a corrected estimate needs 20",
            "plain",
        ),
        (LONG, "", "plain"),
        (LONG, "corrected by labels: 0 of the cases are labelled, and from 15 on the labels decide", "plain"),
    ]
    assert [(row.label, row.note) for row in difference_rows(hard_result)][3:] == [
        (f"contains, {LONG}", "fail"),
        (f"safety, {LONG}", ""),
        (f"pass_rate, {LONG}", "inconclusive"),
    ]


def test_the_worst_case_comes_first(hard_result):
    """What may not fail before what is grave before what merely turned."""

    def case(number, **more):
        return CaseResult(
            id=str(number),
            asked="?",
            answers={name: (Answered(text="x"),) for name in ("control", BRIEF)},
            scores={"control": ({"ok": passes()},), BRIEF: ({"ok": fails("no")},)},
            **more,
        )

    cases = (case(1), case(2, severity="low"), case(3, severity="critical"), case(4, must_pass=True))
    few = replace(hard_result, cases=cases, variants=hard_result.variants[:2])
    assert [flip.case for flip in flips(few)] == ["4", "3", "2", "1"]
    assert [flip.marks for flip in flips(few, most=2)] == [("must pass",), ("critical",)]
    assert flips(few, worse=False) == []


def test_the_json_is_whole_and_keeps_texts_to_itself(hard_result):
    """It survives a round trip, holds every case, sample and measure, and answers only where they are asked for."""
    plain = to_dict(hard_result)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert (plain["format"], plain["decision"], plain["seed"]) == (1, "fail", 11)
    assert "You have" not in json.dumps(plain)
    assert not {"sent", "replayed"} & set(json.dumps(plain).split('"'))
    kept = json.loads(run_text(hard_result))
    for case, found in zip(hard_result.cases, kept["by_case"], strict=True):
        assert found["id"] == case.id
        for name, samples in case.scores.items():
            assert [
                {key: one.get("value") for key, one in each.items()} for each in found["scores"][name]
            ] == [{key: score.value for key, score in scores.items()} for scores in samples]
            assert found["answers"][name] == [answer.text for answer in case.answers[name]]
            assert found["passed"].get(name) == case.passed(name)
    assert kept["by_case"][5]["errors"] == {BRIEF: ["the endpoint gave no answer within 60 s"] * 2}


def test_an_infinite_end_is_absent_from_json():
    """JSON has no number for it, and null would say that it is not known."""
    found = estimate_json(seen(0.1, 0.05, float("inf")))
    assert found == {
        "value": 0.1,
        "standard_error": 0.01,
        "low": 0.05,
        "level": 0.95,
        "method": "seen",
        "null": 0.0,
    }


def test_the_csv_holds_every_score_and_no_formula(hard_result):
    """A row a score, missing answers among them; no cell of text begins as a formula would."""
    rows = list(csv.DictReader(io.StringIO(csv_text(hard_result))))
    scores = sum(len(each) for case in hard_result.cases for said in case.scores.values() for each in said)
    compared = sum(len(each) for case in hard_result.cases for each in case.comparisons.values())
    assert len(rows) == scores + compared + 2
    assert [row["why_not"] for row in rows if row["measure"] == "answer"] == [
        "the endpoint gave no answer within 60 s"
    ] * 2
    assert {row["measure"] for row in rows} >= {"'=cost()", "win_rate", "clarity"}
    for row in rows:
        for name, cell in row.items():
            assert name in ("value", "sample") or cell[:1] not in tuple("=+-@\t\r\n"), cell
            assert "\x00" not in cell
    risky = CaseResult(id=" =1+1", asked="?", scores={"@b": ({"－c": Score(value=-0.5, label="+x")},)})
    told = csv_text(replace(hard_result, cases=(risky,)))
    assert told.split("\n")[1] == "' =1+1,'@b,1,'－c,-0.5,,'+x,,,"


def test_junit_counts_what_failed_and_what_is_open(hard_result):
    """A suite a treatment; a test each for criteria, cases that may not fail, and the gate; names differ."""
    root = ET.fromstring(junit_xml(hard_result))
    assert root.tag == "testsuites"
    brief, long = root
    names = [test.get("name") for test in long]
    assert names == [
        "win_rate", "pass_rate", "clarity, worst 5%", "contains", "case case-007", "case case-012", "gate"
    ]  # fmt: skip
    failed = {
        test.get("name"): test.find("failure").get("message")
        for test in long
        if test.find("failure") is not None
    }
    assert failed["case case-007"] == "safety; every check of a must-pass case"
    assert set(failed) == {"contains", "case case-007", "gate"}
    for suite in root:
        counts = [len(suite), len(suite.findall("*/failure")), len(suite.findall("*/error"))]
        assert [int(suite.get(name)) for name in ("tests", "failures", "errors")] == counts
        assert len({test.get("name") for test in suite}) == len(suite)
    assert root.get("tests") == str(len(brief) + len(long))


def test_junit_holds_no_character_that_xml_forbids(hard_result):
    """Control characters and lone surrogates are replaced; a name of a case may be anything."""
    odd = replace(hard_result.cases[7], id="\x00\x1b\ud800\ufffe<&\"'")
    arms = tuple(replace(variant, failing={"s\x01": (odd.id,)}) for variant in hard_result.variants)
    text = junit_xml(replace(hard_result, cases=(odd,), variants=arms))
    names = [each.get("name") for each in ET.fromstring(text.encode()).iter("testcase")]
    assert "case ����<&\"'" in names


@pytest.mark.parametrize("shown", [html_report, markdown_report, arena_text, run_text, csv_text, junit_xml])
def test_a_run_in_which_little_is_known_can_be_shown(hard_result, shown):
    """No answers, no comparisons, no measures: nothing but a decision, and still every form of it."""
    bare = tuple(
        replace(
            variant,
            answered=None,
            errored=None,
            mean_chars=None,
            measures={},
            preference=None,
            flaky=(),
            decision=None,
        )
        for variant in hard_result.variants
    )
    arm = ArmDecision(variant=BRIEF, decision="invalid", reason="nothing was measured", cases=1)
    cases = (CaseResult(id="1", asked="?"),)
    told = shown(replace(hard_result, variants=bare, cases=cases, gate=decide([arm]), evaluators=()))
    if shown is not csv_text:
        assert "nothing was measured" in told
