"""What each of two processes runs in test_sharding.py: ``accelerate launch --use_fsdp ... shared_out.py FOLDER``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_bundle
from torch import Tensor, distributed

from leadline.training import trainer
from leadline.training.fiffdepth import FiffDepthRecipe
from leadline.training.sources import Batch, LatentSource
from leadline.training.trainer import CHECKPOINT_NAME, TrainerConfig, train


def opposite(rgb: Tensor | None, latents: Tensor) -> Tensor:
    """A teacher that needs no weights."""
    return -latents


class Both:
    """Latents with and without depth."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        image, depth = (torch.randn(16, 4, 8, 8, generator=generator) for _ in range(2))
        self.source = LatentSource([{"image": image, "depth": depth, "mask": torch.ones(16, 1, 8, 8)}], [1.0])

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        return {**self.source.sample(generator, size), "unlabelled": self.source.sample(generator, size)["image"]}


def new_recipe(seed: int = 0) -> FiffDepthRecipe:
    """All terms of FiffDepth: the network runs four times a step."""
    return FiffDepthRecipe(tiny_bundle("fiffdepth", seed), opposite)


def settings(steps: int) -> TrainerConfig:
    return TrainerConfig(
        steps, batch_size=2, accumulate=4, lr=3e-4, warmup=2, decay="constant", ema=0.9, clip=0.5, save_every=2,
        evaluate_every=steps, log_every=0, trackers=(), checkpointing=True,
    )  # fmt: skip


def scores_of(recipe: FiffDepthRecipe) -> Callable[[int], dict[str, float]]:
    """A validation by the first process alone: a prediction of the averaged weights, by an ordinary model."""

    def evaluate(step: int) -> dict[str, float]:
        model = recipe.bundle().model
        return {"error": float(model.solve(torch.ones(1, 4, 8, 8), 1).abs().mean())}

    return evaluate


def nbytes(tensors: list[Tensor]) -> int:
    """Memory of this process's shares of tensors."""
    return sum((one.to_local() if hasattr(one, "to_local") else one).untyped_storage().nbytes() for one in tensors)


def main(folder: Path) -> None:
    weighed: dict[str, int] = {}
    save = trainer._save

    def weighing_save(
        accelerator: Any, out: Path, step: int, recipe: Any, optimiser: Any, ema: Any, *rest: Any
    ) -> None:
        save(accelerator, out, step, recipe, optimiser, ema, *rest)
        moments = [value for kept in optimiser.state.values() for value in kept.values() if value.ndim]
        trained = [p for p in recipe.parameters() if p.requires_grad]
        weighed.update(parameters=nbytes(trained), moments=nbytes(moments), averages=nbytes(ema.shadow_params))
        if step == 2 and accelerator.is_main_process:
            for name in ("parts", "later"):
                (folder / name).mkdir()
                shutil.copy(out / CHECKPOINT_NAME, folder / name)

    trainer._save = weighing_save
    first = new_recipe(seed=int(os.environ["RANK"]))  # every process begins with other weights: the first one's count
    train(first, Both(), settings(3), folder / "whole", evaluate=scores_of(first))
    resumed = new_recipe()
    train(resumed, Both(), settings(3), folder / "parts", evaluate=scores_of(resumed))
    torch.save(weighed, folder / f"weighed-{distributed.get_rank()}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
