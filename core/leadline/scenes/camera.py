"""Pinhole cameras: pose, intrinsics, ray directions with unit z (so that the ray parameter *is* z-depth)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leadline.sensors.pinhole import at_centres, scaled_matrix

from .world import Floats, turn


@dataclass
class Viewpoint:
    """Where the picture is taken from. Angles in radians; pitch > 0 looks up; ``fov`` spans the image's long edge."""

    eye: tuple[float, float, float]
    yaw: float = 0.0  # 0 looks along +y, positive turns left
    pitch: float = 0.0
    roll: float = 0.0
    fov: float = 1.05
    shift: tuple[float, float] = (0.0, 0.0)  # principal point off the centre, share of the image

    def pose(self) -> Floats:
        """3×3, columns: the camera's x (right), y (down), z (forward) axes in world coordinates."""
        body = turn(self.yaw, self.pitch, self.roll)
        return np.stack([body[:, 0], -body[:, 2], body[:, 1]], axis=1)

    def intrinsics(self, height: int, width: int) -> Floats:
        """3×3 matrix for pixels whose centres lie at whole numbers."""
        focal = max(height, width) / 2 / np.tan(self.fov / 2)
        cx = at_centres((0.5 + self.shift[0]) * width)
        cy = at_centres((0.5 + self.shift[1]) * height)
        return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]])

    @classmethod
    def looking_at(
        cls, eye: tuple[float, float, float], target: tuple[float, float, float], roll: float = 0.0, fov: float = 1.05
    ) -> Viewpoint:
        """A camera at ``eye`` whose axis passes through ``target``."""
        dx, dy, dz = (target[i] - eye[i] for i in range(3))
        return cls(eye, float(np.arctan2(-dx, dy)), float(np.arctan2(dz, np.hypot(dx, dy))), roll, fov)


def rays(
    camera: Viewpoint, height: int, width: int, fine: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Directions (3, *fine) in world axes with camera z = 1, pose (3, 3) and intrinsics (3, 3) of the ``fine`` grid.

    ``fine`` (rows, columns) rays cover the height × width picture; the two are equal for rays through pixel centres.
    """
    pose = torch.from_numpy(camera.pose().astype(np.float32)).to(device)
    k = scaled_matrix(camera.intrinsics(height, width), fine[1] / width, fine[0] / height)
    x = (torch.arange(fine[1], device=device, dtype=torch.float32) - float(k[0, 2])) / float(k[0, 0])
    y = (torch.arange(fine[0], device=device, dtype=torch.float32) - float(k[1, 2])) / float(k[1, 1])
    directions = pose[:, 0].view(3, 1, 1) * x + pose[:, 1].view(3, 1, 1) * y[:, None] + pose[:, 2].view(3, 1, 1)
    return directions, pose, torch.from_numpy(k.astype(np.float32)).to(device)
