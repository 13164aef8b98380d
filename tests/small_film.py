"""A small film with sound for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def make_film(path: Path, frames: int = 7, shade: int = 60, sound: bool = True, times_s=None) -> Path:
    """A bright square that moves over a grey ground, with a tone beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        picture = out.add_stream("libx264", rate=10)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        tone = out.add_stream("aac", rate=48_000) if sound else None
        for i in range(frames):
            frame = np.full((64, 96, 3), shade + 5 * i, np.uint8)
            frame[20:50, 8 * i : 8 * i + 20] = 220
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times_s is not None:
                shown.pts, shown.time_base = round(times_s[i] * 1000), Fraction(1, 1000)
            out.mux(picture.encode(shown))
        out.mux(picture.encode())
        if tone is not None:
            wave = (np.sin(np.arange(4800 * frames) * 0.05) * 0.3).astype(np.float32)[None]
            for first in range(0, wave.shape[1], 1024):
                heard = av.AudioFrame.from_ndarray(wave[:, first : first + 1024], format="fltp", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 48_000, first, Fraction(1, 48_000)
                out.mux(tone.encode(heard))
            out.mux(tone.encode())
    return path
