"""A bandit's part of `equipoise plan`: what it would do over as many units as an A/B test needs, and when it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equipoise.cli.output import rows

if TYPE_CHECKING:
    from equipoise.design.plan import Plan
    from equipoise.experiment.definition import Experiment

__all__ = ["as_a_bandit", "bandit_lines"]


def as_a_bandit(experiment: Experiment, drawn: Plan) -> dict[str, Any]:
    """What a bandit would do over as many units as an A/B test needs, and when it fits; nothing of what is none."""
    from equipoise.design.bandit_forecast import forecast_bandit, when_it_fits
    from equipoise.stats.estimate import NotEstimable

    if experiment.bandit is None:
        return {}
    found = forecast_bandit(experiment, units=drawn.total, units_per_day=drawn.units_per_day)
    told = {"not_estimable": found.reason} if isinstance(found, NotEstimable) else found.to_dict()
    says = when_it_fits(experiment, units_per_day=drawn.units_per_day)
    return {"bandit": {"forecast": told, "says": list(says)}}


def bandit_lines(forecast: dict[str, Any], says: list[str]) -> list[str]:
    """The same in words."""
    lines = ["", "As a bandit"]
    if "not_estimable" in forecast:
        lines.append(f"  not estimable: {forecast['not_estimable']}")
    else:
        over = f"  over the {forecast['units']:,} units of that A/B test, {forecast['days']:.3g} days and"
        lines += [
            f"{over} {forecast['epochs']:,} epochs, where one treatment is better by {forecast['effect']:.4g}:",
            rows(
                ["", "bandit", "even shares"],
                [
                    ["rewards lost", f"{forecast['lost']:,.4g}", f"{forecast['lost_evenly']:,.4g}"],
                    ["units in a worse arm", f"{forecast['worse']:.1%}", f"{forecast['worse_evenly']:.1%}"],
                    ["the best arm has the best mean at the end", f"{forecast['found']:.1%}", ""],
                ],
            ),
            f"  ({forecast['runs']} simulated runs, seed {forecast['seed']}, without the drop rule)",
        ]
    return [*lines, *(f"Note: {each}." for each in says)]
