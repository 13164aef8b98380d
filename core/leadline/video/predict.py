"""Depth of films: frame after frame on one scale, written so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files import journal, output
from leadline.files.film import (
    PRORES_BLACK,
    PRORES_WHITE,
    FilmWriter,
    Frame,
    describe,
    read_frames,
    require_prores,
)
from leadline.files.output import Quantisation, read_png16, write_json
from leadline.files.pictures import colourise
from leadline.files.whole import cannot_write, write_bytes
from leadline.types import FloatMap
from leadline.video.look_ahead import looking_ahead
from leadline.video.stabiliser import Stabiliser
from leadline.video.tuned import FILM

#: How the depth of a film is stored: 16-bit PNGs, float32 OpenEXRs, one lossless 16-bit film (FFV1 in Matroska), or one for
#: editing (ProRes 4444 in QuickTime), which keeps 10 bits and is a little changed by its compression.
VideoFormat = Literal["png", "exr", "ffv1", "prores"]
_FILMS = {"ffv1": ".mkv", "prores": ".mov"}

#: Frames predicted in one call, by device type.
_BATCH = {"cuda": 8, "mps": 4, "cpu": 2}

#: Called with the frames done, and how many there are (0: the film does not say).
OnFrames = Callable[[int, int], None]
#: Called with one line for people.
OnWarning = Callable[[str], None]


class Predictor(Protocol):
    """What this room needs of a model; :class:`leadline.DepthEstimator` has it."""

    @property
    def name(self) -> str: ...

    @property
    def space(self) -> Space: ...

    @property
    def devices(self) -> Sequence[Any]: ...

    @property
    def predict(self) -> Callable[..., Any]: ...


@dataclass(frozen=True)
class VideoResult:
    """Depth of a film on disk.

    Attributes:
        stem: Common beginning of the files' names.
        record: What STEM.json says.
    """

    stem: Path
    record: Mapping[str, Any]

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return int(self.record["frames"])


def frame_predictions(
    source: str | Path,
    estimator: Predictor,
    *,
    skip: int = 0,
    previous: DepthPrediction | None = None,
    steady: bool = True,
    look_ahead: int = 0,
    batch: int | None = None,
    on_warning: OnWarning | None = None,
    **options: Any,
) -> Generator[tuple[Frame, DepthPrediction], None, None]:
    """Each frame of a film with its depth, in order, a few frames in memory at a time.

    Args:
        source: The film.
        estimator: What predicts.
        skip: Leave out so many frames at the beginning.
        previous: The prediction of the last frame left out, to continue on its scale.
        steady: Hold frames still over time (:class:`~leadline.video.stabiliser.Stabiliser`).
        look_ahead: Frames to come that a steady frame depends on, too (:mod:`leadline.video.look_ahead`).
        batch: Frames predicted in one call. None: by the device.
        on_warning: Told if the film breaks off.
        **options: ``steps``, ``ensemble``, ``size``, ``seed``, ``framing`` and ``detail`` of :meth:`~leadline.DepthEstimator.predict`.

    Raises:
        InputError: The film or an option cannot be used.
    """
    if look_ahead and not steady:
        raise InputError(
            "looking ahead is for films that are held still, not for frames by themselves (steady=False, --flicker)"
        )
    size = batch or _BATCH[estimator.devices[0].type] * len(estimator.devices)
    stabiliser = Stabiliser()

    def predicted() -> Generator[tuple[Frame, DepthPrediction], None, None]:
        waiting: list[Frame] = []
        for index, frame in enumerate(read_frames(Path(source), on_warning)):
            if index < skip:
                if index == skip - 1 and previous is not None:
                    stabiliser.step(previous, frame.rgb)
                continue
            waiting.append(frame)
            if len(waiting) == size:
                yield from zip(waiting, estimator.predict([one.rgb for one in waiting], **options), strict=True)
                waiting.clear()
        if waiting:
            yield from zip(waiting, estimator.predict([one.rgb for one in waiting], **options), strict=True)

    with contextlib.closing(predicted()) as frames:
        yield from looking_ahead(frames, stabiliser, look_ahead) if steady else frames


#: Which entries of the settings are options of the network.
_OPTIONS = ("steps", "ensemble", "size", "seed", "framing", "detail")


def video_settings(
    settings: Mapping[str, Any], steady: bool, look_ahead: int, video_format: VideoFormat, preview: bool = True
) -> dict[str, Any]:
    """What decides the numbers and files of a film's result."""
    chosen: dict[str, Any] = {"steady": steady, "video_format": video_format, "film_preview": preview}
    if look_ahead:  # films made before there was this option are still found
        chosen["look_ahead"] = look_ahead
    return {**settings, **chosen}


