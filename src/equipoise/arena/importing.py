"""A promptfoo config made into a definition; what cannot be carried over is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from equipoise.arena.case_formats.promptfoo import read_promptfoo
from equipoise.arena.case_formats.reading_rows import read_theirs
from equipoise.arena.templates import fields, render
from equipoise.errors import DataError
from equipoise.experiment.offline import Cases

__all__ = ["Imported", "import_promptfoo"]

_COMPATIBLE = {
    "openai": None,
    "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "together": "https://api.together.xyz/v1",
    "togetherai": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "xai": "https://api.x.ai/v1",
    "ollama": "http://localhost:11434/v1",
    "vllm": "http://localhost:8000/v1",
    "localai": "http://localhost:8080/v1",
}
"""Providers of promptfoo that speak the OpenAI protocol, and where."""
_KEYS = {"openrouter": "OPENROUTER_API_KEY", "groq": "GROQ_API_KEY", "deepseek": "DEEPSEEK_API_KEY",
         "mistral": "MISTRAL_API_KEY", "together": "TOGETHER_API_KEY", "togetherai": "TOGETHER_API_KEY",
         "fireworks": "FIREWORKS_API_KEY", "xai": "XAI_API_KEY"}  # fmt: skip
_PARAMS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty", "presence_penalty",
           "seed", "stop", "response_format", "reasoning_effort")  # fmt: skip
_LEFT = (
    "scenarios",
    "derivedMetrics",
    "extensions",
    "redteam",
    "nunjucksFilters",
    "evaluateOptions",
    "env",
    "tracing",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was made: the definition's text, the files it names, and what was not carried over."""

    name: str
    definition: str
    files: Mapping[str, str]
    variants: tuple[str, ...]
    cases: int
    remarks: tuple[str, ...]


