"""Exponential moving average of a network's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Shadow copies: shadow ← decay · shadow + (1 − decay) · parameter (DepthFM: decay 0.999).

    The decay starts smaller, min(decay, (1 + n) / (10 + n)) at update n, so that short trainings are not held back
    by their initial weights.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.updates = 0
        self.shadow = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1.0 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the network has the averaged weights."""
        trained = [p.detach().clone() for p in self.parameters]
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(trained)

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def copy_into(self) -> None:
        """Give the network the averaged weights for good."""
        self._write(self.shadow)

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """The inverse of :meth:`state_dict`."""
        updates, shadow = state["updates"], state["shadow"]
        assert isinstance(updates, int)
        assert isinstance(shadow, list)
        self.updates = updates
        self.shadow = [value.to(own.device) for value, own in zip(shadow, self.shadow, strict=True)]
