"""What "fast", "balanced" and "fine" mean to a model. Standard library only: the Blender add-on reads this file, too."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

#: fast: one network evaluation. balanced: the model's own default, as in Python. fine: more evaluations where the model
#: takes them, and an ensemble of 4.
Quality = Literal["fast", "balanced", "fine"]

#: Maps that "fine" averages.
FINE_ENSEMBLE = 4
#: Network evaluations of "fine" where a model takes several: the papers' figures level off there.
FINE_STEPS = 4


class Sampling(NamedTuple):
    """Network evaluations (None: the model's default) and ensemble size."""

    steps: int | None
    ensemble: int


class TakesSteps(Protocol):
    """What a model says of its network evaluations; None: it does not say, and ``max_steps`` None: any number."""

    @property
    def min_steps(self) -> int | None: ...
    @property
    def max_steps(self) -> int | None: ...
    @property
    def default_steps(self) -> int | None: ...


def preset(quality: Quality, model: TakesSteps | None) -> Sampling:
    """A quality for a model; one that says nothing of itself runs with its own number of evaluations."""
    fewest = None if model is None else model.min_steps
    if quality == "fast":
        return Sampling(fewest, 1)
    if quality == "balanced":
        return Sampling(None, 1)
    if model is None or fewest is None:
        return Sampling(None, FINE_ENSEMBLE)
    most = FINE_STEPS if model.max_steps is None else min(FINE_STEPS, model.max_steps)
    return Sampling(max(model.default_steps or 1, most), FINE_ENSEMBLE)
