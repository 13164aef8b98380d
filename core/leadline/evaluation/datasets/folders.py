"""Plain folders (pairs of image and depth, images and mattes), and DA-2K's ordered point pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from leadline.errors import InputError
from leadline.evaluation.datasets import formats
from leadline.evaluation.datasets.base import Frame, OrderedPair, Reader, Sample, matching, without_invalid
from leadline.evaluation.datasets.store import Store
from leadline.types import FloatMap

_IMAGE = r"(?:jpg|jpeg|png|JPG|JPEG|PNG|webp|tif|tiff|bmp)"
_DEPTH_SUFFIXES = (".depth.npz", ".depth.npy", ".depth.pfm", ".depth.png")


def _parse_json(data: bytes, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{name} is not JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise InputError(f"{name} holds a {type(parsed).__name__}; want an object")
    return parsed


def _pair_frames(store: Store) -> Iterator[Frame]:
    paths = set(store.paths())
    described: dict[str, dict[str, Any]] = {}
    if "meta.json" in paths:
        frames = _parse_json(store.read("meta.json"), "meta.json").get("frames", [])
        described = {f["rgb"]: f for f in frames if isinstance(f, dict) and isinstance(f.get("rgb"), str)}
    for m in matching(store, rf"([^/]+)\.{_IMAGE}"):
        stem = m[0].rsplit(".", 1)[0]
        if "/" in m[0] or stem.endswith(".depth"):
            continue
        depth = next((stem + s for s in _DEPTH_SUFFIXES if stem + s in paths), stem + _DEPTH_SUFFIXES[0])
        yield Frame(stem, (m[0], depth), "", described.get(m[0], {}))


def read_depth(data: bytes, name: str) -> FloatMap:
    """(H, W) metres from ``.npz`` (key ``depth``), ``.npy``, ``.pfm``, or 16-bit ``.png`` in millimetres."""
    if name.endswith(".npz"):
        array = formats.npz(data, name, "depth")
    elif name.endswith(".npy"):
        array = formats.npy(data, name)
    elif name.endswith(".pfm"):
        array = formats.pfm(data, name)
    else:
        array = formats.png(data, name, 1e-3)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {array.dtype} {array.shape}; want one (H, W) map of numbers")
    return without_invalid(array)


def _pair(store: Store, frame: Frame) -> Sample:
    rgb, depth = frame.files[:2]
    camera = frame.extra.get("intrinsics")
    intrinsics = None
    if isinstance(camera, dict) and {"fx", "fy", "cx", "cy"} <= set(camera):
        intrinsics = (float(camera["fx"]), float(camera["fy"]), float(camera["cx"]), float(camera["cy"]))
    metric = frame.extra.get("metric", True) is not False
    return Sample(
        frame.name,
        formats.rgb(store.read(rgb), rgb),
        read_depth(store.read(depth), depth),
        intrinsics=intrinsics,
        metric=metric,
    )


def _matte_frames(store: Store) -> Iterator[Frame]:
    mattes = {(m[1], m[2]): m[0] for m in matching(store, rf"(?:(.+)/)?(?:gt|mask|masks|alpha)/([^/]+)\.{_IMAGE}")}
    for m in matching(store, rf"(?:(.+)/)?(?:im|image|images|original|original_image|blurred_image)/([^/]+)\.{_IMAGE}"):
        yield Frame(m[0], (m[0], mattes.get((m[1], m[2]), f"{m[1] or '.'}/mask/{m[2]}.png")), m[1] or "")


def _matte(store: Store, frame: Frame) -> Sample:
    rgb, matte = frame.files[:2]
    alpha = formats.rgb(store.read(matte), matte)[..., 0].astype(np.float32) / np.float32(255.0)
    return Sample(frame.name, formats.rgb(store.read(rgb), rgb), matte=alpha)


def _da2k_frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"annotations\.json"):
        root = m[0].removesuffix("annotations.json")
        for image, pairs in _parse_json(store.read(m[0]), m[0]).items():
            parts = image.split("/")
            yield Frame(image, (root + image,), parts[-2] if len(parts) > 1 else "", {"pairs": pairs})


def _ordered(annotation: Any, name: str) -> OrderedPair:
    try:
        first, second = (annotation[key] for key in ("point1", "point2"))
        if annotation["closer_point"] == "point2":
            first, second = second, first
        (row1, column1), (row2, column2) = first, second
        return int(row1), int(column1), int(row2), int(column2)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{name} has an annotation that is not point1, point2, closer_point") from error


def _da2k(store: Store, frame: Frame) -> Sample:
    image = formats.rgb(store.read(frame.files[0]), frame.name)
    pairs = tuple(_ordered(one, frame.name) for one in frame.extra.get("pairs", ()))
    height, width = image.shape[:2]
    for row1, column1, row2, column2 in pairs:
        if not (0 <= row1 < height and 0 <= row2 < height and 0 <= column1 < width and 0 <= column2 < width):
            raise InputError(f"{frame.name} has a point outside of its {width}×{height} pixels")
    return Sample(frame.name, image, pairs=pairs)


READERS = (
    Reader(
        "pairs",
        "pairs",
        "NAME.{jpg,png}, NAME.depth.{npz,npy,pfm,png}; optional meta.json with intrinsics and metric flags",
        _pair_frames,
        _pair,
    ),
    Reader(
        "mattes",
        "mattes",
        "{im,image,original,original_image,blurred_image}/NAME.*, {gt,mask,alpha}/NAME.* (AM-2k, P3M-10k, DIS-5K)",
        _matte_frames,
        _matte,
    ),
    Reader("am2k", "AM-2k", "validation/original/NAME.jpg, validation/mask/NAME.png", _matte_frames, _matte),
    Reader(
        "p3m10k",
        "P3M-10k",
        "P3M-500-NP/{original_image,mask}/NAME.*, P3M-500-P/{blurred_image,mask}/NAME.*",
        _matte_frames,
        _matte,
    ),
    Reader("dis5k", "DIS-5K", "DIS-VD/im/NAME.jpg, DIS-VD/gt/NAME.png", _matte_frames, _matte),
    Reader("da2k", "DA-2K", "annotations.json, images/SCENE/NAME.*", _da2k_frames, _da2k),
)
