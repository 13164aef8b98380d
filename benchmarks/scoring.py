"""Scoring a frame of ETH3D's size: `python benchmarks/scoring.py [--height 4032 --width 6048] [--repeat 3]`.

Processor seconds of everything that `leadline eval` works out of one frame and one map (fit, clip, all metrics, boundary F1 and
recall, edges), and the memory at its peak beyond picture, truth and map. A made-up scene with steps and holes; ETH3D's rules.
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc

import cv2
import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.evaluation.datasets.base import Sample
from leadline.evaluation.protocols import PROTOCOLS, RULES
from leadline.evaluation.scoring import score


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth in metres, 0 in a fifth of the pixels as laser scans leave them, and a map of its logarithm with steps a little lower."""
    rng = np.random.default_rng(0)
    small = cv2.resize(rng.uniform(2, 12, (9, 13)).astype(np.float32), (252, 168), interpolation=cv2.INTER_CUBIC)
    for _ in range(25):
        top, left = rng.integers(0, 140), rng.integers(0, 220)
        small[top : top + 30, left : left + 30] = rng.uniform(1, 8)
    depth_m = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    soft = 0.8 * np.log(small) + 0.2 * np.log(cv2.GaussianBlur(small, (0, 0), 2.0))
    values = cv2.resize(soft, (width, height), interpolation=cv2.INTER_NEAREST)
    depth_m[rng.random((height, width)) < 0.2] = 0.0
    return depth_m, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=4032)
    parser.add_argument("--width", type=int, default=6048)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    depth_m, values = scene(given.height, given.width)
    sample = Sample("scene", np.zeros((given.height, given.width, 3), np.uint8), depth_m)
    prediction = DepthPrediction(values, Space.LOG_DEPTH)
    seconds = []
    for _ in range(given.repeat):
        started = time.process_time()
        scored = score(sample, prediction, PROTOCOLS["depthfm"], RULES["eth3d"])
        seconds.append(time.process_time() - started)
    tracemalloc.start()
    score(sample, prediction, PROTOCOLS["depthfm"], RULES["eth3d"])
    peak = tracemalloc.get_traced_memory()[1]
    print(
        json.dumps(
            {
                "frame": f"{given.width}x{given.height}",
                "processor_seconds": round(min(seconds), 2),
                "peak_gb": round(peak / 1e9, 2),
                "abs_rel": round(float(scored.scores["abs_rel"] or 0), 6),
                "boundary_f1": round(float(scored.scores["boundary_f1"] or 0), 6),
            }
        )
    )


if __name__ == "__main__":
    main()
