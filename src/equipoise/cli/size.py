"""`equipoise size KIND`: a sample size without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.output import AsJson, emit
from equipoise.errors import UsageError

if TYPE_CHECKING:
    from equipoise.design.size import Size

__all__ = ["app"]

app = typer.Typer(help="Units each arm needs, without a file.", no_args_is_help=True, rich_markup_mode=None)

Alpha = Annotated[float, typer.Option(help="Two-sided error rate of the whole test.")]
Power = Annotated[float, typer.Option(help="Probability of finding the effect if it is there.")]
Ratio = Annotated[float, typer.Option(help="Units in treatment per unit in control.")]
Effect = Annotated[str, typer.Option(help="Smallest effect worth finding: 0.05, 5pp, or 8% of the baseline.")]


@app.command("proportion")
def proportion(
    baseline: Annotated[float, typer.Option(help="Control's rate, between 0 and 1.")],
    mde: Effect,
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    as_json: AsJson = False,
) -> None:
    """Two rates, two-sided, with the pooled variance under the null.

    per_variant in the JSON is null where the arms differ in size; by_variant always holds both.
    """
    from equipoise.design.size import size_proportion

    _say(size_proportion(baseline, _effect(mde, baseline), alpha=alpha, power=power, ratio=ratio), as_json)


@app.command("mean")
def mean(
    spread: Annotated[float, typer.Option(help="Standard deviation between units.")],
    mde: Annotated[float, typer.Option(help="Smallest difference worth finding, in the metric's unit.")],
    alpha: Alpha = 0.05,
    power: Power = 0.8,
    ratio: Ratio = 1.0,
    as_json: AsJson = False,
) -> None:
    """Two means, two-sided."""
    from equipoise.design.size import size_mean

    _say(size_mean(spread, mde, alpha=alpha, power=power, ratio=ratio), as_json)


def _effect(text: str, baseline: float) -> float:
    from equipoise.experiment.amount import parse_amount

    try:
        return parse_amount(text).of(baseline)
    except ValueError:
        raise UsageError(f"--mde {text} cannot be read; accepted: a number, '5pp' or '8%'") from None


def _say(size: Size, as_json: bool) -> None:
    if as_json:
        emit(size.to_dict())
        return
    arms = (
        f"{size.control:,} units per variant"
        if size.control == size.treatment
        else f"{size.control:,} units in control and {size.treatment:,} in treatment"
    )
    print(f"{arms}, {size.total:,} in all (alpha {size.alpha:g}, two-sided; power {size.power:g})")
