"""Published verdicts as a user would bring them: through recorded comparisons, against a plain count."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from equipoise.experiment.offline import Labels, Recording
from equipoise.scoring.evaluating import Subject
from equipoise.scoring.judging import concluding_json, last_json
from equipoise.scoring.pairwise import Comparison
from equipoise.scoring.recorded import read_labels, recorded_comparator
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.agreement import agreement, cohens_kappa
from equipoise.stats.judges.judge_lean import order_consistency, position_lean

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SCORES = {"treatment": 1.0, "tie": 0.5, "control": 0.0}
VALUES = {"1": "1", "2": "0", "tie": "0.5", "": ""}


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (DATA / folder).is_dir(),
        reason=f"the data are not beside the repository (../shared/data/{folder})",
    )


def verdict_rows(folder: str) -> list[dict[str, str]]:
    with gzip.open(DATA / folder / "verdicts.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pairs(folder: str) -> list[dict[str, str]]:
    with gzip.open(DATA / folder / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def judge_of(row: dict[str, str]) -> str:
    return f"{row['judge']} {row['prompt_style']}" if "prompt_style" in row else row["judge"]


def compared(folder: str, into: Path) -> dict[str, dict[str, Comparison]]:
    """By judge and pair what our reading of the verdicts gives, output_1 being the treatment."""
    rows = verdict_rows(folder)
    with (into / "v.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["pair", "judge", "score", "shown_first"])
        for row in rows:
            first = "variant" if row["order"] == "12" else "control"
            out.writerow([row["pair_id"], judge_of(row), VALUES[row["winner"]], first])
    judges = sorted({judge_of(row) for row in rows})
    recording = Recording(file="v.csv", case="pair", variant="judge", value="score", first="shown_first")
    comparator = recorded_comparator(recording, into, variants=judges)
    asked = sorted({(judge_of(row), row["pair_id"]) for row in rows})

    async def go() -> list[Comparison]:
        subjects = [Subject(answer="", about={"case": pair, "variant": judge}) for judge, pair in asked]
        return [await comparator.compare(each, each) for each in subjects]

    found: dict[str, dict[str, Comparison]] = defaultdict(dict)
    for (judge, pair), comparison in zip(asked, asyncio.run(go()), strict=True):
        found[judge][pair] = comparison
    return found


def figures(found: dict[str, Comparison], label: dict[str, str]) -> tuple[float, float]:
    """Accuracy, the mean over both orders, and consistency of the pairs that are readable in both."""
    both = [(pair, each) for pair, each in found.items() if each.asked]
    first = [SCORES[str(each.treatment_first)] for _, each in both]
    second = [SCORES[str(each.control_first)] for _, each in both]
    truth = [SCORES["treatment"] if label[pair] == "1" else 0.0 for pair, _ in both]
    steady = order_consistency(first, second)
    right = agreement([*first, *second], [*truth, *truth], clusters=[pair for pair, _ in both] * 2)
    assert isinstance(steady, Estimate)
    assert isinstance(right, Estimate)
    return right.value, steady.value


@needs("judge_llmbar")
def test_accuracy_and_consistency_of_every_judge_of_llmbar(tmp_path: Path) -> None:
    """Zeng et al. (2024), 16,304 verdicts: each judge, prompt style and subset as a plain count has it.

    Accuracy is the mean over both orders, consistency the share of pairs with the same winner in both.
    """
    label = {row["pair_id"]: row["label"] for row in map(_worded, pairs("judge_llmbar"))}
    subset = {row["pair_id"]: row["subset"] for row in pairs("judge_llmbar")}
    assert Counter(subset.values()) == {"mtbench_human": 200, "llmbar_natural": 100, "llmbar_neighbor": 134}
    counted: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    rows = verdict_rows("judge_llmbar")
    assert len(rows) == 16304
    for row in rows:
        counted[judge_of(row), subset[row["pair_id"]]][row["pair_id"]][row["order"]] = row["winner"]
    ours = compared("judge_llmbar", tmp_path)
    cells, unread = {}, 0
    for (judge, part), winners in counted.items():
        whole = {pair: each for pair, each in winners.items() if each["12"] and each["21"]}
        right = sum((each["12"] == label[pair]) + (each["21"] == label[pair]) for pair, each in whole.items())
        same = sum(each["12"] == each["21"] for each in whole.values())
        found = {pair: ours[judge][pair] for pair in winners}
        cells[judge, part] = figures(found, label)
        assert cells[judge, part] == pytest.approx((right / 2 / len(whole), same / len(whole)), abs=1e-12)
        lost = [pair for pair, each in found.items() if each.score is None]
        assert set(lost) == set(winners) - set(whole)
        assert all("has no verdict with" in str(found[pair].why_not) for pair in lost)
        unread += len(lost)
        assert sum(each.disagreed for each in found.values()) == len(whole) - same
    assert (len(cells), unread) == (64, 33)
    shown = {cell: tuple(round(100 * each, 1) for each in found) for cell, found in cells.items()}
    assert shown["GPT-4 Vanilla_NoRules", "llmbar_natural"] == (93.5, 97.0)
    assert shown["GPT-4 Vanilla_NoRules", "llmbar_neighbor"] == (64.2, 89.6)
    assert shown["GPT-4 Metrics_Reference", "llmbar_neighbor"] == (85.4, 94.8)
    assert shown["ChatGPT Vanilla_NoRules", "llmbar_neighbor"] == (17.9, 73.1)
    assert shown["Falcon CoT", "llmbar_natural"] == (57.0, 14.0)


@needs("judge_llmbar")
def test_ratings_of_llmbar_change_with_the_order_too(tmp_path: Path) -> None:
    """Each answer is rated alone there, and yet the winners of both orders differ in a tenth of the pairs and more."""
    ours = compared("judge_llmbar", tmp_path)
    for judge in ("GPT-4 Rating", "GPT-4 Rating_NoRules", "ChatGPT Rating", "ChatGPT Rating_NoRules"):
        turned = [each.disagreed for each in ours[judge].values() if each.asked]
        assert 0.1 < sum(turned) / len(turned) < 0.55


@needs("judge_judgebench")
def test_the_judge_of_judgebench_through_recorded_verdicts(tmp_path: Path) -> None:
    """270 pairs, ties among the verdicts; what is unreadable in one order has no score, and no tie is made of it."""
    (found,) = compared("judge_judgebench", tmp_path).values()
    rows = verdict_rows("judge_judgebench")
    lacking = {row["pair_id"] for row in rows if not row["winner"]}
    assert {pair for pair, each in found.items() if each.score is None} == lacking
    both = [each for each in found.values() if each.asked]
    assert len(both) == 270 - len(lacking)
    lean = position_lean(
        [SCORES[str(each.treatment_first)] for each in both],
        [SCORES[str(each.control_first)] for each in both],
    )
    shown = Counter(
        "first" if (row["order"] == "12") == (row["winner"] == "1") else "second"
        for row in rows
        if row["pair_id"] not in lacking and row["winner"] in {"1", "2"}
    )
    assert isinstance(lean, Estimate)
    plain = (shown["first"] - shown["second"]) / (4 * len(both))
    assert lean.value == pytest.approx(plain, abs=1e-12)


@needs("judge_pandalm")
def test_labels_of_pandalm_read_from_a_file_give_the_same_kappas(tmp_path: Path) -> None:
    """Three people and two judges over 607 pairs, as labels of five names; `invalid` is a label not given."""
    rows = pairs("judge_pandalm")
    people = ["human_1", "human_2", "human_3", "judge_gpt35", "judge_pandalm7b"]
    with (tmp_path / "l.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["pair", "who", "said"])
        out.writerows([row["pair_id"], who, VALUES.get(row[who], "")] for row in rows for who in people)
    recording = Recording(file="l.csv", case="pair", variant="who", value="said")
    labels = read_labels(Labels(recording=recording), tmp_path, variants=people)
    given = Counter(who for _, who in labels)
    assert [given[who] for who in people[:3]] == [607] * 3
    for who in people[3:]:
        assert given[who] == 607 - sum(row[who] == "invalid" for row in rows)

    def kappa(one: str, other: str) -> Estimate:
        shared = [
            pair["pair_id"]
            for pair in rows
            if {(pair["pair_id"], one), (pair["pair_id"], other)} <= set(labels)
        ]
        found = cohens_kappa([labels[pair, one] for pair in shared], [labels[pair, other] for pair in shared])
        assert isinstance(found, Estimate)
        table = Counter((labels[pair, one], labels[pair, other]) for pair in shared)
        n = len(shared)
        agreed = sum(count for (a, b), count in table.items() if a == b) / n
        chance = (
            sum(
                sum(c for (a, _), c in table.items() if a == each)
                * sum(c for (_, b), c in table.items() if b == each)
                for each in (0.0, 0.5, 1.0)
            )
            / n**2
        )
        assert found.value == pytest.approx((agreed - chance) / (1 - chance), abs=1e-12)
        return found

    between = [kappa("human_1", "human_2"), kappa("human_1", "human_3"), kappa("human_2", "human_3")]
    with_judges = [kappa(human, judge) for human in people[:3] for judge in people[3:]]
    assert min(each.value for each in between) > max(each.value for each in with_judges)


@needs("judge_llmbar")
@needs("judge_judgebench")
@needs("judge_pandalm")
def test_no_free_text_of_a_real_judge_is_read_as_a_verdict() -> None:
    """18,058 replies made for other readers, with letters, numbers and brackets in them: not one is a verdict."""
    texts = [row["raw"] for row in verdict_rows("judge_llmbar")]
    texts += [row["raw_tail"] for row in verdict_rows("judge_judgebench")]
    texts += [
        row[f"{judge}_reason"]
        for row in pairs("judge_pandalm")
        for judge in ("judge_gpt35", "judge_pandalm7b")
    ]
    assert len(texts) == 16304 + 540 + 2 * 607
    assert not [text for text in texts if last_json(text or "") is not None]
    with_verdict = [f'{text}\n{{"reason": "so", "winner": "A"}}' for text in texts]
    # After a text that is cut off inside an object of its own nothing is read; there is none among these.
    assert all(concluding_json(text) == {"reason": "so", "winner": "A"} for text in with_verdict)


def _worded(row: dict[str, str]) -> dict[str, str]:
    return {**row, "label": str(row["label"])}
