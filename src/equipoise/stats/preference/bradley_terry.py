"""Who beats whom: strengths of several variants from comparisons of two at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from equipoise.errors import UsageError
from equipoise.stats.cases.case_means import Clusters, cases_of, cluster_codes
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.preference.logistic import Matrix, climb, columns_of, dependent, sandwich, separated
from equipoise.stats.student import t_estimate

__all__ = ["BradleyTerry", "bradley_terry"]

Ties = Literal["half", "davidson"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BradleyTerry:
    """Fitted strengths of `players`, in log-odds and adding up to 0, and what the covariates do.

    `strengths` and `effects` stand in the order of `players` and `covariates`. `tie` is Davidson's log ν
    (None where ties count as half a win): two equals draw with probability ν / (2 + ν). `covariance` is
    that of strengths, effects and tie together, in this order.
    """

    players: tuple[str, ...]
    strengths: tuple[Estimate, ...]
    covariates: tuple[str, ...]
    effects: tuple[Estimate, ...]
    tie: Estimate | None
    covariance: tuple[tuple[float, ...], ...]
    comparisons: int
    clusters: int
    method: str

    def difference(self, player: str, other: str, *, level: float = 0.95) -> Estimate:
        """By how much `player` is stronger than `other`, in log-odds with all covariates at 0.

        Errors: UsageError for a name that was not compared, twice the same name, or a level outside (0, 1).

        >>> games = [("a", "b", 1)] * 6 + [("a", "b", 0)] * 4
        >>> e = bradley_terry(*map(list, zip(*games))).difference("a", "b")
        >>> round(e.value, 4), round(e.standard_error, 3)
        (0.4055, 0.68)
        """
        for name in (player, other):
            if name not in self.players:
                raise UsageError(f"{name} was not compared; compared were {', '.join(self.players)}")
        if player == other:
            raise UsageError(f"a difference needs two players, not {player} twice")
        i, j = self.players.index(player), self.players.index(other)
        c = self.covariance
        return t_estimate(
            self.strengths[i].value - self.strengths[j].value,
            math.sqrt(c[i][i] + c[j][j] - 2.0 * c[i][j]),
            self.clusters - 1.0,
            level=level,
            null=0.0,
            method=self.method,
        )

    def win_rate(self, player: str, other: str, *, level: float = 0.95) -> Estimate:
        """How often `player` would be preferred to `other`, a tie counting half, all covariates at 0.

        Scale: a share, null 0.5. The limits are those of `difference`, carried over by 1 / (1 + e^−x)
        (Davidson: (e^(x/2) + ν/2) / (e^(x/2) + e^(−x/2) + ν), with ν taken as known).

        >>> games = [("a", "b", 1)] * 6 + [("a", "b", 0)] * 4
        >>> e = bradley_terry(*map(list, zip(*games))).win_rate("a", "b")
        >>> round(e.value, 4), round(e.low, 3), round(e.high, 3)
        (0.6, 0.243, 0.875)
        """
        log_odds = self.difference(player, other, level=level)
        nu = 0.0 if self.tie is None else math.exp(self.tie.value)

        def share(x: float) -> float:
            if nu == 0.0:
                return float(expit(x))
            weaker, draw = math.exp(-abs(x)), nu * math.exp(-abs(x) / 2.0)
            return ((1.0 if x >= 0.0 else weaker) + draw / 2.0) / (1.0 + weaker + draw)

        value = share(log_odds.value)
        slope = (share(log_odds.value + 1e-5) - share(log_odds.value - 1e-5)) / 2e-5
        return Estimate(
            value=value,
            standard_error=log_odds.standard_error * slope,
            low=share(log_odds.low),
            high=share(log_odds.high),
            level=level,
            method=self.method,
            null=0.5,
            statistic=log_odds.statistic,
            p_value=log_odds.p_value,
            degrees_of_freedom=log_odds.degrees_of_freedom,
        )


def bradley_terry(
    first: Sequence[str],
    second: Sequence[str],
    scores: Values,
    *,
    covariates: Mapping[str, Values] | None = None,
    clusters: Clusters | None = None,
    ties: Ties = "half",
    level: float = 0.95,
) -> BradleyTerry | NotEstimable:
    """Strengths s such that `first` is preferred with log-odds s(first) − s(second) + xβ.

    One entry per comparison. A score is 1 where `first` is preferred, 0 where `second` is, 0.5 for a tie.
    Scale: log-odds, strengths adding up to 0. A covariate x is written from the side of `first`, so that it
    changes sign when the two change places: +1 if `first` was shown first and −1 if second; the difference
    in length, standardised. Strengths are then those at x = 0: no order, equal length.

    ties="half" counts a tie as half a win; scores may be any share in [0, 1], such as a judge's
    probability. The covariance does not assume that such scores vary like coins. ties="davidson" models
    ties: win, tie and loss are as exp(η/2), ν and exp(−η/2), with ν the same for all pairs; scores must be
    0, 0.5 or 1, and without any tie it is the plain model. Strengths of the two agree only where ties are
    few; half-wins draw them nearer to each other.

    Every spread is a sandwich: comparisons on the same case share a cluster if `clusters` names it, and the
    t distribution has one degree of freedom fewer than there are clusters (comparisons, where none are
    named). A single line of strengths cannot show a circle: where a beats b, b beats c and c beats a, all
    come out equal, and no interval warns of it.

    Degenerate cases: not estimable with fewer than two players; where some players were never compared with
    the others, even through third ones (the groups are named); where a group never lost a point to the rest
    (it is named: it would be infinitely strong); where a covariate follows from the strengths or the rest,
    or wins and losses are told apart without a fault; where there are no more clusters than parameters, all
    comparisons are met exactly, or a strength or a difference of two is the same in every cluster. Errors:
    UsageError for unequal lengths, a comparison of a player with itself, a score outside [0, 1], or with
    Davidson other than 0, 0.5 and 1.
    Source: Bradley & Terry (1952), Biometrika 39, 324; Ford (1957), American Mathematical Monthly 64, 28,
    for the condition of connection; Davidson (1970), JASA 65, 317, for ties; Liang & Zeger
    (1986), Biometrika 73, 13, for the covariance.

    >>> first, second = ["a", "b", "a", "c"] * 5, ["b", "c", "c", "a"] * 5
    >>> fit = bradley_terry(first, second, [1, 1, 0.5, 0] * 4 + [0, 0, 1, 1])
    >>> [(player, round(s.value, 2)) for player, s in zip(fit.players, fit.strengths)]
    [('a', 0.62), ('b', 0.0), ('c', -0.62)]
    """
    level = inside("level", level)
    y = cases_of("scores", scores)
    n = int(y.size)
    if not len(first) == len(second) == n:
        raise UsageError(
            f"first, second and scores must have the same length, not {len(first)}, {len(second)} and {n}"
        )
    if not ((y >= 0.0) & (y <= 1.0)).all():
        raise UsageError("every score must lie between 0 (second preferred) and 1 (first preferred)")
    if ties not in ("half", "davidson"):
        raise UsageError(f"ties must be half or davidson, not {ties}")
    if ties == "davidson" and not np.isin(y, (0.0, 0.5, 1.0)).all():
        raise UsageError("Davidson's ties need scores of 0, 0.5 or 1; count shares as half wins instead")
    alike = [a for a, b in zip(first, second, strict=True) if a == b]
    if alike:
        raise UsageError(f"{alike[0]} is compared with itself")
    players = tuple(sorted({*first, *second}))
    if len(players) < 2:
        return NotEstimable("there are no comparisons")
    place = {player: k for k, player in enumerate(players)}
    i = np.array([place[name] for name in first])
    j = np.array([place[name] for name in second])
    broken = _unconnected(players, i, j, y)
    if broken:
        return broken
    names = tuple(covariates or {})
    rows = np.arange(n)
    design = np.zeros((n, len(players)))
    design[rows, i], design[rows, j] = 1.0, -1.0
    # The last player is the reference while fitting; afterwards strengths are made to add up to 0.
    x = np.hstack([design[:, :-1], columns_of(covariates or {}, n)])
    follower = dependent(x, (*players[:-1], *names))
    if follower:
        return NotEstimable(f"{follower} follows from who was compared or from the other covariates")
    drawn = ties == "davidson" and bool((y == 0.5).any())
    codes = cluster_codes(clusters, n)
    groups, parameters = int(codes.max()) + 1, x.shape[1] + drawn
    if groups <= parameters:
        noun = ("comparison" if clusters is None else "cluster") + ("" if groups == 1 else "s")
        return NotEstimable(
            f"{groups} independent {noun} cannot give a spread to "
            f"{parameters} parameter{'' if parameters == 1 else 's'}"
        )
    if (names or drawn) and _endless(x, y, drawn=drawn):
        return NotEstimable("the comparisons are told apart without a fault, so no finite strengths fit them")
    beta, information, pieces = _fitted(x, y, drawn=drawn)
    covariance = sandwich(information, pieces, codes)
    if covariance is None:
        return NotEstimable("every comparison is met exactly, so there is no spread")
    k = len(players) - 1
    full = np.zeros((len(beta) + 1, len(beta)))
    full[:k, :k] = np.eye(k)
    full[: k + 1, :k] -= 1.0 / (k + 1)
    full[k + 1 :, k:] = np.eye(len(beta) - k)
    values, spread = full @ beta, full @ covariance @ full.T
    settled = _settled(players, spread)
    if settled:
        return settled
    method = "Bradley-Terry, ties as half wins" if ties == "half" else "Bradley-Terry, Davidson's ties"
    method += ", sandwich covariance" if clusters is None else ", sandwich covariance by cluster"
    found = [
        t_estimate(float(v), math.sqrt(s), groups - 1.0, level=level, null=0.0, method=method)
        for v, s in zip(values, np.diag(spread), strict=True)
    ]
    return BradleyTerry(
        players=players,
        strengths=tuple(found[: k + 1]),
        covariates=names,
        effects=tuple(found[k + 1 : k + 1 + len(names)]),
        tie=found[-1] if drawn else None,
        covariance=tuple(map(tuple, spread.tolist())),
        comparisons=n,
        clusters=groups,
        method=method,
    )


def _settled(players: tuple[str, ...], spread: Matrix) -> NotEstimable | None:
    """Which strength, or difference of two, is the same whatever clusters are left out: rounding is no spread."""
    k = len(players)
    own = np.diag(spread)[:k]
    apart = own[:, None] + own[None, :] - 2.0 * spread[:k, :k] + np.diag(own)
    least = int(apart.argmin())
    if apart.flat[least] > 2.0**-40 * float(own.max()):
        return None
    one, other = players[least // k], players[least % k]
    what = f"{one}'s strength" if one == other else f"the difference of {one} and {other}"
    return NotEstimable(f"{what} comes out the same in every cluster, so it has no spread")


def _unconnected(
    players: tuple[str, ...], i: NDArray[np.intp], j: NDArray[np.intp], y: Matrix
) -> NotEstimable | None:
    """Why no finite strengths exist, by Ford's condition: a path of points taken from each to each."""
    size = len(players)
    beats = np.eye(size, dtype=bool)
    np.logical_or.at(beats, (i, j), y > 0.0)
    np.logical_or.at(beats, (j, i), y < 1.0)
    reach, met = _closure(beats), _closure(beats | beats.T)
    groups = [tuple(players[b] for b in range(size) if met[a, b]) for a in range(size)]
    islands = list(dict.fromkeys(groups))
    if len(islands) > 1:
        said = "; ".join(", ".join(island) for island in islands)
        return NotEstimable(f"these groups were never compared with each other: {said}")
    # Who has a path of points to a player can have lost no point to anybody who has none.
    unbeaten = min((reach[:, a] for a in range(size)), key=lambda column: int(column.sum()))
    if unbeaten.all():
        return None
    best = [player for player, out in zip(players, unbeaten, strict=True) if out]
    return NotEstimable(
        f"{', '.join(best)} {'has' if len(best) == 1 else 'have'} never lost a point to the others, "
        "so no finite strength fits"
    )


