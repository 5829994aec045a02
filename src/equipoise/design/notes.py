"""What belongs beside a plan's numbers: what could not be sized, what waits for people, and what that means."""

from __future__ import annotations

import math
from collections.abc import Mapping

from equipoise.design.interleaved import FITS
from equipoise.design.schedule import written_rule
from equipoise.design.shared_clusters import shared_clusters_note
from equipoise.experiment.definition import Experiment
from equipoise.stats.estimate import NotEstimable

__all__ = ["no_look_comes", "notes_beside"]

_LACKING = NotEstimable("it is not sized")


def notes_beside(experiment: Experiment, sizes: Mapping[str, object]) -> tuple[str, ...]:
    """What a plan says beside its numbers; `sizes` are those of the metrics, NotEstimable where they lack something."""
    notes = []
    rule = written_rule(experiment.plan)
    if rule is not None:
        several = " in each of the treatments' comparisons" if len(experiment.treatments) > 1 else ""
        notes.append(rule.beside(experiment.plan.alpha) + several)
    never = no_look_comes(experiment, sizes)
    if never is not None:
        notes.append(never)
    unsized = [
        metric.name for metric in experiment.guardrails if isinstance(sizes[metric.name], NotEstimable)
    ]
    if unsized:
        notes.append(
            f"{', '.join(unsized)} could not be sized and may need more {experiment.counted} than this; "
            "a guardrail that is not shown to hold keeps a change from being shipped"
        )
    for metric in experiment.metrics:
        labels = experiment.labels_planned(metric)
        if labels is not None:
            notes.append(_labels(experiment, metric.name, labels))
    waiting = [
        metric.name
        for metric in experiment.metrics
        if metric.kind == "time_to_event" and not isinstance(sizes.get(metric.name, _LACKING), NotEstimable)
    ]
    if waiting:
        notes.append(
            f"the size of {', '.join(waiting)} is in units seen for the whole window; units that came in later tell less"
        )
    if experiment.interleaving is not None:
        notes += FITS
    elif experiment.cluster:
        notes.append(shared_clusters_note(experiment.cluster))
    return tuple(notes)


def no_look_comes(experiment: Experiment, sizes: Mapping[str, object]) -> str | None:
    """A note where the primary has no size, so that no look ever comes due; None where looks come by themselves.

    A bandit is read out at any time, and a table with one look is all there is.
    """
    primary = experiment.primary.name
    lacks = sizes.get(primary, _LACKING)
    alone = experiment.source is not None and len(experiment.plan.looks) == 1
    if not isinstance(lacks, NotEstimable) or experiment.bandit is not None or alone:
        return None
    return (
        f"without a size of {primary} no look comes due by itself; declare what it lacks before the start, or take a last "
        "look by `equipoise analyze --final` once no more data will come"
    )


def _labels(experiment: Experiment, name: str, labels: int) -> str:
    """What a metric asks of people, and for how long at the pace they were promised."""
    total = labels * len(experiment.variants)
    pace = experiment.online_judge.labels_per_week if experiment.online_judge else None
    at = "" if pace is None else f", {math.ceil(7 * total / pace):,} days at {pace:,} a week"
    return (
        f"{name} is corrected by people's labels and decides nothing before {labels:,} turns of each arm are labelled: "
        f"{total:,} in all{at}"
    )
