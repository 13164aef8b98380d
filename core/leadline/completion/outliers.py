"""Which measured points to keep: a small network looks at every point among its neighbours.

Each neighbour is described by how far its depth is from the point's, before and after the slope of the surroundings and the
model's map are taken out, by its distance and by its colour. Two layers turn that into a few numbers, which are averaged over
the neighbours, once over all and once weighing each with the trust in it (a set network: Zaheer et al., 2017); two more
layers judge the point from these averages and from how it lies in the whole scene. The trust then weighs the next round.

The network saw made-up scenes only, with a share of wrong points that is not the share of the scene at hand. That share is
estimated from the judgements themselves, which are then corrected for it (Saerens, Latinne & Decaestecker, 2002): where
few points look wrong, one needs to look very wrong to be dropped. `benchmarks/completion_judge.py` made the weights.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from leadline.completion.blocks import by_blocks, side_by_side
from leadline.completion.local import Points
from leadline.completion.tuned import BLOCKS, OUTLIERS

Weights = dict[str, Tensor]


#: Sizes of the network: numbers per neighbour and per point, then of its layers.
PER_NEIGHBOUR, PER_POINT = 12, 15
HIDDEN, AVERAGED, JUDGING = 24, 16, 48


class Judge(Enum):
    """Two trainings of the same network, for few points and for many; each is better at its own, measured on real frames."""

    FEW = "judge-few.npz"
    MANY = "judge.npz"

    @property
    def path(self) -> Path:
        return Path(__file__).with_name(self.value)


class Scene(NamedTuple):
    """What the network is told of all points together, scalars.

    Attributes:
        step: The median point's third smallest step to a neighbour, in log depth.
        residual_step: The same in the residual of the model.
        spread: Of the residuals of the model.
        near, far: 10 and 90 % quantiles of log depth.
        model_near, model_far: 2 and 98 % quantiles of the model's log depth at the points, which no wrong point moves far.
        spacing: Median of the mean squared distance to the neighbours, pixels².
    """

    step: Tensor
    residual_step: Tensor
    spread: Tensor
    near: Tensor
    far: Tensor
    model_near: Tensor
    model_far: Tensor
    spacing: Tensor


class Surroundings(NamedTuple):
    """n points with K neighbours each.

    Attributes:
        pairs: (PER_NEIGHBOUR, K, n) what the network is told of each neighbour.
        own: (PER_POINT, n) what it is told of each point.
        around: int64 (K, n), the neighbours.
        present: (K, n), 0 where a point would be its own neighbour, else 1.
        scene: What all points have in common.
    """

    pairs: Tensor
    own: Tensor
    around: Tensor
    present: Tensor
    scene: Scene


def keep(
    points: Points, neighbours: Tensor, tiles: Tensor, depth_m: Tensor, model_m: Tensor, judge: Judge
) -> tuple[Tensor, Tensor]:
    """Which points are believed, and how far each is from most points around it.

    Args:
        points: n points.
        neighbours: int64 (K, C), indices of the points around each of C tiles.
        tiles: int64 (n,), the tile of each point; it is no neighbour of its own.
        depth_m: (n,) measured, positive.
        model_m: (n,) the fitted model there, positive.
        judge: Whose judgement.

    Returns:
        bool (n,), and (n,) differences of log depth, exact to about ±0.4. All True and 0 where there are too few points to
        contradict anyone.
    """
    count = depth_m.numel()
    everyone = torch.ones(count, dtype=torch.bool, device=depth_m.device), torch.zeros_like(depth_m)
    if len(neighbours) < OUTLIERS.fewest or count < OUTLIERS.fewest_points:
        return everyone
    weights = _weights(judge, depth_m.device)
    sample = torch.arange(0, count, max(1, count // OUTLIERS.sample), device=depth_m.device)
    first = surroundings(points, neighbours, tiles, depth_m, model_m, sample)
    if wrong_share(logits(weights, first, rounds=1)[-1])[0] < OUTLIERS.clean:
        return everyone
    everything = torch.arange(count, device=depth_m.device)

    def heard(block: slice) -> Heard:
        return Heard.of(
            weights, surroundings(points, neighbours, tiles, depth_m, model_m, everything[block], first.scene)
        )

    parts = by_blocks(heard, count, depth_m.device, BLOCKS.judged[0], BLOCKS.judged[1])
    centre = torch.atanh(torch.cat([part.own[2] for part in parts]).clamp(-0.99, 0.99)) * 0.15
    final = judgements(weights, parts, OUTLIERS.rounds)[-1]
    return wrong_share(final)[1] > math.log(OUTLIERS.kept / (1 - OUTLIERS.kept)), centre


def wrong_share(judged: Tensor) -> tuple[float, Tensor]:
    """The share of wrong points that judgements (n,) of the trained network (logits of being right) speak for, and the
    judgements with that share as the prior."""
    trained = math.log((1 - OUTLIERS.trained_share) / OUTLIERS.trained_share)
    share, corrected = OUTLIERS.trained_share, judged
    for _ in range(12):
        share = min(max(float(torch.sigmoid(-corrected).mean()), OUTLIERS.least_share), OUTLIERS.most_share)
        corrected = judged + (math.log((1 - share) / share) - trained)
    return share, corrected


def surroundings(
    points: Points,
    neighbours: Tensor,
    tiles: Tensor,
    depth_m: Tensor,
    model_m: Tensor,
    chosen: Tensor | None = None,
    scene: Scene | None = None,
) -> Surroundings:
    """What the network is told; arguments as for :func:`keep`, and the points (indices) that it is asked about.

    Without ``scene`` what those points have in common stands for all.
    """
    device = depth_m.device
    depth, model = depth_m.log(), model_m.log()
    off = depth - model
    if chosen is None:
        chosen = torch.arange(depth.numel(), device=device)
    around = neighbours[:, tiles[chosen]]
    present = (around != chosen).to(depth.dtype)
    flat = around.flatten()

    def beside(numbers: Tensor) -> Tensor:
        return numbers.index_select(0, flat).view(around.shape).sub_(numbers[chosen])

    x, y = beside(points.x), beside(points.y)
    squared = torch.addcmul(x * x, y, y)
    middle = squared.mean(0).clamp_min_(1.0)
    scale = middle.rsqrt()
    x, y, distance = x.mul_(scale), y.mul_(scale), squared.div_(middle)
    colour = torch.zeros_like(x)
    for channel in points.guide:
        apart = beside(channel)
        colour.addcmul_(apart, apart)
    colour.mul_(1.0 / OUTLIERS.colour**2)
    step = beside(depth).clamp_(-2.0, 2.0)
    residual = beside(off).clamp_(-2.0, 2.0)
    weight = colour.mul(-0.5).exp_().add_(0.05).mul_(present).div_(1.0 + distance)
    level, centre = _without_slope(step, x, y, weight)
    third, third_residual = _third(step, present), _third(residual, present)
    if scene is None:
        scene = _scene(third, third_residual, depth, model, middle)
    noise = (2.0 * scene.step).clamp(0.01, 0.1)
    pairs = torch.empty((PER_NEIGHBOUR, *x.shape), dtype=x.dtype, device=device)
    told_apart: tuple[tuple[Tensor, Tensor | float], ...] = (
        (step, 1 / 0.5), (step, 1 / 0.15), (step, 1 / noise), (residual, 1 / 0.15), (level, 1 / 0.15), (level, 1 / noise),
    )  # fmt: skip
    for row, (numbers, factor) in zip(pairs, told_apart, strict=False):
        torch.tanh(torch.mul(numbers, factor, out=row), out=row)
    for row, other in zip(pairs[6:10], (1, 2, 3, 5), strict=True):
        torch.abs(pairs[other], out=row)
    torch.sqrt(distance, out=pairs[10])
    torch.sqrt(colour, out=pairs[11]).clamp_max_(4.0)
    mine = off[chosen]
    own = [
        mine.clamp(-2.0, 2.0),
        torch.tanh(mine / (3.0 * scene.spread)),
        torch.tanh(centre / 0.15),
        torch.tanh(centre / 0.5),
        torch.tanh(third / 0.1),
        torch.tanh(third_residual / 0.1),
        (depth[chosen] - scene.near).clamp(-2.0, 2.0),
        (depth[chosen] - scene.far).clamp(-2.0, 2.0),
        torch.log(scene.step + 0.003).expand_as(mine),
        torch.log(scene.residual_step + 0.003).expand_as(mine),
        (scene.far - scene.near).clamp_max(4.0).expand_as(mine),
        torch.log(scene.spread).expand_as(mine),
        torch.tanh(depth[chosen] - scene.model_near),
        torch.tanh(depth[chosen] - scene.model_far),
        torch.log(middle / scene.spacing).clamp(-4.0, 4.0),
    ]
    return Surroundings(pairs, torch.stack(own), around, present, scene)


class Heard(NamedTuple):
    """What the neighbours of n points say.

    Attributes:
        said: (AVERAGED, K, n).
        own, around, present: Of :class:`Surroundings`.
    """

    said: Tensor
    own: Tensor
    around: Tensor
    present: Tensor

    @classmethod
    def of(cls, weights: Weights, where: Surroundings) -> Heard:
        """The network's first two layers, for every neighbour by itself."""
        hidden = torch.relu_(torch.addmm(weights["a.bias"][:, None], weights["a"].T, where.pairs.flatten(1)))
        said = torch.relu_(torch.addmm(weights["b.bias"][:, None], weights["b"].T, hidden))
        return cls(said.unflatten(1, where.present.shape), where.own, where.around, where.present)

    def mean(self, weight: Tensor, more: float = 0.0) -> Tensor:
        """(AVERAGED, n): what the neighbours say, weighed (K, n); the sum of weights is taken for so much ``more``."""
        total = torch.zeros_like(self.said[:, 0])
        for one, said in zip(weight, self.said.unbind(1), strict=True):
            total = total.addcmul_(said, one)
        return total / (weight.sum(0) + more)


