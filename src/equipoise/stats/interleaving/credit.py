"""Who earns what people click in an interleaved list, and who wins the query.

Plain arithmetic of one list: whoever has no numbers loaded can use it as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from equipoise.errors import UsageError

__all__ = ["credit", "winning_chances"]


def credit(
    arms: Sequence[str],
    teams: Sequence[str | None],
    values: Mapping[int, float],
    *,
    shares: Mapping[str, Sequence[float]] | None = None,
    ranks: Mapping[str, Sequence[int | None]] | None = None,
) -> dict[str, float]:
    """What each ranker earns in one list, in the unit of `values`: 1 a click makes it clicks.

    `teams` says for each place who gave the item, None for nobody. `values` holds what was earned at places, from 1.
    With `shares` (a probabilistic list) each place is split by the chances that each ranker gave it, which is what the
    credit is on average over all ways the list may have come about. With `ranks` (a balanced list) a ranker earns what
    is in its own first items, as many as either ranker needs to have the lowest place clicked among them; an item that
    both have so far up counts for both.

    Degenerate cases: nothing earned is 0 for everybody. Errors: UsageError for a place that is not in the list.
    Source: Radlinski, Kurup & Joachims (2008), section 5.2; Hofmann, Whiteson & de Rijke (2011), section 4; Joachims
    (2003), section 3.

    >>> credit(["a", "b"], ["a", "b", "a", "b", "a"], {1: 1, 4: 1, 5: 1})
    {'a': 2.0, 'b': 1.0}
    """
    for place in values:
        if not 1 <= place <= len(teams):
            raise UsageError(f"the list has the places 1 to {len(teams)}, and {place} is none of them")
    if shares is not None:
        return {
            arm: sum((value * shares[arm][place - 1] for place, value in values.items()), 0.0) for arm in arms
        }
    if ranks is not None:
        counted = {place: value for place, value in values.items() if teams[place - 1] is not None}
        return _balanced(arms, counted, ranks)
    return {
        arm: float(sum(value for place, value in values.items() if teams[place - 1] == arm)) for arm in arms
    }


def _balanced(
    arms: Sequence[str], values: Mapping[int, float], ranks: Mapping[str, Sequence[int | None]]
) -> dict[str, float]:
    if not values:
        return dict.fromkeys(arms, 0.0)
    lowest = max(values) - 1
    found = [rank for arm in arms if (rank := ranks[arm][lowest]) is not None]
    depth = min(found, default=0)
    return {
        arm: float(
            sum(
                value
                for place, value in values.items()
                if (rank := ranks[arm][place - 1]) is not None and rank <= depth
            )
        )
        for arm in arms
    }


def winning_chances(
    one: str,
    other: str,
    teams: Sequence[str | None],
    places: Collection[int],
    *,
    shares: Mapping[str, Sequence[float]] | None = None,
    ranks: Mapping[str, Sequence[int | None]] | None = None,
) -> tuple[float, float]:
    """The chances that `one` wins this query over `other`, and that it loses; what is left is a tie.

    Whoever has more of the clicked `places` (from 1, each once) wins. A list by team draft and a balanced one are won,
    lost or tied: one of the chances is 1 or both are 0. Of a probabilistic list it is not certain whose an item was; the
    chances are those over all ways the list may have come about, in which the places are independent. Time is the square
    of the number of places.

    Errors: UsageError for a place that is not in the list. Source: as `credit`.

    >>> winning_chances("a", "b", ["a", "b", "a", "b", "a"], [1, 4, 5])
    (1.0, 0.0)
    >>> winning_chances("a", "b", ["a", "b"], [1], shares={"a": [0.75, 0.5], "b": [0.25, 0.5]})
    (0.75, 0.25)
    """
    if shares is None:
        earned = credit([one, other], teams, dict.fromkeys(places, 1.0), ranks=ranks)
        return float(earned[one] > earned[other]), float(earned[one] < earned[other])
    credit([one, other], teams, dict.fromkeys(places, 1.0), shares=shares)
    # How likely each lead of `one` is, after each clicked place.
    leads = {0: 1.0}
    for place in sorted(set(places)):
        won, lost = shares[one][place - 1], shares[other][place - 1]
        after: dict[int, float] = {}
        for lead, chance in leads.items():
            for change, of in ((1, won), (-1, lost), (0, 1.0 - won - lost)):
                if of > 0.0:
                    after[lead + change] = after.get(lead + change, 0.0) + chance * of
        leads = after
    return (
        sum((chance for lead, chance in leads.items() if lead > 0), 0.0),
        sum((chance for lead, chance in leads.items() if lead < 0), 0.0),
    )