def write_video_depth(
    estimator: Predictor,
    source: Path,
    stem: Path,
    settings: Mapping[str, Any],
    *,
    steady: bool = True,
    look_ahead: int = 0,
    video_format: VideoFormat = "png",
    preview: bool = True,
    batch: int | None = None,
    overwrite: bool = False,
    on_frames: OnFrames | None = None,
    on_warning: OnWarning | None = None,
) -> VideoResult:
    """:func:`leadline.predict_video` with the names of its files and the settings of the run given by the caller."""
    if video_format not in get_args(VideoFormat):
        raise InputError(f"a film's depth is stored as png, exr, ffv1 or prores, not as '{video_format}'")
    if video_format == "prores":
        require_prores()
    whole = video_settings(settings, steady, look_ahead, video_format, preview)
    if not overwrite and (record := journal.finished(stem, source, whole)):
        return VideoResult(stem, record)
    info = describe(source)
    identity = journal.identify(source)
    if not overwrite:
        journal.refuse_other(stem, identity)
    run = _Run.resumed(stem, identity.digest, whole, video_format, overwrite)
    with journal.locked(run.folder, wait=False):
        run.read()
        options = {name: settings[name] for name in _OPTIONS}
        predictions = frame_predictions(
            source,
            estimator,
            skip=run.frames,
            previous=run.last(estimator),
            steady=steady,
            look_ahead=look_ahead,
            batch=batch,
            on_warning=on_warning,
            **options,
        )
        with contextlib.closing(predictions):
            for frame, prediction in predictions:
                run.add(frame, prediction)
                if on_frames is not None:
                    on_frames(run.frames, info.frames)
        if run.scale is None:
            raise InputError(f"{source} has no frames that can be read; convert it to MP4 (H.264)")
        if journal.identify(source).digest != identity.digest:
            raise InputError(f"{source} changed while it was read; run again when it is complete")
        record = {
            "input": str(source),
            "model": estimator.name,
            "space": estimator.space.value,
            "near_is_high": estimator.space.near_is_high,
            "metric": False,
            "frames": run.frames,
            "frames_per_second": info.frames_per_second,
            **run.described(),
        }
        parts = run.parts(source, estimator.space.near_is_high, preview)
        record = journal.commit(stem, identity, whole, record, parts, overwrite)
        shutil.rmtree(run.folder, ignore_errors=True)
    return VideoResult(stem, record)


def kept_frames(stem: Path) -> int:
    """Frames that stopped runs at ``stem`` have left for the next one."""
    folders = stem.parent.glob(f"{_escaped(stem.name)}.part-*")
    return max((int(_state(folder).get("frames", 0)) for folder in folders), default=0)


