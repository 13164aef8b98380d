"""Activations are not faulted in anew for every picture."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
import leadline
model = leadline.load("fiffdepth-mini", device="cpu", precision="fp32")
picture = np.zeros((480, 640, 3), np.uint8)
for _ in range(2):
    model.predict(picture, size=448)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    model.predict(picture, size=448)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 3)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_the_memory_of_a_picture_serves_the_next_one() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 3000  # pages; 11 000 when glibc gave everything back in between
