"""One spelling of the arrays that rooms hand to each other."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: float32 (H, W).
FloatMap: TypeAlias = npt.NDArray[np.float32]
#: bool (H, W).
BoolMap: TypeAlias = npt.NDArray[np.bool_]
#: uint8 (H, W, 3).
RgbImage: TypeAlias = npt.NDArray[np.uint8]
#: Floating-point numbers of any precision and shape.
Floats: TypeAlias = npt.NDArray[np.floating]
