"""Nearest hits of many rays with many primitives: screen tiles, bounding rectangles, batched unit-space intersections."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import intersect
from .tuned import RENDER
from .world import Kind, Primitives

_EDGES = [(i, i | b) for i in range(8) for b in (1, 2, 4) if not i & b]


@dataclass
class Solids:
    """The primitives as tensors on a device, with the world → unit-space map of each: ``to_unit @ (p − centre)``."""

    kind: Tensor  # (P,) int64
    rotation: Tensor  # (P, 3, 3)
    centre: Tensor  # (P, 3)
    half: Tensor  # (P, 3)
    aux: Tensor  # (P, 2)
    material: Tensor  # (P,) int64
    to_unit: Tensor  # (P, 3, 3)
    corners: Tensor  # (P, 8, 3) of the bounding box, world

    @classmethod
    def of(cls, primitives: Primitives, device: torch.device) -> Solids:
        """Copies ``primitives`` to ``device`` and prepares the transforms."""
        rotation, centre, half, aux = (
            torch.from_numpy(a).to(device)
            for a in (primitives.rotation, primitives.centre, primitives.half, primitives.aux)
        )
        kind, material = (torch.from_numpy(a).to(device) for a in (primitives.kind, primitives.material))
        to_unit = rotation.transpose(1, 2) / half[:, :, None]
        signs = torch.tensor(
            [[(i >> a & 1) * 2 - 1 for a in range(3)] for i in range(8)], device=device, dtype=torch.float32
        )
        bulge = torch.ones_like(half)  # a tapered tube is wider than its mean radius
        tube = kind == Kind.TUBE
        bulge[tube, :2] += aux[tube, :1].abs()
        flat = (
            half * bulge * torch.where((kind == Kind.CARD)[:, None], half.new_tensor([1.0, 1.0, 0.0]), half.new_ones(3))
        )
        corners = centre[:, None] + torch.einsum("pij,pkj->pki", rotation, signs[None] * flat[:, None])
        return cls(kind, rotation, centre, half, aux, material, to_unit, corners)


def screen_rectangles(corners: Tensor, pose: Tensor, eye: Tensor, intrinsics: Tensor, near: float = 0.02) -> Tensor:
    """Pixel bounds (P, 4: x0, y0, x1, y1) of boxes clipped at the near plane; empty ones have x1 < x0."""
    local = (corners - eye) @ pose  # (P, 8, 3) camera axes
    z = local[..., 2]
    a, b = local[:, [e[0] for e in _EDGES]], local[:, [e[1] for e in _EDGES]]
    za, zb = a[..., 2:], b[..., 2:]
    crossing = ((za - near) * (zb - near) < 0)[..., 0]
    share = (near - za) / torch.where((zb - za).abs() < 1e-9, torch.ones_like(za), zb - za)
    points = torch.cat([local, a + share * (b - a)], dim=1)
    seen = torch.cat([z >= near, crossing], dim=1)
    depth = points[..., 2].clamp(min=near)
    x = points[..., 0] / depth * intrinsics[0, 0] + intrinsics[0, 2]
    y = points[..., 1] / depth * intrinsics[1, 1] + intrinsics[1, 2]
    big = 1e9
    low = [torch.where(seen, v, torch.full_like(v, big)).amin(1) for v in (x, y)]
    high = [torch.where(seen, v, torch.full_like(v, -big)).amax(1) for v in (x, y)]
    return torch.stack([low[0], low[1], high[0], high[1]], dim=1)


def _unit_hits(
    kind: int, solids: Solids, which: Tensor, origin: intersect.Triple, direction: intersect.Triple
) -> Tensor:
    """t of each ray bundle (K, n) with primitive ``which`` (K,), all of one kind."""
    m, c, aux = solids.to_unit[which], solids.centre[which], solids.aux[which]
    rel = tuple(origin[a] - c[:, a, None] for a in range(3))
    o: list[Tensor] = []
    d: list[Tensor] = []
    for r in range(3):
        o.append(m[:, r, 0, None] * rel[0] + m[:, r, 1, None] * rel[1] + m[:, r, 2, None] * rel[2])
        d.append(m[:, r, 0, None] * direction[0] + m[:, r, 1, None] * direction[1] + m[:, r, 2, None] * direction[2])
    ot, dt = (o[0], o[1], o[2]), (d[0], d[1], d[2])
    first, second = aux[:, :1], aux[:, 1:]
    if kind == Kind.BOX:
        return intersect.box(ot, dt)
    if kind == Kind.BALL:
        return intersect.ball(ot, dt, first)
    if kind == Kind.LEAVES:
        return intersect.leaves(ot, dt, first, second)
    if kind == Kind.TUBE:
        return intersect.tube(ot, dt, first, second)
    t = torch.full_like(dt[0], intersect.INF)
    for mask in torch.unique(first).tolist():
        rows = (first[:, 0] == mask).nonzero()[:, 0]
        part = (
            tuple(v if v.shape[0] == 1 else v[rows] for v in ot),
            tuple(v if v.shape[0] == 1 else v[rows] for v in dt),
        )
        t[rows] = intersect.card(part[0], part[1], int(mask), second[rows])  # type: ignore[arg-type]
    return t


def _by_kind(solids: Solids, pairs: Tensor) -> list[tuple[int, Tensor]]:
    kinds = solids.kind[pairs[:, 0]]
    found: list[tuple[int, Tensor]] = []
    for kind in Kind:
        chosen = pairs[kinds == int(kind)]
        found.extend((int(kind), chunk) for chunk in chosen.split(RENDER.pairs) if len(chunk))
    return found


def nearest(solids: Solids, rectangles: Tensor, eye: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """First hit of rays from ``eye``.

    ``rays`` (3, tiles_y, tiles_x, tile²) directions; ``rectangles`` from :func:`screen_rectangles` in the same pixels.
    Returns t (tiles, tile²), inf for none, and the primitive's row (−1 for none).
    """
    _, rows, columns, inside = rays.shape
    device = rays.device
    edge = RENDER.tile
    x0 = torch.arange(columns, device=device) * edge
    y0 = torch.arange(rows, device=device) * edge
    over_x = (rectangles[:, 0, None] <= x0 + edge) & (rectangles[:, 2, None] >= x0 - 1)
    over_y = (rectangles[:, 1, None] <= y0 + edge) & (rectangles[:, 3, None] >= y0 - 1)
    pairs = (over_y[:, :, None] & over_x[:, None, :]).flatten(1).nonzero()
    flat = rays.reshape(3, rows * columns, inside)
    best = torch.full((rows * columns, inside), intersect.INF, device=device)
    owner = torch.full((rows * columns, inside), -1, dtype=torch.int64, device=device)
    origin = (eye[0].view(1, 1), eye[1].view(1, 1), eye[2].view(1, 1))
    for kind, chunk in _by_kind(solids, pairs):
        which, tile = chunk[:, 0], chunk[:, 1]
        t = _unit_hits(kind, solids, which, origin, (flat[0, tile], flat[1, tile], flat[2, tile]))
        index = tile[:, None].expand_as(t)
        best.scatter_reduce_(0, index, t, "amin")
        won = (t == best[tile]) & torch.isfinite(t)
        owner[index[won], won.nonzero()[:, 1]] = which[:, None].expand_as(t)[won]
    return best, owner


def occluded(
    solids: Solids, rectangles: Tensor, points: Tensor, towards: Tensor, reach: Tensor, spots: Tensor, usable: Tensor
) -> Tensor:
    """Whether something stands between surface points and the light.

    ``points``, ``towards`` (3, groups, n): origin and direction of the shadow rays; ``reach`` (groups, n): the light is at t = reach;
    ``spots`` (2, groups, n): the points in light coordinates, where ``rectangles`` (P, 4) bound the primitives;
    ``usable`` (groups, n): rays worth casting. Returns bool (groups, n).
    """
    big = 1e9
    low = torch.where(usable, spots, torch.full_like(spots, big)).amin(2)
    high = torch.where(usable, spots, torch.full_like(spots, -big)).amax(2)
    overlap = (
        (rectangles[:, 0, None] <= high[0])
        & (rectangles[:, 2, None] >= low[0])
        & (rectangles[:, 1, None] <= high[1])
        & (rectangles[:, 3, None] >= low[1])
    )
    pairs = overlap.nonzero()
    shade = torch.zeros(points.shape[1:], device=points.device)
    for kind, chunk in _by_kind(solids, pairs):
        which, group = chunk[:, 0], chunk[:, 1]
        t = _unit_hits(
            kind,
            solids,
            which,
            (points[0, group], points[1, group], points[2, group]),
            (towards[0, group], towards[1, group], towards[2, group]),
        )
        hit = (t < reach[group]).to(shade.dtype)
        shade.scatter_reduce_(0, group[:, None].expand_as(hit), hit, "amax")
    return shade > 0.5
