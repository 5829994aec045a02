"""Plug-ins that are really installed: a wheel with entry points, put into a folder that Python looks in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import random
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from equipoise.errors import BudgetError, UsageError
from equipoise.experiment.evaluators import Declared
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint
from equipoise.scoring.evaluating import Score, Subject
from equipoise.scoring.evaluators import AskedJudge, Tools, build

CODE = '''
import asyncio
import hashlib
from equipoise.errors import BudgetError
from equipoise.providers.messages import Request
from equipoise.scoring.evaluating import Score, unscored

def short(subject, *, longest=20):
    return len(subject.answer) <= longest

def share(subject):
    return len(subject.answer) / 100

async def later(subject, **options):
    await asyncio.sleep(0)
    return Score(value=0.25, explanation=f"{len(subject.context)} passages, {options}", cost_usd=0.01)

def given(subject):
    return {"nan": float("nan"), "none": None, "text": "good", "zero": 0}[subject.answer]

def failing(subject):
    if subject.answer == "budget":
        raise BudgetError("stopped")
    raise ValueError("the prompt was " + "x" * 500)

class Judged:
    """Asks the run's judge, and measures two things."""
    measures = ("faithful", "relevant")
    kind = "plugin"
    revision = 1
    def __init__(self, argument, tools):
        self.axis = argument["axis"]
        self.judge = tools.require_judges("judged")[0]
    name = "judged"
    @property
    def digest(self):
        return hashlib.sha256(self.axis.encode()).hexdigest()
    async def score(self, subject):
        asked = Request(model=self.judge.model, messages=({"role": "user", "content": subject.answer},))
        reply = await self.judge.provider.complete(asked)
        return {"faithful": Score(value=float(reply.text)), "relevant": unscored("not asked")}

def _of_the_library(subject):
    """As metrics of evaluation libraries are shaped: a case object, an async measure, a score with a reason."""
    class Metric:
        async def a_measure(self, case):
            self.score = sum(case["expected_output"] in passage for passage in case["retrieval_context"]) / 2
            self.reason = f"asked {case['input']!r}"
            return self.score
    async def measured():
        metric = Metric()
        await metric.a_measure({
            "input": subject.input, "actual_output": subject.answer,
            "expected_output": subject.reference, "retrieval_context": list(subject.context),
        })
        return Score(value=metric.score, explanation=metric.reason, cost_usd=None)
    return measured()

def library(argument, tools):
    return _of_the_library

def strange(argument, tools):
    return 7

def many(a, b, c):
    return 1
