"""A small deterministic estimator with the interface of ``leadline.DepthEstimator``, without torch.

The source given to :func:`load` is a JSON object of how it behaves. Its answer depends on image, seed, steps, ensemble
and size, and only on them, so that a crossed reply cannot go unnoticed.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError, InputError
from leadline.files.image import read_image


def expected(
    image: np.ndarray, seed: int = 0, steps: int = 2, ensemble: int = 1, size: int | None = None
) -> np.ndarray:
    """float32 (H, W): what the stand-in answers."""
    grey = image.reshape(*image.shape[:2], -1)[:, :, 0].astype(np.float32)
    return grey / 255.0 + np.float32(seed % 997) + np.float32(steps * 0.25 + ensemble * 0.125 + (size or 0) * 1e-3)


class StandIn:
    family = "depthfm"
    space = Space.LOG_DEPTH
    default_steps = 2
    default_size = 64
    stochastic = True

    def __init__(
        self, name: str, step_s: float = 0.0, die_once: str = "", die_of: int = -1, megabytes: int = 0
    ) -> None:
        self.name = name
        self.step_s, self.die_once, self.die_of = step_s, die_once, die_of
        self.nbytes = megabytes << 20

    def predict(
        self,
        image: Sequence[Any],
        *,
        steps: int | None = None,
        ensemble: int = 1,
        size: int | None = None,
        seed: Sequence[int] = (0,),
        detail: str = "off",
        out: Sequence[Any] | None = None,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> list[DepthPrediction]:
        if steps == 13:
            raise InputError("steps=13: this model is superstitious")
        steps = self.default_steps if steps is None else steps
        self._perish(seed)
        for step in range(steps):
            if on_progress is not None:
                on_progress("solve", step / steps)
            time.sleep(self.step_s)
        answers = []
        for index, (one, number) in enumerate(zip(image, seed, strict=True)):
            values = expected(read_image(one), number, steps, ensemble, size)
            if out is not None:
                out[index][:] = values
                values = out[index]
            spread = values * 0 + 0.5 if ensemble > 1 else None
            answers.append(
                DepthPrediction(values, self.space, spread, model=self.name, meta={"steps": steps, "detail": detail})
            )
        return answers

    def _perish(self, seeds: Sequence[int]) -> None:
        if self.die_of in seeds:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.die_once and not Path(self.die_once).exists():
            Path(self.die_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class NormalsStandIn(StandIn):
    """Gives normals: everywhere the direction (0.6, 0, 0.8)."""

    spec = SimpleNamespace(output="normals", condition_channels=0)

    def normals(self, image: Sequence[Any], *, ensemble: int = 1, **options: Any) -> list[NormalsPrediction]:
        answers = []
        for one in image:
            values = np.broadcast_to(np.float32([0.6, 0.0, 0.8]), read_image(one).shape).copy()
            spread = values[:, :, 0] if ensemble > 1 else None
            answers.append(NormalsPrediction(values, spread, self.name))
        return answers


def load(source: str, device: str, precision: str) -> StandIn:
    """A stand-in; ``{"broken": true}`` fails as a missing checkpoint does, ``{"loads": PATH}`` notes each load in a file."""
    settings = json.loads(source)
    if noted := settings.pop("loads", None):
        with open(noted, "a") as file:
            file.write(source + "\n")
    time.sleep(settings.pop("load_s", 0.0))
    if settings.pop("broken", False):
        raise CheckpointError("the weights are not on this computer; pull them")
    kind = NormalsStandIn if settings.pop("normals", False) else StandIn
    return kind(**{"name": "stand-in", **settings})


def load_compiled(source: str, device: str, precision: str, compiled: str) -> StandIn:
    """A stand-in for a compiled network."""
    return load(source, device, precision)


def load_with(source: str, device: str, precision: str, **options: str) -> StandIn:
    """A stand-in whose name says how it was loaded."""
    return StandIn(", ".join(f"{name}={value}" for name, value in sorted(options.items())))


def load_tiny(source: str, device: str, precision: str) -> Any:
    """A real network with random weights: ``source`` is its family, or "normals"."""
    from tiny import tiny_estimator, tiny_normals_estimator

    return tiny_normals_estimator() if source == "normals" else tiny_estimator(source, seed=1)
