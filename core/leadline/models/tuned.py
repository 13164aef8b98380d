"""The numbers of models that were tuned for speed. No result depends on them beyond the order in which numbers are summed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Winograd:
    """Which convolutions run as Winograd's, and in what pieces."""

    #: Fewer channels than this are faster in a direct convolution,
    least_channels: int = 128
    #: and fewer than this one where the layer enlarges, too.
    least_channels_enlarged: int = 32
    #: Weights grow fourfold (elevenfold with an enlargement). Layers beyond this many bytes stay direct: they are the ones that
    #: see few pixels.
    most_weight_bytes: int = 192 << 20
    #: Transformed tiles at once, in bytes: they stay in the processor's cache.
    chunk_bytes: int = 8 << 20


@dataclass(frozen=True)
class _GroupNorm:
    """Sums over large images."""

    #: Smaller images lose nothing worth the bookkeeping.
    least_pixels: int = 128 * 128
    #: Numbers summed in float32 at a time, which then add up in float64; they stay in the processor's cache.
    chunk: int = 1 << 16


WINOGRAD, GROUP_NORM = _Winograd(), _GroupNorm()
