"""Every training loss, as a pure function of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from leadline.depth.spaces import Space


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of ``values`` (N, C, H, W) where ``mask`` (N, 1, H, W) holds; 0 where it never does."""
    if mask is None:
        return values.mean()
    weight = mask.to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def squared_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error over (N, C, H, W): DepthFM eq. 4, DepthMaster eq. 3, FiffDepth eq. 3."""
    return masked_mean((prediction.float() - target.float()) ** 2, mask)


def absolute_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error over (N, C, H, W): FiffDepth eq. 5."""
    return masked_mean((prediction.float() - target.float()).abs(), mask)


def error_norm(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over (N, H, W) of the Euclidean norm over channels: DepthFM eq. 4 as printed, without a square."""
    length = torch.linalg.vector_norm(prediction.float() - target.float(), dim=1, keepdim=True)
    return masked_mean(length, mask)


def gradient_matching(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """FiffDepth eq. 6: (1 / M) sum of |dR/dx| + |dR/dy|, R the residual, one scale; forward differences.

    M counts all cells of (N, C, H, W), or the valid ones; a difference counts where both its ends are valid.
    """
    residual = prediction.float() - target.float()
    along_x = (residual[..., :, 1:] - residual[..., :, :-1]).abs()
    along_y = (residual[..., 1:, :] - residual[..., :-1, :]).abs()
    if mask is None:
        return (along_x.sum() + along_y.sum()) / residual.numel()
    inside = mask.to(residual.dtype).expand_as(residual)
    along_x = along_x * inside[..., :, 1:] * inside[..., :, :-1]
    along_y = along_y * inside[..., 1:, :] * inside[..., :-1, :]
    return (along_x.sum() + along_y.sum()) / inside.sum().clamp_min(1.0)


def modified_huber(residual: Tensor, delta: float) -> Tensor:
    """DepthMaster eq. 8, elementwise: delta |r| up to delta, r^2 / 2 + delta^2 / 2 beyond; continuous at delta.

    This is the paper's form. The official code subtracts or adds other constants in the two branches, which leaves
    the gradient as it is and makes the reported value jump.
    """
    size = residual.abs()
    return torch.where(size <= delta, delta * size, 0.5 * size**2 + 0.5 * delta**2)


def directional_gradients(image: Tensor) -> Tensor:
    """Differences along x, y and both diagonals: (N, 1, H, W) → (N, 4, H - 1, W - 2)."""
    here = image[..., :-1, 1:-1]
    right, below = image[..., :-1, 2:], image[..., 1:, 1:-1]
    below_right, below_left = image[..., 1:, 2:], image[..., 1:, :-2]
    return torch.cat([right - here, below - here, below_right - here, below_left - here], dim=-3)


def multi_directional_gradient_loss(
    prediction: Tensor, target: Tensor, delta: float = 0.2, mask: Tensor | None = None
) -> Tensor:
    """DepthMaster section III-D on maps (N, 1, H, W): :func:`modified_huber` of the gradients' difference."""
    penalty = modified_huber(directional_gradients(prediction.float()) - directional_gradients(target.float()), delta)
    if mask is None:
        return penalty.mean()
    # a difference counts where both of its ends are valid
    whole = 1.0 - directional_gradients(mask.float()).abs()
    return masked_mean(penalty * whole, mask[..., :-1, 1:-1])


def feature_alignment(aligned: Tensor, external: Tensor, reduction: str = "paper") -> Tensor:
    """DepthMaster eq. 5: KL(external || aligned) between softmaxes over the feature dimension.

    Args:
        aligned: (N, D, h, w) features of the network, projected.
        external: (N, D, h, w) features of the frozen encoder.
        reduction: "paper": the mean over tokens of the sum over features; "released": the mean over both, as the official
            code's ``kl_div`` does, D times smaller.
    """
    log_aligned = functional.log_softmax(aligned.float(), dim=1)
    log_external = functional.log_softmax(external.float(), dim=1)
    each = log_external.exp() * (log_external - log_aligned)
    return each.mean() if reduction == "released" else each.sum(dim=1).mean()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) from N(0, 1), mean over all elements (the autoencoder's prior)."""
    log_variance = log_variance.float().clamp(-30.0, 20.0)
    return 0.5 * (mean.float() ** 2 + log_variance.exp() - 1.0 - log_variance).mean()


def aligned_abs_rel(values: Tensor, depth_m: Tensor, space: Space) -> Tensor:
    """What evaluation measures, as a loss: AbsRel after the least-squares fit of scale and shift in the model's space.

    The gradient runs through the fit, so that a network need not learn what the fit does away with. Depths more than twice
    too far count by their logarithm, and values past the end of the space (four times beyond the nearest or farthest depth)
    go on smoothly: a few hopeless pixels do not decide the step.

    Args:
        values: (N, h, w) maps, affine in ``space``.
        depth_m: (N, h, w) metres, 0 where unknown.
        space: Of ``values``.

    Returns:
        The mean over the images that have any depth.
    """
    known = depth_m > 0
    depth_m = torch.where(known, depth_m.float(), 1.0)
    weight = known / known.sum(dim=(1, 2), keepdim=True).clamp_min(1)

    def mean(maps: Tensor) -> Tensor:
        return (weight * maps).sum(dim=(1, 2), keepdim=True)

    values, truth = values.float(), space.from_depth(depth_m)
    off = values - mean(values)
    scale = mean(off * (truth - mean(truth))) / mean(off**2).clamp_min(1e-6)
    fitted = scale * off + mean(truth)
    if space is not Space.LOG_DEPTH:  # the others end at 0
        least = torch.where(known, truth, torch.inf).amin(dim=(1, 2), keepdim=True)
        end = space.from_depth(space.to_depth(least) * (4.0 if space.near_is_high else 0.25))
        fitted = torch.where(fitted > end, fitted, end * torch.exp((fitted / end - 1.0).clamp_max(0.0)))
    ratio = space.to_depth(fitted) / depth_m
    error = torch.where(ratio <= 2.0, (ratio - 1.0).abs(), 1.0 + 2.0 * torch.log(ratio / 2.0))
    return mean(error)[known.any(dim=2).any(dim=1)].mean()


def scale_and_shift_to(values: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """``values`` (N, 1, H, W) with each map's scale and shift by least squares to ``target`` where ``mask`` holds.

    The gradient runs through the fit. A flat map keeps its scale.
    """
    weight = mask.float() / mask.float().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1.0)

    def mean(maps: Tensor) -> Tensor:
        return (weight * maps).sum(dim=(1, 2, 3), keepdim=True)

    values, target = values.float(), target.float()
    off = values - mean(values)
    scale = mean(off * (target - mean(target))) / mean(off**2).clamp_min(1e-6)
    return scale * off + mean(target)


def edge_error(prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute difference of the gradients of two maps (N, 1, H, W), at so many scales, each half of the one before.

    A difference counts where both of its ends are in ``mask``; the scales' means are added (MiDaS' gradient term).
    """
    residual = prediction.float() - target.float()
    total = residual.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        here, inside = residual[..., ::step, ::step], mask[..., ::step, ::step]
        for axis in (-2, -1):
            length = here.shape[axis] - 1
            both = inside.narrow(axis, 0, length) & inside.narrow(axis, 1, length)
            total = total + masked_mean(here.diff(dim=axis).abs(), both)
    return total
