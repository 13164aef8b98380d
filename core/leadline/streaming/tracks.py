"""Metres from motion: features tracked through the images, and where they are by the poses that odometry gives."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.transforms import rigid_inverse
from leadline.streaming.motion import Grey, follow, tracking_size
from leadline.streaming.triangulation import triangulate
from leadline.streaming.tuned import TRACKS
from leadline.types import RgbImage

Matrix = npt.NDArray[np.float64]

_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)


class Parallax(NamedTuple):
    """How far features of an image are by the camera's motion, (n,) each.

    Attributes:
        u, v: int64, column and row.
        inverse_depth: 1 / metres; about zero for what shows no parallax.
        sigma: Its standard deviation.
    """

    u: npt.NDArray[np.int64]
    v: npt.NDArray[np.int64]
    inverse_depth: Matrix
    sigma: Matrix

    def subset(self, kept: npt.NDArray[Any]) -> Parallax:
        """Some of the features: bool (n,) or indices."""
        return Parallax(*(field[kept] for field in self))


class TrackedPoints:
    """Features of one stream of images with known poses."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all features."""
        self._grey: Grey | None = None
        self._pose: Matrix | None = None
        self._last_view_at: Matrix | None = None
        self._distance_m = 3.0
        self._views_since = 0
        self._pixels = np.zeros((0, 2), np.float32)
        self._references: dict[int, Grey] = {}
        self._reference = np.zeros(0, np.int64)  # in which image each feature was found
        self._found_at = np.zeros((0, 2), np.float32)  # and where
        self._whitening = np.zeros((0, 2, 2))  # takes its errors in pixels to units of their standard deviation
        self._views = np.zeros((0, 4, 4))  # poses of the cameras that saw the features
        self._seen = np.zeros((0, 0, 2))  # (n, views, 2) where, at a focal length of one; NaN: before it was found
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
        moved = np.inf if self._last_view_at is None else float(np.linalg.norm(pose[:3, 3] - self._last_view_at))
        if moved >= max(TRACKS.step_m, TRACKS.step_share * self._distance_m):
            self._last_view_at = pose[:3, 3].copy()
            if self._views_since % TRACKS.refill_every == 0:
                self._look_for_more(grey)
            self._views_since += 1
            self._add_view(small, pose)

    def parallax(self, camera: CalibratedCamera) -> Parallax:
        """What the features of the newest image say; those that moved as nothing that stands still does are left out."""
        ready = np.flatnonzero(np.isfinite(self._seen[..., 0]).sum(axis=1) >= TRACKS.fewest_views)
        if self._pose is None or not len(ready):
            nothing = np.zeros(0, np.int64)
            return Parallax(nothing, nothing, np.zeros(0), np.zeros(0))
        small = camera.resized(*tracking_size(camera.width, camera.height))
        pixels = self._pixels[ready].astype(np.float64)
        now = _at_focal_one(small, pixels)
        to_view = np.linalg.inv(self._views) @ self._pose
        whitening = self._whitening[ready] * float(small.matrix[0, 0])
        found = triangulate(self._seen[ready], whitening, to_view, now)
        apart = np.einsum("nij,nj->ni", whitening, now - np.stack([found.x, found.y], axis=1))
        with np.errstate(invalid="ignore"):
            agrees = (np.linalg.norm(apart, axis=1) < TRACKS.agrees_sigma) & (found.error < TRACKS.most_error)
            agrees &= found.inverse_depth > -TRACKS.behind_sigma * found.sigma
        self._wrong[ready] = np.where(agrees, 0, self._wrong[ready] + 1)
        scale = np.array([camera.width / small.width, camera.height / small.height])
        u, v = np.rint((pixels + 0.5) * scale - 0.5).astype(np.int64).T
        usable = agrees & (u >= 0) & (v >= 0) & (u < camera.width) & (v < camera.height)
        parallax = Parallax(u, v, found.inverse_depth, found.sigma).subset(usable)
        sure = parallax.sigma < 0.15 * parallax.inverse_depth
        if sure.any():
            self._distance_m = float(1.0 / np.median(parallax.inverse_depth[sure]))
        return parallax

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        kept = kept & (self._wrong < TRACKS.patience)
        self._pixels, self._seen, self._whitening = self._pixels[kept], self._seen[kept], self._whitening[kept]
        self._reference, self._found_at, self._wrong = self._reference[kept], self._found_at[kept], self._wrong[kept]

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
        places = _corners(grey, self._pixels)
        if not len(places):  # nothing to see
            return
        number = max(self._references, default=0) + 1
        self._references[number] = grey
        self._references = {key: self._references[key] for key in sorted(self._references)[-TRACKS.references :]}
        self._reference = np.concatenate([self._reference, np.full(len(places), number, np.int64)])
        self._found_at = np.vstack([self._found_at, places]).astype(np.float32)
        self._pixels = np.vstack([self._pixels, places]).astype(np.float32)
        self._whitening = np.concatenate([self._whitening, _whitening(grey, places)])
        self._seen = np.concatenate([self._seen, np.full((len(places), len(self._views), 2), np.nan)])
        self._wrong = np.concatenate([self._wrong, np.zeros(len(places), np.int64)])

    def _add_view(self, small: CalibratedCamera, pose: Matrix) -> None:
        at = _at_focal_one(small, self._pixels.astype(np.float64))
        self._seen = np.concatenate([self._seen, at[:, None]], axis=1)
        self._views = np.concatenate([self._views, pose[None]])
        if len(self._views) > TRACKS.views:  # thin out the older half: the baseline stays
            kept = np.ones(len(self._views), bool)
            kept[1 : len(kept) // 2 : 2] = False
            self._views, self._seen = self._views[kept], self._seen[:, kept]


def _corners(grey: Grey, taken: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(m, 2) the best corners of each cell of a grid, away from those that are followed; faint ones too, where there are no others."""
    strength = cv2.cornerMinEigenVal(grey, TRACKS.patch_px)
    for u, v in np.rint(taken).astype(int):
        cv2.circle(strength, (int(u), int(v)), TRACKS.spacing_px, 0, -1)
    around = cv2.dilate(strength, np.ones((TRACKS.spacing_px + 1, TRACKS.spacing_px + 1), np.uint8))
    border = TRACKS.patch_px // 2 + 1
    around[:border] = around[-border:] = around[:, :border] = around[:, -border:] = np.inf
    v, u = np.nonzero((strength >= around) & (strength > TRACKS.faintest))
    order = np.argsort(-strength[v, u], kind="stable")
    u, v = u[order], v[order]
    columns, rows = TRACKS.grid

    def cell(u: npt.NDArray[np.int64], v: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (u * columns // grey.shape[1]) * rows + v * rows // grey.shape[0]

    have = np.bincount(cell(*np.rint(taken).astype(np.int64).T.clip(0, None)), minlength=columns * rows)
    cells = cell(u, v)
    _, first, counts = np.unique(np.sort(cells, kind="stable"), return_index=True, return_counts=True)
    by_cell = np.argsort(cells, kind="stable")
    rank = np.empty(len(cells), np.int64)
    rank[by_cell] = np.arange(len(cells)) - np.repeat(first, counts)
    rank += have[cells]
    inside = rank < TRACKS.per_cell
    u, v, rank = u[inside], v[inside], rank[inside]
    chosen = np.sort(np.argsort(rank, kind="stable")[: max(0, TRACKS.most - len(taken))])
    return np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)


def _at_focal_one(camera: CalibratedCamera, pixels: Matrix) -> Matrix:
    return np.asarray(camera.unproject(pixels, np.ones(len(pixels)))[:, :2])


def _whitening(grey: Grey, places: npt.NDArray[np.float32]) -> Matrix:
    """(n, 2, 2): along an edge a feature is known worse than across it, by the eigenvalues of the gradients around it."""
    edges = cv2.cornerEigenValsAndVecs(grey, TRACKS.patch_px, 3)
    u, v = np.rint(places).astype(np.int64).T
    of_each = edges[v.clip(0, grey.shape[0] - 1), u.clip(0, grey.shape[1] - 1)].astype(np.float64)
    values, axes = of_each[:, :2], of_each[:, 2:].reshape(-1, 2, 2)
    sigma_px = np.sqrt(TRACKS.sigma_px**2 + TRACKS.faint / np.maximum(values, 1e-9))
    return np.asarray(np.einsum("nki,nk,nkj->nij", axes, 1.0 / sigma_px, axes))


def _jumped(before: Matrix | None, now: Matrix) -> bool:
    if before is None:
        return False
    step = rigid_inverse(before) @ now
    turn = np.rad2deg(np.arccos(np.clip((np.trace(step[:3, :3]) - 1) / 2, -1, 1)))
    return bool(np.linalg.norm(step[:3, 3]) > TRACKS.jump_m or turn > TRACKS.jump_deg)
