"""Where an estimate has edges."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: A pixel's edge is told by so many pixels to every side of it.
REACH = 2


def edges(values: Tensor) -> Tensor:
    """How far values are from the mean around them, the largest of 3×3: nothing on planes, a third of a step beside it.

    Args:
        values: (h, w), or (h, w, n) for n maps.

    Returns:
        The same shape; borders are repeated.
    """
    total, off = _three(values, torch.add), torch.empty_like(values)
    torch.abs(torch.sub(values, total, alpha=1 / 9, out=off), out=off)
    return _three(off, torch.maximum)


def _three(values: Tensor, both: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The sum or the maximum of 3×3, edges repeated. (PyTorch's pooling takes ten times as long.)"""
    for dim in (0, 1):
        length = values.shape[dim]
        first, last = values.narrow(dim, 0, 1), values.narrow(dim, length - 1, 1)
        wide = torch.cat([first, values, last], dim)
        values = both(both(wide.narrow(dim, 0, length), wide.narrow(dim, 1, length)), wide.narrow(dim, 2, length))
    return values
