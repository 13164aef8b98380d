"""DepthUNet: Stable Diffusion's UNet run for depth, with room for a block behind its middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leadline.models.network import Level, UNet
from leadline.models.steps import StepTables


class DepthUNet(nn.Module):
    """Stable Diffusion's UNet (:class:`~leadline.models.network.UNet`) with what depth needs beside it.

    Args:
        config: Config of the ``UNet2DConditionModel``, as published.
        middle: Replaces the middle block's output (DepthMaster's Fourier Enhancement), or None.
        token_count_scaling: See :class:`leadline.models.attention.Attention`.
        class_vector: What the network's class embedding takes, always the same; None for a network without one.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        middle: nn.Module | None = None,
        token_count_scaling: bool = False,
        class_vector: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.net = UNet(config, token_count_scaling)
        self.fftblock = middle
        self.class_vector = class_vector
        self.timed = True  # False once a fixed timestep is folded into the biases
        self.step_tables: StepTables | None = None  # once time is tabulated

    def recompute_layers(self) -> None:
        """Gradient checkpointing: in training, layers are run again on the way back instead of being remembered."""
        for block in self.net.modules():
            if isinstance(block, Level):
                block.recomputes = True

    @property
    def in_channels(self) -> int:
        """Channels of the input latents, conditions included."""
        return int(self.net.conv_in.in_channels)

    def time_embedding(self, timestep: float | Tensor, batch: int) -> Tensor:
        """Embedding (batch, D) of raw timesteps, and of the class: one number for all, or one for each of the batch."""
        weight = self.net.conv_in.weight
        t = torch.as_tensor(timestep, dtype=torch.float32, device=weight.device).expand(batch)
        embedding: Tensor = self.net.time_embedding(self.net.time_proj(t).to(weight.dtype))
        if self.class_vector is not None:
            labels = torch.tensor([self.class_vector], dtype=weight.dtype, device=weight.device)
            embedding = embedding + self.net.class_embedding(labels)
        return embedding

    def middle_features(self, latents: Tensor, timestep: float | Tensor, context: Tensor) -> Tensor:
        """The middle block's output (N, C_mid, h', w') before anything behind it: what DepthMaster aligns."""
        return self._down(self.net.conv_in(latents), self._embed(timestep, latents.shape[0]), context)[0]

    def forward(self, latents: Tensor, timestep: float | Tensor, context: Tensor) -> Tensor:
        """Latents (N, in_channels, h, w) of any size, a raw timestep and a prompt (N or 1, T, D) → (N, out, h, w)."""
        return self.body(self.net.conv_in(latents), self._embed(timestep, latents.shape[0]), context)

    def body(self, features: Tensor, embedding: Tensor | None, context: Tensor) -> Tensor:
        """Everything behind the first convolution: its output (N, C, h, w) → (N, out, h, w).

        Args:
            features: Output of ``conv_in``.
            embedding: Time embedding (N or 1, D), or a step's index into the step tables, or None where time is folded.
            context: Prompt (N or 1, T, D).
        """
        x, skips = self._down(features, embedding, context)
        if self.fftblock is not None:
            x = self.fftblock(x)
        net = self.net
        context = context.expand(features.shape[0], -1, -1)
        for block in net.up_blocks:
            assert isinstance(block, Level)
            own, skips = skips[-block.layers :], skips[: -block.layers]
            size = (
                (skips[-1].shape[2], skips[-1].shape[3]) if skips else None
            )  # halving an odd side rounds up: go back to what it was
            x = block.ascend(x, own, embedding, context, size)
        out: Tensor = net.conv_out(net.conv_act(net.conv_norm_out(x)))
        return out

    def _embed(self, timestep: float | Tensor, batch: int) -> Tensor | None:
        if not self.timed:
            return None
        return self.time_embedding(timestep, batch if isinstance(timestep, Tensor) and timestep.ndim else 1)

    def _down(self, features: Tensor, embedding: Tensor | None, context: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        net = self.net
        context = context.expand(features.shape[0], -1, -1)
        skips: tuple[Tensor, ...] = (features,)
        for block in net.down_blocks:
            assert isinstance(block, Level)
            skips += block.descend(skips[-1], embedding, context)
        return net.mid_block(skips[-1], embedding, context), skips
