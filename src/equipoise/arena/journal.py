"""The run journal: every reply that was paid for, so that a rerun asks nothing twice.

One JSON object a line: what was asked for whom, under which settings, and the reply. A line torn by a crash
is cut off when the journal is opened, so that it cannot swallow the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from equipoise.errors import DataError, UsageError
from equipoise.providers.messages import Reply, Request, Usage

__all__ = ["Journal", "key_of", "open_journal"]

_FIRST = b'{"key":'
_FIELDS = tuple(field.name for field in fields(Reply))
_NOT_KEPT = ("cost_usd",)
"""A price may change; what a reply cost is worked out from its tokens."""


def key_of(origin: str, request: Request) -> str:
    """What a reply is found by: where it was asked, everything that was sent, and which draw it is.

    Two variants that send the same request are asked once each (their draws differ), and so is each sample of
    a verdict; the same verdict on the same texts is asked once, in whichever case they stand.
    """
    try:
        said = orjson.dumps([origin, request.draw, request.wire()], option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise UsageError(
            f"a request to {request.model} holds something that JSON cannot say: {error}; "
            "write large numbers in `params` as text"
        ) from None
    return hashlib.sha256(said).hexdigest()


class Journal:
    """What was asked and answered; kept in memory alone where there is no file."""

    def __init__(self, descriptor: int | None = None, replies: dict[str, Reply] | None = None) -> None:
        self._descriptor = descriptor
        self._replies = replies or {}

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def by_key(self) -> dict[str, Reply]:
        """Every reply that is kept, by what it is found by."""
        return dict(self._replies)

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Every reply that is kept, in the order in which they came."""
        return tuple(self._replies.values())

    def find(self, key: str) -> Reply | None:
        """The reply that this request got earlier."""
        return self._replies.get(key)

    def keep(self, key: str, origin: str, request: Request, reply: Reply) -> None:
        """Write a reply down before anything is made of it."""
        self._replies[key] = reply
        if self._descriptor is None:
            return
        line = {
            "key": key,
            "about": dict(request.about) | ({"draw": request.draw} if request.draw else {}),
            "origin": origin,
            "asked": {name: value for name, value in request.wire().items() if name != "messages"},
            "reply": _kept(reply),
        }
        # One write for one line, past every buffer: killed at any moment, at most the last line is torn.
        written = orjson.dumps(line) + b"\n"
        while written:
            written = written[os.write(self._descriptor, written) :]


@contextmanager
def open_journal(path: Path | None) -> Iterator[Journal]:
    """The journal at `path`, made where there is none, for this run alone; None keeps it in memory.

    Raises UsageError where another run has it open, DataError where it is not a journal.
    """
    if path is None:
        yield Journal()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(
            f"the journal {path} cannot be opened: {error.strerror}; name another place"
        ) from None
    with open(descriptor, "r+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another run is writing the journal {path}; wait for it, or name another"
            ) from None
        yield Journal(file.fileno(), _read(file, path))


def _read(file: Any, path: Path) -> dict[str, Reply]:
    """All replies; the file is left at its end, whole lines only."""
    raw = _all(file)
    whole, _, torn = raw.rpartition(b"\n")
    replies: dict[str, Reply] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            entry = orjson.loads(line)
            replies[str(entry["key"])] = _reply(entry["reply"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(
                f"the journal {path}, line {number} is not an entry of a journal ({error}). Remove the line, and its "
                "request is asked again; or name another file"
            ) from None
    if torn:
        if not (torn.startswith(_FIRST) or _FIRST.startswith(torn)):
            raise DataError(f"{path} is not a run journal. Name another file; this one is left as it is")
        file.seek(len(raw) - len(torn))
        file.truncate()
    return replies


def _all(file: BinaryIO) -> bytes:
    return b"".join(iter(lambda: file.read(1 << 24), b""))


def _kept(reply: Reply) -> dict[str, Any]:
    entry = {name: getattr(reply, name) for name in _FIELDS if name not in _NOT_KEPT}
    usage = entry.pop("usage")
    if usage is not None:
        entry["usage"] = [usage.input_tokens, usage.output_tokens]
    return {name: value for name, value in entry.items() if value not in (None, (), True)}


def _reply(entry: dict[str, Any]) -> Reply:
    usage = entry.pop("usage", None)
    if isinstance(usage, dict):  # as version 0.1.0 wrote it
        usage = (usage["input_tokens"], usage["output_tokens"])
    likely = entry.pop("likely", None)
    return Reply(
        **entry | {"context": tuple(entry.get("context", ()))},
        usage=Usage(*usage) if usage else None,
        likely=None
        if likely is None
        else tuple(tuple((str(token), float(log)) for token, log in each) for each in likely),
    )
