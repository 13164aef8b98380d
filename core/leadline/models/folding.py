"""Exact rewrites for inference: what a fixed prompt and a fixed timestep make constant is computed once.

* Cross-attention to a two-token prompt is a gate per head. With keys k_0, k_1 and values v_0, v_1 fixed, softmax over two
  logits is a sigmoid of their difference, so the block is ``B sigmoid(A x) + c`` with A (heads, C) and B (C, heads).
  Longer prompts keep their keys and values.
* A one-step model's timestep embedding (and class embedding) is a constant added behind the first convolution of each
  residual block: it goes into that convolution's bias.
* Models of several steps get a table of those additions, one row for each timestep.

Nothing is approximated; results differ by rounding only.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.models.base import DepthModel
from leadline.models.layers import ResidualBlock, TransformerBlock
from leadline.models.steps import StepTables

M = TypeVar("M", bound=nn.Module)


def sharing_copy(module: M) -> M:
    """A copy whose tensors share memory with the original until they are moved or converted.

    Its structure can be rewritten without the original noticing.
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.data, requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(module, memo)


@torch.no_grad()
def fold(model: DepthModel, tabulate: bool = True) -> None:
    """Rewrite ``model`` in place for inference with its own prompt; its state no longer has the published names.

    Args:
        model: What to rewrite.
        tabulate: Models of several steps get step tables, which grow. False leaves them their time embedding, as graphs
            need it that hold every weight as a constant.
    """
    for block in _modules(model, TransformerBlock):
        block.attn2 = folded_cross_attention(block.attn2, model.prompt)
    residual_blocks = _modules(model, ResidualBlock)
    if model.traits.one_step:
        embedding = model.unet.time_embedding(model.traits.timestep, batch=1)
        for block in residual_blocks:
            addition = block.time_emb_proj(functional.silu(embedding))[0]
            block.conv1.bias = nn.Parameter(block.conv1.bias + addition, requires_grad=False)
            block.time_emb_proj = None
        model.unet.timed = False
    elif tabulate:
        model.unet.step_tables = StepTables(residual_blocks)


def folded_cross_attention(attention: nn.Module, prompt: Tensor) -> nn.Module:
    """The same function of its queries as ``attention`` over the fixed ``prompt`` (1, T, D)."""
    return GatedPrompt(attention, prompt) if prompt.shape[1] == 2 else KeptPrompt(attention, prompt)


class GatedPrompt(nn.Module):
    """Cross-attention to two fixed tokens: ``B sigmoid(A x) + c``."""

    def __init__(self, attention: Any, prompt: Tensor) -> None:
        super().__init__()
        heads = attention.heads
        keys = attention.to_k(prompt)[0].unflatten(-1, (heads, -1))  # (2, heads, d)
        values = attention.to_v(prompt)[0].unflatten(-1, (heads, -1))
        query = attention.to_q.weight.unflatten(0, (heads, -1))  # (heads, d, C)
        out = attention.to_out[0]
        mix = out.weight.unflatten(1, (heads, -1))  # (C, heads, d)
        scale = keys.shape[-1] ** -0.5
        self.register_buffer("gate", torch.einsum("hd,hdc->hc", keys[0] - keys[1], query) * scale)
        self.register_buffer("gain", torch.einsum("chd,hd->ch", mix, values[0] - values[1]))
        self.register_buffer("offset", torch.einsum("chd,hd->c", mix, values[1]) + out.bias)

    def forward(self, hidden_states: Tensor, *unused: Any, **also_unused: Any) -> Tensor:
        """(N, n, C) → (N, n, C)."""
        gates = torch.sigmoid(functional.linear(hidden_states, self.gate))  # type: ignore[arg-type]
        return functional.linear(gates, self.gain, self.offset)  # type: ignore[arg-type]


class KeptPrompt(nn.Module):
    """Cross-attention to any number of fixed tokens, with their keys and values kept."""

    def __init__(self, attention: Any, prompt: Tensor) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q = attention.to_q
        self.to_out = attention.to_out[0]
        for name, project in (("keys", attention.to_k), ("values", attention.to_v)):
            self.register_buffer(name, project(prompt).unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous())

    def forward(self, hidden_states: Tensor, *unused: Any, **also_unused: Any) -> Tensor:
        """(N, n, C) → (N, n, C)."""
        query = self.to_q(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        batch = query.shape[0]
        keys, values = (t.expand(batch, -1, -1, -1) for t in (self.keys, self.values))  # type: ignore[operator]
        mixed = functional.scaled_dot_product_attention(query, keys, values)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


def _modules(model: nn.Module, kind: type) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kind)]
