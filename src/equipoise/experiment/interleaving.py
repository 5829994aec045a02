"""How rankers' lists become one list: the section `interleaving` of a definition, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["COINS", "SCHEMES", "Agreed", "Coin", "Interleaving", "Scheme"]

Scheme = Literal["team_draft", "balanced", "probabilistic"]
Coin = Literal["every_round", "once"]
Agreed = Literal["drafted", "ignored"]

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
COINS: tuple[Coin, ...] = get_args(Coin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interleaving:
    """How a list is made, and how the number of queries is planned.

    `length` is how many items are shown. `coin` says, of team draft, whether who picks first is drawn for every round
    or once for the whole list; `agreed`, whether an item that every ranker would put next is drafted like any other, or
    ignored: it is nobody's then. `tau` is how fast chances fall with the rank in a probabilistic list: rank ** −tau, 3 in
    the paper. `ties` is the share of queries that are expected to have no winner, which sizes the experiment; None where
    it is not known.
    """

    scheme: Scheme = "team_draft"
    length: int = 10
    coin: Coin = "every_round"
    agreed: Agreed = "drafted"
    tau: float = 3.0
    ties: float | None = None
