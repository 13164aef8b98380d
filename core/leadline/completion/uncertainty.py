"""How wrong the completed map is: a small network looks at what foretells an error, left-out points set its scale.

The network of some 300 numbers sees how the neighbours scatter around the fit and among each other, how far the nearest point is,
whether any neighbour has the pixel's colour and its place in the model's map, how much nearer and farther neighbours
are, whether the estimate has an edge there, and how wrong left-out points of the picture were on the whole. It was fitted to
made-up scenes (`benchmarks/completion_sigma.py`) by the likelihood of Student's t distribution (Lange, Little & Taylor, JASA
1989): errors beside hidden edges have heavy tails, and a normal distribution would call everything unsure.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from leadline.completion.blocks import by_blocks
from leadline.completion.local import Estimate
from leadline.completion.tuned import BLOCKS, UNCERTAINTY


class Clues(NamedTuple):
    """What foretells an error at some places, (T, C) each or broadcastable to it.

    Attributes:
        estimate: What was estimated there, in the unit of the values.
        model: The fitted model there, in that unit.
        edge: How far the estimate is from those around it, in that unit.
        nearer, farther: Differences of log depth from the estimate to the nearest and the farthest of the neighbours.
        relative: What a difference of values times this is as one of log depth.
    """

    estimate: Estimate
    model: Tensor
    edge: Tensor
    nearer: Tensor
    farther: Tensor
    relative: Tensor


class Layout(NamedTuple):
    """How the points of a picture lie: their number, a pixel's usual distance to the nearest, and how much like a scanner's."""

    points: int
    spacing: float
    in_lines: bool
    caution: float


class Calibration(NamedTuple):
    """From clues to standard deviations, for one picture.

    Attributes:
        usual: The left-out points' usual error of log depth.
        scene: (6,) what the whole picture tells the network.
        spacing: A pixel's usual distance to its nearest point, pixels.
        near, far: Logarithms of what sigma is multiplied by beside points and in holes.
    """

    usual: float
    scene: Tensor
    spacing: float
    near: float = 0.0
    far: float = 0.0

    def sigma(self, clues: Clues) -> Tensor:
        """(T, C) one standard deviation of depth, as a share of it: never less than what a surface missed altogether makes of it."""
        sigma = self.foretold(clues)
        farther = clues.farther.clamp(0.0, UNCERTAINTY.jumps[1]).expm1_()
        nearer = clues.nearer.clamp(0.0, UNCERTAINTY.jumps[1]).neg_().expm1_().neg_()
        return torch.maximum(sigma, torch.maximum(farther, nearer).mul_(UNCERTAINTY.missed))

    def foretold(self, clues: Clues) -> Tensor:
        """(T, C) what the network and the left-out points say."""
        shape = clues.estimate.value.shape
        clues = Clues(Estimate(*(part.expand(shape) for part in clues[0])), *(part.expand(shape) for part in clues[1:]))

        def part(tiles: slice) -> Tensor:
            some = Clues(Estimate(*(field[:, tiles] for field in clues[0])), *(field[:, tiles] for field in clues[1:]))
            sigma = network(some, self.usual, self.scene, self.spacing)
            hole = 1.0 / (1.0 + (UNCERTAINTY.hole * self.spacing / some.estimate.distance.clamp_min(1e-3)) ** 4)
            return (sigma + self.near + (self.far - self.near) * hole).exp_().mul_(self.usual)

        per_tile = shape[0]
        blocks = -(-BLOCKS.regressed[0] // per_tile), max(1, BLOCKS.regressed[1] // per_tile)
        return torch.cat(by_blocks(part, shape[1], clues.model.device, *blocks), dim=1)


def calibrate(
    clues: Clues, error: Tensor, layout: Layout, holes: tuple[Clues, Tensor] | None = None
) -> Calibration | None:
    """Learn from left-out points how large the errors of a picture are.

    Args:
        clues: At the first m left-out points, (1, m), made without them.
        error: (n,) absolute differences of log depth between estimate and measurement at all of them.
        layout: Of the points.
        holes: The same at the centres of regions that were left out.

    Returns:
        None for fewer than ``UNCERTAINTY.fewest`` points.
    """
    if error.numel() < UNCERTAINTY.fewest:
        return None
    middle, most = (float(torch.quantile(error, share)) for share in UNCERTAINTY.shares)
    least = UNCERTAINTY.least
    usual = middle + least
    total = float(error.clamp_max(1.0).square().mean()) ** 0.5
    numbers = [
        np.log(usual),
        np.log((most + least) / usual),
        np.log((total + least) / usual),
        np.log(layout.points),
        float(layout.in_lines),
        layout.caution,
    ]
    scene = torch.tensor(numbers, dtype=error.dtype, device=error.device)
    plain = Calibration(usual, scene, layout.spacing)
    told = clues if layout.in_lines else _as_near_as_pixels(clues, layout.spacing)
    near = _scale(error, plain.foretold(told)[0], UNCERTAINTY.covered)
    if layout.in_lines:
        near = max(near, UNCERTAINTY.easier_lines * near)
    if holes is None:
        return plain._replace(near=near, far=near)
    return plain._replace(near=near, far=_scale(holes[1], plain.foretold(holes[0])[0], UNCERTAINTY.covered_regions))


def _as_near_as_pixels(clues: Clues, spacing: float) -> Clues:
    """Left-out points of a lattice are farther from the others than pixels are, and hardly worse for it."""
    distance = clues.estimate.distance
    farther = max(float(distance.median()) / spacing, 1.0)
    return clues._replace(estimate=clues.estimate._replace(distance=distance * farther**-UNCERTAINTY.lattice))


def _scale(error: Tensor, sigma: Tensor, covered: tuple[float, float]) -> float:
    """The logarithm of what sigma is multiplied by: the mean of what covers these shares of errors with one and with two sigma,
    drawn towards 0."""
    off = error[: len(sigma)] / sigma
    found = [float(torch.quantile(off, share)) / (1 + i) for i, share in enumerate(covered)]
    scale = float(np.mean(np.log(np.maximum(found, UNCERTAINTY.least_scale))))
    return scale * len(off) / (len(off) + UNCERTAINTY.believed)


def features(clues: Clues, usual: float, spacing: float) -> list[Tensor]:
    """What the network sees of each place, (T, C) each."""
    estimate, unit, floor = clues.estimate, clues.relative / usual, UNCERTAINTY.floor
    off_model = (estimate.value - clues.model).abs_()
    return [
        *(torch.addcmul(unit.new_tensor(floor), part, unit).log_() for part in (estimate.spread, estimate.step)),
        *(torch.addcmul(unit.new_tensor(floor), part, unit).log_() for part in (off_model, clues.edge)),
        torch.log1p(estimate.distance / spacing),
        clues.nearer.clamp(*UNCERTAINTY.jumps),
        clues.farther.clamp(*UNCERTAINTY.jumps),
        (estimate.off_colour + UNCERTAINTY.same_colour).log_(),
        torch.addcmul(unit.new_tensor(floor), estimate.off_model, unit).log_(),
    ]


def network(clues: Clues, usual: float, scene: Tensor, spacing: float) -> Tensor:
    """(T, C) logarithm of sigma over the usual error."""
    weights = _weights(str(scene.device))
    inputs = torch.stack([part.flatten() for part in features(clues, usual, spacing)])
    by_scene = torch.addmv(weights["a.bias"], weights["scene"].T, scene)
    hidden = torch.addmm(by_scene[:, None], weights["a"].T, inputs).relu_()
    return torch.addmv(weights["b.bias"], hidden.T, weights["b"]).view(clues.estimate.value.shape)


@cache
def _weights(device: str) -> dict[str, Tensor]:
    with resources.files(__package__).joinpath("sigma.npz").open("rb") as file, np.load(file) as arrays:
        return {name: torch.as_tensor(_single(arrays[name]), device=device) for name in arrays.files}


def _single(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(numbers, dtype=np.float32)
