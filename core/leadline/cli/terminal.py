"""Pictures in the terminal: two pixels a character."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text


def show(console: Console, *images: npt.NDArray[np.uint8], columns: int = 96) -> None:
    """RGB uint8 pictures side by side, as wide as the terminal or ``columns``."""
    each = max(8, min(columns, console.width) // len(images) - 1)
    strips = [_shrunk(image, each) for image in images]
    rows = min(len(strip) for strip in strips) // 2 * 2
    picture = Text()
    for y in range(0, rows, 2):
        for strip in strips:
            for above, below in zip(strip[y], strip[y + 1], strict=True):
                picture.append("▀", style=f"rgb({_rgb(above)}) on rgb({_rgb(below)})")
            picture.append(" ")
        picture.append("\n")
    console.print(picture, end="")


def _shrunk(image: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[Any]:
    height = max(2, round(image.shape[0] * columns / image.shape[1]))
    return np.asarray(cv2.resize(image, (columns, height), interpolation=cv2.INTER_AREA))


def _rgb(pixel: npt.NDArray[np.uint8]) -> str:
    return ",".join(str(int(value)) for value in pixel)
