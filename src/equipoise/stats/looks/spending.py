"""How much of the permitted error may be used up by the time a given share of the information is in.

A spending function takes the information fraction and the error of *one* tail. A two-sided test of level
0.05 is two tails of 0.025, each spent by the same function: this is how the tables of Lan and DeMets are
computed.

Three different things go by the name "O'Brien–Fleming". Five equal looks, two-sided 0.05:

- the exact boundary c/√t with one constant c, `classic_boundaries.obrien_fleming_boundaries`: it needs the
  number and the times of the looks beforehand (4.5617 3.2256 2.6337 2.2809 2.0401);
- the spending function of Lan and DeMets that comes near it, applied to each tail, `obrien_fleming`: any
  number of looks at any time, and what published tables print (4.8769 3.3570 2.6803 2.2898 2.0310);
- the same formula applied to the two-sided error and halved, `obrien_fleming_of_both_tails`: it spends up to
  ten times as much at the first looks and is computed by some programs under the same name
  (4.3826 3.0997 2.5534 2.2538 2.0635).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from scipy.special import ndtr, ndtri

from equipoise.errors import UsageError
from equipoise.stats.domain import inside, positive

__all__ = [
    "SPENDING",
    "SPENDING_FAMILIES",
    "Spending",
    "hwang_shih_decani",
    "kim_demets",
    "obrien_fleming",
    "obrien_fleming_of_both_tails",
    "pocock",
    "spending_named",
]

Spending = Callable[[float, float], float]


def obrien_fleming(fraction: float, alpha: float) -> float:
    """The error spent at `fraction`, almost none early: 2 − 2Φ(z_{alpha/2} / sqrt(fraction)).

    `fraction` is above 0 and counts as 1 from there on; `alpha` is the error of the tail that is spent.
    This is the "O'Brien–Fleming type" of the tables; see the head of this file for two others of the name.
    Errors: UsageError outside the domain. Source: Lan & DeMets (1983), Biometrika 70, 659, α₁*.

    >>> f"{obrien_fleming(0.2, 0.025):.3e} {obrien_fleming(1, 0.025):.3f}"
    '5.389e-07 0.025'
    """
    t, alpha = _domain(fraction, alpha)
    return alpha if t == 1.0 else 2.0 * float(ndtr(ndtri(alpha / 2.0) / math.sqrt(t)))


def obrien_fleming_of_both_tails(fraction: float, alpha: float) -> float:
    """The error one tail spends where the formula is applied to both tails together: 1 − Φ(z_{alpha} / sqrt(t)).

    With A = 2·alpha the two-sided error, this is half of 2 − 2Φ(z_{A/2} / sqrt(t)). It is offered to
    reproduce programs that compute it so; a two-sided test only, at the same total error. Its first boundary
    is z_{A/2}/√t₁ exactly.
    `fraction` is above 0 and counts as 1 from there on; `alpha` is the error of the tail that is spent.
    Errors: UsageError outside the domain. Source: Lan & DeMets (1983), α₁*, with the two-sided level for α.

    >>> f"{obrien_fleming_of_both_tails(0.2, 0.025):.3e} {obrien_fleming_of_both_tails(1, 0.025):.3f}"
    '5.863e-06 0.025'
    """
    t, alpha = _domain(fraction, alpha)
    return alpha if t == 1.0 else float(ndtr(ndtri(alpha) / math.sqrt(t)))


def pocock(fraction: float, alpha: float) -> float:
    """The error spent at `fraction`, nearly evenly: alpha · ln(1 + (e − 1)·fraction).

    `fraction` is above 0 and counts as 1 from there on; `alpha` is the error of the tail that is spent.
    Errors: UsageError outside the domain. Source: Lan & DeMets (1983), Biometrika 70, 659, α₂*.

    >>> round(pocock(0.5, 0.025), 5)
    0.0155
    """
    t, alpha = _domain(fraction, alpha)
    return alpha if t == 1.0 else alpha * math.log1p(math.expm1(1.0) * t)


def hwang_shih_decani(gamma: float) -> Spending:
    """The spending function alpha · (1 − e^{−gamma·t}) / (1 − e^{−gamma}).

    `gamma` is any number from −40 to 40: −4 spends about as O'Brien–Fleming does, 1 about as Pocock does, 0
    (by convention alpha·t, the limit) evenly. Errors: UsageError for another gamma, and from the function as
    for `obrien_fleming`.
    Source: Hwang, Shih & DeCani (1990), Statistics in Medicine 9, 1439, equation 3.

    >>> round(hwang_shih_decani(-4)(0.5, 0.025), 6)
    0.00298
    """
    g = inside("gamma", gamma, -40.000001, 40.000001)

    def spend(fraction: float, alpha: float) -> float:
        t, alpha = _domain(fraction, alpha)
        if t == 1.0:
            return alpha
        return alpha * (t if abs(g) < 1e-9 else math.expm1(-g * t) / math.expm1(-g))

    return spend


def kim_demets(rho: float) -> Spending:
    """The spending function alpha · t^rho.

    `rho` is above 0 and at most 40: 1 spends evenly, 3 about as O'Brien–Fleming does. Errors: UsageError for
    another rho, and from the function as for `obrien_fleming`.
    Source: Kim & DeMets (1987), Biometrika 74, 149.

    >>> round(kim_demets(3)(0.5, 0.025), 6)
    0.003125
    """
    r = positive("rho", rho)
    if r > 40.0:
        raise UsageError(f"rho must be at most 40, not {rho}")

    def spend(fraction: float, alpha: float) -> float:
        t, alpha = _domain(fraction, alpha)
        return alpha * math.pow(t, r)

    return spend


SPENDING: Mapping[str, Spending] = {"obrien_fleming": obrien_fleming, "pocock": pocock}
"""The functions that need no parameter, by name. `obrien_fleming_of_both_tails` has no name here: who asks
for O'Brien–Fleming by name gets what the tables print."""

SPENDING_FAMILIES: Mapping[str, Callable[[float], Spending]] = {
    "hwang_shih_decani": hwang_shih_decani,
    "kim_demets": kim_demets,
}
"""The families that need one parameter, by name."""


def spending_named(name: str, parameter: float | None = None) -> Spending:
    """The spending function that a definition means by a name and, for a family, its parameter.

    Errors: UsageError for an unknown name, a family without its parameter, a parameter where none is taken,
    or one outside the family's domain. Sources: those of the functions.

    >>> round(spending_named("hwang_shih_decani", -4)(0.5, 0.025), 6)
    0.00298
    >>> spending_named("pocock") is pocock
    True
    """
    if name in SPENDING:
        if parameter is not None:
            raise UsageError(f"the spending function {name} takes no parameter, but {parameter:g} was given")
        return SPENDING[name]
    if name not in SPENDING_FAMILIES:
        raise UsageError(
            f"there is no spending function {name!r}; there are {', '.join([*SPENDING, *SPENDING_FAMILIES])}"
        )
    if parameter is None:
        raise UsageError(f"the spending function {name} needs its parameter")
    return SPENDING_FAMILIES[name](parameter)


def _domain(fraction: float, alpha: float) -> tuple[float, float]:
    if not fraction > 0:
        raise UsageError(f"an information fraction must be above 0, not {fraction}")
    return min(1.0, float(fraction)), inside("alpha", alpha)
