"""`equipoise size KIND`: a sample size without a file, or the effect that given units find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.output import AsJson, emit
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.design.outcomes import Outcome
    from equipoise.design.size import Conditions, Size

__all__ = ["app"]

app = typer.Typer(
    help="Units each arm needs, without a file; with --units, the effect that so many units find.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Alpha = Annotated[float, typer.Option(help="Two-sided error rate of the whole test.")]
OneSided = Annotated[float, typer.Option(help="One-sided error rate of the whole test.")]
Power = Annotated[float, typer.Option(help="Probability of finding the effect if it is there.")]
Ratio = Annotated[
    float,
    typer.Option(
        help="Units in each treatment per unit in control; with k treatments 1/√k needs the fewest in all."
    ),
]
Baseline = Annotated[float, typer.Option(help="Control's rate, between 0 and 1.")]
Spread = Annotated[float, typer.Option(help="Standard deviation between units.")]
Effect = Annotated[
    str | None, typer.Option(help="Smallest effect worth finding: 0.05, 5pp, or 8% of the baseline.")
]
Difference = Annotated[
    float | None, typer.Option(help="Smallest difference worth finding, in the metric's unit.")
]
Units = Annotated[
    int | None, typer.Option(help="Ask the reverse: the effect that so many units of all arms find.")
]
Fall = Annotated[bool, typer.Option("--fall", help="With --units: a fall of the rate, not a rise.")]
Arms = Annotated[int, typer.Option(help="Arms, control included; each treatment is compared with control.")]
Correction = Annotated[
    str, typer.Option(help="How several comparisons share the error: dunnett or bonferroni.")
]
Looks = Annotated[int, typer.Option(help="Evenly spaced looks, whose price is added.")]
Spending = Annotated[str, typer.Option(help="How the looks spend the error.")]
Icc = Annotated[
    float | None, typer.Option(help="Share of the variance between clusters, where those are randomised.")
]
ClusterSize = Annotated[float | None, typer.Option(help="Mean number of units in a cluster.")]
ClusterCv = Annotated[float, typer.Option(help="Standard deviation of cluster sizes over their mean.")]
Traffic = Annotated[
    float | None, typer.Option(help="Units enrolled per day, to be told how many days that takes.")
]
Cycle = Annotated[float, typer.Option(help="Days are rounded up to whole cycles of so many.")]
Curve = Annotated[bool, typer.Option("--curve", help="Add the power at other effects (in the JSON).")]


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
        None if mde is None else _effect(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        _conditions(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
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
        _conditions(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
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
        None if mde is None else _effect(mde, mean_x / mean_y),
        units,
        (alpha, power, ratio, 2),
        _conditions(arms, correction, looks, spending, None, None, 0.0),
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
        _conditions(arms, correction, looks, spending, None, None, 0.0),
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

    _one_of(baseline, spread)
    if better not in ("higher", "lower"):
        raise UsageError(f"better must be 'higher' or 'lower', not {better!r}")
    outcome: Outcome
    if baseline is not None:
        outcome = NoninferiorProportion(baseline, "higher" if better == "higher" else "lower")
    else:
        outcome = NoninferiorMean(spread or 0.0)
    _answer(
        outcome,
        None if margin is None else _effect(margin, baseline, "--margin"),
        units,
        (alpha, power, ratio, 1),
        _conditions(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
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

    _one_of(baseline, spread)
    _answer(
        Proportion(baseline) if baseline is not None else Mean(spread or 0.0),
        None if mde is None else _effect(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        _conditions(arms, correction, looks, spending, icc, cluster_size, cluster_cv),
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
        None if mde is None else _effect(mde, baseline),
        units,
        (alpha, power, ratio, 2),
        _conditions(arms, correction, looks, spending, None, None, 0.0),
        (units_per_day, cycle_days, curve, as_json),
        labels,
    )


def _effect(text: str, baseline: float | None, option: str = "--mde") -> float:
    from equipoise.experiment.amount import parse_amount

    try:
        amount = parse_amount(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text} cannot be read; accepted: a number, '5pp' or '8%'") from None
    if baseline is None and amount.scale == "relative":
        raise UsageError(f"{option} {text} is relative, and a spread alone gives nothing to take it of")
    return amount.of(baseline or 0.0)


def _one_of(baseline: float | None, spread: float | None) -> None:
    if (baseline is None) == (spread is None):
        raise UsageError("give either --baseline (a rate) or --spread (a mean)")


def _conditions(
    arms: int,
    correction: str,
    looks: int,
    spending: str,
    icc: float | None,
    cluster_size: float | None,
    cluster_cv: float,
) -> Conditions:
    from equipoise.design.size import Conditions

    if correction not in ("dunnett", "bonferroni"):
        raise UsageError(f"correction must be 'dunnett' or 'bonferroni', not {correction!r}")
    return Conditions(
        arms=arms,
        correction="dunnett" if correction == "dunnett" else "bonferroni",
        looks=looks,
        spending=spending,
        icc=icc,
        cluster_size=cluster_size,
        cluster_cv=cluster_cv,
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
    from equipoise.design.size import curve, days_needed, detectable, size
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
    _say(sized, extra)


def _say(size: Size, extra: dict[str, Any]) -> None:
    arms = (
        f"{size.control:,} units per variant"
        if size.control == size.treatment
        else f"{size.control:,} units in control and {size.treatment:,} in "
        + ("treatment" if size.conditions.treatments == 1 else "each treatment")
    )
    tails = "two-sided" if size.sides == 2 else "one-sided"
    print(f"{arms}, {size.total:,} in all (alpha {size.alpha:g}, {tails}; power {size.power:g})")
    if size.solved == "effect":
        name, value = ("mde", size.mde) if size.mde is not None else ("margin", size.margin)
        print(f"{'smallest detectable effect' if name == 'mde' else 'smallest margin excluded'}: {value:.4g}")
    if size.clusters is not None:
        held = ", ".join(f"{name} {n:,}" for name, n in size.clusters.items())
        print(f"clusters: {held}")
    if size.alpha_each is not None:
        print(f"each comparison at alpha {size.alpha_each:.4g} ({size.conditions.correction})")
    if size.inflation is not None:
        print(f"{size.conditions.looks} looks raise the units by a factor of {size.inflation:.4f}")
    if extra.get("labels_per_variant") is not None:
        print(f"corrected by human labels: {extra['labels_per_variant']:,} labels per variant")
    if "days" in extra:
        print(f"{extra['days']:g} days, in whole cycles")
    for point in extra.get("power_curve", ()):
        print(f"effect {point['effect']:.4g}: power {point['power']:.3f}")
