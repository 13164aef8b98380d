"""Ours against the official schedule, at equal output, in one process, alternating.

The reference does what the official code does: it encodes the image once per ensemble member, runs cross-attention over
the prompt and the time embedding in every evaluation, decodes three channels, and keeps PyTorch's default layout. Ours
is :class:`leadline.DepthEstimator`. Weights are random: speed does not depend on them.

Usage: python benchmarks/inference.py [--official] [--size 256 512] [--repeat 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle, build
from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.checkpoints.native import load_model
from leadline.devices import choose_devices, choose_precision
from leadline.estimator import DepthEstimator
from leadline.framing import as_tensor, normalise
from leadline.models import ModelSpec
from leadline.models.depthfm import noised
from leadline.models.folding import sharing_copy
from leadline.spaces import Space

OFFICIAL_CODEC = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
SPACES = {"depthfm": Space.LOG_DEPTH, "depthmaster": Space.SQRT_DISPARITY, "fiffdepth": Space.DEPTH}


@dataclass(frozen=True)
class Row:
    """One comparison; seconds are the best of the repeats."""

    model: str
    scale: str
    size: int
    steps: int
    ensemble: int
    reference_s: float
    ours_s: float
    ratio: float
    difference: float


def official_bundle(family: str) -> ModelBundle:
    """The published architecture (Stable Diffusion 2.1's widths) with random weights."""
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
    spec = ModelSpec(family, SPACES[family], unet, OFFICIAL_CODEC, fourier=family == "depthmaster", pad_multiple=64)
    torch.manual_seed(0)
    return build(spec, torch.randn(1, 77 if family == "depthfm" else 2, 1024))


@torch.inference_mode()
def reference(bundle: ModelBundle, image: np.ndarray, steps: int, noise: Tensor | None, members: int) -> np.ndarray:
    """The official schedule; returns the mean map (H, W)."""
    model, codec = bundle.model, bundle.codec
    device, dtype = model.prompt.device, model.prompt.dtype
    pixels = normalise(as_tensor(image)[None], device, dtype).repeat(members, 1, 1, 1)
    latents = codec.encode(pixels)
    if noise is None:
        x = model.unet(latents, torch.full((members,), float(model.timestep), device=device), model.prompt)  # type: ignore[arg-type]
    else:
        x = noised(latents, noise.to(device, dtype), model.spec.noising_step)
        for i in range(steps):
            x = x + model.velocity(x, latents, torch.full((members,), i / steps, device=device)) / steps  # type: ignore[operator]
    decoded = codec.decode_rgb(x).mean(1, keepdim=True)
    return model.finish(decoded.float()).mean(0)[0].cpu().numpy()


def compare(
    name: str,
    scale: str,
    bundle: ModelBundle,
    size: int,
    steps: int,
    members: int,
    repeat: int,
    device: str,
    precision: str,
) -> Row:
    """Run both by turns and keep the best time of each."""
    where = choose_devices(device)[0]
    dtype = choose_precision(precision, where)
    estimator = DepthEstimator(bundle, device=device, precision=precision)
    plain = bundle if dtype == torch.float32 and where.type == "cpu" else official_copy(bundle, where, dtype)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    cells = size // bundle.codec.factor
    noise = torch.randn(members, bundle.codec.latent_channels, cells, cells) if bundle.model.stochastic else None

    def ours() -> np.ndarray:
        return estimator.predict(image, size=0, steps=steps, ensemble=members, noise=noise).values

    def theirs() -> np.ndarray:
        return reference(plain, image, steps, noise, members)

    results = {ours: ours(), theirs: theirs()}  # warm-up
    best = dict.fromkeys(results, float("inf"))
    for _ in range(repeat):
        for run in results:
            best[run] = min(best[run], timed(run, where))
    difference = float(np.abs(results[ours] - results[theirs]).max())
    return Row(name, scale, size, steps, members, best[theirs], best[ours], best[theirs] / best[ours], difference)


def official_copy(bundle: ModelBundle, device: torch.device, dtype: torch.dtype) -> ModelBundle:
    """The unfolded bundle where and as the reference runs."""
    return ModelBundle(sharing_copy(bundle.model).to(device, dtype), sharing_copy(bundle.codec).to(device, dtype))


def timed(run: Callable[[], np.ndarray], device: torch.device) -> float:
    """Seconds of one call, the device's queue emptied."""
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def matmul_ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """Measured TFLOP/s of a large matrix product."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device, dtype=dtype)
    a @ a
    seconds = min(timed(lambda: (a @ a)[:1, :1].cpu().float().numpy(), device) for _ in range(3))
    return 2 * n**3 / seconds / 1e12


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--official", action="store_true", help="published sizes (4 GB of random weights, slow on a CPU)"
    )
    parser.add_argument("--size", type=int, nargs="+", default=[256])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    device = choose_devices(chosen.device)[0]
    rows = []
    table = Table("model", "size", "steps", "members", "reference s", "ours s", "ratio", "max difference")
    for family in ("depthfm", "depthmaster", "fiffdepth"):
        scale = "official" if chosen.official else "mini"
        bundle = official_bundle(family) if chosen.official else load_model(MINI_FOLDER / f"{family}-mini.safetensors")
        for size in chosen.size:
            for steps, members in ((1, 1), (1, 4), (4, 4)) if family == "depthfm" else ((1, 1),):
                row = compare(
                    family, scale, bundle, size, steps, members, chosen.repeat, chosen.device, chosen.precision
                )
                rows.append(row)
                table.add_row(
                    f"{family} ({scale})", str(size), str(steps), str(members), f"{row.reference_s:.3f}", f"{row.ours_s:.3f}",
                    f"{row.ratio:.2f}", f"{row.difference:.1e}",
                )  # fmt: skip
        del bundle
    Console().print(table)
    record = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "device": str(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "matmul_tflops": matmul_ceiling(choose_precision(chosen.precision, device), device),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": [asdict(row) for row in rows],
    }
    if chosen.json:
        chosen.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
