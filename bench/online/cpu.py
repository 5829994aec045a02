"""CPU seconds and memory of a process and all below it, by /proc, and the core it may use."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

__all__ = ["cpu_s", "memory_mib", "peak_mib", "pinned", "tree"]

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def pinned(argv: tuple[str, ...], core: int) -> tuple[str, ...]:
    """The command held to one core; as it is where there is no second core or no taskset.

    The core is set before the program starts, so that whatever it forks is held to the same core.
    """
    taskset = shutil.which("taskset")
    if taskset is None or core not in os.sched_getaffinity(0):
        return argv
    return (taskset, "-c", str(core), *argv)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name, which may hold spaces and brackets; None: it has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(pid: int) -> list[int]:
    """The process and all that descend from it, the process first."""
    parents = {
        int(each.name): int(fields[1])
        for each in PROC.iterdir()
        if each.name.isdigit() and (fields := _stat(int(each.name))) is not None
    }
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def cpu_s(pid: int) -> float:
    """User and system seconds of the process tree so far, ended children included."""
    return sum(_process_s(each) for each in tree(pid))


def _process_s(pid: int) -> float:
    """Of one process: /proc/PID/stat counts in whole ticks of 10 ms, schedstat in nanoseconds but without threads
    that have ended. Both fall short of the truth, so the greater is the nearer.
    """
    fields = _stat(pid)
    if fields is None:
        return 0.0
    own, children = sum(map(int, fields[11:13])) / TICKS, sum(map(int, fields[13:15])) / TICKS
    threads = 0
    for task in (PROC / str(pid) / "task").glob("*/schedstat"):
        with suppress(OSError):
            threads += int(task.read_text().split()[0])
    return max(own, threads / 1e9) + children


def memory_mib(pid: int) -> float:
    """What the greatest process of the tree holds now (VmRSS), in MiB."""
    return max(_status_kib(each, "VmRSS") for each in tree(pid)) / 1024


def peak_mib(pid: int) -> float:
    """The most memory any one process of the tree has held at once (VmHWM), in MiB."""
    return max(_status_kib(each, "VmHWM") for each in tree(pid)) / 1024


def _status_kib(pid: int, name: str) -> int:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")), 0)
