"""Tiny random models for tests: real architecture, no weights to download, milliseconds to run."""

from __future__ import annotations

from typing import Any

import torch

from leadline.checkpoints.bundle import ModelBundle, build
from leadline.depth.spaces import Space
from leadline.inference.estimator import DepthEstimator
from leadline.models import ModelSpec

SPACES = {"depthfm": Space.LOG_DEPTH, "depthmaster": Space.SQRT_DISPARITY, "fiffdepth": Space.DEPTH}

CODEC: dict[str, Any] = {
    "block_out_channels": [8, 8, 16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
}


def tiny_spec(family: str, **changes: Any) -> ModelSpec:
    unet: dict[str, Any] = {
        "in_channels": (8 if family == "depthfm" else 4) + changes.get("condition_channels", 0),
        "out_channels": 4,
        "block_out_channels": [16, 32],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 2,
        "cross_attention_dim": 16,
        "use_linear_projection": True,
    }
    settings = {"default_size": 64, "pad_multiple": 16, "name": f"{family}-tiny", "fourier": family == "depthmaster"}
    return ModelSpec(family, SPACES[family], unet, CODEC, **{**settings, **changes})


def tiny_bundle(family: str, seed: int = 0, **changes: Any) -> ModelBundle:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(tiny_spec(family, **changes), torch.randn(1, 2, 16))


def tiny_estimator(
    family: str, seed: int = 0, device: str = "cpu", precision: str = "fp32", **changes: Any
) -> DepthEstimator:
    return DepthEstimator(tiny_bundle(family, seed, **changes), device=device, precision=precision)


def tiny_normals_estimator(family: str = "lotus-d") -> DepthEstimator:
    unet = dict(tiny_spec("fiffdepth").unet) | {
        "in_channels": 4 if family == "lotus-d" else 8,
        "class_embed_type": "projection" if family.startswith("lotus") else None,
        "projection_class_embeddings_input_dim": 4 if family.startswith("lotus") else None,
    }
    spec = ModelSpec(
        family, None, unet, CODEC, output="normals", default_size=64, name=f"{family}-tiny",
        schedule={"kind": "ddim", "spacing": "trailing", "zero_snr": True} if family == "marigold" else {},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DepthEstimator(build(spec, torch.randn(1, 2, 16)), device="cpu")
