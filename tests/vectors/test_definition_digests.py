"""A digest names a meaning: spelling does not change it, any change of meaning does, no release ever may."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from equipoise.experiment.identity import FORMAT, canonical, digest
from equipoise.experiment.reading import read_canonical, read_definition

HERE = Path(__file__).parent / "definitions"
GOLDEN: dict[str, str] = json.loads((HERE / "digests.json").read_text("utf-8"))["digests"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the definitions and the files they name."""
    return Path(shutil.copytree(HERE, tmp_path / "definitions"))


def read(folder: Path, text: str) -> str:
    (folder / "edited.yaml").write_text(text, "utf-8")
    return read_definition(folder / "edited.yaml").experiment.digest


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_digest_is_the_one_that_was_published(name: str) -> None:
    """A definition of an earlier release keeps its digest, and its canonical form reads back to the same."""
    assert json.loads((HERE / "digests.json").read_text("utf-8"))["format"] == FORMAT == 1
    experiment = read_definition(HERE / f"{name}.yaml").experiment
    assert experiment.digest == GOLDEN[name]
    kept = json.loads(json.dumps(canonical(experiment)))
    assert digest(kept) == GOLDEN[name]
    assert read_canonical(kept) == experiment


def test_there_is_a_digest_for_every_definition() -> None:
    """No definition lies beside the digests unread."""
    assert {path.stem for path in HERE.glob("*.yaml")} - {"rubric"} == set(GOLDEN)


def restyled(style: dict[str, Any]) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump(yaml.safe_load(text), **style)


