"""The demo's folder: a fresh copy of the story, in which only what an earlier demo wrote is replaced."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from equipoise.errors import UsageError

__all__ = ["LOG", "WATCHED", "lay_out"]

LOG = "equipoise.db"
"""The log of the first act."""
WATCHED = "watched.db"
"""The log of the second, whose clock is turned by hand."""
_WRITTEN = (
    "arena.html",
    "report.html",
    "journal.jsonl",
    *(
        f"{name}{side}"
        for log in (LOG, WATCHED)
        for name in (log, f"{log}.outbox", f"{log}.texts", f"{log}.windows")
        for side in ("", "-journal", "-wal", "-shm")
    ),
)


def lay_out(folder: Path) -> None:
    """A fresh copy of the story, moved to its place whole.

    Raises UsageError where the folder is a file, cannot be written, or holds what no demo wrote.
    """
    try:
        with as_file(files("equipoise.cli.demo") / "story") as story:
            ours = {path.relative_to(story) for path in story.rglob("*")} | {Path(name) for name in _WRITTEN}
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder} is a file; name a folder with --folder")
            if theirs := [path for path in _held(folder) if path not in ours]:
                raise UsageError(
                    f"{folder} holds something that no demo wrote ({min(theirs)}); "
                    "name another folder with --folder"
                )
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".equipoise-") as scratch:
                made, old = Path(scratch) / "demo", Path(scratch) / "old"
                shutil.copytree(story, made, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
                if folder.exists():
                    # Moved away whole before it is deleted: an interruption leaves no half of a folder.
                    folder.rename(old)
                made.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from None


def _held(folder: Path) -> list[Path]:
    """What a folder holds, but for reports that an interruption left unfinished."""
    return [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if not path.name.startswith((".arena.html.", ".report.html."))
    ]
