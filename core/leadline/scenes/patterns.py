"""What is painted on surfaces: one small function per pattern, from surface metres to colour.

Every function takes a :class:`Spot` (N surface points with their materials' numbers) and returns colour (3, N). Patterns fade to
their mean where one pixel covers more than they can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from .noise import CLOUD, FINE, RIDGE, SMOOTH, hashed, noise


class Pattern(IntEnum):
    """The patterns; ``a``, ``b``, ``c`` in their descriptions are the material's three colours."""

    PLAIN = 0
    CLOUDY = 1
    SPECKLE = 2
    WOOD = 3
    BRICK = 4
    TILE = 5
    CHECKER = 6
    STRIPES = 7
    TEXT = 8
    POSTER = 9
    BOOKS = 10
    WINDOWS = 11
    ROAD = 12
    PLAID = 13
    FLOWERS = 14
    PLANKS = 15
    MARBLE = 16
    PANELS = 17
    PERFORATED = 18
    PHOTO = 19


@dataclass
class Spot:
    """N surface points. Colours (3, N), the rest (N,); lengths in metres."""

    u: Tensor
    v: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    scale: Tensor
    salt: Tensor  # a whole number per material; feeds the hashes
    extra: Tensor
    foot: Tensor  # metres of surface that one pixel covers

    @property
    def fade(self) -> Tensor:
        """1 where the pattern can be resolved, towards 0 where it cannot."""
        return (self.scale / (2.2 * self.foot)).clamp(0, 1)

    def noise(self, periods: float | Tensor, stretch: float = 1.0) -> Tensor:
        """All noise channels (C, N), one atlas period per ``periods`` metres (times ``stretch`` across)."""
        shift = self.salt * 0.137
        return noise(self.u / periods + shift, self.v / (periods * stretch) + 0.61 * shift)


def _step(x: Tensor, blur: Tensor | float) -> Tensor:
    """0 below, 1 above zero, over a width of ``blur``."""
    wide = blur.clamp(min=1e-5) if isinstance(blur, Tensor) else blur
    return (x / wide + 0.5).clamp(0, 1)


def _mix(a: Tensor, b: Tensor, w: Tensor | float) -> Tensor:
    return a + (b - a) * w


