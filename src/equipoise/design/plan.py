"""The plan of an experiment: how many units each metric needs, when it is looked at, how long it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from equipoise.design.clusters import cluster_notes, in_clusters
from equipoise.design.false_alarms import WatchForecast, declared_forecasts, too_often
from equipoise.design.interleaved import query_power, query_size
from equipoise.design.notes import notes_beside
from equipoise.design.schedule import schedule, spent
from equipoise.design.switchback import in_slots, slot_cycle, slot_notes, slots_per_day
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.variant import Difference
from equipoise.experiment.verdict_rule import asks
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.looks.sequential import information_for
from equipoise.stats.sizes.power import (
    power_two_means,
    power_two_proportions,
    size_two_means,
    size_two_proportions,
)
from equipoise.stats.sizes.power_margins import size_noninferior_means, size_noninferior_proportions

__all__ = ["MetricSize", "Plan", "PlannedLook", "plan"]

DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSize:
    """What one metric asks for.

    `question` is whether an effect of `effect` is to be found, or a degradation beyond it excluded; both
    in the metric's own unit. `units` by variant and `total` are for one look, before the looks' price; where rankers share
    lists they are queries, and every variant takes part in each.
    """

    metric: str
    priority: str
    question: Literal["detect", "exclude"]
    effect: float
    units: Mapping[str, int]
    total: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "priority": self.priority,
            "question": self.question,
            "effect": self.effect,
            "units": dict(self.units),
            "total": self.total,
        }


@dataclass(frozen=True, slots=True)
class PlannedLook:
    """A registered look: information fraction, z boundary, units enrolled by then, error spent by then."""

    number: int
    fraction: float
    boundary: float
    units: int | None
    spent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is fixed before launch.

    `sizes` answers for every metric with an effect or margin to plan for; `binding` names the metric
    that needs most. `notes` say what these numbers leave out. `total` is the binding size times
    `inflation`, the price of looking early; `expected` is the average number of units at stopping
    if the primary's effect is as large as planned.
    `information` is 1 / standard error² of the primary's effect at the last look, on the scale of one over
    its square; the looks' fractions are fractions of it.
    `days` includes burn-in and is rounded up to whole cycles. `requests_per_case` counts the calls of
    one case in the arena. `watches` say, in the order of the definition, how often each alarms and acts for nothing.
    """

    experiment: str
    alpha: float
    power: float
    sizes: Mapping[str, MetricSize | NotEstimable]
    binding: str | None
    inflation: float
    total: int | None
    expected: int | None
    information: float | NotEstimable
    looks: tuple[PlannedLook, ...]
    days: float | NotEstimable
    units_per_day: float | None
    differences: tuple[Difference, ...]
    power_curve: tuple[tuple[float, float], ...]
    requests_per_case: Mapping[str, int]
    notes: tuple[str, ...] = ()
    watches: tuple[WatchForecast | NotEstimable, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape of `equipoise plan --json`."""
        return {
            "experiment": self.experiment,
            "alpha": self.alpha,
            "power": self.power,
            "sizes": {
                name: {"not_estimable": size.reason} if isinstance(size, NotEstimable) else size.to_dict()
                for name, size in self.sizes.items()
            },
            "binding": self.binding,
            "inflation": self.inflation,
            "total": self.total,
            "expected": self.expected,
            "information": {"not_estimable": self.information.reason}
            if isinstance(self.information, NotEstimable)
            else self.information,
            "looks": [
                {
                    "number": look.number,
                    "fraction": look.fraction,
                    "boundary": look.boundary,
                    "units": look.units,
                    "alpha_spent": look.spent,
                }
                for look in self.looks
            ],
            "days": {"not_estimable": self.days.reason} if isinstance(self.days, NotEstimable) else self.days,
            "units_per_day": self.units_per_day,
            "differences": [
                {
                    "variant": each.variant,
                    "path": each.path,
                    "control": each.control,
                    "treatment": each.treatment,
                }
                for each in self.differences
            ],
            "power_curve": [{"effect": effect, "power": power} for effect, power in self.power_curve],
            "requests_per_case": dict(self.requests_per_case),
            "notes": list(self.notes),
        } | self._watches_to_dict()

    def _watches_to_dict(self) -> dict[str, Any]:
        # A plan without watches is written as it was before there were any.
        told = [
            {"not_estimable": each.reason} if isinstance(each, NotEstimable) else each.to_dict()
            for each in self.watches
        ]
        return {"watches": told} if told else {}


def plan(
    experiment: Experiment, *, units_per_day: float | None = None, turns_per_day: float | None = None
) -> Plan:
    """Work out the plan of a definition; `units_per_day` (enrolled units) overrides the definition's.

    `turns_per_day` are the turns of all arms together at full coverage: what watches are reckoned with.

    Alpha is shared equally by the treatments (Bonferroni), so that several arms do not buy several
    chances. Guardrails are each planned one-sided at alpha/2 with the definition's power. Raises
    UsageError for traffic that is not positive.
    """
    declared, experiment = experiment, in_clusters(in_slots(experiment))
    settings = experiment.plan
    traffic = settings.units_per_day if units_per_day is None else units_per_day
    traffic = slots_per_day(experiment) if traffic is None else traffic
    if traffic is not None and not (traffic > 0 and math.isfinite(traffic)):
        raise UsageError(f"units per day must be a number above 0, and this is {traffic:g}")
    if turns_per_day is not None and not (turns_per_day > 0 and math.isfinite(turns_per_day)):
        raise UsageError(f"turns per day must be a number above 0, and this is {turns_per_day:g}")
    alpha = settings.alpha / len(experiment.treatments)
    sizes = {
        # The treatments share the alpha of the primary; each guardrail has the whole of its own.
        metric.name: _size(experiment, metric, settings.alpha if metric.priority == "guardrail" else alpha)
        for metric in experiment.metrics
        if metric.priority in ("primary", "guardrail") or metric.mde is not None
    }
    planned = [
        size
        for size in sizes.values()
        if isinstance(size, MetricSize) and size.priority in ("primary", "guardrail")
    ]
    binding = max(planned, key=lambda size: size.total, default=None)
    price = schedule(settings, alpha)
    total = None if binding is None else _up(binding.total * price.factor)
    primary = sizes[experiment.primary.name]
    forecasts = declared_forecasts(declared, turns_per_day)
    return Plan(
        experiment=experiment.identity,
        alpha=settings.alpha,
        power=settings.power,
        sizes=sizes,
        binding=binding.metric if binding else None,
        inflation=price.factor,
        total=total,
        expected=None if total is None else _up(total * price.expected),
        information=_information(experiment, primary, total, price.factor, alpha),
        looks=tuple(
            PlannedLook(
                number,
                fraction,
                boundary,
                None if total is None else _up(total * fraction),
                used,
            )
            for number, (fraction, boundary, used) in enumerate(
                zip(settings.looks, price.boundaries, spent(settings, alpha), strict=True), start=1
            )
        ),
        days=_days(experiment, total, traffic),
        units_per_day=traffic,
        differences=experiment.differences,
        power_curve=_curve(experiment, primary, total, alpha) if isinstance(primary, MetricSize) else (),
        requests_per_case=_requests(experiment),
        notes=notes_beside(experiment, sizes)
        + slot_notes(experiment, total)
        + cluster_notes(declared, total)
        + too_often(forecasts),
        watches=forecasts,
    )


def _information(
    experiment: Experiment,
    primary: MetricSize | NotEstimable | None,
    total: int | None,
    factor: float,
    alpha: float,
) -> float | NotEstimable:
    """The information (1 / standard error² of the primary's effect) that the last look waits for.

    It is what the primary needs, times what the binding metric needs beyond it: the experiment is over
    when every question that decides can be answered.
    """
    if primary is None or isinstance(primary, NotEstimable) or total is None:
        return primary if isinstance(primary, NotEstimable) else NotEstimable("the primary has no `mde`")
    needed = information_for(primary.effect, alpha, experiment.plan.power)
    return needed * max(factor, total / primary.total)


def _up(units: float) -> int:
    # A product such as 2942 × 1.0000000000000002 is not a reason to ask for one unit more.
    return math.ceil(units - 1e-6)


def _effect(metric: Metric, amount: Any, name: str) -> float | NotEstimable:
    if amount is None:
        return NotEstimable(f"{metric.name} has no `{name}`")
    if amount.scale == "relative" and metric.baseline is None:
        return NotEstimable(f"{metric.name} has a relative `{name}` and no `baseline` to take it of")
    return float(amount.of(metric.baseline or 0.0))


def _size(experiment: Experiment, metric: Metric, alpha: float) -> MetricSize | NotEstimable:
    if metric.kind in ("ratio", "quantile"):
        return NotEstimable(
            f"how a {metric.kind} varies is not told by one spread; watch its interval in the first read-outs"
        )
    # A primary that ships by not being worse is sized by what it must not be worse by.
    exclude = metric.priority == "guardrail" or (
        metric.priority == "primary" and asks(experiment.verdict, "non_inferior", then="ship")
    )
    effect = _effect(metric, metric.margin if exclude else metric.mde, "margin" if exclude else "mde")
    if isinstance(effect, NotEstimable):
        return effect
    if experiment.interleaving is not None:
        return _of_queries(experiment, metric, effect, alpha, exclude=exclude)
    if metric.kind == "proportion" and metric.baseline is None:
        return NotEstimable(f"{metric.name} needs a `baseline` rate to size for")
    if metric.kind != "proportion" and metric.spread is None:
        of = (
            "of the units' times, each the window at most"
            if metric.kind == "time_to_event"
            else "between units"
        )
        return NotEstimable(f"{metric.name} needs a `spread` (standard deviation {of}) to size for")
    needed: dict[str, int] = {}
    shares = experiment.allocation
    for treatment in experiment.treatments:
        ratio = float(shares[treatment.name] / shares["control"])
        size = _two_arms(metric, effect, ratio, alpha, experiment.plan.power, exclude=exclude)
        if isinstance(size, NotEstimable):
            return size
        needed["control"] = max(needed.get("control", 0), size[0])
        needed[treatment.name] = size[1]
    # With shares fixed, the arm that needs most relative to its share sets the total.
    if len(needed) == 2:
        total = sum(needed.values())
    else:
        total = max(_up(units / float(shares[name])) for name, units in needed.items())
        needed = {name: _up(total * float(shares[name])) for name in needed}
        total = sum(needed.values())
    return MetricSize(
        metric=metric.name,
        priority=metric.priority,
        question="exclude" if exclude else "detect",
        effect=effect,
        units=needed,
        total=total,
    )


def _of_queries(
    experiment: Experiment, metric: Metric, effect: float, alpha: float, *, exclude: bool
) -> MetricSize | NotEstimable:
    """Queries in a shared list, each of which every arm takes part in."""
    queries = query_size(experiment, metric, effect, alpha, experiment.plan.power, exclude=exclude)
    if isinstance(queries, NotEstimable):
        return queries
    return MetricSize(
        metric=metric.name,
        priority=metric.priority,
        question="exclude" if exclude else "detect",
        effect=effect,
        units={variant.name: queries for variant in experiment.variants},
        total=queries,
    )


def _two_arms(
    metric: Metric, effect: float, ratio: float, alpha: float, power: float, *, exclude: bool
) -> tuple[int, int] | NotEstimable:
    try:
        if metric.kind == "proportion" and metric.baseline is not None:
            if exclude:
                size = size_noninferior_proportions(
                    metric.baseline, effect, alpha=alpha / 2, power=power, ratio=ratio, better=metric.better
                )
            else:
                size = size_two_proportions(
                    metric.baseline, metric.sign * effect, alpha=alpha, power=power, ratio=ratio
                )
        elif exclude:
            size = size_noninferior_means(
                metric.spread or 0.0, effect, alpha=alpha / 2, power=power, ratio=ratio
            )
        else:
            size = size_two_means(metric.spread or 0.0, effect, alpha=alpha, power=power, ratio=ratio)
    except UsageError as error:
        return NotEstimable(f"{metric.name}: {error}")
    return size.control, size.treatment


def _days(experiment: Experiment, total: int | None, traffic: float | None) -> float | NotEstimable:
    if total is None:
        return NotEstimable("no metric could be sized")
    if traffic is None:
        return NotEstimable("no traffic is given; say `units_per_day` in the plan, or --units-per-day")
    settings = experiment.plan
    days = settings.burn_in / DAY + total / traffic
    cycle = slot_cycle(experiment)
    # Whole cycles, so that every weekday is seen equally often.
    return math.ceil(days / cycle - 1e-9) * cycle if cycle else days


def _curve(
    experiment: Experiment, size: MetricSize, total: int | None, alpha: float
) -> tuple[tuple[float, float], ...]:
    """Power against the true effect, at the planned number of units, for a single look."""
    metric = experiment.primary
    if total is None:
        return ()
    scale = total / size.total
    control = _up(size.units["control"] * scale)
    treatment = _up(size.units[experiment.treatments[0].name] * scale)
    points = []
    for step in range(1, 41):
        effect = size.effect * step / 20
        if experiment.interleaving is not None:
            found = query_power(experiment, effect, total, alpha)
            if found is not None:
                points.append((effect, found))
            continue
        try:
            if metric.kind == "proportion" and metric.baseline is not None:
                power = power_two_proportions(
                    control, treatment, metric.baseline, metric.sign * effect, alpha
                )
            else:
                power = power_two_means(control, treatment, metric.spread or 0.0, effect, alpha)
        except UsageError:
            break  # the rate has left (0, 1)
        points.append((effect, power))
    return tuple(points)


def _requests(experiment: Experiment) -> dict[str, int]:
    """The calls of one case, by what they are for; empty where everything is recorded."""
    offline = experiment.offline
    if offline is None:
        return {}
    judge = offline.judge
    asks = judge is not None and judge.model is not None
    wanted = {
        "answers": 0 if offline.answers else len(experiment.variants),
        # Every pair is shown in both orders.
        "comparisons": 2 * len(experiment.treatments) if asks and judge and judge.pairwise is None else 0,
        "grades": len(experiment.variants)
        if asks and judge and offline.rubric and judge.grades is None
        else 0,
    }
    return {what: count for what, count in wanted.items() if count}
