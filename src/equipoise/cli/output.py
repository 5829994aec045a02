"""How a command speaks: its result to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.errors import EquipoiseError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AsJson",
    "LogPlace",
    "caution",
    "emit",
    "fail",
    "harmless",
    "is_file",
    "moment",
    "note",
    "progress",
    "rows",
    "working",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
LogPlace = Annotated[
    str | None,
    typer.Option(
        "--log",
        help="The event log, a file or postgresql://… (default: $EQUIPOISE_LOG, or equipoise.db here).",
        show_default=False,
    ),
]


def is_file(log: str) -> bool:
    """Whether a log is a file: not in a database, and not in memory alone."""
    return "://" not in log and log != "memory:"


def emit(result: Any) -> None:
    """Print a result as JSON."""
    print(json.dumps(result, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Say something that is not the result."""
    print(text, file=sys.stderr)


def caution(warnings: Iterable[Fault]) -> None:
    """Say what gave pause while reading a definition."""
    for warning in warnings:
        note(f"warning: {warning}")


def fail(error: EquipoiseError, *, as_json: bool) -> None:
    """Say what went wrong, in the shape the caller asked for."""
    if as_json:
        print(json.dumps(error.to_dict(), indent=2, ensure_ascii=False), file=sys.stderr)
    else:
        note(f"error: {error}")


def harmless(text: str) -> str:
    """A line that moves no cursor, colours nothing and turns no direction: a terminal obeys what a model wrote.

    Its spaces stay as they are, so that code is read as it was written.

    >>> harmless("  a" + chr(27) + "[2Jb" + chr(9) + "c")
    '  a\ufffd[2Jb    c'
    """
    return "".join(each if each.isprintable() else "\ufffd" for each in text.replace("\t", "    "))


def moment(seconds: float) -> str:
    """A time (seconds since 1970 UTC) as people read it, in UTC; the bare number where no calendar has it.

    >>> moment(1_700_000_000.7), moment(1e18)
    ('2023-11-14 22:13:20', '1e+18 s')
    """
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        # Facts come with the clock of whoever wrote them.
        return f"{seconds:g} s"


def rows(headers: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A plain table, aligned; numbers (and what looks like them) to the right. No cell can steer a terminal.

    >>> print(rows(["metric", "units"], [["resolution", "2,942"], ["errors", "14"]]))
    metric      units
    resolution  2,942
    errors         14
    """
    from equipoise.figures.lettering import clean

    table = [list(headers), *([clean(str(cell)) for cell in line] for line in lines)]
    widths = [max(len(line[column]) for line in table) for column in range(len(headers))]
    right = [
        all(line[column][:1] in "0123456789+-–" for line in table[1:] if line[column]) and len(table) > 1
        for column in range(len(headers))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in table
    )


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life on stderr, where somebody is there to see it, for work whose length is not known."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, where somebody is there to see it; called with (done, total, what now)."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int, now: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what}: {now}" if now else what)

        yield update
