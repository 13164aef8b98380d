"""How wrong the completed map is, learnt from points that were left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from leadline.completion.local import Estimate
from leadline.completion.tuned import UNCERTAINTY


@dataclass(frozen=True)
class Calibration:
    """Standard deviation as a monotone function of a score.

    The score is linear in the logarithms of what foretells an error: the spread of the neighbours around the fit, the
    distance to the nearest point, how far the model is from the estimate, and the step among all neighbours.

    Attributes:
        coefficients: (5,) of the score: constant, spread, distance, disagreement, step.
        floor: Added to spread and disagreement before the logarithm.
        spacing: Typical distance to the nearest point, pixels.
        scores, sigmas: (bins,) ascending; sigma between them is interpolated. The score is a logarithm of the error, so
            beyond the last bin sigma grows with its exponential.
    """

    coefficients: Tensor
    floor: Tensor
    spacing: float
    scores: Tensor
    sigmas: Tensor

    def sigma(self, estimate: Estimate, model: Tensor) -> Tensor:
        """One standard deviation in the unit of the estimate, same shape."""
        score = torch.zeros_like(estimate.value)
        for coefficient, feature in zip(
            self.coefficients, _features(estimate, model, self.floor, self.spacing), strict=True
        ):
            score.addcmul_(coefficient, feature)
        knots, sigmas = self.scores, self.sigmas
        farther = (score - knots[-1]).clamp_(0.0, UNCERTAINTY.largest_growth).exp_()
        if len(knots) == 1:
            return farther.mul_(sigmas)
        score = torch.minimum(torch.maximum(score, knots[0]), knots[-1])
        left = torch.searchsorted(knots, score.contiguous(), right=True).sub_(1).clamp_(0, len(knots) - 2)
        part = (score - knots[left]) / (knots[left + 1] - knots[left])
        return torch.lerp(sigmas[left], sigmas[left + 1], part).mul_(farther)


def _features(estimate: Estimate, model: Tensor, floor: Tensor, spacing: float) -> list[Tensor]:
    return [
        torch.ones_like(estimate.value),
        torch.log(estimate.spread + floor),
        torch.log1p(estimate.distance / spacing),
        torch.log((estimate.value - model).abs() + floor),
        torch.log(estimate.step + floor),
    ]


def calibrate(
    estimate: Estimate, model: Tensor, truth: Tensor, spacing: float, caution: float = 0.0
) -> Calibration | None:
    """Learn from left-out points what error to expect.

    Args:
        estimate: At the left-out points, (n,) each, made without them.
        model: (n,) the fitted model there.
        truth: (n,) what was measured there, in the same unit.
        spacing: Typical distance of a pixel to its nearest point, pixels.
        caution: In [0, 1], how much easier the left-out points are than the pixels to come (scan lines: there are none
            between lines).

    Returns:
        None for fewer than ``UNCERTAINTY.fewest`` points.
    """
    count = truth.numel()
    if count < UNCERTAINTY.fewest:
        return None
    error = (estimate.value - truth).abs()
    floor = (0.05 * torch.quantile(error, UNCERTAINTY.plain[0])).clamp_min(1e-9)
    features = torch.stack(_features(estimate, model, floor, spacing), dim=1)
    coefficients = _regression(features, torch.log(error + floor))
    score = features @ coefficients
    bins = _bins(torch.argsort(score, stable=True), count)
    scores = torch.stack([score[part].median() for part in bins])
    plain, cautious = (
        torch.tensor(shares, dtype=error.dtype, device=error.device)
        for shares in (UNCERTAINTY.plain, UNCERTAINTY.cautious)
    )
    shares = torch.lerp(plain, cautious, caution)
    sigmas = torch.stack([_covering(error[part], shares) for part in bins]).cummax(0).values
    sigmas *= 1.0 + UNCERTAINTY.few_errors / count
    distinct = torch.ones_like(scores, dtype=torch.bool)
    distinct[1:] = scores.diff() > 1e-6
    return Calibration(coefficients, floor, spacing, scores[distinct], sigmas[distinct].maximum(floor))


def _regression(features: Tensor, target: Tensor) -> Tensor:
    """(k,) coefficients of (n, k) features. The normal equations are solved in NumPy: not every device has double precision."""
    sums = (features.T @ torch.cat([features, target[:, None]], 1)).cpu().numpy().astype(np.float64)
    width = features.shape[1]
    ridge = np.diag([0.0, *[UNCERTAINTY.ridge] * (width - 1)]) * len(target) + 1e-6 * np.eye(width)
    coefficients = np.linalg.solve(sums[:, :width] + ridge, sums[:, width])
    coefficients[1:] = np.maximum(coefficients[1:], 0.0)  # none of the four ever lessens an error
    return torch.as_tensor(coefficients.astype(np.float32), device=features.device)


def _covering(errors: Tensor, shares: Tensor) -> Tensor:
    """The sigma for errors in a bin, given the plain or the cautious shares, or some between.

    Their root mean square is what a normal error would be punished by, so sigma is not far below it.
    """
    one, most, two = torch.quantile(errors, shares)
    quantile = torch.minimum(torch.maximum(two / 2, one), most)
    return torch.maximum(quantile, UNCERTAINTY.tail * errors.square().mean().sqrt())


def _bins(order: Tensor, count: int) -> list[Tensor]:
    """Left-out points in ascending order of their scores, cut into bins: equal ones, and finer towards the largest errors."""
    number = min(max(count // UNCERTAINTY.per_bin, 1), UNCERTAINTY.bins)
    bins = list(torch.tensor_split(order, number))
    while len(bins[-1]) >= 4 * UNCERTAINTY.per_bin:
        bins[-1:] = torch.tensor_split(bins[-1], 2)
    return bins
