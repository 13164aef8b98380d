"""Ray against unit shape, in the shape's own space: where along the ray is the first visible surface.

All functions take ray origins ``o`` and directions ``d`` as three tensors each (x, y, z; broadcastable) in unit space and
return t (same units as the ray parameter), ``inf`` where the ray misses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Triple = tuple[Tensor, Tensor, Tensor]
INF = float("inf")
NEAR = 1e-4
CARD_MASKS = ("whole", "disc", "leaf cluster", "arch opening", "spoked ring", "fence", "grid", "leaf")


def _first(near: Tensor, near_ok: Tensor, far: Tensor, far_ok: Tensor) -> Tensor:
    return torch.where(near_ok, near, torch.where(far_ok, far, torch.full_like(near, INF)))


def box(o: Triple, d: Triple) -> Tensor:
    """Slab test; from inside, the far wall is hit."""
    enter: Tensor | None = None
    leave: Tensor | None = None
    for a in range(3):
        inverse = 1.0 / torch.where(d[a].abs() < 1e-12, torch.full_like(d[a], 1e-12), d[a])
        centre, reach = -o[a] * inverse, inverse.abs()
        low, high = centre - reach, centre + reach
        enter = low if enter is None else torch.maximum(enter, low)
        leave = high if leave is None else torch.minimum(leave, high)
    assert enter is not None
    assert leave is not None
    hit = (leave >= enter) & (leave > NEAR)
    return torch.where(hit, torch.where(enter > NEAR, enter, leave), torch.full_like(enter, INF))


def _sphere_roots(o: Triple, d: Triple) -> tuple[Tensor, Tensor, Tensor]:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1
    square = b * b - a * c
    root = square.clamp(min=0).sqrt()
    return (-b - root) / a, (-b + root) / a, square > 0


def ball(o: Triple, d: Triple, cut: Tensor) -> Tensor:
    """Unit sphere without the part above z = ``cut``; the inside shows where the front is cut away."""
    near, far, real = _sphere_roots(o, d)
    near_ok = real & (near > NEAR) & (o[2] + near * d[2] <= cut)
    far_ok = real & (far > NEAR) & (o[2] + far * d[2] <= cut)
    return _first(near, near_ok, far, far_ok)


def clumps(x: Tensor, y: Tensor, z: Tensor, frequency: Tensor) -> Tensor:
    """A cheap lumpy field, roughly in [-1, 1]: two bent gyroids, the finer one turned, so that no lattice shows."""
    f = frequency * 2.2
    a = f * x + 1.1 * torch.sin(1.9 * f * y + 2.0)
    b = f * y + 1.1 * torch.sin(1.7 * f * z + 1.0)
    c = f * z + 1.1 * torch.sin(2.1 * f * x)
    coarse = torch.sin(a) * torch.cos(b) + torch.sin(b) * torch.cos(c) + torch.sin(c) * torch.cos(a)
    g, h, k = 3.1 * (a - b), 3.1 * (b + c), 2.7 * (c + a)
    fine = torch.sin(g) * torch.cos(h) + torch.sin(k) * torch.cos(g)
    return 0.4 * coarse + 0.32 * fine


def leaves(o: Triple, d: Triple, density: Tensor, frequency: Tensor) -> Tensor:
    """A sphere with holes: where the front has a hole the back may still be hit."""
    near, far, real = _sphere_roots(o, d)
    level = 1 - 2 * density

    def solid(t: Tensor) -> Tensor:
        return clumps(o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2], frequency) > level * 0.8

    near_ok = real & (near > NEAR) & solid(near)
    far_ok = real & (far > NEAR) & solid(far)
    return _first(near, near_ok, far, far_ok)


def tube(o: Triple, d: Triple, taper: Tensor, open_top: Tensor) -> Tensor:
    """Cylinder |z| ≤ 1 of radius 1 + taper·z with caps (no cap at z = 1 where ``open_top`` > 0)."""
    slope, start = taper * d[2], 1 + taper * o[2]
    a = d[0] * d[0] + d[1] * d[1] - slope * slope
    b = o[0] * d[0] + o[1] * d[1] - slope * start
    c = o[0] * o[0] + o[1] * o[1] - start * start
    square = b * b - a * c
    root = square.clamp(min=0).sqrt()
    a = torch.where(a.abs() < 1e-9, torch.full_like(a, 1e-9), a)
    best = torch.full_like(square, INF)
    for t in ((-b - root) / a, (-b + root) / a):
        z = o[2] + t * d[2]
        ok = (square > 0) & (t > NEAR) & (z.abs() <= 1)
        best = torch.where(ok & (t < best), t, best)
    safe = torch.where(d[2].abs() < 1e-12, torch.full_like(d[2], 1e-12), d[2])
    for side in (-1.0, 1.0):
        t = (side - o[2]) / safe
        x, y = o[0] + t * d[0], o[1] + t * d[1]
        ok = (t > NEAR) & (x * x + y * y <= (1 + side * taper) ** 2) & (t < best)
        if side > 0:
            ok = ok & (open_top <= 0)
        best = torch.where(ok, t, best)
    return best


def _ring(x: Tensor, y: Tensor, repeat: Tensor) -> Tensor:
    radius = x * x + y * y
    spoke = ((torch.atan2(y, x) * repeat / 6.2832) % 1.0) < 0.09
    return (radius <= 1) & ((radius > 0.74) | spoke | (radius < 0.02))


#: Where each cut-out has substance, for x, y in [-1, 1] and its repeat count.
_MASKS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
    lambda x, y, n: torch.ones_like(x, dtype=torch.bool),
    lambda x, y, n: x * x + y * y <= 1,
    lambda x, y, n: (clumps(x, y, x * y, n) > 0.05) & (x * x + y * y <= 1),
    lambda x, y, n: ~((x.abs() < 0.55) & ((y < 0.1) | (x * x + (y - 0.1) ** 2 < 0.3))),
    _ring,
    lambda x, y, n: (((x * n) % 1.0) < 0.22) | ((y.abs() - 0.75).abs() < 0.06),
    lambda x, y, n: (((x * n) % 1.0) < 0.12) | (((y * n) % 1.0) < 0.12),
    lambda x, y, n: x.abs() < 0.5 * (1 - y * y),
)


def card(o: Triple, d: Triple, mask: int, repeat: Tensor) -> Tensor:
    """The rectangle |x|, |y| ≤ 1 at z = 0 with cut-out number ``mask`` of ``CARD_MASKS``."""
    safe = torch.where(d[2].abs() < 1e-12, torch.full_like(d[2], 1e-12), d[2])
    t = -o[2] / safe
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    ok = (t > NEAR) & (x.abs() <= 1) & (y.abs() <= 1) & _MASKS[mask](x, y, repeat)
    return torch.where(ok, t, torch.full_like(t, INF))
