# SPDX-License-Identifier: GPL-3.0-or-later
"""What a quality means to a model: the model says what it can do. No `bpy` here."""

from __future__ import annotations

from dataclasses import dataclass

from .leadline.serving.client.client import ModelInfo, ServerInfo

#: Network evaluations of the fine quality, for models that take so many.
FINE_STEPS = 4


@dataclass(frozen=True)
class Effort:
    """How much time to spend. None: the model's own default."""

    steps: int | None = None
    ensemble: int = 1
    size: int | None = None


def for_quality(quality: str, model: ModelInfo | None) -> Effort:
    """FAST, BALANCED or FINE with a model; for one that says nothing of itself, its own number of steps."""
    if quality == "FAST":
        return Effort(steps=None if model is None else model.min_steps)
    if quality == "BALANCED":
        return Effort(ensemble=4)
    if quality == "FINE":
        return Effort(steps=_fine_steps(model), ensemble=10)
    raise ValueError(quality)


def _fine_steps(model: ModelInfo | None) -> int | None:
    if model is None or model.min_steps is None:
        return None
    most = FINE_STEPS if model.max_steps is None else min(FINE_STEPS, model.max_steps)
    return max(model.default_steps or 1, most)


def find(info: ServerInfo, name: str) -> ModelInfo | None:
    """The model of that name; the server's default for an empty name."""
    wanted = name or info.default_model
    return next((model for model in info.models if model.name == wanted), None)
