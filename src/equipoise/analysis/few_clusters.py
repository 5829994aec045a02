"""Whether clusters are few, or so unequal that many of them tell as little as few would."""

from __future__ import annotations

from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.measurement.clusters.members import across
from equipoise.measurement.counting import FEW_CLUSTERS, of_one_size
from equipoise.measurement.tally import Measurement

__all__ = ["few_clusters"]


def few_clusters(experiment: Experiment, measured: Measurement) -> list[Check]:
    """A note where an arm has few clusters, or its clusters were randomised and weigh as few of one size would.

    Nothing where units carry the variance, and of a switchback, whose blocks are told of by themselves.
    """
    if measured.clusters is None or experiment.switchback is not None:
        return []
    fewest = min(measured.clusters.values())
    whole = across(experiment) == "apart"
    if fewest < FEW_CLUSTERS:
        says = (
            f"an arm has only {fewest} cluster{'' if fewest == 1 else 's'}; with fewer than {FEW_CLUSTERS} the intervals "
            f"are corrected for it ({'CR3' if whole else 'CR2'} and Student's t), and wide"
        )
        return [Check("clusters", "note", says)]
    return _unequal(experiment, measured) if whole else []


def _unequal(experiment: Experiment, measured: Measurement) -> list[Check]:
    weighed = [
        (of_one_size(tally.pairs.y), tally.pairs.n, arm, metric.name)
        for metric in experiment.metrics
        if metric.priority in ("primary", "guardrail")
        for arm, tally in measured.tallies[metric.name].items()
        if tally.pairs is not None and tally.totals is not None and tally.pairs.n >= FEW_CLUSTERS
    ]
    if not weighed or (least := min(weighed))[0] >= FEW_CLUSTERS:
        return []
    alike, clusters, arm, metric = least
    says = (
        f"clusters are so unequal that the {clusters:,} of {arm} weigh in {metric} as {alike:.0f} of one size, and are "
        "corrected for as few are (CR3 and Student's t). A mean or a share with `per_unit: mean` has clusters weigh alike"
    )
    return [Check("clusters", "note", says)]
