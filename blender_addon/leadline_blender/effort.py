# SPDX-License-Identifier: GPL-3.0-or-later
"""What a quality means to a model: the model says what it can do. No `bpy` here."""

from __future__ import annotations

from dataclasses import dataclass

from leadline.checkpoints.presets import Quality, preset
from leadline.serving.client.client import ModelInfo, ServerInfo

#: The panel's qualities as core knows them.
QUALITIES: dict[str, Quality] = {"FAST": "fast", "BALANCED": "balanced", "FINE": "fine"}


@dataclass(frozen=True)
class Effort:
    """How much time to spend. None: the model's own default."""

    steps: int | None = None
    ensemble: int = 1
    size: int | None = None


def for_quality(quality: str, model: ModelInfo | None) -> Effort:
    """FAST, BALANCED or FINE with a model; for one that says nothing of itself, its own number of steps."""
    return Effort(*preset(QUALITIES[quality], model))


def find(info: ServerInfo, name: str) -> ModelInfo | None:
    """The model of that name; the server's default for an empty name."""
    wanted = name or info.default_model
    return next((model for model in info.models if model.name == wanted), None)
