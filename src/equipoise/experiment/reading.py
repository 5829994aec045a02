"""From a file to an experiment: everything that is wrong is reported at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from equipoise.errors import DefinitionError, Fault, nearest
from equipoise.experiment.building import build
from equipoise.experiment.consistency import cautions, inconsistencies
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document, dotted, read_document, read_text
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
        found = [*inconsistencies(form, document), *_unreadable(form, document, folder)]
        # What is wrong only because a faulty value was set aside is not reported a second time.
        faults += [fault for path, fault in found if not any(_related(path, other) for other in touched)]
    if faults or form is None:
        raise DefinitionError(sorted(set(faults), key=lambda fault: (fault.line or 0, fault.field or "")))
    experiment, prompt_faults = build(form, document, folder)
    if prompt_faults:
        raise DefinitionError(prompt_faults)
    written = canonical(experiment)
    try:
        experiment = replace(experiment, digest=digest(written))
    except ValueError as error:
        raise DefinitionError(
            [document.fault((), f"a number here has no exact JSON form: {error}", next="write it as text")]
        ) from None
    return Reading(experiment, tuple(cautions(experiment, document)))


def _unreadable(form: Form, document: Document, folder: Path | None) -> list[tuple[FieldPath, Fault]]:
    _, faults = build(form, document, folder, dry=True)
    return [(_path_of(fault), fault) for fault in faults]


def _path_of(fault: Fault) -> FieldPath:
    return tuple((fault.field or "").split("."))


def _related(path: FieldPath, other: FieldPath) -> bool:
    shared = min(len(path), len(other))
    return path[:shared] == other[:shared] and shared > 0


_PLACEHOLDERS: dict[FieldPath, Any] = {
    ("name",): "unnamed",
    ("hypothesis",): "unsaid",
    ("unit",): {"type": "user"},
}


def _form(document: Document) -> tuple[Form | None, list[Fault], list[FieldPath]]:
    """Validate; where a value is wrong, set it aside and go on, so that later checks can run too."""
    data = _copy(document.data)
    faults: list[Fault] = []
    touched: list[FieldPath] = []
    known = {fault.field for fault in document.faults}
    for _ in range(25):
        try:
            return Form.model_validate(data), faults, touched
        except ValidationError as error:
            progress = False
            seen: set[FieldPath] = set()
            for detail in error.errors(include_url=False):
                path = _real_path(data, detail["loc"], missing=detail["type"] == "missing")
                if path in seen:
                    continue
                seen.add(path)
                if path not in touched:
                    touched.append(path)
                    if dotted(path) not in known:
                        faults.append(_translate(document, path, dict(detail)))
                progress |= _set_aside(data, path, missing=detail["type"] == "missing")
            if not progress:
                return None, faults, touched
    return None, faults, touched


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _real_path(data: Any, location: tuple[int | str, ...], *, missing: bool) -> FieldPath:
    """The part of pydantic's location that exists in the file (unions add steps of their own)."""
    path: list[str | int] = []
    for index, step in enumerate(location):
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        ):
            data = data[step]
        elif missing and index == len(location) - 1 and isinstance(data, dict):
            path.append(step)
            break
        else:
            break
        path.append(step)
    return tuple(path)


def _set_aside(data: Any, path: FieldPath, *, missing: bool) -> bool:
    if missing:
        if path not in _PLACEHOLDERS:
            # A section without a key it needs cannot be kept; its parent goes.
            path = path[:-1]
            if not path:
                return False
        else:
            data[path[0]] = _PLACEHOLDERS[path]
            return True
    if not path:
        return False
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    try:
        del place[path[-1]]
    except (KeyError, IndexError):
        return False
    return True


def _translate(document: Document, path: FieldPath, detail: dict[str, Any]) -> Fault:
    kind = detail["type"]
    context = detail.get("ctx", {})
    last = path[-1] if path else ""
    if kind == "extra_forbidden":
        accepted = _accepted_keys(path[:-1])
        return document.fault(
            path, f"unknown key '{last}'", accepted=", ".join(accepted), next=nearest(str(last), accepted)
        )
    if kind == "missing":
        return document.fault(path, f"the key '{last}' is missing", next=_HELP.get(str(last)))
    value = _show(detail.get("input"))
    if kind == "literal_error":
        choices = _choices(context.get("expected", ""))
        return document.fault(
            path,
            f"{value} is not one of the values this takes",
            accepted=", ".join(choices),
            next=nearest(str(detail.get("input")), choices),
        )
    if kind == "amount":
        return document.fault(path, f"{value} cannot be read here", accepted=context["accepted"])
    if kind == "string_pattern_mismatch" and "A-Za-z0-9]" in str(context.get("pattern")):
        return document.fault(
            path,
            f"{value} is not a name",
            accepted="letters, digits, '.', '_' and '-', starting with a letter or digit",
        )
    return document.fault(path, f"{value}: {_TYPES.get(kind, str(detail['msg']).lower())}")


_HELP = {
    "hypothesis": "write in one sentence what you expect and why",
    "unit": "say what is randomised: request, session, conversation, user, cluster or slot",
    "variants": "list control and at least one treatment",
    "metrics": "name at least the primary metric",
}
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
