"""The points nearest to places of the image: SciPy's KD-tree on the processor, distances of all pairs elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from leadline.completion.blocks import cores
from leadline.completion.tuned import BLOCKS


def on_processor(tensor: Tensor) -> bool:
    """Whether NumPy can look at a tensor without copying it."""
    return tensor.device.type == "cpu"


class Neighbours:
    """Search among points (n, 2), pixels, on their device.

    On the processor a KD-tree. On other devices every distance is computed there, a block of places at a time: brute
    force, but nothing leaves the device.
    """

    def __init__(self, places: Tensor) -> None:
        self.places = places.contiguous()
        self._tree: Any = None
        if on_processor(places):
            from scipy.spatial import cKDTree  # noqa: PLC0415  (slow to import)

            self._tree = cKDTree(self.places.numpy(), leafsize=16, balanced_tree=False, compact_nodes=False)

    def nearest(self, wanted: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The ``count`` nearest points of places (m, 2): distances float32 and indices int64, (count, m), nearest first."""
        if self._tree is None:
            return nearest_of_all(self.places, wanted, count)
        distances, indices = self._tree.query(wanted.numpy(), k=np.arange(1, count + 1), workers=cores())
        return (
            torch.as_tensor(np.ascontiguousarray(distances.T, dtype=np.float32)),
            torch.as_tensor(np.ascontiguousarray(indices.T)),
        )


def nearest_of_all(places: Tensor, wanted: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """:meth:`Neighbours.nearest` by all distances, on the device of the points."""
    block = max(1, BLOCKS.pairs // len(places))
    parts = [
        torch.topk(torch.cdist(part, places, compute_mode="donot_use_mm_for_euclid_dist"), count, largest=False)
        for part in wanted.split(block)
    ]
    distances, indices = (torch.cat(found).T.contiguous() for found in zip(*parts, strict=True))
    return distances, indices
