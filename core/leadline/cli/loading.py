"""Loading a model for a command."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leadline.inference.estimator import DepthEstimator


def load(name: str, **options: Any) -> DepthEstimator:
    """See :func:`leadline.load`; torch is imported here.

    Importing makes a million objects that stay. Looking through them for garbage again and again would take a tenth of
    the program's start, so that waits, and they are left out of it afterwards.

    Raises:
        CheckpointError, InputError: As there.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from leadline.inference.estimator import load as load_model

        return load_model(name, **options)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
