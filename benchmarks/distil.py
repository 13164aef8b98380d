"""What distilling brings on two cores: `python benchmarks/distil.py --out FOLDER --real FOLDER [--student small]`.

Renders 300 frames (seed 777001), distils fiffdepth-mini with an ensemble of 4 into a student, and prints the distance to the
teacher on held-out frames before and after, AbsRel of both on a folder of real RGB-D frames (`meta.json` names them: NAME.jpg beside NAME.depth.npz), and the processor seconds of both by turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import leadline
from leadline.depth.alignment import align
from leadline.evaluation.metrics import depth_metrics
from leadline.training.datasets import RenderedShards
from leadline.training.distillation.distil import DistilSettings, distil
from leadline.training.mini import RenderJob, render

TEACHER, FRAMES, SEED = "fiffdepth-mini", 300, 777001


def frames(folder: Path, count: int) -> None:
    """Rendered pictures as PNG; those that are there stay."""
    if len(list(folder.glob("*.png"))) >= count:
        return
    shards = RenderJob("shards", count, 216, 288, SEED)
    render(shards, folder.parent, None, 1)
    folder.mkdir(parents=True, exist_ok=True)
    for number, rgb in enumerate(RenderedShards(folder.parent / shards.folder, count).rgb):
        Image.fromarray(rgb).save(folder / f"{number:04d}.png")


def real_error(model: leadline.DepthEstimator, real: Path, ensemble: int) -> float:
    """Mean AbsRel on the real frames, each fitted by least squares in the model's space."""
    errors = []
    for frame in json.loads((real / "meta.json").read_text())["frames"]:
        depth_m = np.load(real / frame["depth"])["depth"]
        prediction = model.predict(real / frame["rgb"], ensemble=ensemble)
        fit = align(prediction.values, depth_m, prediction.space)
        errors.append(depth_metrics(fit.apply(prediction.values), depth_m)["abs_rel"])
    return float(np.mean(errors))


def by_turns(models: list[leadline.DepthEstimator], picture: Path, rounds: int = 15) -> list[float]:
    """Median processor seconds of one prediction of each."""
    rgb = leadline.read_image(picture)
    spent: list[list[float]] = [[] for _ in models]
    for _ in range(rounds + 2):
        for own, model in zip(spent, models, strict=True):
            started = time.process_time()
            model.predict(rgb)
            own.append(time.process_time() - started)
    return [float(np.median(own[2:])) for own in spent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", type=Path, required=True, help="folder of real RGB-D frames with meta.json")
    parser.add_argument("--images", type=Path, help="other pictures than rendered ones")
    parser.add_argument("--student", default="small")
    parser.add_argument("--steps", type=int, default=DistilSettings.steps)
    parser.add_argument("--batch", type=int, default=DistilSettings.batch_size)
    parser.add_argument("--lr", type=float, default=DistilSettings.lr)
    parser.add_argument("--every", type=int, default=DistilSettings.evaluate_every)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or arguments.out / "frames"
    if arguments.images is None:
        frames(images, FRAMES)
    started = time.process_time()
    settings = DistilSettings(
        student=arguments.student,
        steps=arguments.steps,
        batch_size=arguments.batch,
        lr=arguments.lr,
        evaluate_every=arguments.every,
    )
    done = distil(
        TEACHER, [images], arguments.out / "student.safetensors", settings, lambda line: print(line, flush=True)
    )
    seconds = time.process_time() - started
    teacher, student = leadline.load(TEACHER), leadline.load(done.path)
    errors = real_error(teacher, arguments.real, 4), real_error(student, arguments.real, 1)
    slow, fast = by_turns([teacher, student], next(arguments.real.glob("nyu_basement.*g")))
    print(f"processor seconds (maps and training): {seconds:.0f}")
    print(f"distance on held-out frames: {done.distance_before:.4f} -> {done.distance_after:.4f} "
          f"({100 * (1 - done.distance_after / done.distance_before):.0f} % less)")  # fmt: skip
    print(f"AbsRel on real frames: teacher (ensemble of 4) {errors[0]:.4f}, student {errors[1]:.4f} "
          f"({100 * (errors[1] / errors[0] - 1):+.0f} %)")  # fmt: skip
    print(
        f"one prediction: teacher {1e3 * slow:.0f} ms, student {1e3 * fast:.0f} ms of processor time ({slow / fast:.2f} x as fast)"
    )


if __name__ == "__main__":
    main()
