"""Beside diffusers' Marigold pipeline: the same full-size random weights and noise; time by turns in one process, memory in two."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from leadline.benchmarking.apart import answer_parent, peak_mb, run_module
from leadline.benchmarking.reference import OFFICIAL_CODEC, official_spec
from leadline.checkpoints.bundle import ModelBundle, build
from leadline.depth.spaces import Space
from leadline.inference.devices import choose_precision
from leadline.inference.estimator import DepthEstimator
from leadline.models.families import MARIGOLD
from leadline.models.folding import sharing_copy
from leadline.models.samplers import Schedule
from leadline.models.spec import ModelSpec

#: Marigold depth v1-1's scheduler.
_SCHEDULE = Schedule(kind="ddim", spacing="trailing", zero_snr=True)


Side = Literal["diffusers", "ours"]
Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Task:
    """What both sides do.

    Attributes:
        size: Side of the square picture, pixels.
        steps, ensemble: Of both sides.
        precision: Of our side.
        threads: CPU threads; None leaves PyTorch's choice.
        device: Of both sides.
        pipeline_precision: Of the pipeline: "fp32", "fp16" or "bf16".
    """

    size: int
    steps: int
    ensemble: int
    precision: str = "fp32"
    threads: int | None = None
    device: str = "cpu"
    pipeline_precision: str = "fp32"


@dataclass(frozen=True)
class Comparison:
    """Seconds of both sides (the least of several runs each), and how far their maps are apart.

    Attributes:
        diffusers_s, ours_s: Seconds of one call.
        mean_difference, largest_difference: Over the range of the pipeline's map. None for an ensemble: the reference's alignment
            cannot be reproduced to the digit.
    """

    diffusers_s: float
    ours_s: float
    mean_difference: float | None
    largest_difference: float | None

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


def diffusers_pipeline(bundle: ModelBundle, device: str = "cpu", precision: str = "fp32") -> Any:
    """diffusers' pipeline on the same weights."""
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
    if (device, precision) != ("cpu", "fp32"):
        dtype = choose_precision(precision, torch.device(device))
        pipeline = pipeline.to(device, dtype)
        pipeline.empty_text_embedding = pipeline.empty_text_embedding.to(device, dtype)
    return pipeline


def compare(task: Task, repeat: int, cpu_seconds: bool, bundle: ModelBundle | None = None) -> Comparison:
    """Both sides on one picture, by turns.

    Args:
        task: What to do.
        repeat: Runs of each side.
        cpu_seconds: Processor seconds rather than wall-clock seconds.
        bundle: The weights; None: :func:`full_size_marigold`.
    """
    bundle = full_size_marigold() if bundle is None else bundle
    sides: dict[Side, Run] = {"diffusers": _theirs(task, bundle), "ours": _ours(task, bundle)}
    clock = time.process_time if cpu_seconds else time.perf_counter
    seconds: dict[Side, list[float]] = {side: [] for side in sides}
    maps: dict[Side, np.ndarray] = {}
    for _ in range(repeat):
        for side, run in sides.items():
            started = clock()
            maps[side] = run()
            seconds[side].append(clock() - started)
    mean, largest = share_of_range(maps["diffusers"], maps["ours"]) if task.ensemble == 1 else (None, None)
    return Comparison(min(seconds["diffusers"]), min(seconds["ours"]), mean, largest)


def share_of_range(exact: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mean and largest absolute difference of two maps, over the range of the first."""
    apart, span = np.abs(other - exact), np.ptp(exact)
    return float(apart.mean() / span), float(apart.max() / span)


def peak_memory_mb(task: Task, side: Side) -> float:
    """Peak resident set of a fresh process that makes the weights and runs one side once, MiB."""
    return float(run_module(__name__, {"task": asdict(task), "side": side}, str(task))["peak_mb"])


def _picture(task: Task) -> tuple[np.ndarray, torch.Tensor]:
    cells = task.size // 8
    picture = np.random.default_rng(0).integers(0, 256, (task.size, task.size, 3), dtype=np.uint8)
    return picture, torch.randn(task.ensemble, 4, cells, cells, generator=torch.Generator().manual_seed(0))


def _theirs(task: Task, bundle: ModelBundle) -> Run:
    from PIL import Image  # noqa: PLC0415

    pipeline = diffusers_pipeline(bundle, task.device, task.pipeline_precision)
    picture, noise = _picture(task)

    def run() -> Any:
        return pipeline(
            Image.fromarray(picture), num_inference_steps=task.steps, ensemble_size=task.ensemble, processing_resolution=0,
            latents=noise.to(pipeline.device, pipeline.dtype, copy=True), output_type="np", batch_size=task.ensemble,
        ).prediction[0, :, :, 0]  # fmt: skip

    return run


def _ours(task: Task, bundle: ModelBundle) -> Run:
    estimator = DepthEstimator(bundle, device=task.device, precision=task.precision)
    picture, noise = _picture(task)
    return lambda: (
        estimator.predict(
            picture, steps=task.steps, ensemble=task.ensemble, size=0, framing="diffusers", noise=noise
        ).values
    )


def _child(asked: dict[str, Any]) -> dict[str, Any]:
    task = Task(**asked["task"])
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    side = _ours if asked["side"] == "ours" else _theirs
    side(task, full_size_marigold())()
    return {"peak_mb": peak_mb(torch.device("cpu"))}


if __name__ == "__main__":
    answer_parent(_child)
