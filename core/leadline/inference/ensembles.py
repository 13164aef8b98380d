"""Members of an ensemble become one map and its spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from leadline.inference.tuned import ENSEMBLES
from leadline.models.values import unit

#: How aligned members become one map: their (lower) median or their mean.
Reduction = Literal["median", "mean"]

#: The reference's weight of the aligned map's ends lying at 0 and 1, and the size above which it thins maps out.
END_WEIGHT = 0.02
MAX_SIDE = 1024


@dataclass(frozen=True)
class MemberAlignment:
    """Scale and shift (E,) of every member, float64, so that their merged map has its ends at 0 and 1."""

    scales: Tensor
    shifts: Tensor

    def apply(self, members: Tensor) -> Tensor:
        """Members (E, h, w), aligned."""
        scales, shifts = (p.to(members.device, members.dtype)[:, None, None] for p in (self.scales, self.shifts))
        return members * scales + shifts


def align_members(members: Tensor, reduction: Reduction = "median") -> MemberAlignment:
    """Scales and shifts that make maps (E, h, w), each known up to its own scale and shift, agree.

    What is minimised is the disagreement in the reference's cost (Ke et al., 2024: the sum over pairs of the root mean square
    difference) with the merged map's ends held at 0 and 1. The reference holds them by a small penalty instead, so that its
    cost falls as long as all members shrink together; as the merged map is stretched to [0, 1] in the end, that changes
    nothing but the number. Scales stay positive: no member is turned around.

    Differences of affine maps depend on the members' covariances alone, so all pixels are read once for those, and once in the
    end; the passes between, each a weighted least-squares problem in closed form, look for the merged map's ends among the
    pixels where a member has its own, and some thousand others.
    """
    step = max(1, -(-max(members.shape[-2:]) // MAX_SIDE))
    flat = members[:, ::step, ::step].flatten(1)
    means = flat.double().mean(1)
    centred = flat - means[:, None].to(flat.dtype)
    covariance = (centred @ centred.T).double() / flat.shape[1]
    count = len(members)
    ranges = (flat.amax(1) - flat.amin(1)).double().clamp_min(1e-12)
    lows = flat.amin(1).double()
    starts = ((means - lows) / ranges, torch.full_like(means, 0.5))  # the reference's, and one with equal means
    few = centred[:, _telling_pixels(flat)]
    candidates = [_with_ends(torch.cat([1.0 / ranges, start]), few, reduction) for start in starts]
    best, ends = min(candidates, key=lambda one: _pair_cost(one[0], covariance))
    best_cost = _pair_cost(best, covariance)
    for _ in range(ENSEMBLES.passes):
        proposal = _reweighted(best, covariance, ends)
        improved = False
        for share in (1.0, 0.5, 0.2, 0.05):
            mixed = best + share * (proposal - best)
            if float(mixed[:count].min()) <= 0.0:
                continue
            tried, tried_ends = _with_ends(mixed, few, reduction)
            cost = _pair_cost(tried, covariance)
            if cost < best_cost - 1e-5 * best_cost:
                best, ends, best_cost, improved = tried, tried_ends, cost, True
                break
        if not improved:
            break
    best, _ = _with_ends(best, centred, reduction)
    scales = best[:count]
    return MemberAlignment(scales, best[count:] - scales * means)


def _telling_pixels(flat: Tensor) -> Tensor:
    """Indices of pixels (n,): every member's highest and lowest, and others spread evenly."""
    pixels = flat.shape[1]
    most = min(ENSEMBLES.extremes, pixels)
    extremes = torch.cat([flat.topk(most, dim=1).indices, flat.topk(most, dim=1, largest=False).indices]).flatten()
    spread = torch.arange(0, pixels, max(1, pixels // ENSEMBLES.spread), device=flat.device)
    return torch.cat([extremes, spread]).unique()


def _with_ends(theta: Tensor, centred: Tensor, reduction: Reduction) -> tuple[Tensor, Tensor]:
    """``theta`` (E scales, E means) with the merged map stretched to [0, 1], and the gradient of its range."""
    count = len(centred)
    aligned = centred * theta[:count, None].to(centred.dtype) + theta[count:, None].to(centred.dtype)
    merged, chosen = aligned.median(0) if reduction == "median" else (aligned.mean(0), None)
    low, high = int(merged.argmin()), int(merged.argmax())
    span = (merged[high] - merged[low]).double().clamp_min(1e-12)
    stretched = theta / span
    stretched[count:] -= merged[low].double() / span
    gradient = torch.zeros_like(theta)
    for pixel, sign in ((high, 1.0), (low, -1.0)):
        who = torch.arange(count, device=theta.device) if chosen is None else chosen[pixel : pixel + 1]
        gradient[who] += sign / len(who) * centred[who, pixel].double()
        gradient[count + who] += sign / len(who)
    return stretched, gradient


def _squares(theta: Tensor, covariance: Tensor) -> Tensor:
    """Mean square differences (E, E) of the aligned members."""
    count = len(covariance)
    scales, means = theta[:count], theta[count:]
    scaled = covariance * scales[:, None] * scales[None]
    own = scaled.diagonal()
    apart = own[:, None] + own[None] - 2.0 * scaled + (means[:, None] - means[None]).square()
    return apart.clamp_min(0.0)


def _pair_cost(theta: Tensor, covariance: Tensor) -> float:
    return float(_squares(theta, covariance).sqrt().triu(1).sum())


def _reweighted(theta: Tensor, covariance: Tensor, ends: Tensor) -> Tensor:
    """The minimum of the weighted squares under which this ``theta`` would cost the same, at range 1."""
    count = len(covariance)
    weights = 1.0 / _squares(theta, covariance).sqrt().clamp_min(1e-9)
    weights.fill_diagonal_(0.0)
    laplacian = torch.diag(weights.sum(1)) - weights
    quadratic = torch.zeros(2 * count, 2 * count, dtype=torch.float64, device=theta.device)
    quadratic[:count, :count] = torch.diag(weights.sum(1) * covariance.diagonal()) - weights * covariance
    quadratic[count:, count:] = laplacian + 1.0 / count  # the common mean costs nothing: hold it
    ridge = 1e-9 * quadratic.diagonal().mean()
    direction = torch.linalg.solve(
        quadratic + ridge * torch.eye(2 * count, dtype=torch.float64, device=theta.device), ends
    )
    solution = direction / (ends @ direction).clamp_min(1e-12)
    solution[count:] += theta[count:].mean() - solution[count:].mean()
    return solution


def cost_of(alignment: MemberAlignment, members: Tensor, reduction: Reduction = "median") -> float:
    """The reference's cost: pairs' root mean square differences, and 0.02 times how far the ends are from 0 and 1."""
    aligned = alignment.apply(members).flatten(1).double()
    pairs = sum(float((a - b).square().mean().sqrt()) for i, a in enumerate(aligned) for b in aligned[i + 1 :])
    merged = aligned.median(0).values if reduction == "median" else aligned.mean(0)
    return pairs + END_WEIGHT * (abs(float(merged.min())) + abs(1.0 - float(merged.max())))


def merge(members: Tensor, alignment: MemberAlignment, reduction: Reduction = "median") -> tuple[Tensor, Tensor]:
    """Members (E, h, w) to the merged map in [0, 1] and its standard deviation, both (h, w)."""
    aligned = alignment.apply(members)
    merged = aligned.median(0).values if reduction == "median" else aligned.mean(0)
    low, span = merged.min(), (merged.max() - merged.min()).clamp_min(1e-6)
    return (merged - low) / span, aligned.std(0) / span


def of_one_scale(members: Tensor) -> Tensor:
    """Maps (E, h, w), each known up to its own scale and shift, with the mean and the standard deviation that they have on average.

    What is left of their differences is what they disagree about: DepthFM's authors fit scale and shift of each prediction before
    they look at the variance. Moments are matched instead of fitting by least squares, which would shrink members the more the
    less they agree. A flat member keeps its scale.
    """
    means, deviations = (getattr(members, name)(dim=(1, 2), keepdim=True) for name in ("mean", "std"))
    scales = torch.where(deviations > 1e-6, deviations.mean() / deviations.clamp_min(1e-6), 1.0)
    return (members - means) * scales + means.mean()


def mean_direction(members: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (E, 3, h, w) to their mean direction (3, h, w) and mean angle to it in radians (h, w)."""
    mean = unit(members.mean(0, keepdim=True))
    angles = torch.arccos((mean * members).sum(1).clamp(-1.0, 1.0))
    return mean[0], angles.mean(0)


def closest_direction(members: Tensor) -> tuple[Tensor, Tensor]:
    """Like :func:`mean_direction`, but at every pixel the member nearest to the mean, as the reference's default is."""
    mean, spread = mean_direction(members)
    nearest = (mean * members).sum(1).argmax(0)
    return members.gather(0, nearest[None, None].expand(1, 3, -1, -1))[0], spread
