"""Whether a variant is still felt after it was switched off: the carry-over test of a switchback."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.jackknife import jackknife_fit
from equipoise.stats.moments import Moments
from equipoise.stats.student import satterthwaite, t_estimate

__all__ = ["SlotCells", "carry_over", "carry_over_in_blocks"]

_NONE = Moments.zero()
LEAST_BLOCKS = 4
"""With fewer blocks than this a jackknife over them says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCells:
    """Moments of one outcome over time slots, by the variant of the slot before and of the slot itself.

    `treatment_control` holds control slots that follow a treatment slot. The first slot of all follows
    none and belongs to no cell. Cells merge with `+`.

    >>> one = SlotCells(control_control=Moments.of([1.0]))
    >>> (one + one).control_control.n
    2
    """

    control_control: Moments = _NONE
    treatment_control: Moments = _NONE
    control_treatment: Moments = _NONE
    treatment_treatment: Moments = _NONE

    def __add__(self, other: SlotCells) -> SlotCells:
        if not isinstance(other, SlotCells):
            return NotImplemented
        return SlotCells(
            control_control=self.control_control + other.control_control,
            treatment_control=self.treatment_control + other.treatment_control,
            control_treatment=self.control_treatment + other.control_treatment,
            treatment_treatment=self.treatment_treatment + other.treatment_treatment,
        )


def carry_over(cells: SlotCells, *, level: float = 0.95, null: float = 0.0) -> Estimate | NotEstimable:
    """What a treatment slot leaves behind in the next slot, over what a control slot leaves there.

    Scale: the outcome's unit, per slot. ½·[(TC − CC) + (TT − CT)], each a mean over slots with the slot
    before named first: the effect of the slot before, whichever variant is on now. It is independent of
    the effect itself only if every slot was randomised by its own draw; then slots may also be alike in
    time, since the draws are not. Slots that were switched by a fixed rhythm, or balanced within blocks
    of a few, share the rhythm's confusion with the time of day, and this error bar does not know it.

    A carry-over that is not found is not absent: compare the interval with the effect. Were it tested
    first and the analysis chosen by it, the chosen one would err more often than it says (Freeman 1989);
    plan a burn-in at the start of each slot instead.

    Degenerate cases: not estimable with fewer than two slots in a cell (strict alternation has none where
    a variant follows itself, and cannot tell the two apart), or where the outcome is constant in all.
    Errors: UsageError for a level outside (0, 1) or a null that is not finite.
    Source: Bojinov, Simchi-Levi & Zhao (2023), Management Science 69, 3759 (order m = 1 of the carry-over
    effect); Welch (1947) and Satterthwaite (1946) for the error; Freeman (1989), Statistics in Medicine 8,
    1421, for the warning.

    >>> cells = SlotCells(
    ...     control_control=Moments.of([1.0, 1.2, 0.9]), treatment_control=Moments.of([1.5, 1.4, 1.7]),
    ...     control_treatment=Moments.of([2.0, 2.1, 1.8]), treatment_treatment=Moments.of([2.4, 2.6, 2.5]),
    ... )
    >>> e = carry_over(cells)
    >>> round(e.value, 3), round(e.standard_error, 3), round(e.p_value, 4)
    (0.517, 0.082, 0.0003)
    """
    level, null = inside("level", level), finite("null", null)
    signed = (
        ("control after control", cells.control_control, -0.5),
        ("control after treatment", cells.treatment_control, 0.5),
        ("treatment after control", cells.control_treatment, -0.5),
        ("treatment after treatment", cells.treatment_treatment, 0.5),
    )
    for name, moments, _ in signed:
        if moments.n < 2:
            return NotEstimable(
                f"{name} was seen in {moments.n} slot{'' if moments.n == 1 else 's'}, and a spread needs at least two"
            )
    if all(moments.constant for _, moments, _ in signed):
        return NotEstimable("the outcome is constant in all four kinds of slot")
    parts = [(0.25 * moments.m2 / (moments.n - 1) / moments.n, moments.n) for _, moments, _ in signed]
    return t_estimate(
        math.fsum(weight * moments.mean for _, moments, weight in signed),
        math.sqrt(math.fsum(variance for variance, _ in parts)),
        satterthwaite(*parts),
        level=level,
        null=null,
        method="carry-over of the slot before, Welch's t over four kinds of slot",
    )


