"""Captured sets beyond the zero-shot five: Middlebury-2014, iBims-1, and the two completion benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from leadline.errors import InputError
from leadline.evaluation.datasets import formats
from leadline.evaluation.datasets.base import Frame, Reader, Sample, matching, without_invalid
from leadline.evaluation.datasets.store import Store
from leadline.evaluation.protocols import RULES

#: iBims-1 stores depth as 16 bit over 50 m.
IBIMS_SCALE = 50.0 / 65535.0
#: NLSPN's preparation of NYU for completion: height 240, then the middle 228×304; its camera there (fx, fy, cx, cy).
NYU_COMPLETION_HEIGHT, NYU_COMPLETION_SIZE = 240, (228, 304)
NYU_COMPLETION_CAMERA = (
    5.1885790117450188e02 / 2,
    5.1946961112127485e02 / 2,
    3.2558244941119034e02 / 2 - 8,
    2.5373616633400465e02 / 2 - 6,
)


def _middlebury_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"([^/]+)/im0\.png"):
        folder = m[0][: m.end(1)]
        yield Frame(m[0], (m[0], f"{folder}/disp0.pfm", f"{folder}/calib.txt"), m[1])


def _middlebury_calibration(text: str, name: str) -> tuple[float, float, float, float, float, float]:
    """fx, fy, cx, cy (pixels), disparity offset (pixels), baseline (metres) of a ``calib.txt``."""
    number = r"[-+.\deE]+"
    camera = re.search(
        rf"cam0\s*=\s*\[\s*({number})\s+{number}\s+({number})\s*;\s*{number}\s+({number})\s+({number})", text
    )
    offset, baseline = re.search(rf"doffs\s*=\s*({number})", text), re.search(rf"baseline\s*=\s*({number})", text)
    if camera is None or offset is None or baseline is None:
        raise InputError(f"{name} lacks cam0, doffs or baseline; want Middlebury-2014's calib.txt")
    fx, cx, fy, cy = (float(camera[i]) for i in (1, 2, 3, 4))
    return fx, fy, cx, cy, float(offset[1]), float(baseline[1]) / 1000.0


def _middlebury(store: Store, frame: Frame) -> Sample:
    rgb, disparity, calibration = frame.files[:3]
    text = store.read(calibration).decode("ascii", errors="replace")
    fx, fy, cx, cy, offset, baseline_m = _middlebury_calibration(text, calibration)
    pixels = formats.pfm(store.read(disparity), disparity).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = baseline_m * fx / (pixels + offset)
    metres[~np.isfinite(pixels)] = 0.0  # unknown is infinity, which would become a depth of 0 only by luck
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), without_invalid(metres), intrinsics=(fx, fy, cx, cy))


def _ibims_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"rgb/([^/]+)\.png"):
        root = m[0][: m.start(1) - 4]
        parts = (f"{root}{part}/{m[1]}" for part in ("depth", "mask_invalid", "mask_transp", "calib"))
        depth, invalid, transparent, calib = parts
        yield Frame(
            m[0], (m[0], f"{depth}.png", f"{invalid}.png", f"{transparent}.png", f"{calib}.txt"), m[1].rsplit("_", 1)[0]
        )


def _ibims(store: Store, frame: Frame) -> Sample:
    rgb, depth, invalid, transparent, calib = frame.files[:5]
    # Despite their names both masks are above 0 where depth can be trusted.
    valid = (formats.png(store.read(invalid), invalid, 1.0) > 0) & (
        formats.png(store.read(transparent), transparent, 1.0) > 0
    )
    camera = [number for line in formats.numbers(store.read(calib), calib) for number in line]
    if len(camera) != 4:
        raise InputError(f"{calib} holds {len(camera)} numbers; want fx, fy, cx, cy")
    metres = formats.png(store.read(depth), depth, IBIMS_SCALE)
    fx, fy, cx, cy = camera
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), metres, valid, intrinsics=(fx, fy, cx, cy))


def _kitti_completion_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"val_selection_cropped/image/((.+)_sync_image_(\d+_image_0\d)\.png)"):
        root = m[0][: m.start(1) - len("image/")]
        name, tail = m[2], m[3]
        yield Frame(
            m[0],
            (
                m[0],
                f"{root}groundtruth_depth/{name}_sync_groundtruth_depth_{tail}.png",
                f"{root}velodyne_raw/{name}_sync_velodyne_raw_{tail}.png",
                f"{root}intrinsics/{m[1].removesuffix('.png')}.txt",
            ),
            name,
        )


def _kitti_completion(store: Store, frame: Frame) -> Sample:
    rgb, depth, sparse, camera = frame.files[:4]
    k = [number for line in formats.numbers(store.read(camera), camera) for number in line]
    if len(k) != 9:
        raise InputError(f"{camera} holds {len(k)} numbers; want the nine of a camera matrix")
    return Sample(
        frame.name,
        formats.rgb(store.read(rgb), rgb),
        formats.png(store.read(depth), depth, 1 / 256),
        sparse_m=formats.png(store.read(sparse), sparse, 1 / 256),
        intrinsics=(k[0], k[4], k[2], k[5]),
    )


def _nyu_completion_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"val/([^/]+)/(\d+)\.h5"):
        yield Frame(m[0], (m[0],), m[1])


def _nyu_completion(store: Store, frame: Frame) -> Sample:
    data = store.read(frame.files[0])
    rgb = np.moveaxis(formats.hdf5(data, frame.name, "rgb"), 0, -1)
    depth = formats.hdf5(data, frame.name, "depth").astype(np.float32)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.shape[:2] != depth.shape:
        raise InputError(f"{frame.name} holds rgb {rgb.shape} and depth {depth.shape}; want (3, H, W) and (H, W)")
    size = (int(depth.shape[1] * NYU_COMPLETION_HEIGHT / depth.shape[0]), NYU_COMPLETION_HEIGHT)
    # Pillow's bilinear filter for the picture and for the truth, which mixes depths at edges: the published tables do so.
    image, metres = (
        np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, Image.Resampling.BILINEAR))
        for array in (rgb.astype(np.uint8), depth)
    )
    rows, columns = NYU_COMPLETION_SIZE
    top, left = (size[1] - rows) // 2, (size[0] - columns) // 2
    if left < 0:
        raise InputError(f"{frame.name} is too narrow for the middle {columns}×{rows}")
    window = (slice(top, top + rows), slice(left, left + columns))
    camera = NYU_COMPLETION_CAMERA if depth.shape == (480, 640) else None
    return Sample(frame.name, np.ascontiguousarray(image[window]), without_invalid(metres[window]), intrinsics=camera)


READERS = (
    Reader("middlebury", "Middlebury-2014", "SCENE/im0.png, disp0.pfm, calib.txt", _middlebury_frames, _middlebury),
    Reader(
        "ibims",
        "iBims-1",
        "{rgb,depth,mask_invalid,mask_transp}/NAME.png (depth 50/65535 m), calib/NAME.txt",
        _ibims_frames,
        _ibims,
        RULES["ibims"],
    ),
    Reader(
        "kitti-completion",
        "KITTI depth completion",
        "val_selection_cropped/{image,groundtruth_depth,velodyne_raw,intrinsics} (1/256 m)",
        _kitti_completion_frames,
        _kitti_completion,
        RULES["kitti-completion"],
    ),
    Reader(
        "nyu-completion",
        "NYU depth completion",
        "val/SPLIT/N.h5 with rgb (3, H, W) and depth (H, W) in metres; scored at 304×228",
        _nyu_completion_frames,
        _nyu_completion,
        RULES["nyu-completion"],
    ),
)
