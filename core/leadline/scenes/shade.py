"""From hits to colour: surface coordinates, normals, materials, one shadowed light, soft light, ambient occlusion, sky."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .cast import Solids, occluded
from .materials import BUMP, GLOSS, GLOW, SCALE, albedo
from .noise import CLOUD, SMOOTH, noise
from .scene import Light
from .tuned import RENDER
from .world import Kind


def unit(x: Tensor) -> Tensor:
    """Vectors (3, ...) scaled to length 1; component sums are several times faster here than a norm over axis 0."""
    return x * torch.rsqrt((x[0] * x[0] + x[1] * x[1] + x[2] * x[2]).clamp(min=1e-20))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product of vectors (3, ...)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@dataclass
class Surface:
    """What each hit pixel shows; N hits."""

    point: Tensor  # (3, N) world metres
    normal: Tensor  # (3, N) unit, towards the viewer
    u: Tensor  # (N,) metres
    v: Tensor
    row: Tensor  # (N, 19) material parameters


def surface(solids: Solids, table: Tensor, owner: Tensor, point: Tensor, view: Tensor) -> Surface:
    """Normals and surface coordinates of hit ``point`` (3, N) on primitives ``owner`` (N,), seen along ``view`` (3, N)."""
    kind, half = solids.kind[owner], solids.half[owner].t()
    turn = solids.rotation[owner].reshape(-1, 9).t().contiguous()
    rel = point - solids.centre[owner].t()
    q = torch.stack([turn[a] * rel[0] + turn[3 + a] * rel[1] + turn[6 + a] * rel[2] for a in range(3)])  # local metres
    inside = q / half
    size = inside.abs()
    card = kind == Kind.CARD
    axis = torch.where(
        card,
        torch.full_like(owner, 2),
        torch.where((size[0] >= size[1]) & (size[0] >= size[2]), 0, torch.where(size[1] >= size[2], 1, 2)),
    )
    signs = torch.where(inside >= 0, 1.0, -1.0)
    normal = torch.zeros_like(q)
    normal.scatter_(0, axis[None], signs.gather(0, axis[None]))
    # faces of a box: two of the three coordinates, the upright one as v
    u = torch.where(axis == 0, q[1], q[0])
    v = torch.where(axis == 2, q[1], q[2])
    u = torch.where(card, q[0], u)
    v = torch.where(card, q[1], v)
    round_ = ((kind == Kind.BALL) | (kind == Kind.LEAVES)).nonzero()[:, 0]
    if len(round_):
        d = inside[:, round_]
        n = d / half[:, round_]
        normal[:, round_] = n
        mean = half[0, round_]
        u[round_] = torch.atan2(d[1], d[0]) * mean
        v[round_] = torch.asin(d[2].clamp(-1, 1)) * half[2, round_]
    tube = (kind == Kind.TUBE).nonzero()[:, 0]
    if len(tube):
        d, h, taper = inside[:, tube], half[:, tube], solids.aux[owner[tube], 0]
        cap = (d[2].abs() > 0.9995) & (d[0] ** 2 + d[1] ** 2 < (1 + taper * d[2]) ** 2 * 0.999)
        side = torch.stack([d[0], d[1], -taper * h[0] / h[2] * (1 + taper * d[2])])
        flat = torch.stack([torch.zeros_like(d[2]), torch.zeros_like(d[2]), torch.sign(d[2])])
        normal[:, tube] = torch.where(cap[None], flat, side)
        u[tube] = torch.where(cap, q[0, tube], torch.atan2(d[1], d[0]) * h[0])
        v[tube] = torch.where(cap, q[1, tube], q[2, tube])
    row = table[solids.material[owner]]
    salt = (owner.to(torch.float32) * 0.618) % 1.0  # equal furniture does not wear equal stains
    u = u + axis * 0.37 * row[:, SCALE] * (kind == Kind.BOX)
    world = torch.stack(
        [turn[3 * a] * normal[0] + turn[3 * a + 1] * normal[1] + turn[3 * a + 2] * normal[2] for a in range(3)]
    )
    world = unit(world)
    leafy = (kind == Kind.LEAVES).nonzero()[:, 0]
    if len(leafy):
        wild = noise(u[leafy] * 1.3, v[leafy] * 1.3, slice(4, 7))
        world[:, leafy] = unit(world[:, leafy] + 1.6 * wild)
    bumpy = (row[:, BUMP] > 0).nonzero()[:, 0]
    if len(bumpy):
        p, strength = point[:, bumpy], row[bumpy, BUMP]
        wide = row[bumpy, SCALE] * 3
        wild = noise((p[0] + 0.5 * p[2]) / wide + salt[bumpy], (p[1] + 0.7 * p[2]) / wide, slice(4, 7))
        world[:, bumpy] = unit(world[:, bumpy] + strength * wild)
    facing = dot(world, view)
    world = torch.where(facing[None] > 0, -world, world)
    return Surface(point, world, u, v, row)


def _blurred(x: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    return F.avg_pool2d(x[None, None], size, 1, radius, count_include_pad=False)[0, 0]


def ambient_occlusion(depth: Tensor, hit: Tensor, normal: Tensor, rays: Tensor, focal: float) -> Tensor:
    """Openness (H, W) in 0..1 from the depth picture itself: neighbours in front of the tangent plane take light away.

    ``depth`` z (H, W), ``hit`` bool, ``normal`` world (3, H, W), ``rays`` world directions (3, H, W).
    """
    width = depth.shape[1]
    z = torch.where(hit, depth, torch.full_like(depth, 1e4))
    point = rays * z
    total = torch.zeros_like(depth)
    taps = 0
    for radius in (max(2, width // 160), max(4, width // 55), max(9, width // 20)):
        for dx, dy in (
            ((1, 0), (-1, 0), (0, 1), (0, -1)) if radius < width // 30 else ((1, 1), (-1, 1), (1, -1), (-1, -1))
        ):
            shifted = torch.roll(point, (dy * radius, dx * radius), (1, 2))
            delta = shifted - point
            square = dot(delta, delta)
            lift = dot(delta, normal)
            wide = (1.5 * radius / focal * z) ** 2
            total += (lift / (square + 1e-8).sqrt() - 0.12).clamp(min=0) * (1 - square / (6 * wide)).clamp(min=0)
            taps += 1
    return (1 - 1.5 * total / taps).clamp(0.15, 1)


def _through_window(
    window: tuple[float, float, float, float, float], start: Tensor, towards: Tensor
) -> tuple[Tensor, Tensor]:
    """Which sun rays (3, H, W) leave the room through ``window``, and how far they run to it (just short of the wall)."""
    wall, y0, y1, z0, z1 = window
    slope = torch.where(towards[0].abs() < 1e-6, torch.full_like(towards[0], 1e-6), towards[0])
    t = (wall - start[0]) / slope
    y, z = start[1] + t * towards[1], start[2] + t * towards[2]
    bar = (((y - y0) / (y1 - y0) * 2) % 1.0 > 0.06) & (((z - z0) / (z1 - z0) * 2) % 1.0 > 0.05)
    return (t > 0) & (y > y0) & (y < y1) & (z > z0) & (z < z1) & bar, t * 0.97 - 0.15


def shadow(solids: Solids, light: Light, point: Tensor, normal: Tensor, hit: Tensor) -> Tensor:
    """Share of the main light that arrives, (H, W), computed at half resolution in small groups of pixels."""
    _, height, width = point.shape
    device = point.device
    p, n, ok = point[:, ::2, ::2], normal[:, ::2, ::2], hit[::2, ::2]
    group = RENDER.shadow_group
    rows, columns = p.shape[1] // group, p.shape[2] // group
    jitter = noise(
        torch.arange(p.shape[1] * p.shape[2], device=device) * 0.6180339,
        torch.arange(p.shape[1] * p.shape[2], device=device) * 0.7548776,
        slice(4, 7),
    ).reshape(3, p.shape[1], p.shape[2])
    target = torch.tensor(light.position, device=device, dtype=torch.float32).view(3, 1, 1)
    towards = unit(target).expand_as(p) if light.sun else target - p
    faces = dot(n, towards) > 0
    start = p + n * (2e-3 + 1e-3 * p.abs().amax(0))
    towards = towards + jitter * light.size * 2

    def grouped(x: Tensor) -> Tensor:
        lead = x.shape[:-2]
        x = x.reshape(*lead, rows, group, columns, group).transpose(-3, -2)
        return x.reshape(*lead, rows * columns, group * group)

    usable = ok & faces
    distance = torch.full_like(p[0], 1e6 if light.sun else 0.98)
    inside = torch.ones_like(usable)
    if light.sun and light.window is not None:
        inside, distance = _through_window(light.window, start, towards)
        usable = usable & inside
    if light.sun:
        slope = (target[:2] / target[2]).view(2, 1)

        def project(x: Tensor) -> Tensor:
            flat = x.reshape(3, -1)
            return (flat[:2] - slope * flat[2]).reshape(2, *x.shape[1:])
    else:
        usable = usable & (p[2] < target[2] - 0.02)

        def project(x: Tensor) -> Tensor:
            flat, lamp = x.reshape(3, -1), target.view(3, 1)
            drop = (lamp[2] - flat[2]).clamp(min=0.02)
            return ((flat[:2] - lamp[:2]) / drop).reshape(2, *x.shape[1:])

    corners = project(solids.corners.permute(2, 0, 1))  # (2, P, 8)
    margin = 0.03 if light.sun else 0.01
    rectangles = torch.cat([corners.amin(2) - margin, corners.amax(2) + margin]).t()
    glowing_lamp_shell = torch.zeros(len(rectangles), dtype=torch.bool, device=device)
    if not light.sun:  # what is wholly above the lamp or wraps it casts nothing
        bottom = solids.corners[:, :, 2].amin(1)
        near = (solids.centre - target.view(1, 3)).norm(dim=1) < 0.25
        glowing_lamp_shell = near | (bottom > float(target[2]) - 0.02)
        rectangles[glowing_lamp_shell] = rectangles.new_tensor([1e9, 1e9, -1e9, -1e9])
    blocked = occluded(
        solids, rectangles, grouped(start), grouped(towards), grouped(distance), grouped(project(p)), grouped(usable)
    )
    lit = (~blocked).float().reshape(rows, columns, group, group).transpose(1, 2).reshape(
        p.shape[1], p.shape[2]
    ) * inside
    lit = _blurred(_blurred(lit, 1), 2 if light.size > 0.04 else 1)
    return F.interpolate(lit[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]


def sky(light: Light, view: Tensor) -> Tensor:
    """Colour (3, N) of the sky in directions ``view`` (3, N)."""
    d = unit(view)
    up = d[2].clamp(min=0)
    device = view.device
    zenith, horizon, sun = (
        torch.tensor(c, device=device).view(3, 1) for c in (light.zenith, light.horizon, light.colour)
    )
    colour = horizon + (zenith - horizon) * up.clamp(0, 1) ** 0.45
    flat = 1.0 / (up + 0.12)
    n = noise(d[0] * flat * 0.07 + light.cloud, d[1] * flat * 0.07, slice(0, 8))
    cover = ((n[CLOUD] + 0.5 * n[SMOOTH] + light.cloud * 1.3 - 0.75) * 2.2).clamp(0, 1)
    white = (horizon.mean() * 1.1 + 0.25 * n[4]).clamp(min=0.05)
    colour = colour + (white - colour) * cover * 0.85
    if light.sun:
        towards = unit(torch.tensor(light.position, device=device))
        glow = dot(towards.view(3, 1), d).clamp(0, 1)
        colour = colour + sun * (0.35 * glow**6 + 3 * glow**300)
    return colour


def lit_colour(s: Surface, light: Light, view: Tensor, openness: Tensor, arriving: Tensor, foot: Tensor) -> Tensor:
    """Radiance (3, N) leaving each surface point towards the viewer."""
    device = view.device

    def colour3(c: tuple[float, float, float]) -> Tensor:
        return torch.tensor(c, device=device).view(3, 1)

    base = albedo(s.u, s.v, s.row, foot)
    gloss, glow = s.row[:, GLOSS], s.row[:, GLOW]
    target = torch.tensor(light.position, device=device, dtype=torch.float32).view(3, 1)
    if light.sun:
        towards, power = unit(target).expand_as(s.point), torch.ones_like(gloss)
    else:
        offset = target - s.point
        square = dot(offset, offset)
        towards, power = offset / square.sqrt(), 1 / (0.3 + 0.35 * square)
    main = colour3(light.colour) * light.strength * power * arriving
    tilt = 0.5 + 0.5 * s.normal[2]
    soft = (colour3(light.below) + (colour3(light.above) - colour3(light.below)) * tilt) * openness
    received = main * dot(s.normal, towards).clamp(min=0) + soft
    for position, tint, span in light.fills:
        offset = torch.tensor(position, device=device).view(3, 1) - s.point
        square = dot(offset, offset) + 1e-4
        wrapped = (0.35 + 0.65 * dot(s.normal, offset) / square.sqrt()).clamp(min=0)
        received = received + colour3(tint) * wrapped * openness / (1 + square / span**2)
    seen = unit(view)
    mirror = seen - 2 * dot(seen, s.normal) * s.normal
    shine = 12 + 180 * gloss**2
    spot = dot(mirror, towards).clamp(min=1e-4) ** shine * gloss * 1.6
    rim = (1 - dot(seen, s.normal).abs()).clamp(0, 1) ** 4
    around = noise(mirror[0] * 0.15 + 0.3, mirror[2] * 0.2 + 0.1, slice(0, 4))[SMOOTH]
    reflected = soft * (0.7 + around + 0.8 * mirror[2].clamp(min=0)).clamp(min=0)
    colour = base * received + main * spot + reflected * gloss * (0.12 + 0.7 * rim)
    return colour + glow * base
