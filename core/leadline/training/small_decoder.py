"""Distilling a small depth decoder from a codec's full one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from leadline.checkpoints.small_decoders import save_small_decoder
from leadline.models import Codec
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec, codec_fingerprint
from leadline.training.losses import absolute_error
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe

SMALL_DECODER_FILE = "small-decoder.safetensors"


class SmallDecoderRecipe(Recipe):
    """L1 and gradient L1 between the small decoder's map and the full decoder's, on depth latents.

    Latents get noise of a random strength up to ``noise``: what networks predict is not as clean as what the encoder
    gives, and the decoder must not fall apart on it.

    Args:
        codec: Its decoder is the teacher; frozen.
        width, blocks: See :class:`~leadline.models.small_decoder.SmallDecoderSpec`.
        gradient: Weight of the gradient term.
        noise: Largest standard deviation of the noise; latents have about 1.
    """

    def __init__(
        self, codec: Codec, width: int = 64, blocks: int = 3, gradient: float = 1.0, noise: float = 0.3
    ) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(False)
        spec = SmallDecoderSpec(codec.latent_channels, codec.factor, width, blocks)
        self.decoder = SmallDecoder(spec, codec_fingerprint(codec))
        self.gradient, self.noise = gradient, noise

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        latents = self._latents(batch)
        strength = self.noise * torch.rand((len(latents), 1, 1, 1), generator=generator)
        latents = latents + (strength * torch.randn(latents.shape, generator=generator)).to(latents)
        with torch.no_grad():
            target = self.codec.decode(latents)
        guess = self.decoder.decode(latents)
        flat = absolute_error(guess, target)
        edges = torch.stack([absolute_error(guess.diff(dim=axis), target.diff(dim=axis)) for axis in (-2, -1)]).sum()
        return {"loss": flat + self.gradient * edges, "l1": flat, "edges": edges}

    @torch.no_grad()
    def _latents(self, batch: Batch) -> Tensor:
        return batch["depth"] if "depth" in batch else self.codec.encode(batch["target"].expand(-1, 3, -1, -1))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        latents = self._latents(batch)[:4]
        rows = [torch.cat(list(maps), dim=-1) for maps in (self.codec.decode(latents), self.decoder.decode(latents))]
        return {"full above small": torch.cat(rows, dim=-2).expand(3, -1, -1) * 0.5 + 0.5}

    def export(self, folder: Path) -> None:
        """``small-decoder.safetensors``."""
        save_small_decoder(self.decoder, folder / SMALL_DECODER_FILE)
