"""3×3 convolutions with a quarter of the multiplications: Winograd's F(4×4, 3×3), for float32 on CPUs.

A tile of 4×4 outputs takes 36 products for each pair of channels instead of 144 (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2016)::

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d: 6×6 inputs, g: 3×3 weights, Y: 4×4 outputs

The products over channels become 36 matrix products. Interpolation points are 0, ±5/8, ±3/2 and infinity: they lose
the fewest digits (five times the rounding of a direct convolution, where the textbook's 0, ±1, ±2 lose ten times).

A nearest-neighbour ×2 enlargement in front is part of the weights: each of the four output pixels of a low-resolution
one has its own 3×3 filter on the low-resolution grid, of which one row and one column are zero, and stay zero under G.
So 25 products on a quarter of the tiles replace 36 products.

Transformed filters take four times a filter's memory (eleven times with an enlargement), so they are not kept: each call
transforms them anew, into memory that all layers of a thread share. For pictures of some tens of tiles that costs little.

Nothing is approximated; results differ by rounding only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from leadline.models.tuned import CONVOLUTION

TILE = 4  # outputs along each side
WINDOW = TILE + 2  # inputs along each side
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Bᵀ (6, 6), G (6, 3), Aᵀ (4, 6) for POINTS and infinity, in float64."""

    def powers(count: int) -> Tensor:
        rows = [[point**k for k in range(count)] for point in POINTS]
        return torch.tensor([*rows, [0.0] * (count - 1) + [1.0]], dtype=torch.float64)

    inputs = torch.linalg.inv(powers(WINDOW)).T
    weights = powers(3)
    balance = (weights.norm(dim=1, keepdim=True) / inputs.norm(dim=1, keepdim=True)).sqrt()
    return inputs * balance, weights / balance, powers(TILE).T


B_T, G, A_T = _matrices()


def _filter_transform(enlarge: bool) -> Tensor:
    """From the nine taps of a filter to its products, float64 (36, 9), or (4 · 25, 9) for the four of an enlargement.

    Along one side of the enlarged grid, output 2i sees (x[i-1], x[i], x[i]) and output 2i + 1 sees (x[i], x[i], x[i+1]).
    """
    if not enlarge:
        return torch.kron(G, G)
    even = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)
    odd = torch.tensor([[0, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64)
    sides = [(G @ even)[:-1], (G @ odd)[1:]]  # the rows that are not zero
    return torch.cat([torch.kron(y, x) for y in sides for x in sides])


class Winograd:
    """The arithmetic of a 3×3 convolution with stride 1 and padding 1, behind a ×2 enlargement (nearest neighbour) or not.

    Args:
        enlarge: Enlarge by 2 first.
    """

    def __init__(self, enlarge: bool = False) -> None:
        self._scale = 2 if enlarge else 1  # output pixels along each side for one input pixel
        self._span = span = WINDOW - enlarge  # products along each side
        self._phases = [(y, x) for y in range(self._scale) for x in range(self._scale)]
        self._filters = _filter_transform(enlarge).float()
        self._inward = torch.kron(B_T, B_T).float()
        outward = [torch.kron(A_T[:, y : y + span], A_T[:, x : x + span]) for y, x in self._phases]
        self._outward = torch.stack(outward).float()  # (phases², 16, span²)

    def filter_bytes(self, weight: Tensor) -> int:
        """What filters (out, C, 3, 3) take once they are transformed."""
        return 4 * len(self._filters) * weight.shape[0] * weight.shape[1]

    def __call__(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Images (N, C, h, w), filters (out, C, 3, 3) and biases (out,) → (N, out, h, w), or twice the size; channels last."""
        count, _, height, width = images.shape
        down, across = -(-height // TILE), -(-width // TILE)
        scale, channels = self._scale, len(weight)
        filters = self._transformed(weight)
        grid = images.new_empty(count, down, TILE, scale, across, TILE, scale, channels)
        pixels = images.permute(0, 2, 3, 1)
        for members, rows in _chunks(count, down, across, max(weight.shape[:2])):
            tiles = _tiles(pixels[members], rows, across)
            target = grid[members, rows].permute(2, 5, 3, 6, 0, 1, 4, 7)  # (4, 4, phase, phase, n, rows, across, out)
            self._multiply(tiles, filters, bias, target)
        whole = grid.view(count, down * TILE * scale, across * TILE * scale, channels)
        dense = whole[:, : height * scale, : width * scale].contiguous()  # attention wants rows without gaps
        return dense.permute(0, 3, 1, 2)

    def _transformed(self, weight: Tensor) -> Tensor:
        """Filters (out, C, 3, 3) to (phases², span, span, out, C), in this thread's room: valid until the next call."""
        out, channels = weight.shape[:2]
        room = _room(len(self._filters) * out * channels).view(len(self._filters), -1)
        torch.mm(self._filters, weight.reshape(-1, 9).T, out=room)
        return room.view(-1, self._span, self._span, out, channels)

    def _multiply(self, tiles: Tensor, filters: Tensor, bias: Tensor | None, target: Tensor) -> None:
        """From tiles to their outputs, written into ``target``."""
        span, size = self._span, tiles.shape[2:5]
        windows = (self._inward @ tiles.reshape(WINDOW**2, -1)).view(WINDOW, WINDOW, size.numel(), -1)
        for (y, x), own, outward in zip(self._phases, filters, self._outward, strict=True):
            products = windows.new_empty(span, span, size.numel(), own.shape[2])
            for i in range(span):
                torch.bmm(windows[y + i, x : x + span], own[i].transpose(1, 2), out=products[i])
            outputs = (outward @ products.view(span * span, -1)).view(TILE, TILE, *size, -1)
            if bias is None:
                target[:, :, y, x] = outputs
            else:
                torch.add(outputs, bias, out=target[:, :, y, x])


def _chunks(count: int, down: int, across: int, channels: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows of tiles to do at once."""
    rows = max(1, CONVOLUTION.chunk_bytes // (4 * WINDOW**2 * channels * across))
    together = max(1, rows // down)
    for first in range(0, count, together):
        for top in range(0, down, rows):
            yield slice(first, min(first + together, count)), slice(top, min(top + rows, down))


def _tiles(pixels: Tensor, rows: slice, across: int) -> Tensor:
    """Overlapping windows (6, 6, n, rows, across, C) of zero-bordered images (n, h, w, C), as a view."""
    height, width = pixels.shape[1:3]
    top, bottom = TILE * rows.start - 1, TILE * rows.stop + 1
    strip = pixels[:, max(top, 0) : min(bottom, height)]
    right = TILE * across + 1 - width
    strip = pad(strip, (0, 0, 1, right, max(-top, 0), max(bottom - height, 0)))
    n, y, x, c = strip.stride()
    shape = (WINDOW, WINDOW, len(strip), rows.stop - rows.start, across, strip.shape[-1])
    return strip.as_strided(shape, (y, x, n, TILE * y, TILE * x, c))


_shared = threading.local()


def _room(count: int) -> Tensor:
    """This thread's memory for ``count`` float32 numbers; fresh memory for each call would cost more than the transform.

    It comes from NumPy, which asks Linux for large pages.
    """
    room: Tensor | None = getattr(_shared, "room", None)
    if room is None or len(room) < count:
        _shared.room = None  # first give back what was too small
        with torch.inference_mode(False):
            _shared.room = room = torch.from_numpy(np.empty(count, np.float32))
    return room[:count]
