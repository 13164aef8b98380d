"""Camera and odometry alone: how right metres and sigma are two seconds after a robot set off, in rendered streets and rooms.

    python benchmarks/ros_odometry.py --seeds 201 202 203

Each film is a drive of 2.4 s at 10 Hz with exact poses, forward, walking or sideways, at 0.3, 0.8 and 1.5 m/s; frames from 2.0 s on are
judged. Films in which the camera drives into something (1 % of a frame nearer than 0.3 m) are left out. Half a minute a film.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

import leadline
from leadline.scenes import FilmFrame, render_film
from leadline.sensors.camera import CalibratedCamera
from leadline.streaming.frames import Frame
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.settings import StreamSettings

HZ, FRAMES, JUDGED_FROM = 10, 24, 20
HEIGHT, WIDTH = 240, 320
PATHS = ("forward", "walk", "sideways")
SPEEDS = (0.3, 0.8, 1.5)
TOO_NEAR_M = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[201, 202, 203])
    parser.add_argument("--layouts", nargs="+", default=["street", "room"])
    parser.add_argument("--model", default="fiffdepth-mini")
    given = parser.parse_args()
    settings = StreamSettings(model=given.model)
    model = leadline.load(given.model)
    found = defaultdict(list)
    for layout in given.layouts:
        for seed in given.seeds:
            for speed in SPEEDS:
                path = PATHS[seed % 3]
                film = list(
                    render_film(
                        seed,
                        FRAMES,
                        HEIGHT,
                        WIDTH,
                        layout=layout,
                        path=path,
                        movers=0,
                        pace_m=speed / HZ,
                        supersample=1.0,
                    )
                )
                if min(np.quantile(frame.depth_m[frame.valid], 0.01) for frame in film) < TOO_NEAR_M:
                    continue
                absrel, within, evidence = judged(film, DepthPipeline(model, settings), settings)
                found[layout].append((absrel, within))
                print(
                    f"{layout:7s} {seed} {path:8s} {speed} m/s: AbsRel {absrel:.3f}, in 1 sigma {within:.0%}; {evidence}",
                    flush=True,
                )
    for layout, results in found.items():
        absrel, within = np.array(results).T
        print(
            f"{layout}: {len(absrel)} films, AbsRel mean {np.mean(absrel):.3f}, median {np.median(absrel):.3f}, {np.mean(absrel <= 0.15):.0%} of "
            f"them up to 0.15; in 1 sigma {np.mean(within):.0%} on average"
        )


def judged(film: list[FilmFrame], pipeline: DepthPipeline, settings: StreamSettings) -> tuple[float, float, str]:
    """(AbsRel, share within one sigma, where the metres came from) of a film's last frames; infinity where there are no metres."""
    camera = CalibratedCamera(WIDTH, HEIGHT, film[0].intrinsics)
    errors, within, evidence = [], [], "nothing"
    for number, shown in enumerate(film):
        frame = Frame(round((100 + number / HZ) * 1e9), shown.rgb, camera, pose=shown.camera_to_world)
        result = pipeline.process(frame, settings)
        if number < JUDGED_FROM:
            continue
        if result.depth_m is None or result.uncertainty_m is None:
            return float("inf"), 0.0, result.reason
        known = shown.valid & np.isfinite(result.depth_m)
        off = np.abs(result.depth_m - shown.depth_m)[known]
        errors.append(float(np.mean(off / shown.depth_m[known])))
        within.append(float(np.mean(off <= result.uncertainty_m[known])))
        evidence = result.evidence
    return float(np.mean(errors)), float(np.mean(within)), evidence


if __name__ == "__main__":
    main()
