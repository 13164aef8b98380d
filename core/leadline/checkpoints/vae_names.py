"""The two spellings of a Stable Diffusion VAE's attention, turned into one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

#: Before diffusers 0.18 the one attention layer of encoder and decoder was stored under these names; most published
#: VAEs still are.
_MODERN = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_ATTENTION = re.compile(
    r"(?P<layer>.*\.attentions\.\d+)\.(?P<part>query|key|value|proj_attn|to_q|to_k|to_v|to_out\.0)\.(?P<kind>weight|bias)"
)


def modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of an ``AutoencoderKL`` under diffusers' current names.

    The attention's ``query / key / value / proj_attn`` become ``to_q / to_k / to_v / to_out.0``; weights stored as 1×1
    convolutions (C, C, 1, 1), as the original latent-diffusion files have them, become matrices (C, C).
    """
    renamed = {}
    for name, tensor in tensors.items():
        found = _ATTENTION.fullmatch(name)
        if found is None:
            renamed[name] = tensor
            continue
        matrix = tensor[:, :, 0, 0] if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor
        part = _MODERN.get(found["part"], found["part"])
        renamed[f"{found['layer']}.{part}.{found['kind']}"] = matrix
    return renamed
