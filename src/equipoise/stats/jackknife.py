"""Least squares whose error is the jackknife's over groups: nothing is assumed of what a group has in common."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["jackknife_fit"]

Floats = NDArray[np.float64]


def jackknife_fit(
    x: Floats, y: Floats, weights: Floats, groups: Sequence[Hashable]
) -> tuple[Floats, Floats] | None:
    """The coefficients of weighted least squares and their jackknife variances over groups (CR3); None without rank.

    `x` has a row for each value and a column for each coefficient; weights are above 0. There is no rank where some
    coefficient cannot be told once one group is left out.

    Source: MacKinnon, Nielsen & Webb (2023), Journal of Econometrics 232, 272.

    >>> fit = jackknife_fit(np.ones((3, 1)), np.array([1.0, 2.0, 6.0]), np.ones(3), "abc")
    >>> [round(float(each[0]), 4) for each in fit]                    # the mean, and its squared standard error
    [3.0, 2.3333]
    """
    places = {group: n for n, group in enumerate(dict.fromkeys(groups))}
    at = [places[group] for group in groups]
    left, right = np.zeros((len(places), x.shape[1], x.shape[1])), np.zeros((len(places), x.shape[1]))
    np.add.at(left, at, weights[:, None, None] * x[:, :, None] * x[:, None, :])
    np.add.at(right, at, (weights * y)[:, None] * x)
    whole = left.sum(axis=0)
    without = whole - left
    if len(places) < 2 or (np.linalg.matrix_rank(without, hermitian=True) < x.shape[1]).any():
        return None
    found = np.linalg.solve(whole, right.sum(axis=0))
    moves = np.linalg.solve(without, (right.sum(axis=0) - right)[:, :, None])[:, :, 0] - found
    return found, (moves**2).sum(axis=0) * (len(places) - 1) / len(places)
