"""How wrong the completed map is, learnt from points that were left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.local import Estimate

Vector = npt.NDArray[np.float64]

#: Left-out points under which there is nothing to learn from.
FEWEST = 24
#: Largest number of bins of the calibration, and the fewest left-out points in each.
_BINS, _PER_BIN = 10, 12
#: Shares of left-out points in a bin that one sigma covers at least, at most, and that two sigma should: errors at edges
#: have heavy tails, so sigma is raised from the first towards the second until the third is reached.
PLAIN = (0.65, 0.71, 0.95)
CAUTIOUS = (0.73, 0.89, 0.985)


@dataclass(frozen=True)
class Calibration:
    """Standard deviation as a monotone function of a score.

    The score is linear in the logarithms of what foretells an error: the spread of the neighbours, the distance to the
    nearest point, and how far the model is from the estimate.

    Attributes:
        coefficients: (4,) of the score: constant, spread, distance, disagreement.
        floor: Added to spread and disagreement before the logarithm.
        spacing: Typical distance to the nearest point, pixels.
        scores, sigmas: (bins,) ascending; sigma between them is interpolated.
    """

    coefficients: Vector
    floor: float
    spacing: float
    scores: Vector
    sigmas: Vector

    def sigma(self, estimate: Estimate, model: Tensor) -> Tensor:
        """One standard deviation in the unit of the estimate, same shape."""
        score = torch.zeros_like(estimate.value)
        for coefficient, feature in zip(
            self.coefficients, _features(estimate, model, self.floor, self.spacing), strict=True
        ):
            score = score + float(coefficient) * feature
        knots = torch.as_tensor(self.scores, dtype=score.dtype, device=score.device)
        sigmas = torch.as_tensor(self.sigmas, dtype=score.dtype, device=score.device)
        if len(knots) == 1:
            return sigmas.expand_as(score).clone()
        score = score.clamp_(float(self.scores[0]), float(self.scores[-1]))
        left = torch.searchsorted(knots, score.contiguous(), right=True).sub_(1).clamp_(0, len(knots) - 2)
        part = (score - knots[left]) / (knots[left + 1] - knots[left])
        return torch.lerp(sigmas[left], sigmas[left + 1], part)


def _features(estimate: Estimate, model: Tensor, floor: float, spacing: float) -> list[Tensor]:
    return [
        torch.ones_like(estimate.value),
        torch.log(estimate.spread + floor),
        torch.log1p(estimate.distance / spacing),
        torch.log((estimate.value - model).abs() + floor),
    ]


def calibrate(
    estimate: Estimate, model: Tensor, truth: Tensor, spacing: float, cautious: bool = False
) -> Calibration | None:
    """Learn from left-out points what error to expect.

    Args:
        estimate: At the left-out points, (n,) each, made without them.
        model: (n,) the fitted model there.
        truth: (n,) what was measured there, in the same unit.
        spacing: Typical distance of a pixel to its nearest point, pixels.
        cautious: The left-out points are easier than the pixels to come (scan lines: there are none between lines).

    Returns:
        None for fewer than :data:`FEWEST` points.
    """
    count = truth.numel()
    if count < FEWEST:
        return None
    error = (estimate.value - truth).abs().double().cpu().numpy()
    typical = float(np.quantile(error, PLAIN[0]))
    floor = max(0.05 * typical, 1e-9)
    features = np.stack([f.double().cpu().numpy() for f in _features(estimate, model, floor, spacing)], axis=1)
    target = np.log(error + floor)
    ridge = np.diag([0.0, 1.0, 1.0, 1.0]) * 0.02 * count
    coefficients = np.linalg.solve(features.T @ features + ridge + 1e-9 * np.eye(4), features.T @ target)
    coefficients[1:] = np.maximum(coefficients[1:], 0.0)  # none of the three ever lessens an error
    score = features @ coefficients
    order = np.argsort(score, kind="stable")
    bins = np.array_split(order, int(np.clip(count // _PER_BIN, 1, _BINS)))
    scores = np.array([np.median(score[part]) for part in bins])
    sigmas = np.maximum.accumulate([_covering(error[part], CAUTIOUS if cautious else PLAIN) for part in bins])
    distinct = np.concatenate([[True], np.diff(scores) > 1e-6])
    return Calibration(coefficients, floor, spacing, scores[distinct], np.maximum(sigmas[distinct], floor))


def _covering(error: Vector, shares: tuple[float, float, float]) -> float:
    """The sigma for these absolute errors."""
    one, most, two = np.quantile(error, shares)
    return float(np.clip(two / 2, one, most))
