"""The folder beside a log where what was sealed lies: files that are written once, named in the manifest, and checked.

Nothing here knows what is in a file. A file is taken for what the manifest says only if its digest agrees, so
that a torn or damaged one is noticed before a byte of it is believed.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from equipoise.errors import RecordError

__all__ = [
    "DamagedFileError",
    "MissingFileError",
    "digest_of",
    "keep",
    "names_on",
    "shelf_of",
    "take",
    "throw_away",
]


_SETTLED = 2.0
"""Seconds after which a change of a file shows in its times, on any file system there is."""

_Stamp = tuple[int, int, int, int]
_checked: dict[Path, tuple[str, _Stamp]] = {}
"""The digest of each file that agreed in this process, and what the file system said of it then."""


class MissingFileError(RecordError):
    """A file that the manifest names is not there."""


class DamagedFileError(RecordError):
    """A file that the manifest names is not what was sealed."""


def shelf_of(log: str | Path) -> Path:
    """The folder of a log's sealed files: its own path and `.segments`; of a link, that of the log it leads to.

    >>> shelf_of("data/equipoise.db").as_posix()
    'data/equipoise.db.segments'
    """
    path = Path(log)
    # By whatever name a log is opened, it has one shelf.
    path = path.resolve() if path.is_symlink() else path
    return path.with_name(f"{path.name}.segments")


def digest_of(data: bytes) -> str:
    """The SHA-256 of some bytes, as 64 hexadecimal digits."""
    return sha256(data).hexdigest()


def keep(folder: Path, name: str, data: bytes) -> None:
    """Write a file so that it is there whole, after a power cut too, once this returns; else RecordError.

    Until then nothing of that name is there.
    """
    part = folder / f".{secrets.token_hex(8)}.part"
    try:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            _flush(folder.parent)
        try:
            with open(part, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, folder / name)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        _flush(folder)
    except OSError as error:
        # Not which file: its name is drawn anew each time, and what is wrong is the same.
        raise RecordError(f"a file in {folder} could not be written: {error.strerror or error}") from None


def _flush(folder: Path) -> None:
    # A name is durable when its folder is; Windows has no handle for that, and needs none.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def take(folder: Path, name: str, sha256: str, *, anew: bool = False) -> bytes:
    """The bytes of a file, if they are those that were sealed; else MissingFileError or DamagedFileError.

    The digest is computed once in a process, and again where the file system says that the file was touched since, or
    `anew` says that nothing is taken for granted.
    """
    path = folder / name
    try:
        with open(path, "rb") as stream:
            # Before the bytes: if they change in between, the stamp is of what was there before.
            found = os.fstat(stream.fileno())
            data = stream.read()
    except FileNotFoundError:
        raise MissingFileError(
            f"{path} is missing, which the log's manifest names. Put it back from a copy; "
            f"the folder {folder.name} belongs beside the log, wherever the log goes"
        ) from None
    except OSError as error:
        raise RecordError(f"{path} could not be read: {error.strerror or error}") from None
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if not anew and _checked.get(path) == (sha256, stamp):
        return data
    if digest_of(data) != sha256:
        _checked.pop(path, None)
        raise DamagedFileError(
            f"{path} is not what was sealed: its digest is another. Put it back from a copy; "
            "`equipoise log verify` says what else is damaged, and `equipoise log rebuild` makes lost keys anew"
        )
    # A file may be changed twice in one tick of the file system's clock, and only one of them shows.
    if time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED:
        _checked[path] = (sha256, stamp)
    return data


def throw_away(folder: Path, name: str) -> None:
    """Remove a file, if it is there."""
    _checked.pop(folder / name, None)
    with suppress(FileNotFoundError):
        (folder / name).unlink()


def names_on(folder: Path) -> list[str]:
    """The files that lie in the folder, sorted; nothing where there is none. A folder in it is somebody else's."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_symlink() or not path.is_dir())
