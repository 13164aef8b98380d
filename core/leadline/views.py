"""Test-time views: flips and small shifts that give a deterministic model an ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Shifts in pixels (down, right), smaller than a latent cell and coprime with it, so that each view is cut differently.
_SHIFTS = ((0, 0), (3, 5), (-5, 3), (5, -3), (-3, -5), (1, -7), (-7, 1), (7, 3))


@dataclass(frozen=True)
class View:
    """One way to look at an image: mirrored or not, and shifted."""

    flip: bool
    down: int
    right: int

    def apply(self, images: Tensor) -> Tensor:
        """(..., H, W) seen through this view; borders are replicated."""
        seen = _shifted(images, self.down, self.right)
        return seen.flip(-1) if self.flip else seen

    def undo(self, maps: Tensor) -> Tensor:
        """A map of what :meth:`apply` gave, laid over the original image."""
        maps = maps.flip(-1) if self.flip else maps
        return _shifted(maps, -self.down, -self.right)


def views(count: int) -> list[View]:
    """The first ``count`` views: the image itself, its mirror image, then shifted pairs of both.

    >>> views(2)
    [View(flip=False, down=0, right=0), View(flip=True, down=0, right=0)]
    """
    return [View(bool(i % 2), *_SHIFTS[(i // 2) % len(_SHIFTS)]) for i in range(count)]


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    if down == 0 and right == 0:
        return images
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    return images.index_select(-2, rows).index_select(-1, columns)