def import_promptfoo(path: Path, *, cases_path: str) -> Imported:
    """Make a definition out of a promptfoo config; `cases_path` is the config as the definition will name it.

    Every prompt of every provider becomes a variant, the first of them `control`. The tests stay where they
    are and are used unchanged. The gate asks that the pass rate be not worse by five points. Raises
    DataError.
    """
    config = read_theirs(path)
    if not isinstance(config, Mapping) or "prompts" not in config:
        raise DataError(
            f"{path} is no config of promptfoo: it has no `prompts`. Name a promptfooconfig.yaml or .json"
        )
    remarks: list[str] = [f"`{key}` is not carried over" for key in _LEFT if key in config]
    prompts = list(_prompts(config["prompts"], path.parent, remarks))
    providers = list(_providers(config.get("providers") or config.get("targets") or [], remarks))
    if not prompts:
        raise DataError(f"{path} has no prompt that can be carried over: {'; '.join(remarks)}")
    if not providers:
        providers = [("", {"model": "your-model"})]
        remarks.append("no provider speaks the OpenAI protocol: name your model instead of `your-model`")
    cases, said = read_promptfoo(path, Cases(file=path.name, format="promptfoo"))
    remarks += said
    files: dict[str, str] = {}
    variants: dict[str, dict[str, Any]] = {}
    for provider, settings in providers:
        for index, (label, system, template) in enumerate(prompts):
            name = _variant_name(variants, label, provider, several=(len(prompts) > 1, len(providers) > 1))
            parts = {"system": system, "template": template}
            variant: dict[str, Any] = {**settings}
            for part, text in parts.items():
                if text is not None:
                    file = f"prompts/{index + 1}-{_slug(label)}.{part}.txt"
                    files[file] = text
                    variant[part] = {"file": file}
            variants[name] = variant
    if len(variants) < 2:
        only = dict(next(iter(variants.values())))
        variants["treatment"] = only
        remarks.append(
            "the config has one prompt and one provider: change the variant `treatment` into what you want to try"
        )
    first, *rest = variants
    named = {"control": variants[first]} | {
        name if name != "control" else "control-2": variants[name] for name in rest
    }
    description = str(config.get("description") or path.parent.resolve().name or "promptfoo")
    asks_judge = any(
        "meets" in each or "g_eval" in each or "faithfulness" in each
        for case in cases
        for each in case.evaluators
    )
    if asks_judge:
        remarks.append("some tests ask a judge: its model is `your-judge-model` until you name one")
    if not any(case.evaluators for case in cases):
        remarks.append(
            "no test has an assertion that was carried over, so a judge that compares takes their place"
        )
    name = _slug(description) or "promptfoo"
    return Imported(
        name=name,
        definition=_definition(name, description, named, cases_path, asks_judge, _any_assertion(cases)),
        files=files,
        variants=tuple(named),
        cases=len(cases),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _any_assertion(cases: list[Any]) -> bool:
    return any(case.evaluators for case in cases)


def _definition(
    name: str,
    description: str,
    variants: Mapping[str, Mapping[str, Any]],
    cases_path: str,
    asks_judge: bool,
    asserts: bool,
) -> str:
    changes = sorted({key for variant in variants.values() for key in variant if _differs(key, variants)})
    offline: dict[str, Any] = {"cases": {"file": cases_path, "format": "promptfoo"}}
    if asks_judge or not asserts:
        offline["judge"] = {"model": "your-judge-model", **({"pairwise": False} if asserts else {})}
    offline["gate"] = {"pass_rate": {"margin": "5pp"}} if asserts else {"win_rate": {"margin": 0.10}}
    definition = {
        "name": name,
        "hypothesis": f"{description.rstrip('.')}: a variant is not worse than control on the tests.",
        "unit": {"type": "request"},
        "changes": changes,
        "variants": variants,
        "metrics": {
            "resolution_rate": {"priority": "primary", "baseline": 0.6, "mde": 0.05},
        },
        "offline": offline,
    }
    head = "# Made from a promptfoo config. Its tests are used unchanged; the metric is for a later online test.\n"
    return head + yaml.dump(definition, Dumper=_Plainly, sort_keys=False, allow_unicode=True, width=100)


class _Plainly(yaml.SafeDumper):
    """Writes a value again where it stands again: people read the file, and an alias says nothing to them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of no value
        return True


def _differs(key: str, variants: Mapping[str, Mapping[str, Any]]) -> bool:
    return len({json.dumps(variant.get(key), sort_keys=True) for variant in variants.values()}) > 1


def _prompts(listed: Any, folder: Path, remarks: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """Label, system prompt and template of the user's message of every prompt."""
    for number, prompt in enumerate(listed if isinstance(listed, list) else [listed], 1):
        label, raw = f"prompt-{number}", prompt
        if isinstance(prompt, Mapping):
            raw = prompt.get("raw", prompt.get("id"))
            label = str(prompt.get("label") or label)
        if not isinstance(raw, str):
            remarks.append(f"prompt {number} is no text and is not carried over")
            continue
        for name, text in _texts(raw, label, folder, remarks):
            made = _chat(text, name, remarks)
            if made is not None:
                yield name, *made


def _texts(raw: str, label: str, folder: Path, remarks: list[str]) -> Iterator[tuple[str, str]]:
    named = raw.removeprefix("file://")
    is_file = raw.startswith("file://") or bool(re.fullmatch(r"[\w./*-]+\.(?:txt|md|json|yaml|yml)", raw))
    if not is_file:
        yield label, raw
        return
    if re.search(r"\.(?:js|ts|mjs|cjs|py)(?::\w+)?$", named):
        remarks.append(f"the prompt {raw} is a program and is not carried over")
        return
    found = sorted(folder.glob(named))
    if not found:
        raise DataError(f"the prompt {folder / named} does not exist. Check the path in the config")
    for path in found:
        text = path.read_text("utf-8")
        parts = (
            [part.strip() for part in re.split(r"(?m)^---\s*$", text)] if path.suffix == ".txt" else [text]
        )
        for index, part in enumerate(part for part in parts if part):
            yield (f"{path.stem}-{index + 1}" if len(parts) > 1 else path.stem), part


def _chat(text: str, label: str, remarks: list[str]) -> tuple[str | None, str] | None:
    """System prompt and template out of a prompt that may be the messages of a chat."""
    messages = _messages(text)
    if messages is None:
        system, template = None, text
    else:
        systems = [message["content"] for message in messages if message["role"] in ("system", "developer")]
        others = [message for message in messages if message["role"] not in ("system", "developer")]
        if len(others) != 1 or others[0]["role"] != "user" or len(systems) > 1:
            remarks.append(f"the prompt {label} is a chat of several turns and is not carried over")
            return None
        system, template = (systems[0] if systems else None), others[0]["content"]
    for part in (system, template):
        if part is not None:
            try:
                render(part, dict.fromkeys(fields(part), ""))
            except DataError as error:
                remarks.append(f"the prompt {label} is not carried over: {error}")
                return None
    return system, template


def _messages(text: str) -> list[dict[str, str]] | None:
    if not text.lstrip().startswith(("[", "- role")):
        return None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    if isinstance(found, list) and all(
        isinstance(each, Mapping)
        and isinstance(each.get("role"), str)
        and isinstance(each.get("content"), str)
        for each in found
    ):
        return [{"role": each["role"], "content": each["content"]} for each in found]
    return None


def _providers(listed: Any, remarks: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for provider in listed if isinstance(listed, list) else [listed]:
        config: Mapping[str, Any] = {}
        named, label = provider, ""
        if isinstance(provider, Mapping):
            if "id" not in provider and len(provider) == 1:
                named, inner = next(iter(provider.items()))
                config = (inner or {}).get("config") or {}
            else:
                named, config = provider.get("id"), provider.get("config") or {}
                label = str(provider.get("label") or "")
        if not isinstance(named, str):
            remarks.append("a provider without a name is not carried over")
            continue
        vendor, _, model = named.partition(":")
        model = model.removeprefix("chat:").removeprefix("completion:").removeprefix("responses:")
        if vendor not in _COMPATIBLE or not model:
            remarks.append(f"the provider {named} is no OpenAI-compatible endpoint and is not carried over")
            continue
        params = {key: config[key] for key in _PARAMS if key in config}
        settings: dict[str, Any] = {"model": model}
        if params:
            settings["params"] = params
        base = config.get("apiBaseUrl") or config.get("apiHost") or _COMPATIBLE[vendor]
        endpoint = {}
        if base:
            endpoint["base_url"] = base if "://" in str(base) else f"https://{base}/v1"
        if key := config.get("apiKeyEnvar") or _KEYS.get(vendor):
            endpoint["key_env"] = key
        if endpoint:
            settings["endpoint"] = endpoint
        dropped = sorted(set(config) - {*_PARAMS, "apiBaseUrl", "apiHost", "apiKeyEnvar", "apiKey"})
        if dropped:
            remarks.append(f"of the provider {named}, {', '.join(dropped)} is not carried over")
        if "apiKey" in config:
            remarks.append(
                f"the key of {named} stands in the config; put it into the environment variable OPENAI_API_KEY"
            )
        yield label or model, settings


def _slug(text: str) -> str:
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._-]+", "-", text)).strip("-._")[:60].lower()


def _variant_name(taken: Mapping[str, Any], label: str, provider: str, *, several: tuple[bool, bool]) -> str:
    prompts, providers = several
    parts = [_slug(label)] if prompts or not providers else []
    parts += [_slug(provider)] if providers else []
    name = "-".join(part for part in parts if part) or "variant"
    number = 2
    while name in taken:
        name = f"{name.rsplit('~', 1)[0]}-{number}"
        number += 1
    return name
