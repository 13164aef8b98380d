"""A whole model as one function of tensors, image to map, ready to be exported."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from leadline.checkpoints.bundle import ModelBundle
from leadline.models.folding import fold, sharing_copy
from leadline.models.fourier import FourierEnhancement


class DepthGraph(nn.Module):
    """Image (and start noise) to the model's raw map: encode, every step, decode.

    Args:
        bundle: The model; it is not changed.
        height, width: Size of the images, multiples of the model's ``pad_multiple``.
        steps: Network evaluations, unrolled.
    """

    def __init__(self, bundle: ModelBundle, height: int, width: int, steps: int = 1) -> None:
        super().__init__()
        self.model, self.codec = sharing_copy(bundle.model), sharing_copy(bundle.codec)
        fold(self.model)
        self.steps = steps
        with torch.no_grad():
            cells = height // self.codec.factor, width // self.codec.factor
            middle = self.model.unet.fftblock
            if isinstance(middle, FourierEnhancement):
                halvings = len(bundle.spec.unet["block_out_channels"]) - 1
                grid = (-(-side // 2**halvings) for side in cells)
                self.model.unet.fftblock = MatrixFourier(middle, *grid)
            example = torch.zeros(1, self.codec.latent_channels, *cells)
            self.model.solve(example, steps, example if self.model.stochastic else None)  # fills the step tables

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] and, where the model takes it, noise (N, C, h, w) → (N, H, W) in the model's space."""
        latents = self.codec.encode(image * 2.0 - 1.0)
        solved = self.model.solve(latents, self.steps, noise)
        decoded = self.codec.decode_rgb(solved) if self.model.needs_channels else self.codec.decode(solved)
        return self.model.finish(decoded)[:, 0]


class TraceableFourier(nn.Module):
    """Fourier Enhancement that becomes matrix products where it is traced.

    Other programs' FFT leaves rounding in the imaginary part of frequencies that are real: where such a frequency is negative, its phase
    turns out as +π or -π by chance.

    A size has to be run once before it is traced: its matrices are made then, and not again within the graph.

    Args:
        block: The block whose weights it shares.
    """

    def __init__(self, block: FourierEnhancement) -> None:
        super().__init__()
        self.block = block
        self._matrices: dict[tuple[int, ...], MatrixFourier] = {}

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        height, width = (int(side) for side in features.shape[-2:])
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return self._matrices[height, width](features)
        self._matrices[height, width] = MatrixFourier(self.block, height, width)
        return self.block(features)


class MatrixFourier(nn.Module):
    """Fourier Enhancement with the transforms as matrix products, for one grid size: exporters know no FFT.

    Args:
        block: The block whose weights it shares.
        height, width: The middle block's grid.
    """

    rows_cos: Tensor
    rows_sin: Tensor
    columns_cos: Tensor
    columns_sin: Tensor
    twice: Tensor

    def __init__(self, block: FourierEnhancement, height: int, width: int) -> None:
        super().__init__()
        self.block = block
        rows, columns = _frequencies(height, height), _frequencies(width, width // 2 + 1)
        for name, angle in (("rows", rows), ("columns", columns)):
            self.register_buffer(f"{name}_cos", torch.cos(angle).float(), persistent=False)
            self.register_buffer(f"{name}_sin", _exact_sine(angle).float(), persistent=False)
        twice = torch.full((width // 2 + 1, 1), 2.0)  # the other half of the spectrum is this half's mirror image
        twice[0] = 1.0
        if width % 2 == 0:
            twice[-1] = 1.0
        self.register_buffer("twice", twice, persistent=False)
        self.scale = 1.0 / math.sqrt(height * width)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w) for the grid it was made for."""
        block = self.block
        x = block.norm(features)
        spatial = block.conv_s2(silu(block.conv_s1(x))) + x
        first = silu(block.conv_f1(x))
        real, imaginary = self._forward_transform(first)
        amplitude = silu(block.conv_f2(torch.sqrt(real**2 + imaginary**2)))
        phase = silu(block.conv_f4(_angle(real, imaginary)))
        back = self._backward_transform(amplitude * torch.cos(phase), amplitude * torch.sin(phase))
        return block.fuse(torch.cat([spatial, block.conv_f3(back + first)], dim=1))

    def _forward_transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        along_cos, along_sin = x @ self.columns_cos.T, x @ self.columns_sin.T
        real = self.rows_cos @ along_cos - self.rows_sin @ along_sin
        imaginary = -(self.rows_cos @ along_sin + self.rows_sin @ along_cos)
        return real * self.scale, imaginary * self.scale

    def _backward_transform(self, real: Tensor, imaginary: Tensor) -> Tensor:
        down_real = self.rows_cos.T @ real - self.rows_sin.T @ imaginary
        down_imaginary = self.rows_sin.T @ real + self.rows_cos.T @ imaginary
        weighted_cos, weighted_sin = self.columns_cos * self.twice, self.columns_sin * self.twice
        return (down_real @ weighted_cos - down_imaginary @ weighted_sin) * self.scale


def _frequencies(length: int, count: int) -> Tensor:
    """Angles 2 pi u m / length (count, length), float64."""
    turns = torch.outer(torch.arange(count), torch.arange(length)) % length
    return 2.0 * math.pi * turns.double() / length


def _exact_sine(angle: Tensor) -> Tensor:
    """Sines that are exactly 0 at half and whole turns: there a real spectrum must stay real."""
    sine = torch.sin(angle)
    return torch.where(sine.abs() < 1e-12, torch.zeros_like(sine), sine)


def _angle(real: Tensor, imaginary: Tensor) -> Tensor:
    """The phase; of a real negative number always +π, whatever the sign of its zero."""
    along = torch.where(real < 0, torch.full_like(real, math.pi), torch.zeros_like(real))
    return torch.where(imaginary == 0, along, torch.atan2(imaginary, real))