def logits(weights: Weights, where: Surroundings, rounds: int = OUTLIERS.rounds) -> list[Tensor]:
    """Judgements (n,) after each round: logits of being right. Only one round is possible for some of the points."""
    return judgements(weights, [Heard.of(weights, where)], rounds)


def judgements(weights: Weights, parts: list[Heard], rounds: int) -> list[Tensor]:
    """:func:`logits` from what the neighbours say; together the parts are all points, in order."""
    device = parts[0].said.device
    plain = side_by_side(lambda part: part.mean(part.present), parts, device)
    trust: Tensor | None = None
    judged: list[Tensor] = []
    for _ in range(rounds):
        share = 1.0 - OUTLIERS.first_trust if trust is None else 1.0 - trust.mean()

        def judge(one: tuple[Heard, Tensor], trust: Tensor | None = trust, share: float | Tensor = share) -> Tensor:
            part, mean = one
            present = part.present.sum(0)
            if trust is None:
                total = OUTLIERS.first_trust * present
                weighed = mean * (total / (total + 0.1))
            else:
                weight = part.present * trust.index_select(0, part.around.flatten()).view(part.around.shape)
                total = weight.sum(0)
                weighed = part.mean(weight, 0.1)
            inputs = torch.cat(
                [mean, weighed, part.own, (total / present)[None], torch.zeros_like(total)[None] + share]
            )
            judging = torch.relu(torch.addmm(weights["c.bias"][:, None], weights["c"].T, inputs))
            return torch.addmm(weights["d.bias"][:, None], weights["d"].T, judging)[0]

        judged.append(torch.cat(side_by_side(judge, list(zip(parts, plain, strict=True)), device)))
        trust = torch.sigmoid(judged[-1])
    return judged


