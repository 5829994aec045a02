"""What a definition comes to: the manual's example, differences and `changes:`, defaults, warnings, schema."""

from __future__ import annotations

import re
import warnings
from dataclasses import FrozenInstanceError
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from equipoise.errors import DefinitionError
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.metric import OF_TURNS
from equipoise.experiment.reading import (
    DefinitionWarning,
    json_schema,
    load_experiment,
    read_definition,
)
from equipoise.experiment.verdict_rule import GUARD_STATES

MANUAL = """\
# yaml-language-server: $schema=equipoise.schema.json
name: support-policy-prompt
hypothesis: Citing the policy and the customer's name raises resolution without hurting latency, safety or cost.
method: ab                          # bandit, interleaving, switchback
changes: [system]                   # what may differ between variants; anything else that differs is a fault
unit: {type: conversation, from: header:x-conversation-id}
cluster: user_id                    # correlated, not randomised
layer: support-bot
variants:
  control:   {model: gpt-4.1-mini, system: "Be helpful.", params: {temperature: 0.3, seed: 7}}
  treatment: {model: gpt-4.1-mini, system: {file: prompts/policy.md}, params: {temperature: 0.3, seed: 7}}
allocation: {control: 1/2, treatment: 1/2}
metrics:
  resolution_rate:  {priority: primary,   tier: human, kind: proportion, of: outcome.resolved, better: higher, baseline: 0.60, mde: 0.05}
  policy_score:     {priority: secondary, tier: judge, kind: mean, of: score.policy_citation, better: higher}
  latency_p95:      {priority: guardrail, tier: code, kind: quantile, q: 0.95, of: turn.latency_s, better: lower, margin: 0.5, limit: 3.0}
  cost_per_success: {priority: guardrail, tier: code, kind: ratio, of: turn.cost_usd, per: outcome.resolved, better: lower, margin: 10%}
  safety_rate:      {priority: guardrail, tier: code, kind: proportion, of: turn.safe, per_unit: all, better: higher, margin: 1pp, baseline: 0.995}
  error_rate:       {priority: guardrail, tier: code, kind: proportion, of: turn.error, per_unit: any, better: lower, margin: 1pp, baseline: 0.01}
plan:      {alpha: 0.05, power: 0.8, looks: [0.25, 0.5, 0.75, 1.0], spending: obrien_fleming, burn_in: 1d, cycle: 7d}
segments:  [device, tier]           # attributes known before treatment
critical_segments: [{where: tier=enterprise, metric: resolution_rate, margin: 3pp}]
offline:   {cases: golden.jsonl, rubric: rubric.yaml, judge: {model: gpt-4.1}, gate: {win_rate: {margin: 0.10}, must_pass: [safety]}}
inline:    [pii, toxicity, {json_schema: reply.schema.json}]
watches:
  - {metric: latency_p95, max: control+20%, window: 5m, for: 2, at_least: 200, then: pause}
  - {metric: error_rate,  max: control+1pp, window: 5m, for: 2, at_least: 200, then: rollback}
capture:   {text: sampled, redact: [pii]}          # none, sampled, all; the online judge and live labels need it
online_judge: {sample: 0.05, budget_usd_per_day: 20, audit: {labels_per_week: 50, minimum_agreement: 0.8}}
rollout:   {stages: [shadow, canary, ab], shadow: {share: 2%, budget_usd_per_day: 10}, canary: {coverage: 5%}, skip: {}}
"""

