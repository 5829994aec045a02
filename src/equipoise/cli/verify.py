"""`equipoise verify NAME`: every recorded look and verdict, computed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, LogPlace, emit, moment, progress, rows

if TYPE_CHECKING:
    from equipoise.conduct.verify import Checked

__all__ = ["verify"]

_MOST = 20


def verify(
    name: Annotated[str, typer.Argument(help="The experiment's name.")],
    folder: Annotated[
        Path, typer.Option(help="Where the table of `source:` is looked for, if the definition names one.")
    ] = Path(),
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Compute every recorded look and verdict again: the same, or what differs, field by field."""
    from equipoise import settings
    from equipoise.conduct.verify import verify as check
    from equipoise.events.opening import open_log

    record = open_log(log or settings.default_log(), create=False)
    try:
        with progress("computing again") as told:
            found = check(record, name, folder=str(folder), on_progress=told, variable=settings.variable)
    finally:
        record.close()
    if as_json:
        emit(found.to_dict())
    elif not found.looks:
        print(f"{found.experiment} has no recorded look; there is nothing to verify")
    else:
        print(found.experiment)
        print(rows(["look", "taken", "verdict", "answer", ""], [_line(each) for each in found.looks]))
        for each in found.looks:
            if each.answer == "differs" and each.differences:
                print(f"\nlook {each.number}, recorded and found:")
                for difference in each.differences[:_MOST]:
                    print(
                        f"  {difference.field}: {_short(difference.recorded)} -> {_short(difference.found)}"
                    )
                if len(each.differences) > _MOST:
                    print(f"  and {len(each.differences) - _MOST:,} more; --json has them all")
    raise typer.Exit(found.exit_code)


def _line(each: Checked) -> list[str]:
    taken = moment(each.happened)
    return [str(each.number), taken, each.verdict or "–", each.answer, each.says]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
