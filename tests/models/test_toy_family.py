"""A family that nobody published, added as docs/architecture.md says: one entry, and the arithmetic follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tiny import CODEC, tiny_spec

from leadline import Space, load
from leadline.checkpoints.bundle import build
from leadline.checkpoints.native import load_model, save_model
from leadline.models import ModelSpec
from leadline.models.families import FAMILIES, DepthRange, Family, Sampler, Start

TOY = Family(
    "toy", "Toy (nobody, never)", Start.ZEROS, Sampler.ONE_STEP, Space.DISPARITY,
    timestep=500.0, gain=-0.5, depth_range=DepthRange.CLIPPED,
)  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(FAMILIES, TOY.name, TOY)
    network = tiny_spec("depthfm").unet  # two latents wide, as the toy is
    spec = ModelSpec(TOY.name, Space.DISPARITY, network, CODEC, default_size=64, name="toy-tiny")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        save_model(build(spec, torch.randn(1, 2, 16)), tmp_path / "toy.safetensors", dtype=torch.float32)
    return tmp_path / "toy.safetensors"


def test_one_entry_is_a_model(checkpoint: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)  # whole latents: nothing is padded
    model = load(checkpoint, device="cpu")
    prediction = model.predict(image, size=0)

    untouched = load_model(checkpoint)
    network = UNet2DConditionModel.from_config(untouched.spec.unet).eval()
    network.load_state_dict(untouched.model.unet.net.state_dict())
    vae, scale = AutoencoderKL.from_config(untouched.spec.codec).eval(), untouched.spec.latent_scale
    vae.load_state_dict(untouched.codec.vae.state_dict())
    with torch.inference_mode():
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1.0
        z = vae.encode(pixels).latent_dist.mean * scale
        output = network(torch.cat([z, torch.zeros_like(z)], 1), 500.0, untouched.model.prompt).sample
        decoded = vae.decode(-0.5 * output / scale).sample.mean(1)[0]
    assert prediction.space is Space.DISPARITY
    assert np.abs(prediction.values - ((decoded + 1.0) / 2.0).clamp(0.0, 1.0).numpy()).max() < 1e-4
    assert model.predict(image, ensemble=3).uncertainty is not None
