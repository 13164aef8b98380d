"""The work of :mod:`leadline.inference.refine.edges` in PyTorch, for maps whose network runs on a GPU anyway.

The same steps with the same constants. Two of them are not the same to the last digit: fractional scaling down, and the nearest
point of a surface, which is found by jump flooding (Rong and Tan, 2006) and may be a pixel farther than the nearest.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leadline.inference.refine.edges import Snapped, lips, somewhere_sharp, without_gaps
from leadline.inference.tuned import EDGES
from leadline.types import FloatMap, RgbImage


@torch.no_grad()
def snap_edges_on(
    device: torch.device | str, values: FloatMap, rgb: RgbImage, uncertainty: FloatMap | None = None
) -> Snapped:
    """:func:`~leadline.inference.refine.edges.snap_edges` on ``device``; arrays go there and come back.

    Args:
        device: Where to compute.
        values: float32 (H, W), a depth map in any space. What is not finite stays as it is.
        rgb: uint8 (H, W, 3), its photograph.
        uncertainty: float32 (H, W), standard deviation of ``values``.

    Raises:
        InputError: Map and photograph differ in size.
    """
    known, whole = without_gaps(values, rgb)
    unchanged = Snapped(values, uncertainty, np.zeros(values.shape, bool), float("inf"))
    if whole is None:
        return unchanged
    depth, picture = torch.from_numpy(whole).to(device)[None, None], torch.from_numpy(rgb).to(device)
    blur_px = _blur_of_steps(depth)
    if blur_px < EDGES.sharp_sigma or blur_px > min(values.shape) * EDGES.hopeless_share:
        return Snapped(values, uncertainty, unchanged.moved, blur_px)
    factor = max(1.0, blur_px / EDGES.working_sigma, max(values.shape) / EDGES.largest_work)
    size = (round(values.shape[0] / factor), round(values.shape[1] / factor))
    colour = _shrunk(picture.permute(2, 0, 1)[None].float(), size)
    sides = _sides(_shrunk(depth, size), colour)
    if sides is None:
        return Snapped(values, uncertainty, unchanged.moved, blur_px)
    ramp, surfaces = sides
    moved = F.interpolate(ramp, values.shape, mode="bilinear", align_corners=False)[0, 0] >= 0.5
    moved &= torch.from_numpy(known).to(device)
    out = depth[0, 0].clone()
    sigma = None if uncertainty is None else torch.from_numpy(uncertainty).to(device).clone()
    rows = max(1, EDGES.at_once // values.shape[1])
    for top in range(0, values.shape[0], rows):
        _decide(slice(top, min(top + rows, values.shape[0])), surfaces, picture, moved, out, sigma)
    found = out.cpu().numpy()
    if not known.all():
        found[~known] = values[~known]
    return Snapped(found, None if sigma is None else sigma.cpu().numpy(), moved.cpu().numpy(), blur_px)


def _blur_of_steps(values: Tensor) -> float:
    """As :func:`leadline.inference.refine.edges.blur_of_steps`."""
    found = float("inf")
    for factor in (8, 4, 2, 1):
        size = (values.shape[2] // factor, values.shape[3] // factor)
        if min(size) < 16:
            continue
        small = _shrunk(values, size)
        slope = _slope(small)
        peak = (slope >= F.max_pool2d(slope, 3, 1, 1)) & (slope > _quantiles(slope[..., ::2, ::2], 0.97)[0])
        if float(slope.max()) <= 1e-6 * (float(small.max() - small.min()) + 1e-30) or int(peak.sum()) < 4:
            continue
        shallower = _slope(_gaussian(small, EDGES.measuring_blur_px))[peak]
        ratio = slope[peak] / shallower.clamp(min=1e-30)
        width = float((EDGES.measuring_blur_px / (ratio**2 - 1.0).clamp(min=1e-6).sqrt()).median())
        found = factor * max(width**2 - 0.5, 0.05) ** 0.5
        if found > factor:
            return found
    return found


def _sides(values: Tensor, colour: Tensor) -> tuple[Tensor, Tensor] | None:
    """(1, 1, h, w), 1 on a ramp; and (1, 8, h, w): value and colour of the surface above, and of the one below."""
    window = 2 * EDGES.reach + 1
    top, bottom = F.max_pool2d(values, window, 1, EDGES.reach), -F.max_pool2d(-values, window, 1, EDGES.reach)
    height = top - bottom
    slope = _slope(values)
    steepest, mean = F.max_pool2d(slope, window, 1, EDGES.reach), _mean(slope, 2 * EDGES.reach)
    low, high = _quantiles(values, 0.02, 0.98)
    steepness = steepest / mean.clamp(min=1e-30)
    step = (steepness > EDGES.ramp_steepness) & (height > EDGES.least_step * (high - low))
    ramp = step & (slope > EDGES.ramp_end * steepest)
    beside = (F.max_pool2d(ramp.float(), 7, 1, 3) > 0) & ~ramp
    above = beside & (values > (top + bottom) / 2)
    below = beside & ~above
    if not above.any() or not below.any():
        return None
    flat = (~ramp).float()
    smooth = _mean(colour * flat, 2) / (_mean(flat, 2) + 1e-6)
    both = torch.cat([values, smooth], 1)
    far_up, up = _nearest(above, both)
    far_down, down = _nearest(below, both)
    ramp &= (far_up < 2.5 * EDGES.reach) & (far_down < 2.5 * EDGES.reach) & (up[:, :1] - down[:, :1] > 0.4 * height)
    ramps, map_, steep = (one[0, 0].cpu().numpy() for one in (ramp, values, steepness))  # small ones
    colours = (one[0, 1:].permute(1, 2, 0).cpu().numpy() for one in (up, down))
    sure = somewhere_sharp(ramps & ~lips(ramps, map_, *colours), steep)
    return torch.from_numpy(sure).to(values)[None, None], torch.cat([up, down], 1)


def _decide(rows: slice, surfaces: Tensor, picture: Tensor, moved: Tensor, out: Tensor, sigma: Tensor | None) -> None:
    """Give each ramp pixel of these rows the value of one side."""
    row, column = torch.nonzero(moved[rows], as_tuple=True)
    if not row.numel():
        return
    x = (column.float() + 0.5) * (2.0 / moved.shape[1]) - 1.0
    y = (row.float() + rows.start + 0.5) * (2.0 / moved.shape[0]) - 1.0
    place = torch.stack([x, y], 1)[None, None]
    at = F.grid_sample(surfaces, place, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0]
    high, high_colour, low, low_colour = at[0], at[1:4], at[4], at[5:8]
    margin = slice(max(rows.start - 1, 0), rows.stop + 1)
    block = _mean(picture[margin].permute(2, 0, 1)[None].float(), 1)[0, :, rows.start - margin.start :]
    colour = block[:, row, column]
    apart = ((high_colour - low_colour) ** 2).sum(0)
    nearer = ((colour - low_colour) ** 2).sum(0) - ((colour - high_colour) ** 2).sum(0)
    old = out[rows][row, column]
    share = ((old - low) / (high - low).clamp(min=1e-30)).clamp(0.0, 1.0)
    score = nearer / (2.0 * EDGES.colour_noise**2 + 0.5 * apart) + EDGES.place_weight * (share - 0.5)
    distinct = high > low
    out[rows][row, column] = torch.where(distinct, torch.where(score > 0, high, low), old)
    if sigma is not None:
        wrong = torch.sigmoid(-score.abs())
        height = torch.where(distinct, high - low, torch.zeros_like(high))
        sigma[rows][row, column] = (sigma[rows][row, column] ** 2 + wrong * (1 - wrong) * height**2).sqrt()


def _nearest(seeds: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (1, 1, h, w) in pixels to a near seed, and ``image`` (1, c, h, w) there; found by jump flooding."""
    height, width = seeds.shape[2:]
    y = torch.arange(height, device=image.device, dtype=torch.float32)[:, None].expand(height, width)
    x = torch.arange(width, device=image.device, dtype=torch.float32).expand(height, width)
    best = torch.where(seeds[0, 0], torch.stack([y, x]), torch.full_like(torch.stack([y, x]), 1e6))
    distance = (best[0] - y) ** 2 + (best[1] - x) ** 2
    jump = 4 * EDGES.reach  # farther seeds are of no use
    while jump:
        for down in (-jump, 0, jump):
            for across in (-jump, 0, jump):
                other = _shifted(best, down, across)
                far = (other[0] - y) ** 2 + (other[1] - x) ** 2
                nearer = far < distance
                best, distance = torch.where(nearer, other, best), torch.where(nearer, far, distance)
        jump //= 2
    row, column = (best[i].clamp(0, side - 1).long() for i, side in ((0, height), (1, width)))
    return distance.sqrt()[None, None], image[:, :, row, column]