SMALL = """\
name: demo
hypothesis: A newer model resolves more.
unit: user
changes: [model]
variants:
  control: {model: a}
  treatment: {model: b}
metrics:
  resolution_rate: {priority: primary}
"""


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    """The example of the manual, with the files it names beside it."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "policy.md").write_text("Cite the policy.\n", "utf-8")
    (tmp_path / "rubric.yaml").write_text("axes: {clarity: Is it clear, policy: Is it cited}\n", "utf-8")
    (tmp_path / "reply.schema.json").write_text('{"type": "object"}', "utf-8")
    (tmp_path / "golden.jsonl").write_text("{}\n", "utf-8")
    (tmp_path / "e.yaml").write_text(MANUAL, "utf-8")
    return tmp_path / "e.yaml"


def write(folder: Path, text: str) -> Path:
    (folder / "e.yaml").write_text(text, "utf-8")
    return folder / "e.yaml"


def test_the_example_of_the_manual_reads_without_a_fault(manual: Path) -> None:
    """Word for word, and without a warning; each section arrives as what it means."""
    reading = read_definition(manual)
    assert reading.warnings == ()
    experiment = reading.experiment
    assert re.fullmatch(r"support-policy-prompt@[0-9a-f]{12}", experiment.identity)
    assert (experiment.unit.type, experiment.unit.source) == ("conversation", "header:x-conversation-id")
    assert [variant.name for variant in experiment.variants] == ["control", "treatment"]
    assert experiment.allocation == {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
    assert experiment.treatments[0].system is not None
    assert experiment.treatments[0].system.text == "Cite the policy.\n"
    assert [metric.name for metric in experiment.metrics] == [
        "resolution_rate", "policy_score", "cost_per_success", "error_rate", "latency_p95", "safety_rate",
    ]  # fmt: skip
    assert experiment.primary.name == "resolution_rate"
    assert {metric.name: str(metric.margin) for metric in experiment.guardrails} == {
        "cost_per_success": "10%", "error_rate": "0.01", "latency_p95": "0.5", "safety_rate": "0.01",
    }  # fmt: skip
    assert experiment.plan.looks == (0.25, 0.5, 0.75, 1.0)
    assert (experiment.plan.burn_in, experiment.plan.cycle) == (86400.0, 604800.0)
    assert experiment.offline is not None
    assert experiment.offline.rubric is not None
    assert dict(experiment.offline.rubric.axes) == {"clarity": "Is it clear", "policy": "Is it cited"}
    assert [str(watch.max) for watch in experiment.watches] == ["control+20%", "control+0.01"]
    assert [(watch.window, watch.persist, watch.at_least, watch.then) for watch in experiment.watches] == [
        (300.0, 2, 200, "pause"), (300.0, 2, 200, "rollback"),
    ]  # fmt: skip
    assert experiment.rollout.stages == ("shadow", "canary", "ab")
    assert (experiment.rollout.shadow_share, experiment.rollout.canary_coverage) == (
        Fraction(1, 50),
        Fraction(1, 20),
    )
    assert experiment.online_judge is not None
    assert experiment.online_judge.sample == Fraction(1, 20)
    assert [difference.path for difference in experiment.differences] == ["system"]


def test_relative_paths_start_from_the_folder_of_the_definition(
    manual: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the reader was started from does not matter."""
    monkeypatch.chdir("/")
    first = load_experiment(manual)
    monkeypatch.chdir(manual.parent)
    assert load_experiment("e.yaml") == first


def test_an_experiment_cannot_be_changed(manual: Path) -> None:
    """Neither its fields nor the settings inside it."""
    experiment = load_experiment(manual)
    with pytest.raises(FrozenInstanceError):
        experiment.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        experiment.control.params["temperature"] = 1.0  # type: ignore[index]
    with pytest.raises(TypeError):
        experiment.allocation["control"] = Fraction(1)  # type: ignore[index]


