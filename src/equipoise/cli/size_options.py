"""The options that the kinds of `equipoise size` share, and how what was typed is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.design.conditions import Conditions

__all__ = [
    "Alpha",
    "Arms",
    "Baseline",
    "ClusterCv",
    "ClusterSize",
    "Correction",
    "Curve",
    "Cycle",
    "Difference",
    "Effect",
    "Fall",
    "Icc",
    "Looks",
    "OneSided",
    "Power",
    "Ratio",
    "Spending",
    "Spread",
    "Traffic",
    "Units",
    "conditions_of",
    "effect_of",
    "rate_or_mean",
]

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


def effect_of(text: str, baseline: float | None, option: str = "--mde") -> float:
    """The effect or margin that was written, as a number on the metric's scale."""
    from equipoise.experiment.amount import parse_amount

    try:
        amount = parse_amount(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text} cannot be read; accepted: a number, '5pp' or '8%'") from None
    if baseline is None and amount.scale == "relative":
        raise UsageError(f"{option} {text} is relative, and a spread alone gives nothing to take it of")
    return amount.of(baseline or 0.0)


def rate_or_mean(baseline: float | None, spread: float | None) -> None:
    """Refuse unless exactly one of the two is given."""
    if (baseline is None) == (spread is None):
        raise UsageError("give either --baseline (a rate) or --spread (a mean)")


def conditions_of(
    arms: int,
    correction: str,
    looks: int,
    spending: str,
    icc: float | None,
    cluster_size: float | None,
    cluster_cv: float,
) -> Conditions:
    """The conditions that the shared options describe."""
    from equipoise.design.conditions import Conditions

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
