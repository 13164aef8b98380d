"""Writes tiny data sets in exactly their published layouts and encodings. Returns the true depth of the first frame."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np

Depth = np.ndarray
SIZE = (24, 32)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return (127 + 120 * np.sin(9 * x[..., None] + 7 * y[..., None] + phase)).astype(np.uint8)


def plane(height: int, width: int, near: float = 1.0, far: float = 9.0) -> Depth:
    """Far at the top, a nearer box in the middle."""
    depth = np.repeat(np.linspace(far, near, height)[:, None], width, axis=1)
    depth[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] *= 0.6
    return depth.astype(np.float32)


def write(path: Path, data: bytes | str | np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, np.ndarray):
        assert cv2.imwrite(str(path), data[..., ::-1] if data.ndim == 3 else data)
    elif isinstance(data, str):
        path.write_text(data)
    else:
        path.write_bytes(data)
    return path


def png16(depth: Depth, per_metre: float) -> np.ndarray:
    return np.rint(depth * per_metre).astype(np.uint16)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def hdf5(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip" if array.ndim > 1 else None)
    return buffer.getvalue()


def pfm(values: np.ndarray, order: str = "<") -> bytes:
    head = f"Pf\n{values.shape[1]} {values.shape[0]}\n{'-1.0' if order == '<' else '1.0'}\n"
    return head.encode() + values[::-1].astype(f"{order}f4").tobytes()


def nyu(root: Path) -> Depth:
    depth = plane(480, 640)
    depth[100:120, 200:220] = 0
    for n in (1, 2):
        write(root / f"test/kitchen_0004/rgb_000{n}.png", picture(480, 640, n))
        write(root / f"test/kitchen_0004/depth_000{n}.png", png16(depth, 1000))
        write(root / f"test/kitchen_0004/filled_000{n}.png", png16(plane(480, 640), 1000))
    write(root / "train/office_0001/rgb_0009.png", picture(480, 640))
    return depth


def kitti(root: Path) -> Depth:
    depth = plane(375, 1242, 4, 70)
    depth[:, ::3] = 0
    drive = "2011_09_26_drive_0002_sync"
    for n in ("0000000005", "0000000008"):
        write(root / f"2011_09_26/{drive}/image_02/data/{n}.png", picture(375, 1242))
        write(root / f"{drive}/proj_depth/groundtruth/image_02/{n}.png", png16(depth, 256))
    return depth[23:375, 13:1229]


def eth3d(root: Path) -> Depth:
    depth = plane(*SIZE, 2, 40)
    stored = depth.copy()
    stored[0] = np.inf
    depth[0] = 0
    write(root / "rgb/office/images/dslr_images/DSC_0219.JPG", picture(*SIZE))
    write(
        root / "depth/office_dslr_depth/office/ground_truth_depth/dslr_images/DSC_0219.JPG",
        stored.astype("<f4").tobytes(),
    )
    return depth


def scannet(root: Path) -> Depth:
    depth = plane(*SIZE)
    write(root / "scene0406_02/color/000300.jpg", picture(SIZE[0] * 2, SIZE[1] * 2))
    write(root / "scene0406_02/depth/000300.png", png16(depth, 1000))
    return depth


def diode(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 100)
    stem = "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010"
    mask = np.ones(SIZE)
    mask[:5] = 0
    write(root / f"{stem}.png", picture(*SIZE))
    write(root / f"{stem}_depth.npy", npy(depth[..., None]))
    write(root / f"{stem}_depth_mask.npy", npy(mask))
    return depth


def middlebury(root: Path) -> Depth:
    focal, offset, baseline_mm = 3997.684, 131.111, 193.001
    depth = plane(*SIZE, 1.5, 4)
    disparity = baseline_mm / 1000 * focal / depth.astype(np.float64) - offset
    disparity[:2] = np.inf
    depth[:2] = 0
    write(root / "Motorcycle-perfect/im0.png", picture(*SIZE))
    write(root / "Motorcycle-perfect/disp0.pfm", pfm(disparity))
    calibration = (
        f"cam0=[{focal} 0 1176.728; 0 {focal} 1011.728; 0 0 1]\ncam1=[{focal} 0 1307.839; 0 {focal} 1011.728; 0 0 1]\n"
        f"doffs={offset}\nbaseline={baseline_mm}\nwidth={SIZE[1]}\nheight={SIZE[0]}\nndisp=280\nisint=0\nvmin=31\nvmax=257\n"
    )
    write(root / "Motorcycle-perfect/calib.txt", calibration)
    return depth


def ibims(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 20)
    core = root / "ibims1_core_raw"
    invalid = np.full(SIZE, 255, np.uint8)
    invalid[:3] = 0
    write(core / "rgb/corridor_01.png", picture(*SIZE))
    write(core / "depth/corridor_01.png", png16(depth, 65535 / 50))
    write(core / "mask_invalid/corridor_01.png", invalid)
    write(core / "mask_transp/corridor_01.png", np.full(SIZE, 255, np.uint8))
    write(core / "calib/corridor_01.txt", "559.77,559.55,315.31,224.90")
    return depth


def kitti_completion(root: Path) -> Depth:
    depth = plane(*SIZE, 4, 70)
    folder, drive, tail = root / "depth_selection/val_selection_cropped", "2011_09_26_drive_0002", "0000000005_image_02"
    write(folder / f"image/{drive}_sync_image_{tail}.png", picture(*SIZE))
    write(folder / f"groundtruth_depth/{drive}_sync_groundtruth_depth_{tail}.png", png16(depth, 256))
    sparse = np.where(np.arange(SIZE[1]) % 4 == 0, depth, 0)
    write(folder / f"velodyne_raw/{drive}_sync_velodyne_raw_{tail}.png", png16(sparse, 256))
    write(
        folder / f"intrinsics/{drive}_sync_image_{tail}.txt", "721.5377 0.0 596.5593 0.0 721.5377 149.854 0.0 0.0 1.0"
    )
    return depth


def nyu_completion(root: Path) -> Depth:
    depth = plane(480, 640)
    write(root / "val/official/00001.h5", hdf5(rgb=np.moveaxis(picture(480, 640), -1, 0), depth=depth))
    return halved(depth)[6:234, 8:312]


def halved(depth: Depth) -> Depth:
    """Half the size with Pillow's bilinear filter, written out: a triangle of two output pixels, 1 3 3 1 away from borders."""
    for axis in (0, 1):
        moved = np.moveaxis(depth.astype(np.float64), axis, 0)
        taps = [moved[np.clip(np.arange(0, len(moved), 2) + k, 0, len(moved) - 1)] for k in (-1, 0, 1, 2)]
        weights = np.tile(np.array([1.0, 3.0, 3.0, 1.0])[:, None], (1, len(taps[0])))
        weights[0, 0] = weights[3, -1] = 0.0
        weights /= weights.sum(0)
        depth = np.moveaxis(sum(w[:, None] * t for w, t in zip(weights, taps, strict=True)), 0, axis)
    return depth.astype(np.float32)


