"""Distilling a small depth decoder from a codec's full one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from leadline.checkpoints.small_codecs import save_small_decoder
from leadline.models import Codec, DepthModel
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec
from leadline.training.losses import absolute_error
from leadline.training.small_encoder import drawn
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe

SMALL_DECODER_FILE = "small-decoder.safetensors"


class SmallDecoderRecipe(Recipe):
    """L1 and gradient L1 between the small decoder's map and the full decoder's, on depth latents.

    With models, latents are what they predict of the pictures, which is what the decoder will see. Without, they are of
    true depth and get noise of a random strength up to ``noise``: what networks predict is not as clean, and the decoder
    must not fall apart on it; but it learns to smooth, too.

    Args:
        codec: Its decoder is the teacher; frozen.
        models: Models of this codec, frozen; each step takes one of them.
        start_from: A small decoder to go on from; None: a new one of the shape that follows.
        width, blocks, fine_blocks, narrowest: See :class:`~leadline.models.small_decoder.SmallDecoderSpec`.
        gradient: Weight of the gradient term.
        noise: Largest standard deviation of the noise; latents have about 1.
    """

    def __init__(
        self,
        codec: Codec,
        models: Sequence[DepthModel] = (),
        start_from: SmallDecoder | None = None,
        width: int = 64,
        blocks: int = 3,
        fine_blocks: int = 0,
        narrowest: int = 16,
        gradient: float = 1.0,
        noise: float = 0.3,
    ) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(False)
        self.models = nn.ModuleList(models).requires_grad_(False)
        spec = SmallDecoderSpec(codec.latent_channels, codec.factor, width, blocks, fine_blocks, narrowest)
        self.decoder = (start_from or SmallDecoder(spec, codec.fingerprint)).train().requires_grad_(True)
        self.gradient, self.noise = gradient, noise

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        latents = self._latents(batch, generator)
        if not len(self.models):
            strength = self.noise * torch.rand((len(latents), 1, 1, 1), generator=generator)
            latents = latents + (strength * torch.randn(latents.shape, generator=generator)).to(latents)
        with torch.no_grad():
            target = self.codec.decode(latents)
        guess = self.decoder.decode(latents)
        flat = absolute_error(guess, target)
        edges = torch.stack([absolute_error(guess.diff(dim=axis), target.diff(dim=axis)) for axis in (-2, -1)]).sum()
        return {"loss": flat + self.gradient * edges, "l1": flat, "edges": edges}

    @torch.no_grad()
    def _latents(self, batch: Batch, generator: torch.Generator) -> Tensor:
        if len(self.models):
            seen = self.codec.encode(batch["rgb"])
            return drawn(self.models, seen.shape, generator)(seen)
        return batch["depth"] if "depth" in batch else self.codec.encode(batch["target"].expand(-1, 3, -1, -1))

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        latents = self._latents(batch, torch.Generator().manual_seed(0))[:4]
        rows = [torch.cat(list(maps), dim=-1) for maps in (self.codec.decode(latents), self.decoder.decode(latents))]
        return {"full above small": torch.cat(rows, dim=-2).expand(3, -1, -1) * 0.5 + 0.5}

    def export(self, folder: Path) -> None:
        """``small-decoder.safetensors``."""
        save_small_decoder(self.decoder, folder / SMALL_DECODER_FILE)
