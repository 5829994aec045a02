"""MT-Bench's questions as golden cases: 80 of them in eight categories, with references where there are any."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from equipoise.arena.run import run_arena_sync
from equipoise.experiment.reading import load_experiment
from equipoise.providers.openai_compatible import OpenAICompatible
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

DATA = Path(__file__).parents[3] / "shared" / "data" / "mtbench_questions" / "questions.jsonl.gz"
DEFINITION = """
name: mtbench
hypothesis: The longer prompt helps in mathematics.
unit: request
changes: [system]
variants: {control: {model: m, system: Answer.}, b: {model: m, system: Think and answer.}}
metrics: {resolution_rate: {priority: primary, baseline: 0.6, mde: 0.05}}
offline:
  cases: cases.jsonl
  evaluators: [{contains: answer}, {cosine: true}]
  gate: {pass_rate: {margin: 5pp}}
"""


@pytest.mark.skipif(not DATA.exists(), reason="the folder ../shared is not there")
def test_questions_with_categories_and_references(tmp_path):
    """First turns are asked; the breakdown has every category; similarity is scored where a reference is."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    rows = [
        {
            "id": question["question_id"],
            "input": question["turns"][0],
            "reference": (question["reference"] or [None])[0],
            "tags": [question["category"]],
        }
        for question in questions
    ]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "e.yaml").write_text(DEFINITION)
    with SimulatedEndpoint(
        lambda body: SimulatedAnswer(text=f"My answer: {body['messages'][-1]['content'][:200]}")
    ) as url:
        result = run_arena_sync(
            load_experiment(tmp_path / "e.yaml"),
            answers=OpenAICompatible(url, rng=random.Random(1)),
            concurrency=16,
        )
    measures = result.variant("b").measures
    referenced = sum(bool(row["reference"]) for row in rows)  # one is an empty text
    assert (len(result.cases), measures["contains"].passed) == (80, 80)
    assert (measures["cosine"].scored, measures["cosine"].unscored) == (referenced, 80 - referenced)
    assert set(measures["pass_rate"].by_tag) == {question["category"] for question in questions}
    assert len(measures["pass_rate"].by_tag) == 8
