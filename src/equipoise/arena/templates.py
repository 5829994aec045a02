"""Filling a template: `{{ name }}` stands for a value, and nothing is ever evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from equipoise.errors import DataError, nearest

__all__ = ["fields", "render"]

_PLACE = re.compile(r"\{\{-?\s*([A-Za-z_][\w.-]*)\s*-?\}\}")
_OTHER = re.compile(r"\{%|\{\{(?!-?\s*[A-Za-z_][\w.-]*\s*-?\}\})")


def fields(template: str) -> tuple[str, ...]:
    """The names a template asks for, in the order in which they first stand.

    >>> fields("Dear {{ user.name }}, {{question}} {{ user.name }}")
    ('user.name', 'question')
    """
    return tuple(dict.fromkeys(_PLACE.findall(template)))


def render(template: str, values: Mapping[str, Any]) -> str:
    """The template with its values; what is not a text is written as JSON.

    Raises DataError for a name that has no value, and for anything of Jinja or Nunjucks beyond a plain name:
    blocks, filters, expressions.

    >>> render("Translate to {{ language }}: {{ text }}", {"language": "French", "text": "{{ no }}"})
    'Translate to French: {{ no }}'
    """
    if other := _OTHER.search(template):
        shown = template[other.start() : other.start() + 30]
        raise DataError(
            f"a template holds '{shown}', which is more than the name of a value. Accepted: {{{{ name }}}} or "
            "{{ name.inner }}; write the rest out, or build the prompt in your application"
        )
    return _PLACE.sub(lambda place: _text(_find(place[1], values)), template)


def _find(name: str, values: Mapping[str, Any]) -> Any:
    if name in values:
        return values[name]
    found: Any = values
    for step in name.split("."):
        if not isinstance(found, Mapping) or step not in found:
            near = nearest(name, values)
            raise DataError(
                f"a template asks for '{name}', and the case has no such value. It has: "
                f"{', '.join(sorted(values)) or 'nothing'}" + (f"; {near}" if near else "")
            )
        found = found[step]
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
