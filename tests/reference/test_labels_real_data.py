"""Real people's labels, given through the same machinery as on the page, come out as they went in."""

from __future__ import annotations

import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from equipoise.clock import ManualClock
from equipoise.conduct.labelling.items import cases_of_run
from equipoise.conduct.labelling.results import label_results
from equipoise.conduct.labelling.task import Settings
from equipoise.conduct.labelling.turns import Disagreement, live_turns
from equipoise.conduct.labels import Labelling
from equipoise.conduct.register import register
from equipoise.events.facts import Outcome, Score, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_texts
from equipoise.events.texts import Said, Text, ToolCall, unit_digest
from equipoise.experiment.reading import read_canonical
from equipoise.stats.cases.case_means import share_over_cases
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.agreement import cohens_kappa

sys.path.insert(0, str(Path(__file__).parents[1]))
from labelling import definition

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (DATA / folder).is_dir(),
        reason=f"the data are not beside the repository (../shared/data/{folder})",
    )


def rows(path: str) -> list[dict]:
    with gzip.open(DATA / path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@needs("judge_pandalm")
def test_three_people_on_pairs_of_pandalm_come_out_as_they_went_in(tmp_path):
    """All pairs with llama-7b, its three annotators as raters who read what is shown: rates, strengths and kappas as
    computed from the file itself.
    """
    pairs = [
        row for row in rows("judge_pandalm/pairs.jsonl.gz") if "llama-7b" in (row["model_1"], row["model_2"])
    ]
    others = sorted({row[name] for row in pairs for name in ("model_1", "model_2")} - {"llama-7b"})
    names = {model: f"m{number}" for number, model in enumerate(others)} | {"llama-7b": "control"}
    experiment = read_canonical(definition(variants={"control": {}} | {names[model]: {} for model in others}))
    by_case, said, texts = [], {}, {}
    for row in pairs:
        one, other = names[row["model_1"]], names[row["model_2"]]
        case = str(row["pair_id"])
        # An annotator's choice is of a text; that is all a rater of a blind page has.
        texts[case] = {row["output_1"]: "1", row["output_2"]: "2"}
        by_case.append({"id": case, "asked": f"{row['instruction']}\n{row['input']}", "answers": {one: [row["output_1"]], other: [row["output_2"]]}})  # fmt: skip
        for number in (1, 2, 3):
            said[case, f"human {number}"] = row[f"human_{number}"]
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"equipoise": "arena", "by_case": by_case}))
    source = cases_of_run(run, experiment, "preference")
    assert len(source.items) == len(pairs) == 327
    log = MemoryLog()
    task = Labelling(log, experiment, source, Settings(ask="preference", overlap=1.0, raters=3))
    case_of = {item.key: item.item for item in source.items}
    alike = 0
    for rater in ("human 1", "human 2", "human 3"):
        while (key := task.next(rater)) is not None:
            shown = task.show(rater, key)
            choice = said[case_of[key], rater]
            if len(texts[case_of[key]]) == 1:
                # Two answers that are the same letter for letter cannot be told apart, and were a tie for everybody.
                alike += 1
                assert choice == "tie"
            ours = [texts[case_of[key]][answer] for answer in shown.answers]
            task.answer(
                rater, key, {"preference": 0 if choice == "tie" else ours.index(choice) + 1}, seconds=20.0
            )
    found = label_results(log, experiment, run)
    assert (found.items, found.overlapping) == (327, 327)
    points = {"1": 1.0, "2": 0.0, "tie": 0.5}
    for each in found.preferences:
        mine = [row for row in pairs if each.variant in (names[row["model_1"]], names[row["model_2"]])]
        scores = np.array([[points[row[f"human_{n}"]] for n in (1, 2, 3)] for row in mine])
        flipped = np.array([names[row["model_1"]] == "control" for row in mine])
        scores[flipped] = 1.0 - scores[flipped]
        assert (each.wins, each.ties, each.losses) == tuple(int((scores == p).sum()) for p in (1.0, 0.5, 0.0))
        expected = share_over_cases(scores.mean(axis=1), null=0.5)
        assert isinstance(expected, Estimate)
        assert isinstance(each.win_rate, Estimate)
        assert each.win_rate.value == pytest.approx(expected.value, abs=1e-12)
        assert (each.win_rate.low, each.win_rate.high) == pytest.approx(
            (expected.low, expected.high), abs=1e-12
        )
    kappas = found.agreement[0].kappa
    for (one, other), kappa in kappas.items():
        first, second = ([said[str(row["pair_id"]), rater] for row in pairs] for rater in (one, other))
        # Which side is called 1 differs between label and file; kappa over pairs turned to control's side.
        sides = [names[row["model_1"]] == "control" for row in pairs]
        turn = {"1": "2", "2": "1", "tie": "tie"}
        expected = cohens_kappa(
            [turn[v] if s else v for v, s in zip(first, sides, strict=True)],
            [turn[v] if s else v for v, s in zip(second, sides, strict=True)],
        )
        assert isinstance(kappa, Estimate)
        assert isinstance(expected, Estimate)
        assert kappa.value == pytest.approx(expected.value, abs=1e-12)
    assert isinstance(found.agreement[0].alpha, Estimate)
    assert 0.7 < found.agreement[0].alpha.value < 0.95
    assert isinstance(found.strengths, tuple)
    assert len(found.strengths) == 4
    # The order was drawn here and meant nothing to those who had labelled long ago.
    assert isinstance(found.lean, Estimate)
    assert found.lean.low < 0.0 < found.lean.high
    assert found.quartiles_s == (20.0, 20.0, 20.0)


