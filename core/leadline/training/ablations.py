"""The papers' ablations at the size of the mini models, one command each: `leadline train ablation-...`.

Each trains two short variants with the same data, seed and steps from the same start, below the folder of a
`leadline train mini` run, and writes a table of their scores on held-out scenes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leadline.errors import InputError
from leadline.training.base import MODEL_FILE
from leadline.training.build import trainer_config
from leadline.training.config import set_key
from leadline.training.mini import RenderJob, render, run_in_processes, shortened, stages
from leadline.training.run import run
from leadline.training.scores import score_files
from leadline.training.trainer import is_finished

HELD_OUT = RenderJob("scenes-held-out", 100, 192, 256, seed=9999, views=1, min_scale=1.0, crops={"192x256": 1})
#: What makes the variants short.
SHORT = {"trainer.steps": 300, "trainer.warmup": 30, "trainer.lr": 4e-4, "trainer.ema": 0.99, "trainer.batch_size": 16}
#: Pixel losses run the decoder, forwards and back.
PIXELS = {"trainer.steps": 100, "trainer.batch_size": 8, "trainer.lr": 2e-4}
SCORED = 40

#: Name → (stage it varies, {variant: changes}, numbers of steps scored).
ABLATIONS: dict[str, tuple[str, dict[str, dict[str, Any]], tuple[int, ...]]] = {
    "ablation-start": (
        "depthfm",
        {"image-to-depth": {"model.noising_step": 400}, "noise-to-depth": {"model.noising_step": 1000}},
        (1, 4),
    ),
    "ablation-trajectory": (
        "fiffdepth-latents",
        {"keeping": {"loss.weight_keep": 0.2}, "not-keeping": {"loss.weight_keep": 0.0}},
        (1,),
    ),
    "ablation-fourier": (
        "depthmaster-stage2",
        {"fourier": {"model.fourier": True, **PIXELS}, "no-fourier": {"model.fourier": False, **PIXELS}},
        (1,),
    ),
}


def run_ablation(
    name: str, root: Path, quick: bool = False, processes: int = 1, report: Callable[[str], None] = print
) -> str:
    """Train the variants of an ablation and return the table of their scores.

    Args:
        name: One of :data:`ABLATIONS`.
        root: Folder of a `leadline train mini` run, with its first stage finished.
        quick: A few steps, to see that it works.
        processes: See :func:`leadline.training.mini.train_mini`.
        report: Gets progress lines.

    Raises:
        InputError: ``root`` has no first stage.
    """
    stage, variants, steps = ABLATIONS[name]
    if not (root / "depthmaster-stage1" / MODEL_FILE).exists():
        raise InputError(f"{root} holds no finished depthmaster-stage1; run `leadline train mini --out {root}` first")
    render(HELD_OUT, root, 4 if quick else None, processes)
    base = started(dict(stages(root))[stage], root)
    paths = []
    for variant, changes in variants.items():
        config = copy.deepcopy(base)
        for key, value in {**SHORT, **changes}.items():
            set_key(config, key, value)
        config = shortened(config) if quick else config
        out = root / name / variant
        report(f"== {variant}")
        if not is_finished(out, trainer_config(config)):
            if processes == 1:
                run(config, out, report)
            else:
                run_in_processes(config, out, processes)
        paths.append(out / MODEL_FILE)
    if name == "ablation-fourier":
        paths.insert(0, root / "depthmaster-stage1" / MODEL_FILE)
    table = score_files(paths, root / HELD_OUT.folder, 4 if quick else SCORED, steps)
    (root / name / "table.md").write_text(table + "\n")
    report(table)
    return table


def started(config: dict[str, Any], root: Path) -> dict[str, Any]:
    """The configuration, going on from the finished FiffDepth network where it would begin from scratch."""
    if "start_from" in config:
        return config
    kept = {key: value for key, value in config.items() if key != "codec"}
    kept["model"] = {key: value for key, value in config["model"].items() if key != "unet"}
    return {**kept, "start_from": str(root / "fiffdepth" / MODEL_FILE)}
