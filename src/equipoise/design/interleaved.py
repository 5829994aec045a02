"""How many queries rankers need that share a list: each query compares them once, and everybody sees both."""

from __future__ import annotations

from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.interleaving.preference import power_of_queries, queries_to_find

__all__ = ["FITS", "query_power", "query_size"]

FITS = (
    (
        "interleaving fits rankers over the same items and tells which people prefer, in few queries; it does not fit "
        "answers that are generated, and tells of no absolute effect, no latency or cost, and nothing in the long term: an "
        "A/B does"
    ),
    (
        "these sizes are in queries, which every ranker takes part in, and take queries as independent; those of one "
        "person are alike, and the experiment needs more of them, by the factor 1 + (queries per person − 1) × intraclass "
        "correlation"
    ),
)


def query_size(
    experiment: Experiment, metric: Metric, effect: float, alpha: float, power: float, *, exclude: bool
) -> int | NotEstimable:
    """Queries that find a difference of credit of `effect`, or with `exclude` rule it out one-sided at alpha/2."""
    variance = _variance(experiment, metric, 0.0 if exclude else effect)
    if isinstance(variance, NotEstimable):
        return variance
    try:
        return queries_to_find(effect, variance, alpha=alpha, power=power)
    except UsageError as error:
        return NotEstimable(f"{metric.name}: {error}")


def query_power(experiment: Experiment, effect: float, queries: int, alpha: float) -> float | None:
    """The chance that so many queries find an effect on the primary; None where it is beyond what there can be."""
    variance = _variance(experiment, experiment.primary, effect)
    return (
        None
        if isinstance(variance, NotEstimable)
        else power_of_queries(effect, variance, queries, alpha=alpha)
    )


def _variance(experiment: Experiment, metric: Metric, effect: float) -> float | NotEstimable:
    """The variance of the difference within one query."""
    if metric.kind != "proportion":
        if metric.spread is None:
            return NotEstimable(
                f"{metric.name} needs a `spread` (standard deviation between queries of what the rankers earn more or less) "
                "to size for"
            )
        return metric.spread**2
    ties = None if experiment.interleaving is None else experiment.interleaving.ties
    if ties is None:
        return NotEstimable(
            f"{metric.name} needs `interleaving: {{ties: …}}`, the share of queries without a winner, to size for; most "
            "queries are ties where people seldom click"
        )
    decided = 1.0 - ties
    if effect >= decided:
        return NotEstimable(
            f"{metric.name}: of {decided:.4g} of the queries with a winner no ranker wins {effect:.4g} more than it loses"
        )
    return decided - effect**2
