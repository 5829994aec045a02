"""Real answers and a real judge: one model under three prompts, against another model's answers."""

from __future__ import annotations

import csv
import gzip
import math
import statistics
from fractions import Fraction
from pathlib import Path

import pytest

from equipoise.arena.report import html_report, markdown_report
from equipoise.arena.run import run_arena_sync
from equipoise.experiment.definition import Experiment, Unit
from equipoise.experiment.offline import Cases, Judge, Offline, Recording
from equipoise.experiment.variant import Variant

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "arena_alpacaeval"
NAMES = {
    "control": "gpt4_1106_preview",
    "plain": "gpt-3.5-turbo-1106",
    "concise": "gpt-3.5-turbo-1106_concise",
    "verbose": "gpt-3.5-turbo-1106_verbose",
}

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(),
    reason="the AlpacaEval data are not beside the repository (../shared/data/arena_alpacaeval)",
)


@pytest.fixture(scope="module")
def result():
    experiment = Experiment(
        name="alpacaeval-prompts",
        hypothesis="A verbose prompt is preferred to a concise one.",
        unit=Unit("request"),
        variants=tuple(Variant(name=name, model=model) for name, model in NAMES.items()),
        allocation=dict.fromkeys(NAMES, Fraction(1, 4)),
        metrics=(),
        offline=Offline(
            cases=Cases(file="prompts.jsonl.gz", id="prompt_id", input="instruction"),
            answers=Recording(
                file="outputs.jsonl.gz", case="prompt_id", variant="model", value="output", names=NAMES
            ),
            judge=Judge(
                pairwise=Recording(
                    file="verdicts.csv.gz",
                    case="prompt_id",
                    variant="model",
                    value="model_win_prob",
                    names=NAMES,
                )
            ),
        ),
        digest="0" * 64,
        folder=str(DATA),
    )
    return run_arena_sync(experiment)


def test_the_published_win_rates_come_out_with_their_standard_errors(result):
    """9.178, 7.416 and 12.763 % to three decimals; the errors are sd / sqrt(n) over the file's own rows."""
    with gzip.open(DATA / "verdicts.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, published in {"plain": 9.178, "concise": 7.416, "verbose": 12.763}.items():
        scores = [float(row["model_win_prob"]) for row in rows if row["model"] == NAMES[name]]
        assert len(scores) == result.variant(name).cases == 805
        found = result.variant(name).preference
        assert round(found.raw.value * 100, 3) == published
        assert math.isclose(
            found.raw.standard_error, statistics.stdev(scores) / math.sqrt(805), rel_tol=1e-12
        )
        assert found.wins == sum(score > 0.5 for score in scores)
        assert found.wins + found.ties + found.losses == 805
        assert (found.unscored, found.errored) == (0, 0)
        assert f"{published:.3f}%" in html_report(result)
        assert f"{published:.3f}%" in markdown_report(result)


def test_the_known_length_effect_is_said(result):
    """The concise answers are the shortest, the verbose the longest, and the report says judges lean to length."""
    concise, plain, verbose = (result.variant(name).mean_chars for name in ("concise", "plain", "verbose"))
    assert concise < plain < verbose
    assert "judges lean to longer answers" in markdown_report(result)


def test_all_three_fall_short_of_the_gate(result):
    """None comes near an even match with the stronger model: the gate fails, naming each arm."""
    assert result.gate.decision == "fail"
    assert [arm.decision for arm in result.gate.arms] == ["fail"] * 3
