"""What must hold for any width, size and seed, not only for the fixtures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tiny import CODEC, tiny_bundle, tiny_estimator, tiny_spec

from leadline.checkpoints.bundle import build
from leadline.models import Codec
from leadline.models.fourier import FourierEnhancement
from leadline.models.samplers import noised
from leadline.models.unet import DepthUNet

FAMILIES = ["depthfm", "depthmaster", "fiffdepth"]


@pytest.mark.usefixtures("inference_mode")
class TestUNetAgainstDiffusers:
    """Our forward pass gives what diffusers' own forward pass gives."""

    @pytest.mark.parametrize("channels", [(16, 32), (8, 16, 24), (16, 16, 32, 32)])
    @pytest.mark.parametrize("size", [(8, 8), (9, 13), (7, 20)])
    @pytest.mark.parametrize("heads", [2, [1, 2, 4, 4]])
    def test_same_numbers(self, channels, size, heads):
        torch.manual_seed(sum(channels) + size[0])
        levels = len(channels)
        config = {
            **tiny_spec("depthmaster").unet,
            "block_out_channels": list(channels),
            "down_block_types": ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1),
            "attention_head_dim": heads if isinstance(heads, int) else heads[:levels],
            "norm_num_groups": 8,
        }
        ours = DepthUNet(config).eval()
        theirs = UNet2DConditionModel.from_config(config).eval()
        theirs.load_state_dict(ours.net.state_dict())
        latents, context = torch.randn(2, 4, *size), torch.randn(1, 3, 16)
        expected = theirs(latents, torch.tensor([0.25, 0.5]), context.expand(2, -1, -1)).sample
        torch.testing.assert_close(ours(latents, torch.tensor([0.25, 0.5]), context), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("inference_mode")
class TestCodec:
    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("attends", [False, True])
    @pytest.mark.parametrize("quantised", [False, True])
    def test_same_numbers_as_diffusers(self, layers, attends, quantised):
        torch.manual_seed(layers)
        config = {
            **CODEC, "layers_per_block": layers, "mid_block_add_attention": attends, "use_quant_conv": quantised,
            "use_post_quant_conv": quantised,
        }  # fmt: skip
        codec = Codec(config).eval()
        theirs = AutoencoderKL.from_config(config).eval()
        theirs.load_state_dict(codec.vae.state_dict())
        rgb, latents = torch.rand(2, 3, 37, 50) * 2 - 1, torch.randn(2, 4, 6, 5)
        posterior = theirs.encode(rgb).latent_dist.mean
        torch.testing.assert_close(codec.encode(rgb), posterior * codec.latent_scale, atol=1e-5, rtol=1e-4)
        decoded = theirs.decode(latents / codec.latent_scale).sample
        torch.testing.assert_close(codec.decode_rgb(latents), decoded, atol=1e-4, rtol=1e-4)

    def test_grey_is_the_mean_of_three_channels(self):
        torch.manual_seed(0)
        codec = Codec(CODEC).eval()
        latents = torch.randn(2, 4, 6, 5)
        torch.testing.assert_close(
            codec.decode(latents), codec.decode_rgb(latents).mean(1, keepdim=True), atol=1e-5, rtol=0
        )

    def test_encoding_is_deterministic_and_rounds_odd_sizes_down(self):
        codec = Codec(CODEC).eval()
        rgb = torch.rand(1, 3, 37, 50) * 2 - 1
        assert codec.encode(rgb).shape == (1, 4, 4, 6)
        assert torch.equal(codec.encode(rgb), codec.encode(rgb))


class TestAttentionScaling:
    def test_token_count_changes_self_attention_only(self):
        """64 tokens: logits times sqrt(ln 64 / ln 256) = 0.866."""
        torch.manual_seed(0)
        unets = [DepthUNet(tiny_spec("fiffdepth").unet, token_count_scaling=scaled) for scaled in (False, True)]
        plain, scaled = (unet.net.mid_block.attentions[0].transformer_blocks[0].attn1 for unet in unets)
        scaled.load_state_dict(plain.state_dict())
        tokens = torch.randn(1, 64, plain.to_q.in_features)
        context = torch.randn(1, 64, plain.to_k.in_features)
        assert torch.equal(plain(tokens, context), scaled(tokens, context))
        by_hand = scaled(tokens)
        plain.to_q.weight.data *= np.sqrt(np.log(64) / np.log(256))
        torch.testing.assert_close(plain(tokens), by_hand, atol=1e-5, rtol=1e-4)


class TestFourierEnhancement:
    @pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (8, 8)])
    def test_any_size(self, size):
        block = FourierEnhancement(16)
        assert block(torch.randn(2, 16, *size)).shape == (2, 16, *size)

    def test_half_precision_goes_through_a_float32_transform(self):
        torch.manual_seed(0)
        block = FourierEnhancement(16).eval()
        features = torch.randn(1, 16, 6, 6)
        half = block.bfloat16()(features.bfloat16())
        assert half.dtype == torch.bfloat16
        assert torch.isfinite(half).all()


class TestSolver:
    def test_euler_of_a_constant_velocity_is_exact_for_any_number_of_steps(self):
        """With v = c everywhere, x(1) = x(0) + c."""
        model = tiny_bundle("depthfm").model
        model.unet.body = lambda features, embedding, context: torch.full_like(noise, 0.7)
        z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
        start = noised(z, noise, model.spec.noising_step)
        for steps in (1, 2, 5):
            torch.testing.assert_close(model.solve(z, steps, noise), start + 0.7)

    def test_is_euler_over_the_velocity_at_raw_times(self):
        model = tiny_bundle("depthfm").model
        z, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
        x = noised(z, noise, model.spec.noising_step)
        with torch.inference_mode():
            for t in (0.0, 0.25, 0.5, 0.75):
                x = x + model.evaluate(x, z, t) / 4
            torch.testing.assert_close(model.solve(z, 4, noise), x, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_condition_channels_are_appended(self, family):
        spec = tiny_spec(family, condition_channels=8)
        model = build(spec, torch.zeros(1, 2, 16)).model
        z, condition = torch.randn(1, 4, 8, 8), torch.randn(1, 8, 8, 8)
        first = model.solve(z, noise=torch.zeros_like(z), condition=condition)
        second = model.solve(z, noise=torch.zeros_like(z), condition=condition + 1)
        assert not torch.allclose(first, second)


def test_one_estimator_for_each_family():
    for family in FAMILIES:
        assert tiny_estimator(family).family == family
