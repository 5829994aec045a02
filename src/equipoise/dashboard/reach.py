"""From where an address can be reached, and whether a page may be served at it."""

from __future__ import annotations

import ipaddress

from equipoise.errors import UsageError

__all__ = ["is_loopback", "refuse_open"]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_open(host: str, key: str | None) -> None:
    """UsageError for an address that others reach, without a key.

    >>> refuse_open("127.0.0.1", None)
    """
    if key is None and not is_loopback(host):
        raise UsageError(
            f"the page would be open to the network at {host} without a key. Set EQUIPOISE_KEY, or listen on 127.0.0.1"
        )