def _grid(x: Tensor, y: Tensor, w: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column and row of the w × h cell at (x, y) metres, and the distance to the cell's nearest edge in metres."""
    column, row = torch.floor(x / w), torch.floor(y / h)
    fx, fy = x - column * w, y - row * h
    return column, row, torch.minimum(torch.minimum(fx, w - fx), torch.minimum(fy, h - fy))


def _random_colour(i: Tensor, j: Tensor, salt: Tensor) -> Tensor:
    """(3, N): dark, bright, pale and saturated colours alike."""
    hue, tone, purity = hashed(i, j, salt + 11) * 6, hashed(i, j, salt + 12), hashed(i, j, salt + 13) ** 1.3
    wheel = torch.stack([(((hue + k) % 6) - 3).abs() - 1 for k in (0.0, 4.0, 2.0)]).clamp(0, 1)
    return (0.03 + 0.87 * tone) * (1 - purity * (1 - wheel))


def _cloudy(p: Spot) -> Tensor:
    """a to b by large soft noise, spots of c: plaster, stone, fur."""
    n = p.noise(p.scale * 6)
    return _mix(_mix(p.a, p.b, (0.5 + 0.9 * n[CLOUD]).clamp(0, 1)), p.c, _step(n[5] - 0.45, 0.2) * 0.8)


def _speckle(p: Spot) -> Tensor:
    """Fine grain of a and b, flecks of c: terrazzo, gravel, grass, carpet."""
    n = p.noise(p.scale * 60)
    grain = (0.5 + 0.7 * p.fade * n[FINE] + 0.3 * n[CLOUD]).clamp(0, 1)
    return _mix(_mix(p.a, p.b, grain), p.c, _step(n[6] - 0.42, 0.15) * p.fade)


def _grain(p: Spot, n: Tensor) -> Tensor:
    rings = torch.sin(n[SMOOTH] * 24) * (0.03 * p.scale / p.foot).clamp(0, 1)
    return _mix(p.a, p.b, (0.5 + 0.6 * n[CLOUD] + 0.35 * rings).clamp(0, 1))


def _wood(p: Spot) -> Tensor:
    """Grain of a and b, stretched along u."""
    return _grain(p, p.noise(p.scale * 14, 0.115))


def _planks(p: Spot) -> Tensor:
    """Boards of width ``scale`` along u, each with its own tone, joints of c."""
    board = torch.floor(p.v / p.scale)
    across = p.v / p.scale - board
    along = p.u + 3.1 * hashed(board, board, p.salt)
    tone = 0.55 + 0.6 * hashed(board, torch.floor(along / (p.scale * 9)), p.salt)
    n = noise(along / 4 + hashed(board, board, p.salt + 5), p.v / 0.6 + p.salt * 0.137)
    joint = 1 - _step(torch.minimum(across, 1 - across) * p.scale - 0.004, p.foot)
    return _mix(_grain(p, n) * tone, p.c, joint * 0.7 * p.fade)


def _brick(p: Spot) -> Tensor:
    """Bricks of a and b, ``scale`` long and a third as high, mortar c."""
    high = p.scale * 0.36
    row = torch.floor(p.v / high)
    column, row, edge = _grid(p.u + 0.5 * (row % 2) * p.scale, p.v, p.scale, high)
    which = _mix(torch.full_like(p.u, 0.5), hashed(column, row, p.salt), p.fade)
    colour = _mix(p.a, p.b, which) * (1 + 0.4 * p.fade * (hashed(column, row, p.salt + 3) - 0.5))
    return _mix(colour, p.c, (1 - _step(edge - 0.03 * p.scale, p.foot)) * p.fade + 0.15 * (1 - p.fade))


def _tile(p: Spot) -> Tensor:
    """Squares between a and b, joints of c."""
    column, row, edge = _grid(p.u, p.v, p.scale, p.scale)
    colour = _mix(p.a, p.b, hashed(column, row, p.salt) * p.fade)
    return _mix(colour, p.c, (1 - _step(edge - 0.018 * p.scale, p.foot)) * p.fade)


def _checker(p: Spot) -> Tensor:
    """A chess board of a and b."""
    dark = (torch.floor(p.u / p.scale) + torch.floor(p.v / p.scale)) % 2
    return _mix(p.a, p.b, _mix(torch.full_like(p.u, 0.5), dark, p.fade))


def _panels(p: Spot) -> Tensor:
    """Panels of a, ``extra`` times as high as wide, joints c, handles b: cupboards, lockers, containers."""
    high = p.scale * torch.where(p.extra > 0, p.extra, torch.ones_like(p.extra))
    column, row, edge = _grid(p.u, p.v, p.scale, high)
    colour = p.a * (1 + 0.2 * (hashed(column, row, p.salt) - 0.5))
    colour = _mix(colour, p.c, (1 - _step(edge - 0.018 * p.scale, p.foot)) * p.fade)
    fx, fy = p.u - column * p.scale, p.v - row * high
    handle = ((fx - 0.86 * p.scale).abs() < 0.02 * p.scale) & ((fy - 0.5 * high).abs() < 0.1 * p.scale)
    return torch.where(handle[None], p.b, colour)


def _stripes(p: Spot) -> Tensor:
    """Stripes of a and b with thin lines of c."""
    wide = _step((((p.u / p.scale) % 1.0) - 0.5).abs() * p.scale - 0.25 * p.scale, p.foot)
    thin = 1 - _step(((((p.u / p.scale) * 2) % 1.0) - 0.5).abs() * p.scale - 0.06 * p.scale, p.foot)
    return _mix(_mix(p.a, p.b, _mix(torch.full_like(p.u, 0.5), wide, p.fade)), p.c, thin * p.fade)


def _text(p: Spot) -> Tensor:
    """Lines of word-like marks (b) on a, with headline bars of c; ``scale`` is the line height."""
    s, salt = p.scale, p.salt
    row = torch.floor(p.v / s)
    height = p.v / s - row
    word = hashed(torch.floor(p.u / (s * 3.1) + hashed(row, row, salt)), row, salt) > 0.3
    glyph = hashed(torch.floor(p.u / (s * 0.55)), row, salt + 1) > 0.25
    stroke = hashed(torch.floor(p.u / (s * 0.13)), torch.floor(p.v / (s * 0.13)), salt + 2) > 0.3
    ink = word & glyph & stroke & (height > 0.25) & (height < 0.8)
    paragraph = torch.floor(row / 5)
    headline = hashed(paragraph, paragraph * 0, salt + 4) > 0.6
    headline = (
        headline & (hashed(torch.floor(p.u / (s * 2.2)), paragraph, salt + 6) > 0.35) & ((p.v / (5 * s)) % 1.0 > 0.25)
    )
    colour = _mix(p.a, p.b, ink.float() * p.fade + 0.25 * (1 - p.fade))
    return torch.where(headline[None], p.c, colour)


def _poster(p: Spot) -> Tensor:
    """Blocks and a blob in many colours with small print: packaging, posters, magazines."""
    s, salt = p.scale, p.salt
    n = p.noise(s * 3)
    size = s * (0.25 + 0.75 * hashed(torch.floor(p.u / s), torch.floor(p.v / s), salt))
    column, row = torch.floor(p.u / size), torch.floor(p.v / (0.7 * size))
    own = hashed(column, row, salt + 21)
    colour = _random_colour(column, row, salt)
    colour = torch.where(
        own[None] < 0.3, p.a, torch.where(own[None] < 0.5, p.b, torch.where(own[None] < 0.62, p.c, colour))
    )
    colour = _mix(colour, _random_colour(column * 0, row * 0, salt + 31), _step(n[CLOUD] - 0.25, 0.03))
    small = hashed(torch.floor(p.u / (s * 0.09)), torch.floor(p.v / (s * 0.045)), salt + 2) > 0.55
    ink = small & (hashed(column, torch.floor(p.v / (s * 0.09)), salt + 7) > 0.55)
    return torch.where(ink[None], _mix(colour, p.b, p.fade * 0.9), colour)


def _books(p: Spot) -> Tensor:
    """Upright spines of all colours and heights, labels of c, gaps; ``extra`` is the height of a shelf."""
    high = p.extra.clamp(min=0.1)
    shelf = torch.floor(p.v / high)
    height = p.v / high - shelf
    x = p.u / p.scale + hashed(shelf, shelf, p.salt) * 7
    pair = torch.floor(x)
    spine = 2 * pair + ((x - pair) > 0.3 + 0.4 * hashed(pair, shelf, p.salt)).float()
    tall = 0.72 + 0.28 * hashed(spine, shelf, p.salt + 1)
    label = ((height / tall - 0.3 - 0.4 * hashed(spine, shelf, p.salt + 2)).abs() < 0.08) & (
        hashed(spine, shelf, p.salt + 3) > 0.4
    )
    colour = torch.where(label[None], p.c, _random_colour(spine, shelf, p.salt))
    gap = (height > tall) | (hashed(torch.floor(spine / 5), shelf, p.salt + 9) > 0.93)
    return torch.where(gap[None], p.a * 0.25, colour)


def _windows(p: Spot) -> Tensor:
    """A facade: wall a, a window of glass b in each ``scale`` wide bay with frame and blinds c; ``extra``: share of glass."""
    bay, storey = p.scale, p.scale * (0.9 + 0.5 * hashed(p.salt * 0, p.salt * 0, p.salt))
    column, row = torch.floor(p.u / bay), torch.floor(p.v / storey)
    fx, fy = (p.u / bay - column - 0.5).abs() * 2, (p.v / storey - row - 0.5).abs() * 2
    share = p.extra.clamp(0.2, 0.95)
    n = p.noise(3.0)
    wall = p.a * (1 + 0.25 * n[FINE] * (0.05 / p.foot).clamp(0, 1) + 0.2 * n[CLOUD])
    ledge = _step(torch.minimum(p.v - row * storey, (row + 1) * storey - p.v) - 0.09, p.foot)
    wall = _mix(p.c, wall, ledge * 0.6 + 0.4)
    blind = _step((p.v / storey - row) - (1.1 - 0.9 * hashed(column, row, p.salt + 2)), 0.02 + p.foot)
    glass = _mix(p.b * (0.25 + 0.9 * hashed(column, row, p.salt + 1)), p.c * 0.9, blind)
    glass = glass + 0.25 * (n[SMOOTH] + 0.3).clamp(min=0) * p.a.new_tensor([[0.7], [0.85], [1.0]])
    inside = torch.minimum(share - fx, share + 0.1 - fy) * bay / 2
    pane = torch.minimum(inside, fx * bay / 2 - 0.02)
    return _mix(_mix(wall, p.c, _step(inside + 0.07, p.foot)), glass, _step(pane, p.foot))


def _road(p: Spot) -> Tensor:
    """Asphalt a, patched and cracked, with markings b on the middle line and the edges; ``extra``: half the road's width."""
    n, wide = p.noise(0.8), p.noise(9.0, 3.0)
    colour = p.a * (1 + 0.35 * n[FINE] * (0.02 / p.foot).clamp(0, 1) + 0.3 * wide[CLOUD])
    colour = colour * (1 - 0.5 * _step(wide[RIDGE] - 0.86, 0.06))
    centre = _step(0.08 - p.u.abs(), p.foot) * ((p.v % 9.0) < 4.5)
    side = _step(0.07 - (p.u.abs() - p.extra + 0.35).abs(), p.foot)
    return _mix(colour, p.b, torch.maximum(centre, side) * (0.75 + 0.5 * n[CLOUD]).clamp(0, 1))


def _plaid(p: Spot) -> Tensor:
    """Crossing bands: woven cloth."""
    nought = p.salt * 0

    def bands(x: Tensor, salt: Tensor) -> Tensor:
        return (hashed(torch.floor(x * 3), nought, salt) + hashed(torch.floor(x * 11), nought, salt + 2)) / 2

    weave = 1 + 0.15 * p.fade * p.noise(p.scale / 3)[FINE]
    return _mix(_mix(p.a, p.b, bands(p.u / p.scale, p.salt)), p.c, bands(p.v / p.scale, p.salt + 1) * 0.6) * weave


def _flowers(p: Spot) -> Tensor:
    """Petals of b and c on a jittered grid, with tendrils: wallpaper, curtains."""
    column, row = torch.floor(p.u / p.scale), torch.floor(p.v / p.scale)
    dx = p.u / p.scale - column - 0.3 - 0.4 * hashed(column, row, p.salt)
    dy = p.v / p.scale - row - 0.3 - 0.4 * hashed(column, row, p.salt + 1)
    petals = 0.2 + 0.08 * torch.sin(torch.atan2(dy, dx) * 5 + 6 * hashed(column, row, p.salt + 2))
    bloom = _step(petals - torch.sqrt(dx * dx + dy * dy), 0.04 + p.foot / p.scale) * p.fade
    colour = _mix(p.a, _mix(p.b, p.c, hashed(column, row, p.salt + 3)), bloom)
    return _mix(colour, p.c, _step(p.noise(p.scale * 2.5)[RIDGE] - 0.42, 0.1) * 0.6)


def _marble(p: Spot) -> Tensor:
    """Soft clouds of a and b with veins of c."""
    n = p.noise(p.scale * 3)
    return _mix(_mix(p.a, p.b, 0.5 + 0.5 * n[CLOUD]), p.c, _step(n[RIDGE] - 0.4, 0.25) * 0.8)


def _perforated(p: Spot) -> Tensor:
    """Round holes (b) on a grid in a plate of a."""
    dx, dy = (p.u / p.scale) % 1.0 - 0.5, (p.v / p.scale) % 1.0 - 0.5
    hole = _step(0.26 - torch.sqrt(dx * dx + dy * dy), p.foot / p.scale)
    return _mix(p.a, p.b * 0.3, hole * p.fade)


def _photo(p: Spot) -> Tensor:
    """A colourful picture of nothing in particular."""
    n = p.noise(p.scale * 2)
    colour = _mix(_mix(p.a, p.b, (0.5 + n[SMOOTH]).clamp(0, 1)), p.c, (0.5 + 1.2 * n[4]).clamp(0, 1))
    return colour * (1 + 0.5 * n[FINE] * p.fade) * (0.6 + 0.8 * (0.5 + n[CLOUD]).clamp(0, 1))


PAINT: dict[Pattern, Callable[[Spot], Tensor]] = {
    Pattern.PLAIN: lambda p: p.a.clone(),
    Pattern.CLOUDY: _cloudy,
    Pattern.SPECKLE: _speckle,
    Pattern.WOOD: _wood,
    Pattern.BRICK: _brick,
    Pattern.TILE: _tile,
    Pattern.CHECKER: _checker,
    Pattern.STRIPES: _stripes,
    Pattern.TEXT: _text,
    Pattern.POSTER: _poster,
    Pattern.BOOKS: _books,
    Pattern.WINDOWS: _windows,
    Pattern.ROAD: _road,
    Pattern.PLAID: _plaid,
    Pattern.FLOWERS: _flowers,
    Pattern.PLANKS: _planks,
    Pattern.MARBLE: _marble,
    Pattern.PANELS: _panels,
    Pattern.PERFORATED: _perforated,
    Pattern.PHOTO: _photo,
}
