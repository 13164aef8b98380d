"""The benchmark of real time: one table of speed and quality of the same setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]


def test_speed_and_quality_of_one_setting_are_one_table(tmp_path: Path) -> None:
    ramp = np.linspace(1.0, 4.0, 96, dtype=np.float32)[None].repeat(72, 0)
    for name, depth_m in (("slope", ramp), ("step", np.where(ramp > 2.5, 4.0, 1.5).astype(np.float32))):
        np.savez(tmp_path / f"{name}.depth.npz", depth=depth_m)
        picture = np.clip(60.0 * depth_m, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    script = [sys.executable, str(ROOT / "benchmarks/realtime.py"), "both", "--dev", str(tmp_path)]
    options = ["-m", "fiffdepth-mini", "--size", "64", "--repeat", "1"]
    done = subprocess.run([*script, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| fiffdepth")]
    assert [(row[2].split(",")[0], row[3]) for row in rows] == [
        ("full", "off"),
        ("realtime", "off"),
        ("realtime", "edges"),
    ]
    for _, network, _, _, fps, median, slow, error, of_full, *_ in rows:
        assert network == "56×64"
        assert float(fps) > 0
        assert 0 < float(median) <= float(slow)
        assert 0 < float(error) < 1
        assert of_full.endswith("%")