def _closure(links: NDArray[np.bool_]) -> NDArray[np.bool_]:
    reach = links
    for _ in range(max(1, math.ceil(math.log2(len(links))))):
        reach = (reach.astype(np.float64) @ reach.astype(np.float64)) > 0.0
    return reach


def _endless(x: Matrix, y: Matrix, *, drawn: bool) -> bool:
    """Whether the likelihood rises for ever in some direction (of the coefficients and, if drawn, of log ν)."""
    if not drawn:
        return separated(np.vstack([x[y == 1.0], -x[y == 0.0]]), x[(y > 0.0) & (y < 1.0)])
    half, nothing = x / 2.0, np.zeros((0, x.shape[1] + 1))

    def row(part: Matrix, tie: float) -> Matrix:
        return np.hstack([part, np.full((len(part), 1), tie)])

    win, loss, tie = half[y == 1.0], half[y == 0.0], half[y == 0.5]
    # What was seen must gain at least as much as what was not.
    ahead = [row(2 * win, 0.0), row(win, -1.0), row(-2 * loss, 0.0), row(-loss, -1.0)]
    return separated(np.vstack([*ahead, row(tie, 1.0), row(-tie, 1.0)]), nothing)


def _fitted(x: Matrix, y: Matrix, *, drawn: bool) -> tuple[Matrix, Matrix, Matrix]:
    """(coefficients, information, score of each comparison), by Newton's method on a concave likelihood."""
    n, p = x.shape
    tied = (y == 0.5).astype(np.float64)

    def plain(beta: Matrix) -> tuple[float, Matrix, Matrix]:
        eta = x @ beta
        chance = expit(eta)
        rise = float(y @ eta - np.logaddexp(0.0, eta).sum())
        return rise, x * (y - chance)[:, None], (x * (chance * (1.0 - chance))[:, None]).T @ x

    def with_ties(beta: Matrix) -> tuple[float, Matrix, Matrix]:
        eta = x @ beta[:p]
        logits = np.column_stack([eta / 2.0, np.full(n, beta[p]), -eta / 2.0])
        top = logits.max(axis=1, keepdims=True)
        chances = np.exp(logits - top)
        total = chances.sum(axis=1, keepdims=True)
        win, tie, loss = (chances / total).T
        lean = win - loss
        rise = float((y - 0.5) @ eta + beta[p] * tied.sum() - (np.log(total) + top).sum())
        pieces = np.column_stack([x * ((2.0 * y - 1.0 - lean) / 2.0)[:, None], tied - tie])
        information = np.zeros((p + 1, p + 1))
        information[:p, :p] = (x * ((win + loss - lean * lean) / 4.0)[:, None]).T @ x
        information[p, :p] = information[:p, p] = -x.T @ (lean * tie) / 2.0
        information[p, p] = float(tie @ (1.0 - tie))
        return rise, pieces, information

    surface = with_ties if drawn else plain

    def summed(beta: Matrix) -> tuple[float, Matrix, Matrix]:
        rise, pieces, information = surface(beta)
        return rise, pieces.sum(axis=0), information

    beta = climb(summed, p + drawn)
    _, pieces, information = surface(beta)
    return beta, information, pieces
