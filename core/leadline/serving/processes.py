"""What the operating system says about a process."""

from __future__ import annotations

import os

#: Reading this much from a disk counts as a second of work.
_BYTES_PER_S = 50e6


def effort_s(pid: int | str = "self") -> float | None:
    """What a process has done so far: its CPU time, and what it read from disks, in seconds of work.

    A process that waits for ever has a constant one. None where the system does not say (not Linux).
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None
    return ticks / os.sysconf("SC_CLK_TCK") + _bytes_read(pid) / _BYTES_PER_S


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped a process (Linux; elsewhere nobody knows). A debugger's stop is another one."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def wants_to_run(pid: int) -> bool:
    """Whether a thread of a process runs or waits for a processor (Linux; elsewhere nobody knows). Neither a dead lock nor
    a stopped process does."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "R":
                    return True
    except (OSError, IndexError):
        return False
    return False


def _bytes_read(pid: int | str) -> int:
    try:
        with open(f"/proc/{pid}/io") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("read_bytes:")), 0)
    except (OSError, ValueError):
        return 0


def private_bytes() -> int:
    """Memory of this process that it shares with nobody (Linux; elsewhere 0)."""
    try:
        with open("/proc/self/status") as status:
            line = next((line for line in status if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    except OSError:
        return 0
    return int(line.split()[1]) * 1024
