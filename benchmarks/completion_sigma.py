"""Fit the network that foretells errors: `python benchmarks/completion_sigma.py [--scenes 24] [--seed 4242] [--out sigma.npz]`.

Renders made-up places (`leadline.scenes`), measures them as a sensor would (noise, depth a little off the picture, holes beside
edges), completes them from every pattern of the board and fits the network of `leadline.completion.uncertainty` to the
errors. Then it reports, on scenes that were left aside in turn, the share of pixels within one and two sigma before left-out
points scale it. Nothing but made-up scenes is seen. Same seed, same weights (one thread).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import leadline
from leadline.completion import complete
from leadline.completion.grid import WorkingGrid
from leadline.completion.uncertainty import Calibration, Clues, features
from leadline.depth.prediction import Validity
from leadline.errors import InputError
from leadline.evaluation.board import PATTERNS
from leadline.evaluation.patterns import Measured, draw
from leadline.scenes import render_scenes

FloatMap = npt.NDArray[np.float32]

PLACES = (
    "room", "street", "library", "facade", "table_above", "closeup", "room", "street", "shelf_bin", "table_oblique", "square",
    "workshop",
)  # fmt: skip
HEIGHT, WIDTH, MEMBERS = 480, 640, 4
#: Pixels of a scene and pattern; hidden units; steps, pixels per step, first rate.
PIXELS, HIDDEN, STEPS, BATCH, RATE = 700, 16, 1200, 4096, 5e-3
#: Degrees of freedom of Student's t, and what its scale is multiplied by to be a standard deviation: chosen on rendered scenes left
#: aside, so that most patterns have 60 to 76 % within one sigma and 90 % within two.
FREEDOM, RAISED = 6.0, 1.15
#: Parts into which the scenes are cut to report.
FOLDS = 3


class Errors(NamedTuple):
    """Of one scene and pattern, n pixels: what the network sees (n, k), of the scene (n, 6), and the error over the usual one."""

    inputs: Tensor
    scene: Tensor
    error: Tensor


def measured(rng: np.random.Generator, depth_m: FloatMap) -> FloatMap:
    """What a sensor would say of a scene, 0 where nothing."""
    truth = depth_m.copy()
    height, width = truth.shape
    if rng.random() < 0.7:
        shift = np.array([[1, 0, rng.normal(0, 0.8)], [0, 1, rng.normal(0, 0.8)]], np.float32)
        truth = cv2.warpAffine(truth, shift, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.6:
        around = np.ones((2 * int(rng.integers(1, 3)) + 1,) * 2, np.uint8)
        lowest = cv2.erode(np.where(truth > 0, truth, np.float32(1e9)), around)
        beside_edge = cv2.dilate(truth, around) / np.maximum(lowest, 1e-6) > 1.08
        patches = cv2.blur(rng.random(truth.shape).astype(np.float32), (5, 5)) < rng.uniform(0.45, 0.6)
        truth[beside_edge & patches] = 0
    slow = cv2.GaussianBlur(rng.normal(0, 1, truth.shape).astype(np.float32), (0, 0), float(rng.uniform(2, 8)))
    part = rng.uniform(0, 1)
    noise = (1 - part) * rng.normal(0, 1, truth.shape) + part * slow / slow.std()
    noise *= np.exp(rng.uniform(np.log(0.0007), np.log(0.015)))
    if rng.random() < 0.5 and (truth > 0).any():
        noise *= np.clip(truth / np.median(truth[truth > 0]), 0.3, 3)
    return (truth * np.exp(noise)).astype(np.float32)


def errors(seed: int, number: int, model: str) -> Iterator[Errors]:
    """Of one rendered scene, for every pattern that keeps enough points."""
    rng = np.random.default_rng([seed, number])
    batch = render_scenes(seed, 1, HEIGHT, WIDTH, PLACES[number % len(PLACES)], first=number)
    rgb, camera = batch.rgb[0].numpy(), batch.intrinsics[0].numpy()
    intrinsics = (float(camera[0, 0]), float(camera[1, 1]), float(camera[0, 2]), float(camera[1, 2]))
    truth = measured(rng, batch.depth_m[0].numpy())
    prediction = leadline.load(model).predict(rgb, ensemble=MEMBERS)
    drawn: set[bytes] = set()
    for pattern in PATTERNS:
        if "downscale" in pattern:  # its points are not where they were measured
            continue
        try:
            sparse = draw(pattern, Measured(truth, rgb, intrinsics), 0)
        except InputError:
            continue
        if sparse.tobytes() in drawn:  # the same under another name
            continue
        drawn.add(sparse.tobytes())
        seen: list[tuple[Calibration, Clues]] = []

        def sigma(calibration: Calibration, clues: Clues, seen: list[tuple[Calibration, Clues]] = seen) -> Tensor:
            seen.append((calibration, clues))
            return torch.ones_like(clues.estimate.value)

        with mock.patch.object(Calibration, "sigma", sigma):
            done = complete(rgb, prediction, sparse)
        if not seen:
            continue
        calibration, clues = seen[-1]  # those before are of left-out points
        shape = clues.estimate.value.shape
        grid = WorkingGrid(HEIGHT, WIDTH, done.meta["completion"]["working_stride"], math.isqrt(shape[0]))
        asked = np.flatnonzero((truth > 0) & (sparse == 0) & (done.validity < Validity.SKY))
        if len(asked) < 50:
            continue
        asked = rng.choice(asked, min(PIXELS, len(asked)), replace=False)
        v, u = torch.as_tensor(asked // WIDTH) // grid.stride, torch.as_tensor(asked % WIDTH) // grid.stride
        maps = features(clues, calibration.usual, calibration.spacing)
        inputs = torch.stack([grid.whole(part.expand(shape).contiguous())[v, u] for part in maps], 1)
        error = np.abs(done.values.flat[asked] - truth.flat[asked]) / done.values.flat[asked]
        yield Errors(
            inputs, calibration.scene.expand(len(asked), -1), torch.as_tensor(error / calibration.usual).float()
        )


def joined(parts: list[Errors]) -> Errors:
    return Errors(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


def fitted(data: Errors, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """The weights, by name, as ``leadline.completion.uncertainty`` reads them."""
    torch.manual_seed(seed)
    everything = torch.cat([data.inputs, data.scene], 1)
    mean, size = everything.mean(0), everything.std(0) + 1e-6
    everything = (everything - mean) / size
    net = torch.nn.Sequential(torch.nn.Linear(everything.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS) + 1e-5
        some = torch.randint(0, len(everything), (BATCH,))
        log_sigma = net(everything[some])[:, 0]
        off = data.error[some] / torch.exp(log_sigma)
        loss = (log_sigma + (FREEDOM + 1) / 2 * torch.log1p(off * off / FREEDOM)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weight, bias, out, out_bias = (numbers.detach().double() for numbers in net.parameters())
    weight = weight / size
    made = {
        "a": weight[:, : data.inputs.shape[1]].T,
        "scene": weight[:, data.inputs.shape[1] :].T,
        "a.bias": bias - weight @ mean.double(),
        "b": out[0],
        "b.bias": out_bias[0] + np.log(RAISED),
    }
    return {name: np.ascontiguousarray(numbers.float().numpy()) for name, numbers in made.items()}


def within(weights: dict[str, npt.NDArray[np.float32]], data: Errors) -> list[float]:
    """Shares of errors within one and two sigma."""
    hidden = np.maximum(
        data.inputs.numpy() @ weights["a"] + data.scene.numpy() @ weights["scene"] + weights["a.bias"], 0
    )
    off = data.error.numpy() / np.exp(hidden @ weights["b"] + weights["b.bias"])
    return [float((off <= limit).mean()) for limit in (1, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--model", default="fiffdepth-mini")
    parser.add_argument("--out", type=Path, default=Path("sigma.npz"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenes = []
    for number in range(arguments.scenes):
        scenes.append(joined(list(errors(arguments.seed, number, arguments.model))))
        print(f"scene {number}: {len(scenes[-1].error)} errors", flush=True)
    for fold in range(FOLDS):
        aside = [scene for number, scene in enumerate(scenes) if number % FOLDS == fold]
        rest = [scene for number, scene in enumerate(scenes) if number % FOLDS != fold]
        one, two = within(fitted(joined(rest), 0), joined(aside))
        print(f"scenes left aside, part {fold}: {100 * one:.1f} % within one sigma, {100 * two:.1f} % within two")
    np.savez(arguments.out, **fitted(joined(scenes), 0))
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
