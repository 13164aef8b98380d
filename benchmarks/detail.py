"""Detail and video figures: `python benchmarks/detail.py [--threads 2] [--repeat 15]`.

Wall and processor time, milliseconds, of `edges` on 1920×1080 and of the stabiliser on 640×480, both beyond the network, and
the memory of `tiles` on 48 megapixels beyond model and picture. On rendered rooms with a made-up blurred map; on a busy
machine only the processor's time is meaningful.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from time import perf_counter, process_time

import cv2
import numpy as np
import torch

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.inference.refine.edges import snap_edges
from leadline.inference.refine.tiles import add_detail
from leadline.scenes import render_scenes
from leadline.types import FloatMap, RgbImage
from leadline.video.stabiliser import Stabiliser

#: A network at 320 px, scaled up to 1920, blurs steps by about so many pixels.
BLUR_PX, NETWORK = 6.0, 320


def measure(work: Callable[[], object], repeat: int) -> dict[str, float]:
    """Milliseconds: median and best wall time, best processor time."""
    work()
    wall, processor = [], []
    for _ in range(repeat):
        started, used = perf_counter(), process_time()
        work()
        wall.append(1e3 * (perf_counter() - started))
        processor.append(1e3 * (process_time() - used))
    return {"wall_median_ms": float(np.median(wall)), "wall_best_ms": min(wall), "processor_best_ms": min(processor)}


def room(height: int, width: int) -> tuple[RgbImage, FloatMap]:
    """A rendered room, and the disparity that a small network would see."""
    scene = render_scenes(5, 1, height, width, "room")
    depth = scene.depth_m[0].numpy()
    disparity = 1.0 / np.where(depth > 0, depth, depth.max())
    return scene.rgb[0].numpy(), np.asarray(cv2.GaussianBlur(disparity, (0, 0), BLUR_PX * width / 1920), np.float32)


def film(count: int) -> list[tuple[DepthPrediction, RgbImage]]:
    """A pan of 640×480 over a room, with maps that flicker."""
    rgb, values = room(480, 640 + 2 * count)
    rng, frames = np.random.default_rng(0), []
    for i in range(count):
        part = np.s_[:, 2 * i : 2 * i + 640]
        noise = cv2.resize(rng.normal(0, 0.01, (12, 16)).astype(np.float32), (640, 480))
        sigma = np.full((480, 640), 0.01, np.float32)
        made = DepthPrediction((values[part] + noise).astype(np.float32), Space.DISPARITY, uncertainty=sigma)
        frames.append((made, np.ascontiguousarray(rgb[part])))
    return frames


def forty_eight_megapixels() -> dict[str, float]:
    """Megabytes beyond a made-up map and its picture, whose grey levels are what the tiles' network answers."""
    small = np.random.default_rng(0).normal(0, 1, (18, 24)).astype(np.float32)
    large = np.asarray(cv2.resize(small, (8000, 6000), interpolation=cv2.INTER_CUBIC), np.float32)
    grey = cv2.convertScaleAbs(large, alpha=30, beta=128)
    rgb = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    del grey
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is resident
    before = _peak_mb()
    detailed, used = add_detail(large, rgb, NETWORK, lambda tiles: [t.mean(2, dtype=np.float32) for t in tiles])
    snap_edges(detailed, rgb)
    return {"tiles": used, "memory_mb": _peak_mb() - before}


def _peak_mb() -> float:
    """Largest resident size so far (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    rgb, values = room(1080, 1920)
    sigma = np.full_like(values, 0.01)
    figures: dict[str, object] = {"edges 1920x1080": measure(lambda: snap_edges(values, rgb, sigma), arguments.repeat)}
    frames, stabiliser = cycle(film(20)), Stabiliser()
    figures["stabiliser 640x480"] = measure(lambda: stabiliser.step(*next(frames)), 2 * arguments.repeat)
    figures["tiles and edges, 48 megapixels"] = forty_eight_megapixels()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
