"""A small matrix times many columns, without BLAS's threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.sensors.tuned import PRODUCT

Floats = npt.NDArray[Any]


def product(matrix: Floats, columns: Floats) -> Floats:
    """``matrix @ columns`` of (m, k) and (k, n), for small m and k.

    It goes block by block: for more at once BLAS starts a thread for each core, and where other programs keep the cores busy it waits 12 ms
    for the last of them.
    """
    result = np.empty((len(matrix), columns.shape[1]), np.result_type(matrix, columns))
    block = max(PRODUCT.multiplications // matrix.size, 1)
    for first in range(0, columns.shape[1], block):
        np.matmul(matrix, columns[:, first : first + block], out=result[:, first : first + block])
    return result
