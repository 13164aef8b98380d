"""One spelling of elementwise mathematics for NumPy arrays and torch tensors, without importing torch."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

#: A ``numpy.ndarray`` or a ``torch.Tensor``.
Array: TypeAlias = Any


def namespace(array: Array) -> Any:
    """The module whose functions (``log``, ``clip``, ``where`` ...) accept ``array``: ``torch`` or ``numpy``."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    return np
