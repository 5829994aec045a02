"""What people said, read out: the labels of a revision's live turns, or those of one run of the arena."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from statistics import fmean

from equipoise.analysis.label_findings import LabelReadout
from equipoise.analysis.labels import label_readout
from equipoise.conduct.labelling.items import cases_of_run
from equipoise.conduct.labelling.task import questions_of
from equipoise.events.facts import Label
from equipoise.events.labels import standing
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment

__all__ = ["label_results", "labels_given", "preferences_csv"]


def labels_given(log: EventLog, experiment: Experiment, run: Path | None = None) -> tuple[Label, ...]:
    """The labels of a revision's live turns; with `run`, of the cases of that one, if the same texts were shown.

    Those that were replaced or taken back are not among them. DataError for what is no run of the experiment.
    """
    shown = set()
    if run is not None:
        # A preference is of two texts, a grade of one: both kinds of items of a run have labels.
        for source in (cases_of_run(run, experiment, "preference"), cases_of_run(run, experiment, "thumbs")):
            shown |= {(each.item, each.variant, source.materials[each.key].digest) for each in source.items}
    return standing(
        label
        for record in log.read_since(0, experiment=experiment.name, kinds=(Label.kind,))
        if isinstance(label := record.fact, Label)
        and (
            label.trace is not None and label.digest in (None, experiment.digest)
            if run is None
            else label.trace is None and (label.item, label.variant, label.shown) in shown
        )
    )


def label_results(log: EventLog, experiment: Experiment, run: Path | None = None) -> LabelReadout:
    """What `labels_given` shows."""
    rubric = experiment.offline.rubric if experiment.offline is not None else None
    clusters: dict[str, str] = {}
    drawn: dict[str, int] = {}
    if run is not None:
        pairs, singles = cases_of_run(run, experiment, "preference"), cases_of_run(run, experiment, "thumbs")
        clusters = {each.item: each.cluster for each in singles.items if each.cluster}
        axes = [] if rubric is None else [each.name for each in questions_of(experiment, "grades")]
        drawn = {"preference": len(pairs.items)} | dict.fromkeys(("thumbs", *axes), len(singles.items))
    return label_readout(
        experiment.name,
        labels_given(log, experiment, run),
        control=experiment.control.name,
        clusters=clusters,
        tops=dict.fromkeys(rubric.axes, rubric.top) if rubric is not None else None,
        drawn=drawn,
    )


def preferences_csv(labels: tuple[Label, ...]) -> str:
    """Preferences as `offline.labels` reads them: `case`, `variant` and `value`, the mean of an item's raters.

    >>> said = Label(experiment="e", happened=1.0, name="preference", rater="jo", item="a", variant="b", value=0.5)
    >>> print(preferences_csv((said,)), end="")
    case,variant,value
    a,b,0.5
    """
    values: dict[tuple[str, str], list[float]] = {}
    for label in labels:
        if label.name == "preference" and label.draw == "audit" and label.value is not None:
            values.setdefault((label.item, label.variant or ""), []).append(label.value)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("case", "variant", "value"))
    writer.writerows((item, variant, f"{fmean(said):.6g}") for (item, variant), said in values.items())
    return stream.getvalue()
