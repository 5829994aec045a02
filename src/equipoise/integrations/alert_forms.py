"""Alerts as others take them: a signed webhook, a message in a channel, a few lines to read.

Source: Standard Webhooks 1.0.0, "Webhook headers" and "Signature scheme"; Slack, "Sending messages using incoming webhooks".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from equipoise.clock import Clock, SystemClock
from equipoise.errors import UsageError
from equipoise.figures.lettering import clean
from equipoise.integrations.collectors import Sign
from equipoise.integrations.parcels import Parcel

__all__ = ["Message", "Webhook", "line", "moment", "signing"]

_PREFIX = "whsec_"


def line(parcel: Parcel) -> str:
    """An alert in a line: whose it is, what was done, and the sentence of the alert.

    It is one line without control characters, whatever stands in the log: another line would pass for another alert.

    >>> from equipoise.events.facts import Alert
    >>> from equipoise.events.log import Recorded
    >>> from equipoise.integrations.parcels import parcel
    >>> alert = Alert(experiment="bot", happened=1.0, digest="d", watch=0, metric="error_rate", variant="b", action="pause",
    ...               sustained=True, ends=300.0, streak=2, value=0.2, limit=0.1, says="error_rate of b was 0.2")
    >>> line(parcel(Recorded(1, 2.0, alert)))
    'bot: pause: error_rate of b was 0.2'
    """
    fact = orjson.loads(parcel.row.body)
    return clean(f"{parcel.row.experiment}: {fact['action']}: {fact['says']}")


def moment(parcel: Parcel) -> datetime:
    """When an alert happened; when it arrived, where it is said to have happened in a year that no calendar has."""
    try:
        return datetime.fromtimestamp(parcel.row.happened, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(parcel.received, UTC)


class Webhook:
    """One alert a request, as JSON: its `type`, the `timestamp` at which it happened, and under `data` the fact."""

    content_type = "application/json"

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        [each] = parcels
        row = each.row
        data = {"event_id": row.event_id, "experiment": row.experiment, **orjson.loads(row.body)}
        happened = moment(each).isoformat(timespec="seconds")
        return orjson.dumps({"type": "equipoise.alert", "timestamp": happened, "data": data})

    def rejected(self, answer: bytes) -> int | None:  # noqa: ARG002 - the status says it all
        return 0


class Message:
    """Alerts as one message of plain text under `text`, a line each, as Slack's incoming webhooks and their kin take it.

    What would be markup there is written so that it is none.
    """

    content_type = "application/json"

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        text = "\n".join(map(line, parcels))
        for letter, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(letter, written)
        return orjson.dumps({"text": text})

    def rejected(self, answer: bytes) -> int | None:  # noqa: ARG002 - the status says it all
        return 0


def signing(secret: str, clock: Clock | None = None) -> Sign:
    """How a body is signed: HMAC-SHA256 over its id, the time and itself, as Standard Webhooks have it.

    `secret` is any text; one that begins with `whsec_` is taken as base64, as libraries that verify write it. UsageError for
    an empty one, or one that is not base64 after that.

    >>> from equipoise.clock import ManualClock
    >>> key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    >>> headers = signing(key, ManualClock(1614265330.0))("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    >>> headers["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    clock = clock or SystemClock()
    try:
        key = (
            base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
            if secret.startswith(_PREFIX)
            else secret.encode()
        )
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise UsageError(
            "the secret of a webhook cannot be used; accepted: any text, or whsec_ and base64 after it"
        )

    def signed(name: str, body: bytes) -> Mapping[str, Any]:
        at = str(int(clock.now()))
        mac = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
        return {
            "webhook-id": name,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }

    return signed
