"""How often a LiDAR's wrong extrinsics are noticed, and right ones blamed: rendered streets and façades, the mini model.

    python benchmarks/ros_extrinsics.py --scenes 24            # every pair of scenes is a drive of about ten seconds
    python benchmarks/ros_extrinsics.py --alarms 60            # right extrinsics, each drive in a scene of its own

The first takes three minutes, the second half a minute a drive.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

import leadline
from leadline.streaming.cameras import camera_of
from leadline.streaming.frames import Sweep
from leadline.streaming.settings import StreamSettings
from leadline.streaming.watch import ExtrinsicsWatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "streaming"))
from drive import OPTICAL_IN_BODY, Drive

FRAMES, STEP_NS = 12, 450_000_000
CALIBRATED = "calibrated"
WRONG = {
    CALIBRATED: ((0, 0, 0), (0, 0, 0)),
    "turned by 0.5° about the upright axis": ((0, 0.5, 0), (0, 0, 0)),
    "turned by 0.5° about the horizontal axis": ((-0.5, 0, 0), (0, 0, 0)),
    "turned by 0.5° about the optical axis": ((0, 0, 0.5), (0, 0, 0)),
    "turned by 1° about the optical axis": ((0, 0, 1.0), (0, 0, 0)),
    "3 cm to the side": ((0, 0, 0), (0.03, 0, 0)),
    "6 cm to the side": ((0, 0, 0), (0.06, 0, 0)),
    "3 cm upwards": ((0, 0, 0), (0, -0.03, 0)),
    "6 cm upwards": ((0, 0, 0), (0, -0.06, 0)),
    "3 cm forward": ((0, 0, 0), (0, 0, 0.03)),
    "10 cm forward": ((0, 0, 0), (0, 0, 0.1)),
}
#: Sweeps of a drive of ten seconds.
SWEEPS = 22


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--alarms", type=int, default=0, help="drives with right extrinsics, instead of all else")
    given = parser.parse_args()
    model = leadline.load("fiffdepth-mini")
    if given.alarms:
        print(json.dumps(alarms(given.alarms, given.width, model), indent=2, ensure_ascii=False))
        return
    scenes = [seen(seed, given.width, model) for seed in range(10, 10 + given.scenes)]
    result = {}
    for name in WRONG:
        said: Counter[str] = Counter()
        pairs = list(itertools.combinations(scenes, 2))
        for one, other in pairs:
            drive = ExtrinsicsWatch.joined(one[name], other[name])
            said.update(found.component.name[found.value < 0] for found in drive.found()[:1])
        result[name] = {"drives": len(pairs), "said": dict(said)}
    print(json.dumps(result, indent=2, ensure_ascii=False))


def alarms(drives: int, width: int, model: leadline.DepthEstimator) -> dict[str, object]:
    """What is said of right extrinsics in drives that share nothing."""
    said = [seen(seed, width, model, SWEEPS, (CALIBRATED,))[CALIBRATED].warning() for seed in range(500, 500 + drives)]
    return {
        "drives": drives,
        "minutes": round(drives * SWEEPS * STEP_NS * 1e-9 / 60, 1),
        "alarms": [one for one in said if one],
    }


def seen(
    seed: int, width: int, model: leadline.DepthEstimator, sweeps: int = FRAMES, names: Iterable[str] = tuple(WRONG)
) -> dict[str, ExtrinsicsWatch]:
    """What a watch gathers in one scene, for each of some ways in which the extrinsics are wrong."""
    layout = "facade" if seed % 4 == 3 else "street"
    path = ("forward", "walk", "walk", "sideways")[seed % 4]
    drive = Drive.rendered(seed, sweeps, height=width * 3 // 4, width=width, hz=3.0, layout=layout, path=path)
    camera = camera_of(drive.info(0), rectified=False)
    images = [drive.rgb(index) for index in range(sweeps)]
    maps = model.predict(images)
    found = {}
    for name in names:
        turn_deg, shift_m = WRONG[name]
        motion, watch = np.eye(4), ExtrinsicsWatch()
        motion[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
        motion[:3, 3] = shift_m
        for index in range(sweeps):
            cloud = drive.cloud(index, columns=300)
            points = (np.frombuffer(cloud.data, np.float32).reshape(-1, 3) @ OPTICAL_IN_BODY).astype(np.float32)
            stamp_ns = index * STEP_NS
            watch.add(stamp_ns, images[index], maps[index], Sweep(points, motion, stamp_ns), camera, StreamSettings())
        found[name] = watch
    return found


if __name__ == "__main__":
    main()
