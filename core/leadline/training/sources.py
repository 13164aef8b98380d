"""Where batches come from. A batch is a pure function of a seeded generator, so training resumes bit-exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.conditioning import as_picture
from leadline.training.augment import Augmentation, augment
from leadline.training.datasets import RgbdDataset
from leadline.training.normalisation import Normalisation
from leadline.training.pictures import Pictures

Batch = dict[str, Tensor]


class BatchSource(Protocol):
    """Draws batches. The same state of the generator gives the same batch."""

    def sample(self, generator: torch.Generator, size: int) -> Batch: ...


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A NumPy generator seeded from a torch one."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))


def image_to_tensor(rgb: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to float32 (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float() / 127.5 - 1.0


@dataclass
class PixelSource:
    """Batches of pictures and normalised depth, cropped and coloured on the fly.

    Batches hold ``rgb`` (N, 3, H, W) in [-1, 1], ``target`` (N, 1, H, W) normalised depth, ``known`` (N, 1, H, W)
    bool, and ``depth_m`` (N, 1, H, W), 0 where unknown.

    Attributes:
        datasets: What to draw from.
        weights: How often from each (DepthMaster: Hypersim 0.9, Virtual KITTI 2 0.1).
        sizes: For each data set its picture sizes (H, W); a batch has one of them. Where data sets differ in them, a batch
            comes from one data set.
        normalisations: How depth becomes a picture; each sample takes one of them.
        augmentation: Crops, flips, colours.
        unlabelled: Pictures without depth (``unlabelled_rgb``: FiffDepth's and DepthFM's teacher); None for none.
        depth_ranges_m: For each data set the depths of its 2 and 98 % quantiles, which all of its pictures share (DepthFM eq. 6);
            None: as ``normalisations`` say. Empty: None for all.
        masks_sky: Whether no loss looks at the sky (DepthMaster), which else is the far end.
        unlabelled_ratio: Pictures without depth for each with depth. Where that gives no whole number for a batch, it has one more
            or one less, so that the mean is right. FiffDepth: 1; DepthFM's k of eq. 5: 0.1.
    """

    datasets: Sequence[RgbdDataset]
    weights: Sequence[float]
    sizes: Sequence[Sequence[tuple[int, int]]]
    normalisations: Sequence[Normalisation]
    augmentation: Augmentation
    unlabelled: Pictures | None = None
    depth_ranges_m: Sequence[tuple[float, float] | None] = ()
    masks_sky: bool = False
    unlabelled_ratio: float = 1.0

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        rng = numpy_generator(generator)
        share = np.asarray(self.weights) / np.sum(self.weights)
        one_size_for_all = all(list(sizes) == list(self.sizes[0]) for sizes in self.sizes)
        only = None if one_size_for_all else int(rng.choice(len(self.datasets), p=share))
        sizes = self.sizes[only or 0]
        height_width = sizes[int(rng.integers(len(sizes)))]
        parts: list[Batch] = []
        while len(parts) < size:
            which = int(rng.choice(len(self.datasets), p=share)) if only is None else only
            dataset = self.datasets[which]
            sample = augment(dataset[int(rng.integers(len(dataset)))], height_width, self.augmentation, rng)
            if sample.valid.mean() < 0.05:
                continue  # nearly nothing to learn from: draw again
            known = sample.valid if sample.sky is None or self.masks_sky else sample.valid | sample.sky
            normalisation = self.normalisations[int(rng.integers(len(self.normalisations)))]
            span = self.depth_ranges_m[which] if self.depth_ranges_m else None
            if span is not None:
                normalisation = replace(normalisation, depth_range_m=span)
            normalised = normalisation(sample.depth_m, sample.valid, sample.sky)
            parts.append(
                {
                    "rgb": image_to_tensor(sample.rgb),
                    "target": as_picture(normalised)[:1],
                    "known": torch.from_numpy(known.copy())[None],
                    "depth_m": torch.from_numpy(sample.depth_m.copy())[None],
                }
            )
        batch = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        if self.unlabelled is not None and (more := _whole(self.unlabelled_ratio * size, rng)):
            drawn = [self.unlabelled[int(rng.integers(len(self.unlabelled)))] for _ in range(more)]
            batch["unlabelled_rgb"] = torch.stack([image_to_tensor(_cover(rgb, height_width)) for rgb in drawn])
        return batch


def _whole(count: float, rng: np.random.Generator) -> int:
    """A number next to ``count``, with ``count`` as its mean."""
    below = int(count)
    return below + int(count > below and rng.random() < count - below)


def _cover(rgb: npt.NDArray[np.uint8], height_width: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The picture resized to cover a size and cut at its centre."""
    height, width = height_width
    scale = max(height / rgb.shape[0], width / rgb.shape[1])
    whole = (max(width, round(rgb.shape[1] * scale)), max(height, round(rgb.shape[0] * scale)))
    resized = cv2.resize(rgb, whole, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width], dtype=np.uint8)


@dataclass
class LatentSource:
    """Batches from cached latents, kept in memory as float16.

    Attributes:
        groups: Each a set of tensors with one first dimension: ``image``, ``depth`` (N, C, h, w) and ``mask``
            (N, 1, h, w) bool; cells differ in shape between groups.
        weights: How often a batch comes from each group.
    """

    groups: Sequence[Mapping[str, Tensor]]
    weights: Sequence[float]

    def sample(self, generator: torch.Generator, size: int) -> Batch:
        which = int(torch.multinomial(torch.as_tensor(self.weights, dtype=torch.float64), 1, generator=generator))
        group = self.groups[which]
        chosen = torch.randint(len(group["image"]), (size,), generator=generator)
        return {
            name: part[chosen].float() if part.is_floating_point() else part[chosen] for name, part in group.items()
        }
