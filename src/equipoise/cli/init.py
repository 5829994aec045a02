"""`equipoise init`: a commented experiment folder to start from."""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.output import AsJson, emit
from equipoise.errors import UsageError

__all__ = ["init"]


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not hold anything yet.")] = Path(
        "experiment"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented experiment folder that passes as it stands."""
    from equipoise.experiment.reading import json_schema, read_definition

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not an empty folder, and nothing of yours is overwritten. Name another"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and moved there whole: an interruption leaves no half of a folder.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".equipoise-") as scratch:
            made = Path(scratch) / "folder"
            with as_file(files("equipoise.cli") / "starter") as starter:
                shutil.copytree(starter, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            (made / "equipoise.schema.json").write_text(
                json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8"
            )
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from None
    experiment = read_definition(folder / "experiment.yaml").experiment
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if as_json:
        emit({"folder": str(folder), "files": written, "experiment": experiment.identity})
        return
    print(f"{experiment.identity} is in {folder}/: {', '.join(written)}")
    print(f"Read {folder}/experiment.yaml, make it yours, then: equipoise plan {folder}/experiment.yaml")
