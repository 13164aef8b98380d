"""The random numbers of a prediction: all of them from its seed, the same on every device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leadline.errors import InputError
from leadline.models.base import DepthModel


@dataclass(frozen=True)
class Noise:
    """What one image's prediction draws, float32, standard normal; None where the model takes none.

    Attributes:
        start: (ensemble, C, h, w): where every member starts.
        fresh: (steps - 1, ensemble, C, h, w): what LCM adds between steps.
        posterior: (C, h, w): with which the image latent is drawn (Lotus).
    """

    start: Tensor | None = None
    fresh: Tensor | None = None
    posterior: Tensor | None = None


def draw(model: DepthModel, seed: int, ensemble: int, steps: int, latent: tuple[int, int, int]) -> Noise:
    """Noise for latents (C, h, w) of one image; start noise is drawn first, so that it depends on nothing else."""
    generator = torch.Generator().manual_seed(int(seed))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    start = normal(ensemble, *latent) if model.stochastic else None
    fresh_steps = sum(step.fresh != 0.0 for step in model.plan(steps))
    fresh = normal(fresh_steps, ensemble, *latent) if fresh_steps else None
    return Noise(start, fresh, normal(*latent) if model.spec.samples_encoding else None)


def checked(given: Any, drawn: Noise) -> Noise:
    """``given`` noise (a :class:`Noise`, or start noise alone), completed from what was ``drawn``.

    Raises:
        InputError: Its shapes do not fit, or the model takes none.
    """
    asked = given if isinstance(given, Noise) else Noise(start=given)
    parts: dict[str, Tensor | None] = {}
    for part in ("start", "fresh", "posterior"):
        own, expected = getattr(asked, part), getattr(drawn, part)
        if own is None:
            parts[part] = expected
            continue
        if expected is None:
            raise InputError(f"this model takes no {part} noise: it is deterministic there")
        tensor = torch.as_tensor(own, dtype=torch.float32)
        if part == "start" and tensor.shape == expected.shape[1:]:
            tensor = tensor.expand(expected.shape)
        if tensor.shape != expected.shape:
            raise InputError(f"{part} noise is {tuple(tensor.shape)}, this image needs {tuple(expected.shape)}")
        parts[part] = tensor
    return Noise(**parts)
