"""Metres of a single photograph: from a few known depths, a known length in it, or the height of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from leadline.completion.fit import fit_scale_and_shift
from leadline.completion.ground import ground_fit
from leadline.completion.methods import complete
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.ground import entered_ground
from leadline.sensors.sparse import SparseDepth
from leadline.types import RgbImage


class Reference(NamedTuple):
    """A pixel (from the upper left corner) whose depth along the optical axis is known, metres."""

    x_px: float
    y_px: float
    depth_m: float


class Length(NamedTuple):
    """Two pixels whose distance in the scene is known, metres."""

    x1_px: float
    y1_px: float
    x2_px: float
    y2_px: float
    length_m: float


def metric_from_one_photo(
    photo: RgbImage,
    prediction: DepthPrediction,
    camera: CalibratedCamera,
    *,
    references: Sequence[Reference] = (),
    lengths: Sequence[Length] = (),
    camera_height_m: float | None = None,
    pitch_deg: float = 0.0,
) -> DepthPrediction:
    """Metric depth with its uncertainty; ``meta["completion"]["evidence"]`` says in words what it rests on.

    Args:
        photo: RGB uint8 (H, W, 3).
        prediction: Its relative map.
        camera: Of the photograph; lengths and camera height are as good as its focal length.
        references: Known depths. One gives the scale alone, with the shift assumed; two or more give both.
        lengths: Known distances between two points; each gives a scale.
        camera_height_m: Of the camera above flat ground in the lower part of the picture; used alone.
        pitch_deg: How far the camera looks down from level, degrees.

    Raises:
        InputError: There is no evidence, it is not in the picture, or it contradicts the picture.
    """
    camera.check_size(photo.shape[1], photo.shape[0])
    if camera_height_m is not None:
        if references or lengths:
            raise InputError("give the camera's height, or references and lengths, not both")
        if not 0.01 <= camera_height_m <= 1000:
            raise InputError(f"a camera height of {camera_height_m:g} m is not from 0.01 to 1000 m")
        found = ground_fit(prediction, camera, entered_ground(camera_height_m, pitch_deg))
        if isinstance(found, str):
            raise InputError(found)
        nothing = np.zeros(0, np.int64)
        points = SparseDepth(nothing, nothing, np.zeros(0, np.float32), prediction.shape)
        evidence = f"camera {camera_height_m:g} m above flat ground"
        return _said(complete(photo, prediction, points, camera, fit=found.fit), evidence)
    known = [_checked(one, camera) for one in references]
    for length in lengths:
        known += _ends(length, prediction, camera)
    if not known:
        raise InputError("metres need a reference, a length or the camera's height")
    sparse_m = np.zeros(prediction.shape, np.float32)
    for one in known:
        sparse_m[int(one.y_px), int(one.x_px)] = one.depth_m
    counted = [(len(references), "known depth"), (len(lengths), "known length")]
    evidence = " and ".join(f"{count} {what}{'s' if count > 1 else ''}" for count, what in counted if count)
    if len(known) == 1 or not references:
        evidence += "; the shift is assumed"
    return _said(complete(photo, prediction, sparse_m, camera), evidence)


def _said(metric: DepthPrediction, evidence: str) -> DepthPrediction:
    report = {**metric.meta.get("completion", {}), "evidence": evidence}
    return replace(metric, meta={**metric.meta, "completion": report})


def _checked(one: Reference, camera: CalibratedCamera) -> Reference:
    inside = 0 <= one.x_px < camera.width and 0 <= one.y_px < camera.height
    if not inside or not 0 < one.depth_m < np.inf:
        place = f"{one.x_px:g},{one.y_px:g},{one.depth_m:g}"
        raise InputError(f"reference {place} is not a pixel of {camera.width}x{camera.height} with a depth in metres")
    return one


def _ends(length: Length, prediction: DepthPrediction, camera: CalibratedCamera) -> list[Reference]:
    """The depths of both ends, if the map is right up to its scale."""
    first = _checked(Reference(length.x1_px, length.y1_px, 1.0), camera)
    second = _checked(Reference(length.x2_px, length.y2_px, 1.0), camera)
    pixels = np.array([first[:2], second[:2]], np.float64)
    rows, columns = pixels[:, 1].astype(int), pixels[:, 0].astype(int)
    values = prediction.values[rows, columns].astype(np.float64)
    fit = fit_scale_and_shift(values[:1], np.ones(1), prediction.space)
    depth = prediction.space.to_depth(fit.scale * values + fit.shift)
    ends = camera.unproject(pixels, depth)
    distance = float(np.linalg.norm(ends[0] - ends[1]))
    if not (0 < length.length_m < np.inf and distance > 0):
        raise InputError(f"a length of {length.length_m:g} m needs two different points and metres above 0")
    scale = length.length_m / distance
    return [
        Reference(first.x_px, first.y_px, float(depth[0] * scale)),
        Reference(second.x_px, second.y_px, float(depth[1] * scale)),
    ]
