"""Train the judge of measured points: `python benchmarks/completion_judge.py SHARDS... [--out judge.npz]`.

SHARDS are folders that `python -m leadline.scenes` wrote; nothing but made-up scenes is seen. Each becomes a sparse
depth map as a sensor would measure it (noise, flying pixels, calibration error, clutter, four patterns), a share of the
points is spoiled, and the network of `leadline.completion.outliers` learns which. The model's map is that of
`fiffdepth-mini`, a good one, or one that says nothing. Same seed, same weights (one thread).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import leadline
from leadline.completion import FusionOptions, outliers
from leadline.completion.fit import fit_scale_and_shift
from leadline.completion.outliers import AVERAGED, HIDDEN, JUDGING, PER_NEIGHBOUR, PER_POINT, Surroundings, Weights
from leadline.completion.setting import Setting
from leadline.depth.spaces import Space
from leadline.evaluation.completion import OUTLIER_FACTORS
from leadline.evaluation.sparse import keep_lines
from leadline.sensors.sparse import points_of
from leadline.training.datasets import RenderedShards, RgbdSample

FloatMap = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

#: Points per example, at least and at most; every so many scenes one is kept aside to report on; examples per step; share of
#: the loss per round.
FEWEST, MOST, HELD_OUT, BATCH, ROUND_SHARES = 20, 8000, 20, 8, (0.2, 0.3, 0.5)


class Example(NamedTuple):
    """Surroundings in half precision, bool (n,) which are right, and how many were spoiled on purpose (share)."""

    where: Surroundings
    right: Tensor
    share: float


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def slow(rng: np.random.Generator, shape: tuple[int, int], cells: int, size: float) -> FloatMap:
    """Smooth noise of so many cells a side."""
    noise = rng.normal(0, size, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def shadowed(truth: FloatMap, reach: float, side: int) -> npt.NDArray[np.bool_]:
    """Pixels that something nearer hides from an emitter on one side: ``reach`` pixels of disparity at the median depth."""
    disparity = reach * float(np.median(truth)) / np.maximum(truth, 0.05)
    shifted = side * disparity + np.arange(truth.shape[1], dtype=np.float32)
    ahead = np.maximum.accumulate(shifted if side > 0 else -shifted[:, ::-1], axis=1)
    hidden = (ahead if side > 0 else ahead[:, ::-1]) - side * shifted > 1.0
    return np.asarray(hidden)


def measured(rng: np.random.Generator, rgb: Rgb, depth_m: FloatMap) -> tuple[Rgb, FloatMap]:
    """What a sensor would say of a scene, 0 where nothing; and the picture with clutter that the scenes lack."""
    truth, rgb, shape = depth_m.copy(), rgb.copy(), (depth_m.shape[0], depth_m.shape[1])
    if rng.random() < 0.6:
        for _ in range(rng.integers(1, 60)):
            high, wide = (int(log_uniform(rng, 2, 40)) for _ in range(2))
            top, left = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            window = np.s_[top : top + high, left : left + wide]
            nearer = np.exp(-rng.uniform(0.03, 0.7))
            flat = np.where(truth[window] > 0, np.median(truth[window]), 0.0)
            truth[window] = nearer * (flat if rng.random() < 0.5 else truth[window])
            if rng.random() < 0.7:
                opaque = rng.uniform(0.2, 1.0)
                rgb[window] = ((1 - opaque) * rgb[window] + opaque * rng.integers(0, 256, 3)).astype(np.uint8)
    if rng.random() < 0.5:  # calibration error
        truth = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    if rng.random() < 0.5:  # flying pixels
        between = cv2.blur(truth, (3, 3))
        flying = (np.abs(between - truth) > 0.03 * truth) & (rng.random(shape) < rng.uniform(0, 0.6)) & (truth > 0)
        truth = np.where(flying, between, truth)
    truth = truth * np.exp(log_uniform(rng, 0.0005, 0.025) * rng.normal(0, 1, shape))
    if rng.random() < 0.3:
        truth = truth * np.exp(slow(rng, shape, int(rng.integers(8, 40)), rng.uniform(0, 0.03)))
    usable = (truth > 0.05) & (truth < 300) & (depth_m > 0)
    if rng.random() < 0.4:  # what the sensor's emitter does not see beside something near
        usable &= ~shadowed(truth, rng.uniform(0.02, 0.15) * shape[1], int(rng.choice([-1, 1])))
    if rng.random() < 0.5:
        usable &= slow(rng, shape, int(rng.integers(3, 12)), 1.0) > -0.7
    return rgb, np.where(usable, truth, 0.0).astype(np.float32)


def some_points(rng: np.random.Generator, truth: FloatMap) -> tuple[FloatMap, tuple[slice, slice]]:
    """Sparse depth by a random pattern, and the window of the picture that it is about."""
    height, width = truth.shape
    pattern = rng.choice(["few", "many", "dense", "lines"], p=[0.3, 0.25, 0.2, 0.25])
    window = (slice(0, height), slice(0, width))
    if pattern == "lines":
        focal = width * rng.uniform(0.6, 1.2)
        lines = int(log_uniform(rng, 8, 64))
        intrinsics = (focal * rng.uniform(1, 3), focal, width / 2, height / 2)
        sparse = keep_lines(truth, lines, intrinsics)
        if np.count_nonzero(sparse) > MOST // 2:
            window = (window[0], slice(width // 4, 3 * width // 4))
        return sparse[window], window
    if pattern == "dense":
        side = int(rng.integers(50, 110))
        top, left = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
        window = (slice(top, top + side), slice(left, left + side))
        truth = truth[window]
    found = np.flatnonzero(truth)
    number = {"few": log_uniform(rng, FEWEST, 600), "many": log_uniform(rng, 600, 4000)}.get(
        str(pattern), found.size * rng.uniform(0.1, 0.6)
    )
    sparse = np.zeros_like(truth)
    kept = rng.choice(found, min(int(number), found.size), replace=False)
    sparse.flat[kept] = truth.flat[kept]
    return sparse, window


def spoiled(rng: np.random.Generator, sparse: FloatMap) -> tuple[FloatMap, float]:
    """Some points at another depth: far off, anywhere in the scene's range, or another point's."""
    chance = rng.random()
    share = 0.3 if chance < 0.4 else 0.0 if chance < 0.5 else rng.uniform(0, 0.45)
    points = np.flatnonzero(sparse)
    wrong = rng.choice(points, round(share * points.size), replace=False)
    depth = sparse.flat[wrong]
    kind = rng.choice(["gross", "range", "other"], p=[0.6, 0.25, 0.15])
    if kind == "gross":
        nearer, farther = (rng.uniform(low, high, wrong.size) for low, high in OUTLIER_FACTORS)
        other = depth * np.where(rng.random(wrong.size) < 0.5, nearer, farther)
    elif kind == "range":
        low, high = np.log(sparse.flat[points].min()), np.log(sparse.flat[points].max())
        other = np.exp(rng.uniform(low, high, wrong.size))
    else:
        other = rng.permutation(sparse.flat[points])[: wrong.size]
    changed = sparse.copy()
    changed.flat[wrong] = other
    return changed, share


def model_map(rng: np.random.Generator, made: FloatMap, truth: FloatMap) -> tuple[FloatMap, Space]:
    """The network's map, or one better than that, or one that says nothing."""
    chance, shape = rng.random(), (truth.shape[0], truth.shape[1])
    if chance < 0.2:
        soft = np.log(np.maximum(cv2.GaussianBlur(truth, (0, 0), rng.uniform(0.6, 3)), 0.05))
        return soft + slow(rng, shape, int(rng.integers(3, 10)), rng.uniform(0.02, 0.2)), Space.LOG_DEPTH
    if chance < 0.3:
        return slow(rng, shape, int(rng.integers(3, 10)), 1.0), Space.SQRT_DISPARITY
    return made, Space.SQRT_DISPARITY


