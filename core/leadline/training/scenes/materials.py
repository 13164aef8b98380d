"""Procedural surface colour: every material is a pattern with three colours, a scale, dirt, gloss and glow.

Coordinates are metres on the surface, so bricks have the size of bricks. Patterns fade to their mean where a pixel covers
more than they can show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from .noise import CLOUD, FINE, RIDGE, SMOOTH, hashed, noise


class Pattern(IntEnum):
    """What is painted on the surface. ``a``, ``b``, ``c`` are the material's colours."""

    PLAIN = 0
    CLOUDY = 1  # a to b by large soft noise, spots of c
    SPECKLE = 2  # fine grain of a and b, flecks of c: terrazzo, granite, gravel, grass
    WOOD = 3  # stretched grain
    BRICK = 4  # a and b bricks, c mortar; aspect 1:3
    TILE = 5  # squares of a and b, c joints
    CHECKER = 6
    STRIPES = 7  # stripes of a, b with thin c lines
    TEXT = 8  # lines of word-like dashes (b) on a, with a headline bar of c
    POSTER = 9  # blocks and blobs in three colours, like packaging or a picture
    BOOKS = 10  # upright spines in random colours and heights
    WINDOWS = 11  # facade: wall a (with fine brick), windows b with frames c
    ROAD = 12  # asphalt a with markings b along the centre and the edges
    PLAID = 13  # crossing bands, woven cloth
    FLOWERS = 14  # motifs on a grid, jittered
    PLANKS = 15  # boards with joints and grain
    MARBLE = 16  # ridges
    PANELS = 17  # large panels with joints, handles: cupboards, doors, container walls
    PERFORATED = 18  # holes on a grid
    PHOTO = 19  # a smooth colourful picture


