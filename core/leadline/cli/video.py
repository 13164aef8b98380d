"""Videos for `leadline predict`: a folder of 16-bit frames on one scale, and a film to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files.output import Quantisation, colourise, read_png16, write_bytes, write_json, write_png
from leadline.video.sequence import align_to

if TYPE_CHECKING:
    from leadline.inference.estimator import DepthEstimator

#: The first frame fixes the 16-bit scale of all; later frames may go this share of its range beyond it.
_HEADROOM = 0.5


def run_video(
    estimator: DepthEstimator, source: Path, stem: Path, settings: dict[str, Any], options: dict[str, Any], show: bool
) -> dict[str, Any]:
    """Depth of every frame, each aligned to the one before, from the same start noise.

    Writes ``STEM/000001.png`` … (16 bits, one scale for all), ``STEM.preview.mp4`` and ``STEM.json``. A run that was
    interrupted goes on after its last finished frame.

    Raises:
        InputError: The video cannot be read.
    """
    import sys

    from rich.console import Console
    from rich.progress import Progress

    frames_folder = stem
    state_path = frames_folder / "state.json"
    state = _resumable(state_path, settings)
    previous: DepthPrediction | None = None
    rate, total = _describe(source)
    clipped, count = int(state.get("clipped", 0)), 0
    scale = Quantisation(state["low"], state["high"]) if "low" in state else None
    if scale is not None:
        previous = _stored(frames_folder / f"{state['frames']:06d}.png", scale, estimator)
    with Progress(
        console=Console(file=sys.stderr), transient=True, disable=not show and not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(source.name, total=total or None)
        for count, frame in enumerate(_frames(source), start=1):
            bar.update(task, completed=count)
            if count <= int(state.get("frames", 0)):
                continue
            prediction = estimator.predict(frame, **options)
            if previous is not None:
                prediction = align_to(prediction, previous)
            if scale is None:
                scale = Quantisation.of(prediction.values).widened(_HEADROOM)
            clipped += int(((prediction.values < scale.low) | (prediction.values > scale.high)).sum())
            write_png(frames_folder / f"{count:06d}.png", scale.encode(prediction.values))
            previous = prediction
            write_json(
                state_path,
                {"settings": settings, "frames": count, "low": scale.low, "high": scale.high, "clipped": clipped},
            )
    if scale is None or previous is None:
        raise InputError(f"{source} has no frames that can be read; convert it to MP4 (H.264)")
    film = Path(f"{stem}.preview.mp4")
    _write_film(film, frames_folder, count, rate, previous.space)
    record = {
        "input": str(source),
        "model": estimator.name,
        "space": previous.space.value,
        "near_is_high": previous.space.near_is_high,
        "metric": False,
        "depth_png": {"low": scale.low, "high": scale.high, "value": "low + (high - low) * code / 65535"},
        "frames": count,
        "frames_per_second": rate,
        "pixels_beyond_scale": clipped,
        "files": [film.name, f"{frames_folder.name}/{count:06d}.png"],
        "settings": settings,
        "source_bytes": source.stat().st_size,
    }
    write_json(Path(f"{stem}.json"), record)
    return {**record, "output": f"{stem}.json"}


def _resumable(state_path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        state = json.loads(state_path.read_text())
    except (OSError, ValueError):
        return {}
    return state if state.get("settings") == settings else {}


def _stored(path: Path, scale: Quantisation, estimator: DepthEstimator) -> DepthPrediction:
    return DepthPrediction(scale.decode(read_png16(path)), estimator.space, model=estimator.name)


def _describe(source: Path) -> tuple[float, int]:
    capture = cv2.VideoCapture(str(source))
    try:
        if not capture.isOpened():
            raise InputError(f"{source} cannot be read as a video; convert it to MP4 (H.264)")
        return capture.get(cv2.CAP_PROP_FPS) or 25.0, max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def _frames(source: Path) -> Iterator[Any]:
    capture = cv2.VideoCapture(str(source))
    try:
        while True:
            more, frame = capture.read()
            if not more:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])
    finally:
        capture.release()


def _write_film(film: Path, folder: Path, count: int, rate: float, space: Space) -> None:
    """Colour frames on the range that the frames really use."""
    used = [read_png16(folder / f"{i:06d}.png") for i in range(1, count + 1, max(1, count // 20))]
    low, high = (float(np.percentile(np.stack(used), q)) for q in (0.5, 99.5))
    temporary = film.with_suffix(".part.mp4")
    writer = None
    for i in range(1, count + 1):
        codes = read_png16(folder / f"{i:06d}.png")
        shades = np.clip((codes.astype(np.float32) - low) / max(high - low, 1.0), 0, 1)
        rgb = colourise(shades if space.near_is_high else 1 - shades)
        rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
        if writer is None:
            writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, rgb.shape[1::-1])
        writer.write(np.ascontiguousarray(rgb[:, :, ::-1]))
    if writer is not None:
        writer.release()
    write_bytes(film, temporary.read_bytes())
    temporary.unlink()
