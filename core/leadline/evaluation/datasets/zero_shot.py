"""The five zero-shot sets in the layout of Marigold's published evaluation archives (folder or tar)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from leadline.errors import InputError
from leadline.evaluation.datasets import formats
from leadline.evaluation.datasets.base import Frame, Reader, Sample, matching, without_invalid
from leadline.evaluation.datasets.store import Store
from leadline.evaluation.protocols import RULES

#: KITTI benchmark crop: the lowest 352 rows, the middle 1216 columns.
BENCHMARK_SIZE = (352, 1216)


def benchmark_crop(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the KITTI benchmark crop."""
    rows, columns = BENCHMARK_SIZE
    if height < rows or width < columns:
        raise InputError(f"a KITTI image of {width}×{height} is smaller than the benchmark crop of {columns}×{rows}")
    left = (width - columns) // 2
    return slice(height - rows, height), slice(left, left + columns)


def _nyu_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"test/([^/]+)/rgb_(\d+)\.png"):
        yield Frame(m[0], (m[0], m[0].replace("rgb_", "depth_")), m[1])


def _nyu(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), formats.png(store.read(depth), depth, 1e-3))


def _kitti_frames(store: Store) -> Iterator[Frame]:
    paths = set(store.paths())  # 45 of the 697 frames of the Eigen split have no ground truth
    for m in matching(store, r"\d{4}_\d\d_\d\d/(\d{4}_\d\d_\d\d_drive_\d{4}_sync)/image_02/data/(\d+\.png)"):
        depth = f"{m[0][: m.start(1) - 11]}{m[1]}/proj_depth/groundtruth/image_02/{m[2]}"
        yield Frame(m[0], (m[0], depth), m[1], without_truth=depth not in paths)


def _kitti(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    image = formats.rgb(store.read(rgb), rgb)
    window = benchmark_crop(*image.shape[:2])
    metres = formats.png(store.read(depth), depth, 1 / 256)
    if metres.shape != image.shape[:2]:
        raise InputError(f"{frame.name}: image and depth differ in size")
    return Sample(frame.name, np.ascontiguousarray(image[window]), np.ascontiguousarray(metres[window]))


def _eth3d_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"rgb/([^/]+)/images/(dslr_images/[^/]+\.(?:JPG|jpg|png))"):
        scene, root = m[1], m[0][: m.start(1) - 4]
        yield Frame(m[0], (m[0], f"{root}depth/{scene}_dslr_depth/{scene}/ground_truth_depth/{m[2]}"), scene)


def _eth3d(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    image = formats.rgb(store.read(rgb), rgb)
    metres = formats.raw_float32(store.read(depth), depth, *image.shape[:2])
    return Sample(frame.name, image, without_invalid(metres))


def _scannet_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"(scene\d+_\d+)/color/(\d+)\.jpg"):
        yield Frame(m[0], (m[0], f"{m[0][: m.start(1)]}{m[1]}/depth/{m[2]}.png"), m[1])


def _scannet(store: Store, frame: Frame) -> Sample:
    import cv2  # noqa: PLC0415

    rgb, depth = frame.files[:2]
    image, metres = formats.rgb(store.read(rgb), rgb), formats.png(store.read(depth), depth, 1e-3)
    if image.shape[:2] != metres.shape:  # ScanNet's colour camera has twice the resolution of its depth camera
        image = cv2.resize(image, metres.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Sample(frame.name, image, metres)


def _diode_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"((?:indoors|outdoor)/scene_\d+/scan_\d+/[^/]+)\.png"):
        stem = m[0].removesuffix(".png")
        yield Frame(m[0], (m[0], f"{stem}_depth.npy", f"{stem}_depth_mask.npy"), m[1].split("/")[0])


def _diode(store: Store, frame: Frame) -> Sample:
    rgb, depth, mask = frame.files[:3]
    metres = without_invalid(formats.npy(store.read(depth), depth))
    valid = formats.npy(store.read(mask), mask).astype(bool)
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), metres, valid)


READERS = (
    Reader("nyu", "NYUv2", "test/SCENE/rgb_N.png, depth_N.png (mm)", _nyu_frames, _nyu, RULES["nyu"]),
    Reader(
        "kitti",
        "KITTI (Eigen)",
        "DATE/DRIVE/image_02/data/N.png, DRIVE/proj_depth/groundtruth/image_02/N.png (1/256 m)",
        _kitti_frames,
        _kitti,
        RULES["kitti"],
    ),
    Reader(
        "eth3d",
        "ETH3D",
        "rgb/SCENE/images/dslr_images/N.JPG, depth/SCENE_dslr_depth/SCENE/ground_truth_depth/dslr_images/N.JPG (raw float32)",
        _eth3d_frames,
        _eth3d,
        RULES["eth3d"],
    ),
    Reader(
        "scannet", "ScanNet", "SCENE/color/N.jpg, SCENE/depth/N.png (mm)", _scannet_frames, _scannet, RULES["scannet"]
    ),
    Reader(
        "diode",
        "DIODE",
        "{indoors,outdoor}/scene_S/scan_N/NAME.png, NAME_depth.npy (m), NAME_depth_mask.npy",
        _diode_frames,
        _diode,
        RULES["diode"],
    ),
)