@dataclass
class Material:
    """One material; colours are linear-light RGB in 0..1, lengths in metres."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]
    c: tuple[float, float, float]
    pattern: Pattern = Pattern.PLAIN
    scale: float = 0.3
    angle: float = 0.0
    dirt: float = 0.15
    dirt_scale: float = 0.5
    gloss: float = 0.0
    glow: float = 0.0
    bump: float = 0.0
    salt: float = 0.0
    extra: float = 0.0  # WINDOWS: share of the bay that is glass; BOOKS: shelf height; ROAD: half width


@dataclass
class Materials:
    """The materials of one scene; :meth:`add` returns the index to give to a primitive."""

    rows: list[Material] = field(default_factory=list)

    def add(self, material: Material) -> int:
        """Stores ``material``."""
        self.rows.append(material)
        return len(self.rows) - 1

    def table(self, device: torch.device) -> Tensor:
        """(M, 20) float32: a, b, c, pattern, scale, angle, dirt, dirt_scale, gloss, glow, bump, salt, extra, 0."""
        rows = [
            [*m.a, *m.b, *m.c, float(m.pattern), m.scale, m.angle, m.dirt, m.dirt_scale, m.gloss, m.glow, m.bump, m.salt, m.extra, 0.0]
            for m in self.rows
        ]
        return torch.from_numpy(np.array(rows, dtype=np.float32)).to(device)


def _step(x: Tensor, blur: Tensor) -> Tensor:
    """0 below, 1 above zero, over a width of ``blur``."""
    return (x / blur.clamp(min=1e-5) + 0.5).clamp(0, 1)


def _mix(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    return a + (b - a) * w


def _random_colour(i: Tensor, j: Tensor, salt: Tensor) -> Tensor:
    """(3, N): dark, bright, pale and saturated colours alike."""
    hue, tone, purity = hashed(i, j, salt + 11) * 6, hashed(i, j, salt + 12), hashed(i, j, salt + 13) ** 0.8
    wheel = torch.stack([(((hue + k) % 6) - 3).abs() - 1 for k in (0.0, 4.0, 2.0)]).clamp(0, 1)
    return (0.03 + 0.87 * tone) * (1 - purity * (1 - wheel))


def _paint(kind: int, u: Tensor, v: Tensor, p: Tensor, foot: Tensor) -> Tensor:
    """Colour (3, N) of pattern ``kind`` at surface metres (u, v); ``p`` (18, N) parameters, ``foot`` metres per pixel."""
    a, b, c, s, salt, extra = p[0:3], p[3:6], p[6:9], p[10], p[17], p[18]
    shift = salt * 0.137
    fade = (s / (2.2 * foot)).clamp(0, 1)
    if kind == Pattern.CLOUDY:
        n = noise(u / s / 6 + shift, v / s / 6 + 0.31 * shift)
        colour = _mix(a, b, (0.5 + 0.9 * n[CLOUD]).clamp(0, 1))
        return _mix(colour, c, _step(n[5] - 0.45, torch.full_like(s, 0.2)) * 0.8)
    if kind == Pattern.SPECKLE:
        n = noise(u / s / 60 + shift, v / s / 60 + 0.77 * shift)
        colour = _mix(a, b, (0.5 + 0.7 * fade * n[FINE] + 0.3 * n[CLOUD]).clamp(0, 1))
        return _mix(colour, c, _step(n[6] - 0.42, torch.full_like(s, 0.15)) * fade)
    if kind in (Pattern.WOOD, Pattern.PLANKS):
        if kind == Pattern.PLANKS:
            board = torch.floor(v / s)
            u, dv = u + 3.1 * hashed(board, board * 0, salt), (v / s - board)
            tone = 0.55 + 0.6 * hashed(board, torch.floor(u / (s * 9)), salt)
            joint = 1 - _step(torch.minimum(dv, 1 - dv) * s - 0.004, foot) * 0.6
            joint = joint * fade
            n = noise(u / 4 + hashed(board, board, salt + 5), v / 0.6 + shift)
        else:
            n = noise(u / (s * 14) + shift, v / (s * 1.6) + 0.4 * shift)
            tone, joint = torch.ones_like(u), torch.zeros_like(u)
        grain = (0.5 + 0.6 * n[CLOUD] + 0.35 * torch.sin(n[SMOOTH] * 24) * (0.03 * s / foot).clamp(0, 1)).clamp(0, 1)
        return _mix(_mix(a, b, grain) * tone, c, (joint - 0.4 * fade).clamp(0, 1))
    if kind == Pattern.BRICK:
        row = torch.floor(v / (s * 0.36))
        x = u / s + 0.5 * (row % 2)
        column = torch.floor(x)
        fx, fy = (x - column) * s, (v / (s * 0.36) - row) * s * 0.36
        edge = torch.minimum(torch.minimum(fx, s - fx), torch.minimum(fy, 0.36 * s - fy))
        h = hashed(column, row, salt)
        colour = _mix(a, b, _mix(torch.full_like(h, 0.5), h, fade)) * (1 + 0.4 * fade * (hashed(column, row, salt + 3) - 0.5))
        return _mix(colour, c, (1 - _step(edge - 0.03 * s, foot)) * fade + 0.15 * (1 - fade))
    if kind in (Pattern.TILE, Pattern.PANELS, Pattern.CHECKER):
        tall = torch.where(extra > 0, extra, torch.ones_like(extra)) if kind == Pattern.PANELS else torch.ones_like(s)
        column, row = torch.floor(u / s), torch.floor(v / (s * tall))
        fx, fy = u - column * s, v - row * s * tall
        edge = torch.minimum(torch.minimum(fx, s - fx), torch.minimum(fy, s * tall - fy))
        if kind == Pattern.CHECKER:
            return _mix(a, b, _mix(torch.full_like(s, 0.5), (column + row) % 2, fade))
        h = hashed(column, row, salt)
        colour = _mix(a, b, h * fade) if kind == Pattern.TILE else a * (1 + 0.2 * (h - 0.5))
        colour = _mix(colour, c, (1 - _step(edge - 0.018 * s, foot)) * fade)
        if kind == Pattern.PANELS:
            handle = ((fx - 0.86 * s).abs() < 0.02 * s) & ((fy - 0.5 * s * tall).abs() < 0.1 * s)
            colour = torch.where(handle[None], b, colour)
        return colour
    if kind == Pattern.STRIPES:
        x = u / s
        colour = _mix(a, b, _mix(torch.full_like(s, 0.5), _step(((x % 1.0) - 0.5).abs() * s - 0.25 * s, foot), fade))
        return _mix(colour, c, (1 - _step((((x * 2) % 1.0) - 0.5).abs() * s - 0.06 * s, foot)) * fade)
    if kind == Pattern.TEXT:
        row = torch.floor(v / s)
        fy = v / s - row
        glyph = torch.floor(u / (s * 0.55))
        word = hashed(torch.floor(u / (s * 3.1) + hashed(row, row, salt)), row, salt)
        ink = (hashed(glyph, row, salt + 1) > 0.25) & (fy > 0.25) & (fy < 0.8) & (word > 0.3)
        ink = ink & (hashed(torch.floor(u / (s * 0.13)), torch.floor(v / (s * 0.13)), salt + 2) > 0.3)
        big = hashed(torch.floor(row / 5), row * 0, salt + 4) > 0.6
        banner = big & (hashed(torch.floor(u / (s * 2.2)), torch.floor(row / 5), salt + 6) > 0.35) & ((v / (5 * s)) % 1.0 > 0.25)
        colour = _mix(a, b, ink.float() * fade + 0.25 * (1 - fade))
        return torch.where(banner[None], c, colour)
    if kind == Pattern.POSTER:
        n = noise(u / s / 3 + shift, v / s / 3 + shift * 0.6)
        size = 0.25 + 0.75 * hashed(torch.floor(u / s), torch.floor(v / s), salt)
        cell_u, cell_v = torch.floor(u / s / size), torch.floor(v / (s * 0.7) / size)
        colour = _random_colour(cell_u, cell_v, salt)
        own = hashed(cell_u, cell_v, salt + 21)
        colour = torch.where(own[None] < 0.3, a, torch.where(own[None] < 0.5, b, torch.where(own[None] < 0.62, c, colour)))
        shape = _step(n[CLOUD] - 0.25, torch.full_like(s, 0.03))
        colour = _mix(colour, _random_colour(cell_u * 0, cell_v * 0, salt + 31), shape)
        small = hashed(torch.floor(u / (s * 0.09)), torch.floor(v / (s * 0.045)), salt + 2)
        ink = (small > 0.55) & (hashed(cell_u, torch.floor(v / (s * 0.09)), salt + 7) > 0.55)
        return torch.where(ink[None], _mix(colour, b, fade * 0.9), colour)
    if kind == Pattern.BOOKS:
        shelf = torch.floor(v / extra.clamp(min=0.1))
        fy = v / extra.clamp(min=0.1) - shelf
        x = u / s + hashed(shelf, shelf, salt) * 7
        pair = torch.floor(x)
        cut = 0.3 + 0.4 * hashed(pair, shelf, salt)
        spine = 2 * pair + ((x - pair) > cut).float()
        tall = 0.72 + 0.28 * hashed(spine, shelf, salt + 1)
        colour = _random_colour(spine, shelf, salt)
        label = ((fy / tall - 0.3 - 0.4 * hashed(spine, shelf, salt + 2)).abs() < 0.08) & (hashed(spine, shelf, salt + 3) > 0.4)
        colour = torch.where(label[None], c, colour)
        gap = hashed(torch.floor(spine / 5), shelf, salt + 9) > 0.93
        dark = (fy > tall) | gap
        return torch.where(dark[None], a * 0.25, colour)
    if kind == Pattern.WINDOWS:
        bay, floor = s, s * (0.9 + 0.5 * hashed(salt * 0, salt * 0, salt))
        column, row = torch.floor(u / bay), torch.floor(v / floor)
        fx, fy = (u / bay - column - 0.5).abs() * 2, (v / floor - row - 0.5).abs() * 2
        share = extra.clamp(0.2, 0.95)
        n = noise(u / 3 + shift, v / 3 + shift)
        wall = a * (1 + 0.25 * n[FINE] * (0.05 / foot).clamp(0, 1) + 0.2 * n[CLOUD])
        line = _step((torch.minimum(v - row * floor, (row + 1) * floor - v)) - 0.09, foot)
        wall = _mix(c, wall, line * 0.6 + 0.4)
        h = hashed(column, row, salt + 1)
        glass = _mix(b * (0.25 + 0.9 * h), c * 0.9, _step((fy * 0.5 + 0.5) - (1.6 - 1.2 * hashed(column, row, salt + 2)), 0.02 + foot))
        glass = glass + 0.25 * (n[SMOOTH] + 0.3).clamp(min=0) * torch.tensor([[0.7], [0.85], [1.0]], device=u.device)
        in_glass = torch.minimum(share - fx, share + 0.1 - fy) * bay / 2
        pane = torch.minimum(in_glass, (fx * bay / 2 - 0.02))
        colour = _mix(wall, c, _step(in_glass + 0.07, foot))
        return _mix(colour, glass, _step(pane, foot))
    if kind == Pattern.ROAD:
        n = noise(u / 0.8 + shift, v / 0.8)
        wide = noise(u / 9 + shift, v / 30)
        colour = a * (1 + 0.35 * n[FINE] * (0.02 / foot).clamp(0, 1) + 0.3 * wide[CLOUD])
        colour = colour * (1 - 0.5 * _step(wide[RIDGE] - 0.86, torch.full_like(s, 0.06)))
        dash = (v % 9.0) < 4.5
        centre = _step(0.08 - u.abs(), foot) * dash
        side = _step(0.07 - (u.abs() - extra + 0.35).abs(), foot)
        worn = (0.75 + 0.5 * n[CLOUD]).clamp(0, 1)
        return _mix(colour, b, torch.maximum(centre, side) * worn)
    if kind == Pattern.PLAID:
        wu = (hashed(torch.floor(u / s * 3), salt * 0, salt) + hashed(torch.floor(u / s * 11), salt * 0, salt + 2)) / 2
        wv = (hashed(torch.floor(v / s * 3), salt * 0, salt + 1) + hashed(torch.floor(v / s * 11), salt * 0, salt + 3)) / 2
        return _mix(_mix(a, b, wu), c, wv * 0.6) * (1 + 0.15 * fade * noise(u / s * 3, v / s * 3)[FINE])
    if kind == Pattern.FLOWERS:
        column, row = torch.floor(u / s), torch.floor(v / s)
        dx = u / s - column - 0.3 - 0.4 * hashed(column, row, salt)
        dy = v / s - row - 0.3 - 0.4 * hashed(column, row, salt + 1)
        radius = torch.sqrt(dx * dx + dy * dy)
        petals = 0.2 + 0.08 * torch.sin(torch.atan2(dy, dx) * 5 + 6 * hashed(column, row, salt + 2))
        ring = _mix(b, c, hashed(column, row, salt + 3))
        colour = _mix(a, ring, _step(petals - radius, 0.04 + foot / s) * fade)
        n = noise(u / s / 2.5 + shift, v / s / 2.5)
        return _mix(colour, c, _step(n[RIDGE] - 0.42, torch.full_like(s, 0.1)) * 0.6)
    if kind == Pattern.MARBLE:
        n = noise(u / s / 3 + shift, v / s / 3 + shift)
        return _mix(_mix(a, b, 0.5 + 0.5 * n[CLOUD]), c, _step(n[RIDGE] - 0.4, torch.full_like(s, 0.25)) * 0.8)
    if kind == Pattern.PERFORATED:
        dx, dy = (u / s) % 1.0 - 0.5, (v / s) % 1.0 - 0.5
        hole = _step(0.26 - torch.sqrt(dx * dx + dy * dy), foot / s)
        return _mix(a, b * 0.3, hole * fade)
    if kind == Pattern.PHOTO:
        n = noise(u / s / 2 + shift, v / s / 2 + shift * 1.7)
        colour = _mix(_mix(a, b, (0.5 + n[SMOOTH]).clamp(0, 1)), c, (0.5 + 1.2 * n[4]).clamp(0, 1))
        return colour * (1 + 0.5 * n[FINE] * fade) * (0.6 + 0.8 * (0.5 + n[CLOUD]).clamp(0, 1))
    return a.clone()


def albedo(u: Tensor, v: Tensor, parameters: Tensor, foot: Tensor) -> Tensor:
    """Reflectance (3, N) in 0..1 at surface metres (u, v) (N,), for gathered material rows (N, 20)."""
    p = parameters.t().contiguous()
    cosine, sine = torch.cos(p[11]), torch.sin(p[11])
    u, v = cosine * u - sine * v, sine * u + cosine * v
    colour = p[0:3].clone()
    for kind in torch.unique(p[9]).tolist():
        if int(kind) == Pattern.PLAIN:
            continue
        rows = (p[9] == kind).nonzero()[:, 0]
        colour[:, rows] = _paint(int(kind), u[rows], v[rows], p[:, rows], foot[rows])
    n = noise(u / p[13] / 4 + p[17] * 0.71, v / p[13] / 4 + p[17] * 0.37, slice(0, 8))
    grain = (0.06 * p[13] / foot).clamp(0, 1)
    stain = 0.8 * n[CLOUD] + 0.35 * n[FINE] * grain + 0.4 * (n[SMOOTH] - 0.2)
    tint = torch.stack([0.2 * n[4], 0.1 * n[5], 0.25 * n[6]])
    return (colour * (1 + p[12] * (stain + tint))).clamp(0.008, 0.95)
