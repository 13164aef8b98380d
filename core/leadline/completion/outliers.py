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

from leadline.completion.local import Points

Weights = dict[str, Tensor]

#: Fewest neighbours, and points, that can contradict a point.
FEWEST, FEWEST_POINTS = 5, 16
#: Mean share of wrong points among those that the network was trained with, and the trust every round starts from.
TRAINED_SHARE, FIRST_TRUST = 0.23, 0.7
ROUNDS = 3
#: Points are dropped if they are right with less than this probability.
_KEPT = 0.6
#: So many points are judged first, in one round; if the share of wrong ones seems to be below this, none is dropped.
_SAMPLE, _CLEAN = 1000, 0.01
#: Points described at once: what is computed on the way then stays in the processor's cache.
_AT_ONCE = 2048
#: Bounds of the estimated share of wrong points.
_LEAST_SHARE, _MOST_SHARE = 0.002, 0.6
#: Standard deviation of the weight of colour in the plane of the surroundings, CIELAB units; distance in log depth at which a
#: neighbour loses half of its say about the plane; ridge of the slope.
_COLOUR, _NEAR_PLANE, _RIDGE = 24.0, 0.1, 0.15

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
        pairs: (n, K, PER_NEIGHBOUR) what the network is told of each neighbour.
        own: (n, PER_POINT) what it is told of each point.
        around: int64 (n, K), the neighbours.
        present: (n, K), 0 where a point would be its own neighbour, else 1.
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
    if len(neighbours) < FEWEST or count < FEWEST_POINTS:
        return everyone
    weights = _weights(judge, depth_m.device)
    sample = torch.arange(0, count, max(1, count // _SAMPLE), device=depth_m.device)
    first = surroundings(points, neighbours, tiles, depth_m, model_m, sample)
    if wrong_share(logits(weights, first, rounds=1)[-1])[0] < _CLEAN:
        return everyone
    parts = []
    for part in torch.arange(count, device=depth_m.device).split(_AT_ONCE):
        where = surroundings(points, neighbours, tiles, depth_m, model_m, part, first.scene)
        parts.append((told(weights, where.pairs), where.own, where.around, where.present))
    said, own, around, present = (torch.cat(fields) for fields in zip(*parts, strict=True))
    final = judgements(weights, said, own, around, present, ROUNDS)[-1]
    return wrong_share(final)[1] > math.log(_KEPT / (1 - _KEPT)), torch.atanh(own[:, 2].clamp(-0.99, 0.99)) * 0.15


def wrong_share(judged: Tensor) -> tuple[float, Tensor]:
    """The share of wrong points that judgements (n,) of the trained network (logits of being right) speak for, and the
    judgements with that share as the prior."""
    trained = math.log((1 - TRAINED_SHARE) / TRAINED_SHARE)
    share, corrected = TRAINED_SHARE, judged
    for _ in range(12):
        share = min(max(float(torch.sigmoid(-corrected).mean()), _LEAST_SHARE), _MOST_SHARE)
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
    around = neighbours.T[tiles[chosen]]
    me = chosen[:, None]
    present = (around != me).to(depth.dtype)
    x, y = points.x[around] - points.x[me], points.y[around] - points.y[me]
    squared = torch.addcmul(x * x, y, y)
    middle = squared.mean(1, keepdim=True).clamp_min_(1.0)
    scale = middle.rsqrt()
    x, y, distance = x.mul_(scale), y.mul_(scale), squared.div_(middle)
    guide = points.guide.T.contiguous()
    colour = (guide[around] - guide[me]).square_().sum(-1).mul_(1.0 / _COLOUR**2)
    step = (depth[around] - depth[me]).clamp_(-2.0, 2.0)
    residual = (off[around] - off[me]).clamp_(-2.0, 2.0)
    weight = colour.mul(-0.5).exp_().add_(0.05).mul_(present).div_(1.0 + distance)
    flat, centre = _without_slope(step, x, y, weight)
    third, third_residual = _third(step, present), _third(residual, present)
    if scene is None:
        scene = _scene(third, third_residual, depth, model, middle)
    noise = (2.0 * scene.step).clamp(0.01, 0.1)
    pairs = [
        torch.tanh(numbers * factor)
        for numbers, factor in (
            (step, 1 / 0.5), (step, 1 / 0.15), (step, 1 / noise), (residual, 1 / 0.15), (flat, 1 / 0.15), (flat, 1 / noise),
        )
    ]  # fmt: skip
    pairs += [pairs[1].abs(), pairs[2].abs(), pairs[3].abs(), pairs[5].abs()]
    pairs += [distance.sqrt_(), colour.sqrt_().clamp_max_(4.0)]
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
        torch.log(middle[:, 0] / scene.spacing).clamp(-4.0, 4.0),
    ]
    return Surroundings(torch.stack(pairs, -1), torch.stack(own, -1), around, present, scene)


def logits(weights: Weights, where: Surroundings, rounds: int = ROUNDS) -> list[Tensor]:
    """Judgements (n,) after each round: logits of being right. Only one round is possible for some of the points."""
    return judgements(weights, told(weights, where.pairs), where.own, where.around, where.present, rounds)


def told(weights: Weights, pairs: Tensor) -> Tensor:
    """(n, K, AVERAGED): what each neighbour says."""
    hidden = torch.relu_(torch.addmm(weights["a.bias"], pairs.flatten(0, 1), weights["a"]))
    return torch.relu_(torch.addmm(weights["b.bias"], hidden, weights["b"])).unflatten(0, pairs.shape[:2])


def judgements(
    weights: Weights, said: Tensor, own: Tensor, around: Tensor, present: Tensor, rounds: int
) -> list[Tensor]:
    """:func:`logits` from what the neighbours say."""
    neighbours = present.sum(1, keepdim=True)
    plain = torch.bmm((present / neighbours)[:, None], said)[:, 0]
    trust, weight = torch.full_like(own[:, 0], FIRST_TRUST), present * FIRST_TRUST
    judged: list[Tensor] = []
    for number in range(rounds):
        if number:
            trust = torch.sigmoid(judged[-1])
            weight = present * trust[around]
        total = weight.sum(1, keepdim=True)
        weighed = torch.bmm((weight / (total + 0.1))[:, None], said)[:, 0]
        share = (1.0 - trust.mean()).expand_as(total)
        inputs = torch.cat([plain, weighed, own, total / neighbours, share], 1)
        judging = torch.relu(torch.addmm(weights["c.bias"], inputs, weights["c"]))
        judged.append(torch.addmm(weights["d.bias"], judging, weights["d"])[:, 0])
    return judged


@cache
def _weights(judge: Judge, device: torch.device) -> Weights:
    with np.load(judge.path, allow_pickle=False) as stored:
        return {name: torch.as_tensor(stored[name], device=device) for name in stored.files}


def _without_slope(step: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Steps in depth (n, K) less the slope of the plane on which the majority lies, and where that majority is (n,)."""

    def mean(weights: Tensor, numbers: Tensor) -> Tensor:
        return (weights * numbers).sum(1, keepdim=True)

    centre = mean(weight, step) / (weight.sum(1, keepdim=True) + 1e-6)
    for _ in range(3):
        near = weight / ((step - centre).mul_(1 / _NEAR_PLANE).square_().add_(1.0))
        centre = mean(near, step) / (near.sum(1, keepdim=True) + 1e-6)
    offset = step - centre
    near = weight / (offset / _NEAR_PLANE).square_().add_(1.0)
    near /= near.sum(1, keepdim=True) + 1e-6
    by_x, by_y = near * x, near * y
    mean_x, mean_y = by_x.sum(1, keepdim=True), by_y.sum(1, keepdim=True)
    xx = mean(by_x, x) - mean_x * mean_x + _RIDGE
    xy = mean(by_x, y) - mean_x * mean_y
    yy = mean(by_y, y) - mean_y * mean_y + _RIDGE
    on_x, on_y = mean(by_x, offset), mean(by_y, offset)
    inverse = 1.0 / (xx * yy - xy * xy)
    slope_x, slope_y = (yy * on_x - xy * on_y) * inverse, (xx * on_y - xy * on_x) * inverse
    return step - slope_x * x - slope_y * y, centre[:, 0]


def _scene(third: Tensor, third_residual: Tensor, depth: Tensor, model: Tensor, middle: Tensor) -> Scene:
    off = depth - model
    spread = (1.4826 * (off - off.median()).abs().median()).clamp_min(0.01)
    every = max(1, depth.numel() // _SAMPLE)

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
    """(n,) the third smallest step to a neighbour."""
    sizes = step.abs().add_((1.0 - present) * 9.0).T.contiguous()
    first = second = third = torch.full_like(sizes[0], torch.inf)
    for size in sizes:  # far faster than topk over a few numbers
        third = torch.minimum(third, torch.maximum(second, size))
        second = torch.minimum(second, torch.maximum(first, size))
        first = torch.minimum(first, size)
    return third
