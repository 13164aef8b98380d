"""Calibration files: ROS camera YAML, CameraInfo as JSON or YAML, KITTI text; a camera and where the LiDAR is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError, first_line
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.transforms import extrinsic

Matrix = npt.NDArray[np.float64]

_MAX_BYTES = 4 << 20
#: Keys under which files keep the LiDAR-to-camera motion, the first found is taken.
_EXTRINSIC_KEYS = ("lidar_to_camera", "T_lidar_to_cam2", "T_lidar_to_cam", "extrinsic", "extrinsics")


@dataclass(frozen=True)
class Calibration:
    """Attributes: camera; lidar_to_camera: rigid 4×4 that takes LiDAR points into the camera's frame, or None."""

    camera: CalibratedCamera
    lidar_to_camera: Matrix | None = None


def read_calibration(path: str | Path, image_size: tuple[int, int] | None = None) -> Calibration:
    """Read a camera, and the LiDAR's place if the file has it.

    Understood are: what ROS's camera_calibration writes; a CameraInfo as JSON or YAML; ``K`` or ``P2`` with
    ``image_size`` as JSON; KITTI's ``calib.txt`` (``P2``, ``R0_rect``, ``Tr_velo_to_cam``). The LiDAR's place is
    ``lidar_to_camera`` (see :func:`extrinsic`), or follows from KITTI's matrices.

    Args:
        path: ``.yaml``, ``.yml``, ``.json`` or ``.txt``.
        image_size: (width, height) for files that do not say (KITTI's).

    Raises:
        InputError: Missing, not understood, or impossible values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path of the calibration")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} is too large for a calibration")
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file") from error
    content = _parse(path, text)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds no calibration: expected names with values")
    try:
        return _from_mapping(content, image_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _parse(path: Path, text: str) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _kitti_rows(path, text)
    if suffix == ".json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON: {error}") from error
    if suffix in (".yaml", ".yml"):
        import yaml  # noqa: PLC0415  (only for this kind of file)

        try:  # OpenCV heads its files with a directive that is not YAML's
            return yaml.safe_load(text.replace("%YAML:1.0", "%YAML 1.1", 1).replace("!!opencv-matrix", ""))
        except (yaml.YAMLError, RecursionError) as error:
            raise InputError(f"{path} is not YAML: {first_line(error)}") from error
    raise InputError(f"{path}: a calibration is .yaml, .json or KITTI's .txt")


def _kitti_rows(path: Path, text: str) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for line in text.splitlines():
        name, colon, values = line.partition(":")
        if colon:
            try:
                rows[name.strip()] = [float(value) for value in values.split()]
            except ValueError:
                continue  # dates and other words
    if not rows:
        raise InputError(f"{path} has no lines such as 'P2: 707.0 0 ...'")
    return rows


def _from_mapping(content: Mapping[str, Any], image_size: tuple[int, int] | None) -> Calibration:
    nested = content.get("camera_info", content.get("camera", content))
    fields = nested if isinstance(nested, Mapping) else content
    size = _size(fields, content, image_size)
    motion = next((extrinsic(_plain(content[key])) for key in _EXTRINSIC_KEYS if key in content), None)
    projection = next((key for key in ("P2", "P_rect_02") if key in content), None)
    if projection is not None:
        return _from_kitti(content, projection, size, motion)
    matrix = next((fields[key] for key in ("camera_matrix", "k", "K", "intrinsics") if key in fields), None)
    if isinstance(matrix, Mapping) and "fx" in matrix:
        matrix = [matrix["fx"], 0, matrix["cx"], 0, matrix["fy"], matrix["cy"], 0, 0, 1]
    if matrix is None:
        raise InputError("no intrinsics: expected camera_matrix, K or P2")
    distortion: Any = next((fields[key] for key in ("distortion_coefficients", "d", "D") if key in fields), [])
    info = {
        "width": size[0],
        "height": size[1],
        "k": _plain(matrix),
        "d": _plain(distortion),
        "distortion_model": fields.get("distortion_model", fields.get("camera_model", "")),
    }
    return Calibration(CalibratedCamera.from_info(info), motion)


def _from_kitti(
    content: Mapping[str, Any], projection: str, size: tuple[int, int], motion: Matrix | None
) -> Calibration:
    """KITTI's projection P = K [I | t] belongs to the first rectified camera; t is moved into the extrinsic."""
    p = np.asarray(content[projection], dtype=np.float64)
    if p.size != 12:
        raise InputError(f"{projection} needs 12 numbers")
    p = p.reshape(3, 4)
    camera = CalibratedCamera(size[0], size[1], p[:, :3] / p[2, 2] if p[2, 2] else p[:, :3])
    velodyne = next((key for key in ("Tr_velo_to_cam", "Tr_velo_cam", "Tr") if key in content), None)
    if motion is None and velodyne is not None:
        rectify = np.eye(4)
        rotation = next((key for key in ("R0_rect", "R_rect") if key in content), None)
        if rotation is not None:
            rectify[:3, :3] = np.asarray(content[rotation], dtype=np.float64).reshape(3, 3)
        baseline = np.eye(4)
        baseline[:3, 3] = np.linalg.solve(camera.matrix, p[:, 3])
        motion = extrinsic(baseline @ rectify @ extrinsic(content[velodyne]))
    return Calibration(camera, motion)


def _size(fields: Mapping[str, Any], content: Mapping[str, Any], image_size: tuple[int, int] | None) -> tuple[int, int]:
    for source in (fields, content):
        for names in (("image_width", "image_height"), ("width", "height")):
            if all(name in source for name in names):
                return int(source[names[0]]), int(source[names[1]])
        if "image_size" in source and len(source["image_size"]) == 2:
            return int(source["image_size"][0]), int(source["image_size"][1])
    if image_size is None:
        raise InputError("the file does not say the image's width and height")
    return image_size


def _plain(value: Any) -> Any:
    """``{rows, cols, data}`` as ROS and OpenCV write matrices → the numbers."""
    return value["data"] if isinstance(value, Mapping) and "data" in value else value
