"""Steps against diffusers' own schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler

from leadline.models.samplers import Schedule

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 50])
@pytest.mark.parametrize(
    ("spacing", "zero_snr", "alpha_to_one"),
    [("leading", False, False), ("trailing", True, False), ("trailing", False, True)],
)
def test_ddim(steps, spacing, zero_snr, alpha_to_one):
    theirs = DDIMScheduler(
        **BETAS, clip_sample=False, set_alpha_to_one=alpha_to_one, steps_offset=1, timestep_spacing=spacing,
        rescale_betas_zero_snr=zero_snr,
    )  # fmt: skip
    theirs.set_timesteps(steps)
    plan = Schedule(spacing=spacing, zero_snr=zero_snr, alpha_to_one=alpha_to_one).steps(steps)
    assert [step.t for step in plan] == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(0)
    for step in plan:
        x, v = (torch.randn(50, generator=generator) for _ in range(2))
        expected = theirs.step(v, int(step.t), x).prev_sample
        torch.testing.assert_close(step.keep * x + step.gain * v, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lcm(steps):
    theirs = LCMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False)
    theirs.set_timesteps(steps)
    plan = Schedule(kind="lcm").steps(steps)
    assert [step.t for step in plan] == theirs.timesteps.tolist()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, generator=generator)
    for step in plan:
        v = torch.randn(50, generator=generator)
        fresh = torch.randn(50, generator=torch.Generator().manual_seed(7))
        expected = theirs.step(v, int(step.t), x, generator=torch.Generator().manual_seed(7)).prev_sample
        ours = step.keep * x + step.gain * v + step.fresh * fresh
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
        x = ours
