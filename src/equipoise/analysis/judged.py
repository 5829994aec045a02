"""A judge's metric: what labels make of its effect, when they decide, and what to think of it without any."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.analysis.calibration import Calibration
from equipoise.analysis.findings import ByLabels, Check
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.tally import Judged, Measurement, Tally
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.corrected_totals import (
    corrected_difference_of_totals,
    corrected_mean_of_totals,
    corrected_relative_difference_of_totals,
    judged_difference_of_totals,
)

__all__ = [
    "by_labels",
    "corrected",
    "corrected_relative",
    "corrected_value",
    "decided_by_labels",
    "judges",
    "opinions",
    "trend_withheld",
    "unlabelled",
]


def decided_by_labels(tally: Tally) -> Judged | None:
    """What labels decide an arm's metric by, where they do: a number of them was planned."""
    return tally.judged if tally.judged is not None and tally.judged.planned is not None else None


def corrected(
    metric: Metric, control: Judged, treatment: Judged, *, level: float, null: float = 0.0
) -> Estimate | NotEstimable:
    """Treatment minus control as people would say it of all turns; not estimable before the planned labels are there."""
    return _waits(metric, control, treatment) or corrected_difference_of_totals(
        control.totals, treatment.totals, shared=treatment.shared, level=level, null=null
    )


def corrected_relative(
    metric: Metric, control: Judged, treatment: Judged, *, level: float
) -> Estimate | NotEstimable:
    """The same as a fraction of control's value."""
    return _waits(metric, control, treatment) or corrected_relative_difference_of_totals(
        control.totals, treatment.totals, shared=treatment.shared, level=level
    )


def corrected_value(judged: Judged) -> float | None:
    """An arm's value as people would have said it of all turns; None before the planned labels are there."""
    if judged.mixed or judged.totals.labels < (judged.planned or 0):
        return None
    found = corrected_mean_of_totals(judged.totals)
    return None if isinstance(found, NotEstimable) else found.value


def by_labels(
    metric: Metric, variant: str, control: Tally, treatment: Tally, *, level: float
) -> ByLabels | None:
    """The judge's own effect and the corrected one, side by side; None where nobody labels."""
    c, t = control.judged, treatment.judged
    if c is None or t is None:
        return None
    return ByLabels(
        planned=c.planned,
        labels={"control": c.totals.labels, variant: t.totals.labels},
        judged={"control": c.totals.judged, variant: t.totals.judged},
        judge=judged_difference_of_totals(c.totals, t.totals, shared=t.shared, level=level),
        corrected=corrected(metric, c, t, level=level),
    )


def _waits(metric: Metric, control: Judged, treatment: Judged) -> NotEstimable | None:
    if control.mixed or treatment.mixed:
        return NotEstimable(
            f"units have several judged turns, and labels correct their mean; {metric.name} has "
            f"`per_unit: {metric.per_unit}`"
        )
    planned, (c, t) = control.planned, (control.totals.labels, treatment.totals.labels)
    if planned is not None and min(c, t) < planned:
        return NotEstimable(
            f"{metric.name} is a judge's opinion until people have labelled {planned:,} turns of each arm, and they have "
            f"labelled {c:,} of control and {t:,} of the treatment"
        )
    return None


def unlabelled(experiment: Experiment, measured: Measurement) -> bool:
    """Whether the primary waits for labels in an arm: they may still come when no more units do."""
    found = (decided_by_labels(tally) for tally in measured.tallies[experiment.primary.name].values())
    return any(each is not None and each.totals.labels < (each.planned or 0) for each in found)


def opinions(experiment: Experiment, measured: Measurement) -> list[Check]:
    """A caution for each metric that a judge alone decides, and for none that labels do."""
    checks = []
    for metric in experiment.metrics:
        tallies = measured.tallies[metric.name].values()
        if metric.tier != "judge" or metric.of.stream != "score":
            continue
        if metric.labels is not None or any(decided_by_labels(tally) for tally in tallies):
            continue
        labels = sum(tally.judged.totals.labels for tally in tallies if tally.judged is not None)
        said = f"{metric.name} is the judge's opinion: "
        if labels:
            said += f"{labels:,} of its turns are labelled, and no number of labels was planned for it to wait for"
        else:
            said += "nobody labelled what it is made of"
        if metric.correctable:
            said += (
                ". With `labels` on the metric its effect is corrected by what people say, and waits for them"
            )
        checks.append(Check(f"judge of {metric.name}", "note", said))
    return checks


def judges(experiment: Experiment, measured: Measurement, calibrations: Sequence[Calibration]) -> list[Check]:
    """How good the judges behind the metrics are, a check for each series of scores; and whether they are several."""
    checks = []
    for metric in experiment.metrics:
        if metric.of.stream != "score":
            continue
        name = f"judge of {metric.name}"
        checks += [
            Check(name, "ok" if each.advice == "none" else "note", each.says)
            for each in calibrations
            if each.series.score == metric.of.name
        ]
        several = measured.aside.judges.get(metric.of.name, 0)
        if metric.correctable and several:
            checks.append(
                Check(
                    name,
                    "note",
                    f"{several:,} judges gave {metric.name} its scores: one that was changed starts a new series, and means "
                    "over both compare two instruments wherever they did not read both arms alike",
                )
            )
    return checks


def trend_withheld(
    experiment: Experiment, measured: Measurement, calibrations: Sequence[Calibration]
) -> bool:
    """Whether the primary is a judge's and its course over time is not to be shown: labels decide, or the judge is poor."""
    primary = experiment.primary
    if primary.labels is not None or any(
        decided_by_labels(tally) for tally in measured.tallies[primary.name].values()
    ):
        return True
    return primary.of.stream == "score" and any(
        each.trend_withheld for each in calibrations if each.series.score == primary.of.name
    )
