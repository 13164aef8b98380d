"""The layers that Stable Diffusion's UNet and VAE are made of; tensors have the published names.

Architecture: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models (2022).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import silu

from leadline.models.attention import Attention

#: Of the normalisation at the entrance of a transformer, whatever the network's own.
TRANSFORMER_EPS = 1e-6


class ResidualBlock(nn.Module):
    """Two normalised 3×3 convolutions beside an identity, or beside a 1×1 convolution where the width changes.

    Args:
        width, out: Channels of input and output.
        groups, eps: Of the normalisations.
        time_width: Channels of the time embedding; None for a block without one.
    """

    def __init__(self, width: int, out: int, groups: int, eps: float, time_width: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj: nn.Module | None = None if time_width is None else nn.Linear(time_width, out)
        self.norm2 = nn.GroupNorm(groups, out, eps)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width, out, 1) if width != out else None
        self.skip_time_act = False  # True where the projection takes more than the plain embedding (step tables)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(N, C, h, w) and a time embedding (N or 1, D) → (N, out, h, w)."""
        y: Tensor = self.conv1(silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            assert embedding is not None
            added = self.time_emb_proj(embedding if self.skip_time_act else silu(embedding))
            y = y + added[:, :, None, None]
        y = self.conv2(silu(self.norm2(y)))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Halving(nn.Module):
    """A 3×3 convolution with stride 2.

    Args:
        width: Channels.
        centred: Border of one pixel on all sides (UNet), or only right and below (VAE).
    """

    def __init__(self, width: int, centred: bool) -> None:
        super().__init__()
        self.centred = centred
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1 if centred else 0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → half the size; odd sides are rounded up where centred, else down."""
        half: Tensor = self.conv(x if self.centred else functional.pad(x, (0, 1, 0, 1)))
        return half


class Doubling(nn.Module):
    """Nearest-neighbour enlargement, then a 3×3 convolution.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(N, C, h, w) → (N, C, 2h, 2w), or of ``size``."""
        size = (2 * x.shape[-2], 2 * x.shape[-1]) if size is None else size
        large: Tensor = self.conv(functional.interpolate(x, size, mode="nearest"))
        return large


class GatedLinear(nn.Module):
    """GEGLU: one half of a projection, gated by the GELU of the other."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, n, C) → (N, n, out)."""
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        gated: Tensor = value * functional.gelu(gate)
        return gated


class FeedForward(nn.Module):
    """A gated layer four times as wide, and back; the second entry of ``net`` is the published dropout's place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, n, C) → (N, n, C)."""
        out: Tensor = self.net(tokens)
        return out


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the prompt, feed-forward; each behind a normalisation and beside an identity."""

    def __init__(self, width: int, heads: int, prompt_width: int, token_count_scaling: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, token_count_scaling=token_count_scaling)
        self.norm2 = nn.LayerNorm(width)
        self.attn2: nn.Module = Attention(width, heads, prompt_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        """Tokens (N, n, C) and a prompt (N, T, D) → (N, n, C)."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), prompt)
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class Transformer(nn.Module):
    """Transformer blocks over the pixels of an image, beside an identity.

    Args:
        width: Channels.
        heads, depth: Attention heads; transformer blocks.
        prompt_width: Channels of the prompt's tokens.
        groups: Of the normalisation.
        linear: Whether its projections are stored as matrices (Stable Diffusion 2) or 1×1 convolutions (1).
        token_count_scaling: See :class:`~leadline.models.attention.Attention`.
    """

    def __init__(
        self, width: int, heads: int, depth: int, prompt_width: int, groups: int, linear: bool, token_count_scaling: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, TRANSFORMER_EPS)
        inner = heads * (width // heads)  # narrower where the heads do not share the channels out evenly
        self.proj_in = nn.Linear(width, inner) if linear else nn.Conv2d(width, inner, 1)
        self.proj_out = nn.Linear(inner, width) if linear else nn.Conv2d(inner, width, 1)
        self.linear = linear
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner, heads, prompt_width, token_count_scaling) for _ in range(depth)
        )

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """(N, C, h, w) and a prompt (N, T, D) → (N, C, h, w)."""
        normal = self.norm(x)
        tokens = self.proj_in(_tokens(normal)) if self.linear else _tokens(self.proj_in(normal))
        for block in self.transformer_blocks:
            tokens = block(tokens, prompt)
        size = x.shape[-2:]
        out = _image(self.proj_out(tokens), size) if self.linear else self.proj_out(_image(tokens, size))
        return out + x


def _tokens(image: Tensor) -> Tensor:
    """(N, C, h, w) → (N, h w, C); a view of channels-last images."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def _image(tokens: Tensor, size: torch.Size) -> Tensor:
    """(N, h w, C) → (N, C, h, w), a channels-last view."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


class SinesAndCosines(nn.Module):
    """Timesteps as sines and cosines of ``width / 2`` frequencies, from 1 to 1/10 000.

    Args:
        width: Even.
        cosines_first: Their order.
        shift: Of the number of frequencies that the exponent is divided by.
    """

    def __init__(self, width: int, cosines_first: bool, shift: float) -> None:
        super().__init__()
        self.width, self.cosines_first, self.shift = width, cosines_first, shift

    def forward(self, timesteps: Tensor) -> Tensor:
        """(N,) → float32 (N, width)."""
        half = self.width // 2
        steps = torch.arange(half, dtype=torch.float32, device=timesteps.device)
        angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * steps / (half - self.shift))
        sines, cosines = angles.sin(), angles.cos()
        return torch.cat([cosines, sines] if self.cosines_first else [sines, cosines], dim=-1)


class VectorEmbedding(nn.Module):
    """Two linear layers with a SiLU between them: of time, and of a class vector."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, vector: Tensor) -> Tensor:
        """(N, width) → (N, out)."""
        out: Tensor = self.linear_2(silu(self.linear_1(vector)))
        return out