class _Run:
    """What a run has done so far, in ``STEM.part-KEY``; the key is that of the film's data and the settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], video_format: VideoFormat) -> None:
        self.folder, self.settings, self.video_format = folder, settings, video_format
        self.suffix = ".exr" if video_format == "exr" else ".png"
        self.frames = self.beyond = 0
        self.scale: Quantisation | None = None
        self.spread: Quantisation | None = None
        self.rows: list[tuple[int, float, float, float]] = []

    @classmethod
    def resumed(
        cls, stem: Path, digest: str, settings: Mapping[str, Any], video_format: VideoFormat, afresh: bool
    ) -> _Run:
        """The run of this film and these settings; what it had done is dropped if ``afresh``."""
        key = hashlib.blake2b(f"{digest} {json.dumps(settings, sort_keys=True)}".encode(), digest_size=5).hexdigest()
        folder = stem.with_name(f"{stem.name}.part-{key}")
        if afresh:
            shutil.rmtree(folder, ignore_errors=True)
        return cls(folder, settings, video_format)

    def read(self) -> None:
        """Take up what was done; anything incomplete counts as not done."""
        state = _state(self.folder)
        if not state or not self._frame(int(state["frames"])).is_file() or not (self.folder / "frames.csv").is_file():
            return
        self.frames, self.beyond = int(state["frames"]), int(state["beyond"])
        self.scale = Quantisation(*state["scale"])
        self.spread = Quantisation(*state["spread"]) if state["spread"] else None
        with open(self.folder / "frames.csv", newline="") as file:
            self.rows = [_row(line) for line in list(csv.reader(file))[1 : self.frames + 1]]
        write_bytes(self.folder / "frames.csv", self._csv())  # without a line that was not counted yet

    def last(self, estimator: Predictor) -> DepthPrediction | None:
        """The last frame that was done, to go on from."""
        if self.scale is None:
            return None
        path = self._frame(self.frames)
        values = output.read_exr(path) if self.suffix == ".exr" else self.scale.decode(read_png16(path))
        return DepthPrediction(values, estimator.space, model=estimator.name)

    def add(self, frame: Frame, prediction: DepthPrediction) -> None:
        """Store one more frame."""
        number = self.frames + 1
        if self.scale is None:
            self.scale = Quantisation.of(prediction.values).widened(FILM.headroom)
            if prediction.uncertainty is not None:
                self.spread = Quantisation(0.0, (self.scale.high - self.scale.low) * FILM.spread_share)
        self._store(self._frame(number), prediction.values, self.scale)
        if prediction.uncertainty is not None and self.spread is not None:
            self._store(self._frame(number, "uncertainty"), prediction.uncertainty, self.spread)
        self.beyond += int(((prediction.values < self.scale.low) | (prediction.values > self.scale.high)).sum())
        applied = prediction.meta.get("video", {})
        row = (number, frame.time_s, float(applied.get("scale", 1.0)), float(applied.get("shift", 0.0)))
        self.rows.append(row)
        try:
            with open(self.folder / "frames.csv", "w" if number == 1 else "a", newline="") as file:
                lines = csv.writer(file)
                if number == 1:
                    lines.writerow(("frame", "time_s", "scale", "shift"))
                lines.writerow((row[0], f"{row[1]:.6f}", *row[2:]))
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self.frames = number
        spread = None if self.spread is None else (self.spread.low, self.spread.high)
        state = {
            "frames": number,
            "scale": (self.scale.low, self.scale.high),
            "spread": spread,
            "beyond": self.beyond,
        }
        write_json(self.folder / "state.json", state)

    def described(self) -> dict[str, Any]:
        """For the record."""
        if self.video_format == "exr" or self.scale is None:
            return {}
        bits, value = "16bit", "low + (high - low) * code / 65535"
        more: dict[str, Any] = {}
        if self.video_format == "prores":
            bits = "10bit"
            value = f"low + (high - low) * (luma - {PRORES_BLACK}) / {PRORES_WHITE - PRORES_BLACK}"
            more = {"lossy": True}  # of the 16 bits ffv1 keeps all
        said: dict[str, Any] = {
            f"depth_{bits}": {"low": self.scale.low, "high": self.scale.high, "value": value, **more},
            "pixels_beyond_scale": self.beyond,
        }
        if self.spread is not None:
            said[f"uncertainty_{bits}"] = {"low": self.spread.low, "high": self.spread.high, "value": value, **more}
        return said

    def parts(self, source: Path, near_is_high: bool, preview: bool) -> dict[str, Path | bytes]:
        """Suffix → finished file or folder."""
        parts: dict[str, Path | bytes] = {}
        for what in ("depth", "uncertainty"):
            folder = self.folder / what
            if folder.is_dir():
                for late in folder.iterdir():  # a frame stored but not counted when the run was stopped
                    if late.stem.isdigit() and int(late.stem) > self.frames:
                        late.unlink()
                if suffix := _FILMS.get(self.video_format):
                    parts[f".{what}{suffix}"] = self._film(what, suffix)
                else:
                    parts[f".{what}"] = folder
        if preview:
            parts[".preview.mp4"] = self._preview(source, near_is_high)
        parts[".frames.csv"] = self._csv()
        return parts

    def _film(self, what: str, suffix: str) -> Path:
        film = self.folder / f"{what}{suffix}"
        first = read_png16(self._frame(1, what))
        with FilmWriter(film, first.shape[1], first.shape[0], grey16=True) as writer:
            for number, time_s, *_ in self.rows:
                writer.write(read_png16(self._frame(number, what)), time_s)
        return film

    def _preview(self, source: Path, near_is_high: bool) -> Path:
        """Photograph and depth side by side, in colours of the range that the frames really use."""
        film = self.folder / "preview.mp4"
        looked_at = [self._values(number)[::4, ::4] for number in range(1, self.frames + 1, max(1, self.frames // 20))]
        low, high = (float(np.percentile(np.concatenate([v.ravel() for v in looked_at]), q)) for q in (0.5, 99.5))
        writer: FilmWriter | None = None
        with contextlib.ExitStack() as stack:
            frames = stack.enter_context(contextlib.closing(read_frames(source)))
            for (number, time_s, *_), frame in zip(self.rows, frames, strict=False):
                shades = np.clip((self._values(number) - low) / max(high - low, 1e-12), 0, 1)
                picture = np.hstack([frame.rgb, colourise(shades if near_is_high else 1 - shades)])
                if writer is None:
                    height, width = picture.shape[:2]
                    writer = stack.enter_context(FilmWriter(film, width, height, sound_from=source))
                writer.write(picture, time_s)
        return film

    def _csv(self) -> bytes:
        lines = ["frame,time_s,scale,shift", *(f"{n},{t:.6f},{a},{b}" for n, t, a, b in self.rows)]
        return ("\n".join(lines) + "\n").encode()

    def _frame(self, number: int, what: str = "depth") -> Path:
        return self.folder / what / f"{number:06d}{self.suffix}"

    def _values(self, number: int) -> FloatMap:
        path = self._frame(number)
        if self.suffix == ".exr":
            return output.read_exr(path)
        return read_png16(path).astype(np.float32)  # a linear scale: colours do not need its ends

    def _store(self, path: Path, values: npt.NDArray[np.float32], scale: Quantisation) -> None:
        if self.suffix == ".exr":
            output.write_exr(path, values)
        else:
            output.write_png(path, scale.encode(values))


def _state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and {"frames", "scale", "spread", "beyond"} <= set(state) else {}


def _row(line: list[str]) -> tuple[int, float, float, float]:
    return int(line[0]), float(line[1]), float(line[2]), float(line[3])


def _escaped(name: str) -> str:
    import glob  # noqa: PLC0415

    return glob.escape(name)