def hypersim(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 12)
    focal = 886.81 * SIZE[1] / 1024
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] - np.array([(SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2])[:, None, None]
    images = root / "ai_001_001/images"
    write(images / "scene_cam_00_final_preview/frame.0000.tonemap.jpg", picture(*SIZE))
    distance = depth * np.sqrt(1 + (x / focal) ** 2 + (y / focal) ** 2)
    distance[0, 0] = np.nan
    depth[0, 0] = 0
    entities = np.ones(SIZE, np.int32)
    entities[3, 5:9] = -1  # nothing was hit: the depth there is some number
    depth[3, 5:9] = 0
    geometry = images / "scene_cam_00_geometry_hdf5"
    write(geometry / "frame.0000.depth_meters.hdf5", hdf5(dataset=distance.astype(np.float16)))
    write(geometry / "frame.0000.render_entity_id.hdf5", hdf5(dataset=entities))
    return depth


def hypersim_processed(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 12)
    write(root / "ai_001_010/rgb_cam_00_fr0000.png", picture(*SIZE))
    write(root / "ai_001_010/depth_plane_cam_00_fr0000.png", png16(depth, 1000))
    return depth


def vkitti2(root: Path) -> Depth:
    depth = plane(375, 1242, 4, 70)
    frames = root / "Scene01/clone/frames"
    write(frames / "rgb/Camera_0/rgb_00000.jpg", picture(375, 1242))
    stored = png16(depth, 100)
    stored[:100] = 65535  # sky
    write(frames / "depth/Camera_0/depth_00000.png", stored)
    return (stored / 100).astype(np.float32)[23:375, 13:1229]


def vkitti2_archive(root: Path) -> Depth:
    """Marigold's: the scenes lie below rgb/ and below depth/."""
    depth = vkitti2(root / "official")
    frames = "Scene01/clone/frames"
    for kind, file in (("rgb", "rgb_00000.jpg"), ("depth", "depth_00000.png")):
        target = root / kind / frames / kind / "Camera_0" / file
        target.parent.mkdir(parents=True)
        (root / "official" / frames / kind / "Camera_0" / file).rename(target)
    shutil.rmtree(root / "official")
    return depth


def sintel(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 50)
    write(root / "training/final/alley_1/frame_0001.png", picture(*SIZE))
    write(root / "training/clean/alley_1/frame_0001.png", picture(*SIZE, 1))
    data = struct.pack("<fii", 202021.25, SIZE[1], SIZE[0]) + depth.astype("<f4").tobytes()
    write(root / "training/depth/alley_1/frame_0001.dpt", data)
    return depth


def spring(root: Path) -> Depth:
    depth = plane(*SIZE, 1, 50)
    focal = 1000.0
    disparity = (focal * 0.065 / depth).repeat(2, 0).repeat(2, 1)
    disparity[:2] = 0  # sky
    depth[0] = 0
    sequence = root / "train/0001"
    write(sequence / "frame_left/frame_left_0001.png", picture(*SIZE))
    write(sequence / "disp1_left/disp1_left_0001.dsp5", hdf5(disparity=disparity))
    write(sequence / "cam_data/intrinsics.txt", f"{focal} {focal} 960 540\n{2 * focal} {2 * focal} 960 540\n")
    return depth


def da2k(root: Path) -> Depth:
    write(root / "images/indoor/room.jpg", picture(*SIZE))
    pairs = [
        {"point1": [20, 3], "point2": [2, 30], "closer_point": "point1"},
        {"point1": [1, 1], "point2": [22, 5], "closer_point": "point2"},
    ]
    write(root / "annotations.json", json.dumps({"images/indoor/room.jpg": pairs}))
    return plane(*SIZE)


def mattes(root: Path) -> Depth:
    matte = np.zeros(SIZE, np.uint8)
    matte[6:18, 8:20] = 255
    write(root / "DIS-VD/im/bird.jpg", picture(*SIZE))
    write(root / "DIS-VD/gt/bird.png", matte)
    return plane(*SIZE)


def am2k(root: Path) -> Depth:
    return _matte_pair(root / "validation/original/m_0a1b.jpg", root / "validation/mask/m_0a1b.png")


def p3m10k(root: Path) -> Depth:
    _matte_pair(root / "P3M-500-NP/original_image/p_1.jpg", root / "P3M-500-NP/mask/p_1.png")
    return _matte_pair(root / "P3M-500-P/blurred_image/p_2.jpg", root / "P3M-500-P/mask/p_2.png")


def dis5k(root: Path) -> Depth:
    name = "4#Architecture#12#Kitchen & Dinning Tent#8_a b"
    return _matte_pair(root / f"DIS-VD/im/{name}.jpg", root / f"DIS-VD/gt/{name}.png")


def _matte_pair(image: Path, matte: Path) -> Depth:
    mask = np.zeros(SIZE, np.uint8)
    mask[6:18, 8:20] = 255
    write(image, picture(*SIZE))
    write(matte, mask)
    return plane(*SIZE)


def pairs(root: Path) -> Depth:
    depth = plane(*SIZE)
    write(root / "a.png", picture(*SIZE))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, depth=depth)
    write(root / "a.depth.npz", buffer.getvalue())
    write(root / "b.jpg", picture(40, 30))
    write(root / "b.depth.npy", npy(plane(40, 30)))
    write(root / "c.png", picture(*SIZE))
    write(root / "c.depth.png", png16(depth, 1000))
    write(root / "d.png", picture(*SIZE))
    write(root / "d.depth.pfm", pfm(depth, ">"))
    write(root / "sub/e.png", picture(*SIZE))
    meta = {
        "frames": [
            {"rgb": "a.png", "metric": True, "intrinsics": {"fx": 30.0, "fy": 31.0, "cx": 16.0, "cy": 12.0}},
            {"rgb": "d.png", "metric": False},
        ]
    }
    write(root / "meta.json", json.dumps(meta))
    return depth