def example(rng: np.random.Generator, rgb: Rgb, depth_m: FloatMap, made: FloatMap) -> Example | None:
    """One scene measured, spoiled and described; None if too little of it was measured."""
    factor = float(rng.choice([1, 1, 1.5, 2, 2.5]))
    size = (round(factor * rgb.shape[1]), round(factor * rgb.shape[0]))
    rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    made = np.asarray(cv2.resize(made, size, interpolation=cv2.INTER_LINEAR), np.float32)
    depth_m = np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST), np.float32)
    rgb, truth = measured(rng, rgb, depth_m)
    values, space = model_map(rng, made, truth)
    sparse, window = some_points(rng, truth)
    if not FEWEST <= np.count_nonzero(sparse) <= MOST:
        return None
    changed, share = spoiled(rng, sparse)
    rgb, values = np.ascontiguousarray(rgb[window]), np.ascontiguousarray(values[window])
    points, _ = points_of(changed, changed.shape)
    fit = fit_scale_and_shift(values[points.v, points.u], points.depth_m, space)
    on = Setting.of(rgb, torch.as_tensor(values), points, fit, space, FusionOptions())
    where = outliers.surroundings(on.points, on.neighbours, on.tiles, on.depth_m, on.model_m())
    off = np.abs(np.log(points.depth_m / sparse[points.v, points.u]))
    half = Surroundings(where.pairs.half(), where.own.half(), where.around, where.present.half(), where.scene)
    return Example(half, torch.as_tensor(off < 0.05), share)


