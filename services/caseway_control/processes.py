"""What processes cost, as the kernel of the machine accounts it: CPU seconds and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def with_children(pids: Iterable[int]) -> set[int]:
    """These processes and everything that descends from them, as far as it still runs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = set(pids)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and of their ended children."""
    total = 0.0
    for pid in with_children(pids):
        fields = _stat(pid)
        if fields:
            total += sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICKS
    return total


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: shared pages count once over all who share them."""
    total = 0
    for pid in with_children(pids):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
        except OSError:
            continue
        line = next(line for line in text.splitlines() if line.startswith("Pss:"))
        total += int(line.split()[1]) * 1024
    return total


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return []
