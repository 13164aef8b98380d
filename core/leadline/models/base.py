"""DepthModel: latent in, latent out, for every family. What differs between families is data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.errors import InputError
from leadline.models.dropping import drop
from leadline.models.families import DepthRange, Family, Sampler, Start, family_named
from leadline.models.fourier import FourierEnhancement
from leadline.models.samplers import Schedule, Step, flow_steps, noised
from leadline.models.spec import ModelSpec
from leadline.models.unet import DepthUNet
from leadline.models.values import depth_values, normal_values

#: Called after each network evaluation with (evaluations done, evaluations in all); may raise to stop.
OnStep = Callable[[int, int], None]


class DepthModel(nn.Module):
    """A model between the image latent and the latent of its depth map or surface normals.

    Args:
        spec: The model's description.
        prompt: Fixed text embedding (1, T, D): the empty prompt, computed once when a checkpoint is imported.
    """

    prompt: Tensor

    def __init__(self, spec: ModelSpec, prompt: Tensor) -> None:
        super().__init__()
        self.spec = spec
        self.traits: Family = family_named(spec.family)
        fourier = FourierEnhancement(spec.unet["block_out_channels"][-1]) if spec.fourier else None
        self.unet = DepthUNet(spec.unet, fourier, spec.token_count_scaling, self.traits.class_vector)
        drop(self.unet.net, spec.dropped_in("unet"))
        self.register_buffer("prompt", prompt, persistent=False)

    @property
    def family(self) -> str:
        """Name of its family."""
        return self.traits.name

    @property
    def stochastic(self) -> bool:
        """Whether members of an ensemble come from start noise (otherwise from flips and shifts of the image)."""
        return self.traits.stochastic

    @property
    def needs_channels(self) -> bool:
        """Whether :meth:`finish` needs the three decoded channels, not their mean."""
        return self.spec.output == "normals" or self.traits.depth_range is DepthRange.CHANNELS_CLIPPED

    @property
    def max_steps(self) -> int | None:
        """The most network evaluations that make sense; None: any number."""
        if self.traits.sampler is Sampler.DIFFUSION:
            return Schedule.of(self.spec.schedule).max_steps
        return self.traits.max_steps

    def check_steps(self, steps: int) -> None:
        """
        Raises:
            InputError: The model takes no such number of steps.
        """
        most = self.max_steps
        if steps < 1 or (most is not None and steps > most):
            allowed = "1 or more" if most is None else "exactly 1" if most == 1 else f"1 to {most}"
            raise InputError(f"steps={steps}: {self.spec.name or self.family} takes {allowed}")

    def plan(self, steps: int) -> list[Step]:
        """What happens in each of ``steps`` network evaluations.

        Raises:
            InputError: The sampler has no such number of steps.
        """
        if self.traits.sampler is Sampler.FLOW:
            return flow_steps(steps)
        if self.traits.sampler is Sampler.DIFFUSION:
            return Schedule.of(self.spec.schedule).steps(steps)
        return [Step(self.traits.timestep, 0.0, self.traits.gain)]

    def solve(
        self,
        image_latents: Tensor,
        steps: int = 1,
        noise: Tensor | None = None,
        condition: Tensor | None = None,
        on_step: OnStep | None = None,
        fresh: Sequence[Tensor] = (),
    ) -> Tensor:
        """Result latents (N, C, h, w) of image latents (N, C, h, w).

        Args:
            image_latents: One per image, or one per member.
            steps: Network evaluations; one-step models take 1.
            noise: (N, C, h, w) start noise, for stochastic models. DepthFM without it starts from the image latent itself.
            condition: (N, K, h, w) extra latents, for models trained with them (sparse depth).
            on_step: Progress; may raise to stop.
            fresh: Noise (N, C, h, w) that LCM adds after each step but the last.
        """
        plan = self.plan(steps)
        x = self._start(image_latents, noise)
        still = self._still_features(image_latents, condition)
        embeddings = self._embeddings([step.t for step in plan])
        for index, step in enumerate(plan):
            features = still if x is None else still + self._first_convolution(x, self._own_channels(x.shape[1]))
            out = self.unet.body(features, embeddings[index], self.prompt)
            out = out if step.gain == 1.0 else out * step.gain
            x = out if x is None or step.keep == 0.0 else out + step.keep * x
            if step.fresh:
                x = x + step.fresh * fresh[index]
            if on_step is not None:
                on_step(index + 1, len(plan))
        assert x is not None
        return x

    def evaluate(
        self, x: Tensor | None, image_latents: Tensor, t: float | Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """The network's output (N, C, h, w) for the state ``x`` at timestep ``t``: one number, or one for each member."""
        parts = {"x": x, "image": image_latents, "condition": condition}
        seen = [part for name in self._order for part in (parts[name],) if part is not None]
        out: Tensor = self.unet(torch.cat(seen, dim=1), t, self.prompt)
        return out

    def finish(self, decoded: Tensor) -> Tensor:
        """Decoded channels (N, 3 or 1, h, w) to the published numbers: a map (N, 1, h, w), or normals (N, 3, h, w)."""
        if self.spec.output == "normals":
            assert self.traits.normal_range is not None
            return normal_values(decoded, self.traits.normal_range)
        return depth_values(decoded, self.traits.depth_range)

    @property
    def _order(self) -> tuple[str, ...]:
        """How the network's input channels lie."""
        first = ("x", "image") if self.traits.start is Start.NOISED_IMAGE else ("image", "x")
        return (*first, "condition")

    def _start(self, image_latents: Tensor, noise: Tensor | None) -> Tensor | None:
        """x before the first step; None where the network sees nothing but the image, or zeros beside it."""
        if self.traits.start is Start.NOISED_IMAGE:
            step = self.spec.noising_step
            return noised(image_latents, noise, step) if step > 0 and noise is not None else image_latents
        if self.traits.start is Start.NOISE:
            return torch.zeros_like(image_latents) if noise is None else noise
        return None

    def _still_features(self, image_latents: Tensor, condition: Tensor | None) -> Tensor:
        """The first convolution's share of image and condition: the same in every step."""
        first = self.unet.net.conv_in
        fixed = image_latents if condition is None else torch.cat([image_latents, condition], dim=1)
        if self.traits.latents_seen == 1:
            return first(fixed)
        own = self._own_channels(image_latents.shape[1])
        others = [c for c in range(first.weight.shape[1]) if not own.start <= c < own.stop]
        return functional.conv2d(fixed, first.weight[:, others], first.bias, padding=first.padding)

    def _first_convolution(self, x: Tensor, channels: slice) -> Tensor:
        first = self.unet.net.conv_in
        return functional.conv2d(x, first.weight[:, channels], padding=first.padding)

    def _own_channels(self, width: int) -> slice:
        """Where x lies among the network's input channels."""
        return slice(0, width) if self._order[0] == "x" else slice(width, 2 * width)

    def _embeddings(self, times: list[float]) -> list[Tensor | None]:
        """Of each timestep the embedding (1, D), or the index of its row in the step tables, or None where it is folded."""
        if not self.unet.timed:
            return [None] * len(times)
        tables = self.unet.step_tables
        return list(self._embed(times).split(1) if tables is None else tables.rows(times, self._embed))

    def _embed(self, times: list[float]) -> Tensor:
        return self.unet.time_embedding(torch.tensor(times, device=self.prompt.device), len(times))
