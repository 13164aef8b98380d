"""The one attention used everywhere: PyTorch's scaled dot product, with DepthFM's token-count option."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves or to a context; tensors have the published names.

    Args:
        channels: Of the tokens; a multiple of ``heads``.
        heads: Their number.
        context_channels: Of the context's tokens; None for attention of tokens to themselves.
        bias: Whether queries, keys and values have one (Stable Diffusion's VAE: yes; its UNet: no).
        token_count_scaling: Multiply self-attention logits by sqrt(ln n / ln 4n) for n tokens. The official DepthFM
            does this when xformers is missing and not when it is present; the same weights then give two outputs.
            Cross-attention is never rescaled.

    Raises:
        ValueError: ``channels`` cannot be shared out between the heads.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        context_channels: int | None = None,
        bias: bool = False,
        token_count_scaling: bool = False,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared out between {heads} attention heads")
        self.heads = heads
        self.token_count_scaling = token_count_scaling
        self.to_q = nn.Linear(channels, channels, bias)
        self.to_k = nn.Linear(context_channels or channels, channels, bias)
        self.to_v = nn.Linear(context_channels or channels, channels, bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, n, C) tokens, attending to themselves or to a context (N, m, D) → (N, n, C)."""
        source = tokens if context is None else context
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, tokens, head_dim)
            for projected in (self.to_q(tokens), self.to_k(source), self.to_v(source))
        )
        scale = query.shape[-1] ** -0.5
        count = query.shape[2]
        if self.token_count_scaling and context is None and count > 1:
            scale *= math.sqrt(math.log(count) / math.log(4 * count))
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


class ImageAttention(Attention):
    """The VAE's one attention layer: a normalised image (N, C, h, w) attends to itself and is added to.

    Args:
        channels: Of the image; one head.
        groups: Of the normalisation.
        eps: Of the normalisation.
    """

    def __init__(self, channels: int, groups: int, eps: float) -> None:
        super().__init__(channels, heads=1, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, eps)

    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        image = tokens
        normal = self.group_norm(image).flatten(2).transpose(1, 2)  # (N, h w, C)
        return image + super().forward(normal).transpose(1, 2).unflatten(2, image.shape[-2:])
