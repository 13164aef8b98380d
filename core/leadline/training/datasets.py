"""Readers of RGB-D data: Hypersim and Virtual KITTI 2 as published, a folder of pairs, rendered shards."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.datasets.rendered import ray_to_plane
from leadline.files.image import read_image

Pixels = TypeVar("Pixels", bound=npt.NDArray[Any])

#: DepthMaster's limits (facts of its published configuration): farther pixels are no ground truth.
HYPERSIM_FAR_M = 65.0
VKITTI2_FAR_M = 80.0

#: What Marigold's list for training holds (data_split/vkitti_depth): these scenes and conditions, both cameras.
VKITTI2_SCENES = ("Scene02", "Scene06", "Scene18", "Scene20")
VKITTI2_CONDITIONS = ("15-deg-left", "15-deg-right", "clone", "morning", "overcast", "sunset")


@dataclass(frozen=True)
class RgbdSample:
    """One picture with its depth.

    Attributes:
        rgb: uint8 (H, W, 3).
        depth_m: float32 (H, W), z along the optical axis.
        valid: bool (H, W), where ``depth_m`` can be trusted.
        sky: bool (H, W), pixels known to be endlessly far; None if the data set does not say.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    sky: npt.NDArray[np.bool_] | None = None


class RgbdDataset(Protocol):
    """A sequence of samples, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdSample: ...


class PairFolder:
    """``rgb/NAME.*`` beside ``depth/NAME.npy`` (metres) or ``depth/NAME.png`` (16 bit, times ``depth_scale``).

    Args:
        root: The folder that holds ``rgb`` and ``depth``.
        depth_scale: Metres per unit of a PNG (0.001: millimetres).
    """

    def __init__(self, root: Path, depth_scale: float = 0.001) -> None:
        self.depth_scale = depth_scale
        depths = {path.stem: path for path in sorted((root / "depth").glob("*")) if path.suffix in (".npy", ".png")}
        images = {path.stem: path for path in sorted((root / "rgb").glob("*"))}
        self.pairs = [(images[name], depths[name]) for name in sorted(images.keys() & depths.keys())]
        _require(self.pairs, root, "rgb/NAME.png beside depth/NAME.npy or depth/NAME.png")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> RgbdSample:
        image_path, depth_path = self.pairs[index]
        if depth_path.suffix == ".npy":
            depth_m = np.load(depth_path, allow_pickle=False).astype(np.float32)
        else:
            depth_m = _read_png(depth_path).astype(np.float32) * np.float32(self.depth_scale)
        return _checked(read_image(image_path), depth_m, depth_path, far_m=np.inf)


class Hypersim:
    """Hypersim in its published layout.

    Tone-mapped previews ``SCENE/images/scene_CAM_final_preview/frame.NNNN.tonemap.jpg`` and
    ``SCENE/images/scene_CAM_geometry_hdf5/frame.NNNN.depth_meters.hdf5``, whose distances along the ray become depth
    along the optical axis.

    Args:
        root: The folder of the ``ai_VVV_NNN`` scenes.
        split_csv: The published ``metadata_images_split_scene_v1.csv``; None takes every image found.
        split: Which of its parts ("train", "val", "test").
        list_file: A list with a picture of the form ``ai_VVV_NNN/rgb_cam_XX_frNNNN.png`` first in every line, such as Marigold's
            (53 885 for training); then nothing else decides. Every picture listed must be there.
    """

    def __init__(
        self, root: Path, split_csv: Path | None = None, split: str = "train", list_file: Path | None = None
    ) -> None:
        if list_file is not None:
            names = [_listed_hypersim(line, list_file) for line in _lines(list_file)]
        elif split_csv is None:
            found = sorted(root.glob("ai_*/images/scene_cam_*_geometry_hdf5/frame.*.depth_meters.hdf5"))
            names = [(p.parts[-4], _camera_of(p.parent.name), p.name.split(".")[1]) for p in found]
        else:
            with open(split_csv, newline="") as file:
                names = [
                    (row["scene_name"], row["camera_name"], f"{int(row['frame_id']):04d}")
                    for row in csv.DictReader(file)
                    if row["split_partition_name"] == split and row["included_in_public_release"] == "True"
                ]
        self.pairs = []
        for scene, camera, frame in names:
            images = root / scene / "images"
            rgb = images / f"scene_{camera}_final_preview" / f"frame.{frame}.tonemap.jpg"
            depth = images / f"scene_{camera}_geometry_hdf5" / f"frame.{frame}.depth_meters.hdf5"
            if rgb.exists() and depth.exists():
                self.pairs.append((rgb, depth))
            elif list_file is not None:
                raise InputError(f"{list_file} lists {rgb.relative_to(root)}, which is not in {root} with its depth")
        _require(self.pairs, root, "ai_VVV_NNN/images/scene_cam_XX_{final_preview,geometry_hdf5}")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> RgbdSample:
        import h5py  # noqa: PLC0415  (only Hypersim needs it)

        rgb_path, depth_path = self.pairs[index]
        with h5py.File(depth_path, "r") as file:
            distance_m = np.asarray(file["dataset"], dtype=np.float32)
        return _checked(read_image(rgb_path), ray_to_plane(distance_m), depth_path, HYPERSIM_FAR_M)


class VirtualKitti2:
    """Virtual KITTI 2 in its published layout; by default the 20 148 pictures that Marigold, and after it the others, train on.

    ``SceneXX/CONDITION/frames/rgb/Camera_N/rgb_NNNNN.jpg`` and ``.../depth/Camera_N/depth_NNNNN.png`` (16 bit,
    centimetres, 65535 is the sky).

    Args:
        root: The folder of the scenes.
        crop: Whether to crop to KITTI's benchmark size, 1216 × 352: bottom, centred.
        scenes: Scenes to read; Scene01 is held out for validation. None: all.
        conditions: Weather, light and direction of view to read; without fog, rain and the views turned by 30°. None: all.
    """

    def __init__(
        self,
        root: Path,
        crop: bool = True,
        scenes: Sequence[str] | None = VKITTI2_SCENES,
        conditions: Sequence[str] | None = VKITTI2_CONDITIONS,
    ) -> None:
        self.crop = crop
        self.pairs = []
        for depth in sorted(root.glob("Scene*/*/frames/depth/Camera_*/depth_*.png")):
            scene, condition = depth.parts[-6:-4]
            if (scenes is not None and scene not in scenes) or (conditions is not None and condition not in conditions):
                continue
            number = depth.stem.removeprefix("depth_")
            rgb = depth.parents[2] / "rgb" / depth.parent.name / f"rgb_{number}.jpg"
            if rgb.exists():
                self.pairs.append((rgb, depth))
        _require(self.pairs, root, "SceneXX/CONDITION/frames/{rgb,depth}/Camera_N")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> RgbdSample:
        rgb_path, depth_path = self.pairs[index]
        rgb, centimetres = read_image(rgb_path), _read_png(depth_path)
        if self.crop:
            rgb, centimetres = _benchmark_crop(rgb), _benchmark_crop(centimetres)
        sample = _checked(rgb, centimetres.astype(np.float32) / 100.0, depth_path, VKITTI2_FAR_M)
        return RgbdSample(sample.rgb, sample.depth_m, sample.valid, sky=centimetres == np.iinfo(np.uint16).max)


class RenderedShards:
    """Shards that ``python -m leadline.scenes`` wrote: ``*.npz`` with ``rgb``, ``depth_m`` and ``valid``.

    Arrays (N, H, W[, 3]); pixels that are not valid are sky. All shards are kept in memory.
    """

    def __init__(self, root: Path, limit: int | None = None) -> None:
        paths = sorted(root.glob("*.npz"))
        _require(paths, root, "*.npz shards of `python -m leadline.scenes`")
        rgb, depth_m, valid = [], [], []
        for path in paths:
            with np.load(path, allow_pickle=False) as shard:
                rgb.append(shard["rgb"])
                depth_m.append(shard["depth_m"].astype(np.float16))
                valid.append(shard["valid"])
        self.rgb = np.concatenate(rgb)[:limit]
        self.depth_m = np.concatenate(depth_m)[:limit]
        self.valid = np.concatenate(valid)[:limit]

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: int) -> RgbdSample:
        valid = self.valid[index]
        depth_m = self.depth_m[index].astype(np.float32)
        usable = valid & np.isfinite(depth_m) & (depth_m > 0)
        return RgbdSample(self.rgb[index], np.where(usable, depth_m, 0.0).astype(np.float32), usable, sky=~valid)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check list_file") from error


def _listed_hypersim(line: str, path: Path) -> tuple[str, str, str]:
    match = re.match(r"(?:\S*/)?(ai_\d+_\d+)/rgb_(cam_\d+)_fr(\d+)", line)
    if match is None:
        raise InputError(f"{path}: '{line[:80]}' names no picture of the form ai_VVV_NNN/rgb_cam_XX_frNNNN.png")
    return match[1], match[2], match[3]


def _camera_of(folder: str) -> str:
    match = re.fullmatch(r"scene_(cam_\d+)_geometry_hdf5", folder)
    if match is None:
        raise InputError(f"{folder} is no Hypersim folder; expected scene_cam_XX_geometry_hdf5")
    return match.group(1)


def _read_png(path: Path) -> npt.NDArray[np.uint16]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise InputError(f"{path} is not a 16-bit one-channel PNG; convert the depth to millimetres first")
    return np.asarray(image)


def _benchmark_crop(image: Pixels) -> Pixels:
    height, width = min(352, image.shape[0]), min(1216, image.shape[1])
    left = (image.shape[1] - width) // 2
    return cast(Pixels, image[image.shape[0] - height :, left : left + width])


def _checked(rgb: npt.NDArray[np.uint8], depth_m: npt.NDArray[np.float32], path: Path, far_m: float) -> RgbdSample:
    if depth_m.shape != rgb.shape[:2]:
        raise InputError(f"{path} is {depth_m.shape} but its image is {rgb.shape[:2]}; both must have one size")
    valid = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= far_m)
    return RgbdSample(rgb, np.where(valid, depth_m, 0.0).astype(np.float32), valid)


def _require(found: Sequence[object], root: Path, layout: str) -> None:
    if not found:
        raise InputError(f"no training data in {root}; expected {layout}")
