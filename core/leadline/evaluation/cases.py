"""Small pictures of single results, kept while a run goes on so that a report can show the best and the worst."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.evaluation.blocks import row_blocks
from leadline.evaluation.datasets.base import Sample
from leadline.evaluation.scoring import Scored

CASE_SIDE_PX = 320
#: How many best and how many worst images a report shows.
KEPT = 4

Thumb = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One image's result, shrunk: RGB uint8 (h, w, 3), depths in metres and relative error, 0 where unknown."""

    name: str
    rgb: npt.NDArray[np.uint8]
    predicted_m: Thumb
    measured_m: Thumb
    error: Thumb


def _nearest_of_block(values: npt.NDArray[np.floating], step: int) -> Thumb:
    """Smallest positive value of each step×step block: keeps thin structures and sparse points visible."""
    height, width = (n // step * step for n in values.shape)
    blocks = values[:height, :width].reshape(height // step, step, width // step, step)
    smallest = np.where(blocks > 0, blocks, np.inf).min(axis=(1, 3))
    return np.where(np.isfinite(smallest), smallest, 0.0).astype(np.float32)


def _mean_of_block(values: npt.NDArray[np.floating], weights: npt.NDArray[np.bool_], step: int) -> Thumb:
    """Mean over the weighted pixels of each block, 0 where there are none."""
    height, width = (n // step * step for n in values.shape)
    shape = (height // step, step, width // step, step)
    weight = weights[:height, :width].reshape(shape)
    total = np.where(weight, values[:height, :width].reshape(shape), 0.0).sum(axis=(1, 3))
    count = weight.sum(axis=(1, 3))
    return (total / np.maximum(count, 1)).astype(np.float32)


def make_case(sample: Sample, prediction: DepthPrediction, scored: Scored) -> Case:
    """Shrink one result to at most :data:`CASE_SIDE_PX`."""
    import cv2  # noqa: PLC0415

    height, width = prediction.shape
    step = max(1, -(-max(height, width) // CASE_SIDE_PX))
    size = (max(1, width // step), max(1, height // step))
    rgb = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    if scored.depth_m is None or scored.valid is None or sample.depth_m is None:
        shown = prediction.nearness(2.0, 98.0)  # no metres to show: nearness, 1 is near
        empty = np.zeros(size[::-1], dtype=np.float32)
        return Case(sample.name, rgb, 1.0 - _mean_of_block(shown, np.ones_like(shown, dtype=bool), step), empty, empty)
    parts = []
    for few in row_blocks(height // step, width * step):
        rows = slice(few.start * step, few.stop * step)
        predicted, valid, truth = scored.depth_m[rows], scored.valid[rows], sample.depth_m[rows]
        measured = np.where(valid, truth, 0.0)
        relative = np.abs(predicted - measured) / np.where(valid, measured, 1.0)
        nearest = _nearest_of_block(measured, step)
        error = np.where(nearest > 0, _mean_of_block(relative, valid, step), np.nan).astype(np.float32)
        parts.append((_nearest_of_block(predicted, step), nearest, error))
    return Case(sample.name, rgb, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"


def save_case(folder: Path, case: Case) -> None:
    """Write a case under ``folder``, named after its image."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        _path(folder, case.name), rgb=case.rgb, predicted=case.predicted_m, measured=case.measured_m, error=case.error
    )


def load_case(folder: Path, name: str) -> Case | None:
    """The case of an image, or ``None`` if it was not kept."""
    path = _path(folder, name)
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return Case(name, arrays["rgb"], arrays["predicted"], arrays["measured"], arrays["error"])


def keep_only(folder: Path, names: set[str]) -> None:
    """Delete the cases of all other images."""
    wanted = {_path(folder, name) for name in names}
    for path in folder.glob("*.npz"):
        if path not in wanted:
            path.unlink()


def extremes(errors: dict[str, float], kept: int = KEPT) -> tuple[list[str], list[str]]:
    """Names of the best and of the worst images by error (small is good); no image is in both."""
    order = sorted(errors, key=lambda name: (errors[name], name))
    best = order[: min(kept, (len(order) + 1) // 2)]
    worst = order[::-1][: min(kept, len(order) - len(best))]
    return best, worst
