"""What people said, read out: the labels of a revision's live turns, or those of one run of the arena."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.analysis.labels import LabelReadout, label_readout
from equipoise.conduct.label_items import CaseSource
from equipoise.events.facts import Label
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment

__all__ = ["label_results"]


def label_results(log: EventLog, experiment: Experiment, *, runs: Sequence[CaseSource] = ()) -> LabelReadout:
    """The labels of an experiment's live turns; with `runs`, of the cases of these alone, if the same texts were shown."""
    shown = {
        (item.item, item.variant, source.materials[item.key].digest)
        for source in runs
        for item in source.items
    }
    clusters = {item.item: item.cluster for source in runs for item in source.items if item.cluster}
    labels = [
        label
        for record in log.read_since(0, experiment=experiment.name, kinds=(Label.kind,))
        if isinstance(label := record.fact, Label)
        and (
            (label.item, label.variant, label.shown) in shown
            if runs
            else label.trace is not None and label.digest in (None, experiment.digest)
        )
    ]
    rubric = experiment.offline.rubric if experiment.offline is not None else None
    return label_readout(
        experiment.name,
        labels,
        control=experiment.control.name,
        clusters=clusters,
        tops=dict.fromkeys(rubric.axes, rubric.top) if rubric is not None else None,
    )
