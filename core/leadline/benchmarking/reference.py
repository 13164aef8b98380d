"""The official schedule: what the authors' code computes, in the order in which it computes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle, build
from leadline.depth.spaces import Space
from leadline.inference.framing import as_tensor, normalise
from leadline.models import ModelSpec
from leadline.models.families import Start
from leadline.models.folding import sharing_copy
from leadline.models.samplers import noised
from leadline.types import RgbImage

SPACES = {"depthfm": Space.LOG_DEPTH, "depthmaster": Space.SQRT_DISPARITY, "fiffdepth": Space.DEPTH}

OFFICIAL_CODEC = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def official_spec(family: str) -> ModelSpec:
    """The published architecture: Stable Diffusion 2.1's network and its autoencoder."""
    unet = {
        "in_channels": 8 if family == "depthfm" else 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 2,
        "attention_head_dim": 8 if family == "depthfm" else [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    }
    fourier = family == "depthmaster"
    name = f"{family}-official"
    return ModelSpec(family, SPACES[family], unet, OFFICIAL_CODEC, fourier=fourier, pad_multiple=64, name=name)


def official_bundle(family: str) -> ModelBundle:
    """The published architecture with random weights, always the same ones; speed does not depend on them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(official_spec(family), torch.randn(1, 77 if family == "depthfm" else 2, 1024))


def reference_copy(bundle: ModelBundle, device: torch.device, dtype: torch.dtype) -> ModelBundle:
    """The bundle where and as the reference runs, in PyTorch's default layout; shares memory if nothing changes."""
    return ModelBundle(sharing_copy(bundle.model).to(device, dtype), sharing_copy(bundle.codec).to(device, dtype))


@torch.inference_mode()
def reference(
    bundle: ModelBundle, image: RgbImage, steps: int, noise: Tensor | None, members: int
) -> npt.NDArray[np.float32]:
    """The mean map (H, W) of ``members`` runs, as the official code makes it.

    It encodes the image once for each member, runs cross-attention over the prompt and the time embedding in every
    evaluation, runs all members at once, and decodes three channels to average them.

    Args:
        image: uint8 (H, W, 3), sides as the network takes them.
        noise: (members, C, h, w) for DepthFM, None for the others, whose members are all alike.
    """
    model, codec = bundle.model, bundle.codec
    device, dtype = model.prompt.device, model.prompt.dtype
    latents = codec.encode(normalise(as_tensor(image)[None], device, dtype).repeat(members, 1, 1, 1))
    if model.traits.start is Start.NOISED_IMAGE:
        assert noise is not None
        x = noised(latents, noise.to(device, dtype), model.spec.noising_step)
        for i in range(steps):
            x = x + model.evaluate(x, latents, torch.full((members,), i / steps, device=device)) / steps
    else:
        timestep = torch.full((members,), model.traits.timestep, device=device)
        x = model.unet(latents, timestep, model.prompt)
    decoded = codec.decode_rgb(x).mean(1, keepdim=True)
    return model.finish(decoded.float()).mean(0)[0].cpu().numpy()
