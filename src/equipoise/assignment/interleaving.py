"""One list out of several rankers' lists, so that what people click says whose ranking they prefer.

Everybody sees items of every ranker, in one list: what differs between people then differs for all rankers alike, and
a preference shows in a fraction of the queries that a split of the traffic needs. Chance decides who may put an item
where; it comes from a generator that is passed in, or from a hash of who asks what (`HashedDraws`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from equipoise.assignment.hashing import prefix, unit_bytes
from equipoise.errors import UsageError
from equipoise.experiment.interleaving import Interleaving
from equipoise.experiment.variant import control_first

__all__ = ["MAX_ITEM", "Draws", "HashedDraws", "Interleaved", "alone", "interleave"]

MAX_ITEM = 1024
"""Characters in the name of an item."""
_NO_MORE = object()


class Draws(Protocol):
    """Where chance comes from: `random.Random`, or the hash of a query."""

    def random(self) -> float:
        """The next number, uniform from 0 up to and not including 1."""
        ...


class HashedDraws:
    """The numbers of one list: the same for the same experiment, unit and query, in every process and at any time.

    number i = first 53 bits of SHA-256(key i), over 2**53, i in four bytes, big-endian, from 0;
    key = SHA-256(SHA-256("equipoise" NUL "1" NUL "interleave" NUL salt NUL unit) query)          all in UTF-8

    The unit is hashed before the query follows, so that no two pairs of them can be taken for one another.

    >>> draws = HashedDraws("demo/1", "user-1", "query-1")
    >>> [round(draws.random(), 6) for _ in range(3)]
    [0.995497, 0.002723, 0.129722]
    """

    __slots__ = ("_count", "_key")

    def __init__(self, salt: str, unit: str, query: str) -> None:
        of_unit = sha256(prefix("interleave", salt) + unit_bytes(unit)).digest()
        self._key = sha256(of_unit + query.encode()).digest()
        self._count = 0

    def random(self) -> float:
        """The next number."""
        digest = sha256(self._key + self._count.to_bytes(4, "big")).digest()
        self._count += 1
        return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class Interleaved:
    """The list to show, and whose each item is.

    `teams` names for each item the ranker that gave it, or None where it counts for nobody: all agreed on it and the
    design ignores that, or some rankers (`short`) had nothing left to give, and the list was filled up. `shares`, of
    a probabilistic list, are for each ranker the chances that it was the one that gave each item, the list being what
    it is. `ranks`, of a balanced list, are for each ranker the places of the items in its own list, from 1, None for
    what is not in it.
    """

    items: tuple[str, ...]
    teams: tuple[str | None, ...]
    short: tuple[str, ...] = ()
    shares: Mapping[str, tuple[float, ...]] | None = None
    ranks: Mapping[str, tuple[int | None, ...]] | None = None


def interleave(
    rankings: Mapping[str, Sequence[str]], draws: Draws, design: Interleaving | None = None
) -> Interleaved:
    """One list out of the rankings (best first) of two rankers or more, by their names.

    The schemes of `Interleaving`: team draft, in rounds in which each ranker puts its best item that is not in the list
    yet, in an order drawn for each round, or once; balanced, of two rankers, who take turns and lose theirs where the
    item is in the list already; probabilistic, where for each place a ranker is drawn, and one of its items with a
    chance that falls with its rank.

    An item that a ranking has twice has its first place. The list is as long as the design says, or as there are items.
    A round in which a ranker may have nothing to give counts for nobody, nor does what follows: had the one with the longer
    list the credit, length would pass for quality. Of team draft, with `agreed: ignored`, an item that every ranker would
    put next counts for nobody either: whose it was would be chance alone, which hides what they disagree on.

    By coins of every round each ranker has the same chance of every place that counts, whatever the rankings are; by
    one coin for the whole list it has where every ranking is as long as the list. Time is linear in what is looked
    at, which for team draft and balanced lists is not much more than the list shown, however long the rankings are.

    Errors: UsageError for fewer than two rankings, for more than two in a balanced list, and for an item that is no
    text of 1 to 1,024 characters. Source: Radlinski, Kurup & Joachims (2008), How Does Clickthrough Data Reflect
    Retrieval Quality?, CIKM, algorithm 2, for team draft, and Schuth et al. (2014), Multileaved Comparisons for Fast
    Online Evaluation, CIKM, for more than two rankers, Radlinski & Craswell (2010), Comparing the Sensitivity of
    Information Retrieval Metrics, SIGIR, for ignoring what rankings agree on (there, at their top); Joachims (2003),
    Evaluating Retrieval Performance Using Clickthrough Data, for balanced lists; Hofmann, Whiteson & de Rijke (2011),
    A Probabilistic Method for Inferring Preferences from Clicks, CIKM, for probabilistic ones.

    >>> from random import Random
    >>> a = ["sony", "sennheiser", "audio-technica", "jbl", "anker"]
    >>> b = ["bose", "sony", "apple", "anker", "jabra"]
    >>> shown = interleave({"a": a, "b": b}, Random(7), Interleaving(length=5, coin="once"))
    >>> list(zip(shown.items, shown.teams))
    [('bose', 'b'), ('sony', 'a'), ('apple', 'b'), ('sennheiser', 'a'), ('anker', 'b')]
    """
    design = design or Interleaving()
    if len(rankings) < 2:
        raise UsageError(
            f"interleaving takes the rankings of two rankers or more, and these are {len(rankings)}; "
            'give a mapping such as {"control": […], "treatment": […]}'
        )
    # In an order of their own, so that who tells them in another order draws the same list.
    stacks = {name: _Stack(name, rankings[name]) for name in sorted(rankings, key=control_first)}
    if design.scheme == "balanced":
        return _balanced(stacks, draws, design.length)
    if design.scheme == "probabilistic":
        return _probabilistic(stacks, draws, design.length, design.tau)
    return _team_draft(stacks, draws, design)


def alone(name: str, ranking: Sequence[str], length: int) -> Interleaved:
    """One ranker's own list, which counts for nobody. UsageError for items that cannot be named.

    >>> alone("control", ["sony", "sony", "jbl", "anker"], 2).items
    ('sony', 'jbl')
    """
    stack = _Stack(name, ranking)
    items = tuple(item for place in range(length) if (item := stack.at(place)) is not None)
    return Interleaved(items=items, teams=(None,) * len(items))


def _team_draft(stacks: Mapping[str, _Stack], draws: Draws, design: Interleaving) -> Interleaved:
    items: dict[str, str | None] = {}
    short: tuple[str, ...] = ()
    order: list[str] = []
    while len(items) < design.length:
        heads = [stack.best(items) for stack in stacks.values()]
        if design.agreed == "ignored" and heads[0] is not None and len(set(heads)) == 1:
            items[heads[0]] = None
            continue
        short = _without(stacks, items, design.length)
        if short:
            break
        if not order or design.coin == "every_round":
            order = _shuffled(stacks, draws)
        for name in order[: design.length - len(items)]:
            best = stacks[name].best(items)
            assert best is not None
            items[best] = name
    _fill(items, stacks, order or list(stacks), design.length)
    return Interleaved(items=tuple(items), teams=tuple(items.values()), short=short)


def _without(stacks: Mapping[str, _Stack], items: Mapping[str, object], length: int) -> tuple[str, ...]:
    """Who could not give an item in the next round, whatever order is drawn; nobody where the round can be played.

    Were it asked when somebody's turn comes, the coin would decide which rounds count, and not only who begins.
    """
    heads = [stack.best(items) for stack in stacks.values()]
    if None not in heads and len(set(heads)) == len(heads):
        return ()
    needed = min(len(stacks), length - len(items))
    return tuple(name for name, stack in stacks.items() if not stack.holds(needed, items))


def _balanced(stacks: Mapping[str, _Stack], draws: Draws, length: int) -> Interleaved:
    if len(stacks) > 2:
        raise UsageError(
            f"a balanced list is made of two rankings, and these are {len(stacks)}; "
            "choose `scheme: team_draft` or `probabilistic`"
        )
    order = _shuffled(stacks, draws)
    items: dict[str, str | None] = {}
    taken = dict.fromkeys(order, 0)
    short: tuple[str, ...] = ()
    while len(items) < length:
        heads = {name: stack.at(taken[name]) for name, stack in stacks.items()}
        short = tuple(name for name, head in heads.items() if head is None)
        if short:
            break
        # Whose turn it is has gone less far down its own list; where both are as far, whoever began.
        name = min(order, key=lambda each: (taken[each], order.index(each)))
        item = heads[name]
        assert item is not None
        taken[name] += 1
        items.setdefault(item, name)
    _fill(items, stacks, order, length)
    return Interleaved(
        items=tuple(items),
        teams=tuple(items.values()),
        short=short,
        ranks={name: stack.ranks(items, taken[name]) for name, stack in stacks.items()},
    )


def _probabilistic(stacks: Mapping[str, _Stack], draws: Draws, length: int, tau: float) -> Interleaved:
    pools = {name: _Pool(stack.whole(), tau) for name, stack in stacks.items()}
    order = list(stacks)
    items: dict[str, str | None] = {}
    shares: dict[str, list[float]] = {name: [] for name in order}
    short: tuple[str, ...] = ()
    while len(items) < length:
        short = tuple(each for each, pool in pools.items() if not pool.left)
        if short:
            break
        name = order[int(draws.random() * len(order))]
        item = pools[name].drawn(draws.random())
        given = {each: pool.weight(item) / pool.total for each, pool in pools.items()}
        for each, pool in pools.items():
            shares[each].append(given[each] / sum(given.values()))
            pool.remove(item)
        items[item] = name
    _fill(items, stacks, order, length)
    filled = [0.0] * (len(items) - len(shares[order[0]]))
    return Interleaved(
        items=tuple(items),
        teams=tuple(items.values()),
        short=short,
        shares={name: (*of, *filled) for name, of in shares.items()},
    )


def _shuffled(names: Iterable[str], draws: Draws) -> list[str]:
    """The names in an order drawn anew (Durstenfeld, Algorithm 235, 1964); of two, one number is the coin."""
    order = list(names)
    for last in range(len(order) - 1, 0, -1):
        other = int(draws.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def _fill(
    items: dict[str, str | None], stacks: Mapping[str, _Stack], order: Sequence[str], length: int
) -> None:
    """Fill up what is left of the list, in turns, for nobody."""
    while len(items) < length:
        before = len(items)
        for name in order:
            best = stacks[name].best(items)
            if best is not None and len(items) < length:
                items[best] = None
        if len(items) == before:
            return


class _Stack:
    """A ranker's items from its best one on, each once, looked at no further than they are asked for."""

    def __init__(self, name: str, ranking: Sequence[str]) -> None:
        if isinstance(ranking, str | bytes) or not isinstance(ranking, Sequence):
            raise UsageError(
                f"a ranking is a list of items, best first, and that of {name} is {ranking!r:.80}"
            )
        self._name = name
        self._rest: Iterator[object] = iter(ranking)
        self._seen: set[str] = set()
        self._items: list[str] = []
        self._next = 0

    def at(self, place: int) -> str | None:
        """The item at a place from 0; None beyond the last."""
        while len(self._items) <= place:
            item = next(self._rest, _NO_MORE)
            if item is _NO_MORE:
                return None
            name = _checked(item, self._name)
            if name not in self._seen:
                self._seen.add(name)
                self._items.append(name)
        return self._items[place]

    def best(self, taken: Mapping[str, object]) -> str | None:
        """The best item that is not taken; those that are taken only ever become more."""
        while (item := self.at(self._next)) is not None and item in taken:
            self._next += 1
        return item

    def holds(self, needed: int, taken: Mapping[str, object]) -> bool:
        """Whether so many items are left that are not taken."""
        place = self._next
        while needed and (item := self.at(place)) is not None:
            needed -= item not in taken
            place += 1
        return needed == 0

    def whole(self) -> list[str]:
        """All items."""
        while self.at(len(self._items)) is not None:
            pass
        return self._items

    def ranks(self, items: Mapping[str, object], reached: int) -> tuple[int | None, ...]:
        """The places, from 1, of items in this list, as far as it was `reached`, or the list shown is long."""
        if items:
            self.at(max(reached, len(items)) - 1)
        places = {item: place for place, item in enumerate(self._items, start=1)}
        return tuple(places.get(item) for item in items)


