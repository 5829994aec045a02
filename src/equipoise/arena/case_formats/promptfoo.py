"""promptfoo's tests, unchanged: in a config, in a list, or in a CSV with `__expected` columns."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from equipoise.arena.case import Case
from equipoise.arena.case_formats.assertions import translate
from equipoise.arena.case_formats.reading_rows import WHAT, read_theirs
from equipoise.arena.templates import fields, render
from equipoise.errors import DataError
from equipoise.experiment.evaluators import evaluator_faults
from equipoise.experiment.offline import Cases
from equipoise.experiment.variant import freeze
from equipoise.providers.rows import read_bytes

__all__ = ["is_promptfoo", "read_promptfoo"]

_KEYS = {
    "vars",
    "assert",
    "assertScoringFunction",
    "provider",
    "options",
    "metadata",
    "threshold",
    "description",
}
_SHORT = ("contains-json", "is-json", "contains-any", "contains-all", "icontains-any", "icontains-all", "icontains",
          "contains", "starts-with", "equals", "regex", "similar", "llm-rubric", "factuality", "cost", "latency",
          "rouge-n", "bleu", "g-eval", "python", "javascript", "is-refusal", "levenshtein",
          "model-graded-closedqa")  # fmt: skip


def is_promptfoo(path: Path, spec: Cases) -> bool:
    """Whether a file looks like promptfoo's: a config with tests, a list of tests, or their CSV."""
    name = path.name.lower()
    if name.endswith((".yaml", ".yml", ".json")):
        try:
            data = read_theirs(path)
        except DataError:
            if spec.format is not None:
                raise
            return False  # whoever reads it as our own says better what is wrong
        if isinstance(data, Mapping):
            return "tests" in data or "scenarios" in data
        return (
            isinstance(data, list)
            and bool(data)
            and all(
                isinstance(test, Mapping) and set(test) <= _KEYS and set(test) & {"vars", "assert"}
                for test in data
            )
        )
    if name.endswith(".csv"):
        head = next(csv.reader(io.StringIO(_text(path))), [])
        return any(column.startswith("__expected") for column in head)
    return spec.format == "promptfoo" and name.endswith((".jsonl", ".ndjson"))


def read_promptfoo(path: Path, spec: Cases) -> tuple[list[Case], tuple[str, ...]]:
    """Every test as a case, and what was not carried over. Raises DataError.

    A list among the `vars` makes a case of each of its values, and of each combination where there are
    several, as it does there. The input is the variable that `spec.input` names, the only one, or all of them
    as JSON; a variant's `template` may put them together as its prompt does. Cases are named by their number.
    """
    remarks: Counter[str] = Counter()
    default: Mapping[str, Any] = {}
    if path.suffix.lower() == ".csv":
        tests = list(_csv(_text(path)))
    else:
        data = read_theirs(path)
        if isinstance(data, Mapping):
            default = data.get("defaultTest") or {}
            if isinstance(default, str):
                default = read_theirs(path.parent / default.removeprefix("file://"))
            if "scenarios" in data:
                remarks["scenarios are not carried over"] += 1
            tests = list(_tests(data.get("tests") or [], path.parent))
        else:
            tests = list(_tests(data, path.parent))
    cases: list[Case] = []
    for number, test in enumerate(tests, 1):
        for index, values in enumerate(_combinations(test, default, path.parent)):
            name = str(number) if index == 0 else f"{number}.{index + 1}"
            cases.append(_case(name, test, default, values, spec, path, remarks))
    said = tuple(f"{remark} ({count} times)" if count > 1 else remark for remark, count in remarks.items())
    return cases, said


def _text(path: Path) -> str:
    raw, _ = read_bytes(path, what=WHAT)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{WHAT} {path} are not UTF-8 text, see line {line}. Save the file as UTF-8"
        ) from None


