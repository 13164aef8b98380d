"""Samplers as lists of steps: every one of them is affine in the latent and the network's output.

One step is ``x ← keep · x + gain · network(x, t) + fresh · noise``; what differs between Euler, DDIM and LCM is three numbers a
step. They are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.errors import CheckpointError, InputError


@dataclass(frozen=True)
class Step:
    """``x ← keep · x + gain · network(x, t) + fresh · noise``."""

    t: float
    keep: float
    gain: float
    fresh: float = 0.0


def flow_steps(steps: int) -> list[Step]:
    """Euler steps of length 1/N from t = 0."""
    return [Step(i / steps, 1.0, 1.0 / steps) for i in range(steps)]


def cosine_alpha_bar(noising_step: int) -> float:
    """Signal power kept by DepthFM's noise augmentation at ``noising_step`` thousandths.

    The cosine schedule of Nichol and Dhariwal (2021) without its offset, as the official code has it:
    alpha_bar = 1 / (1 + (tan(pi s / 2) + 1e-5)^2), s = noising_step / 1000.

    >>> round(cosine_alpha_bar(400), 4)
    0.6545
    """
    return 1.0 / (1.0 + (math.tan(math.pi * noising_step / 2000.0) + 1e-5) ** 2)


def noised(latents: Any, noise: Any, noising_step: int) -> Any:
    """The source sample x_0 = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) eps (DepthFM, section 3.3)."""
    alpha_bar = cosine_alpha_bar(noising_step)
    return math.sqrt(alpha_bar) * latents + math.sqrt(1.0 - alpha_bar) * noise


@dataclass(frozen=True)
class Schedule:
    """A published scheduler's settings, v-prediction: which timesteps, and what a step does.

    Attributes:
        kind: "ddim" (Song et al., 2021, deterministic) or "lcm" (Luo et al., 2023).
        spacing: "leading" or "trailing" timesteps of DDIM.
        beta_start, beta_end, timesteps: sqrt(beta) is linear between them.
        zero_snr: Rescaled so that the last timestep is pure noise (Lin et al., 2024).
        alpha_to_one: Whether the step behind timestep 0 has no noise at all.
        offset: Added to leading timesteps.
        original_steps, scaling: LCM's skipping grid, and the factor on t in its boundary conditions.
    """

    kind: str = "ddim"
    spacing: str = "leading"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    timesteps: int = 1000
    zero_snr: bool = False
    alpha_to_one: bool = False
    offset: int = 1
    original_steps: int = 50
    scaling: float = 10.0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Schedule:
        """From the settings that a specification keeps.

        Raises:
            CheckpointError: There are others.
        """
        unknown = set(settings) - {field.name for field in fields(cls)}
        if unknown:
            raise CheckpointError(f"the scheduler has an unknown setting '{sorted(unknown)[0]}'; update Leadline")
        return cls(**settings)

    def settings(self) -> dict[str, Any]:
        """The inverse of :meth:`of`."""
        return asdict(self)

    @cached_property
    def alpha_bars(self) -> npt.NDArray[np.float64]:
        """Signal power at every timestep."""
        betas = np.linspace(self.beta_start**0.5, self.beta_end**0.5, self.timesteps) ** 2
        kept: npt.NDArray[np.float64] = np.cumprod(1.0 - betas, dtype=np.float64)
        if self.zero_snr:
            root = np.sqrt(kept)
            kept = np.square((root - root[-1]) * root[0] / (root[0] - root[-1]))
        return kept

    @property
    def max_steps(self) -> int:
        """The most steps there can be."""
        return self.original_steps if self.kind == "lcm" else self.timesteps

    def times(self, steps: int) -> list[int]:
        """Timesteps of ``steps`` evaluations, first to last.

        >>> Schedule(spacing="trailing").times(4), Schedule().times(2), Schedule(kind="lcm").times(4)
        ([999, 749, 499, 249], [501, 1], [999, 759, 499, 259])
        """
        if not 1 <= steps <= self.max_steps:
            raise InputError(f"steps={steps}: this model's sampler takes 1 to {self.max_steps}")
        if self.kind == "lcm":
            grid = np.arange(1, self.original_steps + 1) * (self.timesteps // self.original_steps) - 1
            return [int(grid[::-1][int(i)]) for i in np.linspace(0, len(grid), steps, endpoint=False)]
        if self.spacing == "trailing":
            return [int(t) for t in np.round(np.arange(self.timesteps, 0, -self.timesteps / steps)).astype(int) - 1]
        return [i * (self.timesteps // steps) + self.offset for i in reversed(range(steps))]

    def steps(self, steps: int) -> list[Step]:
        """The plan of ``steps`` evaluations."""
        times = self.times(steps)
        return self._lcm(times) if self.kind == "lcm" else self._ddim(times)

    def _ddim(self, times: list[int]) -> list[Step]:
        plan = []
        for t in times:
            before = t - self.timesteps // len(times)
            signal, noise = _roots(self.alpha_bars[t])
            to_signal, to_noise = _roots(self.alpha_bars[before] if before >= 0 else self._last)
            # x_0 = signal x - noise v and eps = noise x + signal v, mixed at the noise level of the next timestep
            plan.append(Step(t, to_signal * signal + to_noise * noise, to_noise * signal - to_signal * noise))
        return plan

    def _lcm(self, times: list[int]) -> list[Step]:
        plan = []
        for t, after in zip(times, [*times[1:], None], strict=True):
            signal, noise = _roots(self.alpha_bars[t])
            scaled = (t * self.scaling) ** 2
            skip, out = 0.25 / (scaled + 0.25), (scaled / (scaled + 0.25)) ** 0.5
            to_signal, to_noise = (1.0, 0.0) if after is None else _roots(self.alpha_bars[after])
            plan.append(Step(t, to_signal * (out * signal + skip), -to_signal * out * noise, to_noise))
        return plan

    @property
    def _last(self) -> float:
        return 1.0 if self.alpha_to_one else float(self.alpha_bars[0])


def _roots(alpha_bar: float) -> tuple[float, float]:
    """Standard deviations of signal and noise."""
    return float(alpha_bar) ** 0.5, (1.0 - float(alpha_bar)) ** 0.5
