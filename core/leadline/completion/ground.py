"""Metres from flat ground below a camera whose height and direction are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leadline.completion.fit import Fit, fit_scale_and_shift
from leadline.completion.tuned import GROUND
from leadline.depth.prediction import DepthPrediction
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.ground import Ground, ground_points


@dataclass(frozen=True)
class GroundFit:
    """Scale and shift, and one standard deviation of the depth they give, as a share of it."""

    fit: Fit
    relative_sigma: float


def ground_fit(
    prediction: DepthPrediction, camera: CalibratedCamera, ground: Ground, max_depth_m: float = np.inf
) -> GroundFit | str:
    """Scale and shift that lay the lower part of a relative map on flat ground, or in words why there are none.

    The sigma is made of the height's own, of what a standard deviation of tilt does to the depth of the ground in view, and
    of how well the map agrees with flat ground.

    Args:
        prediction: Relative, (H, W).
        camera: Of the image.
        ground: Below it.
        max_depth_m: Ground beyond this is not looked at.
    """
    u, v, depth_m = ground_points(camera, ground)
    near_enough = depth_m <= min(max_depth_m, GROUND.heights * ground.height_m)
    u, v, depth_m = u[near_enough], v[near_enough], depth_m[near_enough]
    if len(depth_m) < GROUND.fewest:
        return f"{ground.source}: hardly any ground is in view; check the camera's height and direction"
    values = prediction.values[v, u].astype(np.float64)
    fit = fit_scale_and_shift(values, depth_m, prediction.space)
    fitted_m = prediction.space.to_depth(fit.scale * values + fit.shift)
    error = float(np.median(np.abs(fitted_m - depth_m) / depth_m))
    if fit.kind != "scale and shift" or error > GROUND.tolerance:
        return f"{ground.source}: the lower part of the image does not look like flat ground"
    # Depth is height / descent: a tilt by t changes it by the share t / tan(angle below the horizon) = t * depth / height.
    tilt = float(np.median(np.deg2rad(ground.tilt_sigma_deg) * depth_m / ground.height_m))
    if tilt > GROUND.tolerable_tilt:
        return f"{ground.source}: {ground.tilt_sigma_deg:g} degrees of tilt change the scale by {tilt:.0%}; the ground in view is too far away"
    return GroundFit(fit, float(np.sqrt(ground.height_sigma**2 + tilt**2 + error**2)))
