"""What of a definition can be rehearsed, and what is different for the rehearsal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from equipoise.conduct.rehearsal.clicks import AssumedSearches
from equipoise.conduct.rehearsal.slots import TimeSlots, assumed_slots
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.verdict_rule import Branch
from equipoise.measurement.rehearsed.past_searches import PastSearches
from equipoise.measurement.rehearsed.population import Assumed, Past, Population

__all__ = ["Drawn", "Searches", "assumed", "prepared"]

Searches = AssumedSearches | PastSearches
Drawn = Population | Searches | TimeSlots
"""Where a rehearsal draws from: units, searches in which rankers share lists, or time slots."""

_FEW = 100
"""Past units fewer than these are said to be few."""


def assumed(experiment: Experiment) -> Drawn:
    """What is drawn where nobody says otherwise: the definition's own rates."""
    if experiment.method == "interleaving":
        return AssumedSearches(experiment)
    return assumed_slots(experiment) if experiment.method == "switchback" else Assumed(experiment)


def prepared(experiment: Experiment, drawn: Drawn) -> tuple[Experiment, dict[str, str], tuple[str, ...]]:
    """The definition with what can be rehearsed of it, metrics that are left out and why, and what else is different.

    UsageError where the primary cannot be drawn.
    """
    left = {
        metric.name: "a bandit's read-out has no quantiles"
        for metric in experiment.metrics
        if metric.kind == "quantile" and experiment.method == "bandit"
    } | dict(drawn.left_out)
    primary = experiment.primary
    if primary.name in left:
        raise UsageError(
            f"the primary {primary.name} cannot be drawn: {left[primary.name]}. Declare what it lacks, or rehearse on "
            f"what was: --past{' log' if isinstance(drawn, Searches | TimeSlots) else ''}"
        )
    metrics = tuple(
        replace(metric, covariates=(), winsorise=None, labels=None)
        for metric in experiment.metrics
        if metric.name not in left
    )
    rule = tuple(_without(line, left) for line in experiment.verdict)
    notes = _notes(experiment, drawn)
    if rule != experiment.verdict:
        asked = {name for line in experiment.verdict if line.then == "ship" for name, _ in line.when}
        notes.append(f"what the rule asks of {', '.join(sorted(asked & set(left)))} to ship is taken for met")
    rehearsed = replace(
        experiment, metrics=metrics, verdict=rule, critical_segments=(), segments=(), source=None
    )
    return rehearsed, left, tuple(notes)


def _notes(experiment: Experiment, drawn: Drawn) -> list[str]:
    notes = []
    if experiment.critical_segments:
        notes.append("critical segments are not rehearsed")
    if any(metric.covariates for metric in experiment.metrics):
        notes.append("covariates are not rehearsed: where they help, looks come sooner than said here")
    if any(metric.winsorise for metric in experiment.metrics):
        notes.append("nothing is winsorised")
    if any(metric.labels for metric in experiment.metrics):
        notes.append("a judge's scores count as they are, without people's labels")
    if isinstance(drawn, Searches):
        return [*notes, *drawn.notes, *_of_cluster(experiment)]
    if isinstance(drawn, TimeSlots):
        return [*notes, *drawn.notes]
    if isinstance(drawn, Past) and drawn.crowd.size < _FEW:
        notes.append(f"{drawn.crowd.size} past units hardly show how units differ")
    many = drawn.cluster_size if isinstance(drawn, Assumed) else 1
    if experiment.cluster is None and many > 1:
        notes.append(
            "the definition has no `cluster`, so that units of one cluster count as if they were not alike"
        )
    if experiment.cluster is not None and isinstance(drawn, Assumed) and many == 1:
        notes.append(
            f"units are drawn as if those of one {experiment.cluster} were not alike; say --cluster-size and --icc"
        )
    return notes


def _of_cluster(experiment: Experiment) -> list[str]:
    if experiment.cluster is None:
        return []
    return [f"{experiment.unit.type}s of one {experiment.cluster} are drawn as if they were not alike"]


def _without(line: Branch, left: Mapping[str, str]) -> Branch:
    """A line that ships, without what it asks of a guardrail that is left out: else nothing would ever ship."""
    if line.then != "ship":
        return line
    return replace(line, when=tuple((name, state) for name, state in line.when if name not in left))
