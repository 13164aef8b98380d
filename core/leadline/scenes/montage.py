"""Contact sheets: pictures above their depth, near warm and far cold, sky black."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .render import SceneBatch


def depth_colours(depth_m: npt.NDArray[np.floating], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB of log depth between its 2nd and 98th percentile."""
    log = np.log(np.where(valid & (depth_m > 0), depth_m, 1.0))
    low, high = np.percentile(log[valid], [2, 98]) if valid.any() else (0.0, 1.0)
    level = 1 - np.clip((log - low) / max(high - low, 1e-6), 0, 1)
    coloured = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    coloured[~valid] = 0
    return np.asarray(coloured, dtype=np.uint8)


def montage(batch: SceneBatch, path: Path, columns: int = 6, quality: int = 88) -> None:
    """Writes ``batch`` as a contact sheet; the format follows the suffix of ``path``."""
    rgb, depth, valid = batch.rgb.cpu().numpy(), batch.depth_m.cpu().numpy(), batch.valid.cpu().numpy()
    tiles = [np.vstack([rgb[i], depth_colours(depth[i], valid[i])]) for i in range(len(rgb))]
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in (".jpg", ".jpeg") else []
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], options)
