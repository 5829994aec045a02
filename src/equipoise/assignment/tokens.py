"""Signed words that travel with a unit: when it entered, and what a browser may say about it.

A token is `purpose.payload.signature`: base64url of a JSON array, and of HMAC-SHA256 over purpose and
payload. Whoever has the secret can make and read them; whoever has a token can say what is in it and no more.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

from equipoise.errors import UsageError

__all__ = ["Signer"]

_SHORTEST = 16
_LONGEST = 4096


class Signer:
    """Signs and reads tokens with a secret of at least 16 bytes; the former secrets are still read.

    >>> signer = Signer("a secret of some length")
    >>> token = signer.sign("assignment", ["support/1", "conversation-1", 2])
    >>> signer.read("assignment", token)
    ['support/1', 'conversation-1', 2]
    >>> signer.read("feedback", token), signer.read("assignment", token[:-2])
    (None, None)
    """

    def __init__(self, secret: str, *former: str) -> None:
        if any(len(each.encode()) < _SHORTEST for each in (secret, *former)):
            raise UsageError(
                f"a secret to sign with has at least {_SHORTEST} bytes; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._keys = [each.encode() for each in (secret, *former)]

    def sign(self, purpose: str, payload: list[Any]) -> str:
        """A token for a purpose; the payload is text and numbers."""
        said = f"{purpose}.{_base64(orjson.dumps(payload))}"
        return f"{said}.{_base64(hmac.digest(self._keys[0], said.encode(), 'sha256'))}"

    def read(self, purpose: str, token: str) -> list[Any] | None:
        """What a token says, or None where it was not signed here for this purpose."""
        if len(token) > _LONGEST or not token.isascii():
            return None
        said, _, signature = token.rpartition(".")
        given, _, payload = said.partition(".")
        if given != purpose:
            return None
        for key in self._keys:
            if hmac.compare_digest(_base64(hmac.digest(key, said.encode(), "sha256")), signature):
                found = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
                return found if isinstance(found, list) else None
        return None


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
