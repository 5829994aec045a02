"""A process that kills itself at the n-th point it passes: imported by the scripts of tests that kill at every step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

FINDS_THIS = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
"""What such a script begins with."""


class Deaths:
    """Counts points, and is killed at the `fatal` one: 0 for never."""

    def __init__(self, fatal: int) -> None:
        self._fatal, self._seen = fatal, 0

    def point(self) -> None:
        """Here it may die."""
        self._seen += 1
        if self._seen == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, before and after which it may die."""

        def counted(*given: Any, **named: Any) -> Any:
            self.point()
            answer = call(*given, **named)
            self.point()
            return answer

        return counted

    def between(self, carry_out: Callable[..., Any]) -> Callable[..., Any]:
        """What carries out the statements of a transaction, before each, after the last and at the end of which it may die."""

        def stepwise(steps: Callable[..., Any]) -> Any:
            def counted() -> Any:
                work = steps()
                try:
                    statement = next(work)
                    while True:
                        self.point()
                        statement = work.send((yield statement))
                except StopIteration as end:
                    self.point()
                    return end.value

            answer = carry_out(counted)
            self.point()
            return answer

        return stepwise
