"""promptfoo's assertions as our evaluators, and those for which there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Translated", "translate"]

Translated = tuple[dict[str, Any] | None, str | None]
"""An evaluator, and a remark on what was not carried over; either may be None."""

_BARE = {"contains-json": "contains_json"}
_TEXT = {
    "equals": "equals",
    "contains": "contains",
    "icontains": "contains",
    "starts-with": "starts_with",
    "regex": "regex",
}
_LISTS = {
    "contains-any": "contains_any",
    "icontains-any": "contains_any",
    "contains-all": "contains_all",
    "icontains-all": "contains_all",
}
_JUDGED = {"llm-rubric", "model-graded-closedqa", "answer-relevance", "context-relevance", "factuality"}
_WORDED = {
    "answer-relevance": "The answer addresses what was asked.",
    "context-relevance": "The context is about what was asked.",
}
_CASE = "`contains` and its kin ignore case here"


def translate(assertion: Mapping[str, Any], folder: Path) -> Translated:
    """One assertion as an evaluator of ours.

    >>> translate({"type": "icontains", "value": "refund"}, Path())[0]
    {'contains': 'refund'}
    >>> translate({"type": "javascript", "value": "output.length < 9"}, Path())
    (None, 'assertions of the type javascript are not carried over')
    """
    kind = str(assertion.get("type", ""))
    negated = kind.startswith("not-")
    plain = kind.removeprefix("not-")
    evaluator, remark = _plain(plain, assertion, folder)
    if evaluator is None:
        return None, remark or f"assertions of the type {kind} are not carried over"
    if negated:
        evaluator["negated"] = True
    return evaluator, remark


def _plain(kind: str, assertion: Mapping[str, Any], folder: Path) -> Translated:
    value = assertion.get("value")
    threshold = assertion.get("threshold")
    if kind in _TEXT and isinstance(value, str | int | float) and not isinstance(value, bool):
        return {_TEXT[kind]: str(value)}, _CASE if kind in ("contains", "starts-with") else None
    if kind in _LISTS and (listed := _texts(value)):
        return {_LISTS[kind]: listed}, _CASE if kind.startswith("contains") else None
    if kind in _BARE:
        return {_BARE[kind]: True}, None
    match kind:
        case "is-json":
            return _is_json(value, folder)
        case "cost" if _positive(threshold):
            return {"cost": threshold}, None
        case "latency" if _positive(threshold):
            return {"latency": float(threshold or 0) / 1000}, None
        case "is-refusal":
            return {"refusal": "expected"}, None
        case "bleu":
            return {"bleu": True, "threshold": threshold if _positive(threshold) else 0.5}, None
        case "rouge-n":
            return {"rouge": "rouge1", "threshold": threshold if _positive(threshold) else 0.75}, None
        case "g-eval" if isinstance(value, str):
            bar = 1 + 4 * float(threshold if _positive(threshold) else 0.7)  # type: ignore[arg-type]
            return {"g_eval": value, "threshold": bar}, "g-eval is on a scale from 1 to 5 here"
        case "context-faithfulness":
            return {"faithfulness": True, "threshold": threshold if _positive(threshold) else 0.0}, None
        case "similar":
            return (
                None,
                "assertions of the type similar need an embedding model: declare {embedding: {model: …}} yourself",
            )
        case "python" if isinstance(value, str):
            return _python(value)
    if kind in _JUDGED:
        return _judged(kind, value)
    return None, None


def _judged(kind: str, value: Any) -> Translated:
    if kind == "factuality" and isinstance(value, str):
        return {"meets": f"The answer agrees in its facts with this: {value}"}, None
    said = value if isinstance(value, str) and value.strip() else _WORDED.get(kind)
    return ({"meets": said}, None) if said else (None, None)


def _python(value: str) -> Translated:
    if value.startswith("file://"):
        return (
            None,
            "python assertions in files are not carried over: promptfoo calls get_assert(output, context)",
        )
    if "\n" in value.strip():
        return None, "python assertions of several lines are not carried over"
    # promptfoo calls the answer `output`.
    return {"python": f"(lambda output: {value.strip()})(answer)"}, None


def _is_json(value: Any, folder: Path) -> Translated:
    if value is None:
        return {"json_valid": True}, None
    if isinstance(value, Mapping):
        return {"json_schema": dict(value)}, None
    if isinstance(value, str) and value.startswith("file://"):
        return {"json_schema": str(folder / value.removeprefix("file://"))}, None
    if isinstance(value, str):
        try:
            schema = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None, "a schema of is-json that is not JSON is not carried over"
        return {"json_schema": schema}, None
    return None, None


def _texts(value: Any) -> list[str]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list):
        return []
    return [str(each).strip() for each in listed if str(each).strip()]


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
