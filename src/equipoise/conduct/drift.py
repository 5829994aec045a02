"""Drift: what the log says of it."""

from __future__ import annotations

import math

from equipoise.analysis.drift import Drift, Drifting
from equipoise.conduct.calibration import calibrations
from equipoise.conduct.ledger import registered
from equipoise.errors import UsageError
from equipoise.events.log import EventLog

__all__ = ["drift"]


def drift(log: EventLog, name: str, *, every: float = 86_400.0) -> Drift:
    """Scores, what comes in, models and golden cases beside live turns of a registered experiment, `every` so many seconds.

    Scores are told of control alone until a verdict has ended the experiment, and not of a judge that is to be recalibrated.
    Everything of it in the log is read.
    RecordError where nothing of that name is registered, UsageError for a period that is none.
    """
    if not 60.0 <= every < math.inf:
        raise UsageError(f"a period of {every:g} seconds is not possible; accepted: at least 60")
    experiment, _, state = registered(log, name)
    arms = tuple(each.name for each in experiment.variants) if state.finished else (experiment.control.name,)
    withheld = {
        (each.series.score, each.series.evaluator): each.says
        for each in calibrations(log, experiment)
        if each.trend_withheld
    }
    drifting = Drifting(experiment, every, arms, withheld)
    for record in log.read_since(0, experiment=name, kinds=("gate", "exposure", "turn", "score")):
        drifting.take(record.fact)
    return drifting.found()
