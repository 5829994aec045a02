"""`equipoise register FILE`: freeze the definition and its plan in the log, and open it for traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.output import AsJson, LogPlace, caution, emit

__all__ = ["register"]


def register(
    file: Annotated[Path, typer.Argument(help="The experiment file.")],
    reason: Annotated[
        str | None,
        typer.Option(help="Why to go on although the gate was not passed or a stage is skipped; recorded."),
    ] = None,
    log: LogPlace = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the definition, its plan and its gate result into the log."""
    from equipoise import settings
    from equipoise.conduct.register import register as carry_out
    from equipoise.design.notes import no_look_comes
    from equipoise.events.opening import open_log
    from equipoise.experiment.reading import read_definition

    reading = read_definition(file)
    where = log or settings.default_log()
    if "://" not in where and not Path(where).exists():
        # On paper first: what is refused does not leave an empty log behind.
        carry_out(open_log("memory:"), reading.experiment, by=settings.user(), reason=reason)
    record = open_log(where)
    try:
        done = carry_out(record, reading.experiment, by=settings.user(), reason=reason)
    finally:
        record.close()
    if as_json:
        emit(
            {
                "experiment": done.experiment,
                "stage": done.stage,
                "already": done.already,
                "overridden": list(done.overridden),
                "plan": done.plan.to_dict(),
                "warnings": [str(warning) for warning in reading.warnings],
            }
        )
        return
    caution(reading.warnings)
    if done.already:
        print(f"{done.experiment} was registered before; nothing changed (stage {done.stage})")
        return
    print(f"{done.experiment} is registered, stage {done.stage}")
    for block in done.overridden:
        print(f"  in spite of: {block}; the reason is recorded")
    never = no_look_comes(reading.experiment, done.plan.sizes)
    if never is not None:
        print(f"Note: {never}.")
    if reading.experiment.source is None:
        print(f"Serve it: equipoise serve. Where it stands: equipoise rollout {reading.experiment.name}")
