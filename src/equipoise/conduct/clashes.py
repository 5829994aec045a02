"""What an experiment may not share with one that runs: a place in a layer."""

from __future__ import annotations

from equipoise.conduct.ledger import names, registered
from equipoise.errors import RecordError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment

__all__ = ["refuse_clashes"]

OVER = ("shipped", "rolled back")


def refuse_clashes(log: EventLog, experiment: Experiment) -> None:
    """RecordError where another experiment that runs has part of the same range of the same layer."""
    layer = experiment.layer
    if layer is None:
        return
    for name in names(log):
        if name == experiment.name:
            continue
        other, _, state = registered(log, name)
        over = state.finished or state.stage in OVER
        if other.layer is not None and layer.overlaps(other.layer) and not over:
            raise RecordError(
                f"{experiment.name} and {name} are in the layer '{layer.name}' and would get the same units. "
                "Give each a range of it, such as `layer: {name: "
                f"{layer.name}, range: [0, 1/2]}}`, or finish {name} first"
            )
