"""3×3 convolutions with a quarter of the multiplications: Winograd's F(4×4, 3×3), for float32 on CPUs.

A tile of 4×4 outputs takes 36 products for each pair of channels instead of 144 (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2016)::

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A        d: 6×6 inputs, g: 3×3 weights, Y: 4×4 outputs

The products over channels become 36 matrix products. Interpolation points are 0, ±5/8, ±3/2 and infinity: they lose
the fewest digits (five times the rounding of a direct convolution, where the textbook's 0, ±1, ±2 lose ten times).

A nearest-neighbour ×2 enlargement in front is part of the weights: each of the four output pixels of a low-resolution
one has its own 3×3 filter on the low-resolution grid, of which one row and one column are zero, and stay zero under G.
So 25 products on a quarter of the tiles replace 36 products.

Nothing is approximated; results differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from leadline.models.tuned import WINOGRAD

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


class Winograd(nn.Module):
    """The same function as a 3×3 ``Conv2d`` with stride 1 and padding 1, behind a ×2 enlargement or not.

    Args:
        conv: The convolution.
        enlarge: Enlarge by 2 (nearest neighbour) first.
    """

    weight: Tensor
    bias: Tensor
    inward: Tensor
    outward: Tensor

    def __init__(self, conv: nn.Conv2d, enlarge: bool = False) -> None:
        super().__init__()
        self.out_channels = conv.out_channels
        self.phases = 2 if enlarge else 1  # output pixels along each side for one input pixel
        span = WINDOW - enlarge  # products along each side
        self.register_buffer("weight", self._spectra(conv.weight.detach(), span, enlarge))
        self.register_buffer("bias", torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach())
        self.register_buffer("inward", torch.kron(B_T, B_T).float())
        outward = [torch.kron(A_T[:, y : y + span], A_T[:, x : x + span]) for y, x in self._phases()]
        self.register_buffer("outward", torch.stack(outward).float())  # (phases², 16, span²)

    def _spectra(self, weight: Tensor, span: int, enlarge: bool) -> Tensor:
        """Filters (out, in, 3, 3) to (phases², span, span, in, out), computed in float64.

        A few input channels at a time: what lies between stays in the processor's cache.
        """
        out, channels = weight.shape[:2]
        spectra = _roomy(self.phases**2, span, span, channels, out)
        transform = torch.kron(G, G)
        step = min(channels, max(1, WINOGRAD.chunk_bytes // (8 * WINDOW**2 * out)))
        room = weight.new_empty(WINDOW**2, step * out, dtype=torch.float64)
        for first in range(0, channels, step):
            part = slice(first, min(first + step, channels))
            taps = weight[:, part].double().permute(2, 3, 1, 0)  # (3, 3, in, out)
            spectrum = room[:, : (part.stop - part.start) * out]
            for filters, (y, x), target in zip(
                _phase_filters(taps) if enlarge else [taps], self._phases(), spectra, strict=True
            ):
                torch.mm(transform, filters.reshape(9, -1), out=spectrum)
                whole = spectrum.view(WINDOW, WINDOW, -1, out)
                target[:, :, part] = whole[y : y + span, x : x + span]
        return spectra

    def _phases(self) -> list[tuple[int, int]]:
        return [(y, x) for y in range(self.phases) for x in range(self.phases)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, h, w) → (N, out, h, w), or (N, out, 2h, 2w) where it enlarges; channels last."""
        count, _, height, width = images.shape
        down, across = -(-height // TILE), -(-width // TILE)
        scale = self.phases
        grid = images.new_empty(count, down, TILE, scale, across, TILE, scale, self.out_channels)
        pixels = images.permute(0, 2, 3, 1)
        for members, rows in self._chunks(count, down, across):
            tiles = self._tiles(pixels[members], rows, across)
            target = grid[members, rows].permute(2, 5, 3, 6, 0, 1, 4, 7)  # (4, 4, phase, phase, n, rows, across, out)
            self._multiply(tiles, target)
        whole = grid.view(count, down * TILE * scale, across * TILE * scale, self.out_channels)
        dense = whole[:, : height * scale, : width * scale].contiguous()  # attention wants rows without gaps
        return dense.permute(0, 3, 1, 2)

    def _chunks(self, count: int, down: int, across: int) -> Iterator[tuple[slice, slice]]:
        """Images and rows of tiles to do at once."""
        channels = max(self.weight.shape[-2:])
        rows = max(1, WINOGRAD.chunk_bytes // (4 * WINDOW**2 * channels * across))
        together = max(1, rows // down)
        for first in range(0, count, together):
            for top in range(0, down, rows):
                yield slice(first, min(first + together, count)), slice(top, min(top + rows, down))

    @staticmethod
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

    def _multiply(self, tiles: Tensor, target: Tensor) -> None:
        """From tiles to their outputs, written into ``target``."""
        size = tiles.shape[2:5]
        windows = (self.inward @ tiles.reshape(WINDOW**2, -1)).view(WINDOW, WINDOW, size.numel(), -1)
        phases = self._phases()
        for index, (y, x) in enumerate(phases):
            weight = self.weight[index]
            span = weight.shape[0]
            products = windows.new_empty(span, span, size.numel(), self.out_channels)
            for i in range(span):
                torch.bmm(windows[y + i, x : x + span], weight[i], out=products[i])
            outputs = self.outward[index] @ products.view(span * span, -1)
            torch.add(outputs.view(TILE, TILE, *size, -1), self.bias, out=target[:, :, y, x])


def _roomy(*shape: int) -> Tensor:
    """Uninitialised float32 memory from NumPy, which asks Linux for large pages: gigabytes of small ones take seconds."""
    return torch.from_numpy(np.empty(shape, np.float32))


def suits(conv: nn.Module, enlarge: bool = False) -> bool:
    """Whether ``conv`` can be and deserves to be replaced by :class:`Winograd`."""
    if not isinstance(conv, nn.Conv2d) or (conv.kernel_size, conv.stride, conv.padding) != ((3, 3), (1, 1), (1, 1)):
        return False
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        return False
    products = 4 * (WINDOW - 1) ** 2 if enlarge else WINDOW**2
    weight_bytes = 4 * products * conv.in_channels * conv.out_channels
    channels = WINOGRAD.least_channels_enlarged if enlarge else WINOGRAD.least_channels
    return min(conv.in_channels, conv.out_channels) >= channels and weight_bytes <= WINOGRAD.most_weight_bytes


def _phase_filters(weight: Tensor) -> list[Tensor]:
    """Filters (3, 3, in, out) on the enlarged grid to four on the small one, for the pixels of a 2×2 block.

    Along one side, output 2i sees (x[i-1], x[i], x[i]) and output 2i + 1 sees (x[i], x[i], x[i+1]).
    """
    even = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=weight.dtype)
    odd = torch.tensor([[0, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=weight.dtype)
    return [torch.einsum("ka,lb,abco->klco", y, x, weight) for y in (even, odd) for x in (even, odd)]