def reordered(text: str) -> str:
    def turn(value: Any) -> Any:
        return {key: turn(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    return yaml.safe_dump(turn(yaml.safe_load(text)), sort_keys=False)


def replaced(*pairs: tuple[str, str]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        for old, new in pairs:
            assert text.count(old) >= 1, old
            text = text.replace(old, new)
        return text

    return edit


SPELLINGS: dict[str, Callable[[str], str]] = {
    "block style and sorted keys": restyled({"default_flow_style": False}),
    "flow style": restyled({"default_flow_style": True, "width": 100_000}),
    "texts in quotes": replaced(("name: support-policy-prompt", "'name': \"support-policy-prompt\""), ("5m", "'5m'"), ("1/2", '"1/2"')),
    "texts with a tag": replaced(("layer: support-bot", "layer: !!str support-bot"), ("window: 5m", "window: !!str 5m")),
    "keys in reverse order": reordered,
    "JSON, which is YAML": lambda text: json.dumps(yaml.safe_load(text)),
    "comments and blank lines": lambda text: "# said\n\n" + text.replace("\n", "   # why\n\n") + "\n# end",
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "document marks": lambda text: "---\n" + text + "...\n",
    "an even split left out": replaced(("allocation: {control: 1/2, treatment: 1/2}\n", "")),
    "shares as decimals": replaced(("{control: 1/2, treatment: 1/2}", "{control: 0.5, treatment: 0.50}")),
    "shares as percentages": replaced(("{control: 1/2, treatment: 1/2}", "{control: 50%, treatment: 50.0 %}")),
    "unreduced shares": replaced(("{control: 1/2, treatment: 1/2}", "{control: 2/4, treatment: 8/16}")),
    "a share as a decimal": replaced(("{coverage: 5%}", "{coverage: 0.05}")),
    "a share as a fraction": replaced(("{share: 2%", "{share: 1/50")),
    "a sample as a percentage": replaced(("sample: 0.05", "sample: 5%")),
    "points as numbers": replaced(("margin: 3pp", "margin: 0.03"), ("margin: 1pp", "margin: 0.01")),
    "numbers as points": replaced(("mde: 0.05", "mde: 5pp")),
    "a percentage with decimals": replaced(("margin: 10%", "margin: 10.00%")),
    "trailing zeros": replaced(("baseline: 0.60", "baseline: 0.6"), ("limit: 3.0", "limit: 3")),
    "exponents": replaced(("baseline: 0.01", "baseline: 1e-2"), ("seed: 7", "seed: 7.0")),
    "durations in other units": replaced(("burn_in: 1d", "burn_in: 24h"), ("window: 5m", "window: 300s")),
    "explicit defaults": replaced(
        ("name: support", "pins: none\nassignment_version: 1\nname: support"),
        ("skip: {}", "skip: {}, ab: {coverage: 1}"),
        ("golden.jsonl", "{file: golden.jsonl, id: id, input: input}"),
        ("{model: gpt-4.1}", "{model: gpt-4.1, key_env: OPENAI_API_KEY}"),
    ),
    "defaults left out": replaced(("method: ab\n", ""), ("alpha: 0.05, power: 0.8, ", ""), (", cycle: 7d", "")),
    "a catalogued meaning left out": replaced(("tier: code, kind: quantile, q: 0.95, of: turn.latency_s, better: lower, ", "")),
    "segments in another order": replaced(("[device, tier]", "[tier, device, tier]")),
    "a bound with spaces": replaced(("control+20%", "' control + 20 % '")),
    "space around a sentence": replaced(("hypothesis: Citing", "hypothesis: |\n\n  Citing")),
    "anchors and aliases": replaced(
        ("control:   {model: gpt-4.1-mini, system", "control:   {model: &m gpt-4.1-mini, system"),
        ("treatment: {model: gpt-4.1-mini, system", "treatment: {model: *m, system"),
    ),
    "a merge": replaced(
        ("control:   {model: gpt-4.1-mini, system: ", "control: &c {params: {temperature: 0.3, seed: 7}, model: gpt-4.1-mini, system: "),
        ('"Be helpful.", params: {temperature: 0.3, seed: 7}}', '"Be helpful."}'),
        ("treatment: {model: gpt-4.1-mini, system: {file: prompts/policy.md}, params: {temperature: 0.3, seed: 7}}",
         "treatment: {<<: *c, system: {file: prompts/policy.md}}"),
    ),
    "a prompt as a text key": replaced(('system: "Be helpful."', 'system: {text: "Be helpful."}')),
    "a schema written out": replaced(("json_schema: reply.schema.json", "json_schema: {type: object, properties: {answer: {type: string}}, required: [answer]}")),
    "a rubric written out": replaced(
        ("rubric: rubric.yaml", "rubric: {axes: {accuracy: 'Is what it says true?', policy: 'Does it cite the policy?', clarity: 'Is the answer easy to follow?'}}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling_does_not_change_a_digest(spelling: str, place: Path) -> None:
    """Another spelling of the same meaning has the same digest."""
    text = SPELLINGS[spelling]((HERE / "whole.yaml").read_text("utf-8"))
    assert text != (HERE / "whole.yaml").read_text("utf-8")
    assert read(place, text) == GOLDEN["whole"]


def test_a_prompt_file_that_moved_is_the_same_prompt(place: Path) -> None:
    """The text of a prompt is part of the digest, the name of its file is not."""
    (place / "elsewhere").mkdir()
    (place / "prompts" / "policy.md").rename(place / "elsewhere" / "Richtlinie 1.txt")
    text = (HERE / "whole.yaml").read_text("utf-8").replace("prompts/policy.md", "elsewhere/Richtlinie 1.txt")
    assert read(place, text) == GOLDEN["whole"]
    absolute = text.replace("elsewhere/Richtlinie 1.txt", str(place / "elsewhere" / "Richtlinie 1.txt"))
    assert read(place, absolute) == GOLDEN["whole"]
    written_out = json.dumps((HERE / "prompts" / "policy.md").read_text("utf-8"))
    assert read(place, text.replace("{file: elsewhere/Richtlinie 1.txt}", written_out)) == GOLDEN["whole"]


Steps = tuple[str | int, ...]
EDITS: list[tuple[Steps, Any]] = [
    (("name",), "support-policy-prompt-2"),
    (("hypothesis",), "Citing the policy raises resolution."),
    (("changes",), ["system", "params"]),
    (("unit", "type"), "session"),
    (("unit", "from"), "header:x-session-id"),
    (("unit",), "conversation"),
    (("cluster",), "team_id"),
    (("layer",), "other-bot"),
    (("assignment_version",), 2),
    (("variants", "control", "system"), "Be helpful. "),
    (("variants", "treatment", "system"), "Be helpful!"),
    (("variants", "third"), {"model": "gpt-4.1-mini", "params": {"temperature": 0.3, "seed": 7}}),
    (("allocation",), {"control": "2/3", "treatment": "1/3"}),
    (("allocation",), {"control": "0.50000001", "treatment": "0.49999999"}),
    (("metrics", "resolution_rate", "mde"), 0.04),
    (("metrics", "resolution_rate", "mde"), "5%"),
    (("metrics", "resolution_rate", "baseline"), 0.61),
    (("metrics", "resolution_rate", "tier"), "code"),
    (("metrics", "policy_score", "priority"), "exploratory"),
    (("metrics", "policy_score", "kind"), "proportion"),
    (("metrics", "policy_score", "of"), "score.policy"),
    (("metrics", "policy_score", "better"), "lower"),
    (("metrics", "policy_score", "per_unit"), "max"),
    (("metrics", "policy_score", "spread"), 1.0),
    (("metrics", "policy_score", "window"), "7d"),
    (("metrics", "policy_score", "winsorise"), 0.99),
    (("metrics", "policy_score", "covariates"), ["age"]),
    (("metrics", "policy_score", "labels"), 50),
    (("metrics", "latency_p95", "margin"), 0.4),
    (("metrics", "latency_p95", "limit"), 2.5),
    (("metrics", "thumbs"), {"priority": "exploratory"}),
    (("plan", "alpha"), 0.01),
    (("plan", "power"), 0.9),
    (("plan", "looks"), [0.5, 1.0]),
    (("plan", "spending"), "pocock"),
    (("plan", "burn_in"), "2d"),
    (("plan", "cycle"), "1d"),
    (("plan", "whole_cycles"), True),
    (("plan", "crossed"), "exclude"),
    (("plan", "units_per_day"), 100),
    (("segments",), ["device", "tier", "country"]),
    (("critical_segments", 0, "where"), "tier=free"),
    (("critical_segments", 0, "margin"), "3%"),
    (("critical_segments", 0, "metric"), "safety_rate"),
    (("offline", "cases"), "other.jsonl"),
    (("offline", "judge", "model"), "gpt-4.1-mini"),
    (("offline", "judge", "key_env"), "JUDGE_KEY"),
    (("offline", "gate", "win_rate", "margin"), 0.05),
    (("offline", "gate", "win_rate", "superior"), True),
    (("offline", "gate", "must_pass"), []),
    (("offline", "gate", "level"), 0.9),
    (("offline", "checks"), [{"contains": "policy"}]),
    (("inline",), ["pii", "toxicity"]),
    (("inline",), ["toxicity", "pii", {"json_schema": "reply.schema.json"}]),
    (("watches", 0, "max"), "control+21%"),
    (("watches", 0, "max"), "baseline+20%"),
    (("watches", 0, "window"), "6m"),
    (("watches", 0, "for"), 3),
    (("watches", 0, "at_least"), 100),
    (("watches", 0, "then"), "alert"),
    (("watches",), []),
    (("capture", "text"), "all"),
    (("capture", "redact"), []),
    (("capture", "share"), "10%"),
    (("capture", "keep"), "7d"),
    (("online_judge", "sample"), 0.06),
    (("online_judge", "budget_usd_per_day"), 21),
    (("online_judge", "turns_per_minute"), 60),
    (("online_judge", "backlog"), 9_999),
    (("online_judge", "within"), "2h"),
    (("online_judge", "audit", "labels_per_week"), 51),
    (("online_judge", "audit", "minimum_agreement"), 0.7),
    (("online_judge", "audit", "threshold"), 4),
    (("online_judge",), None),
    (("rollout", "stages"), ["canary", "ab"]),
    (("rollout", "shadow", "share"), "3%"),
    (("rollout", "shadow", "budget_usd_per_day"), 11),
    (("rollout", "shadow", "turns"), 200),
    (("rollout", "canary", "coverage"), "6%"),
    (("rollout", "ab"), {"coverage": "50%"}),
    (("rollout", "skip"), {"shadow": "no second endpoint"}),
    (("pins",), "required"),
    (("verdict",), [{"when": {"health": "invalid"}, "then": "invalid"}, {"then": "hold", "when": {"look": "last"}}, {"then": "keep running"}]),
]  # fmt: skip


def test_every_single_edit_of_meaning_changes_the_digest(place: Path) -> None:
    """Whatever is changed, the digest is another one; no two of the edits share one."""
    data = yaml.safe_load((HERE / "whole.yaml").read_text("utf-8"))
    found = {GOLDEN["whole"]: "the definition itself"}
    for steps, value in EDITS:
        edited = copy.deepcopy(data)
        inner = edited
        for step in steps[:-1]:
            inner = inner[step]
        assert inner.get(steps[-1]) != value if isinstance(inner, dict) else True
        inner[steps[-1]] = value
        if steps == ("variants", "third"):
            edited.pop("allocation")
        changed = read(place, yaml.safe_dump(edited))
        assert changed not in found, f"{steps} = {value} has the digest of {found[changed]}"
        found[changed] = f"{steps} = {value}"
    assert len(found) == len(EDITS) + 1


@pytest.mark.parametrize(
    "part, control, treatment",
    [
        ("params", {"a": 1}, {"a": 2}),
        ("params", {"a": 1}, {"a": "1"}),
        ("params", {"a": 1}, {"a": True}),
        ("params", {"a": 1}, {"a": [1]}),
        ("params", {"a": [1, 2]}, {"a": [2, 1]}),
        ("config", {"a": None}, {}),
        ("config", {"a": {}}, {"a": None}),
        ("config", {"a.b": 1}, {"a": {"b": 1}}),
        ("config", {"é": 1}, {"e\u0301": 1}),
        ("retrieval", {"top_k": 4}, {"top_k": 5}),
        ("endpoint", {"base_url": "http://a"}, {"base_url": "http://b"}),
        ("serving", {"quantised": False}, {"quantised": 0}),
    ],
)
def test_every_setting_of_a_variant_is_part_of_the_digest(
    part: str, control: Any, treatment: Any, place: Path
) -> None:
    """Settings that JSON tells apart are told apart by the digest, and by `changes:`."""
    data = yaml.safe_load((HERE / "minimal.yaml").read_text("utf-8"))
    data["changes"] = ["model", part]
    data["variants"]["control"][part] = data["variants"]["treatment"][part] = control
    before = read(place, yaml.safe_dump(data, allow_unicode=True))
    data["variants"]["treatment"][part] = treatment
    assert read(place, yaml.safe_dump(data, allow_unicode=True)) != before
    differing = read_definition(place / "edited.yaml").experiment.differences
    assert {each.path.split(".")[0] for each in differing} == {"model", part}


@pytest.mark.parametrize("name", ["prompts/policy.md", "rubric.yaml", "reply.schema.json"])
def test_the_text_of_a_named_file_is_part_of_the_digest(name: str, place: Path) -> None:
    """Editing a prompt, a rubric or a schema makes another experiment."""
    path = place / name
    text = path.read_text("utf-8")
    edited = {"prompts/policy.md": text + "\n", "rubric.yaml": text.replace("true?", "really true?"),
              "reply.schema.json": text.replace('"string"', '"number"')}[name]  # fmt: skip
    assert edited != text
    path.write_text(edited, "utf-8")
    assert read_definition(place / "whole.yaml").experiment.digest != GOLDEN["whole"]
