"""Real judges and what people said of the same answers: calibration and correction, held against all the labels.

The files are taken for the whole of what could happen: turns are drawn from them with replacement, all are judged, some
are labelled, and the truth is what all labels say. Tolerances are those of a binomial count at |z| = 4.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from equipoise.analysis.calibration import Labelled, Series, calibrate
from equipoise.clock import ManualClock
from equipoise.conduct.calibration import calibration
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.events.facts import Exposure, Fact, Label, Score
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import load_experiment
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.corrected_totals import (
    JudgedTotals,
    corrected_difference_of_totals,
    corrected_mean_of_totals,
    judged_difference_of_totals,
)

# Its scores come from elsewhere, so nothing is declared that this one would judge by.
pytestmark = pytest.mark.filterwarnings("ignore:.*the online judge has nothing to")

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SERIES = Series(score="first_better", evaluator="judge", scored=1, first=0.0, last=0.0)


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (DATA / folder).is_dir(),
        reason=f"the data are not beside the repository (../shared/data/{folder})",
    )


def rows(path: str) -> list[dict[str, str]]:
    with gzip.open(DATA / path, "rt", encoding="utf-8", newline="") as file:
        if path.endswith(".csv.gz"):
            return list(csv.DictReader(file))
        return [json.loads(line) for line in file]


def llmbar(judge: str, order: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By subset: whether people say that the first answer is better, and whether the judge does."""
    pairs = {row["pair_id"]: row for row in rows("judge_llmbar/pairs.jsonl.gz")}
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows("judge_llmbar/verdicts.csv.gz"):
        if (row["judge"], row["prompt_style"], row["order"]) != (judge, "Vanilla", order):
            continue
        if row["winner"] in {"1", "2"}:
            pair = pairs[row["pair_id"]]
            found.setdefault(pair["subset"], []).append(
                (float(str(pair["label"]) == "1"), float(row["winner"] == "1"))
            )
    return {subset: tuple(np.array(of).T) for subset, of in found.items()}  # type: ignore[misc]


