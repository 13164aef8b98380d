"""Quality and speed in one word, and what they mean for a model. Imports no torch, so that mistakes are told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from leadline.checkpoints.capabilities import Capabilities, capabilities
from leadline.checkpoints.layout import is_hub_id
from leadline.checkpoints.presets import Quality, Sampling, preset
from leadline.errors import CheckpointError, InputError

#: "full": a model as it was trained. "realtime": the fastest way to run it that was measured on this machine.
Speed: TypeAlias = Literal["full", "realtime"]


def sampling(
    model: str | Path, quality: Quality | None = None, steps: int | None = None, ensemble: int | None = None
) -> Sampling:
    """What to run a model with; ``steps`` and ``ensemble`` that are given win over ``quality``.

    Raises:
        InputError: The model does not take these steps, needs more than an image, gives no depth, or ``quality`` is
            asked of a checkpoint that is not imported.
        CheckpointError: There is no such model.
    """
    try:
        known = capabilities(model)
    except CheckpointError:
        if not (Path(model).exists() or is_hub_id(str(model))):
            raise
        if quality is not None:
            raise InputError(f"quality is for models by name; import {model} first (leadline import)") from None
        return Sampling(steps, 1 if ensemble is None else ensemble)
    refuse_misfits(known, steps)
    chosen = preset(quality or "balanced", known)
    return Sampling(chosen.steps if steps is None else steps, chosen.ensemble if ensemble is None else ensemble)


def refuse_misfits(model: Capabilities, steps: int | None) -> None:
    """Complain about steps that a model does not take.

    Raises:
        InputError: It does not.
    """
    if steps is None or (model.min_steps <= steps and (model.max_steps is None or steps <= model.max_steps)):
        return
    if model.max_steps == model.min_steps:
        taken = f"exactly {model.min_steps}"
    else:
        taken = f"{model.min_steps} or more" if model.max_steps is None else f"{model.min_steps} to {model.max_steps}"
    raise InputError(f"steps={steps}: {model.name} takes {taken}")


def parts_at(speed: Speed, encoder: str | Path = "full", decoder: str | Path = "full") -> tuple[str | Path, str | Path]:
    """Encoder and decoder at a speed: in real time the small ones, unless a file was asked for."""
    if speed == "full":
        return encoder, decoder
    return "small" if str(encoder) == "full" else encoder, "small" if str(decoder) == "full" else decoder