def test_what_is_left_out_has_a_meaning(tmp_path: Path) -> None:
    """An even split, one look, a weekly cycle, the whole traffic, nothing captured."""
    experiment = load_experiment(
        write(tmp_path, SMALL.replace("  treatment", "  third: {model: c}\n  treatment"))
    )
    assert experiment.allocation == {name: Fraction(1, 3) for name in ("control", "third", "treatment")}
    assert experiment.plan.looks == (1.0,)
    assert experiment.plan.cycle == 604800.0
    assert (experiment.rollout.stages, experiment.rollout.ab_coverage) == (("ab",), Fraction(1))
    assert experiment.capture.text == "none"
    assert experiment.method == "ab"
    assert experiment.assignment_version == 1


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_built_in_metric_needs_only_its_name(name: str, tmp_path: Path) -> None:
    """Its event, kind, direction and way of counting come from the catalogue."""
    metric = load_experiment(
        write(tmp_path, SMALL.replace("resolution_rate", name) + "inline: [pii]\n")
    ).primary
    fixed = CATALOGUE[name]
    assert (metric.kind, metric.of, metric.better, metric.tier, metric.per_unit, metric.per, metric.q) == (
        fixed.kind, fixed.of, fixed.better, fixed.tier, fixed.per_unit, fixed.per, fixed.q,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes, treatment, undeclared",
    [
        ("[model]", "{model: b}", []),
        ("[params]", "{model: a, params: {temperature: 0.9, top_p: 1}}", []),
        ("[params.temperature]", "{model: a, params: {temperature: 0.9}}", []),
        ("[params.temperature]", "{model: a, params: {temperature: 0.9, top_p: 1}}", ["params.top_p"]),
        ("[params.temp]", "{model: a, params: {temperature: 0.9}}", ["params.temperature"]),
        ("[config.retriever]", "{model: a, config: {retriever: {k: 5, deep: {er: 1}}}}", []),
        ("[config.retriever.k]", "{model: a, config: {retriever: {k: 5, deep: {er: 1}}}}", ["config.retriever.deep.er"]),
        ("[config.retriever.k]", "{model: a, config: {retrieverk: 5}}", ["config.retrieverk"]),
        ("[]", "{model: b, system: hi, params: {a: 1}, retrieval: {b: 2}, endpoint: {retries: 3}, serving: {d: 4}, config: {e: 5}}",
         ["config.e", "endpoint.retries", "model", "params.a", "retrieval.b", "serving.d", "system"]),
        ("[]", "{model: a, config: {}}", []),
        ("[]", "{model: a, config: {x: null}}", ["config.x"]),
        ("[]", "{model: a}", []),
    ],
)  # fmt: skip
def test_what_differs_must_be_declared(
    changes: str, treatment: str, undeclared: list[str], tmp_path: Path
) -> None:
    """`changes:` names a part of a variant or a path below one; every other difference is a fault of its own."""
    text = SMALL.replace("[model]", changes).replace("{model: b}", treatment)
    found: list[str] = []
    try:
        read_definition(write(tmp_path, text))
    except DefinitionError as error:
        found = [str(fault.field).removeprefix("variants.treatment.") for fault in error.faults]
    assert sorted(found) == undeclared


@pytest.mark.parametrize(
    "control, treatment",
    [
        ("true", "1"),
        ("false", "0"),
        ("[true]", "[1]"),
        ("{deep: [true]}", "{deep: [1]}"),
        ("'1'", "1"),
        ("null", "0"),
    ],
)
def test_true_and_one_are_different_settings(control: str, treatment: str, tmp_path: Path) -> None:
    """What JSON tells apart differs, and must be declared."""
    text = SMALL.replace("{model: a}", f"{{model: a, config: {{x: {control}}}}}")
    text = text.replace("{model: b}", f"{{model: b, config: {{x: {treatment}}}}}")
    with pytest.raises(DefinitionError) as refused:
        read_definition(write(tmp_path, text))
    assert "differs from control in config.x" in str(refused.value)
    assert len(refused.value.faults) == 1


def test_a_key_with_a_dot_is_not_a_path(tmp_path: Path) -> None:
    """The setting "a.b" is not the setting b below a: that is an undeclared difference."""
    text = SMALL.replace("{model: a}", "{model: a, config: {a.b: 1}}").replace(
        "{model: b}", "{model: b, config: {a: {b: 1}}}"
    )
    with pytest.raises(DefinitionError):
        read_definition(write(tmp_path, text))


