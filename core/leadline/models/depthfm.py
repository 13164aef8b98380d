"""DepthFM: flow matching from the image's latent to the depth's latent (Gui et al., 2024)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.models.base import DepthModel, OnStep


def cosine_alpha_bar(noising_step: int) -> float:
    """Signal power kept by noise augmentation at ``noising_step`` thousandths.

    The cosine schedule of Nichol and Dhariwal (2021) without its offset, as the official code has it:
    alpha_bar = 1 / (1 + (tan(pi s / 2) + 1e-5)^2), s = noising_step / 1000.

    >>> round(cosine_alpha_bar(400), 4)
    0.6545
    """
    return 1.0 / (1.0 + (math.tan(math.pi * noising_step / 2000.0) + 1e-5) ** 2)


def noised(latents: Tensor, noise: Tensor, noising_step: int) -> Tensor:
    """The source sample x_0 = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) eps (DepthFM, section 3.3)."""
    alpha_bar = cosine_alpha_bar(noising_step)
    return math.sqrt(alpha_bar) * latents + math.sqrt(1.0 - alpha_bar) * noise


class DepthFM(DepthModel):
    """The ordinary differential equation dx/dt = v(x, z_image, t) from x_0 (noised image latent) to the depth latent.

    The network sees ``cat([x_t, z_image])`` and the raw t in [0, 1]. Its map is log depth, high is far.
    """

    family: ClassVar[str] = "depthfm"
    stochastic: ClassVar[bool] = True

    def velocity(self, x: Tensor, image_latents: Tensor, t: float | Tensor, condition: Tensor | None = None) -> Tensor:
        """v(x, z_image, t), (N, C, h, w); ``t`` one number or one for each member, in [0, 1]."""
        parts = [x, image_latents] if condition is None else [x, image_latents, condition]
        v: Tensor = self.unet(torch.cat(parts, dim=1), t, self.prompt)
        return v

    def solve(
        self,
        image_latents: Tensor,
        steps: int = 1,
        noise: Tensor | None = None,
        condition: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        x = image_latents
        if self.spec.noising_step > 0 and noise is not None:
            x = noised(image_latents, noise, self.spec.noising_step)
        image_features = self._image_features(image_latents, condition)
        embeddings = self._step_embeddings(steps)
        for i in range(steps):  # Euler, step 1 / steps
            features = functional.conv2d(x, self._first.weight[:, : x.shape[1]], padding=self._first.padding)
            x = x + self.unet.body(features + image_features, embeddings[i], self.prompt) / steps
            if on_step is not None:
                on_step(i + 1, steps)
        return x

    @property
    def _first(self) -> nn.Conv2d:
        return self.unet.net.conv_in

    def _image_features(self, image_latents: Tensor, condition: Tensor | None) -> Tensor:
        """The first convolution's share of image and condition: the same in every step."""
        fixed = image_latents if condition is None else torch.cat([image_latents, condition], dim=1)
        weight = self._first.weight[:, -fixed.shape[1] :]
        return functional.conv2d(fixed, weight, self._first.bias, padding=self._first.padding)

    def _step_embeddings(self, steps: int) -> list[Tensor]:
        """For t = 0, 1/N, 2/N …: time embeddings (1, D), or the indices of their rows in the step tables."""
        times = [i / steps for i in range(steps)]
        tables = self.unet.step_tables
        return list(self._embed(times).split(1)) if tables is None else tables.rows(times, self._embed)

    def _embed(self, times: list[float]) -> Tensor:
        return self.unet.time_embedding(torch.tensor(times, device=self.prompt.device), len(times))