class _Pool:
    """A ranker's items as chances: rank to the power of −tau, of those that are left."""

    def __init__(self, items: Sequence[str], tau: float) -> None:
        self._weights = {item: math.pow(rank, -tau) for rank, item in enumerate(items, start=1)}
        self.total = sum(self._weights.values())

    @property
    def left(self) -> bool:
        return bool(self._weights)

    def weight(self, item: str) -> float:
        return self._weights.get(item, 0.0)

    def drawn(self, chance: float) -> str:
        """The item at `chance`, from 0 to 1, of all weight."""
        point = chance * self.total
        for item, weight in self._weights.items():
            point -= weight
            if point < 0.0:
                return item
        # The weights add up to a little less than their sum, by rounding.
        return next(reversed(self._weights))

    def remove(self, item: str) -> None:
        if self._weights.pop(item, None) is not None:
            # Added up anew: what is left may be a billionth of what was there.
            self.total = sum(self._weights.values())


def _checked(item: object, name: str) -> str:
    if not isinstance(item, str) or not item or len(item) > MAX_ITEM:
        raise UsageError(
            f"an item is named by text of 1 to {MAX_ITEM:,} characters, and {name} has {item!r:.80}; "
            "rank the ids of items, not what they hold"
        )
    try:
        item.encode()
    except UnicodeEncodeError:
        raise UsageError(f"an item of {name} is no valid Unicode: it has a lone surrogate") from None
    return item
