"""Framing: from an image of any size to the pixels a network takes, and back to exactly the image's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from leadline.errors import InputError
from leadline.models.families import Family
from leadline.types import RgbImage

#: "pad": keep the aspect ratio, pad by replication, cut the padding off again (nothing is stretched).
#: "official": exactly what the authors' script does, for comparing numbers.
#: "diffusers": exactly what diffusers' pipeline does, for families that have one there.
FramingMode = Literal["pad", "official", "diffusers"]

#: How maps go back to the image's size: bilinear with or without antialiasing, or nearest.
Enlarging = Literal["antialias", "bilinear", "nearest"]

DEPTHFM_MULTIPLE = 64


@dataclass(frozen=True)
class Framed:
    """An image ready for the network.

    Attributes:
        pixels: (3, h, w), 0 to 255: uint8, or float32 where the pipeline does not round after resizing.
        content: (h', w') of the part that is image; the rest below and to the right is padding. None: all of it, at
            whatever size the network's output has.
        full: (H, W) of the image it came from.
        enlarging: How maps go back.
        unit_normals: Whether normals are brought to unit length once they are back at the image's size.
    """

    pixels: Tensor
    content: tuple[int, int] | None
    full: tuple[int, int]
    enlarging: Enlarging = "antialias"
    unit_normals: bool = False

    def crop(self, maps: Tensor) -> Tensor:
        """Network maps (..., h, w) without padding."""
        return maps if self.content is None else maps[..., : self.content[0], : self.content[1]]

    def restore(self, maps: Tensor, out: Tensor | None = None) -> Tensor:
        """Network maps (N, C, h, w) to the image's own size (N, C, H, W), written to ``out`` if there is one.

        Args:
            maps: Of any float type, on any device.
            out: float32 (N, C, H, W) on the CPU, contiguous.
        """
        maps = self.crop(maps)
        fits = maps.shape[-2:] == self.full
        bilinear = self.enlarging != "nearest"
        # Antialiasing changes nothing where nothing shrinks, and takes twice the time.
        smooth = self.enlarging == "antialias" and (maps.shape[-2] > self.full[0] or maps.shape[-1] > self.full[1])
        if out is not None and not fits and bilinear and maps.device == out.device and maps.dtype == out.dtype:
            # What interpolate() calls; writing to memory that is in use already saves a page fault for every page.
            enlarge = torch.ops.aten._upsample_bilinear2d_aa if smooth else torch.ops.aten.upsample_bilinear2d
            enlarge.out(maps, list(self.full), False, None, None, out=out)
            return out
        if not fits and not bilinear:
            maps = interpolate(maps, self.full, mode="nearest-exact")
        elif not fits:
            maps = interpolate(maps, self.full, mode="bilinear", align_corners=False, antialias=smooth)
        return maps if out is None else out.copy_(maps)


def frame(
    image: RgbImage,
    size: int,
    mode: FramingMode,
    family: Family,
    multiple: int,
    device: torch.device | None = None,
) -> Framed:
    """Frame ``image`` for a model of ``family``.

    Args:
        image: uint8 (H, W, 3).
        size: Long edge in pixels for processing; 0: the image's own size.
        mode: See :data:`FramingMode`.
        multiple: What sides are padded to, for "pad".
        device: Where "pad" resizes: a GPU gets the image's bytes and does it in a fraction of the CPU's time. The authors'
            own framings stay on the CPU, as theirs do.

    Raises:
        InputError: The family has no such framing, or it cannot take the image.
    """
    if mode not in family.framings:
        raise InputError(
            f"framing '{mode}' is unknown for {family.name}; use {' or '.join(map(repr, family.framings))}"
        )
    if mode == "pad":
        return frame_padded(image, size, multiple, device)
    return _SCRIPTS["diffusers" if mode == "diffusers" else family.official_framing](image, size)


def frame_padded(image: RgbImage, size: int, multiple: int, device: torch.device | None = None) -> Framed:
    """Resize so that the long edge is ``size`` (0: leave as it is), then replicate edges up to a multiple.

    Args:
        image: uint8 (H, W, 3).
        size: Long edge in pixels for processing.
        multiple: Both sides of the result are multiples of this.
        device: Where the result is, and where it is made. None: the CPU.
    """
    height, width = image.shape[:2]
    target = _fit(height, width, size) if size > 0 else (height, width)
    whole = as_tensor(image)
    pixels = resize_pixels(whole if device is None else whole.to(device), target)
    bottom, right = (-target[0]) % multiple, (-target[1]) % multiple
    if bottom or right:
        pixels = pad(pixels.float()[None], (0, right, 0, bottom), mode="replicate")[0].to(torch.uint8)
    return Framed(pixels, target, (height, width), unit_normals=True)


def frame_official_depthfm(image: RgbImage, size: int) -> Framed:
    """DepthFM's own script: each side to the nearest multiple of 64 (half to even), so the aspect ratio bends.

    Raises:
        InputError: A side rounds to 0, as the official script cannot run it either.
    """
    height, width = image.shape[:2]
    limit = size if size > 0 else max(height, width)
    factor = min(limit / width, limit / height)
    target_w, target_h = (round(int(side * factor) / DEPTHFM_MULTIPLE) * DEPTHFM_MULTIPLE for side in (width, height))
    if target_w == 0 or target_h == 0:
        raise InputError(f"DepthFM's own resizing cannot take {width}×{height} at size {size}; use the default framing")
    resized = Image.fromarray(image).resize((target_w, target_h), Image.Resampling.BILINEAR)
    return Framed(as_tensor(np.array(resized)), None, (height, width))


def frame_official_one_step(image: RgbImage, size: int) -> Framed:
    """The script that most authors share: long edge to ``size``, no padding; the codec rounds odd sizes down."""
    return Framed(resize_pixels(as_tensor(image), _floored(image, size)), None, image.shape[:2])


def frame_official_lotus(image: RgbImage, size: int) -> Framed:
    """Lotus' own script: the same sizes, but no rounding to 8 bits, and maps go back without interpolation."""
    return Framed(_resize_floats(as_tensor(image), _floored(image, size)), None, image.shape[:2], "nearest")


