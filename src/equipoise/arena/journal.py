"""The run journal: every reply that was paid for, so that a rerun asks nothing twice.

One JSON object a line, found again by the digest of the request and of what it was for. A line torn by a
crash is cut off when the journal is opened, so that it cannot swallow the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import rfc8785

from equipoise.errors import DataError, UsageError
from equipoise.providers.messages import Reply, Request, Usage

__all__ = ["Journal", "open_journal"]


_FIRST = b'{"key":'


class Journal:
    """What was asked and answered; kept in memory alone where there is no file."""

    def __init__(self, file: BinaryIO | None = None, replies: dict[str, Reply] | None = None) -> None:
        self._file = file
        self._replies = replies or {}

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, request: Request) -> Reply | None:
        """The reply that this request, asked for the same case and variant, got earlier."""
        return self._replies.get(_key(request))

    def keep(self, request: Request, reply: Reply) -> None:
        """Write a reply down before anything is made of it."""
        key = _key(request)
        self._replies[key] = reply
        if self._file is not None:
            line = {
                "key": key,
                "about": dict(request.about),
                "request": request.digest,
                "reply": asdict(reply),
            }
            self._file.write(orjson.dumps(line) + b"\n")
            self._file.flush()


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
    with open(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another run is writing the journal {path}; wait for it, or name another"
            ) from None
        yield Journal(file, _read(file, path))


def _read(file: BinaryIO, path: Path) -> dict[str, Reply]:
    """All replies; the file is left at its end, whole lines only."""
    raw = file.read()
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


def _reply(entry: dict[str, Any]) -> Reply:
    usage = entry.pop("usage", None)
    return Reply(**entry, usage=Usage(**usage) if usage else None)


def _key(request: Request) -> str:
    # `about` belongs to the key: two variants that send the same request are asked once each.
    return hashlib.sha256(rfc8785.dumps([request.digest, dict(request.about)])).hexdigest()
