"""Real judges in both orders, through the arena's own numbers: LLMBar's pairs, people's labels beside them."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from equipoise.arena.preferring import prefer
from equipoise.arena.result import CaseResult
from equipoise.experiment.offline import Labels, Recording
from equipoise.scoring.pairwise import Comparison, combine

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "judge_llmbar"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the LLMBar data are not beside the repository (../shared/data/judge_llmbar)"
)
LABELS = Labels(recording=Recording(file="labels", case="case", variant="variant", value="p"), at_least=50)
ORDERS = {"12": "treatment first", "21": "control first"}


@pytest.fixture(scope="module")
def recorded():
    """By judge and pair: what was said in each order, output_1 being the treatment; and people's labels."""
    with gzip.open(DATA / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        labels = {row["pair_id"]: 1.0 if str(row["label"]) == "1" else 0.0 for row in map(json.loads, file)}
    said = defaultdict(dict)
    with gzip.open(DATA / "verdicts.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["prompt_style"] == "Vanilla":
                said[row["judge"], row["pair_id"]][row["order"]] = row["winner"]
    return said, labels


def swapped(winners):
    """The same verdicts with output_2 for the treatment."""
    other = {"1": "2", "2": "1"}
    return {order: other.get(winners.get(order[::-1], ""), "") for order in ORDERS}


def read(winners):
    """A comparison out of both orders; a verdict other than 1 or 2 is unreadable."""
    letters = {"12": {"1": "A", "2": "B"}, "21": {"2": "A", "1": "B"}}
    shown = {order: letters[order].get(winners.get(order, "")) for order in ORDERS}
    return combine(
        {ORDERS[order]: None if letter is None else (letter, "") for order, letter in shown.items()}
    )


@pytest.mark.parametrize(
    "judge, lean, consistency, agreement",
    [("GPT-4", 0.009, 0.940, 0.829), ("ChatGPT", 0.113, 0.714, 0.316), ("LLaMA2", 0.024, 0.782, 0.376)],
)
def test_lean_consistency_and_agreement_are_what_counting_gives(
    recorded, judge, lean, consistency, agreement
):
    """234 pairs (Vanilla prompt), each figure counted a second time from the rows; a tie never agrees."""
    said, labels = recorded
    rows = {pair: winners for (name, pair), winners in sorted(said.items()) if name == judge}
    cases = [
        CaseResult(id=pair, asked="?", comparisons={"b": (read(winners),)}, labels={"b": labels[pair]})
        for pair, winners in rows.items()
    ]
    found = prefer(cases, control="a", treatment="b", level=0.95, labels=LABELS)
    usable = {pair: w for pair, w in rows.items() if set(w.values()) <= {"1", "2"} and len(w) == 2}
    first = sum(w["12"] == "1" and w["21"] == "2" for w in usable.values())
    last = sum(w["12"] == "2" and w["21"] == "1" for w in usable.values())
    right = sum({*w.values()} == {"1" if labels[pair] else "2"} for pair, w in usable.items())
    assert (len(rows), found.labels, found.unscored) == (234, len(usable), len(rows) - len(usable))
    assert (found.disagreements, found.first_preferred) == (first + last, first)
    counted = ((first - last) / 2, len(usable) - first - last, right)
    pinned = (lean, consistency, agreement)
    for seen, count, value in zip(
        (found.lean, found.consistency, found.agreement), counted, pinned, strict=True
    ):
        assert seen.value == pytest.approx(count / len(usable))
        assert seen.value == pytest.approx(value, abs=0.0005)


@pytest.mark.parametrize("judge, wins", [("GPT-4", False), ("ChatGPT", True)])
def test_one_fixed_order_makes_a_winner_of_a_leaning_judge(recorded, judge, wins):
    """Every pair twice with the roles turned, so that nobody is better: shown first, the treatment wins by the lean."""
    said, _ = recorded
    both, fixed = [], []
    for (name, pair), winners in sorted(said.items()):
        if name != judge or not set(winners.values()) <= {"1", "2"}:
            continue
        for role, verdicts in (("1", winners), ("2", swapped(winners))):
            one = read(verdicts)
            case = CaseResult(id=f"{pair}, output_{role}", asked="?", cluster=pair, comparisons={"b": (one,)})
            both.append(case)
            won = one.treatment_first
            alone = Comparison(score=1.0 if won == "treatment" else 0.0, treatment_first=won)
            fixed.append(replace(case, comparisons={"b": (alone,)}))
    whole = prefer(both, control="a", treatment="b", level=0.95)
    assert whole.raw.value == pytest.approx(0.5)
    shown = prefer(fixed, control="a", treatment="b", level=0.95)
    assert shown.raw.value == pytest.approx(0.5 + whole.lean.value)
    assert (shown.raw.low > 0.5) is wins
