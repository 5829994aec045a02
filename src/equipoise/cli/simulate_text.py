"""A rehearsal as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from equipoise.cli.output import rows

if TYPE_CHECKING:
    from equipoise.conduct.rehearsal.found import Rehearsal

__all__ = ["rehearsal_text"]


def rehearsal_text(found: Rehearsal) -> str:
    """What ends how often, what the promises come to, what is lost, what was left out."""
    pace = (
        "a look after each"
        if found.every is None
        else f"{found.per_day:,.0f} {found.counted} a day, looked at after"
    )
    parts = [
        found.experiment,
        f"The design, carried out {found.runs:,} times for each line on {found.population};",
        f"{pace} {found.per_look:,} {found.counted}. In shares of the runs:",
        "",
        rows(
            ["what is true", "ships", "holds", "rolls back", "invalid", "time was up"],
            [
                [each.scenario.name, *(f"{count / each.runs:.1%}" for count in each.words.values())]
                for each in found.outcomes
            ],
        ),
        "",
        rows(found.length, [each.length for each in found.outcomes]),
        "",
        *(f"{each.scenario.name}: {each.scenario.says}." for each in found.outcomes),
        "",
        *found.promises(),
        *_lost(found),
    ]
    if found.left_out:
        parts += ["", *(f"Left out: {name}, since {why}." for name, why in found.left_out.items())]
    parts += [f"Note: {note}." for note in found.notes]
    return "\n".join(parts).rstrip()


def _lost(found: Rehearsal) -> Iterator[str]:
    if not found.lost:
        return
    header, *lines = found.lost
    yield ""
    yield (
        f"Lost within {found.horizon:,} {found.counted}, against the better arm from the first one on, {found.lost_in} "
        "(± a standard error):"
    )
    yield rows(header, lines)
