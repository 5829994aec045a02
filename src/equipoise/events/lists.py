"""What an interleaved list looks like in a fact, whoever told it: checked once, where the fact is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["MAX_ITEMS", "check_list"]

MAX_ITEMS = 200
"""As many as a definition lets a list have."""
_MAX_NAME = 1024


def check_list(
    query: object,
    items: Sequence[object],
    teams: Sequence[object],
    short: Sequence[object] | None,
    shares: Mapping[str, Sequence[object]] | None,
    ranks: Mapping[str, Sequence[object]] | None,
) -> None:
    """TypeError, with a sentence, for a list that no read-out could make anything of.

    >>> check_list("q1", ["x", "y"], ["control", None], None, None, None)
    >>> check_list("q1", ["x", "x"], ["control", None], None, None, None)
    Traceback (most recent call last):
    TypeError: the items of a list are different texts of 1 to 1,024 characters, at most 200
    """
    if not isinstance(query, str) or not 0 < len(query) <= _MAX_NAME:
        raise TypeError(f"the query of a list is named by text of 1 to {_MAX_NAME:,} characters")
    texts = _listed(items) and all(isinstance(item, str) and 0 < len(item) <= _MAX_NAME for item in items)
    if not texts or not 0 < len(items) <= MAX_ITEMS or len(set(items)) < len(items):
        raise TypeError(
            f"the items of a list are different texts of 1 to {_MAX_NAME:,} characters, at most {MAX_ITEMS:,}"
        )
    if not _listed(teams) or len(teams) != len(items) or not all(_named(team) for team in teams):
        raise TypeError("the teams of a list are the names of rankers or null, one for each item")
    if short is not None and not (_listed(short) and all(isinstance(name, str) for name in short)):
        raise TypeError("`short` of a list is a list of names of rankers")
    if shares is not None and not (_by_ranker(shares, len(items)) and _add_up(shares, len(items))):
        raise TypeError("the shares of a list are chances from 0 to 1, by ranker one for each item")
    if ranks is not None and not (_by_ranker(ranks, len(items)) and _places(ranks)):
        raise TypeError("the ranks of a list are places from 1 or null, by ranker one for each item")


def _listed(value: object) -> bool:
    return isinstance(value, list | tuple)


def _named(team: object) -> bool:
    return team is None or isinstance(team, str)


def _by_ranker(of: object, items: int) -> bool:
    return isinstance(of, Mapping) and all(_listed(each) and len(each) == items for each in of.values())


def _add_up(shares: Mapping[str, Sequence[object]], items: int) -> bool:
    for place in range(items):
        at = [of[place] for of in shares.values()]
        if not all(isinstance(each, int | float) and 0.0 <= each <= 1.0 for each in at):
            return False
        if sum(float(each) for each in at if isinstance(each, int | float)) > 1.0 + 1e-9:
            return False
    return True


def _places(ranks: Mapping[str, Sequence[object]]) -> bool:
    return all(
        rank is None or (isinstance(rank, int) and not isinstance(rank, bool) and rank >= 1)
        for of in ranks.values()
        for rank in of
    )
