"""How often somebody may guess the key: so often from one address, so often in all, and never again only after a while."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Guesses"]

_MINE, _MINE_EVERY_S = 5, 10.0
_ALL, _ALL_EVERY_S = 30, 2.0
_REMEMBERED = 1_000


@dataclass(slots=True)
class _Allowance:
    """So many guesses at once, and another one each so many seconds."""

    most: int
    every_s: float
    left: float
    at: float

    def refill(self, now: float) -> None:
        self.left = min(float(self.most), self.left + max(0.0, now - self.at) / self.every_s)
        self.at = now

    @property
    def wait_s(self) -> float:
        return max(0.0, 1.0 - self.left) * self.every_s


class Guesses:
    """Wrong guesses, by the address they came from: five at once and then one in ten seconds, thirty and one in two in all.

    A guess that is refused costs nothing, so nobody is kept out for longer by trying on, and no wait is longer than ten
    seconds. Of IPv6 the first 64 bits are an address: whoever has one has them all. A thousand addresses are
    remembered; whoever has more meets what is allowed in all. `clock` tells seconds that only grow. For one thread.

    >>> guesses = Guesses(lambda: 0.0)
    >>> [guesses.refused_s("192.0.2.1") or guesses.wrong("192.0.2.1") for _ in range(6)]
    [None, None, None, None, None, 10]
    >>> guesses.refused_s("192.0.2.2") is None
    True
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Allowance] = OrderedDict()
        self._all = _Allowance(_ALL, _ALL_EVERY_S, float(_ALL), clock())

    def refused_s(self, address: str | None) -> int | None:
        """None where a guess from an address may be heard now; else after how many seconds (1 to 10) one may."""
        now = self._clock()
        self._all.refill(now)
        wait = self._all.wait_s
        mine = self._by_address.get(_network(address))
        if mine is not None:
            mine.refill(now)
            wait = max(wait, mine.wait_s)
        return math.ceil(wait - 1e-9) or None

    def wrong(self, address: str | None) -> None:
        """A guess from an address was heard, and was wrong."""
        now, named = self._clock(), _network(address)
        mine = self._by_address.pop(named, None) or _Allowance(_MINE, _MINE_EVERY_S, float(_MINE), now)
        self._by_address[named] = mine
        while len(self._by_address) > _REMEMBERED:
            self._by_address.popitem(last=False)
        for each in (mine, self._all):
            each.refill(now)
            each.left -= 1.0

    def __len__(self) -> int:
        return len(self._by_address)


def _network(address: str | None) -> str:
    """What counts as one address; whoever cannot be told apart shares one."""
    try:
        # A link-local address names its interface after a percent sign.
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)
