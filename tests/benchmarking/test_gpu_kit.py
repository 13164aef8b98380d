"""The script for GPUs: every part runs, here on the CPU, and is written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_part_runs_dry(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks/gpu/run.sh"), str(tmp_path), "--dry-run"],
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert list(record["parts"]) == [
        "true_float32", "half_precision", "memory", "two_threads", "completion", "stabiliser", "node", "stream", "speed", "layout",
        "against_diffusers", "training",
    ]  # fmt: skip
    assert all(part["holds"] for part in record["parts"].values())
    assert "dry run" in (tmp_path / "gpu.md").read_text()


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/gpu/kit.py"), "--out", str(tmp_path)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "there is no CUDA device here" in done.stderr
    assert done.returncode == 1
