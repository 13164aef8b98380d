"""Memory of a training at Stable Diffusion 2.1's size on the CPU: `python benchmarks/train_official_size.py [--size 320]`.

FiffDepth's recipe with random weights on random pictures: bfloat16 autocast, gradient checkpointing, AdamW, one picture of 512 x 512
a step. Prints the peak of the process's memory; the loss must fall. `--size` is the width of the network's first level (320 is Stable
Diffusion's; a multiple of 32), `--keep FOLDER` also writes checkpoint and model (14 GB at full size).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from leadline.benchmarking.reference import official_spec
from leadline.checkpoints.bundle import ModelBundle, build
from leadline.training.fiffdepth import FiffDepthRecipe
from leadline.training.sources import Batch
from leadline.training.trainer import TrainerConfig, train


class Finished(Exception):
    """The last step is done, and nothing is to be written."""


class OnePicture:
    """Always the same smooth picture and depth, which a network of any size can learn."""

    def __init__(self, side: int) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = (torch.rand(1, channels, 6, 6, generator=generator) * 2 - 1 for channels in (3, 1))
        self.rgb, self.target = (interpolate(one, (side, side), mode="bilinear") for one in coarse)

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        shape = (size, -1, -1, -1)
        known = torch.ones_like(self.target, dtype=torch.bool)
        return {"rgb": self.rgb.expand(shape), "target": self.target.expand(shape), "known": known.expand(shape)}


def random_bundle(width: int) -> ModelBundle:
    """The published architecture, ``width`` instead of 320 channels at the first level and the codec in proportion."""
    spec = official_spec("fiffdepth")
    widths = [width * factor for factor in (1, 2, 4, 4)]
    unet = {**spec.unet, "block_out_channels": widths, "attention_head_dim": [max(1, one // 64) for one in widths]}
    scaled = [max(32, one * width // 320 // 32 * 32) for one in spec.codec["block_out_channels"]]
    torch.manual_seed(0)
    return build(replace(spec, unet=unet, codec={**spec.codec, "block_out_channels": scaled}), torch.randn(1, 2, 1024))


def peak_gb() -> float:
    """Of this process so far, as Linux counts it (kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=320, help="width of the first level; 320 is the official one")
    parser.add_argument(
        "--pixels",
        type=int,
        default=512,
        help="side of the picture, 64 or more: PyTorch 2.13 on the CPU gets bf16 gradients of 1 x 1 maps wrong",
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="bf16", choices=["no", "bf16"])
    parser.add_argument("--no-checkpointing", action="store_true", help="for comparison")
    parser.add_argument("--keep", type=Path, help="write checkpoint and model into this folder")
    given = parser.parse_args()

    recipe = FiffDepthRecipe(random_bundle(given.size))
    count = sum(one.numel() for one in recipe.model.parameters())
    print(
        f"{count / 1e6:.0f} M numbers in the network; with its weights the process has had {peak_gb():.2f} GB",
        flush=True,
    )
    settings = TrainerConfig(
        steps=given.steps, batch_size=1, lr=1e-4, warmup=2, decay="constant", precision=given.precision,
        checkpointing=not given.no_checkpointing, save_every=0, log_every=1, trackers=(),
    )  # fmt: skip
    losses: list[float] = []

    def report(line: str) -> None:
        print(f"{line}  peak {peak_gb():.2f} GB", flush=True)
        losses.append(float(line.split("depth ")[1].split(maxsplit=1)[0]))
        if len(losses) == given.steps and given.keep is None:
            raise Finished

    with tempfile.TemporaryDirectory() as nothing, suppress(Finished):
        train(recipe, OnePicture(given.pixels), settings, given.keep or Path(nothing), report)
    if losses[-1] >= losses[0]:
        raise SystemExit(f"the depth loss did not fall: {losses[0]:.4f} to {losses[-1]:.4f}")
    print(f"{given.steps} steps: depth loss {losses[0]:.4f} to {losses[-1]:.4f}, peak memory {peak_gb():.2f} GB")


if __name__ == "__main__":
    main()