def first_weights(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"a": (PER_NEIGHBOUR, HIDDEN), "b": (HIDDEN, AVERAGED)}
    sizes |= {"c": (2 * AVERAGED + PER_POINT + 2, JUDGING), "d": (JUDGING, 1)}
    weights = {}
    for name, (inputs, results) in sizes.items():
        weights[name] = torch.randn(inputs, results, generator=generator) * 1.2 / inputs**0.5
        weights[f"{name}.bias"] = torch.zeros(results)
    return weights


def loss(weights: Weights, one: Example) -> tuple[Tensor, Tensor]:
    """Cross entropy of all rounds, more for points that stand out; and the last round's judgements."""
    where = one.where
    where = where._replace(pairs=where.pairs.float(), own=where.own.float(), present=where.present.float())
    importance = 0.05 + where.own[3].abs()
    importance = importance / importance.sum()
    judged = outliers.logits(weights, where)
    right = one.right.float()
    terms = [
        (importance * torch.nn.functional.binary_cross_entropy_with_logits(one_round, right, reduction="none")).sum()
        for one_round in judged
    ]
    return sum((share * term for share, term in zip(ROUND_SHARES, terms, strict=True)), torch.zeros(())), judged[-1]


@torch.no_grad()
def report(weights: Weights, examples: list[Example]) -> str:
    """Losses and errors, judged as at run time, over examples with 10 % and more wrong points."""
    losses, kept_wrong, dropped_right = [], [], []
    for one in examples:
        total, judged = loss(weights, one)
        losses.append(float(total))
        if one.share > 0.1:
            wrong = outliers.wrong_share(judged)[1] < 0
            kept_wrong.append(float((~wrong[~one.right]).float().mean()))
            dropped_right.append(float(wrong[one.right].float().mean()))
    return (
        f"held-out loss {np.mean(losses):.4f}, wrong points kept {100 * np.mean(kept_wrong):.1f} %, "
        f"right ones dropped {100 * np.mean(dropped_right):.1f} %"
    )


def every(scenes: RenderedShards, count: int) -> list[RgbdSample]:
    """So many of them, evenly spread."""
    return [scenes[int(index)] for index in np.linspace(0, len(scenes) - 1, count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=outliers.Judge.MANY.path)
    parser.add_argument("--scenes", type=int, default=700, help="of each folder")
    parser.add_argument("--views", type=int, default=3, help="examples per scene")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="go on from these weights")
    parser.add_argument("--least", type=int, default=FEWEST, help="learn from examples with so many points or more")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [sample for folder in arguments.shards for sample in every(RenderedShards(folder), arguments.scenes)]
    model = leadline.load("fiffdepth-mini")
    rng = np.random.default_rng(arguments.seed)
    examples: list[list[Example]] = [[], []]
    started = time.process_time()
    for number, scene in enumerate(scenes):
        made = model.predict(scene.rgb).values
        views = (example(rng, scene.rgb, scene.depth_m, made) for _ in range(arguments.views))
        examples[number % HELD_OUT == 0].extend(view for view in views if view is not None)
    training, held_out = examples
    print(f"{len(training)} examples, {time.process_time() - started:.0f} s", flush=True)
    training = [one for one in training if len(one.right) >= arguments.least]
    weights = first_weights(arguments.seed)
    if arguments.start is not None:
        with np.load(arguments.start, allow_pickle=False) as stored:
            weights = {name: torch.as_tensor(stored[name]) for name in stored.files}
    for tensor in weights.values():
        tensor.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights.values(), lr=arguments.rate, weight_decay=1e-3)
    order: list[int] = []
    for step in range(arguments.steps):
        optimiser.param_groups[0]["lr"] = (
            arguments.rate * min(1, step / 30) * (0.01 + 0.5 * (1 + np.cos(np.pi * step / arguments.steps)))
        )
        for _ in range(BATCH):
            order = order or list(rng.permutation(len(training)))
            (loss(weights, training[order.pop()])[0] / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 200 == 199 or step == arguments.steps - 1:
            print(f"step {step + 1}: {report(weights, held_out)}, {time.process_time() - started:.0f} s", flush=True)
            np.savez(arguments.out, **{name: tensor.detach().numpy() for name, tensor in weights.items()})


if __name__ == "__main__":
    main()
