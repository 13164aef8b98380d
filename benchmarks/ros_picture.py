"""Draws what the demo's topics show: image with LiDAR points, depth, uncertainty, points from above → docs/images/.

python benchmarks/ros_picture.py --model depthfm-mini
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from leadline.files.output import uncertainty_preview
from leadline.files.pictures import colourise
from leadline.streaming.cameras import RayCache
from leadline.streaming.frames import Frame, Sweep
from leadline.streaming.measured import measured_points
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.settings import StreamSettings
from leadline_ros.demo_source import HEIGHT, LIDAR_TO_CAMERA, WIDTH, Street

FARTHEST_M, ASIDE_M = 40.0, 16.0


def main() -> None:
    from leadline.sensors.camera import CalibratedCamera

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="depthfm-mini")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/ros2_topics.jpg"))
    given = parser.parse_args()
    street, rng = Street.rendered(given.seed), np.random.default_rng(0)
    rgb, matrix = street.window(1.0, rng)
    motion = np.eye(4)
    motion[:3, :3] = LIDAR_TO_CAMERA
    frame = Frame(0, rgb, CalibratedCamera(WIDTH, HEIGHT, matrix), Sweep(street.sweep(rng), motion, stamp_ns=0))
    settings = StreamSettings(model=given.model, max_depth_m=60.0)
    result = DepthPipeline.load(settings).process(frame, settings)
    points, _ = measured_points(frame, settings)
    assert points is not None
    assert result.depth_m is not None
    assert result.uncertainty_m is not None

    def near(depth_m: np.ndarray) -> np.ndarray:
        return 1.0 - np.log(np.clip(depth_m, 2.0, FARTHEST_M) / 2.0) / np.log(FARTHEST_M / 2.0)

    drawn = (0.6 * rgb).astype(np.uint8)
    colours = colourise(near(points.depth_m)[None].astype(np.float32))[0]
    for u, v, colour in zip(points.u, points.v, colours, strict=True):
        cv2.circle(drawn, (int(u), int(v)), 1, colour.tolist(), -1)
    depth = np.where(np.isfinite(result.depth_m), result.depth_m, FARTHEST_M)
    sigma = np.nan_to_num(result.uncertainty_m, nan=0.0)
    rays = RayCache().rays(frame.camera)
    above = np.full((HEIGHT, WIDTH, 3), 24, np.uint8)
    known = np.isfinite(result.depth_m)
    column = (WIDTH / 2 + rays[..., 0] * depth / ASIDE_M * WIDTH / 2)[known].astype(int)
    row = (HEIGHT - 1 - depth / FARTHEST_M * HEIGHT)[known].astype(int)
    inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    above[row[inside], column[inside]] = rgb[known][inside]
    panels = {
        "image, 32-line LiDAR": drawn,
        "depth": colourise(near(depth).astype(np.float32)),
        "depth/uncertainty": uncertainty_preview(sigma),
        "depth/points, from above": above,
    }
    for name, panel in panels.items():
        cv2.putText(panel, name, (10, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    top, bottom = np.hstack(list(panels.values())[:2]), np.hstack(list(panels.values())[2:])
    given.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(given.output), np.vstack([top, bottom])[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{given.output}: {result.evidence}")


if __name__ == "__main__":
    main()