def carry_over_in_blocks(
    totals: Sequence[float],
    sizes: Sequence[float],
    arms: Sequence[Hashable],
    after_treatment: Sequence[bool],
    blocks: Sequence[Hashable],
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """What a treatment slot leaves behind in the next, where slots were drawn in blocks. One entry per slot.

    Scale: the outcome per unit of size. A slot's outcome is `totals` over `sizes` (1 where the slot is the unit), `arms` its
    own arm, `after_treatment` whether the slot before had the treatment (else control), `blocks` what that slot before was
    drawn with. The slot before is fitted beside the slot's own arm, by least squares with the sizes as weights; the error
    is the jackknife's over blocks (CR3) with Student's t on one degree of freedom less than there are. Where two slots
    before mirror each other, what the slots after them have in common (the time of day) cancels. The warning of
    `carry_over` holds.

    Degenerate cases: not estimable with fewer than four blocks, where without a block own arm and slot before can no longer
    be told apart (strict alternation), or where nothing varies. Errors: UsageError for unequal lengths, totals or sizes that
    are not finite, sizes not above 0, a level outside (0, 1) or a null that is not finite.
    Source: Bojinov, Simchi-Levi & Zhao (2023), Management Science 69, 3759; MacKinnon, Nielsen & Webb (2023), Journal of
    Econometrics 232, 272, for the jackknife; Freeman (1989) for the warning.

    >>> e = carry_over_in_blocks(
    ...     [1.0, 1.5, 2.0, 2.4, 1.2, 1.4, 2.1, 2.6, 0.9, 1.7, 1.8, 2.5], [1.0] * 12,
    ...     [0, 0, 1, 1] * 3, [False, True] * 6, [0, 1, 2, 3, 1, 0, 3, 2, 4, 5, 5, 4],
    ... )
    >>> round(e.value, 3), round(e.standard_error, 3), round(e.p_value, 4)
    (0.517, 0.103, 0.004)
    """
    level, null = inside("level", level), finite("null", null)
    columns = (totals, sizes, arms, after_treatment, blocks)
    if len({len(column) for column in columns}) > 1:
        said = ", ".join(str(len(column)) for column in columns)
        raise UsageError(f"each slot has one entry in every list, and these have {said}")
    y, m = np.asarray(totals, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if not (np.isfinite(y).all() and np.isfinite(m).all() and (m > 0.0).all()):
        raise UsageError("the totals of slots must be finite numbers, and their sizes above 0")
    named = {arm: n for n, arm in enumerate(dict.fromkeys(arms))}
    drawn = len(set(blocks))
    if drawn < LEAST_BLOCKS:
        return NotEstimable(f"the slots before were drawn in {drawn} blocks, and {LEAST_BLOCKS} are needed")
    x = np.zeros((y.size, len(named) + 1))
    x[np.arange(y.size), [named[arm] for arm in arms]] = 1.0
    x[:, -1] = after_treatment
    # Taken from the mean of all, so that a level far from 0 costs no digits.
    y = y - m * (y.sum() / m.sum())
    fit = jackknife_fit(x, y / m, m, blocks)
    if fit is None:
        return NotEstimable(
            "the slot before and the slot's own arm cannot be told apart where one block is left out"
        )
    value, error = float(fit[0][-1]), math.sqrt(float(fit[1][-1]))
    if error <= 2.0**-40 * float(np.abs(y / m).max()):
        return NotEstimable("the outcome does not vary beyond the slot's own arm and the slot before")
    return t_estimate(
        value,
        error,
        drawn - 1.0,
        level=level,
        null=null,
        method="carry-over of the slot before, jackknife over blocks and t",
    )
