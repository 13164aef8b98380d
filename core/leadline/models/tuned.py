"""The numbers of models that were tuned for speed. No result depends on them beyond the order in which numbers are summed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Convolution:
    """Which way a 3×3 convolution goes, by the size of its input and of its filters. Measured on one AVX-512 core."""

    #: Images times tiles of 4×4 from which Winograd's way is faster, however many channels.
    least_tiles: int = 32
    #: Fewer channels than this are faster in PyTorch's kernel,
    least_channels: int = 128
    #: and fewer than this one where the layer enlarges, too.
    least_channels_enlarged: int = 32
    #: Filters in Winograd's domain of at most this size: the memory that each thread has for them.
    most_filter_bytes: int = 128 << 20
    #: Transformed tiles at once, in bytes: they stay in the processor's cache.
    chunk_bytes: int = 8 << 20
    #: At most so many pixels, of all images together,
    most_pixels: int = 256
    #: and at least so many weights go as one product of matrices.
    least_weights: int = 9 * 640 * 1280


@dataclass(frozen=True)
class _GroupNorm:
    """Sums over large images."""

    #: Smaller images lose nothing worth the bookkeeping.
    least_pixels: int = 128 * 128
    #: Numbers summed in float32 at a time, which then add up in float64; they stay in the processor's cache.
    chunk: int = 1 << 16


CONVOLUTION, GROUP_NORM = _Convolution(), _GroupNorm()
