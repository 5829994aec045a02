"""Definitions of interleaved experiments: what they mean, and every fault they may have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from interleaved import BASE as DATA
from interleaved import experiment

from equipoise.errors import DefinitionError
from equipoise.experiment.identity import canonical
from equipoise.experiment.interleaving import Interleaving
from equipoise.experiment.reading import read_canonical, read_definition

BASE = """\
name: search
hypothesis: The dense ranker finds what people look for higher up.
unit: user
changes: [config]
variants:
  control: {config: {ranker: bm25}}
  treatment: {config: {ranker: dense}}
metrics:
  preference: {priority: primary, kind: proportion, of: outcome.click, better: higher, mde: 2pp}
"""
METHOD = "method: interleaving\n"

FAULTS: dict[str, tuple[str, list[str]]] = {
    "a section without its method": ("interleaving: {length: 5}", [
        "10: interleaving: `interleaving` belongs to `method: interleaving`, and this is `method: ab`; set the method, or leave the section out",
    ]),
    "options of another scheme": (METHOD + "interleaving: {scheme: balanced, coin: once, agreed: ignored, tau: 2}", [
        "11: interleaving.agreed: `agreed` belongs to team draft, and this list is balanced",
        "11: interleaving.coin: `coin` belongs to team draft, and this list is balanced",
        "11: interleaving.tau: `tau` belongs to a probabilistic list, and this list is balanced",
    ]),
    "numbers out of range": (METHOD + "interleaving: {length: 0, ties: 1, tau: 11}", [
        "11: interleaving.length: 0 is out of range; accepted: at least 1",
        "11: interleaving.tau: 11 is out of range; accepted: at most 10",
        "11: interleaving.ties: 1 is out of range; accepted: less than 1",
    ]),
    "another scheme": (METHOD + "interleaving: {scheme: teamdraft}", [
        "11: interleaving.scheme: 'teamdraft' is not one of the values this takes; accepted: team_draft, balanced, probabilistic; did you mean 'team_draft'?",
    ]),
    "unequal chances": (METHOD + "allocation: {control: 1/3, treatment: 2/3}", [
        "11: allocation: in an interleaved list every ranker has the same chance; accepted: no `allocation`, or equal shares",
    ]),
    "what needs arms": (METHOD + "pins: required\nrollout: {stages: [shadow, ab], shadow: {share: 1%}}\nwatches: [{metric: preference, min: 0.1, window: 5m}]\nsource: {table: t.csv, unit: u, variant: v, columns: {outcome.click: c}}", [
        "11: pins: no unit belongs to an arm of an interleaved experiment, so there is nothing to pin",
        "12: rollout.stages: an interleaved list has no shadow: it is shown; accepted: canary, ab",
        "13: watches[0]: a watch compares arms window by window, and an interleaved list is of all of them; make it a guardrail, or watch the ranking service itself",
        "14: source: an interleaved experiment is read out of its log, where lists and clicks are; a table has neither; leave out `source`",
    ]),
}  # fmt: skip

METRICS: dict[str, tuple[str, list[str]]] = {
    "of the whole list": ("latency_p95: {priority: guardrail, margin: 0.5}", [
        "10: metrics.latency_p95: a quantile cannot be credited to the rankers of a list; accepted: proportion (queries won), count (items, per query) or mean (the sum of values, per query)",
        "10: metrics.latency_p95: turn.latency_s is of the whole list, which all rankers made: it cannot be told apart by ranker; accepted: outcome.NAME, told of an item; measure it in an A/B",
    ]),
    "of units": ("bought: {kind: mean, of: outcome.bought, better: higher, winsorise: 0.99, covariates: [past]}", [
        "10: metrics.bought.covariates: `covariates` is of units in arms; here a metric is the credit of a ranker per query",
        "10: metrics.bought.winsorise: `winsorise` is of units in arms; here a metric is the credit of a ranker per query",
    ]),
    "a share beyond all": ("bought: {kind: proportion, of: outcome.bought, better: higher, mde: 1.5}", [
        "10: metrics.bought.mde: the effect is the share of queries won less the share lost; accepted: less than 1, such as 5pp",
    ]),
}  # fmt: skip


def told(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "e.yaml").write_text(text, "utf-8")
    with pytest.raises(DefinitionError) as refused:
        read_definition(tmp_path / "e.yaml")
    return sorted(str(fault).partition("e.yaml:")[2] for fault in refused.value.faults)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_an_interleaved_definition_is_told(name: str, tmp_path: Path) -> None:
    """All at once, each with its line, what would be accepted, and the way out."""
    text, expected = FAULTS[name]
    assert told(tmp_path, BASE + text + "\n") == expected


@pytest.mark.parametrize("name", METRICS)
def test_metrics_that_no_ranker_can_be_credited_with_are_refused(name: str, tmp_path: Path) -> None:
    """Latency, cost and what is of units belong to the list as a whole."""
    text, expected = METRICS[name]
    assert told(tmp_path, f"{BASE}  {text}\n{METHOD}") == expected


def test_a_balanced_list_of_three_is_refused(tmp_path: Path) -> None:
    """Balanced interleaving is of two rankings."""
    text = BASE.replace("metrics:", "  other: {config: {ranker: hybrid}}\nmetrics:")
    assert told(tmp_path, text + METHOD + "interleaving: {scheme: balanced}\n") == [
        "12: interleaving.scheme: a balanced list is made of two rankings, and there are 3 variants; accepted: team_draft or probabilistic"
    ]


def test_the_usual_list_is_by_team_draft_of_ten_with_a_coin_for_every_round() -> None:
    """A section that says what is usual has the digest of none; one that says more has another, and reads back."""
    usual = experiment()
    assert usual.digest == "9a0f5105a311eff2311450fd0c45fcc4ee3c534e5f2d053fcd03b18a7b72eb69"
    assert usual.interleaving == Interleaving(scheme="team_draft", length=10, coin="every_round", agreed="drafted", tau=3.0, ties=None)  # fmt: skip
    assert experiment(interleaving={"scheme": "team_draft", "length": 10}).digest == usual.digest
    for section in (
        {"coin": "once"},
        {"agreed": "ignored"},
        {"length": 5},
        {"scheme": "probabilistic", "tau": 1.5},
        {"scheme": "balanced"},
        {"ties": 0.6},
    ):
        changed = experiment(interleaving=section)
        assert changed.digest != usual.digest
        kept = json.loads(json.dumps(canonical(changed)))
        assert kept["interleaving"] == section
        assert read_canonical(kept) == changed


def test_an_experiment_of_another_method_has_no_lists() -> None:
    """An A/B is what it was."""
    split = read_canonical({part: said for part, said in DATA.items() if part != "method"})
    assert split.interleaving is None
    assert "interleaving" not in canonical(split)
