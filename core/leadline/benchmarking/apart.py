"""Measurements in a process of their own: what is asked goes out as JSON, the answer comes back the same way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from leadline.errors import LeadlineError

if sys.platform != "win32":
    import resource

PROC_STATUS = Path("/proc/self/status")


def run_module(module: str, request: dict[str, Any], what: str) -> dict[str, Any]:
    """What ``module``, run as a program that calls :func:`answer_parent`, answers to ``request``.

    Raises:
        LeadlineError: It failed; ``what`` says what could not be measured.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(request)], capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}, probably out of memory"]
        raise LeadlineError(f"{what} could not be measured: {reason[0]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def answer_parent(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the request of the parent on standard output."""
    try:
        answered = answer(json.loads(sys.argv[1]))
    except LeadlineError as error:
        sys.exit(str(error))
    print(json.dumps(answered))


def peak_mb(device: torch.device) -> float:
    """Peak resident set of this process (on CUDA: peak allocated memory), MiB.

    Raises:
        LeadlineError: It cannot be told on this system.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if PROC_STATUS.exists():  # of this program alone: getrusage also remembers the process that started it
        line = next(line for line in PROC_STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        raise LeadlineError("peak memory is measured on Linux and macOS only; use --no-memory")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
