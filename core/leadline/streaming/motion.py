"""The camera's own motion between two images, from points whose depth was measured at the first of them.

Features at measured points are tracked from image to image (Lucas-Kanade, forwards and back), and the pose that explains
where they went is found by PnP with RANSAC. OpenCV does both. Where no odometry is at hand, this carries a LiDAR sweep
to the images after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.sparse import SparseDepth
from leadline.sensors.transforms import rigid_power
from leadline.streaming.tuned import MOTION
from leadline.types import RgbImage

Matrix = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SeenMotion:
    """How the camera moved between two images.

    Attributes:
        motion: 4×4 that takes points from the camera's frame then to the camera's frame now.
        tracks: Features that agree with it.
        error_px: Their median distance from where it puts them, in pixels of the tracking image.
    """

    motion: Matrix
    tracks: int
    error_px: float


@dataclass
class _Tracks:
    """Features of one sweep, on their way through the images."""

    sweep_ns: int
    reference_ns: int
    points: Matrix  # (n, 3) in the camera's frame at the reference
    pixels: npt.NDArray[np.float32]  # (n, 2) in the last image
    last_ns: int


class VisualMotion:
    """Remembers the last images of a stream and finds the motion between them."""

    def __init__(self) -> None:
        self._images: deque[tuple[int, Grey]] = deque(maxlen=MOTION.kept)
        self._tracks: _Tracks | None = None

    def reset(self) -> None:
        """Forget the images before."""
        self._images.clear()
        self._tracks = None

    def add(self, stamp_ns: int, rgb: RgbImage) -> None:
        """Remember an image; images come in the order of their stamps."""
        if self._images and stamp_ns <= self._images[-1][0]:
            if stamp_ns == self._images[-1][0]:
                return
            self.reset()
        size = tracking_size(rgb.shape[1], rgb.shape[0])
        small = rgb if size == (rgb.shape[1], rgb.shape[0]) else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        if self._images and self._images[0][1].shape != small.shape[:2]:
            self.reset()
        self._images.append((stamp_ns, np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))))
        while stamp_ns - self._images[0][0] > MOTION.kept_s * 1e9:
            self._images.popleft()

    def reference(self, stamp_ns: int, tolerance_s: float) -> int | None:
        """The stamp of the remembered image nearest to a time, if within the tolerance."""
        if not self._images:
            return None
        nearest = min((image[0] for image in self._images), key=lambda one: abs(one - stamp_ns))
        return nearest if abs(nearest - stamp_ns) <= tolerance_s * 1e9 else None

    def since(self, sweep_ns: int, reference_ns: int, seen: SparseDepth, camera: CalibratedCamera) -> SeenMotion | None:
        """The motion from a sweep's time to the newest image.

        Args:
            sweep_ns: The sweep's time.
            reference_ns: Stamp of the remembered image nearest to it, see :meth:`reference`.
            seen: The sweep's points in that image, at the camera's full size.
            camera: Of the images.

        Returns:
            None if too few features could be followed, or they do not agree on a motion.
        """
        newest_ns = self._images[-1][0]
        small = camera.resized(*tracking_size(camera.width, camera.height))
        tracks = self._tracks
        if tracks is None or (tracks.sweep_ns, tracks.reference_ns) != (sweep_ns, reference_ns):
            tracks = self._started(sweep_ns, reference_ns, seen, camera, small)
        self._tracks = tracks
        if tracks is None or not self._follow(tracks):
            return None
        if newest_ns == reference_ns:
            return SeenMotion(np.eye(4), len(tracks.points), 0.0)
        found = _pose(tracks, small)
        if found is None:
            return None
        # The points were measured a little before or after the reference; the velocity is that of the way since.
        share = (newest_ns - sweep_ns) / (newest_ns - reference_ns)
        return SeenMotion(rigid_power(found.motion, share), found.tracks, found.error_px)

    def _started(
        self, sweep_ns: int, reference_ns: int, seen: SparseDepth, camera: CalibratedCamera, small: CalibratedCamera
    ) -> _Tracks | None:
        grey = next((image for stamp, image in self._images if stamp == reference_ns), None)
        if grey is None or len(seen) < MOTION.fewest:
            return None
        pixels = np.stack([seen.u, seen.v], axis=1).astype(np.float64)
        scale = np.array([small.width / camera.width, small.height / camera.height])
        places = (pixels + 0.5) * scale - 0.5
        chosen = _corners(grey, places)
        points = camera.unproject(pixels[chosen], seen.depth_m[chosen])
        return _Tracks(sweep_ns, reference_ns, points, places[chosen].astype(np.float32), reference_ns)

    def _follow(self, tracks: _Tracks) -> bool:
        """Along every remembered image up to the newest; False if too few features are left."""
        before = next((image for stamp, image in self._images if stamp == tracks.last_ns), None)
        for stamp_ns, image in self._images:
            if before is None or stamp_ns <= tracks.last_ns:
                continue
            there, good = follow(before, image, tracks.pixels)
            tracks.points, tracks.pixels, tracks.last_ns = tracks.points[good], there[good], stamp_ns
            before = image
            if len(tracks.points) < MOTION.fewest:
                return False
        return before is not None and tracks.last_ns == self._images[-1][0] and len(tracks.points) >= MOTION.fewest


def tracking_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which an image of that size is tracked."""
    if width <= MOTION.width:
        return width, height
    return MOTION.width, max(1, round(height * MOTION.width / width))


