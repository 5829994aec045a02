"""The past units of another experiment on the same traffic, for a rehearsal of one that has no past of its own."""

from __future__ import annotations

from dataclasses import replace

from equipoise.conduct.ledger import registered
from equipoise.errors import DataError, UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.population import Past, past_units_of_log

__all__ = ["past_units"]


def past_units(log: EventLog, name: str, experiment: Experiment, *, arm: str = "control") -> Past:
    """The units of one arm of the experiment `name`, by the metrics of `experiment`.

    Of the experiment itself that is what `past_units_of_log` gives. RecordError where nothing is registered under the
    name, UsageError where it has no such arm or randomises something else, DataError where too few of its units count.
    """
    if name == experiment.name:
        try:
            return past_units_of_log(experiment, log, arm=arm)
        except DataError as error:
            raise DataError(f"{error}; the past of another experiment is drawn by --like NAME") from error
    like, _, _ = registered(log, name)
    if like.unit.type != experiment.unit.type or like.method == "interleaving":
        its = "lists of rankers" if like.method == "interleaving" else f"each {like.unit.type}"
        raise UsageError(
            f"{like.identity} randomises {its}, and {experiment.identity} each {experiment.unit.type}; name an experiment "
            "whose units are the same: --like NAME"
        )
    arms = [variant.name for variant in like.variants]
    if arm not in arms:
        raise UsageError(f"{like.identity} has no variant '{arm}'; accepted: {', '.join(arms)}")
    # Its arms, and who counts, are its own; what is asked of them is not. A rehearsal knows of no covariates.
    asked = tuple(replace(metric, covariates=()) for metric in experiment.metrics)
    theirs = replace(
        like, metrics=asked, cluster=experiment.cluster, segments=(), critical_segments=(), online_judge=None
    )
    return past_units_of_log(theirs, log, arm=arm)
