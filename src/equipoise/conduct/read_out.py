"""Read out again: the last registered look of an experiment as it was taken, for whoever may see no other."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from equipoise.conduct.ledger import registered
from equipoise.conduct.looking.pinning import FORMAT, Pin, computed, evidence
from equipoise.conduct.verify import nearly_same
from equipoise.errors import EquipoiseError
from equipoise.events.facts import Look
from equipoise.events.log import EventLog
from equipoise.measurement.warehouse.connecting import Variable
from equipoise.verdict.analysis import Analysis

__all__ = ["ReadOut", "read_out"]

_SEEN = ("units", "primary", "read_out")
"""What has to be the same for a look to be shown as the one that was taken."""


@dataclass(frozen=True, slots=True)
class ReadOut:
    """The last look that was recorded, and its analysis; None where it is not what was seen then, and `because` says why."""

    look: Look
    analysis: Analysis | None
    because: str | None = None


def read_out(
    log: EventLog, name: str, *, folder: str = ".", variable: Variable | None = None
) -> ReadOut | None:
    """Compute the last recorded look again, from what it is pinned to; None where none was taken of the revision.

    Nothing is recorded, and no look is taken: what came into the log since is not read. A look that comes out
    otherwise (a unit was purged, a table has changed) is not shown, since nobody registered that one. `folder` and
    `variable` are as in `look`. RecordError where nothing of that name is registered.
    """
    experiment, registration, state = registered(log, name)
    if not state.looks:
        return None
    last, kept = state.looks[-1], state.looks[-1].evidence
    ask = f"`equipoise verify {name}` tells more"
    if kept.get("format", 1) != FORMAT:
        return ReadOut(last, None, f"it was written by another version, which kept other evidence; {ask}")
    experiment = replace(experiment, folder=folder)
    pin = Pin(experiment, registration, state.looks[:-1], int(kept.get("position", 0)), last.final)
    try:
        analysis = computed(log, pin, variable)
    except EquipoiseError as error:
        return ReadOut(last, None, f"it cannot be computed again: {error}")
    now = json.loads(json.dumps(evidence(analysis, pin)))
    if not nearly_same({key: kept.get(key) for key in _SEEN}, {key: now[key] for key in _SEEN}):
        return ReadOut(
            last, None, f"what it was computed from has changed since, by a purge or in the table; {ask}"
        )
    return ReadOut(last, analysis)
