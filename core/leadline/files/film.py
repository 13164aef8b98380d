"""Films: frames with their times from any container that FFmpeg reads, and films written whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.files.absent import absent
from leadline.files.whole import whole_file

#: Ticks per second of the films we write: fine enough for every frame rate in use.
_TICKS = 90_000
#: Luma of 10 bits that black and white have in a ProRes film.
PRORES_BLACK, PRORES_WHITE = 64, 940
_PRORES = "prores_ks"
_UNREADABLE = "cannot be read as a video; convert it to MP4 (H.264)"
#: Sound that an MP4 file takes as it is.
_MP4_SOUND = frozenset({"aac", "mp3", "ac3", "alac"})

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """A picture of a film: RGB uint8 (H, W, 3), upright, and when it is shown, in seconds from the first."""

    rgb: Rgb
    time_s: float


@dataclass(frozen=True)
class FilmInfo:
    """What a film says of itself; ``frames`` is 0 where it does not say."""

    frames: int
    frames_per_second: float
    has_sound: bool


def describe(path: Path) -> FilmInfo:
    """Read a film's header.

    Raises:
        InputError: It is no film, or has no pictures.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        frames = stream.frames
        if not frames and container.duration:
            frames = round(container.duration / av.time_base * rate)
        return FilmInfo(int(frames), rate, bool(container.streams.audio))


def read_frames(path: Path, on_damage: Callable[[str], None] | None = None) -> Generator[Frame, None, None]:
    """The frames in the order in which they are shown, turned upright.

    Args:
        path: Any container and codec that FFmpeg reads.
        on_damage: Called with one line if the film breaks off; what came before has been given.

    Raises:
        InputError: It is no film, or has no pictures.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        first_s, count = None, 0
        try:
            for frame in container.decode(stream):
                time_s = count / rate if frame.time is None else float(frame.time)
                first_s = time_s if first_s is None else first_s
                rgb = frame.to_ndarray(format="rgb24")
                turns = round(getattr(frame, "rotation", 0) / 90) % 4
                yield Frame(np.ascontiguousarray(np.rot90(rgb, turns)), time_s - first_s)
                count += 1
        except av.FFmpegError as error:
            if not count:
                raise InputError(f"{path} {_UNREADABLE}") from error
            if on_damage is not None:
                on_damage(f"{path} is damaged after frame {count}; the frames before it are used")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise absent(path)
    try:
        container = av.open(str(path.absolute()))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path} {_UNREADABLE}") from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no pictures in it, only sound")
        yield container


def require_prores() -> None:
    """Complain if FFmpeg here cannot write ProRes, before anything is computed.

    Raises:
        InputError: It cannot.
    """
    try:
        av.codec.Codec(_PRORES, "w")
    except ValueError as error:
        raise InputError("FFmpeg here has no ProRes encoder; ffv1 stores all 16 bits") from error


class FilmWriter:
    """A film that appears at ``path`` when the ``with`` block ends well.

    Args:
        path: ``.mp4`` (H.264, plays everywhere), ``.mkv`` (FFV1: lossless) or ``.mov`` (ProRes 4444, for editing: luma of 10
            bits from :data:`PRORES_BLACK` to :data:`PRORES_WHITE`, a little changed by its compression).
        width, height: Of the frames; H.264 takes even numbers, so an odd last column or row is cut off.
        grey16: Frames are uint16 (H, W) instead of RGB uint8 (H, W, 3); for ``.mkv`` and ``.mov``.
        sound_from: A film whose sound is put beside the pictures.
    """

    def __init__(
        self, path: Path, width: int, height: int, grey16: bool = False, sound_from: Path | None = None
    ) -> None:
        self._file = whole_file(path)
        self._suffix = path.suffix
        self._even = not grey16
        self._size = (width // 2 * 2, height // 2 * 2) if self._even else (width, height)
        self._format = "gray16le" if grey16 else "rgb24"
        self._sound_from = sound_from
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> FilmWriter:
        temporary = self._stack.enter_context(self._file)
        kind = {".mp4": "mp4", ".mov": "mov"}.get(self._suffix, "matroska")
        self._out = self._stack.enter_context(av.open(str(temporary.path), "w", format=kind))
        stream: Any
        if self._even:
            stream = self._out.add_stream("libx264", rate=_TICKS, options={"crf": "20", "preset": "veryfast"})
            stream.pix_fmt = "yuv420p"
        elif kind == "mov":
            stream = self._out.add_stream(_PRORES, rate=_TICKS, options={"profile": "4444"})
            stream.pix_fmt = "yuv444p10le"
        else:
            stream = self._out.add_stream("ffv1", rate=_TICKS, options={"level": "3", "slicecrc": "1"})
            stream.pix_fmt = self._format
        stream.width, stream.height = self._size
        stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream = stream
        self._sound = self._stack.enter_context(_Sound(self._out, self._sound_from))
        self._last = -1
        return self

    def write(self, picture: npt.NDArray[Any], time_s: float) -> None:
        """One frame; times have to rise."""
        width, height = self._size
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format=self._format)
        self._last = max(self._last + 1, round(time_s * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._out.mux(self._stream.encode(frame))
        self._sound.until(time_s)

    def __exit__(self, *failed: Any) -> None:
        if failed[0] is None:
            self._out.mux(self._stream.encode())
            self._sound.until(float("inf"))
        self._stack.__exit__(*failed)


def mp4(film: Sequence[Rgb], frames_per_second: float) -> bytes:
    """A short silent film, RGB frames of one size, as an MP4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with FilmWriter(path, film[0].shape[1], film[0].shape[0]) as writer:
            for number, frame in enumerate(film):
                writer.write(frame, number / frames_per_second)
        return path.read_bytes()


class _Sound:
    """The sound of a film, copied beside its pictures as they are written; coded again only where MP4 cannot hold it."""

    def __init__(self, out: Any, source: Path | None) -> None:
        self._out, self._source = out, source
        self._stack = contextlib.ExitStack()
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None

    def __enter__(self) -> _Sound:
        if self._source is None:
            return self
        container = self._stack.enter_context(_opened(self._source))
        if not container.streams.audio:
            return self
        stream = container.streams.audio[0]
        video = container.streams.video[0]
        self._start_s = float((video.start_time or 0) * (video.time_base or 0))
        if stream.codec_context.name in _MP4_SOUND:
            self._target = self._out.add_stream_from_template(stream)
            self._packets = self._copied(container, stream)
        else:
            self._target = self._out.add_stream("aac", rate=stream.rate or 48_000)
            self._packets = self._coded(container, stream)
        return self

    def _copied(self, container: Any, stream: Any) -> Iterator[Any]:
        with contextlib.suppress(av.FFmpegError):  # sound that breaks off does not cost the pictures
            for packet in container.demux(stream):
                if packet.dts is None:
                    continue
                shift = round(self._start_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                if packet.pts >= 0:
                    yield float(packet.pts * packet.time_base), packet

    def _coded(self, container: Any, stream: Any) -> Iterator[Any]:
        with contextlib.suppress(av.FFmpegError):
            for frame in container.decode(stream):
                time_s = float(frame.time or 0.0) - self._start_s
                frame.pts = None
                for packet in self._target.encode(frame):
                    yield time_s, packet
            for packet in self._target.encode():
                yield float("inf"), packet

    def until(self, time_s: float) -> None:
        """Put in the sound that belongs before ``time_s``."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or self._waiting[0] > time_s:
                return
            packet = self._waiting[1]
            packet.stream = self._target
            self._out.mux(packet)
            self._waiting = None

    def __exit__(self, *failed: Any) -> None:
        self._stack.__exit__(*failed)
