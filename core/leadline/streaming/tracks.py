"""Metres from motion: features tracked through the images and triangulated over the poses that odometry gives.

Each feature gathers the rays along which it was seen. Its place is the point nearest to all of them (linear least squares);
how well that is determined follows from the directions of the rays: for n rays with unit directions d from centres c,
A = sum(I - d d'), the place is A^-1 sum((I - d d') c), its covariance (z s)^2 A^-1 with s the error of a direction.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.sparse import SparseDepth
from leadline.sensors.transforms import rigid_inverse
from leadline.streaming.motion import Grey, follow, tracking_size
from leadline.streaming.tuned import TRACKS
from leadline.types import RgbImage

Matrix = npt.NDArray[np.float64]

_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)


class TrackedPoints:
    """Features of one stream of images with known poses."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all features."""
        self._grey: Grey | None = None
        self._pose: Matrix | None = None
        self._last_ray_at: Matrix | None = None
        self._distance_m = 3.0
        self._pixels = np.zeros((0, 2), np.float32)
        self._references: dict[int, Grey] = {}
        self._reference = np.zeros(0, np.int64)  # in which image each feature was found
        self._found_at = np.zeros((0, 2), np.float32)  # and where
        self._normal = np.zeros((0, 3, 3))
        self._right = np.zeros((0, 3))
        self._rays = np.zeros(0, np.int64)
        self._wrong = np.zeros(0, np.int64)

    def add(self, rgb: RgbImage, camera: CalibratedCamera, pose: Matrix) -> None:
        """Follow the features to the next image.

        Args:
            rgb: uint8 (H, W, 3), in the order of time.
            camera: Of the image.
            pose: 4×4, camera to a frame that stands still.
        """
        size = tracking_size(camera.width, camera.height)
        small = camera.resized(*size)
        resized = rgb if size == (camera.width, camera.height) else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._grey is not None and (self._grey.shape != grey.shape or _jumped(self._pose, pose)):
            self.reset()
        if self._grey is not None:
            there, good = follow(self._grey, grey, self._pixels)
            self._pixels = there
            self._keep(good)
            self._undo_drift(grey)
        self._grey, self._pose = grey, pose
        moved = np.inf if self._last_ray_at is None else float(np.linalg.norm(pose[:3, 3] - self._last_ray_at))
        if moved >= max(TRACKS.step_m, TRACKS.step_share * self._distance_m):
            self._last_ray_at = pose[:3, 3].copy()
            self._look_for_more(grey)
            self._add_rays(small, pose)

    def points(self, camera: CalibratedCamera) -> SparseDepth:
        """Where the features are as points of the newest image, with their sigma; only those that are known well enough."""
        nothing = SparseDepth(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), (camera.height, camera.width)
        )
        ready = np.flatnonzero(self._rays >= TRACKS.fewest_rays)
        if self._pose is None or not len(ready):
            return nothing
        small = camera.resized(*tracking_size(camera.width, camera.height))
        places = np.linalg.solve(self._normal[ready] + 1e-12 * np.eye(3), self._right[ready][..., None])[..., 0]
        to_camera = rigid_inverse(self._pose)
        seen = places @ to_camera[:3, :3].T + to_camera[:3, 3]
        expected, depth_m = small.project(seen)
        with np.errstate(invalid="ignore"):
            error = np.linalg.norm(expected - self._pixels[ready], axis=1)
            agrees = (depth_m > 0) & (error < TRACKS.reprojection_px)
        self._wrong[ready] = np.where(agrees, 0, self._wrong[ready] + 1)
        along = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        directions = along @ self._pose[:3, :3].T
        inverse = np.linalg.inv(self._normal[ready] + 1e-12 * np.eye(3))
        spread = np.sqrt(np.einsum("ni,nij,nj->n", directions, inverse, directions).clip(0))
        spread *= np.sqrt(np.maximum(1.0, self._rays[ready] / TRACKS.independent_rays))
        relative = np.hypot(TRACKS.sigma_px / float(small.matrix[0, 0]) * spread, TRACKS.pose_sigma)
        usable = agrees & (relative <= TRACKS.most_sigma)
        if not usable.any():
            return nothing
        self._distance_m = float(np.median(depth_m[usable]))
        scale = np.array([camera.width / small.width, camera.height / small.height])
        u, v = np.rint((self._pixels[ready][usable] + 0.5) * scale - 0.5).astype(np.int64).T
        inside = (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height)
        return SparseDepth(
            u[inside],
            v[inside],
            depth_m[usable][inside].astype(np.float32),
            (camera.height, camera.width),
            sigma_m=(relative * depth_m)[usable][inside].astype(np.float32),
        )

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        kept = kept & (self._wrong < 5)
        self._pixels, self._normal, self._right = self._pixels[kept], self._normal[kept], self._right[kept]
        self._rays, self._wrong = self._rays[kept], self._wrong[kept]
        self._reference, self._found_at = self._reference[kept], self._found_at[kept]

    def _undo_drift(self, grey: Grey) -> None:
        """Where the patch that a feature was found with fits best, if that is near to where the feature has been followed to."""
        for number, image in self._references.items():
            mine = np.flatnonzero(self._reference == number)
            if not len(mine):
                continue
            start = np.ascontiguousarray(self._found_at[mine][:, None])
            guess = np.ascontiguousarray(self._pixels[mine][:, None])
            there, found, _ = cv2.calcOpticalFlowPyrLK(
                image, grey, start, guess.copy(), winSize=(15, 15), maxLevel=0, criteria=_CRITERIA,
                flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
            )  # fmt: skip
            near = (found.ravel() == 1) & (np.linalg.norm(there[:, 0] - guess[:, 0], axis=1) < TRACKS.drift_px)
            self._pixels[mine[near]] = there[near, 0]

    def _look_for_more(self, grey: Grey) -> None:
        if len(self._pixels) >= TRACKS.refill:
            return
        free = np.full(grey.shape, 255, np.uint8)
        for u, v in np.rint(self._pixels).astype(int):
            cv2.circle(free, (int(u), int(v)), TRACKS.spacing_px, 0, -1)
        found: Any = cv2.goodFeaturesToTrack(grey, TRACKS.most - len(self._pixels), 0.01, TRACKS.spacing_px, mask=free)
        if found is None:  # nothing to see
            return
        count = len(found)
        number = max(self._references, default=0) + 1
        self._references[number] = grey
        self._references = {key: self._references[key] for key in sorted(self._references)[-TRACKS.references :]}
        self._reference = np.concatenate([self._reference, np.full(count, number, np.int64)])
        self._found_at = np.vstack([self._found_at, found[:, 0]]).astype(np.float32)
        self._pixels = np.vstack([self._pixels, found[:, 0]]).astype(np.float32)
        self._normal = np.concatenate([self._normal, np.zeros((count, 3, 3))])
        self._right = np.concatenate([self._right, np.zeros((count, 3))])
        self._rays = np.concatenate([self._rays, np.zeros(count, np.int64)])
        self._wrong = np.concatenate([self._wrong, np.zeros(count, np.int64)])

    def _add_rays(self, small: CalibratedCamera, pose: Matrix) -> None:
        rays = small.unproject(self._pixels.astype(np.float64), np.ones(len(self._pixels)))
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        directions = rays @ pose[:3, :3].T
        across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
        self._normal += across
        self._right += across @ pose[:3, 3]
        self._rays += 1


def _jumped(before: Matrix | None, now: Matrix) -> bool:
    if before is None:
        return False
    step = rigid_inverse(before) @ now
    turn = np.rad2deg(np.arccos(np.clip((np.trace(step[:3, :3]) - 1) / 2, -1, 1)))
    return bool(np.linalg.norm(step[:3, 3]) > TRACKS.jump_m or turn > TRACKS.jump_deg)
