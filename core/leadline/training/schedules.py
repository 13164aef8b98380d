"""Noise schedules and learning-rate schedules, as pure functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ddpm_alpha_bar(steps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> Tensor:
    """Cumulative signal power alpha_bar_t of timesteps t = 0 .. steps - 1, float64 (steps,).

    Stable Diffusion's "scaled linear" betas: linear in sqrt(beta).
    """
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def diffuse(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """b_t = sqrt(alpha_bar) b_0 + sqrt(1 - alpha_bar) eps (FiffDepth eq. 2); ``alpha_bar`` (N,), rest (N, C, h, w)."""
    alpha_bar = alpha_bar.to(clean.dtype).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * clean + (1.0 - alpha_bar).sqrt() * noise


def velocity_target(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """v_t = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) b_0 (FiffDepth eq. 3)."""
    alpha_bar = alpha_bar.to(clean.dtype).view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * noise - (1.0 - alpha_bar).sqrt() * clean


def learning_rate(
    step: int, peak: float, steps: int, warmup: int = 0, decay: str = "exponential", final_ratio: float = 0.01
) -> float:
    """Learning rate of optimiser step ``step`` (from 0).

    Rises linearly over ``warmup`` steps, then falls from ``peak`` to ``final_ratio * peak`` at ``steps``:
    "exponential" (DepthMaster), "cosine", or stays ("constant", DepthFM).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    if decay == "exponential":
        return peak * final_ratio**progress
    if decay == "cosine":
        return peak * (final_ratio + (1.0 - final_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress)))
    return peak
