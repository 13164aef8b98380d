"""Schedules against values computed by hand."""

from __future__ import annotations

import pytest
import torch

from leadline.models.samplers import cosine_alpha_bar, noised
from leadline.training import schedules


def test_ddpm_alpha_bar_by_hand() -> None:
    alpha_bar = schedules.ddpm_alpha_bar()
    assert alpha_bar.shape == (1000,)
    assert float(alpha_bar[0]) == pytest.approx(1.0 - 0.00085)
    second = ((0.00085**0.5) + (0.012**0.5 - 0.00085**0.5) / 999) ** 2
    assert float(alpha_bar[1]) == pytest.approx((1.0 - 0.00085) * (1.0 - second))
    assert 0.004 < float(alpha_bar[-1]) < 0.005
    assert bool((alpha_bar.diff() < 0).all())


def test_ddpm_alpha_bar_equals_the_library_that_the_official_weights_use() -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
    assert torch.allclose(schedules.ddpm_alpha_bar().float(), theirs, rtol=1e-4)


def test_diffuse_and_velocity_by_hand() -> None:
    clean, noise = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0)
    alpha_bar = torch.tensor([0.64])
    assert float(schedules.diffuse(clean, noise, alpha_bar)) == pytest.approx(0.8 * 2 + 0.6 * 3)
    assert float(schedules.velocity_target(clean, noise, alpha_bar)) == pytest.approx(0.8 * 3 - 0.6 * 2)


def test_velocity_gives_the_clean_latent_back() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(2, 4, 3, 3, generator=generator) for _ in range(2))
    alpha_bar = torch.tensor([0.9, 0.2])
    noisy, v = schedules.diffuse(clean, noise, alpha_bar), schedules.velocity_target(clean, noise, alpha_bar)
    root = alpha_bar.view(-1, 1, 1, 1)
    assert torch.allclose(root.sqrt() * noisy - (1 - root).sqrt() * v, clean, atol=1e-5)


def test_noise_augmentation_of_the_paper() -> None:
    assert cosine_alpha_bar(400) == pytest.approx(0.6545, abs=1e-4)  # cos²(0.4 π / 2)
    image, noise = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), -1.0)
    assert float(noised(image, noise, 400)) == pytest.approx(0.8090 - 0.5878, abs=1e-3)


@pytest.mark.parametrize(
    ("step", "decay", "expected"),
    [
        (0, "exponential", 1e-3 / 10),
        (9, "exponential", 1e-3),
        (10, "exponential", 1e-3),
        (60, "exponential", 1e-3 * 0.1),  # half of the way to 1 %
        (110, "exponential", 1e-5),
        (500, "exponential", 1e-5),
        (60, "cosine", 1e-3 * (0.01 + 0.99 * 0.5)),
        (110, "cosine", 1e-5),
        (109, "constant", 1e-3),
    ],
)
def test_learning_rate(step: int, decay: str, expected: float) -> None:
    assert schedules.learning_rate(step, 1e-3, steps=110, warmup=10, decay=decay) == pytest.approx(expected)
