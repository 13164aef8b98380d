"""Flat ground under a camera: how it is described, and where in the image it is how deep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.tuned import GROUND


@dataclass(frozen=True)
class Ground:
    """Flat ground under a camera.

    Attributes:
        height_m: Of the camera above it.
        down: (3,) unit vector in the camera's frame.
        source: Who says so, in words.
        tilt_sigma_deg: One standard deviation of the direction.
        height_sigma: One standard deviation of the height, as a share of it.
    """

    height_m: float
    down: npt.NDArray[np.float64]
    source: str
    tilt_sigma_deg: float
    height_sigma: float


def entered_ground(height_m: float, pitch_deg: float = 0.0) -> Ground:
    """Ground as a person enters it, good to 5 % of the height and two degrees.

    Args:
        height_m: Of the camera above the ground.
        pitch_deg: How far the camera looks down from level: "down" is (0, cos pitch, sin pitch).
    """
    pitch = np.deg2rad(pitch_deg)
    down = np.array([0.0, np.cos(pitch), np.sin(pitch)])
    return Ground(height_m, down, "camera height over flat ground", tilt_sigma_deg=2.0, height_sigma=0.05)


def ground_points(
    camera: CalibratedCamera, ground: Ground
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pixels where a robot sees the floor in front of it, and how deep flat ground would be there.

    Returns:
        ``(u, v, depth_m)`` of a grid over the middle 60 % of the columns and everything below the horizon: ground is where
        ray·down · z = height.
    """
    columns = np.linspace(0.2 * (camera.width - 1), 0.8 * (camera.width - 1), GROUND.grid)
    rows = np.linspace(0, camera.height - 1, 2 * GROUND.grid)
    u, v = (grid.ravel() for grid in np.meshgrid(np.rint(columns), np.rint(rows)))
    rays = camera.unproject(np.stack([u, v], axis=1), np.ones(len(u)))
    descent = rays @ ground.down
    below = np.isfinite(descent) & (descent > 1e-3)
    return u[below].astype(np.int64), v[below].astype(np.int64), ground.height_m / descent[below]
