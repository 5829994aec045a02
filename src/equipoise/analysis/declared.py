"""What was declared before launch, in sentences a reader of the result can hold it against."""

from __future__ import annotations

from equipoise.experiment.bandit import Bandit
from equipoise.experiment.definition import Experiment, PlanSettings
from equipoise.experiment.metric import RETURNED, Metric

__all__ = ["declared", "in_words", "p_said", "span"]

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def declared(experiment: Experiment) -> dict[str, str]:
    """Each metric, the arms and the plan by name, each in one line."""
    clustered = f", clustered by {experiment.cluster}" if experiment.cluster else ""
    if experiment.interleaving is None:
        found = {
            metric.name: _metric(metric, experiment.labels_planned(metric), share=experiment.is_share(metric))
            for metric in experiment.metrics
        }
        shares = ", ".join(f"{arm} {share}" for arm, share in experiment.allocation.items())
        found["arms"] = f"{shares}, by {experiment.unit.type}{clustered}"
    else:
        found = {metric.name: _credited(metric) for metric in experiment.metrics}
        rankers = ", ".join(variant.name for variant in experiment.variants)
        scheme = experiment.interleaving.scheme.replace("_", " ")
        found["lists"] = (
            f"{scheme} of {rankers}, {experiment.interleaving.length} items, shown to each {experiment.unit.type}{clustered}"
        )
    plan = experiment.plan
    if experiment.bandit is not None:
        found["bandit"] = _bandit(experiment.bandit)
    looks = ", ".join(f"{fraction:.0%}" for fraction in plan.looks)
    by = "boundaries as written" if plan.boundaries else f"spending {plan.spending.replace('_', ' ')}"
    said = [f"alpha {plan.alpha:g}", f"power {plan.power:g}"]
    said += ["looks at any time"] if experiment.bandit else [f"looks at {looks} of the information", by]
    if plan.burn_in:
        said.append(f"burn-in of {span(plan.burn_in)}")
    if plan.whole_cycles:
        said.append(f"whole cycles of {span(plan.cycle)}")
    if experiment.interleaving is None:
        said.append(_crossed(plan))
    found["plan"] = ", ".join(said)
    return found


def _crossed(plan: PlanSettings) -> str:
    late = "count for the first" if plan.crossed == "first_seen" else "are left out"
    return f"units seen in two variants {late}"


def _bandit(bandit: Bandit) -> str:
    prior = ", ".join(f"{name} {value:g}" for name, value in bandit.prior.items())
    said = [
        f"{bandit.policy.replace('_', ' ')} for {bandit.reward}",
        f"{bandit.model.replace('_', ' ')} with {prior}",
        f"shares anew every {span(bandit.every)}",
        f"at least {float(bandit.explore):.3g} of the units for each arm",
    ]
    if bandit.half_life is not None:
        said.append(f"half-life {span(bandit.half_life)}")
    if bandit.drop is not None:
        said.append(
            f"an arm believed best with less than {bandit.drop.below:g} goes after {bandit.drop.after:,} units"
        )
    said.append(f"the best arm at an error of {bandit.stop.error:g}")
    return ", ".join(said)


def in_words(metric: Metric) -> str | None:
    """What the values of a metric are, where its kind alone does not say it."""
    if metric.kind == "time_to_event" and metric.window is not None:
        return f"mean time to {metric.of.name} within {span(metric.window)}, in seconds"
    made = _MADE.get(metric.per_unit, f"the {metric.per_unit} of")
    if metric.above is not None:
        return f"share of units where {made} {metric.of} is above {metric.above:g}"
    if metric.per_unit == "slope":
        return f"mean over units of {made} {metric.of}"
    if metric.of == RETURNED:
        return "share of units whose user began another conversation"
    return None


_MADE = {
    "any": "the largest",
    "all": "the smallest",
    "max": "the largest",
    "min": "the smallest",
    "slope": "the change from reading to reading of",
}


def _credited(metric: Metric) -> str:
    """A metric of lists that rankers share."""
    said = [metric.priority, _CREDIT[metric.kind].format(of=metric.of), f"{metric.better} is better"]
    if metric.mde is not None:
        said.append(f"to detect {metric.mde}")
    if metric.margin is not None:
        said.append(f"may get worse by {metric.margin}")
    if metric.window is not None:
        said.append(f"within {span(metric.window)} of the list")
    return ", ".join(said)


_CREDIT = {
    "proportion": "share of queries in which more items of the ranker have {of} than of the other",
    "count": "items of the ranker with {of}, per query",
    "mean": "sum of {of} of the ranker's items, per query",
}


def _metric(metric: Metric, labels: int | None, *, share: bool) -> str:
    kind = f"quantile {metric.q:g}" if metric.q is not None else metric.kind
    per = f" per {metric.per}" if metric.per else ""
    words = f"mean over clusters of the share of their {metric.of}" if share else in_words(metric)
    said = [metric.priority, words or f"{kind} of {metric.of}{per}"]
    if metric.kind != "quantile" and words is None:
        said.append(f"{metric.per_unit} of a unit's values")
    said.append(f"{metric.better} is better")
    if metric.mde is not None:
        said.append(f"to detect {metric.mde}")
    if metric.margin is not None:
        said.append(f"may get worse by {metric.margin}")
    if metric.limit is not None:
        said.append(f"limit {metric.limit:g}")
    if metric.window is not None and metric.kind != "time_to_event":
        said.append(f"within {span(metric.window)} of the first exposure")
    if metric.absent is not None:
        said.append(f"{metric.absent:g} where nothing was said")
    if metric.winsorise is not None:
        said.append(f"winsorised at the {metric.winsorise:g} quantile")
    if metric.covariates:
        said.append(f"adjusted by {', '.join(metric.covariates)}")
    if labels is not None:
        said.append(f"corrected by people's labels, from {labels:,} in each arm on")
    return ", ".join(said)


def p_said(p: float) -> str:
    """A p-value to two significant digits, and never 0.

    >>> p_said(0.0312), p_said(4.8e-51)
    ('p = 0.031', 'p < 0.0001')
    """
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def span(seconds: float, *, digits: int = 6) -> str:
    """A length of time in the largest unit that it fills, to so many significant digits.

    >>> span(5_400.0), span(86_400.0), span(1.0), span(100_000.0, digits=3), span(86_400.0 * 27_000, digits=3)
    ('1.5 hours', '1 day', '1 second', '1.16 days', '27,000 days')
    """
    length, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    count = seconds / length
    number = f"{count:,.{digits}g}" if count < 10**digits else f"{count:,.0f}"
    return f"{number} {unit}{'' if number == '1' else 's'}"
