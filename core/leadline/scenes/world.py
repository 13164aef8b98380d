"""The bag of primitives that a layout fills: solids with a pose, a size and a material, in metres.

World axes: x right, y forward, z up. Every primitive is a unit shape (|x|, |y|, |z| ≤ 1) scaled by its half size, turned
and moved, so one intersection routine per kind serves all sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from math import cos, sin, sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Vec = Sequence[float] | Floats


class Kind(IntEnum):
    """Shape of a primitive; ``aux`` holds the shape's own two numbers."""

    BOX = 0
    BALL = 1  # aux[0]: cut height in unit space, surface above it is removed (a bowl); 2 keeps all
    LEAVES = 2  # a ball with holes, seen through: foliage; aux[0]: density 0..1, aux[1]: clumps per radius
    TUBE = 3  # cylinder along z; aux[0]: taper k, radius 1 + k z; aux[1] > 0: open at the top
    CARD = 4  # flat, z = 0; aux[0]: cut-out (see intersect.CARD_MASKS), aux[1]: its repeat count


def turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Floats:
    """3×3 rotation: roll about y, then pitch about x, then yaw about z (radians). Columns are the local axes."""
    cy, sy, cp, sp, cr, sr = cos(yaw), sin(yaw), cos(pitch), sin(pitch), cos(roll), sin(roll)
    return np.array(
        [
            [cy * cr - sy * sp * sr, -sy * cp, cy * sr + sy * sp * cr],
            [sy * cr + cy * sp * sr, cy * cp, sy * sr - cy * sp * cr],
            [-cp * sr, sp, cp * cr],
        ]
    )


def along(direction: Vec) -> Floats:
    """A rotation whose local z axis is ``direction``. Plain arithmetic: a scene asks hundreds of times."""
    zx, zy, zz = (float(v) for v in direction)
    length = sqrt(zx * zx + zy * zy + zz * zz)
    zx, zy, zz = zx / length, zy / length, zz / length
    xx, xy, xz = (0.0, -zz, zy) if abs(zx) < 0.8 else (zz, 0.0, -zx)  # (1,0,0) × z or (0,1,0) × z
    width = sqrt(xx * xx + xy * xy + xz * xz)
    xx, xy, xz = xx / width, xy / width, xz / width
    return np.array([[xx, zy * xz - zz * xy, zx], [xy, zz * xx - zx * xz, zy], [xz, zx * xy - zy * xx, zz]])


@dataclass
class Primitives:
    """All primitives of one scene as arrays; row i is primitive i (float32 unless stated)."""

    kind: npt.NDArray[np.int64]  # (P,)
    rotation: npt.NDArray[np.float32]  # (P, 3, 3), columns are local axes
    centre: npt.NDArray[np.float32]  # (P, 3) metres
    half: npt.NDArray[np.float32]  # (P, 3) metres
    aux: npt.NDArray[np.float32]  # (P, 2)
    material: npt.NDArray[np.int64]  # (P,)


class World:
    """Collects primitives; ``with world.at(x, y, z, yaw)`` places a group in a local frame."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, Floats, Floats, Vec, tuple[float, float], int]] = []
        self._rotation: Floats = np.eye(3)
        self._origin: Floats = np.zeros(3)

    def __len__(self) -> int:
        return len(self._rows)

    @contextmanager
    def at(
        self, x: float, y: float, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
    ) -> Iterator[None]:
        """Everything added inside is relative to this pose (metres, radians)."""
        before = self._rotation, self._origin
        self._origin = before[1] + before[0] @ np.array([x, y, z])
        self._rotation = before[0] @ turn(yaw, pitch, roll)
        try:
            yield
        finally:
            self._rotation, self._origin = before

    def add(
        self,
        kind: Kind,
        centre: Vec,
        half: Vec,
        material: int,
        rotation: Floats | None = None,
        aux: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Adds one primitive with its centre and half sizes in the current frame."""
        turned = self._rotation if rotation is None else self._rotation @ rotation
        self._rows.append((int(kind), turned, self._origin + self._rotation @ np.asarray(centre), half, aux, material))

    def box(self, centre: Vec, size: Vec, material: int, rotation: Floats | None = None) -> None:
        """A box by its full size."""
        self.add(Kind.BOX, centre, (size[0] / 2, size[1] / 2, size[2] / 2), material, rotation)

    def block(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], material: int) -> None:
        """An axis-aligned box by its extents."""
        middle, size = [(a + b) / 2 for a, b in (x, y, z)], [b - a for a, b in (x, y, z)]
        self.box(middle, size, material)

    def ball(
        self, centre: Vec, half: Vec | float, material: int, cut: float = 2.0, rotation: Floats | None = None
    ) -> None:
        """An ellipsoid, optionally without its part above ``cut`` (unit space)."""
        radii = (half, half, half) if isinstance(half, int | float) else half
        self.add(Kind.BALL, centre, radii, material, rotation, (cut, 0.0))

    def leaves(self, centre: Vec, half: Vec, material: int, density: float = 0.5, clumps: float = 4.0) -> None:
        """A ragged ball of foliage."""
        self.add(Kind.LEAVES, centre, half, material, None, (density, clumps))

    def tube(
        self,
        start: Vec,
        end: Vec,
        radius: float,
        material: int,
        end_radius: float | None = None,
        open_top: bool = False,
    ) -> None:
        """A (tapered) cylinder from ``start`` to ``end``."""
        a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        last = radius if end_radius is None else end_radius
        mean = max((radius + last) / 2, 1e-4)
        length = float(np.sqrt(((b - a) ** 2).sum()))
        if length < 1e-6:
            return
        aux = ((last - mean) / mean, float(open_top))
        self.add(Kind.TUBE, (a + b) / 2, (mean, mean, length / 2), material, along(b - a), aux)

    def capsule(self, start: Vec, end: Vec, radius: float, material: int) -> None:
        """A cylinder with round ends."""
        self.tube(start, end, radius, material)
        self.ball(start, radius, material)
        self.ball(end, radius, material)

    def card(
        self,
        centre: Vec,
        size: tuple[float, float],
        material: int,
        rotation: Floats | None = None,
        mask: int = 0,
        repeat: float = 1.0,
    ) -> None:
        """A flat rectangle (local x and y), optionally cut out."""
        self.add(Kind.CARD, centre, (size[0] / 2, size[1] / 2, 1.0), material, rotation, (float(mask), repeat))

    def standing_card(
        self,
        centre: Vec,
        size: tuple[float, float],
        material: int,
        yaw: float = 0.0,
        mask: int = 0,
        repeat: float = 1.0,
    ) -> None:
        """A card that stands upright: local x horizontal, local y up, facing −y before ``yaw``."""
        upright = turn(yaw) @ np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        self.card(centre, size, material, upright, mask, repeat)

    def freeze(self) -> Primitives:
        """The collected primitives as arrays."""
        kind, rotation, centre, half, aux, material = zip(*self._rows, strict=True)
        return Primitives(
            kind=np.array(kind, dtype=np.int64),
            rotation=np.array(rotation, dtype=np.float32),
            centre=np.array(centre, dtype=np.float32),
            half=np.maximum(np.array(half, dtype=np.float32), 1e-4),
            aux=np.array(aux, dtype=np.float32),
            material=np.array(material, dtype=np.int64),
        )
