"""DepthFM's own checkpoint: one pickle in latent-diffusion's layout, and a VAE from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leadline.checkpoints.files import read_pickle
from leadline.errors import CheckpointError


def read_ldm(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], Tensor, int]:
    """Network configuration, tensors under diffusers' names, prompt (1, T, D) and noising step of a ``.ckpt``.

    Raises:
        CheckpointError: Damaged, or not DepthFM's.
    """
    raw = read_pickle(path)
    missing = {"state_dict", "ldm_hparams", "empty_text_embedding"} - set(raw)
    if missing:
        raise CheckpointError(
            f"{path} is not a DepthFM checkpoint ({', '.join(sorted(missing))} missing in it); check the file"
        )
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint  # noqa: PLC0415 (slow to import)

    config = ldm_unet_config(raw["ldm_hparams"])
    # diffusers' converter finds the network by this prefix and returns nothing without it
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in raw["state_dict"].items()}
    try:
        tensors = convert_ldm_unet_checkpoint(prefixed, config=dict(config))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} has weights that do not fit its own description ({error}); fetch it again"
        ) from error
    prompt = torch.as_tensor(raw["empty_text_embedding"]).float()
    return config, tensors, prompt.reshape(1, *prompt.shape[-2:]), int(raw.get("noising_step", 0))


def ldm_unet_config(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The diffusers config of the UNet that ``ldm_hparams`` describes; it follows the checkpoint, not a stock model."""
    try:
        channels = [hparams["model_channels"] * factor for factor in hparams["channel_mult"]]
        attends = [2**level in hparams["attention_resolutions"] for level in range(len(channels))]
        per_head = hparams.get("num_head_channels", -1)
        heads = hparams["num_heads"] if per_head in (-1, None) else [width // per_head for width in channels]
        return {
            "in_channels": hparams["in_channels"],
            "out_channels": hparams["out_channels"],
            "block_out_channels": channels,
            "layers_per_block": hparams["num_res_blocks"],
            "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
            "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
            "attention_head_dim": heads,  # diffusers' name for the number of heads
            "use_linear_projection": hparams.get("use_linear_in_transformer", False),
            "transformer_layers_per_block": hparams.get("transformer_depth", 1),
            "cross_attention_dim": hparams["context_dim"],
            "norm_num_groups": 32,
            "norm_eps": 1e-5,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint's ldm_hparams lack {error}; is it a DepthFM checkpoint?") from error
