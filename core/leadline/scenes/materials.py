"""Materials: a pattern with three colours, a scale in metres, dirt, gloss and glow; and the reflectance they give."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .noise import CLOUD, FINE, SMOOTH, noise
from .patterns import PAINT, Pattern, Spot

#: Columns of :meth:`Materials.table` after the nine of the colours.
PATTERN, SCALE, ANGLE, DIRT, DIRT_SCALE, GLOSS, GLOW, BUMP, SALT, EXTRA = range(9, 19)


@dataclass
class Material:
    """One material; colours are linear-light RGB in 0..1, lengths in metres, the angle in radians."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]
    c: tuple[float, float, float]
    pattern: Pattern = Pattern.PLAIN
    scale: float = 0.3
    angle: float = 0.0  # turns the pattern on the surface
    dirt: float = 0.15  # strength of stains, size dirt_scale
    dirt_scale: float = 0.5
    gloss: float = 0.0  # 0 matt … 1 mirror-like highlights
    glow: float = 0.0  # light given off, in units of the reflectance
    bump: float = 0.0  # bends the normals
    salt: float = 0.0  # a whole number: tells materials with equal patterns apart
    extra: float = 0.0  # meaning depends on the pattern


@dataclass
class Materials:
    """The materials of one scene; :meth:`add` returns the index to give to a primitive."""

    rows: list[Material] = field(default_factory=list)

    def add(self, material: Material) -> int:
        """Stores ``material``."""
        self.rows.append(material)
        return len(self.rows) - 1

    def table(self, device: torch.device) -> Tensor:
        """(M, 19) float32, one row per material; the columns are a, b, c, then those named above."""
        rows = [
            [
                *m.a,
                *m.b,
                *m.c,
                float(m.pattern),
                m.scale,
                m.angle,
                m.dirt,
                m.dirt_scale,
                m.gloss,
                m.glow,
                m.bump,
                m.salt,
                m.extra,
            ]
            for m in self.rows
        ]
        return torch.from_numpy(np.array(rows, dtype=np.float32)).to(device)


def albedo(u: Tensor, v: Tensor, rows: Tensor, foot: Tensor) -> Tensor:
    """Reflectance (3, N) in 0..1 at surface metres (u, v) (N,) of materials ``rows`` (N, 19), ``foot`` metres per pixel (N,)."""
    p = rows.t().contiguous()
    cosine, sine = torch.cos(p[ANGLE]), torch.sin(p[ANGLE])
    u, v = cosine * u - sine * v, sine * u + cosine * v
    colour = p[0:3].clone()
    for kind in torch.unique(p[PATTERN]).tolist():
        if int(kind) == Pattern.PLAIN:
            continue
        at = (p[PATTERN] == kind).nonzero()[:, 0]
        q = p[:, at]
        spot = Spot(u[at], v[at], q[0:3], q[3:6], q[6:9], q[SCALE], q[SALT], q[EXTRA], foot[at])
        colour[:, at] = PAINT[Pattern(int(kind))](spot)
    n = noise(u / p[DIRT_SCALE] / 4 + p[SALT] * 0.71, v / p[DIRT_SCALE] / 4 + p[SALT] * 0.37)
    grain = (0.06 * p[DIRT_SCALE] / foot).clamp(0, 1)
    stain = 0.8 * n[CLOUD] + 0.35 * n[FINE] * grain + 0.4 * (n[SMOOTH] - 0.2)
    tint = torch.stack([0.2 * n[4], 0.1 * n[5], 0.25 * n[6]])
    return (colour * (1 + p[DIRT] * (stain + tint))).clamp(0.008, 0.95)
