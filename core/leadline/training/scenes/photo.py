"""From radiance to a photograph: lens blur, bloom, exposure, white balance, tone, vignetting, noise, sharpening, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .scene import Look

Image = npt.NDArray[np.uint8]


def _box(x: Tensor, radius: int) -> Tensor:
    """Box blur of (C, H, W) in time independent of the radius."""
    size = 2 * radius + 1
    picture = np.ascontiguousarray(x.permute(1, 2, 0).cpu().numpy())
    blurred = cv2.blur(picture, (size, size), borderType=cv2.BORDER_REPLICATE).reshape(picture.shape)
    return torch.from_numpy(blurred).to(x.device).permute(2, 0, 1)


def lens_blur(colour: Tensor, depth: Tensor, aperture: float, focus: float) -> Tensor:
    """Depth of field: each pixel is blended from pictures blurred more and more, by its own blur circle.

    ``colour`` (3, H, W), ``depth`` metres (H, W; inf for sky). ``aperture``: blur radius in pixels at infinity per dioptre.
    """
    circle = (aperture * (1 / depth.clamp(min=1e-2) - 1 / focus).abs()).clamp(max=12)
    spread = torch.maximum(circle, 0.85 * _box(circle[None], 3)[0])
    result, level = colour, 0.0
    for radius in (1, 2, 4, 8):
        if float(circle.max()) < level:
            break
        blurred = _box(_box(colour, radius), max(1, radius // 2))
        share = ((spread - level) / max(radius - level, 1e-3)).clamp(0, 1)
        result = result + (blurred - result) * share
        level = float(radius)
    return result


def _tone(x: Tensor, contrast: float, knee: float) -> Tensor:
    """Highlights roll off above ``knee``; then the sRGB-like curve; then a contrast S."""
    x = torch.where(x > knee, knee + (1 - knee) * (1 - torch.exp(-(x - knee) / (1 - knee))), x)
    x = x.clamp(0, 1) ** (1 / 2.2)
    return x + contrast * (x - 0.5) * x * (1 - x) * 2


def photograph(radiance: Tensor, depth: Tensor, look: Look, focal: float, rng: np.random.Generator) -> Image:
    """(H, W, 3) uint8 sRGB from linear radiance (3, H, W) and z-depth (H, W; inf for sky); ``focal`` in pixels."""
    _, height, width = radiance.shape
    x = radiance.clamp(0, 60)
    if look.aperture > 0:
        focus = look.focus or float(depth[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].median())
        x = lens_blur(x, depth, look.aperture * focal * float(rng.uniform(0.3, 1.2)), max(min(focus, 50.0), 0.1))
    grey = x.mean(0)
    level = float(grey.mean()) * 0.5 + float(grey.flatten()[:: max(1, grey.numel() // 4096)].median()) * 0.5
    target = 0.2 * 2 ** float(np.clip(rng.normal(0, 0.55), -1.6, 1.5)) * (0.35 if look.night else 1.0)
    x = x * (target / max(level, 1e-4)) * 2**look.exposure
    if rng.random() < 0.5:  # bloom round bright windows and lamps
        bright = (x - 0.9).clamp(min=0, max=3)
        radius = max(2, width // int(rng.integers(24, 60)))
        x = x + _box(_box(bright, radius), radius) * float(rng.uniform(0.2, 0.8))
    warm, green = float(rng.normal(0, 0.09)), float(rng.normal(0, 0.035))
    balance = torch.tensor([1 + warm, 1 + green, 1 - warm], device=x.device).view(3, 1, 1)
    x = x * balance.clamp(min=0.5)
    yy, xx = torch.meshgrid(
        torch.linspace(-1, 1, height, device=x.device), torch.linspace(-1, 1, width, device=x.device), indexing="ij"
    )
    fall = float(rng.uniform(0, 0.35)) if rng.random() < 0.6 else 0.0
    x = x * (1 - fall * ((xx - rng.normal(0, 0.05)) ** 2 + (yy - rng.normal(0, 0.05)) ** 2) * 0.6)
    saturation = float(np.clip(rng.normal(1.2, 0.28), 0.0, 2.0)) if rng.random() > 0.02 else 0.0
    x = _tone(x, float(rng.uniform(-0.2, 1.7)), float(rng.uniform(0.5, 0.9)))
    if rng.random() < 0.35:
        lift = float(rng.uniform(0, 0.07))
        x = lift + (1 - lift) * x
    luma = (x * torch.tensor([0.3, 0.59, 0.11], device=x.device).view(3, 1, 1)).sum(0, keepdim=True)
    x = luma + (x - luma) * saturation
    if rng.random() < 0.18:
        x = x + (_box(x, 1) - x) * float(rng.uniform(0.3, 1))
    if rng.random() < 0.07:  # camera shake
        reach = 1
        step = (0, 1) if rng.random() < 0.6 else (1, 0)
        x = torch.stack([torch.roll(x, (k * step[0], k * step[1]), (1, 2)) for k in range(-reach, reach + 1)]).mean(0)
    image = (x.clamp(0, 1) * 255).permute(1, 2, 0).cpu().numpy().astype(np.float32)
    strength = float(rng.exponential(1.8))
    if strength > 0.4:
        coarse = rng.random() < 0.3
        grain = rng.standard_normal((height, width, 3), dtype=np.float32)
        if coarse:
            grain = cv2.GaussianBlur(grain, (3, 3), 0) * 2
        mono = grain.mean(2, keepdims=True)
        image = image + strength * (0.5 * grain + mono) * (1.3 - 0.8 * image / 255)
    if rng.random() < 0.4:  # in-camera sharpening
        image = image + float(rng.uniform(0.2, 1.3)) * (image - cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 1.3))))
    result: Image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.03:  # the frame that undistorted and scanned pictures have
        edge, tone = max(1, round(height * float(rng.uniform(0.008, 0.03)))), int(rng.choice([0, 255]))
        result[:edge], result[-edge:], result[:, :edge], result[:, -edge:] = tone, tone, tone, tone
    if rng.random() < 0.7:
        quality = int(rng.integers(35, 96))
        _, packed = cv2.imencode(".jpg", result[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        result = np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1], dtype=np.uint8)
    return result
