"""Distilling a small encoder from a codec's full one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leadline.checkpoints.small_codecs import save_small_encoder
from leadline.models import Codec, DepthModel
from leadline.models.small_encoder import SmallEncoder, SmallEncoderSpec
from leadline.training.losses import absolute_error
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe

SMALL_ENCODER_FILE = "small-encoder.safetensors"


class SmallEncoderRecipe(Recipe):
    """L1 between the small encoder's latents and the full one's, and between what a model makes of them in one step.

    The second term says which errors matter: those that it turns into other depth.

    Args:
        codec: Its encoder is the teacher; frozen.
        models: Models of this codec, frozen; each step takes one of them. Without any there is no second term.
        start_from: A small encoder to go on from; None: a new one of the shape that follows.
        felt: Weight of the second term.
        width, fine_width, blocks, fine_blocks: See :class:`~leadline.models.small_encoder.SmallEncoderSpec`.
    """

    def __init__(
        self,
        codec: Codec,
        models: Sequence[DepthModel] = (),
        start_from: SmallEncoder | None = None,
        felt: float = 1.0,
        width: int = 64,
        fine_width: int = 48,
        blocks: int = 3,
        fine_blocks: int = 1,
    ) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(False)
        self.models = nn.ModuleList(models).requires_grad_(False)
        spec = SmallEncoderSpec(codec.latent_channels, codec.factor, width, fine_width, blocks, fine_blocks)
        self.encoder = (start_from or SmallEncoder(spec, codec.fingerprint)).train().requires_grad_(True)
        self.felt = felt

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self.codec.encode(batch["rgb"])
        guess = self.encoder.encode(batch["rgb"])
        losses = {"latents": absolute_error(guess, target)}
        if len(self.models):
            solve = drawn(self.models, target.shape, generator)
            with torch.no_grad():
                meant = solve(target)
            losses["felt"] = absolute_error(solve(guess), meant)
        loss = losses["latents"] + self.felt * losses.get("felt", torch.zeros(()).to(guess))
        return {"loss": loss, **losses}

    @torch.no_grad()
    def preview(self, batch: Batch) -> dict[str, Tensor]:
        rgb = batch["rgb"][:4]
        rows = [self.codec.decode_rgb(latents) for latents in (self.codec.encode(rgb), self.encoder.encode(rgb))]
        return {"full above small": torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2) * 0.5 + 0.5}

    def export(self, folder: Path) -> None:
        """``small-encoder.safetensors``."""
        save_small_encoder(self.encoder, folder / SMALL_ENCODER_FILE)


def drawn(models: nn.ModuleList, shape: torch.Size, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """One of ``models`` as a function from image latents of ``shape`` to depth latents, in one step from fixed noise."""
    model: Any = models[int(torch.randint(len(models), (1,), generator=generator))]
    noise = torch.randn(shape, generator=generator)
    return lambda latents: model.solve(latents, 1, noise.to(latents) if model.stochastic else None)
