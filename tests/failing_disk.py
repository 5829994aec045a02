"""A disk that fails when it is told to: real errors of the system, in a real process, at a chosen call."""

from __future__ import annotations

import errno
import mmap
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

WRITES, SYNCS, OPENS, READS = 1, 2, 4, 8
FAULTS = {
    "ENOSPC": (errno.ENOSPC, WRITES),
    "EIO": (errno.EIO, WRITES | SYNCS | READS),
    "EMFILE": (errno.EMFILE, OPENS),
    "EROFS": (errno.EROFS, WRITES | OPENS),
}
"""What fails how: a full disk, a broken one, too many open files, and a file system that turned read-only."""
_ALWAYS = 2**62
_FROM, _COUNT, _ERRNO, _WHICH, _SEEN, _FAILED = range(6)
_NUMBERS = 6


@dataclass(frozen=True)
class FailingDisk:
    """What a process is started with (`env`) so that calls on files whose names begin with `files` can fail."""

    env: dict[str, str]
    control: mmap.mmap

    def _set(self, *numbers: int) -> None:
        # The first number last: until then nothing fails.
        view = memoryview(self.control).cast("Q")
        view[_FROM] = 0
        for place, number in enumerate(numbers[1:], 1):
            view[place] = number
        view[_FROM] = numbers[0]
        view.release()

    def _get(self, place: int) -> int:
        view = memoryview(self.control).cast("Q")
        found: int = view[place]
        view.release()
        return found

    def fail(self, fault: str, at: int = 1, calls: int = _ALWAYS) -> None:
        """From the `at`-th call of now on, so many fail."""
        number, which = FAULTS[fault]
        self._set(at, calls, number, which, 0, 0)

    def heal(self) -> None:
        """Nothing fails any more."""
        self._set(0, 0, 0, 0, 0, 0)

    @property
    def failed(self) -> int:
        """How many calls have failed since `fail`."""
        return self._get(_FAILED)

    @property
    def seen(self) -> int:
        """How many calls could have."""
        return self._get(_SEEN)


def failing_disk(folder: Path, files: Path) -> FailingDisk:
    """A disk for the files whose names begin with `files`; skips the test where there is nothing to build it with."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler; on Debian: apt-get install gcc libc6-dev")
    library, control = folder / "failing_disk.so", folder / "failing_disk.control"
    source = Path(__file__).with_name("failing_disk.c")
    built = subprocess.run(
        (compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"),
        capture_output=True,
        text=True,
    )
    if built.returncode:
        pytest.skip(f"the C compiler cannot build for the GNU C library: {built.stderr[:200]}")
    control.write_bytes(bytes(8 * _NUMBERS))
    with control.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8 * _NUMBERS)
    env = {"LD_PRELOAD": str(library), "FAILING_CONTROL": str(control), "FAILING_FILES": str(files)}
    return FailingDisk(env, shared)