'''
ENTRIES = """
[equipoise.evaluators]
short = tiny_metrics:short
share = tiny_metrics:share
later = tiny_metrics:later
given = tiny_metrics:given
failing = tiny_metrics:failing
judged = tiny_metrics:Judged
library = tiny_metrics:library
strange = tiny_metrics:strange
many = tiny_metrics:many
absent = tiny_metrics:absent
"""


def wheel(folder: Path, name: str, module: str, code: str, entries: str) -> Path:
    """A wheel, written by hand: a zip with the module and what is said of it."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": textwrap.dedent(entries).strip() + "\n",
    }
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        record = ""
        for file, text in files.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text.encode())}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def install(site: Path, *wheels: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    command = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", sys.executable]
    subprocess.run([*command, "--target", str(site), *map(str, wheels)], check=True)
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder in which the package with the plug-ins is installed."""
    folder = tmp_path_factory.mktemp("plugins")
    install(folder / "site", wheel(folder, "tiny_metrics", "tiny_metrics", CODE, ENTRIES))
    return folder / "site"


@pytest.fixture(autouse=True)
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("tiny_metrics", None)


def plugin(use, *, tools=None, name="mine", threshold=None, **argument):
    declared = Declared(name=name, rule="plugin", argument={"use": use, **argument}, threshold=threshold)
    return build(declared, tools or Tools())


def score(evaluator, **subject):
    return asyncio.run(evaluator.score(Subject(**{"answer": "Five days."} | subject)))


def test_a_function_passes_fails_or_gives_a_number():
    """Plain or async; what stands beside `use` is handed on by name; a threshold is held to."""
    assert score(plugin("short"))["mine"].passed is True
    failed = score(plugin("short", longest=3))["mine"]
    assert (failed.value, failed.passed, failed.explanation) == (
        0.0,
        False,
        "the plug-in says that it does not hold",
    )
    share = score(plugin("share", threshold=0.2))["mine"]
    assert (share.value, share.passed, share.cost_usd) == (0.1, False, None)
    later = score(plugin("later", strict=True), context=("a", "b"))["mine"]
    assert (later.value, later.explanation, later.cost_usd) == (0.25, "2 passages, {'strict': True}", 0.01)
    evaluator = plugin("share")
    assert (evaluator.kind, evaluator.name, evaluator.measures) == ("plugin", "mine", ("mine",))


@pytest.mark.parametrize(
    "answer, errored, why_not",
    [
        ("nan", False, "the plug-in gave nan, which is no score"),
        ("none", False, "the plug-in gave no score"),
        ("text", True, "the plug-in gave str; accepted: a Score, a number, true or false, or None"),
        ("missing", True, "the plug-in raised KeyError: 'missing'"),
    ],
)
def test_what_is_no_score_is_never_a_zero(answer, errored, why_not):
    """Not a number, nothing, something else: a reason."""
    said = score(plugin("given"), answer=answer)["mine"]
    assert (said.value, said.errored, said.why_not) == (None, errored, why_not)
    assert score(plugin("given"), answer="zero")["mine"].value == 0.0


def test_an_exception_is_an_error_of_that_answer_alone():
    """Its message is cut; what ends a run passes through."""
    said = score(plugin("failing"))["mine"]
    assert (said.errored, said.why_not) == (
        True,
        "the plug-in raised ValueError: the prompt was " + "x" * 185,
    )
    with pytest.raises(BudgetError):
        score(plugin("failing"), answer="budget")


def test_a_factory_is_given_what_is_declared_and_the_tools():
    """A class that measures two things asks the judge of the run."""

    async def run():
        answer = SimulatedAnswer(text="0.5")
        async with (
            SimulatedEndpoint(lambda body: answer) as url,
            OpenAICompatible(url, rng=random.Random(1)) as provider,
        ):
            tools = Tools(judges=(AskedJudge(provider=provider, model="judge"),))
            evaluator = plugin("judged", tools=tools, axis="truth")
            return tools, evaluator, await evaluator.score(Subject(answer="Five days."))

    tools, evaluator, scores = asyncio.run(run())
    assert evaluator.measures == ("mine.faithful", "mine.relevant")
    assert scores["mine.faithful"].value == 0.5
    assert scores["mine.relevant"].why_not == "not asked"
    assert evaluator.digest != plugin("judged", tools=tools, axis="tone").digest
    with pytest.raises(UsageError, match="'judged' asks a judge, and there is none"):
        plugin("judged", axis="truth")


def test_the_contract_carries_a_metric_of_an_evaluation_library():
    """Input, answer, reference and several passages go in; a score in [0, 1] with its reason comes out."""
    said = score(
        plugin("library"),
        input="How long?",
        answer="Five days.",
        reference="five days",
        context=("It takes five days.", "Ask us."),
    )["mine"]
    assert said == Score(value=0.5, explanation="asked 'How long?'", cost_usd=None)


def test_a_change_of_the_code_changes_the_digest(site, monkeypatch):
    """The file of the plug-in is part of what it is, and so is what it was given."""
    before = plugin("short")
    assert before.digest == plugin("short", name="another").digest
    assert before.digest != plugin("short", longest=5).digest
    file = site / "tiny_metrics.py"
    text = file.read_text()
    try:
        file.write_text(text + "\n# changed\n")
        assert plugin("short").digest != before.digest
    finally:
        file.write_text(text)


def test_an_unknown_name_lists_what_is_installed():
    """And offers the nearest."""
    with pytest.raises(UsageError) as caught:
        plugin("shrot")
    assert str(caught.value) == (
        "the evaluator 'mine' uses the plug-in 'shrot', and none is installed by that name. Installed: absent, "
        "failing, given, judged, later, library, many, share, short, strange; did you mean 'short'?"
    )


@pytest.mark.parametrize(
    "use, argument, words",
    [
        (
            "absent",
            {},
            (
                "the plug-in 'absent' (tiny_metrics:absent) cannot be had for the evaluator 'mine': AttributeError: module "
                "'tiny_metrics' has no attribute 'absent'; mend what is declared beside `use`, or the plug-in"
            ),
        ),
        (
            "short",
            {"longer": 3},
            (
                "the plug-in 'short' (tiny_metrics:short) cannot be had for the evaluator 'mine': TypeError: got an unexpected "
                "keyword argument 'longer'; mend what is declared beside `use`, or the plug-in"
            ),
        ),
        (
            "strange",
            {},
            (
                "the plug-in 'strange' (tiny_metrics:strange) made something that scores nothing. Accepted: an evaluator, or "
                "a function of an answer, not int"
            ),
        ),
        (
            "many",
            {},
            (
                "the plug-in 'many' (tiny_metrics:many) must be given 3 things. Accepted: one, the answer (a function), or "
                "two, what is declared beside `use` and the tools (a factory)"
            ),
        ),
    ],
)
def test_a_plug_in_that_cannot_be_had_is_told_before_the_run(use, argument, words):
    """What was wrong, where, and what to do."""
    with pytest.raises(UsageError) as caught:
        plugin(use, **argument)
    assert str(caught.value) == words


def test_two_packages_with_one_name_are_not_chosen_between(site, tmp_path, monkeypatch):
    """Which of them scored would depend on the order of folders."""
    entries = "[equipoise.evaluators]\nshort = other_metrics:short\n"
    other = wheel(tmp_path, "other_metrics", "other_metrics", "def short(subject): return True\n", entries)
    install(tmp_path / "site", other)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(UsageError) as caught:
        plugin("short")
    assert str(caught.value) == (
        "the evaluator 'mine' uses the plug-in 'short', and several are installed by that name: "
        "other_metrics:short, tiny_metrics:short; uninstall all but one"
    )
