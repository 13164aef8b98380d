"""Test-time views: flips and small shifts that give a deterministic model an ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leadline.inference.tuned import VIEWS


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


def laid_over(members: Tensor) -> Tensor:
    """Maps of the first M views, (N, M, ..., H, W), laid over the original image.

    A shifted view does not see the image's rim on one side. There it goes on from the first view as far off as it was
    where it last saw, a little inside, for a network's outermost pixels are its worst.
    """
    first, laid = members[:, 0], [members[:, 0]]
    for index, view in enumerate(views(members.shape[1])[1:], start=1):
        map_ = view.undo(members[:, index])
        rows, saw_row = _seen(members.shape[-2], view.down, members.device)
        columns, saw_column = _seen(members.shape[-1], view.right, members.device)
        beyond = first + (map_ - first).index_select(-2, rows).index_select(-1, columns)
        laid.append(torch.where(saw_row[:, None] & saw_column, map_, beyond))
    return torch.stack(laid, dim=1)


def _seen(length: int, shift: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each row or column the nearest one well inside what a shifted view saw, and whether it saw the row itself."""
    places = torch.arange(length, device=device)
    low = VIEWS.rim - shift if shift < 0 else 0
    high = length - 1 - (VIEWS.rim + shift if shift > 0 else 0)
    inside = places.clamp(min=min(low, length - 1)).clamp(max=max(high, 0))
    return inside, (places + shift >= 0) & (places + shift < length)


def views(count: int) -> list[View]:
    """The first ``count`` views: the image itself, its mirror image, then shifted pairs of both.

    >>> views(2)
    [View(flip=False, down=0, right=0), View(flip=True, down=0, right=0)]
    """
    return [View(bool(i % 2), *VIEWS.shifts[(i // 2) % len(VIEWS.shifts)]) for i in range(count)]


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    if down == 0 and right == 0:
        return images
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    return images.index_select(-2, rows).index_select(-1, columns)
