"""Completion figures: `python benchmarks/completion.py [--threads 2] [--json FILE]`.

Times, on made-up data of realistic size: projection of a 120 000-point cloud (one thread), and everything of
`leadline complete` that is not the network for a rendered street and a rendered room of 1280×720 with 20 000 points, all
right or a third of them far off, and of a street of 640×480 that a LiDAR of 32 rings sees. Prints the median and the best wall time and the processor time of all threads; on a busy
machine only the last is meaningful.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

import leadline
from leadline.completion import CalibratedCamera, complete, project_points
from leadline.evaluation.completion import with_outliers
from leadline.evaluation.sparse import keep_points
from leadline.scenes import render_scenes
from leadline.sensors.pinhole import Pinhole

HEIGHT, WIDTH, POINTS, CLOUD = 720, 1280, 20_000, 120_000
PLACES = ("street", "room")


def measure(work: Callable[[], object], repeat: int) -> dict[str, float]:
    """Milliseconds: median and best wall time, best processor time."""
    work()
    wall, processor = [], []
    for _ in range(repeat):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - started))
        processor.append(1e3 * (time.process_time() - used))
    return {"wall_median_ms": float(np.median(wall)), "wall_best_ms": min(wall), "processor_best_ms": min(processor)}


def cloud(rng: np.random.Generator) -> np.ndarray:
    """A full turn of a 64-line scanner between 2 and 80 m, x forward."""
    azimuth = rng.uniform(-np.pi, np.pi, CLOUD)
    elevation = np.radians(rng.choice(np.linspace(-24.8, 2, 64), CLOUD))
    distance = np.exp(rng.uniform(np.log(2), np.log(80), CLOUD))
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    return (np.stack([x, y, np.sin(elevation)], 1) * distance[:, None]).astype(np.float32)


def rings(depth_m: np.ndarray) -> np.ndarray:
    """A street's depth where 32 rings of 625 points would measure it, up to 80 m; 0 elsewhere."""
    sparse = np.zeros_like(depth_m)
    height, width = depth_m.shape
    rows, columns = np.linspace(0.2 * height, height - 1, 32).astype(int), np.linspace(0, width - 1, 625).astype(int)
    sparse[np.ix_(rows, columns)] = depth_m[np.ix_(rows, columns)]
    sparse[~(sparse < 80)] = 0
    return sparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--model", default="fiffdepth-mini")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    rng = np.random.default_rng(0)
    motion = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    points = cloud(rng)
    cameras = {
        "pinhole": CalibratedCamera.from_pinhole(Pinhole(WIDTH, HEIGHT, 720.0)),
        "plumb_bob": CalibratedCamera(
            WIDTH,
            HEIGHT,
            CalibratedCamera.from_pinhole(Pinhole(WIDTH, HEIGHT, 720.0)).matrix,
            "plumb_bob",
            np.array([-0.1, 0.01, 0, 0, 0]),
        ),
    }
    figures: dict[str, object] = {
        "machine": f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}"
    }
    for name, camera in cameras.items():
        figures[f"project {CLOUD} points, {name}"] = measure(
            lambda camera=camera: project_points(points, camera, motion), arguments.repeat
        )
    model = leadline.load(arguments.model)
    for place in PLACES:
        scene = render_scenes(5, 1, HEIGHT, WIDTH, place)
        photo, depth = scene.rgb[0].numpy(), scene.depth_m[0].numpy()
        prediction = model.predict(photo)
        right = keep_points(depth, POINTS, 0)
        for name, sparse in (("all right", right), ("a third far off", with_outliers(right, 1 / 3, 0))):
            label = f"complete {place} {WIDTH}x{HEIGHT}, {POINTS} points, {name}"
            figures[label] = measure(
                lambda photo=photo, prediction=prediction, sparse=sparse: complete(photo, prediction, sparse),
                arguments.repeat,
            )
    scene = render_scenes(5, 1, 480, 640, "street")
    photo, sparse = scene.rgb[0].numpy(), rings(scene.depth_m[0].numpy())
    prediction = model.predict(photo)
    figures[f"complete street 640x480, LiDAR of 32 rings, {np.count_nonzero(sparse)} points"] = measure(
        lambda: complete(photo, prediction, sparse), arguments.repeat
    )
    if torch.cuda.is_available():
        figures["complete on cuda"] = measure(
            lambda: complete(photo, prediction, right, device="cuda"), arguments.repeat
        )
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        with open(arguments.json, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
