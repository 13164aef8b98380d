"""CPU threads beside other programs: how many, and how they wait for each other. Standard library only.

OpenMP's threads meet after every parallel piece of work, a few hundred times in a prediction. By default each spins until
the last one is there. On a machine whose cores are busy the last one is not running, and the others burn its time: a
prediction of 0.1 s takes 8 s. The cure is to spin for a moment only, and then to sleep. OpenMP and MKL read their settings from
the environment when torch is loaded, so they must be set before that.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: How long a thread waits actively. GNU's library counts turns of a loop: this is what it takes by itself where it knows
#: of more threads than cores. LLVM's and Intel's count milliseconds.
_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
#: Without, MKL keeps what it multiplied in for every thread until the process ends: 15 MB more for each network that runs beside
#: another. Any value has this effect.
_BUFFERS = {"MKL_DISABLE_FAST_MM": "1"}
#: Each of these is a user's own answer to how threads wait, or to how many there are.
OWN_WAITING = ("OMP_WAIT_POLICY", *_WAITING)
OWN_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def prepare() -> bool:
    """Set for this process, and those it starts, what :func:`settings` says; to be called before torch is loaded.

    Returns:
        Whether that was early enough. If torch is here already, nothing is changed.
    """
    if "torch" in sys.modules:
        return False
    os.environ.update(settings())
    return True


def settings(threads: int | None = None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables for a process that runs networks; the user's own, in ``environment``, are left as they are.

    Args:
        threads: CPU threads it was told to use. None: all free cores (:func:`free_cores`).
        environment: What the process will have beside them.
    """
    chosen = {} if any(name in environment for name in OWN_WAITING) else dict(_WAITING)
    chosen |= _BUFFERS
    if threads is None and not any(name in environment for name in OWN_NUMBER):
        free = free_cores()
        threads = free if free < _cores_by_affinity() else None  # else PyTorch finds the same number
    if threads is not None:
        chosen |= dict.fromkeys(OWN_NUMBER, str(threads))
    return chosen


def free_cores() -> int:
    """Cores for a process's threads: those it may use, less what other programs keep busy, but at least half of them.

    The system shares a busy core out between programs, so half of the cores is what a thread on each would get. Two
    threads that share their cores are still faster than one.
    """
    cores = allowed_cores()
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return cores
    idle = math.ceil((os.cpu_count() or 1) - load)
    return max(min(cores, idle), math.ceil(cores / 2), min(cores, 2))


def allowed_cores(root: Path = Path("/")) -> int:
    """Cores this process may use, by its affinity and its cgroup's quota.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    cores, quota = _cores_by_affinity(root), _quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def _cores_by_affinity(root: Path = Path("/")) -> int:
    """Cores this process may be scheduled on; two hardware threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    topology = root / "sys/devices/system/cpu"
    return len({_siblings(topology / f"cpu{one}/topology") or str(one) for one in os.sched_getaffinity(0)})


def _siblings(topology: Path) -> str:
    """The hardware threads of one core, as the kernel lists them; empty if it does not say."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        try:
            return (topology / name).read_text().strip()
        except OSError:
            continue
    return ""


def _quota(root: Path = Path("/")) -> float | None:
    """Processor seconds a second that the control groups of this process allow; None without a limit."""
    limits = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        below = Path(path.lstrip("/"))
        if not controllers:  # version 2; a group is also bound by those above it
            base = root / "sys/fs/cgroup"
            limits += [_read_pair(base / group / "cpu.max") for group in (below, *below.parents)]
        elif "cpu" in controllers.split(","):
            base = root / "sys/fs/cgroup/cpu"
            for group in (below, *below.parents):
                limits.append(_read_pair(base / group / "cpu.cfs_quota_us", base / group / "cpu.cfs_period_us"))
    return min((limit for limit in limits if limit is not None), default=None)


def _read_pair(*files: Path) -> float | None:
    """Quota over period, from one file with both or from one for each; None if there is no limit."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max 100000"
        return None
