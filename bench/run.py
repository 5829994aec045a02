"""All benchmarks, one line of JSON a figure: `make bench`, or `python bench/run.py assign ingest`."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "startup",
    "assign",
    "ingest",
    "seal",
    "boundaries",
    "sequential",
    "readout",
    "readout_turns",
    "readout_warehouse",
    "outbox",
    "windows",
    "judge",
    "readout_log",
    "safety",
    "arena",
)


def main() -> None:
    for name in sys.argv[1:] or ALL:
        importlib.import_module(name).main()


if __name__ == "__main__":
    main()