@needs("agent_airline_runs")
def test_airline_conversations_are_labelled_as_live_turns_clustered_by_task(tmp_path):
    """A hundred real conversations with their tools: what people say of them is the share resolved, with the spread of
    25 tasks; and where a judge that passes whatever is long disagrees is drawn apart.
    """
    conversations = rows("agent_airline_runs/conversations.jsonl.gz")
    experiment = read_canonical(definition())
    clock = ManualClock(1_000.0)
    log, texts = MemoryLog(clock), open_texts("memory:")
    register(log, experiment, by="test", reason="a test", clock=clock)
    resolved: dict[str, bool] = {}
    for number, row in enumerate(conversations):
        trace, unit = f"{number:032x}", f"task {row['task_id']}"
        resolved[trace] = row["reward"] == 1
        messages = [each for each in row["messages"] if each.get("content")]
        turn = Turn(experiment=experiment.name, digest=experiment.digest, happened=1_000.0, unit=unit, variant="control", trace=trace, sampled=1.0)  # fmt: skip
        log.append(
            [
                turn,
                Score(experiment=experiment.name, happened=1_000.0, unit=unit, trace=trace, name="thorough", value=min(1.0, row["n_messages"] / 40), evaluator="length@1"),
                Outcome(experiment=experiment.name, happened=1_000.0, unit=unit, trace=trace, name="resolved", value=resolved[trace]),
            ]
        )  # fmt: skip
        calls = tuple(ToolCall(call["name"], json.dumps(call["arguments"])) for each in row["messages"] for call in each.get("tool_calls") or ())  # fmt: skip
        texts.keep(
            [
                Text(
                    event_id=turn.event_id, kind="turn", experiment=experiment.name, digest=experiment.digest,
                    variant="control", trace=trace, unit=unit_digest(unit), happened=1_000.0, expires=9e9, probability=1.0,
                    request=tuple(Said(each["role"], each["content"]) for each in messages[:-1]),
                    answer=messages[-1]["content"], tools=calls[-1:],
                )
            ]
        )  # fmt: skip
    source = live_turns(log, texts, experiment, "thumbs", clock=clock)
    assert len(source.items) == 100
    task = Labelling(log, experiment, source, Settings(ask="thumbs"), clock=clock)
    trace_of = {item.key: item.item for item in source.items}
    while (key := task.next("jo")) is not None:
        shown = task.show("jo", key)
        assert {each.role for each in shown.asked} <= {"user", "assistant", "tool"}
        task.answer("jo", key, {"thumbs": int(resolved[trace_of[key]])})
    (row,) = label_results(log, experiment).grades
    by_task = defaultdict(list)
    for number, each in enumerate(conversations):
        by_task[each["task_id"]].append(resolved[f"{number:032x}"])
    expected = share_over_cases(
        [float(v) for values in by_task.values() for v in values],
        [name for name, values in by_task.items() for _ in values],
        null=0.5,
    )
    assert isinstance(row.mean, Estimate)
    assert isinstance(expected, Estimate)
    assert row.items == 100
    assert row.mean.value == pytest.approx(expected.value, abs=1e-12)
    assert row.mean.standard_error == pytest.approx(expected.standard_error, rel=1e-9)
    plain = share_over_cases([float(v) for v in resolved.values()])
    assert isinstance(plain, Estimate)
    assert row.mean.standard_error > 1.3 * plain.standard_error
    wanted = Disagreement(most=100, score="thorough", bar=0.5, outcome="resolved")
    disputed = live_turns(log, texts, experiment, "thumbs", share=0.0, disagreement=wanted, clock=clock).items
    assert {item.item for item in disputed} == {
        f"{number:032x}"
        for number, each in enumerate(conversations)
        if (each["n_messages"] >= 20) != (each["reward"] == 1)
    }
