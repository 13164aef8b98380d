"""Budgets: what they mean in words, and that a process stays below them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tiny import tiny_bundle

from leadline.errors import InputError
from leadline.inference.estimator import DepthEstimator
from leadline.inference.memory import MemoryBudget, parse_bytes, weight_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("800mb", 8 * 10**8), ("123", 123), (77, 77), (" 2 kB ", 2000)],
)
def test_sizes_in_words(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "4 bananas", "-1GB", "1.2.3GB", "."])
def test_no_sizes(text):
    with pytest.raises(InputError, match="write for example 4GB"):
        parse_bytes(text)


def test_members_at_once():
    budget = MemoryBudget(total_bytes=10_000, resident_bytes=1000, pixel_bytes=20.0)
    assert budget.at_once(10, 10, 2) == 2  # 1000 + 3 * 2 * 400 + 2 * 2000 fit
    assert budget.at_once(10, 10, 5) == 1
    with pytest.raises(InputError, match="takes about"):
        budget.at_once(10, 10, 7)


def test_shared_weights_count_once():
    bundle = tiny_bundle("fiffdepth")
    assert weight_bytes(bundle.model, bundle.model) == weight_bytes(bundle.model)


def test_same_map_within_a_budget(photo):
    bundle = tiny_bundle("depthfm")
    free = DepthEstimator(bundle, precision="fp32").predict(photo, ensemble=5)
    tight = DepthEstimator(bundle, precision="fp32", memory_budget="640MB")
    np.testing.assert_allclose(tight.predict(photo, ensemble=5).values, free.values, atol=2e-5)
    with pytest.raises(InputError, match="memory budget"):
        DepthEstimator(bundle, precision="fp32", memory_budget="1MB").predict(photo)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_a_process_stays_below_its_budget():
    budget = 1_100_000_000
    program = f"""
import numpy as np, leadline
image = np.random.default_rng(0).integers(0, 256, (768, 768, 3), dtype=np.uint8)
leadline.load("depthfm-mini", device="cpu", memory_budget={budget}).predict(image, size=0, steps=1, ensemble=10)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < budget