def test_one_and_one_point_nought_are_one_setting(tmp_path: Path) -> None:
    """JSON has one kind of number, so 7 and 7.0 do not differ."""
    text = SMALL.replace("{model: a}", "{model: a, params: {seed: 7}}").replace(
        "{model: b}", "{model: b, params: {seed: 7.0}}"
    )
    assert [each.path for each in load_experiment(write(tmp_path, text)).differences] == ["model"]


@pytest.mark.parametrize("control", ["{file: one.md}", '"Be helpful.\\n"', '{text: "Be helpful.\\n"}'])
def test_two_names_for_one_prompt_are_no_difference(control: str, tmp_path: Path) -> None:
    """Prompts are compared by their text: two files, or a file and a text in place, may agree."""
    (tmp_path / "one.md").write_text("Be helpful.\n", "utf-8")
    (tmp_path / "two.md").write_text("Be helpful.\n", "utf-8")
    text = SMALL.replace("{model: a}", f"{{model: a, system: {control}}}")
    text = text.replace("{model: b}", "{model: b, system: {file: two.md}}")
    experiment = load_experiment(write(tmp_path, text))
    assert [each.path for each in experiment.differences] == ["model"]
    (tmp_path / "two.md").write_text("Be brief.\n", "utf-8")
    with pytest.raises(DefinitionError) as refused:
        read_definition(tmp_path / "e.yaml")
    assert str(refused.value) == (
        f"{tmp_path / 'e.yaml'}:7: variants.treatment.system: 'treatment' differs from control in system, which "
        "`changes:` does not declare; accepted: differences in model; add system to `changes:`, or make the variants agree"
    )


@pytest.mark.parametrize(
    "said, present",
    [
        ("unit: {type: request, from: header:x-conversation-id}\n", "header:x-conversation-id"),
        ("unit: request\ncluster: conversation_id\n", "conversation_id"),
        ("unit: request\nsegments: [Conversation]\n", "Conversation"),
        ("unit: request\nsource: {table: t, unit: id, variant: v, columns: {outcome.resolved: conversation_resolved}}\n", "conversation_resolved"),
        ("unit: request\nsource: {table: t, unit: conversation, variant: v, columns: {outcome.resolved: r}}\n", "conversation"),
    ],
)  # fmt: skip
def test_requests_inside_a_conversation_give_pause(said: str, present: str, tmp_path: Path) -> None:
    """Randomising requests although a conversation id is present is allowed and warned of."""
    path = write(tmp_path, SMALL.replace("unit: user\n", said))
    sentence = (
        f"{path}:3: unit: requests are randomised although a conversation id is present ('{present}'): one conversation "
        "may see several variants; use `unit: {type: conversation, from: …}` unless turns are truly independent"
    )
    assert [str(warning) for warning in read_definition(path).warnings] == [sentence]
    with pytest.warns(DefinitionWarning) as caught:
        load_experiment(path)
    assert [str(warning.message) for warning in caught] == [sentence]
    assert caught[0].filename == __file__


