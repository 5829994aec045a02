"""Elo ratings, for those who ask: a running score that depends on the order in which it is told the games."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.cases.case_means import cases_of
from equipoise.stats.domain import counted, finite, positive
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Values

__all__ = ["EloRating", "elo", "elo_over_orders", "on_elo_scale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EloRating:
    """One player's rating. `low` and `high` are its least and greatest over `orders` of the same games.

    They are no confidence interval: the games themselves are held fixed. After `elo` there is one order,
    and all three are the same number.
    """

    player: str
    rating: float
    low: float
    high: float
    games: int
    orders: int
    method: str


def elo(
    first: Sequence[str],
    second: Sequence[str],
    scores: Values,
    *,
    k: float = 32.0,
    initial: float = 1000.0,
    scale: float = 400.0,
) -> tuple[EloRating, ...]:
    """Elo ratings after the games in the order given, best first.

    After each game the rating of `first` rises by k·(score − 1/(1 + 10^((r2 − r1)/scale))) and that of
    `second` falls by as much. A score is 1 where `first` is preferred, 0 where `second` is, 0.5 for a tie.
    Scale: rating points; a lead of `scale` means odds of ten to one.

    The result depends on the order: the latest games weigh most, which suits players who change and not
    variants that stay as they are. It has no interval. Prefer `bradley_terry`; see `elo_over_orders` for how
    much the order alone does. Degenerate cases: no games give no ratings. Errors: UsageError for unequal
    lengths, a player against itself, a score outside [0, 1], or a k or scale that is not above 0.
    Source: Elo (1978), The Rating of Chessplayers.

    >>> [(r.player, r.rating) for r in elo(["a", "a"], ["b", "b"], [1, 0], k=40)]
    [('b', 1002.292...), ('a', 997.707...)]
    """
    names, pairs = _games(first, second, scores)
    k, scale, initial = positive("k", k), positive("scale", scale), finite("initial", initial)
    return _ratings(names, pairs, [_run(len(names), pairs, k, initial, scale)], "in the order given")


def elo_over_orders(
    first: Sequence[str],
    second: Sequence[str],
    scores: Values,
    generator: np.random.Generator,
    *,
    orders: int = 200,
    k: float = 32.0,
    initial: float = 1000.0,
    scale: float = 400.0,
) -> tuple[EloRating, ...]:
    """The mean Elo rating over shuffled orders of the same games, with the least and the greatest, best first.

    Each of `orders` permutations (at least 1) is drawn from `generator`. Scale, errors and degenerate cases
    are those of `elo`. Source: Boubdir et al. (2023), Elo Uncovered: Robustness and Best Practices in
    Language Model Evaluation (arXiv 2311.17295).

    >>> ratings = elo_over_orders(["a", "a"], ["b", "b"], [1, 0], np.random.default_rng(1), orders=50, k=40)
    >>> [round(r.high - r.low, 1) for r in ratings]
    [4.6, 4.6]
    """
    names, pairs = _games(first, second, scores)
    k, scale, initial = positive("k", k), positive("scale", scale), finite("initial", initial)
    runs = []
    for _ in range(counted("orders", orders, at_least=1)):
        shuffled = [pairs[g] for g in generator.permutation(len(pairs))]
        runs.append(_run(len(names), shuffled, k, initial, scale))
    return _ratings(names, pairs, runs, f"mean over {len(runs)} shuffled orders")


def on_elo_scale(strength: Estimate, *, initial: float = 1000.0, scale: float = 400.0) -> Estimate:
    """A Bradley–Terry strength as a rating, with its interval: initial + scale · strength / ln 10.

    `strength` is in log-odds, as `bradley_terry` gives it; a lead of `scale` points means odds of ten to one, as in
    `elo`, and the rating depends on no order of games. `null` is `initial`. Errors: UsageError for a scale that is not
    above 0. No degenerate cases. Source: Elo (1978), The Rating of Chessplayers, section 8.4, for the logistic scale.

    >>> even = Estimate(value=math.log(10), standard_error=0.1, low=2.1, high=2.5, level=0.95, method="")
    >>> rating = on_elo_scale(even)
    >>> round(rating.value, 6), round(rating.standard_error, 2)
    (1400.0, 17.37)
    """
    factor, initial = positive("scale", scale) / math.log(10.0), finite("initial", initial)
    return dataclasses.replace(
        strength,
        value=initial + factor * strength.value,
        standard_error=factor * strength.standard_error,
        low=initial + factor * strength.low,
        high=initial + factor * strength.high,
        null=initial + factor * strength.null,
        method=f"{strength.method}, on the Elo scale",
    )


Game = tuple[int, int, float]


def _games(first: Sequence[str], second: Sequence[str], scores: Values) -> tuple[list[str], list[Game]]:
    y = cases_of("scores", scores)
    if not len(first) == len(second) == y.size:
        raise UsageError(
            f"first, second and scores must have the same length, not {len(first)}, {len(second)} and {y.size}"
        )
    if not ((y >= 0.0) & (y <= 1.0)).all():
        raise UsageError("every score must lie between 0 (second preferred) and 1 (first preferred)")
    alike = [a for a, b in zip(first, second, strict=True) if a == b]
    if alike:
        raise UsageError(f"{alike[0]} is compared with itself")
    names = sorted({*first, *second})
    place = {name: index for index, name in enumerate(names)}
    return names, [(place[a], place[b], float(s)) for a, b, s in zip(first, second, y, strict=True)]


def _run(players: int, pairs: Sequence[Game], k: float, initial: float, scale: float) -> list[float]:
    ratings = [initial] * players
    for i, j, score in pairs:
        # Far apart, 10^x would overflow; the expected score is 0 or 1 long before.
        lead = min(max((ratings[j] - ratings[i]) / scale, -300.0), 300.0)
        change = k * (score - 1.0 / (1.0 + 10.0**lead))
        ratings[i] += change
        ratings[j] -= change
    return ratings


def _ratings(
    names: Sequence[str], pairs: Sequence[Game], runs: Sequence[Sequence[float]], order: str
) -> tuple[EloRating, ...]:
    found = []
    for index, name in enumerate(names):
        seen = [run[index] for run in runs]
        found.append(
            EloRating(
                player=name,
                rating=sum(seen) / len(seen),
                low=min(seen),
                high=max(seen),
                games=sum(index in pair[:2] for pair in pairs),
                orders=len(runs),
                method=f"Elo, {order}",
            )
        )
    return tuple(sorted(found, key=lambda rating: (-rating.rating, rating.player)))