@cache
def _weights(judge: Judge, device: torch.device) -> Weights:
    with np.load(judge.path, allow_pickle=False) as stored:
        return {name: torch.as_tensor(stored[name], device=device) for name in stored.files}


def _without_slope(step: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Steps in depth (K, n) less the slope of the plane on which the majority lies, and where that majority is (n,)."""

    def mean(weights: Tensor, numbers: Tensor) -> Tensor:
        return (weights * numbers).sum(0)

    centre = mean(weight, step) / (weight.sum(0) + 1e-6)
    for _ in range(3):
        near = weight / ((step - centre).mul_(1 / OUTLIERS.near_plane).square_().add_(1.0))
        centre = mean(near, step) / (near.sum(0) + 1e-6)
    offset = step - centre
    near = weight / (offset / OUTLIERS.near_plane).square_().add_(1.0)
    near /= near.sum(0) + 1e-6
    by_x, by_y = near * x, near * y
    mean_x, mean_y = by_x.sum(0), by_y.sum(0)
    xx = mean(by_x, x) - mean_x * mean_x + OUTLIERS.ridge
    xy = mean(by_x, y) - mean_x * mean_y
    yy = mean(by_y, y) - mean_y * mean_y + OUTLIERS.ridge
    on_x, on_y = mean(by_x, offset), mean(by_y, offset)
    inverse = 1.0 / (xx * yy - xy * xy)
    slope_x, slope_y = (yy * on_x - xy * on_y) * inverse, (xx * on_y - xy * on_x) * inverse
    return step - slope_x * x - slope_y * y, centre


def _scene(third: Tensor, third_residual: Tensor, depth: Tensor, model: Tensor, middle: Tensor) -> Scene:
    off = depth - model
    spread = (1.4826 * (off - off.median()).abs().median()).clamp_min(0.01)
    every = max(1, depth.numel() // OUTLIERS.sample)

    def quantiles(numbers: Tensor, *shares: float) -> Tensor:
        return torch.quantile(numbers[::every], torch.tensor(shares, device=numbers.device, dtype=numbers.dtype))

    near, far = quantiles(depth, 0.1, 0.9)
    model_near, model_far = quantiles(model, 0.02, 0.98)
    return Scene(
        third.median(),
        third_residual.median(),
        spread,
        near,
        far,
        model_near,
        model_far,
        middle.median().clamp_min(1.0),
    )


def _third(step: Tensor, present: Tensor) -> Tensor:
    """(n,) the third smallest step to a neighbour, of (K, n)."""
    sizes = step.abs().add_((1.0 - present) * 9.0)
    first = second = third = torch.full_like(sizes[0], torch.inf)
    for size in sizes:  # far faster than topk over a few numbers
        third = torch.minimum(third, torch.maximum(second, size))
        second = torch.minimum(second, torch.maximum(first, size))
        first = torch.minimum(first, size)
    return third
