"""When an experiment is looked at and which boundary belongs to each look, from the plan's own words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from equipoise.experiment.definition import PlanSettings
from equipoise.stats.looks.registered_boundaries import RegisteredRule, registered_rule
from equipoise.stats.looks.sequential import Inflation, inflation, inflation_of, next_boundary
from equipoise.stats.looks.spending import spending_named

__all__ = ["boundary_now", "schedule", "spent", "written_rule"]


def written_rule(settings: PlanSettings) -> RegisteredRule | None:
    """The plan's rule of plain boundaries, with the error it really has; None where alpha is spent instead."""
    return None if settings.boundaries is None else registered_rule(settings.looks, settings.boundaries)


@lru_cache(maxsize=64)
def schedule(settings: PlanSettings, alpha: float) -> Inflation:
    """The boundaries of the looks if they are taken when planned, and what looking costs.

    `alpha` is the error of one comparison; a rule of plain boundaries has its own, whatever that is.
    """
    if settings.boundaries is not None:
        return inflation_of(settings.looks, settings.boundaries, alpha, settings.power)
    return inflation(settings.looks, alpha, settings.power, spending_named(*_spending(settings)))


def spent(settings: PlanSettings, alpha: float) -> tuple[float, ...]:
    """The error used up by each look, both tails together."""
    rule = written_rule(settings)
    if rule is not None:
        return rule.spent
    spend = spending_named(*_spending(settings))
    return tuple(2 * spend(fraction, alpha / 2) for fraction in settings.looks)


def boundary_now(
    settings: PlanSettings,
    fractions: Sequence[float],
    used: Sequence[float],
    at: float,
    alpha: float,
    *,
    last: bool,
) -> float:
    """The boundary of a look at information fraction `at`, after looks at `fractions` with boundaries `used`.

    With plain boundaries it is the one written for the latest look that the information has passed (the
    first, for a peek before it). Otherwise it spends what the spending function permits by now, and the
    `last` look all that is left.
    """
    if settings.boundaries is not None:
        passed = sum(look <= at + 1e-9 for look in settings.looks)
        return settings.boundaries[-1 if last else max(passed, 1) - 1]
    return _spending_boundary(settings, tuple(fractions), tuple(used), at, alpha, last)


# A lone treatment's primary and its guardrails have one boundary, which is searched for once.
@lru_cache(maxsize=64)
def _spending_boundary(
    settings: PlanSettings,
    fractions: tuple[float, ...],
    used: tuple[float, ...],
    at: float,
    alpha: float,
    last: bool,
) -> float:
    return next_boundary(fractions, used, at, alpha, spending_named(*_spending(settings)), last=last)


def _spending(settings: PlanSettings) -> tuple[str, float | None]:
    return settings.spending, settings.spending_parameter