def test_a_number_that_no_turn_has_gives_pause(tmp_path: Path) -> None:
    """What the log cannot tell is named with what it can; a table may tell it, and a check must be declared."""
    extra = "  slow: {priority: secondary, kind: mean, of: turn.latency, better: lower}\n  pii_rate: {priority: secondary}\n"
    text = SMALL.replace("metrics:\n", "metrics:\n" + extra)
    path = write(tmp_path, text)
    place = text[: text.index("  slow:")].count("\n") + 1
    assert [str(warning) for warning in read_definition(path).warnings] == [
        (
            f"{path}:{place + 1}: metrics.pii_rate: turn.pii is what the inline check 'pii' finds, and no such check is "
            "declared; add `inline: [pii]`"
        ),
        (
            f"{path}:{place}: metrics.slow: the log has nothing called turn.latency, so 'slow' has no value there; "
            f"accepted: {', '.join(sorted(OF_TURNS))}; did you mean 'latency_s'?"
        ),
    ]
    for more in ("inline: [pii]\n", 'inline: [{check: pii, "on": both}]\n'):
        assert len(read_definition(write(tmp_path, text + more)).warnings) == 1
    table = "source: {table: t.csv, unit: id, variant: v, columns: {outcome.resolved: r, turn.latency: l, turn.pii: p}}\n"
    assert read_definition(write(tmp_path, text + table)).warnings == ()


@pytest.mark.parametrize("window, seconds", [("90s", "90"), ("500ms", "0.5"), ("30s", "30")])
def test_a_window_that_cannot_be_watched_gives_pause(window: str, seconds: str, tmp_path: Path) -> None:
    """It is said where it stands, with what is accepted; whole minutes, however they are written, give none."""
    watches = "watches: [{{metric: resolution_rate, min: 0.1, window: {}}}]\n"
    path = write(tmp_path, SMALL + watches.format(window))
    place = SMALL.count("\n") + 1
    [warning] = read_definition(path).warnings
    assert str(warning) == (
        f"{path}:{place}: watches[0].window: a window of {seconds} s cannot be watched: what happens is counted by the minute; "
        "accepted: whole minutes, such as 5m"
    )
    assert read_definition(write(tmp_path, SMALL + watches.format("120s"))).warnings == ()


def test_texts_that_are_gone_before_people_label_them_give_pause(tmp_path: Path) -> None:
    """A week's audit set is drawn day by day, of days that are over."""
    text = (
        SMALL
        + "offline: {cases: c.jsonl, evaluators: [{contains: policy}]}\nonline_judge: {sample: 5%, audit: {labels_per_week: 9}}\n"
    )
    said = "capture: {{text: sampled, keep: {}}}\n"
    path = write(tmp_path, text + said.format("1d"))
    found = [str(each) for each in read_definition(path).warnings if each.field == "capture.keep"]
    assert found == [
        (
            f"{path}:{text.count(chr(10)) + 1}: capture.keep: people label turns from the day after them on, and by then their texts "
            "are gone; accepted: at least 2d beside `labels_per_week`, and better a week or more"
        )
    ]
    for more in (
        text + said.format("2d"),
        (text + said.format("1d")).replace(", audit: {labels_per_week: 9}", ""),
    ):
        assert not [
            each for each in read_definition(write(tmp_path, more)).warnings if each.field == "capture.keep"
        ]


