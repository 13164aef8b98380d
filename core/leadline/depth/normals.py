"""NormalsPrediction: surface normals of an image, in named axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError


@dataclass(frozen=True)
class NormalsPrediction:
    """The direction in which the surface at every pixel faces.

    Attributes:
        values: float32 (H, W, 3), unit vectors in camera axes: x to the right, y up, z towards the viewer. A wall that
            faces the camera is (0, 0, 1). (With ``framing="official"`` or ``"diffusers"`` exactly the authors' numbers, which are
            not always of unit length, in these axes.)
        uncertainty: float32 (H, W), mean angle of an ensemble's members to their mean direction, radians; None for one.
        model: Name of the model that made it.
        meta: How it was made.
    """

    values: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32] | None = None
    model: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    axes: ClassVar[str] = "x right, y up, z towards the viewer"

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[2] != 3:
            raise InputError(f"normals are (H, W, 3), not {self.values.shape}")
        if self.uncertainty is not None and self.uncertainty.shape != self.values.shape[:2]:
            raise InputError(f"uncertainty {self.uncertainty.shape} and normals {self.values.shape} differ in size")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[0], self.values.shape[1]

    def in_optical_axes(self) -> npt.NDArray[np.float32]:
        """float32 (H, W, 3) in OpenCV's and REP 103's optical axes: x right, y down, z away from the viewer."""
        return self.values * np.array([1, -1, -1], dtype=np.float32)

    def as_picture(self, bits: int = 8, y_up: bool = True) -> npt.NDArray[Any]:
        """A tangent-space normal map, RGB (H, W, 3): 0 is -1, the greatest code is 1.

        Args:
            bits: 8 (uint8) or 16 (uint16).
            y_up: Green is up, as Blender and OpenGL take it; False for DirectX.
        """
        if bits not in (8, 16):
            raise InputError(f"a normal map has 8 or 16 bits, not {bits}")
        top = (1 << bits) - 1
        flipped = self.values if y_up else self.values * np.array([1, -1, 1], dtype=np.float32)
        codes = np.rint((np.clip(flipped, -1.0, 1.0) + 1.0) * (top / 2.0))
        return codes.astype(np.uint8 if bits == 8 else np.uint16)
