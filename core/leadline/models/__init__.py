"""The models, latent in, latent out, and the codec between latents and pixels.

:mod:`leadline.models.families` and :class:`ModelSpec` need no torch; the rest is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leadline.models.families import FAMILIES
from leadline.models.spec import ModelSpec

if TYPE_CHECKING:
    from leadline.models.base import DepthModel
    from leadline.models.codec import Codec

__all__ = ["FAMILIES", "Codec", "DepthModel", "ModelSpec"]

_LAZY = {"Codec": "leadline.models.codec", "DepthModel": "leadline.models.base"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'leadline.models' has no attribute '{name}'")
