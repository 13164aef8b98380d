"""Weights in fewer bytes: float16 with fewer mantissa bits, in two planes of bytes, each deflated.

Trained weights use few exponents, so the byte with sign, exponent and first mantissa bits deflates well; of the other byte
only the mantissa bits that are kept cost anything. Unpacking gives exactly the float16 numbers that were packed.

A packed file is a safetensors file with two byte tensors, ``packed.high`` and ``packed.low``, each the deflated bytes of
all tensors one after the other, by name; ``leadline_packed`` in its header holds their shapes as JSON.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from leadline.errors import CheckpointError

HEADER_KEY = "leadline_packed"
_PLANES = ("packed.low", "packed.high")
_MANTISSA_BITS = 10


def rounded(tensor: Tensor, mantissa_bits: int) -> Tensor:
    """``tensor`` as float16 with ``mantissa_bits`` of its 10, to the nearest, halves to even."""
    dropped = _MANTISSA_BITS - mantissa_bits
    if dropped == 0:
        return tensor.detach().to("cpu", torch.float16)
    bits = tensor.detach().to("cpu", torch.float16).contiguous().numpy().view(np.uint16).astype(np.uint32)
    even = (bits >> dropped) & 1
    kept = (bits + (1 << (dropped - 1)) - 1 + even) >> dropped << dropped
    result = torch.from_numpy(kept.astype(np.uint16).view(np.float16)).reshape(tensor.shape)
    if not torch.isfinite(result).all():
        raise CheckpointError("a weight is too large for float16; store this model unpacked")
    return result


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The byte tensors of a packed file, and what its header says under ``HEADER_KEY``, of float16 ``tensors``."""
    shapes = {name: list(tensors[name].shape) for name in sorted(tensors)}
    numbers = np.concatenate([tensors[name].to(torch.float16).numpy().ravel() for name in shapes])
    planes = numbers.view(np.uint8).reshape(-1, 2).T
    return {name: _deflated(plane.tobytes()) for name, plane in zip(_PLANES, planes, strict=True)}, json.dumps(shapes)


def unpack(tensors: Mapping[str, Tensor], header: str) -> dict[str, Tensor]:
    """The inverse of :func:`pack`.

    Raises:
        CheckpointError: The bytes are not what the header says.
    """
    try:
        shapes = {str(name): tuple(int(side) for side in shape) for name, shape in json.loads(header).items()}
        counts = [math.prod(shape) for shape in shapes.values()]
        numbers = np.empty((sum(counts), 2), np.uint8)
        for index, name in enumerate(_PLANES):
            numbers[:, index] = np.frombuffer(_inflated(tensors[name], len(numbers)), np.uint8)
    except (KeyError, ValueError, AttributeError, zlib.error) as error:
        raise CheckpointError(f"packed weights are damaged ({error}); fetch the file again") from error
    parts = torch.from_numpy(numbers.view(np.float16).ravel()).split(counts)
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _deflated(data: bytes) -> Tensor:
    machine = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)  # nothing repeats in weights
    return torch.frombuffer(bytearray(machine.compress(data) + machine.flush()), dtype=torch.uint8)


def _inflated(tensor: Tensor, length: int) -> bytes:
    machine = zlib.decompressobj()
    data = machine.decompress(tensor.numpy().tobytes(), length + 1)  # no more, whatever the file holds
    if len(data) != length or not machine.eof:
        raise ValueError(f"{len(data)} bytes where {length} belong")
    return data
