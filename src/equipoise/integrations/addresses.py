"""Which addresses are called: with a resolver that answers for public ones alone, no name leads into the house."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

__all__ = ["PrivateAddressError", "PublicResolver", "is_private"]


_UNICAST = ipaddress.IPv6Network("2000::/3")
"""What is public of IPv6 (RFC 4291, section 2.4)."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 behind a translator (RFC 6052, section 2.1): as public as what they carry."""


class PrivateAddressError(OSError):
    """A name stands for an address that is not public."""


def is_private(host: str) -> bool:
    """Whether a host is written as an address that is not public; a name says nothing until it is asked for.

    >>> [is_private(host) for host in ("10.0.0.1", "127.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254", "1.1.1.1")]
    [True, True, True, True, True, False]
    >>> is_private("localhost"), is_private("hooks.example")
    (True, False)
    >>> is_private("64:ff9b::10.0.0.1"), is_private("64:ff9b::1.1.1.1"), is_private("2002:a00:1::")
    (True, False, True)
    """
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
    if isinstance(found, ipaddress.IPv6Address):
        carried = _carried(found)
        if carried is None and found not in _UNICAST:
            return True
        found = carried or found
    # What is global may still be for many at once.
    return not found.is_global or found.is_multicast


def _carried(found: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address of IPv4 that one of IPv6 leads to (RFC 4291, RFC 3056, RFC 6052); None where it leads to none."""
    if found in _TRANSLATED:
        return ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.ipv4_mapped or found.sixtofour


class PublicResolver(AbstractResolver):
    """Asks as aiohttp does, and gives no address that is not public: PrivateAddressError for a name that has one.

    What is connected to is what was looked at: a name that changes in between changes nothing.
    """

    def __init__(self) -> None:
        self._asked = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._asked.resolve(host, port, family)
        if any(is_private(each["host"]) for each in found):
            raise PrivateAddressError(f"{host} stands for a private address")
        return found

    async def close(self) -> None:
        await self._asked.close()
