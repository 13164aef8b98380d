"""A stabiliser on standard input and output; :mod:`leadline.serving.client.steady` is the other end."""

from __future__ import annotations

import json
import sys
from typing import IO

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.files.image import read_image
from leadline.video.stabiliser import Stabiliser


def serve(given: IO[bytes] | None = None, out: IO[bytes] | None = None) -> None:
    """Answer frames until the input ends."""
    given, out = given or sys.stdin.buffer, out or sys.stdout.buffer
    stabiliser = Stabiliser()
    while line := given.readline():
        head = json.loads(line)
        height, width = head["shape"]
        values = np.frombuffer(given.read(height * width * 4), "<f4").reshape(height, width).astype(np.float32)
        rgb = read_image(given.read(head["bytes"]))
        # A relative map of any space: what is done to it is affine.
        steady = stabiliser.step(DepthPrediction(values, Space.DISPARITY), rgb).values
        out.write(json.dumps({"bytes": steady.size * 4}).encode() + b"\n")
        out.write(np.ascontiguousarray(steady, "<f4").tobytes())
        out.flush()