@pytest.mark.parametrize(
    "said",
    [
        "unit: request\n",
        "unit: {type: conversation, from: header:x-conversation-id}\n",
        "unit: user\ncluster: conversation\n",
    ],
)
def test_other_units_give_no_pause(said: str, tmp_path: Path) -> None:
    """Requests without conversations, and conversations themselves, are what they should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_experiment(write(tmp_path, SMALL.replace("unit: user\n", said)))


def test_an_unknown_variant_or_metric_is_a_key_error(manual: Path) -> None:
    """Looking up by name finds, or says which name."""
    experiment = load_experiment(manual)
    assert experiment.variant("treatment") is experiment.treatments[0]
    assert experiment.metric("policy_score").kind == "mean"
    with pytest.raises(KeyError, match="nobody"):
        experiment.variant("nobody")
    with pytest.raises(KeyError, match="nothing"):
        experiment.metric("nothing")


def complaints(schema: dict[str, Any], part: dict[str, Any], value: Any, path: str = "$") -> list[str]:
    """What a JSON Schema validator would say, for the keywords that the published schema uses."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].removeprefix("#/$defs/")] | {
            key: item for key, item in part.items() if key != "$ref"
        }
    if "anyOf" in part:
        tries = [complaints(schema, option, value, path) for option in part["anyOf"]]
        return [] if [] in tries else [f"{path}: no option fits: {tries}"]
    types: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    wanted = part.get("type", [])
    names = [wanted] if isinstance(wanted, str) else wanted
    if names and not any(
        isinstance(value, types[name]) and (isinstance(value, bool) <= (name == "boolean")) for name in names
    ):
        return [f"{path}: {value!r} is no {wanted}"]
    if "enum" in part and value not in part["enum"]:
        return [f"{path}: {value!r} not in {part['enum']}"]
    if isinstance(value, str) and "pattern" in part and not re.search(part["pattern"], value):
        return [f"{path}: {value!r} does not match {part['pattern']}"]
    found: list[str] = []
    if isinstance(value, dict):
        found += [f"{path}: {key} is missing" for key in part.get("required", []) if key not in value]
        for key, item in value.items():
            inner = part.get("properties", {}).get(key)
            if inner is None:
                inner = next(
                    (
                        each
                        for pattern, each in part.get("patternProperties", {}).items()
                        if re.search(pattern, key)
                    ),
                    None,
                )
            if inner is None:
                inner = part.get("additionalProperties", True)
            if inner is False:
                found.append(f"{path}: {key} is not known")
            elif isinstance(inner, dict):
                found += complaints(schema, inner, item, f"{path}.{key}")
    if isinstance(value, list) and "items" in part:
        for index, item in enumerate(value):
            found += complaints(schema, part["items"], item, f"{path}[{index}]")
    return found


VECTORS = Path(__file__).parents[1] / "vectors" / "definitions"


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in VECTORS.glob("*.yaml") if path.stem != "rubric")
)
def test_the_published_schema_accepts_what_the_reader_accepts(name: str) -> None:
    """An editor that follows the schema does not complain of a definition that reads, short forms included."""
    schema = json_schema()
    data = yaml.load((VECTORS / f"{name}.yaml").read_text("utf-8"), yaml.SafeLoader)
    assert complaints(schema, schema, data) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "abc"},
        {"unit": 5},
        {"unit": "usr"},
        {"unit": {"typ": "user"}},
        {"plan": {"alhpa": 1}},
        {"variants": 3},
        {"watches": [{"metric": "m"}]},
        {"nonsense": 1},
    ],
)
def test_the_published_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    """The same mistakes are mistakes to an editor."""
    schema = json_schema()
    assert complaints(schema, schema, yaml.safe_load(SMALL) | wrong)


def test_the_schema_is_one_document_of_its_draft() -> None:
    """It names its draft, every reference leads somewhere, every object refuses keys it does not know or says what they hold."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "Equipoise experiment"
    assert schema["required"] == ["name", "hypothesis", "unit", "variants", "metrics"]

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                assert part["$ref"].removeprefix("#/$defs/") in schema["$defs"]
            if isinstance(part.get("properties"), dict):
                others = part["additionalProperties"]
                assert others is False or others["enum"] == list(GUARD_STATES)
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk(schema)
    assert set(yaml.safe_load(MANUAL)) <= set(schema["properties"])


def test_an_online_judge_that_has_nothing_to_do_gives_pause(tmp_path: Path) -> None:
    """Without texts there is nothing to read, and without evaluators nothing to judge by."""
    path = write(tmp_path, SMALL + "online_judge: {sample: 5%}\n")
    line = len(SMALL.splitlines()) + 1
    assert [str(warning) for warning in read_definition(path).warnings] == [
        (
            f"{path}:{line}: online_judge: the online judge has nothing to read: no texts are kept; add `capture: {{text: "
            "sampled}`"
        ),
        (
            f"{path}:{line}: online_judge: the online judge has nothing to judge by, as golden cases are judged by nothing; add "
            "under `offline:` a rubric and a judge, or evaluators"
        ),
    ]
