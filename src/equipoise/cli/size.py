"""`equipoise size KIND`: a sample size without a file, or the effect that given units find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, emit
from equipoise.cli.size_options import (
    Alpha,
    Arms,
    Baseline,
    ClusterCv,
    ClusterSize,
    Correction,
    Curve,
    Cycle,
    Difference,
    Effect,
    Fall,
    Icc,
    Looks,
    OneSided,
    Power,
    Ratio,
    Spending,
    Spread,
    Traffic,
    Units,
    conditions_of,
    effect_of,
    rate_or_mean,
)
from equipoise.cli.size_text import say
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.design.conditions import Conditions
    from equipoise.design.outcomes import Outcome
    from equipoise.design.size import Size

__all__ = ["app"]

app = typer.Typer(
    help="Units each arm needs, without a file; with --units, the effect that so many units find.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("proportion")
def proportion(
    baseline: Baseline,
    mde: Effect = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    fall: Fall = False,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    icc: Icc = None,
    cluster_size: ClusterSize = None,
    cluster_cv: ClusterCv = 0.0,
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """Two rates, two-sided, with the pooled variance under the null.

    per_variant in the JSON is null where the arms differ in size; by_variant always holds all of them.
    """
    from equipoise.design.outcomes import Proportion

    _answer(
        Proportion(baseline, "fall" if fall else "rise"),
        None if mde is None else effect_of(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("mean")
def mean(
    spread: Spread,
    mde: Difference = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    icc: Icc = None,
    cluster_size: ClusterSize = None,
    cluster_cv: ClusterCv = 0.0,
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """Two means, two-sided."""
    from equipoise.design.outcomes import Mean

    _answer(
        Mean(spread),
        mde,
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("ratio")
def ratio_of_sums(
    mean_x: Annotated[float, typer.Option(help="Mean per unit of what is counted, such as dollars.")],
    mean_y: Annotated[float, typer.Option(help="Mean per unit of what it is divided by, such as turns.")],
    spread_x: Annotated[float, typer.Option(help="Standard deviation of the first between units.")],
    spread_y: Annotated[float, typer.Option(help="Standard deviation of the second between units.")],
    correlation: Annotated[float, typer.Option(help="Correlation of the two between units.")],
    mde: Effect = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """Two ratios of sums, such as dollars per turn, by the delta method; two-sided.

    The means and spreads are per randomised unit, so turns of one user may be alike.
    """
    from equipoise.design.outcomes import ratio_outcome

    outcome = ratio_outcome(mean_x, mean_y, spread_x, spread_y, correlation)
    _answer(
        outcome,
        None if mde is None else effect_of(mde, mean_x / mean_y),
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, None, None, 0.0),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("quantile")
def quantile(
    quantile: Annotated[float, typer.Option(help="Which quantile: 0.95 for the 95th percentile.")] = 0.95,
    density: Annotated[
        float | None, typer.Option(help="Share of turns per unit of the outcome, around the quantile.")
    ] = None,
    pilot_error: Annotated[
        float | None, typer.Option(help="Standard error of the quantile in a pilot; needs --pilot-units.")
    ] = None,
    pilot_units: Annotated[int | None, typer.Option(help="Units of that pilot.")] = None,
    mde: Difference = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """Two quantiles, such as the 95th percentile of latency; two-sided.

    The density supposes one turn per unit; where a unit has several, give a pilot's standard error.
    """
    from equipoise.design.outcomes import quantile_outcome

    _answer(
        quantile_outcome(quantile, density, pilot_error=pilot_error, pilot_units=pilot_units),
        mde,
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, None, None, 0.0),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("noninferiority")
def noninferiority(
    baseline: Annotated[
        float | None, typer.Option(help="The rate that both arms are supposed to have, between 0 and 1.")
    ] = None,
    spread: Annotated[
        float | None, typer.Option(help="Standard deviation between units, for a mean in place of a rate.")
    ] = None,
    margin: Annotated[
        str | None, typer.Option(help="Degradation to be excluded: 0.01, 1pp, or 2% of the baseline.")
    ] = None,
    better: Annotated[str, typer.Option(help="Whether a higher or a lower rate is better.")] = "higher",
    alpha: OneSided = 0.025,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    icc: Icc = None,
    cluster_size: ClusterSize = None,
    cluster_cv: ClusterCv = 0.0,
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """A rate or a mean that may not be worse by a margin; one-sided.

    With --units it is the margin that so many units can exclude.
    """
    from equipoise.design.outcomes import NoninferiorMean, NoninferiorProportion

    rate_or_mean(baseline, spread)
    if better not in ("higher", "lower"):
        raise UsageError(f"better must be 'higher' or 'lower', not {better!r}")
    outcome: Outcome
    if baseline is not None:
        outcome = NoninferiorProportion(baseline, "higher" if better == "higher" else "lower")
    else:
        outcome = NoninferiorMean(spread or 0.0)
    _answer(
        outcome,
        None if margin is None else effect_of(margin, baseline, "--margin"),
        units,
        (alpha, power, ratio, 1),
        conditions_of(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("clusters")
def clusters(
    icc: Annotated[float, typer.Option(help="Share of the variance that lies between clusters.")],
    cluster_size: Annotated[float, typer.Option(help="Mean number of units in a cluster.")],
    cluster_cv: ClusterCv = 0.0,
    baseline: Annotated[float | None, typer.Option(help="Control's rate, for a yes-or-no outcome.")] = None,
    spread: Annotated[
        float | None, typer.Option(help="Standard deviation between units, for a mean.")
    ] = None,
    mde: Effect = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """Whole clusters (teams, documents) are randomised and their units are alike; two-sided.

    The number of clusters is found by a t test over clusters; units are what those hold on average.
    """
    from equipoise.design.outcomes import Mean, Proportion

    rate_or_mean(baseline, spread)
    _answer(
        Proportion(baseline) if baseline is not None else Mean(spread or 0.0),
        None if mde is None else effect_of(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
        (units_per_day, cycle_days, curve, as_json),
    )


@app.command("judged")
def judged(
    baseline: Baseline,
    sensitivity: Annotated[float, typer.Option(help="Share of true successes that the judge passes.")],
    specificity: Annotated[float, typer.Option(help="Share of true failures that the judge fails.")],
    mde: Effect = None,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    units: Units = None,
    fall: Fall = False,
    arms: Arms = 2,
    correction: Correction = "dunnett",
    looks: Looks = 1,
    spending: Spending = "obrien_fleming",
    units_per_day: Traffic = None,
    cycle_days: Cycle = 7.0,
    curve: Curve = False,
    as_json: AsJson = False,
) -> None:
    """A rate that a judge scores, who errs and so makes the difference look smaller; two-sided.

    labels_per_variant in the JSON is how many human labels an estimate corrected by them would need.
    """
    from equipoise.design.outcomes import JudgedProportion
    from equipoise.design.size import labels_for

    outcome = JudgedProportion(baseline, sensitivity, specificity, "fall" if fall else "rise")

    def labels(sized: Size) -> dict[str, Any]:
        found = labels_for(outcome, sized)
        return {"labels_per_variant": found if isinstance(found, int) else None}

    _answer(
        outcome,
        None if mde is None else effect_of(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        conditions_of(arms, correction, looks, spending, None, None, 0.0),
        (units_per_day, cycle_days, curve, as_json),
        labels,
    )


def _answer(
    outcome: Outcome,
    effect: float | None,
    units: int | None,
    numbers: tuple[float, float, float, int],
    conditions: Conditions,
    saying: tuple[float | None, float, bool, bool],
    more: Any = None,
) -> None:
    from equipoise.design.conditions import days_needed
    from equipoise.design.size import curve, detectable, size
    from equipoise.stats.estimate import NotEstimable

    alpha, power, ratio, sides = numbers
    traffic, cycle, with_curve, as_json = saying
    asked = "--mde" if outcome.answer == "mde" else "--margin"
    if (effect is None) == (units is None):
        raise UsageError(
            f"give either {asked} (to ask for units) or --units (to ask for the effect they find)"
        )
    if effect is not None:
        sized = size(outcome, effect, alpha, power, ratio, sides=sides, conditions=conditions)
    else:
        found = detectable(outcome, units or 0, alpha, power, ratio, sides=sides, conditions=conditions)
        if isinstance(found, NotEstimable):
            raise UsageError(found.reason)
        sized = found
    extra: dict[str, Any] = {} if more is None else more(sized)
    if traffic is not None:
        extra["days"] = days_needed(sized.total, traffic, cycle_days=cycle)
    if with_curve:
        extra["power_curve"] = [
            {"effect": point.effect, "power": point.power} for point in curve(outcome, sized)
        ]
    if as_json:
        emit(sized.to_dict() | extra)
        return
    say(sized, extra)
