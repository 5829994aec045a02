"""`equipoise schema`: the JSON Schema of a definition, for editors and other tools."""

from __future__ import annotations

from equipoise.cli.output import AsJson, emit

__all__ = ["schema"]


def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of an experiment file (it is JSON with or without --json)."""
    from equipoise.experiment.reading import json_schema

    emit(json_schema())
