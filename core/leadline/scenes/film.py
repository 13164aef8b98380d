"""Films with ground truth: a camera and a few objects move through procedural scenes.

Every frame comes with exact depth, the pose of its camera and the optical flow to the frame before it, so that anything
which follows depth over time can be measured. Pictures, depth and flow depend on nothing but the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.errors import InputError

from .camera import Viewpoint
from .cast import Solids
from .furniture import person
from .layouts import LAYOUTS, draw
from .layouts.outdoors import car
from .palette import Palette
from .photo import photograph
from .render import Hits, cast_picture, radiance
from .scene import Scene
from .things import ball
from .tuned import DRAWING, FILMS
from .world import Primitives, World, turn

Floats = npt.NDArray[np.float64]
Offset = Callable[[float], tuple[Floats, float, float]]

#: The ways a camera moves; "walk" goes forward with the sway of a hand-held camera.
PATHS = ("walk", "forward", "sideways", "pan", "shake", "still")
#: Layouts a film is drawn from when none is named: deep enough to walk through.
FILM_LAYOUTS = ("room", "street", "workshop", "corridor", "library", "table_oblique", "facade")

_FAR_M = 1e6  # metres along the ray at which the sky is put for its flow


@dataclass(frozen=True)
class FilmFrame:
    """One frame of H×W with its ground truth.

    Attributes:
        rgb: uint8 (H, W, 3).
        depth_m: float32 (H, W), z-depth in metres at the pixel centre; 0 for sky.
        valid: bool (H, W), False for sky.
        intrinsics: float64 (3, 3), pixel centres at whole numbers.
        camera_to_world: float64 (4, 4), metres; camera axes x right, y down, z forward; world z is up.
        flow: float32 (H, W, 2): pixel p of this frame was at p + flow in the frame before; 0 in the first frame of a shot.
        seen: bool (H, W), whether the point was visible in the frame before; all False in the first frame of a shot.
        moving: bool (H, W), belongs to an object that moves by itself.
        shot: Number of the shot, from 0; it changes at a cut.
        exposure: Stops away from the film's own exposure.
        time_s: Seconds since the film's beginning.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    intrinsics: Floats
    camera_to_world: Floats
    flow: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]
    moving: npt.NDArray[np.bool_]
    shot: int
    exposure: float
    time_s: float


