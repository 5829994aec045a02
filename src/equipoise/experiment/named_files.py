"""The files that a definition names, read while it is built, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from equipoise.errors import Fault
from equipoise.experiment.document import Document, read_text
from equipoise.experiment.document import Path as FieldPath

__all__ = ["NamedFiles"]


class NamedFiles:
    """Reads files from the folder of a definition; `faults` are gathered, each with the path of the field it belongs to."""

    def __init__(self, document: Document, folder: Path | None) -> None:
        self.document = document
        self.folder = folder
        self.faults: list[tuple[FieldPath, Fault]] = []

    def fault(self, path: FieldPath, problem: str, accepted: str | None = None) -> None:
        """Note what is wrong at a place, and what would be accepted there."""
        self.faults.append((path, self.document.fault(path, problem, accepted=accepted)))

    def text(self, name: str, path: FieldPath, what: str) -> str | None:
        """A file's text; None where it cannot be read, which is a fault of the field at `path`."""
        try:
            return read_text((self.folder or Path()) / name, what=what)
        except ValueError as error:
            self.fault(path, str(error))
            return None