#: Data set → (writer, frames, largest depth error that the encoding allows, in metres or as a share).
LAYOUTS: dict[str, tuple[Callable[[Path], Depth], str, int, float]] = {
    "nyu": (nyu, "nyu", 2, 6e-4),
    "kitti": (kitti, "kitti", 2, 1 / 256),
    "eth3d": (eth3d, "eth3d", 1, 1e-6),
    "scannet": (scannet, "scannet", 1, 6e-4),
    "diode": (diode, "diode", 1, 1e-6),
    "middlebury": (middlebury, "middlebury", 1, 1e-4),
    "ibims": (ibims, "ibims", 1, 1e-3),
    "kitti-completion": (kitti_completion, "kitti-completion", 1, 1 / 256),
    "nyu-completion": (nyu_completion, "nyu-completion", 1, 1e-6),
    "hypersim": (hypersim, "hypersim", 1, 2e-2),
    "hypersim (processed)": (hypersim_processed, "hypersim", 1, 6e-4),
    "vkitti2": (vkitti2, "vkitti2", 1, 6e-3),
    "vkitti2 (Marigold's archive)": (vkitti2_archive, "vkitti2", 1, 6e-3),
    "sintel": (sintel, "sintel", 1, 1e-6),
    "spring": (spring, "spring", 1, 1e-4),
    "pairs": (pairs, "pairs", 4, 1e-6),
}


def pack(folder: Path, archive: Path) -> Path:
    """A tar of a folder with ``./`` before every member, as Marigold's are."""
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".")
    return archive