def frame_diffusers(image: RgbImage, size: int) -> Framed:
    """diffusers' Marigold pipelines: no rounding to 8 bits, padded to a multiple of 8, back without antialiasing."""
    height, width = image.shape[:2]
    target = (height, width) if size <= 0 else tuple(side * size // max(height, width) for side in (height, width))
    pixels = _resize_floats(as_tensor(image), target)
    bottom, right = (-target[0]) % 8, (-target[1]) % 8
    if bottom or right:
        pixels = pad(pixels[None], (0, right, 0, bottom), mode="replicate")[0]
    return Framed(pixels, target, (height, width), "bilinear", unit_normals=True)


_SCRIPTS: dict[str, Callable[[RgbImage, int], Framed]] = {
    "depthfm": frame_official_depthfm,
    "repository": frame_official_one_step,
    "lotus": frame_official_lotus,
    "diffusers": frame_diffusers,
}


def as_tensor(image: RgbImage) -> Tensor:
    """uint8 (H, W, 3) to uint8 (3, H, W), sharing memory where the array allows it."""
    return torch.from_numpy(image if image.flags.writeable else image.copy()).permute(2, 0, 1)


def resize_pixels(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (3, H, W) to uint8 (3, h, w): bilinear with antialiasing, rounded half to even; same size: untouched."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    resized = interpolate(pixels[None].float(), size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round().to(torch.uint8)[0]


def _resize_floats(pixels: Tensor, size: tuple[int, ...]) -> Tensor:
    """uint8 (3, H, W) to float32 (3, h, w), 0 to 255: bilinear with antialiasing, not rounded."""
    floats = pixels.float()
    if tuple(pixels.shape[-2:]) == size:
        return floats
    return interpolate(floats[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def normalise(pixels: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(N, 3, h, w), 0 to 255, to [-1, 1] in ``dtype`` on ``device``."""
    return (pixels.to(device).float() / 127.5 - 1.0).to(dtype)


def _floored(image: RgbImage, size: int) -> tuple[int, int]:
    """Both sides times min(size / width, size / height), cut off; 0: as they are."""
    height, width = image.shape[:2]
    if size <= 0:
        return height, width
    factor = min(size / width, size / height)
    return int(height * factor), int(width * factor)


def _fit(height: int, width: int, size: int) -> tuple[int, int]:
    factor = size / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))
