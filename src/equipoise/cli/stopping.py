"""When a command that goes on until it is told to stop is told: by a signal, or because its parent is gone."""

from __future__ import annotations

import os
import signal
import threading

__all__ = ["until_told"]

_LOOK_S = 0.5


def until_told(parent: int | None) -> threading.Event:
    """An event that is set by SIGTERM or SIGINT, and where the process `parent` (None: whoever) is the parent no more."""
    stop = threading.Event()

    def told(number: int, _: object) -> None:
        stop.set()
        # What is under way is finished first; whoever asks twice is in a hurry.
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    if parent is not None:
        threading.Thread(target=_until_orphaned, args=(parent, stop), daemon=True).start()
    return stop


def _until_orphaned(parent: int, stop: threading.Event) -> None:
    # Nobody else would tell it to stop when the process it belongs to was killed.
    while os.getppid() == parent and not stop.wait(_LOOK_S):
        pass
    stop.set()
