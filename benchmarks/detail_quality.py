"""What `edges` and `tiles` change: `python benchmarks/detail_quality.py [--scenes 12] [--dev FOLDER] [--perfect]`.

Rendered scenes of 640×480 that no model was trained on (and, with --dev, a folder of NAME.jpg or .png beside NAME.depth.npz), each
small model with detail off, edges and tiles. Boundary F1 as Depth Pro defines it; AbsRel; and the share of pixels within 3 px of a
true edge that fly: farther than 5 % from both surfaces, by their true depth, and by the depth that the map itself has for
them; the mean of the pictures, and the latter also of all such pixels together, so that a picture with few of them counts little. The row `edges, cut` is a point cloud of the map with edges, as `leadline mesh --as points` leaves it: nothing between the sides of
a jump in depth; its last column is the share of all pixels that give no point. The row `true edges` says what is within reach of a method that only moves pixels to a side: every pixel near an edge
gets the map's own depth from the nearest place that truly lies on its surface.

--perfect: by how much the error within 10 px of edges falls when true depth was blurred or scaled down.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import leadline
from leadline.depth.alignment import align
from leadline.depth.spaces import Space
from leadline.evaluation.boundaries import boundary_f1, flying_pixels
from leadline.files.image import read_image
from leadline.geometry.silhouettes import flying_points
from leadline.inference.refine.edges import snap_edges
from leadline.scenes import render_scenes
from leadline.sensors.pinhole import Pinhole
from leadline.types import BoolMap, FloatMap, RgbImage

MODELS = ("fiffdepth-mini", "depthmaster-mini", "depthfm-mini")
HEIGHT, WIDTH, SEED = 480, 640, 9999
#: Relative jump in depth that a cloud is cut at, as `leadline mesh` does.
CUT = 0.1
#: How depth is made worse, and the standard deviation of that as a blur, in pixels.
WORSE = {"blur 4": 4.0, "blur 8": 8.0, "blur 16": 16.0, "÷ 4": 2.0, "÷ 8": 4.0}

Picture = tuple[RgbImage, FloatMap]


def scenes(count: int) -> Iterator[Picture]:
    """Photograph and metres (0: sky)."""
    for i in range(count):
        batch = render_scenes(SEED, 1, HEIGHT, WIDTH, first=i)
        depth = np.where(batch.valid[0].numpy(), batch.depth_m[0].numpy(), 0.0)
        yield batch.rgb[0].numpy(), depth.astype(np.float32)


def frames(folder: Path) -> Iterator[Picture]:
    """Photographs with measured depth (0: not measured)."""
    for path in sorted(folder.glob("*.depth.npz")):
        name = path.name.removesuffix(".depth.npz")
        picture = next(p for p in sorted(folder.glob(f"{name}.*")) if p.suffix in {".jpg", ".png"})
        yield read_image(picture), np.load(path)["depth"].astype(np.float32)


def steps(log_depth: FloatMap, least: float) -> npt.NDArray[np.uint8]:
    """1 on both sides of a step."""
    found = np.zeros(log_depth.shape, np.uint8)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        step = np.abs(log_depth[one] - log_depth[other]) > least
        found[one] |= step
        found[other] |= step
    return found


def with_true_edges(values: FloatMap, log_depth: FloatMap, sigma_px: float) -> FloatMap:
    """``values`` whose pixels near true edges have the value of the nearest clean place on their true surface."""
    distance = cv2.distanceTransform(1 - steps(log_depth, 0.05), cv2.DIST_L2, 5)
    clean, out = distance > 1.5 * sigma_px, values.copy()
    y, x = np.nonzero(distance <= 2 * sigma_px + 1)
    found, open_ = values[y, x].copy(), np.ones(y.size, bool)
    reach, stride = int(4 * sigma_px) + 2, max(1, int(sigma_px / 3))
    side = range(-reach, reach + 1, stride)
    for down, across in sorted(((a, b) for a in side for b in side), key=lambda o: o[0] ** 2 + o[1] ** 2):
        rest = np.flatnonzero(open_)
        v, u = np.clip(y[rest] + down, 0, out.shape[0] - 1), np.clip(x[rest] + across, 0, out.shape[1] - 1)
        good = clean[v, u] & (np.abs(log_depth[v, u] - log_depth[y[rest], x[rest]]) < 0.05)
        found[rest[good]] = values[v[good], u[good]]
        open_[rest[good]] = False
    out[y, x] = found
    return out


def scores(values: FloatMap, depth_m: FloatMap, space: Space, cut: bool) -> tuple[float, ...]:
    """Boundary F1, AbsRel, the share that flies between true surfaces and between the map's own, and the share that was cut.

    The last two: how many pixels fly between the map's own surfaces, and of how many.
    """
    valid: BoolMap = depth_m > 0
    metres = align(values, depth_m, space, valid).apply(values).astype(np.float32)
    f1 = boundary_f1(metres, depth_m, valid)["boundary_f1"] or 0.0
    off = float(np.mean((np.abs(metres - depth_m) / np.where(valid, depth_m, 1.0))[valid]))
    gone = np.zeros(valid.shape, bool)
    if cut:
        gone = flying_points(metres, CUT, Pinhole.default(valid.shape[1], valid.shape[0]).focal_px)
    true, own = (flying_pixels(metres, depth_m, valid, surfaces, gone) for surfaces in (None, 10))
    return f1, off, *(flying / max(beside, 1) for flying, beside in (true, own)), float(gone.mean()), *own


def models(pictures: list[Picture], rendered: bool) -> None:
    print(
        "| model | detail | F1 | AbsRel | fly between true surfaces | between its own | all together | cut |\n"
        + "|---" * 8
        + "|"
    )
    for name in MODELS:
        model, rows = leadline.load(name, device="cpu"), {}
        for rgb, depth_m in pictures:
            off = model.predict(rgb)
            maps = {"off": off.values, "edges": snap_edges(off.values, rgb).values}
            maps["tiles"] = model.predict(rgb, detail="tiles").values
            if rendered:
                log_depth = np.log(np.where(depth_m > 0, depth_m, 1.5 * depth_m.max())).astype(np.float32)
                maps["true edges"] = with_true_edges(off.values, log_depth, 4.0)
            maps["edges, cut"] = maps["edges"]
            for way, values in maps.items():
                rows.setdefault(way, []).append(scores(values, depth_m, off.space, cut=way.endswith("cut")))
        for way, found in rows.items():
            f1, absrel, true, own, cut, flying, beside = np.mean(found, axis=0)
            shares = f"{true:.3f} | {own:.3f} | {flying / max(beside, 1):.3f} | {cut:.3f}"
            print(f"| {name} | {way} | {f1:.4f} | {absrel:.4f} | {shares} |", flush=True)


def perfect(pictures: list[Picture]) -> None:
    print("| true depth | error near edges falls by | with true edges |\n|---|---|---|")
    for way, sigma_px in WORSE.items():
        gains = []
        for rgb, depth_m in pictures:
            true = np.log(np.where(depth_m > 0, depth_m, 1.5 * depth_m.max())).astype(np.float32)
            near = cv2.dilate(steps(true, 0.05), np.ones((21, 21), np.uint8)) > 0
            soft = _worse(true, way)
            before = np.abs(soft - true)[near].mean()
            both = snap_edges(soft, rgb).values, with_true_edges(soft, true, sigma_px)
            gains.append([1 - np.abs(one - true)[near].mean() / before for one in both])
        ours, reachable = np.mean(gains, axis=0)
        print(f"| {way} | {100 * ours:.0f} % | {100 * reachable:.0f} % |", flush=True)


def _worse(values: FloatMap, way: str) -> FloatMap:
    number = int(way.split()[1])
    if way.startswith("blur"):
        return np.asarray(cv2.GaussianBlur(values, (0, 0), number), np.float32)
    small = cv2.resize(values, (WIDTH // number, HEIGHT // number), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument(
        "--dev", type=Path, help="folder of photographs with measured depth, instead of rendered scenes"
    )
    parser.add_argument("--perfect", action="store_true")
    arguments = parser.parse_args()
    if arguments.perfect:
        perfect(list(scenes(arguments.scenes)))
    elif arguments.dev:
        models(list(frames(arguments.dev)), rendered=False)
    else:
        models(list(scenes(arguments.scenes)), rendered=True)


if __name__ == "__main__":
    main()
