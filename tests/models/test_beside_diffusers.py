"""Networks of other shapes than the goldens', made, saved and run by diffusers' own Marigold pipelines, beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from places import GOLDEN_FAMILY
from tolerances import OFFICIAL

import leadline

TOKENIZER = GOLDEN_FAMILY / "lotus-depth-g-v1-0" / "tokenizer"


@dataclass(frozen=True)
class Published:
    """A checkpoint as diffusers' pipelines have it."""

    kind: str
    channels: tuple[int, int, int, int]
    groups: int
    heads: tuple[int, int, int, int]
    layers: int
    prompt_width: int
    linear: bool
    spacing: str
    steps: int
    size: int


CHECKPOINTS = {
    "uneven channels, one head a level more": Published(
        "depth", (16, 24, 32, 40), 8, (2, 3, 4, 5), 1, 48, True, "trailing", 4, 96
    ),
    "convolutions instead of linear projections": Published(
        "depth", (16, 32, 32, 48), 16, (4, 4, 4, 4), 2, 32, False, "leading", 10, 128
    ),
    "one step of normals": Published("normals", (8, 16, 24, 24), 8, (1, 2, 3, 3), 1, 32, True, "trailing", 1, 64),
    "five steps of normals": Published("normals", (16, 32, 32, 48), 8, (2, 4, 4, 6), 1, 40, True, "trailing", 5, 88),
    "LCM": Published("lcm", (16, 32, 32, 48), 8, (2, 4, 4, 6), 1, 40, True, "leading", 1, 96),
}


def made_by_diffusers(published: Published) -> Any:
    torch.manual_seed(published.size)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=4,
        block_out_channels=published.channels,
        norm_num_groups=published.groups,
        attention_head_dim=published.heads,
        layers_per_block=published.layers,
        cross_attention_dim=published.prompt_width,
        use_linear_projection=published.linear,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(hidden_size=published.prompt_width, num_attention_heads=4, num_hidden_layers=2)
    )
    scheduler = {"lcm": diffusers.LCMScheduler}.get(published.kind, diffusers.DDIMScheduler)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing=published.spacing,
        rescale_betas_zero_snr=published.spacing == "trailing",
    )
    parts = unet, vae, scheduler, text, transformers.CLIPTokenizer.from_pretrained(TOKENIZER)
    defaults = {"default_denoising_steps": published.steps, "default_processing_resolution": published.size}
    if published.kind == "normals":
        return diffusers.MarigoldNormalsPipeline(*parts, prediction_type="normals", **defaults)
    affine = {"scale_invariant": True, "shift_invariant": True}
    return diffusers.MarigoldDepthPipeline(*parts, prediction_type="depth", **affine, **defaults)


@pytest.mark.parametrize("published", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_our_map_is_the_pipelines(published: Published, tmp_path: Path):
    pipeline = made_by_diffusers(published)
    pipeline.save_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    picture = np.random.default_rng(1).integers(0, 256, (14, 20, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    height, width = -(-(140 * published.size // 200) // 8), -(-published.size // 8)
    noise = torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(2))
    theirs = pipeline(
        torch.from_numpy(picture).permute(2, 0, 1)[None] / 255.0,
        latents=noise,
        num_inference_steps=published.steps,
        processing_resolution=published.size,
        output_type="np",
    ).prediction

    estimator = leadline.load(tmp_path, device="cpu")
    assert estimator.default_size == published.size
    predict = estimator.normals if published.kind == "normals" else estimator.predict
    ours = predict(picture, steps=published.steps, noise=noise, framing="diffusers").values
    apart = np.abs(ours - theirs.squeeze())
    assert np.quantile(apart, 0.999) <= OFFICIAL
    # A random network's vector may be so short that rounding turns it.
    assert apart.max() <= (1e-3 if published.kind == "normals" else OFFICIAL)
