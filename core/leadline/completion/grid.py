"""The grid on which the regression runs: coarser than the image, and cut into tiles whose pixels share their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.completion.neighbours import on_processor
from leadline.completion.tuned import SETTING


@dataclass(frozen=True)
class WorkingGrid:
    """Maps of it are laid out (T, C), pixel of the tile and tile, or (h, w).

    Attributes:
        height, width: Of the image.
        stride: Pixels of the image per pixel of the grid.
        side: Pixels of the grid per side of a tile.
    """

    height: int
    width: int
    stride: int
    side: int

    @classmethod
    def for_points(cls, height: int, width: int, spacing: float, working_pixels: int) -> WorkingGrid:
        """A grid of about so many pixels, finer where points are dense: ``spacing`` is how far they are apart, pixels of the image."""
        by_budget = round((height * width / working_pixels) ** 0.5)
        stride = int(np.clip(min(by_budget, spacing / SETTING.grid_pixels), 1, 8))
        return cls(height, width, stride, 3 if stride < SETTING.tile_reach * spacing else 2)

    @property
    def tile_px(self) -> int:
        """Pixels of the image per side of a tile."""
        return self.side * self.stride

    @property
    def rows(self) -> int:
        """Of tiles."""
        return -(-self.height // self.tile_px)

    @property
    def columns(self) -> int:
        """Of tiles."""
        return -(-self.width // self.tile_px)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the grid's pixels."""
        return self.side * self.rows, self.side * self.columns

    def tile_of(self, u: npt.NDArray[np.int64], v: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The tiles (n,) of pixels of the image."""
        return (v // self.tile_px) * self.columns + u // self.tile_px

    def centres(self, device: torch.device) -> Tensor:
        """(C, 2), x and y of the tiles' centres in pixels of the image."""
        y, x = (
            torch.arange(number, device=device) * self.tile_px + (self.tile_px - 1) / 2
            for number in (self.rows, self.columns)
        )
        return torch.cartesian_prod(y, x).flip(1)

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """x and y of the grid's pixels in pixels of the image, (T, C) each."""
        y, x = (
            torch.arange(self.side * tiles, device=device, dtype=torch.float32) * self.stride + (self.stride - 1) / 2
            for tiles in (self.rows, self.columns)
        )
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        return self.tiled(grid_x), self.tiled(grid_y)

    def guide(self, rgb: npt.NDArray[np.uint8], blur_px: float, device: torch.device) -> Tensor:
        """(3, h, w) CIELAB, 0..255, of an image uint8 (H, W, 3) blurred by so many of its pixels."""
        below, right = self._beyond()
        padded = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REPLICATE)
        size = (padded.shape[1] // self.stride, padded.shape[0] // self.stride)
        small = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
        blur = blur_px / self.stride
        if blur > 0.3:
            small = cv2.GaussianBlur(small, (0, 0), blur)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
        return torch.as_tensor(lab, device=device).permute(2, 0, 1).float().contiguous()

    def coarse(self, full: Tensor) -> Tensor:
        """(H, W) → (h, w): means of stride × stride pixels."""
        below, right = self._beyond()
        if on_processor(full):  # the same numbers, faster
            padded = cv2.copyMakeBorder(full.numpy(), 0, below, 0, right, cv2.BORDER_REPLICATE)
            size = (padded.shape[1] // self.stride, padded.shape[0] // self.stride)
            return torch.as_tensor(cv2.resize(padded, size, interpolation=cv2.INTER_AREA))
        wide = torch.nn.functional.pad(full[None, None], (0, right, 0, below), mode="replicate")
        return (torch.nn.functional.avg_pool2d(wide, self.stride) if self.stride > 1 else wide)[0, 0]

    def tiled(self, grid: Tensor) -> Tensor:
        """(..., h, w) → (..., T, C)."""
        lead = grid.shape[:-2]
        tiles = grid.reshape(*lead, self.rows, self.side, self.columns, self.side).movedim((-3, -1), (-4, -3))
        return tiles.reshape(*lead, self.side**2, self.rows * self.columns)

    def whole(self, tiles: Tensor) -> Tensor:
        """(T, C) → (h, w)."""
        side = self.side
        grid = tiles.reshape(side, side, self.rows, self.columns).permute(2, 0, 3, 1)
        return grid.reshape(side * self.rows, side * self.columns)

    def full(self, tiles: Tensor) -> Tensor:
        """(T, C) → (H, W), bilinear."""
        grid = self.whole(tiles)
        if self.stride == 1:
            return grid[: self.height, : self.width]
        if on_processor(grid):  # the same numbers, ten times as fast
            size = (self.stride * grid.shape[1], self.stride * grid.shape[0])
            full = torch.as_tensor(cv2.resize(grid.numpy(), size, interpolation=cv2.INTER_LINEAR))
        else:
            full = torch.nn.functional.interpolate(
                grid[None, None], scale_factor=self.stride, mode="bilinear", align_corners=False
            )[0, 0]
        return full[: self.height, : self.width]

    def spread(self, tiles: Tensor) -> Tensor:
        """uint8 (C,) → (H, W), every pixel its tile's."""
        small, tile = tiles.view(self.rows, self.columns), self.tile_px
        if on_processor(small):  # the same numbers, faster
            size = (tile * self.columns, tile * self.rows)
            full = torch.as_tensor(cv2.resize(small.numpy(), size, interpolation=cv2.INTER_NEAREST))
        else:
            full = small.repeat_interleave(tile, 0).repeat_interleave(tile, 1)
        return full[: self.height, : self.width].contiguous()

    def _beyond(self) -> tuple[int, int]:
        """Rows and columns that the tiles reach beyond the image."""
        return self.rows * self.tile_px - self.height, self.columns * self.tile_px - self.width
