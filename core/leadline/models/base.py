"""DepthModel: what the three models share. Latent in, latent out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from leadline.depth.spaces import Space
from leadline.models.spec import ModelSpec
from leadline.models.unet import DepthUNet

#: Called after each network evaluation with (evaluations done, evaluations in all); may raise to stop.
OnStep = Callable[[int, int], None]


class DepthModel(nn.Module, ABC):
    """A depth model between the image latent and the depth latent.

    Args:
        spec: The model's description.
        prompt: Fixed text embedding (1, T, D): the empty prompt, computed once when a checkpoint is imported.
    """

    family: ClassVar[str]
    #: Whether members of an ensemble come from start noise (otherwise from flips and shifts of the image).
    stochastic: ClassVar[bool] = False
    prompt: Tensor

    def __init__(self, spec: ModelSpec, prompt: Tensor) -> None:
        super().__init__()
        self.spec = spec
        self.unet = DepthUNet(spec.unet, self._middle_block(spec), spec.token_count_scaling)
        self.register_buffer("prompt", prompt, persistent=False)

    @property
    def space(self) -> Space:
        """What the raw output is affine in."""
        return self.spec.space

    def _middle_block(self, spec: ModelSpec) -> nn.Module | None:
        return None

    @abstractmethod
    def solve(
        self,
        image_latents: Tensor,
        steps: int = 1,
        noise: Tensor | None = None,
        condition: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Depth latents (N, C, h, w) of image latents (N, C, h, w).

        Args:
            image_latents: One per image, or one per member.
            steps: Network evaluations; one-step models accept only 1.
            noise: (N, C, h, w) start noise, for stochastic models.
            condition: (N, K, h, w) extra latents, for models trained with them (sparse depth).
            on_step: Progress; may raise to stop.
        """

    def finish(self, decoded: Tensor) -> Tensor:
        """Decoded maps to the model's published numbers, elementwise."""
        return decoded


class OneStepModel(DepthModel):
    """A deterministic model: one evaluation at a fixed timestep, output in [0, 1]."""

    timestep: ClassVar[float]

    def solve(
        self,
        image_latents: Tensor,
        steps: int = 1,
        noise: Tensor | None = None,
        condition: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        latents = image_latents if condition is None else torch.cat([image_latents, condition], dim=1)
        depth_latents: Tensor = self.unet(latents, self.timestep, self.prompt)
        if on_step is not None:
            on_step(1, 1)
        return depth_latents

    def finish(self, decoded: Tensor) -> Tensor:
        """[-1, 1], clipped, to [0, 1]."""
        return (decoded.clamp(-1.0, 1.0) + 1.0) / 2.0
