"""Beside diffusers' Marigold pipeline: the same full-size random weights, the same noise, by turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from leadline.benchmarking.reference import OFFICIAL_CODEC, official_spec
from leadline.checkpoints.bundle import ModelBundle, build
from leadline.depth.spaces import Space
from leadline.inference.estimator import DepthEstimator
from leadline.models.families import MARIGOLD
from leadline.models.folding import sharing_copy
from leadline.models.samplers import Schedule
from leadline.models.spec import ModelSpec

#: Marigold depth v1-1's scheduler.
_SCHEDULE = Schedule(kind="ddim", spacing="trailing", zero_snr=True)


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides for one picture (the least of several runs each), and the largest difference of their maps.

    The difference is over the map's range; of an ensemble it is not given, because the reference's alignment cannot be
    reproduced to the digit.
    """

    size: int
    steps: int
    ensemble: int
    diffusers_s: float
    ours_s: float
    difference: float | None

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.diffusers_s / self.ours_s


def full_size_marigold() -> ModelBundle:
    """Marigold's architecture at the published size with random weights, always the same ones."""
    spec = ModelSpec(
        MARIGOLD.name,
        Space.DEPTH,
        {**official_spec("fiffdepth").unet, "in_channels": 8},
        OFFICIAL_CODEC,
        schedule=_SCHEDULE.settings(),
        name="marigold-full-size",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(spec, torch.randn(1, 2, 1024))


def diffusers_pipeline(bundle: ModelBundle) -> Any:
    """diffusers' pipeline on the same weights, on the CPU, in float32."""
    import diffusers  # noqa: PLC0415 (slow to import)

    scheduler = diffusers.DDIMScheduler(
        beta_start=_SCHEDULE.beta_start,
        beta_end=_SCHEDULE.beta_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing=_SCHEDULE.spacing,
        rescale_betas_zero_snr=True,
    )
    ours = {diffusers.UNet2DConditionModel: bundle.model.unet.net, diffusers.AutoencoderKL: bundle.codec.vae}
    parts = []
    for kind, module in ours.items():
        with torch.device("meta"):
            part = kind.from_config(module.config)
        part.load_state_dict(sharing_copy(module).state_dict(), assign=True)
        parts.append(part.eval().requires_grad_(False))
    pipeline: Any = diffusers.MarigoldDepthPipeline(
        *parts, scheduler, None, None, scale_invariant=True, shift_invariant=True
    )
    pipeline.empty_text_embedding = bundle.model.prompt
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compare(
    size: int, steps: int, ensemble: int, repeat: int, cpu_seconds: bool, precision: str = "fp32"
) -> Comparison:
    """Both sides on one square picture, on the CPU.

    Args:
        size: Side in pixels.
        steps, ensemble: Of both sides.
        repeat: Runs of each side, by turns.
        cpu_seconds: Processor seconds rather than wall-clock seconds.
        precision: Of our side; the pipeline runs in float32.
    """
    bundle = full_size_marigold()
    pipeline = diffusers_pipeline(bundle)
    estimator = DepthEstimator(bundle, device="cpu", precision=precision)
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    noise = torch.randn(ensemble, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(0))

    def theirs() -> Any:
        from PIL import Image  # noqa: PLC0415

        return pipeline(
            Image.fromarray(picture), num_inference_steps=steps, ensemble_size=ensemble, processing_resolution=0,
            latents=noise.clone(), output_type="np", batch_size=ensemble,
        ).prediction[0, :, :, 0]  # fmt: skip

    def ours() -> Any:
        return estimator.predict(
            picture, steps=steps, ensemble=ensemble, size=0, framing="diffusers", noise=noise
        ).values

    clock = time.process_time if cpu_seconds else time.perf_counter
    seconds: dict[Callable[[], Any], list[float]] = {theirs: [], ours: []}
    maps: dict[Callable[[], Any], Any] = {}
    for _ in range(repeat):
        for side, taken in seconds.items():
            started = clock()
            maps[side] = side()
            taken.append(clock() - started)
    difference = None
    if ensemble == 1:
        difference = float(np.abs(maps[theirs] - maps[ours]).max() / np.ptp(maps[theirs]))
    return Comparison(size, steps, ensemble, min(seconds[theirs]), min(seconds[ours]), difference)
