"""Detail beyond the network's resolution: sharp edges where the photograph has them, and detail from tiles."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

from leadline.depth.prediction import DepthPrediction
from leadline.inference.refine.edges import Snap, sharpen
from leadline.inference.refine.tiles import PredictTiles, add_detail
from leadline.types import RgbImage

#: How far to go: not at all, edges of the photograph, or detail from tiles and then edges.
Detail = Literal["off", "edges", "tiles"]

__all__ = ["Detail", "PredictTiles", "add_detail", "refine", "sharpen"]


def refine(
    prediction: DepthPrediction,
    rgb: RgbImage,
    detail: Detail,
    network_edge: int,
    predict_tiles: PredictTiles | None = None,
    device: str = "cpu",
) -> DepthPrediction:
    """``prediction`` with more detail; ``meta`` says what was done.

    Args:
        prediction: Of the whole picture.
        rgb: uint8 (H, W, 3), the picture.
        detail: What to do.
        network_edge: Long edge in pixels at which the network saw it.
        predict_tiles: The network, for "tiles".
        device: Where edges are sharpened: NumPy and OpenCV on "cpu", else PyTorch.
    """
    if detail == "off":
        return prediction
    used = 0
    if detail == "tiles" and predict_tiles is not None:
        values, used = add_detail(prediction.values, rgb, network_edge, predict_tiles)
        prediction = replace(prediction, values=values)
    snap: Snap | None = None
    if device != "cpu":
        from leadline.inference.refine.edges_on_device import snap_edges_on  # noqa: PLC0415  (torch)

        snap = partial(snap_edges_on, device)
    sharp = sharpen(prediction, rgb, snap)
    return replace(sharp, meta={**sharp.meta, "detail": detail, "tiles": used})
