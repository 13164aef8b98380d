"""Stable Diffusion's UNet as modules, from a published configuration; how it runs is :mod:`leadline.models.unet`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leadline.models.layers import Doubling, Halving, ResidualBlock, SinesAndCosines, Transformer, VectorEmbedding

#: What a configuration that leaves a key out means (diffusers' ``UNet2DConditionModel``).
DEFAULTS: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "layers_per_block": 2,
    "attention_head_dim": 8,  # the number of heads, whatever its name says
    "transformer_layers_per_block": 1,
    "cross_attention_dim": 1280,
    "use_linear_projection": False,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "class_embed_type": None,
    "projection_class_embeddings_input_dim": None,
}
_WAYS = {"down": ("DownBlock2D", "CrossAttnDownBlock2D"), "up": ("UpBlock2D", "CrossAttnUpBlock2D")}


class UNet(nn.Module):
    """The layers of a ``UNet2DConditionModel``.

    Args:
        config: As published; see :data:`DEFAULTS`.
        token_count_scaling: See :class:`leadline.models.attention.Attention`.

    Raises:
        ValueError: The configuration describes no network, or one of another kind.
    """

    def __init__(self, config: Mapping[str, Any], token_count_scaling: bool = False) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
        told = self.config
        widths: list[int] = list(told["block_out_channels"])
        levels, groups, eps = len(widths), told["norm_num_groups"], told["norm_eps"]
        kinds = {way: _kinds(told, way, levels) for way in _WAYS}
        layers, heads, depths = (
            _for_each(told, key, levels)
            for key in ("layers_per_block", "attention_head_dim", "transformer_layers_per_block")
        )
        time = 4 * widths[0]

        def transformer(level: int) -> Transformer:
            return Transformer(
                widths[level], heads[level], depths[level], told["cross_attention_dim"], groups,
                told["use_linear_projection"], token_count_scaling,
            )  # fmt: skip

        def residual(width: int, out: int) -> ResidualBlock:
            return ResidualBlock(width, out, groups, eps, time)

        self.conv_in = nn.Conv2d(told["in_channels"], widths[0], 3, padding=1)
        self.time_proj = SinesAndCosines(widths[0], told["flip_sin_to_cos"], told["freq_shift"])
        self.time_embedding = VectorEmbedding(widths[0], time)
        if told["class_embed_type"] == "projection":
            self.class_embedding = VectorEmbedding(told["projection_class_embeddings_input_dim"], time)
        elif told["class_embed_type"] is not None:
            raise ValueError(f"class_embed_type {told['class_embed_type']!r} is unknown")
        self.down_blocks = nn.ModuleList()
        skips = [widths[0]]
        for level, kind in enumerate(kinds["down"]):
            entering, last = widths[max(level - 1, 0)], level == levels - 1
            residuals = [residual(entering if i == 0 else widths[level], widths[level]) for i in range(layers[level])]
            transformers = [transformer(level) for _ in residuals] if kind.startswith("Cross") else []
            self.down_blocks.append(Level(residuals, transformers, down=None if last else Halving(widths[level], True)))
            skips += [widths[level]] * (len(residuals) + (not last))
        self.mid_block = Middle([residual(widths[-1], widths[-1]) for _ in range(2)], transformer(levels - 1))
        self.up_blocks = nn.ModuleList()
        width = widths[-1]
        for level, kind in zip(reversed(range(levels)), kinds["up"], strict=True):
            residuals = []
            for _ in range(layers[level] + 1):
                residuals.append(residual(width + skips.pop(), widths[level]))
                width = widths[level]
            transformers = [transformer(level) for _ in residuals] if kind.startswith("Cross") else []
            self.up_blocks.append(Level(residuals, transformers, up=Doubling(width) if level else None))
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[0], told["out_channels"], 3, padding=1)


class Level(nn.Module):
    """What happens at one resolution, on the way down or up.

    Args:
        residuals: One a layer.
        transformers: One behind each of them, or none.
        down: At the end of the way down, except at the lowest level.
        up: At the end of the way up, except at the highest level.
    """

    def __init__(
        self,
        residuals: list[ResidualBlock],
        transformers: list[Transformer],
        down: Halving | None = None,
        up: Doubling | None = None,
    ) -> None:
        super().__init__()
        if transformers:
            self.attentions = nn.ModuleList(transformers)
        self.attends = bool(transformers)
        self.recomputes = False  # gradient checkpointing: layers are run again on the way back, not remembered
        self.resnets = nn.ModuleList(residuals)
        self.downsamplers = None if down is None else nn.ModuleList([down])
        self.upsamplers = None if up is None else nn.ModuleList([up])

    @property
    def layers(self) -> int:
        """Its residual blocks."""
        return len(self.resnets)

    def descend(self, x: Tensor, embedding: Tensor | None, prompt: Tensor) -> tuple[Tensor, ...]:
        """(N, C, h, w) → what each layer and the halving give, in order."""
        given = []
        for index in range(self.layers):
            x = self._layer(index, x, embedding, prompt)
            given.append(x)
        if self.downsamplers is not None:
            given.append(self.downsamplers[0](x))
        return tuple(given)

    def ascend(
        self,
        x: Tensor,
        skips: tuple[Tensor, ...],
        embedding: Tensor | None,
        prompt: Tensor,
        size: tuple[int, int] | None,
    ) -> Tensor:
        """(N, C, h, w) and as many skips as layers, the last first → (N, out, 2h, 2w), or of ``size``."""
        for index, skip in enumerate(reversed(skips)):
            x = self._layer(index, torch.cat([x, skip], dim=1), embedding, prompt)
        if self.upsamplers is not None:
            x = self.upsamplers[0](x, size)
        return x

    def _layer(self, index: int, x: Tensor, embedding: Tensor | None, prompt: Tensor) -> Tensor:
        if self.recomputes and self.training and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(self._run, index, x, embedding, prompt, use_reentrant=False)
            return recomputed
        return self._run(index, x, embedding, prompt)

    def _run(self, index: int, x: Tensor, embedding: Tensor | None, prompt: Tensor) -> Tensor:
        x = self.resnets[index](x, embedding)
        if self.attends:
            x = self.attentions[index](x, prompt)
        return x


class Middle(nn.Module):
    """A transformer between two residual blocks, at the lowest resolution."""

    def __init__(self, residuals: list[ResidualBlock], transformer: Transformer) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([transformer])
        self.resnets = nn.ModuleList(residuals)

    def forward(self, x: Tensor, embedding: Tensor | None, prompt: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        first, second = self.resnets
        out: Tensor = second(self.attentions[0](first(x, embedding), prompt), embedding)
        return out


def _kinds(config: Mapping[str, Any], way: str, levels: int) -> list[str]:
    kinds = list(config[f"{way}_block_types"])
    unknown = sorted(set(kinds) - set(_WAYS[way]))
    if unknown:
        raise ValueError(f"{way} blocks of type {unknown[0]} are unknown")
    if len(kinds) != levels:
        raise ValueError(f"{len(kinds)} types of {way} blocks for {levels} levels")
    return kinds


def _for_each(config: Mapping[str, Any], key: str, levels: int) -> list[int]:
    """One number for each level."""
    value = config[key]
    values = [value] * levels if isinstance(value, int) else list(value)
    if len(values) != levels:
        raise ValueError(f"{len(values)} values of {key} for {levels} levels")
    return values