def render_film(
    seed: int,
    frames: int,
    height: int,
    width: int,
    *,
    layout: str | None = None,
    path: str | None = None,
    shots: int = 1,
    movers: int = 2,
    exposure: float = 0.0,
    step_at: int | None = None,
    fps: float = 30.0,
    pace_m: float | None = None,
    supersample: float = 1.5,
    device: torch.device | str = "cpu",
) -> Iterator[FilmFrame]:
    """The frames of a film, in order.

    Args:
        seed: Decides everything that the other arguments leave open.
        frames: Length of the whole film.
        height, width: Pixels.
        layout: Scene layout of every shot; None draws one of ``FILM_LAYOUTS`` for each.
        path: One of ``PATHS`` for every shot; None draws one for each.
        shots: The film is cut into this many shots of nearly equal length.
        movers: Objects that cross the view in each shot.
        exposure: Amplitude, in stops, of a slow swing of the exposure.
        step_at: From this frame of each shot on, the first mover stands at half its distance; until then, like afterwards,
            it stands still. For measuring how long something takes to notice.
        fps: Frames per second; sets ``time_s`` and nothing else.
        pace_m: Metres from frame to frame along a path that leads somewhere; None draws it, by how deep the scene is.
        supersample: Rays per pixel along each axis of the colour picture.
        device: Where to render.

    Raises:
        InputError: An unknown layout or path, or a size or length that cannot be rendered.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"no scene layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    if path is not None and path not in PATHS:
        raise InputError(f"no camera path {path!r}; choose one of {', '.join(PATHS)}")
    if height < 16 or width < 16 or not 1 <= shots <= frames:
        raise InputError(
            f"cannot render {frames} frames of {height}×{width} in {shots} shots; at least 16×16, 1 a shot"
        )
    first = 0
    for shot in range(shots):
        length = frames * (shot + 1) // shots - first
        rng = np.random.default_rng([seed, shot, 32])
        name = layout or str(rng.choice(FILM_LAYOUTS))
        way = path or str(rng.choice(PATHS[:-1]))
        stage = _stage(name, way, rng, length, height, width, movers, step_at, pace_m, torch.device(device))
        for frame in stage.frames(shot, length, exposure, supersample):
            yield replace(frame, time_s=(first + round(frame.time_s)) / fps)
        first += length


@dataclass
class _Mover:
    """Rows of the primitives that move together, as built at the origin, and where they are at frame t."""

    rows: slice
    built: Primitives
    pose: Callable[[float], tuple[Floats, Floats]]  # rotation (3, 3), translation (3,)


class _Stage:
    """One shot: a scene, its movers and the camera's way through it."""

    def __init__(
        self, scene: Scene, still: Primitives, movers: list[_Mover], way: Offset, size: tuple[int, int]
    ) -> None:
        self.scene, self.still, self.movers, self.way, self.size = scene, still, movers, way, size
        self.device = torch.device("cpu")
        self.seed = 0

    def camera(self, t: float) -> Viewpoint:
        offset, yaw, pitch = self.way(t)
        base = self.scene.camera
        eye = tuple(float(v) for v in np.asarray(base.eye) + base.pose() @ offset)
        return replace(base, eye=(eye[0], eye[1], eye[2]), yaw=base.yaw + yaw, pitch=base.pitch + pitch)

    def solids(self, t: float) -> Solids:
        parts = [self.still]
        for mover in self.movers:
            turned, moved = mover.pose(t)
            rotation = (turned @ mover.built.rotation.astype(np.float64)).astype(np.float32)
            centre = (mover.built.centre.astype(np.float64) @ turned.T + moved).astype(np.float32)
            parts.append(replace(mover.built, rotation=rotation, centre=centre))
        names = ("kind", "rotation", "centre", "half", "aux", "material")
        return Solids.of(Primitives(*(np.concatenate([getattr(p, n) for p in parts]) for n in names)), self.device)

    def cast(self, t: float, scale: float = 1.0, solids: Solids | None = None) -> Hits:
        scene = replace(self.scene, camera=self.camera(t))
        return cast_picture(scene, solids or self.solids(t), *self.size, scale)

    @torch.no_grad()
    def frames(self, shot: int, length: int, exposure: float, supersample: float) -> Iterator[FilmFrame]:
        """``time_s`` counts frames of the shot here."""
        height, width = self.size
        before: Hits | None = None
        for t in range(length):
            scene = replace(self.scene, camera=self.camera(t))
            solids = self.solids(t)
            exact = cast_picture(scene, solids, height, width)
            fine = cast_picture(scene, solids, height, width, supersample)
            stops = exposure * float(np.sin(2 * np.pi * t / max(length, 2)))
            scene.look = replace(scene.look, exposure=scene.look.exposure + stops)
            shaded = np.ascontiguousarray(radiance(scene, solids, fine).clamp(max=12).permute(1, 2, 0).cpu().numpy())
            colour = torch.from_numpy(cv2.resize(shaded, (width, height), interpolation=cv2.INTER_AREA)).permute(
                2, 0, 1
            )
            focal = float(exact.intrinsics[0, 0])
            # The camera's look is drawn anew from the same seed, so it is one camera all along; only the grain differs.
            look, grain = np.random.default_rng([self.seed, 1]), np.random.default_rng([self.seed, 2, t])
            rgb = photograph(colour.to(exact.depth.device), exact.depth, scene.look, focal, look, grain)
            valid = torch.isfinite(exact.depth)
            flow, seen = self._flow(t, exact, before)
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = scene.camera.pose(), scene.camera.eye
            yield FilmFrame(
                rgb=rgb,
                depth_m=torch.where(valid, exact.depth, torch.zeros_like(exact.depth)).cpu().numpy(),
                valid=valid.cpu().numpy(),
                intrinsics=scene.camera.intrinsics(height, width),
                camera_to_world=pose,
                flow=flow,
                seen=seen,
                moving=(exact.owner >= len(self.still.kind)).cpu().numpy(),
                shot=shot,
                exposure=stops,
                time_s=float(t),
            )
            before = exact

    def _flow(self, t: int, now: Hits, before: Hits | None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Where each pixel's point was in the frame before, relative to the pixel, and whether it was visible there."""
        height, width = self.size
        if before is None:
            return np.zeros((height, width, 2), np.float32), np.zeros((height, width), bool)
        depth, owner = now.depth.cpu().numpy().astype(np.float64), now.owner.cpu().numpy()
        directions = now.rays.cpu().numpy().astype(np.float64)
        eye = np.asarray(self.camera(t).eye)
        point = eye + (directions * np.where(np.isfinite(depth), depth, _FAR_M)).transpose(1, 2, 0)
        for mover in self.movers:
            mine = (owner >= mover.rows.start) & (owner < mover.rows.stop)
            turned, moved = mover.pose(t)
            was_turned, was_moved = mover.pose(t - 1)
            point[mine] = (point[mine] - moved) @ turned @ was_turned.T + was_moved
        camera = self.camera(t - 1)
        local = (point - np.asarray(camera.eye)) @ camera.pose()
        k = camera.intrinsics(height, width)
        z = local[..., 2]
        ahead = z > 1e-3
        x = np.where(ahead, local[..., 0] / np.where(ahead, z, 1) * k[0, 0] + k[0, 2], -1e3)
        y = np.where(ahead, local[..., 1] / np.where(ahead, z, 1) * k[1, 1] + k[1, 2], -1e3)
        rows, columns = np.mgrid[:height, :width]
        flow = np.stack([x - columns, y - rows], axis=-1).astype(np.float32)
        was_depth, was_owner = before.depth.cpu().numpy(), before.owner.cpu().numpy()
        seen = np.zeros((height, width), bool)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = left + dx, top + dy
            inside = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            column, row = column.clip(0, width - 1), row.clip(0, height - 1)
            same = was_owner[row, column] == owner
            near = (owner < 0) | (np.abs(was_depth[row, column] - z) < FILMS.same_depth * z)
            seen |= inside & same & near
        return flow, seen


def _stage(
    name: str,
    path: str,
    rng: np.random.Generator,
    length: int,
    height: int,
    width: int,
    movers: int,
    step_at: int | None,
    pace_m: float | None,
    device: torch.device,
) -> _Stage:
    """A shot in which the camera runs into nothing."""
    for attempt in range(DRAWING.for_a_film):
        scene = draw(name, rng, width / height)
        still = scene.world.freeze()
        empty = _Stage(scene, still, [], lambda t: (np.zeros(3), 0.0, 0.0), (48, max(16, 48 * width // height)))
        depth = empty.cast(0).depth
        solid = torch.isfinite(depth)
        if float(solid.float().mean()) < 0.3:
            continue
        middle = float(depth[solid].median())
        # After some failures the camera slows down: in a crowded scene there may be no other way.
        way = _way(path, rng, length, middle * 0.8 ** max(0, attempt - 4), pace_m)
        cast = [_mover(rng, scene, middle, length, i, step_at) for i in range(movers)]
        placed, row = [], len(still.kind)
        for built, pose in cast:
            placed.append(_Mover(slice(row, row + len(built.kind)), built, pose))
            row += len(built.kind)
        stage = _Stage(scene, still, placed, way, (height, width))
        stage.device, stage.seed = device, int(rng.integers(2**31))
        if all(_clear(stage, t) for t in {0, length // 3, 2 * length // 3, length - 1}):
            return stage
    raise InputError(
        f"found no way for the camera through {DRAWING.for_a_film} scenes of layout {name!r}; take another seed"
    )


def _clear(stage: _Stage, t: int) -> bool:
    """Whether frame ``t`` shows a scene: nothing in the camera's face, not all sky."""
    height, width = stage.size
    small = _Stage(stage.scene, stage.still, stage.movers, stage.way, (48, max(16, 48 * width // height)))
    depth: Tensor = small.cast(t).depth
    solid = torch.isfinite(depth)
    if float(solid.float().mean()) < 0.3:
        return False
    return bool(torch.quantile(depth[solid], 0.005) >= stage.scene.near)


def _way(path: str, rng: np.random.Generator, length: int, middle: float, pace_m: float | None) -> Offset:
    """Camera offset (x right, y down, z forward; metres), yaw and pitch (radians) at frame t; ``middle``: typical depth."""
    drawn = middle * float(rng.uniform(0.004, 0.012))
    pace = drawn if pace_m is None else pace_m
    side = float(rng.choice([-1, 1]))
    rate = side * float(rng.uniform(0.004, 0.012))
    phase = rng.uniform(0, 2 * np.pi, 5)
    sway = np.array([0.006, 0.008, 0.0]) * middle

    def walk(t: float) -> tuple[Floats, float, float]:
        swing = np.sin(np.array([0.35, 0.7, 0.0]) * t + phase[:3])
        offset = np.array([0.0, 0.0, pace * t]) + sway * swing
        return offset, 0.012 * float(np.sin(0.21 * t + phase[3])), 0.008 * float(np.sin(0.33 * t + phase[4]))

    def shake(t: float) -> tuple[Floats, float, float]:
        offset, yaw, pitch = walk(t)
        return offset * np.array([1.0, 1.0, 0.0]), 2 * yaw, 2 * pitch

    ways: dict[str, Offset] = {
        "walk": walk,
        "shake": shake,
        "forward": lambda t: (np.array([0.0, 0.0, pace * t]), 0.0, 0.0),
        "sideways": lambda t: (np.array([side * pace * t, 0.0, 0.0]), 0.0, 0.0),
        "pan": lambda t: (np.zeros(3), rate * t, 0.0),
        "still": lambda t: (np.zeros(3), 0.0, 0.0),
    }
    return ways[path]


def _mover(
    rng: np.random.Generator, scene: Scene, middle: float, length: int, number: int, step_at: int | None
) -> tuple[Primitives, Callable[[float], tuple[Floats, Floats]]]:
    """Something that fits the scene, built at the origin, and its way across the view at a part of its typical depth."""
    world, palette = World(), Palette(scene.materials, rng)
    distance = float(rng.uniform(0.45, 0.75)) * min(middle, 14.0)
    if middle < 1.3:
        ball(world, palette, rng, 0.18 * middle)
    elif distance > 6 and rng.random() < 0.5:
        with world.at(0, 0, 0, np.pi / 2):
            car(world, palette, rng)
    else:
        person(world, palette, rng, 0.5, 0.4, float(rng.uniform(1.5, 1.9)))
    camera = scene.camera
    heading = np.array([-np.sin(camera.yaw), np.cos(camera.yaw), 0.0])
    right = np.array([heading[1], -heading[0], 0.0])
    eye = np.array([camera.eye[0], camera.eye[1], 0.0])
    pace = distance * float(rng.uniform(0.006, 0.018)) * float(rng.choice([-1, 1]))
    start = float(rng.uniform(-0.15, 0.15)) * distance - pace * length / 2
    approach = distance * float(rng.uniform(-0.004, 0.004))

    def crossing(t: float) -> tuple[Floats, Floats]:
        return turn(camera.yaw), eye + heading * (distance + approach * t) + right * (start + pace * t)

    def stepping(t: float) -> tuple[Floats, Floats]:
        return turn(camera.yaw), eye + heading * (distance if t < (step_at or 0) else 0.5 * distance)

    return world.freeze(), stepping if step_at is not None and number == 0 else crossing
