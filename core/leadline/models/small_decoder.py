"""A small decoder from depth latents to one grey map, distilled from a codec's full decoder.

An option, never a default: its output differs from the full decoder's, by what `docs/performance.md` states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class SmallDecoderSpec:
    """Shape of a :class:`SmallDecoder`.

    Attributes:
        latent_channels: Channels of the codec's latents.
        factor: Pixels per latent cell along each side; a power of two.
        width: Channels at the latents' own resolution; halved with every doubling of the resolution, down to ``narrowest``.
        blocks: Residual blocks at the latents' own resolution.
        fine_blocks: Residual blocks behind every doubling.
        narrowest: Fewest channels.
    """

    latent_channels: int
    factor: int = 8
    width: int = 64
    blocks: int = 3
    fine_blocks: int = 0
    narrowest: int = 16

    def as_dict(self) -> dict[str, int]:
        """Plain values, for a file's header."""
        return asdict(self)


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(functional.silu(self.first(functional.silu(x))))
        return x + change


class SmallDecoder(nn.Module):
    """Convolutions at the latents' resolution, then doublings by pixel shuffle; no normalisation, one grey channel.

    Args:
        spec: Its shape.
        codec: Fingerprint of the codec it was distilled from (:attr:`leadline.models.codec.Codec.fingerprint`).
    """

    def __init__(self, spec: SmallDecoderSpec, codec: str = "") -> None:
        super().__init__()
        self.spec, self.codec = spec, codec
        width = spec.width
        self.stem = nn.Conv2d(spec.latent_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(spec.blocks)))
        doublings: list[nn.Module] = []
        size = spec.factor
        while size > 2:
            narrower = max(spec.narrowest, width // 2)
            doublings += [nn.SiLU(), nn.Conv2d(width, 4 * narrower, 3, padding=1), nn.PixelShuffle(2)]
            doublings += [Residual(narrower) for _ in range(spec.fine_blocks)]
            width, size = narrower, size // 2
        self.doublings = nn.Sequential(*doublings)
        self.head = nn.Conv2d(width, size * size, 3, padding=1)
        self.shuffle = nn.PixelShuffle(size)

    def decode(self, latents: Tensor) -> Tensor:
        """Depth latents (N, C, h, w) to one float32 map (N, 1, h * factor, w * factor), about [-1, 1]."""
        features = functional.silu(self.doublings(self.blocks(self.stem(latents)))).float()
        weight, bias = self.head.weight.float(), self.head.bias
        assert bias is not None
        grey: Tensor = self.shuffle(functional.conv2d(features, weight, bias.float(), padding=1))
        return grey

    forward = decode


def fingerprint_of(parts: Iterable[nn.Module], beside: str = "") -> str:
    """SHA-256 of the weights of ``parts``, hexadecimal, with that of what they are used ``beside``."""
    digest = hashlib.sha256(beside.encode())
    for part in parts:
        for _, tensor in sorted(part.state_dict().items()):
            digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()
