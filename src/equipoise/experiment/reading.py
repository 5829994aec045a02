"""From a file to an experiment: everything that is wrong is reported at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from equipoise.errors import DefinitionError, Fault, dotted, nearest
from equipoise.experiment.building import build
from equipoise.experiment.consistency import cautions, inconsistencies
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document, read_document, read_text
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form
from equipoise.experiment.identity import canonical, digest

__all__ = [
    "DefinitionWarning",
    "Reading",
    "json_schema",
    "load_experiment",
    "read_canonical",
    "read_definition",
]


class DefinitionWarning(UserWarning):
    """Something in a definition that is allowed and probably not meant."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An experiment and what gave pause while reading it."""

    experiment: Experiment
    warnings: tuple[Fault, ...] = ()


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment file; what gives pause is raised as a DefinitionWarning.

    Raises DefinitionError with every fault found. Relative paths in the file start from its folder.
    """
    reading = read_definition(path)
    for caution in reading.warnings:
        warnings.warn(str(caution), DefinitionWarning, stacklevel=2)
    return reading.experiment


def read_definition(path: str | Path) -> Reading:
    """Read an experiment file into a value and its warnings; DefinitionError with all faults."""
    path = Path(path)
    try:
        text = read_text(path, what="the definition")
    except ValueError as error:
        raise DefinitionError(
            [Fault(str(error), next="`equipoise init` writes a folder to start from")]
        ) from None
    return _read(read_document(text, str(path)), path.parent)


def read_canonical(form: Mapping[str, Any], *, origin: str = "the log") -> Experiment:
    """The experiment of a canonical form, as kept in the log."""
    return _read(Document(dict(form), origin), None).experiment


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of a definition (draft 2020-12), for editors and other tools."""
    schema = Form.model_json_schema(by_alias=True)
    # The name that version 0.1.0 had for the list is read as ever.
    offline = schema["$defs"]["OfflineForm"]["properties"]
    offline["checks"] = offline["evaluators"] | {"deprecated": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Equipoise experiment",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _read(document: Document, folder: Path | None) -> Reading:
    faults = list(document.faults)
    if not isinstance(document.data, dict):
        raise DefinitionError(
            [*faults, document.fault((), "a definition is a mapping of keys to values", accepted=_keys(()))]
        )
    form, wrong, touched = _form(document)
    faults += wrong
    if form is not None:
        draft, unreadable = build(form, document, folder, dry=True)
        declared = not any(path[:1] == ("changes",) for path in touched)
        found = [*unreadable]
        if folder is not None:
            # What is kept in a log was accepted by the rules of its day; stricter ones do not undo it.
            found += inconsistencies(form, document, draft.variants, declared=declared)
        known = {fault.field for fault in faults}
        # What is wrong only because a faulty value was set aside is not reported a second time.
        faults += [
            fault
            for path, fault in found
            if fault.field not in known
            and not any(_related(document.original(path), other) for other in touched)
        ]
    if faults or form is None:
        order = sorted(set(faults), key=lambda fault: (fault.line or 0, fault.field or "", str(fault)))
        raise DefinitionError(order)
    experiment, prompt_faults = build(form, document, folder)
    if prompt_faults:
        raise DefinitionError(fault for _, fault in prompt_faults)
    written = canonical(experiment)
    try:
        experiment = replace(experiment, digest=digest(written))
    except ValueError as error:
        raise DefinitionError(
            [document.fault((), f"something here has no exact JSON form: {error}", next="write it as text")]
        ) from None
    return Reading(experiment, tuple(cautions(experiment, document, folder)))


def _related(path: FieldPath, other: FieldPath) -> bool:
    shared = min(len(path), len(other))
    return path[:shared] == other[:shared] and shared > 0


_PLACEHOLDERS: dict[str, Any] = {
    "name": "unnamed",
    "hypothesis": "unsaid",
    "unit": {"type": "user"},
    "variants": {"control": {}, "treatment": {}},
    "metrics": {
        "unnamed": {"priority": "primary", "kind": "mean", "of": "outcome.unnamed", "better": "higher"}
    },
}
"""What stands in for a section that must be there and cannot be read, so that the others can be."""
_LEANING = {"variants": ("allocation",), "metrics": ("watches", "critical_segments", "source")}
"""Sections that speak of the parts of another by name: unheard once a part of that was set aside."""
_RULED = ("verdict", "metrics", "critical_segments")
"""What the verdict rule is judged by as a whole: without a condition or a guardrail it would be another rule."""


class _Aside:
    """Stands where a wrong value was, so that what follows it in a list keeps its place."""


_ASIDE = _Aside()


def _form(document: Document) -> tuple[Form | None, list[Fault], list[FieldPath]]:
    """Validate; where a value is wrong, set it aside and go on, so that later checks can run too."""
    marked = _copy(document.data)
    faults: list[Fault] = []
    touched: list[FieldPath] = []
    aside: set[FieldPath] = set()
    known = {fault.field for fault in document.faults}
    for _ in range(25):
        try:
            form = Form.model_validate(_present(marked))
        except ValidationError as error:
            details = {
                _real_path(marked, detail): detail for detail in reversed(error.errors(include_url=False))
            }
            before = len(aside)
            for path, detail in reversed(details.items()):
                # A section that lacks only what was set aside is not at fault itself.
                ours = path in aside or (
                    detail["type"] == "too_short" and any(each[:-1] == path for each in aside)
                )
                if not ours and path not in touched:
                    touched.append(path)
                    if dotted(path) not in known:
                        faults.append(_translate(document, path, dict(detail)))
                goes = path[:-1] if detail["type"] == "missing" and len(path) > 1 else path
                if _set_aside(marked, goes):
                    aside.add(goes)
            if len(aside) == before:
                return None, faults, touched
        else:
            _keep_places(document, marked, ())
            touched += [(each,) for path in aside if len(path) < 3 for each in _LEANING.get(str(path[0]), ())]
            touched += [("verdict",)] if any(path[0] in _RULED for path in aside) else []
            return form, faults, touched
    return None, faults, touched


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _present(value: Any) -> Any:
    """The data without what was set aside."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not _ASIDE}
    if isinstance(value, list):
        return [_present(item) for item in value if item is not _ASIDE]
    return value


def _keep_places(document: Document, value: Any, path: FieldPath) -> None:
    """Tell the document where the remaining items of each list stand in the file."""
    if isinstance(value, dict):
        for key, item in value.items():
            _keep_places(document, item, (*path, key))
    elif isinstance(value, list):
        left = [index for index, item in enumerate(value) if item is not _ASIDE]
        if len(left) < len(value):
            document.kept[path] = left
        for index in left:
            _keep_places(document, value[index], (*path, index))


def _real_path(data: Any, detail: Any) -> FieldPath:
    """The part of pydantic's location that exists in the file (unions add steps of their own)."""
    path: list[str | int] = []
    location: tuple[int | str, ...] = detail["loc"]
    for index, step in enumerate(location):
        if isinstance(data, dict) and isinstance(step, str) and data.get(step, _ASIDE) is not _ASIDE:
            data = data[step]
            path.append(step)
        elif isinstance(data, list) and isinstance(step, int):
            place = [at for at, item in enumerate(data) if item is not _ASIDE][step]
            data = data[place]
            path.append(place)
        else:
            if detail["type"] == "missing" and index == len(location) - 1 and isinstance(data, dict):
                path.append(step)
            break
    return tuple(path)


def _set_aside(data: Any, path: FieldPath) -> bool:
    """Put a mark in place of what stands at a path; False where nothing can be taken away."""
    if not path or (len(path) == 1 and path[0] not in data and path[0] not in _PLACEHOLDERS):
        return False
    for step in path[:-1]:
        data = data[step]
        if data is _ASIDE:
            return True
    data[path[-1]] = _PLACEHOLDERS.get(str(path[0]), _ASIDE) if len(path) == 1 else _ASIDE
    return True


def _translate(document: Document, path: FieldPath, detail: dict[str, Any]) -> Fault:
    kind = detail["type"]
    context = detail.get("ctx", {})
    last = path[-1] if path else ""
    if kind == "extra_forbidden":
        accepted = _accepted_keys(path[:-1])
        # `{system: Be brief, be kind}` has two keys, the second without a value.
        cut = detail.get("input") is None and " " in str(last)
        meant = "a text with a comma inside {…} stands in quotes" if cut else nearest(str(last), accepted)
        return document.fault(path, f"unknown key '{last}'", accepted=", ".join(accepted), next=meant)
    if kind == "missing":
        return document.fault(path, f"the key '{last}' is missing", next=_HELP.get(str(last)))
    value = _show(detail.get("input"))
    if path[:1] == ("inline",) and len(path) == 2:
        return document.fault(
            path,
            f"{_show(document.data['inline'][path[1]])} is not an inline check",
            accepted="pii, toxicity, length, empty, or {json_schema: FILE}",
        )
    if kind == "literal_error":
        choices = _choices(context.get("expected", ""))
        return document.fault(
            path,
            f"{value} is not one of the values this takes",
            accepted=", ".join(choices),
            next=nearest(str(detail.get("input")), choices),
        )
    if kind == "amount":
        problem = f"{value} cannot be read here"
        return document.fault(path, problem, accepted=context["accepted"], next=context.get("next"))
    if kind == "string_pattern_mismatch" and "A-Za-z0-9]" in str(context.get("pattern")):
        return document.fault(
            path,
            f"{value} is not a name",
            accepted="letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    if kind == "string_pattern_mismatch":
        return document.fault(
            path, f"{value} is not a condition", accepted="ATTRIBUTE=VALUE, such as tier=enterprise"
        )
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return document.fault(path, f"{value} is out of range", accepted=f"{word} {context[key]:g}")
    if kind in _SIZES:
        word, key = _SIZES[kind]
        return document.fault(
            path,
            f"too {'few' if kind == 'too_short' else 'many'}: {context['actual_length']}",
            accepted=f"{word} {context[key]}",
            next=_HELP.get(str(last)),
        )
    return document.fault(path, f"{value}: {_TYPES.get(kind, str(detail['msg']).lower())}")


_HELP = {
    "hypothesis": "write in one sentence what you expect and why",
    "unit": "say what is randomised: request, session, conversation, user, cluster or slot",
    "variants": "list control and at least one treatment",
    "metrics": "name at least the primary metric",
}
_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_SIZES = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
_TYPES = {
    "string_type": "text is expected here",
    "int_type": "a whole number is expected here",
    "int_from_float": "a whole number is expected here",
    "float_type": "a number is expected here",
    "bool_type": "true or false is expected here",
    "dict_type": "a mapping of keys to values is expected here",
    "list_type": "a list is expected here",
    "model_type": "a mapping of keys to values is expected here",
    "string_too_short": "this must not be empty",
    "string_too_long": "a name has at most 100 characters",
    "finite_number": "a finite number is expected here",
}


def _choices(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",") if part.strip()]


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def _keys(path: FieldPath) -> str:
    return ", ".join(_accepted_keys(path))


def _accepted_keys(path: FieldPath) -> list[str]:
    """The keys that a mapping at this path may have, from the published schema."""
    schema = json_schema()
    here: dict[str, Any] = schema
    for step in path:
        here = _object(schema, here)
        if isinstance(step, int):
            here = here.get("items", {})
        else:
            named = here.get("patternProperties", {})
            here = (
                here.get("properties", {}).get(step)
                or next(iter(named.values()), None)
                or here.get("additionalProperties", {})
            )
    return sorted(_object(schema, here).get("properties", {}))


def _object(schema: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in here:
            structured = [option for option in here["anyOf"] if "$ref" in option or "properties" in option]
            if not structured:
                return here
            here = structured[0]
        else:
            return here
