"""From radiance to a photograph: lens blur, bloom, exposure, white balance, tone, vignetting, noise, sharpening, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.scenes.pixels import Image, through_jpeg

from .scene import Look

Floats = npt.NDArray[np.float32]


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


def _expose(x: Tensor, look: Look, rng: np.random.Generator) -> Tensor:
    """Automatic exposure that misses a little, bloom round bright windows, white balance, vignetting."""
    _, height, width = x.shape
    grey = x.mean(0)
    level = float(grey.mean()) * 0.5 + float(grey.flatten()[:: max(1, grey.numel() // 4096)].median()) * 0.5
    target = 0.2 * 2 ** float(np.clip(rng.normal(0, 0.55), -1.6, 1.5))
    x = x * (target / max(level, 1e-4)) * 2**look.exposure
    if rng.random() < 0.5:
        bright = (x - 0.9).clamp(min=0, max=3)
        radius = max(2, width // int(rng.integers(24, 60)))
        x = x + _box(_box(bright, radius), radius) * float(rng.uniform(0.2, 0.8))
    warm, green = float(rng.normal(0, 0.09)), float(rng.normal(0, 0.035))
    x = x * x.new_tensor([1 + warm, 1 + green, 1 - warm]).view(3, 1, 1).clamp(min=0.5)
    across = torch.linspace(-1, 1, width, device=x.device) - rng.normal(0, 0.05)
    down = torch.linspace(-1, 1, height, device=x.device)[:, None] - rng.normal(0, 0.05)
    fall = float(rng.uniform(0, 0.35)) if rng.random() < 0.6 else 0.0
    return x * (1 - 0.6 * fall * (across**2 + down**2))


def _develop(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Tone curve, lifted blacks, saturation, softness and shake; the result is display-referred, about 0..1."""
    saturation = float(np.clip(rng.normal(1.2, 0.28), 0.0, 2.0)) if rng.random() > 0.02 else 0.0
    x = _tone(x, float(rng.uniform(-0.2, 1.7)), float(rng.uniform(0.5, 0.9)))
    if rng.random() < 0.35:
        lift = float(rng.uniform(0, 0.07))
        x = lift + (1 - lift) * x
    luma = (x * x.new_tensor([0.3, 0.59, 0.11]).view(3, 1, 1)).sum(0, keepdim=True)
    x = luma + (x - luma) * saturation
    if rng.random() < 0.18:
        x = x + (_box(x, 1) - x) * float(rng.uniform(0.3, 1))
    if rng.random() < 0.07:
        across = 2 if rng.random() < 0.6 else 1
        x = (torch.roll(x, 1, across) + x + torch.roll(x, -1, across)) / 3
    return x


def _sensor(image: Floats, rng: np.random.Generator, noise: np.random.Generator) -> Floats:
    """Noise, stronger in the dark and sometimes coarse, and in-camera sharpening; (H, W, 3) in 0..255."""
    strength = np.float32(rng.exponential(1.8))
    if strength > 0.4:
        grain = noise.standard_normal(image.shape, dtype=np.float32)
        if rng.random() < 0.3:
            grain = np.asarray(cv2.GaussianBlur(grain, (3, 3), 0) * 2, dtype=np.float32)
        image = image + strength * (0.5 * grain + grain.mean(2, keepdims=True)) * (1.3 - 0.8 * image / 255)
    if rng.random() < 0.4:
        soft = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 1.3))), dtype=np.float32)
        image = image + np.float32(rng.uniform(0.2, 1.3)) * (image - soft)
    return image


def _store(image: Image, rng: np.random.Generator) -> Image:
    """Now and then the frame that undistorted and scanned pictures have; mostly JPEG."""
    if rng.random() < 0.03:
        edge, tone = max(1, round(image.shape[0] * float(rng.uniform(0.008, 0.03)))), int(rng.choice([0, 255]))
        image[:edge], image[-edge:], image[:, :edge], image[:, -edge:] = tone, tone, tone, tone
    if rng.random() < 0.7:
        image = through_jpeg(image, int(rng.integers(35, 96)))
    return image


def photograph(
    radiance: Tensor,
    depth: Tensor,
    look: Look,
    focal: float,
    rng: np.random.Generator,
    grain: np.random.Generator | None = None,
) -> Image:
    """(H, W, 3) uint8 sRGB from linear radiance (3, H, W) and z-depth (H, W; inf for sky).

    ``focal`` in pixels. ``rng`` draws camera and development, ``grain`` the sensor's noise (None: ``rng``, too); frames of
    a film share the one and not the other.
    """
    _, height, width = radiance.shape
    x = radiance.clamp(0, 60)
    if look.aperture > 0:
        focus = look.focus or float(depth[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].median())
        x = lens_blur(x, depth, look.aperture * focal * float(rng.uniform(0.3, 1.2)), max(min(focus, 50.0), 0.1))
    x = _develop(_expose(x, look, rng), rng)
    image = _sensor((x.clamp(0, 1) * 255).permute(1, 2, 0).cpu().numpy().astype(np.float32), rng, grain or rng)
    return _store(np.ascontiguousarray(image.clip(0, 255).astype(np.uint8)), rng)
