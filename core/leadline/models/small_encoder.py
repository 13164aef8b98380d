"""A small encoder from pixels to a codec's latents, distilled from its full encoder.

An option, never a default: its latents differ from the full encoder's, by what `docs/performance.md` states.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor, nn
from torch.nn import functional

from leadline.models.small_decoder import Residual


@dataclass(frozen=True)
class SmallEncoderSpec:
    """Shape of a :class:`SmallEncoder`.

    Attributes:
        latent_channels: Channels of the codec's latents.
        factor: Pixels per latent cell along each side; a power of two, at least 4.
        width: Channels at the latents' own resolution.
        fine_width: Channels at twice that resolution.
        blocks, fine_blocks: Residual blocks at either.
    """

    latent_channels: int
    factor: int = 8
    width: int = 64
    fine_width: int = 48
    blocks: int = 3
    fine_blocks: int = 1

    def as_dict(self) -> dict[str, int]:
        """Plain values, for a file's header."""
        return asdict(self)


class SmallEncoder(nn.Module):
    """Cells of pixels as channels, convolutions at twice the latents' resolution and at their own; no normalisation.

    Args:
        spec: Its shape.
        codec: Fingerprint of the codec whose latents it makes (:attr:`leadline.models.codec.Codec.fingerprint`).
    """

    def __init__(self, spec: SmallEncoderSpec, codec: str = "") -> None:
        super().__init__()
        self.spec, self.codec = spec, codec
        cell = spec.factor // 2
        self.cells = nn.PixelUnshuffle(cell)
        self.stem = nn.Conv2d(3 * cell * cell, spec.fine_width, 3, padding=1)
        self.fine = nn.Sequential(*(Residual(spec.fine_width) for _ in range(spec.fine_blocks)))
        self.down = nn.Conv2d(spec.fine_width, spec.width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Residual(spec.width) for _ in range(spec.blocks)))
        self.head = nn.Conv2d(spec.width, spec.latent_channels, 3, padding=1)

    def encode(self, rgb: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] to latents (N, C, H / factor, W / factor), sides rounded down."""
        factor = self.spec.factor
        height, width = (side // factor * factor for side in rgb.shape[-2:])
        features = self.fine(self.stem(self.cells(rgb[..., :height, :width])))
        features = self.blocks(self.down(functional.silu(features)))
        latents: Tensor = self.head(functional.silu(features))
        return latents

    forward = encode
