"""`equipoise import KIND FILE`: a definition out of what another tool reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from equipoise.cli.output import AsJson, emit, note

__all__ = ["import_definition"]


def import_definition(
    kind: Annotated[Literal["promptfoo"], typer.Argument(help="What the file is of: promptfoo.")],
    file: Annotated[Path, typer.Argument(help="The config to read.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the definition (default: a folder named after it).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a definition out of a promptfoo config, and say plainly what could not be carried over."""
    from equipoise.arena.importing import import_promptfoo
    from equipoise.errors import UsageError
    from equipoise.experiment.reading import read_definition
    from equipoise.files import write_whole

    draft = import_promptfoo(file, cases_path=file.name)
    folder = out or Path(draft.name)
    target = folder / "experiment.yaml"
    if target.exists() and not force:
        raise UsageError(
            f"{target} is there already; name another folder with --out, or write over it with --force"
        )
    relative = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    made = import_promptfoo(file, cases_path=relative)
    for name, text in made.files.items():
        write_whole(folder / name, text)
    write_whole(target, made.definition)
    warnings = [str(each) for each in read_definition(target).warnings]
    if as_json:
        emit(
            {
                "definition": str(target),
                "kind": kind,
                "variants": list(made.variants),
                "cases": made.cases,
                "files": [str(folder / name) for name in made.files],
                "not_carried_over": list(made.remarks),
                "warnings": warnings,
            }
        )
        return
    print(
        f"Wrote {target}: {len(made.variants)} variants ({', '.join(made.variants)}), {made.cases} cases in {relative}."
    )
    if made.remarks:
        print("\nNot carried over, or to be looked at:")
        print("\n".join(f"- {remark}" for remark in made.remarks))
    for warning in warnings:
        note(f"warning: {warning}")
    print(f"\nNext: equipoise arena {target} --dry-run")
