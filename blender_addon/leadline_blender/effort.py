# SPDX-License-Identifier: GPL-3.0-or-later
"""What a quality means to a model: the model says what it can do. No `bpy` here."""

from __future__ import annotations

from dataclasses import dataclass

from .leadline.serving.client.client import ModelInfo, ServerInfo

#: Network evaluations of the fine quality, for models that take more than one.
FINE_STEPS = 4


@dataclass(frozen=True)
class Effort:
    """How much time to spend. None: the model's own default."""

    steps: int | None = None
    ensemble: int = 1
    size: int | None = None


def for_quality(quality: str, model: ModelInfo | None) -> Effort:
    """FAST, BALANCED or FINE with a model; with None, or one that says little of itself, only what every model takes."""
    if quality == "FAST":
        return Effort(steps=1)
    if quality == "BALANCED":
        return Effort(ensemble=4)
    if quality == "FINE":
        return Effort(steps=max(FINE_STEPS, model.default_steps or 0) if takes_steps(model) else None, ensemble=10)
    raise ValueError(quality)


def takes_steps(model: ModelInfo | None) -> bool:
    """Whether a model takes more than one network evaluation; False if it does not say."""
    return model is not None and bool(model.stochastic)


def find(info: ServerInfo, name: str) -> ModelInfo | None:
    """The model of that name; the server's default for an empty name."""
    wanted = name or info.default_model
    return next((model for model in info.models if model.name == wanted), None)
