"""Rendered sets: Hypersim, Virtual KITTI 2, MPI Sintel, Spring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.datasets import formats
from leadline.evaluation.datasets.base import Frame, Reader, Sample, matching, without_invalid
from leadline.evaluation.datasets.store import Store
from leadline.evaluation.datasets.zero_shot import benchmark_crop
from leadline.evaluation.protocols import RULES
from leadline.sensors.pinhole import Pinhole
from leadline.types import FloatMap

#: Hypersim's camera: focal length in pixels at a width of 1024.
HYPERSIM_FOCAL_PX, HYPERSIM_WIDTH_PX = 886.81, 1024
#: Spring's stereo baseline, metres.
SPRING_BASELINE_M = 0.065


def _hypersim_frames(store: Store) -> Iterator[Frame]:
    raw = r"(ai_\d+_\d+)/images/scene_(cam_\d+)_final_preview/frame\.(\d+)\.tonemap\.jpg"
    for m in matching(store, raw):
        stem = f"{m[0][: m.end(1)]}/images/scene_{m[2]}_geometry_hdf5/frame.{m[3]}"
        yield Frame(m[0], (m[0], f"{stem}.depth_meters.hdf5", f"{stem}.render_entity_id.hdf5"), m[1])
    for m in matching(store, r"(ai_\d+_\d+)/rgb_(cam_\d+_fr\d+)\.png"):
        yield Frame(m[0], (m[0], f"{m[0][: m.end(1)]}/depth_plane_{m[2]}.png"), m[1])


def ray_to_plane(distance_m: npt.NDArray[np.floating]) -> FloatMap:
    """Hypersim's distance from the optical centre, (H, W), to z along the optical axis."""
    height, width = distance_m.shape
    camera = Pinhole(width, height, HYPERSIM_FOCAL_PX * width / HYPERSIM_WIDTH_PX)
    return (distance_m * camera.cosines()).astype(np.float32)


def _hypersim(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    if depth.endswith(".hdf5"):
        entities = frame.files[2]
        metres = ray_to_plane(formats.hdf5(store.read(depth), depth, "dataset").astype(np.float64))
        nothing = formats.hdf5(store.read(entities), entities, "dataset") == -1
        if nothing.shape != metres.shape:
            raise InputError(f"{entities} and {depth} differ in size")
        metres[nothing] = 0.0  # no object there (a window's outside, a hole in a mesh): Marigold leaves it out, too
    else:
        metres = formats.png(store.read(depth), depth, 1e-3)
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), without_invalid(metres))


def _vkitti_frames(store: Store) -> Iterator[Frame]:
    paths = set(store.paths())  # Marigold's archive has the scenes below rgb/ and depth/
    for m in matching(store, r"(Scene\d+/[^/]+)/frames/rgb/(Camera_\d)/rgb_(\d+)\.jpg"):
        before, depth = m[0][: m.start(1)], f"{m[1]}/frames/depth/{m[2]}/depth_{m[3]}.png"
        packed = f"{before.removesuffix('rgb/')}depth/{depth}" if f"/{before}".endswith("/rgb/") else ""
        yield Frame(m[0], (m[0], packed if packed in paths else before + depth), f"{m[1]}/{m[2]}")


def _vkitti(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    image, metres = formats.rgb(store.read(rgb), rgb), formats.png(store.read(depth), depth, 1e-2)
    if metres.shape != image.shape[:2]:
        raise InputError(f"{frame.name}: image and depth differ in size")
    window = benchmark_crop(*metres.shape)
    return Sample(frame.name, np.ascontiguousarray(image[window]), np.ascontiguousarray(metres[window]))


def _sintel_frames(store: Store) -> Iterator[Frame]:
    found = {}
    for m in matching(store, r"training/(clean|final)/([^/]+)/(frame_\d+)\.png"):
        root = m[0][: m.start(1)]
        frame = Frame(m[0], (m[0], f"{root}depth/{m[2]}/{m[3]}.dpt"), m[2])
        if m[1] == "final" or frame.files[1] not in found:
            found[frame.files[1]] = frame
    yield from found.values()


def _sintel(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), without_invalid(formats.dpt(store.read(depth), depth)))


def _spring_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"(train/(\d+))/frame_left/frame_left_(\d+)\.png"):
        folder = m[0][: m.end(1)]
        files = (m[0], f"{folder}/disp1_left/disp1_left_{m[3]}.dsp5", f"{folder}/cam_data/intrinsics.txt")
        yield Frame(m[0], files, m[2], {"line": int(m[3]) - 1})


def _spring(store: Store, frame: Frame) -> Sample:
    rgb, disparity, camera = frame.files[:3]
    lines = formats.numbers(store.read(camera), camera)
    line = frame.extra.get("line", 0)
    if not 0 <= line < len(lines) or len(lines[line]) != 4:
        raise InputError(f"{camera} has no line of fx fy cx cy for {frame.name}")
    fx, fy, cx, cy = lines[line]
    # Disparity is stored at twice the resolution of the images but in their pixels.
    pixels = formats.hdf5(store.read(disparity), disparity, "disparity")[::2, ::2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = without_invalid(fx * SPRING_BASELINE_M / pixels)
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), metres, intrinsics=(fx, fy, cx, cy))


READERS = (
    Reader(
        "hypersim",
        "Hypersim",
        "raw: SCENE/images/scene_cam_C_{final_preview,geometry_hdf5}/frame.N.* (depth_meters, render_entity_id); or Marigold's SCENE/rgb_cam_*.png, depth_plane_cam_*.png (mm)",
        _hypersim_frames,
        _hypersim,
        RULES["hypersim"],
    ),
    Reader(
        "vkitti2",
        "Virtual KITTI 2",
        "SceneNN/VARIATION/frames/{rgb,depth}/Camera_C/{rgb,depth}_N.{jpg,png} (cm); or Marigold's {rgb,depth}/SceneNN/…",
        _vkitti_frames,
        _vkitti,
        RULES["vkitti2"],
    ),
    Reader(
        "sintel",
        "Sintel",
        "training/{final,clean}/SCENE/frame_N.png, training/depth/SCENE/frame_N.dpt",
        _sintel_frames,
        _sintel,
    ),
    Reader(
        "spring",
        "Spring",
        "train/SEQ/frame_left/frame_left_N.png, disp1_left/disp1_left_N.dsp5, cam_data/intrinsics.txt",
        _spring_frames,
        _spring,
    ),
)