def pandalm(judge: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether the first human says that the first model is better, whether the judge does, and which task it was."""
    kept = [row for row in rows("judge_pandalm/pairs.jsonl.gz") if row[judge] != "invalid"]
    tasks: dict[str, int] = {}
    task = [tasks.setdefault(row["instruction"] + row["input"], len(tasks)) for row in kept]
    people, machine = ([float(row[name] == "1") for row in kept] for name in ("human_1", judge))
    return np.array(people), np.array(machine), np.array(task)


def estimated(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def drawn(
    rng: np.random.Generator, of: tuple[np.ndarray, np.ndarray], units: int, asked: float
) -> JudgedTotals:
    """So many turns of an arm, each a unit, all judged, and each labelled with probability `asked`."""
    which = rng.integers(0, of[0].size, units)
    people, judge = of[0][which], of[1][which]
    said = (rng.random(units) < asked).astype(float)
    v = said / asked
    return JudgedTotals(
        CrossMoments.of(judge, np.ones(units), v * people, v, v * judge), units, int(said.sum())
    )


def llmbar_misses(judge: str, order: str, replications: int, seed: int) -> tuple[float, float, float]:
    """How often the corrected interval lies above and below the truth, and how often the judge's holds it.

    Control are the natural pairs, the treatment those made to mislead a judge.
    """
    data, rng = llmbar(judge, order), np.random.default_rng(seed)
    arms = [data["llmbar_natural"], data["llmbar_neighbor"]]
    truth = float(arms[1][0].mean() - arms[0][0].mean())
    above = below = alone = 0
    for _ in range(replications):
        totals = [drawn(rng, arm, 2000, 0.1) for arm in arms]
        found = estimated(corrected_difference_of_totals(*totals))
        above += found.low > truth
        below += found.high < truth
        judged = estimated(judged_difference_of_totals(*totals))
        alone += judged.low <= truth <= judged.high
    return above / replications, below / replications, alone / replications


JUDGES = [("ChatGPT", "21"), ("ChatGPT-0301", "12"), ("LLaMA2", "12"), ("GPT-4", "12")]


@needs("judge_llmbar")
@pytest.mark.parametrize(("judge", "order"), JUDGES)
def test_the_correction_finds_what_all_labels_say(judge: str, order: str) -> None:
    """2,000 pairs an arm, some 200 labelled, 500 replications: each end misses in 2.5 %, within half a point."""
    above, below, _ = llmbar_misses(judge, order, 500, 91)
    room = 0.005 + 4.0 * math.sqrt(0.025 * 0.975 / 500)
    assert above == pytest.approx(0.025, abs=room)
    assert below == pytest.approx(0.025, abs=room)


@needs("judge_llmbar")
@pytest.mark.long
@pytest.mark.parametrize(("judge", "order"), JUDGES)
def test_the_correction_finds_what_all_labels_say_at_length(judge: str, order: str) -> None:
    """The same with 50,000 replications."""
    above, below, _ = llmbar_misses(judge, order, 50_000, 92)
    room = 0.005 + 4.0 * math.sqrt(0.025 * 0.975 / 50_000)
    assert above == pytest.approx(0.025, abs=room)
    assert below == pytest.approx(0.025, abs=room)


@needs("judge_llmbar")
def test_a_judge_that_is_misled_is_sure_of_what_is_wrong() -> None:
    """ChatGPT sees a third of the difference between the two kinds of pairs; its own interval nearly never holds it."""
    data = llmbar("ChatGPT", "21")
    natural, neighbor = data["llmbar_natural"], data["llmbar_neighbor"]
    assert float(neighbor[0].mean() - natural[0].mean()) == pytest.approx(0.14, abs=0.001)
    assert float(neighbor[1].mean() - natural[1].mean()) == pytest.approx(0.041, abs=0.001)
    _, _, alone = llmbar_misses("ChatGPT", "21", 300, 93)
    assert alone < 0.01
    # It is wrong on five of six pairs made to mislead it, and the correction weighs it by less than nothing.
    both = np.array([neighbor[0], neighbor[1]])
    assert float(np.corrcoef(both)[0, 1]) < -0.6
    with_judge = estimated(corrected_mean_of_totals(drawn(np.random.default_rng(94), neighbor, 20_000, 0.05)))
    alone_error = math.sqrt(float(neighbor[0].var()) / 1000)
    assert with_judge.standard_error < 0.8 * alone_error


def pandalm_coverage(judge: str, replications: int, seed: int) -> dict[str, float]:
    """How often the intervals of a calibration by 40 tasks hold what all labels say."""
    people, machine, task = pandalm(judge)
    by_task = [np.flatnonzero(task == each) for each in range(int(task.max()) + 1)]
    truth = {
        "agreement": float((people == machine).mean()),
        "sensitivity": float(machine[people == 1.0].mean()),
        "specificity": 1.0 - float(machine[people == 0.0].mean()),
        "kappa": 0.0,
    }
    p, q = people.mean(), machine.mean()
    chance = float(p * q + (1 - p) * (1 - q))
    truth["kappa"] = (truth["agreement"] - chance) / (1.0 - chance)
    rng, hits = np.random.default_rng(seed), dict.fromkeys(truth, 0)
    for _ in range(replications):
        turns = [
            Labelled(score=machine[at], said={"ann": people[at]}, unit=str(place))
            for place, which in enumerate(rng.integers(0, len(by_task), 40))
            for at in by_task[which]
        ]
        found = calibrate(SERIES, turns)
        for name, value in truth.items():
            interval = estimated(getattr(found, name))
            hits[name] += interval.low <= value <= interval.high
    return {name: count / replications for name, count in hits.items()}


@needs("judge_pandalm")
@pytest.mark.parametrize("judge", ["judge_gpt35", "judge_pandalm7b"])
def test_a_calibration_holds_what_all_labels_say(judge: str) -> None:
    """40 tasks of up to six pairs, 300 replications: each interval covers 95 %, within two points."""
    for name, covered in pandalm_coverage(judge, 300, 95).items():
        assert covered == pytest.approx(0.95, abs=0.02 + 4.0 * math.sqrt(0.95 * 0.05 / 300)), name


@needs("judge_pandalm")
@pytest.mark.long
@pytest.mark.parametrize("judge", ["judge_gpt35", "judge_pandalm7b"])
def test_a_calibration_holds_what_all_labels_say_at_length(judge: str) -> None:
    """The same with 10,000 replications."""
    for name, covered in pandalm_coverage(judge, 10_000, 96).items():
        assert covered == pytest.approx(0.95, abs=0.02 + 4.0 * math.sqrt(0.95 * 0.05 / 10_000)), name


@needs("judge_pandalm")
def test_three_raters_of_pandalm_are_put_together() -> None:
    """With all three humans: the majority, their own agreement, and a judge that agrees less than they do."""
    kept = [row for row in rows("judge_pandalm/pairs.jsonl.gz") if row["judge_gpt35"] != "invalid"]
    turns = [
        Labelled(
            score=float(row["judge_gpt35"] == "1"),
            said={f"human {k}": float(row[f"human_{k}"] == "1") for k in (1, 2, 3)},
            unit=row["instruction"] + row["input"],
        )
        for row in kept
    ]
    found = calibrate(SERIES, turns, minimum=0.8)
    assert (found.labels, found.raters, found.rated_twice, found.split) == (len(kept), 3, len(kept), 0)
    right = sum(turn.score == float(sum(turn.said.values()) >= 2) for turn in turns)
    assert estimated(found.agreement).value == pytest.approx(right / len(kept))
    assert estimated(found.rater_agreement).low > estimated(found.agreement).high
    assert found.advice == ("recalibrate" if right < 0.8 * len(kept) else "label more")


@needs("judge_llmbar")
def test_the_pairs_of_llmbar_through_the_record(tmp_path: Path) -> None:
    """Natural pairs as control, misleading ones as treatment, a third of them labelled, in a log.

    The calibration is that of the labelled pairs, the look is corrected by them and recomputed to the byte.
    """
    path = tmp_path / "llmbar.yaml"
    path.write_text(
        """
name: llmbar
hypothesis: Pairs made to mislead a judge have another share of first answers that are better.
changes: [config]
unit: {type: request}
variants: {control: {config: {x: 1}}, neighbor: {config: {x: 2}}}
metrics:
  first_better: {priority: primary, kind: mean, of: score.first_better, better: higher, spread: 0.5, mde: 0.2, labels: 25}
online_judge: {sample: 100%, audit: {minimum_agreement: 0.8}}
""",
        encoding="utf-8",
    )
    design, data, rng = load_experiment(path), llmbar("ChatGPT", "21"), np.random.default_rng(97)
    facts: list[Fact] = []
    right = asked = 0
    for arm, subset in (("control", "llmbar_natural"), ("neighbor", "llmbar_neighbor")):
        for n, (people, judge) in enumerate(zip(*data[subset], strict=True)):
            unit, at = f"{arm} {n}", float(n)
            facts.append(
                Exposure(
                    experiment="llmbar",
                    happened=at,
                    digest=design.digest,
                    unit=unit,
                    unit_type="request",
                    variant=arm,
                    probability=0.5,
                    reason="assigned",
                )
            )
            facts.append(
                Score(
                    experiment="llmbar",
                    happened=at,
                    unit=unit,
                    name="first_better",
                    value=float(judge),
                    evaluator="ChatGPT, Vanilla",
                    trace=f"trace {unit}",
                )
            )
            if rng.random() < 1 / 3:
                right, asked = right + int(people == judge), asked + 1
                facts.append(
                    Label(
                        experiment="llmbar",
                        happened=at + 1000.0,
                        name="first_better",
                        rater="authors",
                        item=f"trace {unit}",
                        trace=f"trace {unit}",
                        value=float(people),
                        probability=1 / 3,
                    )
                )
    log = MemoryLog(ManualClock(5000.0))
    register(log, design, by="ann")
    log.append(facts)
    (found,) = calibration(log, "llmbar")
    assert (found.labels, found.advice) == (asked, "recalibrate")
    assert estimated(found.agreement).value == pytest.approx(right / asked)
    analysis = look(log, "llmbar", closing=True)
    effect = analysis.effect("first_better")
    truth = float(data["llmbar_neighbor"][0].mean() - data["llmbar_natural"][0].mean())
    assert estimated(effect.estimate).low <= truth <= estimated(effect.estimate).high
    assert effect.by_labels is not None
    assert estimated(effect.by_labels.judge).value == pytest.approx(0.041, abs=0.001)
    assert sum(effect.by_labels.labels.values()) == asked
    assert verify(log, "llmbar").looks[0].answer == "same"


def airline(tmp_path: Path, tasks: int) -> MemoryLog:
    """Four conversations a task, two in each arm; a rule stands in for the judge, and people say whether it was resolved.

    The rule passes whoever was not handed to a person. Conversations of the first tasks are labelled.
    """
    path = tmp_path / "airline.yaml"
    path.write_text(
        """
name: airline
hypothesis: The same agent twice resolves as many.
changes: [config]
unit: {type: conversation}
cluster: task
variants: {control: {config: {x: 1}}, again: {config: {x: 2}}}
metrics:
  resolved: {priority: primary, kind: proportion, of: score.resolved, better: higher, baseline: 0.3, mde: 0.2, labels: 20}
""",
        encoding="utf-8",
    )
    design = load_experiment(path)
    facts: list[Fact] = []
    for n, row in enumerate(rows("agent_airline_runs/conversations.jsonl.gz")):
        unit, given = f"{row['task_id']} {row['trial']}", {"experiment": "airline", "name": "resolved"}
        facts.append(
            Exposure(
                experiment="airline",
                happened=float(n),
                digest=design.digest,
                unit=unit,
                unit_type="conversation",
                variant="control" if int(row["trial"]) < 2 else "again",
                probability=0.5,
                reason="assigned",
                attributes={"task": f"task {row['task_id']}"},
            )
        )
        passed = "transfer_to_human" not in json.dumps(row["messages"])
        facts.append(Score(happened=n + 0.5, unit=unit, value=float(passed), evaluator="a rule", **given))
        if int(row["task_id"]) < tasks:
            resolved = float(row["reward"])
            facts.append(Label(happened=n + 500.0, rater="ann", item=unit, value=resolved, **given))
    log = MemoryLog(ManualClock(5000.0))
    register(log, design, by="ann")
    log.append(facts)
    return log


@needs("agent_airline_runs")
def test_where_every_conversation_is_labelled_the_labels_stand_alone(tmp_path: Path) -> None:
    """A rule that finds 82 % resolved and is wrong: the effect is the labels', with the variance of the tasks' differences."""
    analysis = look(airline(tmp_path, 25), "airline", closing=True)
    effect = analysis.effect("resolved")
    found = estimated(effect.estimate)
    resolved: dict[str, dict[str, float]] = {"control": {}, "again": {}}
    for row in rows("agent_airline_runs/conversations.jsonl.gz"):
        arm = resolved["control" if int(row["trial"]) < 2 else "again"]
        arm[row["task_id"]] = arm.get(row["task_id"], 0.0) + float(row["reward"]) / 2.0
    control, again = (np.array([arm[task] for task in resolved["control"]]) for arm in resolved.values())
    assert found.value == pytest.approx(again.mean() - control.mean())
    # Every task was tried twice in either arm: how hard it is cancels.
    by_task = math.sqrt((again - control).var(ddof=1) / 25)
    assert found.standard_error == pytest.approx(by_task, rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx(24)
    naive = math.sqrt(sum(rate.mean() * (1.0 - rate.mean()) / 50 for rate in (control, again)))
    apart = math.sqrt((control.var(ddof=1) + again.var(ddof=1)) / 25)
    assert by_task < 0.7 * apart
    assert by_task < naive < apart
    assert (effect.control, effect.treatment) == (
        pytest.approx(control.mean()),
        pytest.approx(again.mean()),
    )
    measured = analysis.findings.measurement.tallies["resolved"]
    assert sum(tally.moments.mean for tally in measured.values() if tally.moments) / 2 == pytest.approx(0.82)


@needs("agent_airline_runs")
def test_labels_of_a_few_tasks_are_a_few_labels(tmp_path: Path) -> None:
    """Sixty labels of fifteen tasks are worth fifteen, and correct nothing."""
    found = look(airline(tmp_path, 15), "airline", closing=True).effect("resolved").estimate
    assert not isinstance(found, Estimate)
    assert found.reason == (
        "control: the labels are worth 15 units labelled alike, and a corrected estimate needs 20"
    )