def _tests(listed: Any, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Tests where they stand, or in the files they are named by."""
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list):
        raise DataError(f"{WHAT}: `tests` is {type(listed).__name__}. Accepted: a list of tests, or file://…")
    for test in listed:
        if isinstance(test, Mapping):
            yield test
            continue
        named = str(test).removeprefix("file://")
        if "://" in named or not named.lower().endswith((".yaml", ".yml", ".json", ".csv", ".jsonl")):
            raise DataError(
                f"{WHAT}: tests from {test} cannot be read. Accepted: YAML, JSON or CSV files beside the config"
            )
        matching = sorted(folder.glob(named)) or [folder / named]
        for path in matching:
            if path.suffix.lower() == ".csv":
                yield from _csv(_text(path))
            elif path.suffix.lower() == ".jsonl":
                yield from (orjson.loads(line) for line in _text(path).splitlines() if line.strip())
            else:
                data = read_theirs(path)
                yield from _tests(data if isinstance(data, list) else [data], path.parent)


def _csv(text: str) -> Iterator[Mapping[str, Any]]:
    for row in csv.DictReader(io.StringIO(text, newline="")):
        test: dict[str, Any] = {"vars": {}, "assert": [], "metadata": {}}
        for column, cell in row.items():
            if column is None or cell is None:
                continue
            if column.startswith("__expected"):
                if cell.strip():
                    test["assert"].append(_short(cell.strip()))
            elif column == "__description":
                test["description"] = cell
            elif column == "__threshold":
                test["threshold"] = float(cell) if cell.strip() else None
            elif column == "__metric":
                continue
            elif column.startswith("__metadata:"):
                test["metadata"][column.removeprefix("__metadata:").removesuffix("[]")] = cell
            elif not column.startswith("__"):
                test["vars"][column] = cell
        yield test


def _short(cell: str) -> dict[str, Any]:
    """An expectation as it stands in a cell: `contains:refund`, `similar(0.8): …`, or the very text."""
    head, colon, value = cell.partition(":")
    kind, bracket, inside = head.strip().partition("(")
    bare = kind.strip().removeprefix("not-")
    if cell in _SHORT or cell.removeprefix("not-") in _SHORT:
        return {"type": cell}
    if colon and bare in _SHORT:
        assertion: dict[str, Any] = {"type": kind.strip(), "value": value.strip()}
        if bracket:
            assertion["threshold"] = float(inside.rstrip(") "))
        if bare in ("cost", "latency"):
            assertion["threshold"] = float(value)
        return assertion
    if head.strip() in ("grade", "fn", "eval"):
        return {"type": "llm-rubric" if head.strip() == "grade" else "javascript", "value": value.strip()}
    return {"type": "equals", "value": cell}


def _combinations(
    test: Mapping[str, Any], default: Mapping[str, Any], folder: Path
) -> Iterator[dict[str, Any]]:
    values = dict(default.get("vars") or {}) | dict(test.get("vars") or {})
    named = {name: _value(value, folder) for name, value in values.items()}
    several = {name: value for name, value in named.items() if isinstance(value, list)}
    options = test.get("options") or default.get("options") or {}
    if not several or options.get("disableVarExpansion"):
        yield named
        return
    for combination in itertools.product(*several.values()):
        yield named | dict(zip(several, combination, strict=True))


def _value(value: Any, folder: Path) -> Any:
    if not (isinstance(value, str) and value.startswith("file://")):
        return value
    path = folder / value.removeprefix("file://")
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return read_theirs(path)
    if path.suffix.lower() in (".js", ".py", ".mjs", ".ts"):
        raise DataError(
            f"{WHAT}: the variable {value} is a program, which is not run here. Write its value down"
        )
    return _text(path)


def _case(
    name: str,
    test: Mapping[str, Any],
    default: Mapping[str, Any],
    values: dict[str, Any],
    spec: Cases,
    path: Path,
    remarks: Counter[str],
) -> Case:
    evaluators: list[Mapping[str, Any]] = []
    weights: list[float] = []
    for assertion in _flat(
        [*(default.get("assert") or []), *(test.get("assert") or [])], path.parent, remarks
    ):
        filled = _filled(assertion, values)
        evaluator, remark = translate(filled, path.parent)
        if remark:
            remarks[remark] += 1
        if evaluator is None or any(True for _ in evaluator_faults([evaluator])):
            if evaluator is not None:
                remarks[
                    f"an assertion of the type {assertion.get('type')} with a value that is none is left out"
                ] += 1
            continue
        evaluators.append(freeze({**evaluator, "name": f"{len(evaluators) + 1} {assertion.get('type')}"}))
        weights.append(float(assertion.get("weight", 1.0)))
    for key, what in (
        ("assertScoringFunction", "scoring functions"),
        ("provider", "providers of single tests"),
    ):
        if key in test or key in default:
            remarks[f"{what} are not carried over"] += 1
    options = {**(default.get("options") or {}), **(test.get("options") or {})}
    for key in ("transform", "postprocess", "transformVars"):
        if key in options:
            remarks[f"`options.{key}` is not carried over"] += 1
    threshold = test.get("threshold", default.get("threshold"))
    metadata = {**(default.get("metadata") or {}), **(test.get("metadata") or {})}
    return Case(
        id=str(metadata.get("id") or name),
        input=_input(values, spec),
        values=MappingProxyType({key: freeze(value) for key, value in values.items()}),
        context=(values["context"],) if isinstance(values.get("context"), str) else (),
        description=str(test.get("description") or ""),
        tags=tuple(
            f"{key}={value}"
            for key, value in metadata.items()
            if isinstance(value, str | int) and key != "id"
        ),
        evaluators=tuple(evaluators),
        weights=tuple(weights),
        threshold=float(threshold) if isinstance(threshold, int | float) else None,
    )


def _flat(listed: list[Any], folder: Path, remarks: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """Assertions, those of sets one by one."""
    for each in listed:
        if isinstance(each, str) and each.startswith("file://"):
            inner = read_theirs(folder / each.removeprefix("file://"))
            yield from _flat(inner if isinstance(inner, list) else [inner], folder, remarks)
        elif isinstance(each, Mapping) and each.get("type") == "assert-set":
            if each.get("threshold") is not None:
                remarks["the threshold of an assert-set is not carried over: all of it must hold"] += 1
            yield from _flat(list(each.get("assert") or []), folder, remarks)
        elif isinstance(each, Mapping):
            yield each
        else:
            remarks["an assertion that is no mapping is left out"] += 1


def _filled(assertion: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The assertion with the case's values in its own."""
    value = assertion.get("value")
    if isinstance(value, str) and "{{" in value and set(fields(value)) <= set(values):
        try:
            return {**assertion, "value": render(value, values)}
        except DataError:
            return assertion
    return assertion


def _input(values: Mapping[str, Any], spec: Cases) -> str:
    if isinstance(values.get(spec.input), str):
        return str(values[spec.input])
    if len(values) == 1 and isinstance(only := next(iter(values.values())), str) and only.strip():
        return only
    return orjson.dumps(dict(values), option=orjson.OPT_INDENT_2, default=dict).decode() if values else "{}"
