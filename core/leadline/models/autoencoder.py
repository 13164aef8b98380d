"""Stable Diffusion's autoencoder as modules, from a published configuration; :mod:`leadline.models.codec` runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from leadline.models.attention import ImageAttention
from leadline.models.layers import Doubling, Halving, ResidualBlock

#: What a configuration that leaves a key out means (diffusers' ``AutoencoderKL``).
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (64,),
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
EPS = 1e-6


class Autoencoder(nn.Module):
    """The layers of an ``AutoencoderKL``.

    Args:
        config: As published; see :data:`DEFAULTS`.

    Raises:
        ValueError: The configuration describes no autoencoder, or one of another kind.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = {**DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
        told = self.config
        widths: list[int] = list(told["block_out_channels"])
        for way, kind in (("down", "DownEncoderBlock2D"), ("up", "UpDecoderBlock2D")):
            kinds = list(told[f"{way}_block_types"])
            if kinds != [kind] * len(widths):
                raise ValueError(f"the VAE's {way} blocks are {kinds}; {len(widths)} of {kind} are known")
        layers, groups, attends = told["layers_per_block"], told["norm_num_groups"], told["mid_block_add_attention"]
        latent = told["latent_channels"]
        self.encoder = Encoder(told["in_channels"], 2 * latent, widths, layers, groups, attends)
        self.decoder = Decoder(latent, told["out_channels"], widths, layers, groups, attends)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1) if told["use_quant_conv"] else None
        self.post_quant_conv = nn.Conv2d(latent, latent, 1) if told["use_post_quant_conv"] else None


class Stage(nn.Module):
    """Residual blocks at one resolution, and the way to the next.

    Args:
        residuals: In order.
        down, up: Behind them.
    """

    def __init__(self, residuals: list[ResidualBlock], down: Halving | None = None, up: Doubling | None = None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(residuals)
        if down is not None:
            self.downsamplers = nn.ModuleList([down])
        if up is not None:
            self.upsamplers = nn.ModuleList([up])
        self._behind = "downsamplers" if down is not None else "upsamplers" if up is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, out, h', w')."""
        for block in self.resnets:
            x = block(x)
        return x if self._behind is None else getattr(self, self._behind)[0](x)


class Middle(nn.Module):
    """Attention between two residual blocks, or none."""

    def __init__(self, width: int, groups: int, attends: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([ImageAttention(width, groups, EPS)] if attends else [])
        self.resnets = nn.ModuleList(ResidualBlock(width, width, groups, EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        out: Tensor = self.resnets[1](x)
        return out


class Encoder(nn.Module):
    """Pictures to the moments of a posterior."""

    def __init__(self, channels: int, out: int, widths: list[int], layers: int, groups: int, attends: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            entering = widths[max(level - 1, 0)]
            residuals = [ResidualBlock(entering if i == 0 else width, width, groups, EPS) for i in range(layers)]
            last = level == len(widths) - 1
            self.down_blocks.append(Stage(residuals, down=None if last else Halving(width, centred=False)))
        self.mid_block = Middle(widths[-1], groups, attends)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, out, h, w)."""
        x = self.conv_in(pictures)
        for stage in self.down_blocks:
            x = stage(x)
        out: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(self.mid_block(x))))
        return out


class Decoder(nn.Module):
    """Latents to pictures."""

    def __init__(self, channels: int, out: int, widths: list[int], layers: int, groups: int, attends: bool) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[-1], 3, padding=1)
        self.mid_block = Middle(widths[-1], groups, attends)
        self.up_blocks = nn.ModuleList()
        entering = widths[-1]
        for level in reversed(range(len(widths))):
            width = widths[level]
            residuals = [ResidualBlock(entering if i == 0 else width, width, groups, EPS) for i in range(layers + 1)]
            self.up_blocks.append(Stage(residuals, up=Doubling(width) if level else None))
            entering = width
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], EPS)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[0], out, 3, padding=1)

    def features(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w), past ``post_quant_conv`` → what the last convolution takes, at full size."""
        x = self.mid_block(self.conv_in(latents))
        for stage in self.up_blocks:
            x = stage(x)
        out: Tensor = self.conv_act(self.conv_norm_out(x))
        return out