def follow(
    before: Grey, after: Grey, pixels: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where features went, (n, 2), and which of them lead back to where they came from, bool (n,)."""
    if len(pixels) == 0:
        return pixels, np.zeros(0, bool)
    start = np.ascontiguousarray(pixels[:, None])
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, start.copy(), winSize=MOTION.window, maxLevel=3)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(
        after, before, there, start.copy(), winSize=MOTION.window, maxLevel=3
    )
    returned = np.linalg.norm(back[:, 0] - pixels, axis=1) < MOTION.there_and_back_px
    height, width = after.shape
    inside = (there[:, 0] >= 0).all(axis=1) & (there[:, 0, 0] < width) & (there[:, 0, 1] < height)
    good = (found.ravel() == 1) & (found_back.ravel() == 1) & returned & inside
    return np.asarray(there[:, 0]), good


def _corners(grey: Grey, places: Matrix) -> npt.NDArray[np.int64]:
    """Which of the places (n, 2) lie on something that can be followed: the best of each cell of a grid."""
    strength = cv2.cornerMinEigenVal(grey, 5)
    u, v = np.rint(places).astype(np.int64).T
    height, width = grey.shape
    inside = np.flatnonzero((u >= 4) & (v >= 4) & (u < width - 4) & (v < height - 4))
    at_places = strength[v[inside], u[inside]]
    strong = at_places > max(1e-4, 0.02 * float(np.quantile(strength, 0.999)))
    inside, at_places = inside[strong], at_places[strong]
    order = np.argsort(-at_places, kind="stable")
    cells = (u[inside] * MOTION.grid[0] // width) * MOTION.grid[1] + v[inside] * MOTION.grid[1] // height
    taken = np.zeros(MOTION.grid[0] * MOTION.grid[1], np.int64)
    chosen = []
    for index in order:
        if taken[cells[index]] < MOTION.per_cell:
            taken[cells[index]] += 1
            chosen.append(inside[index])
    return np.array(chosen, dtype=np.int64)


def _pose(tracks: _Tracks, camera: CalibratedCamera) -> SeenMotion | None:
    """The motion that takes the points to where their features are now."""
    focal = float(camera.matrix[0, 0])
    rays = camera.unproject(tracks.pixels.astype(np.float64), np.ones(len(tracks.pixels)))[:, :2]
    usable = np.isfinite(rays).all(axis=1)
    points, rays = np.ascontiguousarray(tracks.points[usable]), np.ascontiguousarray(rays[usable])
    if len(points) < MOTION.fewest:
        return None
    identity = np.eye(3)
    try:
        found, turn, shift, agreeing = cv2.solvePnPRansac(
            points, rays, identity, None, np.zeros((3, 1)), np.zeros((3, 1)), useExtrinsicGuess=True, iterationsCount=100,
            reprojectionError=MOTION.agrees_px / focal, confidence=0.999, flags=cv2.SOLVEPNP_ITERATIVE,
        )  # fmt: skip
        if not found or agreeing is None or len(agreeing) < max(MOTION.fewest, MOTION.share * len(points)):
            return None
        kept = agreeing.ravel()
        turn, shift = cv2.solvePnPRefineLM(points[kept], rays[kept], identity, None, turn, shift)
    except cv2.error:
        return None
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    moved = points[kept] @ motion[:3, :3].T + motion[:3, 3]
    if not np.isfinite(moved).all() or (moved[:, 2] <= 0).any():
        return None
    error = np.linalg.norm(moved[:, :2] / moved[:, 2:] - rays[kept], axis=1)
    return SeenMotion(motion, len(kept), focal * float(np.median(error)))
