"""Past lists: what rankers that share lists earned in the log of an experiment, to be drawn again."""

from __future__ import annotations

from equipoise.conduct.ledger import registered
from equipoise.errors import UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.past_searches import PastSearches, past_searches_of_log

__all__ = ["past_lists"]


def past_lists(log: EventLog, name: str, experiment: Experiment) -> PastSearches:
    """The lists of the experiment that is registered under a name, by the metrics of another definition.

    UsageError where that experiment has no lists that rankers share; RecordError where nothing is registered under the
    name, DataError where too little was recorded.
    """
    like, _, _ = registered(log, name)
    if like.interleaving is None:
        raise UsageError(
            f"{like.identity} is no interleaving, and has no lists that rankers share; name one that is: --like NAME"
        )
    return past_searches_of_log(experiment, log, like)
