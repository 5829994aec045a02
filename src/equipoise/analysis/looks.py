"""Is this a registered look, and which boundary belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtr

from equipoise.design.schedule import boundary_now, schedule
from equipoise.experiment.definition import Experiment
from equipoise.stats.estimate import NotEstimable

__all__ = ["LookState", "PastLook", "look_now", "planned_looks"]

_LEAST_STEP = 1e-3


@dataclass(frozen=True, slots=True)
class PastLook:
    """A look taken or planned: its information fraction, the boundary used, and the primary's statistic.

    `guard_boundary` is the one its guardrails were judged by; None where that is the primary's.
    """

    fraction: float
    boundary: float
    statistic: float | None = None
    guard_boundary: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookState:
    """The look at hand.

    `due` looks may judge effects; others (peeks) show health and guardrails only. `fraction` is the
    information seen over the registered maximum, None where that is unknown; `at` is the fraction that the
    boundaries belong to, which later looks reckon with: always known, and beyond every look before. Where nothing is
    `sized` no registered look comes due, and only a closing one is left.
    `boundary` is on the z scale for the primary, whose alpha the treatments share; `guard_boundary` for
    each guardrail, which has the whole of its own.
    """

    due: bool
    final: bool
    number: int
    of: int
    fraction: float | None
    at: float
    boundary: float
    guard_boundary: float
    says: str
    sized: bool = True

    @property
    def level(self) -> float:
        """The confidence level whose interval excludes the null exactly when the boundary is crossed."""
        return 1.0 - 2.0 * float(ndtr(-self.boundary))

    @property
    def guard_level(self) -> float:
        return 1.0 - 2.0 * float(ndtr(-self.guard_boundary))


def planned_looks(experiment: Experiment) -> tuple[PastLook, ...]:
    """The registered looks with the boundaries they have if they are taken when planned."""
    settings = experiment.plan
    alpha = settings.alpha / len(experiment.treatments)
    limits = schedule(settings, alpha).boundaries
    return tuple(PastLook(fraction, limit) for fraction, limit in zip(settings.looks, limits, strict=True))


def look_now(
    experiment: Experiment,
    *,
    information: float | NotEstimable,
    maximum: float | NotEstimable,
    past: Sequence[PastLook] = (),
    closing: bool = False,
) -> LookState:
    """The look that the information seen allows.

    `information` and `maximum` are 1 / standard error² of the primary's effect, now and at the planned
    end. `closing` says that no more data will come: this look is the last and spends what is left of alpha.
    A look is due once the information has passed the next registered fraction; if it passed several, they
    are taken as one.
    """
    settings = experiment.plan
    seen = (
        None
        if isinstance(information, NotEstimable) or isinstance(maximum, NotEstimable)
        else information / maximum
    )
    before = past[-1].fraction if past else 0.0
    beyond = before + _LEAST_STEP * max(1.0, before)
    passed = 0 if seen is None else sum(fraction <= seen + 1e-9 for fraction in settings.looks)
    ahead = seen is not None and seen > beyond
    final = closing or passed == len(settings.looks)
    taken = sum(fraction <= before + 1e-9 for fraction in settings.looks)
    due = closing or (ahead and passed > taken)
    # A boundary needs a fraction; where none is known, a closing look stands at the end of the scale.
    at = seen if seen is not None and ahead else max(beyond, 1.0 if closing else 0.01)
    alpha = settings.alpha / len(experiment.treatments)
    number = len(past) + 1
    if due:
        says = f"look {number} of at most {len(settings.looks)} in the plan"
        if seen is not None:
            says += f", at {seen:.0%} of the planned information"
        if final:
            says += "; the last: it may spend all the alpha that is left"
    elif seen is None:
        why = information.reason if isinstance(information, NotEstimable) else ""
        why = why or (maximum.reason if isinstance(maximum, NotEstimable) else "")
        says = f"a peek: how far along the experiment is cannot be told ({why}). Effects are withheld"
    else:
        following = next((f for f in settings.looks if f > max(seen, before)), 1.0)
        says = (
            f"a peek at {seen:.0%} of the planned information; the next registered look is at {following:.0%}. "
            "Effects are withheld until then"
        )
    fractions = [look.fraction for look in past]
    used = [look.boundary for look in past]
    guards = [look.boundary if look.guard_boundary is None else look.guard_boundary for look in past]
    return LookState(
        due=due,
        final=final and due,
        number=number,
        of=len(settings.looks),
        fraction=seen,
        at=at,
        boundary=boundary_now(settings, fractions, used, at, alpha, last=final),
        guard_boundary=boundary_now(settings, fractions, guards, at, settings.alpha, last=final),
        says=says,
        sized=not isinstance(maximum, NotEstimable),
    )
