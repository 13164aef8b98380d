"""The one attention used everywhere: PyTorch's scaled dot product, with DepthFM's token-count option."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional


class DotProductAttention:
    """Attention processor for diffusers' transformer blocks.

    Args:
        token_count_scaling: Multiply self-attention logits by sqrt(ln n / ln 4n) for n tokens. The official DepthFM
            does this when xformers is missing and not when it is present; the same weights then give two outputs.
            Cross-attention is never rescaled.
    """

    def __init__(self, token_count_scaling: bool = False) -> None:
        self.token_count_scaling = token_count_scaling

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **unused: Any
    ) -> Tensor:
        """(N, n, C) tokens, attending to themselves or to (N, m, D) ``encoder_hidden_states``."""
        is_self_attention = encoder_hidden_states is None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (N, heads, tokens, head_dim)
            for projected in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        scale = query.shape[-1] ** -0.5
        tokens = query.shape[2]
        if self.token_count_scaling and is_self_attention and tokens > 1:
            scale *= math.sqrt(math.log(tokens) / math.log(4 * tokens))
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        projected_out: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        return projected_out
