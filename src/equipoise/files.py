"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from equipoise.errors import UsageError

__all__ = ["write_whole"]


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write text as UTF-8, or bytes, so that a reader sees the old file or the new one, never a part; returns the path.

    Half a surrogate pair, which UTF-8 cannot say, becomes a question mark. Makes the folder where it is missing.
    Raises UsageError where the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
                stream.flush()
                os.fsync(stream.fileno())
            # mkstemp keeps the file to its owner; a report is as readable as any other new file.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    return path