def _shifted(image: Tensor, down: int, across: int) -> Tensor:
    """``image`` (2, h, w) at (y + down, x + across); far away outside."""
    pad = [max(-across, 0), max(across, 0), max(-down, 0), max(down, 0)]
    height, width = image.shape[1:]
    padded = F.pad(image, pad, value=1e6)
    return padded[:, max(down, 0) : max(down, 0) + height, max(across, 0) : max(across, 0) + width]


def _slope(values: Tensor) -> Tensor:
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=values.device) / 8
    both = F.conv2d(F.pad(values, (1, 1, 1, 1), mode="reflect"), torch.stack([kernel, kernel.T])[:, None])
    return torch.linalg.vector_norm(both, dim=1, keepdim=True)


def _gaussian(values: Tensor, sigma_px: float) -> Tensor:
    reach = round(4 * sigma_px)
    place = torch.arange(-reach, reach + 1, device=values.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (place / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(values, (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])


def _mean(image: Tensor, radius: int) -> Tensor:
    return F.avg_pool2d(F.pad(image, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)


def _quantiles(values: Tensor, *shares: float) -> list[Tensor]:
    """By sorting: ``torch.quantile`` takes no more than 16 million numbers."""
    ordered = values.flatten().sort().values
    return [ordered[round(share * (ordered.numel() - 1))] for share in shares]


def _shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    return image if image.shape[2:] == size else F.interpolate(image, size, mode="area")
