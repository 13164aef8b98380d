"""Metres from flat ground below a camera of known height."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leadline.completion.fit import Fit, fit_scale_and_shift
from leadline.depth.prediction import DepthPrediction
from leadline.sensors.camera import Camera

#: Ground pixels looked at, along each side of the picture.
_GRID = 48
#: Ground beyond this many camera heights is nearly at the horizon and says little.
_HEIGHTS = 15.0
#: Largest median error, as a share of depth, with which the picture's lower part still passes as flat ground.
_TOLERANCE = 0.15


def ground_fit(
    prediction: DepthPrediction, camera: Camera, height_m: float, pitch_deg: float = 0.0, max_depth_m: float = np.inf
) -> Fit | str:
    """Scale and shift that lay the lower part of a relative map on flat ground, or in words why there are none.

    Args:
        prediction: Relative, (H, W).
        camera: Of the image.
        height_m: Of the camera above the ground, metres.
        pitch_deg: How far the camera looks down from level, degrees.
        max_depth_m: Ground beyond this is not looked at.
    """
    u, v, depth_m = ground_points(camera, height_m, pitch_deg)
    near_enough = depth_m <= min(max_depth_m, _HEIGHTS * height_m)
    u, v, depth_m = u[near_enough], v[near_enough], depth_m[near_enough]
    if len(depth_m) < 50:
        return "camera height: hardly any ground is in view; check the camera's pitch"
    values = prediction.values[v, u].astype(np.float64)
    fit = fit_scale_and_shift(values, depth_m, prediction.space)
    fitted_m = prediction.space.to_depth(fit.scale * values + fit.shift)
    error = float(np.median(np.abs(fitted_m - depth_m) / depth_m))
    if fit.kind != "scale and shift" or error > _TOLERANCE:
        return "camera height: the lower part of the image does not look like flat ground"
    return fit


def ground_points(
    camera: Camera, height_m: float, pitch_deg: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pixels where a robot sees the floor in front of it, and how deep flat ground would be there.

    Args:
        camera: Of the image.
        height_m: Of the camera above the ground.
        pitch_deg: How far the camera looks down from level.

    Returns:
        ``(u, v, depth_m)`` of a grid over the middle 60 % of the columns and everything below the horizon. With
        "down" = (0, cos p, sin p) in the camera's frame, ground is where ray·down · z = height.
    """
    columns = np.linspace(0.2 * (camera.width - 1), 0.8 * (camera.width - 1), _GRID)
    rows = np.linspace(0, camera.height - 1, 2 * _GRID)
    u, v = (grid.ravel() for grid in np.meshgrid(np.rint(columns), np.rint(rows)))
    rays = camera.unproject(np.stack([u, v], axis=1), np.ones(len(u)))
    pitch = np.deg2rad(pitch_deg)
    descent = rays[:, 1] * np.cos(pitch) + np.sin(pitch)
    below = np.isfinite(descent) & (descent > 1e-3)
    return u[below].astype(np.int64), v[below].astype(np.int64), height_m / descent[below]
