"""Large maps in blocks of rows: a data set's 24-megapixel frames are scored without a second copy of each map."""

from __future__ import annotations

from collections.abc import Iterator

from leadline.evaluation.tuned import WORK


def row_blocks(height: int, width: int, pixels: int = WORK.block_pixels) -> Iterator[slice]:
    """Slices of rows that together cover an H×W map once, in order.

    >>> list(row_blocks(5, 10, 20))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, pixels // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))
