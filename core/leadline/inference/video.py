"""`leadline.predict_video`: a model by name, and the depth of a film in files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from leadline.inference.estimator import DepthEstimator, load
from leadline.inference.refine import Detail
from leadline.video.predict import OnFrames, OnWarning, VideoFormat, VideoResult, write_video_depth


def predict_video(
    source: str | Path,
    out: str | Path = "out",
    model: str | Path | DepthEstimator = "fiffdepth-mini",
    *,
    steps: int | None = None,
    ensemble: int | None = None,
    size: int | None = None,
    seed: int = 0,
    framing: Literal["pad", "official"] = "pad",
    detail: Detail = "off",
    steady: bool = True,
    look_ahead: int = 0,
    video_format: VideoFormat = "png",
    preview: bool = True,
    batch: int | None = None,
    overwrite: bool = False,
    on_frames: OnFrames | None = None,
    on_warning: OnWarning | None = None,
) -> VideoResult:
    """Depth of every frame of a film, in files; see :func:`leadline.video.predict.frame_predictions` for arrays.

    Writes into ``out``, for a film NAME.mp4:

    * ``NAME.depth/000001.png`` ... (16 bits, one scale for all), or ``.exr`` (float32), ``NAME.depth.mkv`` (FFV1), ``NAME.depth.mov`` (ProRes);
    * ``NAME.uncertainty`` in the same format, if ``ensemble`` is more than 1;
    * ``NAME.preview.mp4``: photograph and depth side by side, with the film's sound;
    * ``NAME.frames.csv``: time, scale and shift of each frame;
    * ``NAME.json``: what the numbers mean and how they were made.

    A run that was stopped goes on at the frame where it was. A finished result of the same film, settings and weights is
    returned as it is.

    Args:
        source: The film.
        out: Folder.
        model: A name, a checkpoint's path, or a loaded model.
        steps, ensemble, size, seed, framing, detail: See :meth:`leadline.DepthEstimator.predict`.
        steady: Hold frames still over time, against flicker (:class:`~leadline.video.stabiliser.Stabiliser`).
        look_ahead: Frames to come that each depends on, too: steadier than without, for a few milliseconds a frame and step.
        video_format: How depth is stored.
        preview: Whether to write the film to look at.
        batch: Frames predicted in one call. None: by the device.
        overwrite: Do it again, and replace results of other files that have the same name.
        on_frames: Told of the progress.
        on_warning: Told, in one line each, of what is not as it should be.

    Raises:
        InputError: The film or an option cannot be used, or ``out`` has the result of another film of this name.
        LeadlineError: Something cannot be written.
    """
    source = Path(source)
    estimator = model if isinstance(model, DepthEstimator) else load(model)
    settings = {
        "model": estimator.name,
        "weights": estimator.weights_hash[:16],
        "steps": steps,
        "ensemble": 1 if ensemble is None else ensemble,
        "size": size,
        "seed": seed,
        "framing": framing,
        "detail": detail,
    }
    return write_video_depth(
        estimator,
        source,
        Path(out) / source.stem,
        settings,
        steady=steady,
        look_ahead=look_ahead,
        video_format=video_format,
        preview=preview,
        batch=batch,
        overwrite=overwrite,
        on_frames=on_frames,
        on_warning=on_warning,
    )
