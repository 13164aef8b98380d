"""DepthFM (Gui et al., 2024): flow matching from the image's latent to the depth's latent."""

from __future__ import annotations

import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.errors import InputError
from leadline.models import Codec
from leadline.models.families import Start
from leadline.models.samplers import noised
from leadline.models.small_decoder import SmallDecoder
from leadline.training.base import DepthRecipe
from leadline.training.losses import error_norm, squared_error
from leadline.training.sources import Batch
from leadline.training.teachers import Teacher


class DepthFMRecipe(DepthRecipe):
    """L = || v(t, x_t; z) − (x_1 − x_0) ||² with x_t = t x_1 + (1 − t) x_0, t uniform (eq. 2 to 4).

    x_1 is the depth latent, x_0 the image latent z with noise augmentation (section 3.3, t_s = 0.4). The paper writes
    a norm without square; its authors let a reader who squared it stand, and so do we unless told otherwise. σ_min =
    1e-8 is below what float32 can add and is left out.

    Args:
        bundle: A DepthFM; its ``spec.noising_step`` is t_s in thousandths. 1000 leaves nothing of the image in x_0: the
            "noise → depth" baseline of the paper's ablation.
        start_share: Share of the samples whose t is 0, the only time a one-step prediction asks for; the rest is
            uniform. 0 in the paper.
        squared: Whether the norm is squared. Without, it is taken in every cell of the latent: cells that are far off
            then pull less, and one step answers with something like a median instead of a mean.
        teacher: Gives the depth latents of pictures without depth (``unlabelled_rgb`` in the batch), which are trained on like the
            others (the depth prior of eq. 5); None for none.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        start_share: float = 0.0,
        squared: bool = True,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(bundle)
        self.teacher = teacher
        if not 0.0 <= start_share <= 1.0:
            raise InputError(f"start_share is a share of the samples, from 0 to 1, not {start_share}")
        self.start_share = start_share
        self.error = squared_error if squared else error_norm
        if bundle.model.traits.start is not Start.NOISED_IMAGE:
            raise TypeError(f"this recipe trains DepthFM, not {bundle.model.family}")
        self.flow = bundle.model

    def align_with(self, weight: float, reader: Codec | SmallDecoder | None = None) -> None:
        """As for every recipe; only the single step from t = 0 gives depth to compare."""
        if weight > 0 and self.start_share == 0:
            raise InputError(
                "weight_aligned compares what one step from t = 0 gives; give a start_share above 0 with it"
            )
        super().align_with(weight, reader)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        image, depth, mask = self.latents(batch)
        labelled = len(image)
        if self.teacher is not None and "unlabelled_rgb" in batch:
            image, depth, mask = self._with_pseudo_labels(image, depth, mask, batch["unlabelled_rgb"])
        noise = torch.randn(image.shape, generator=generator).to(image)
        t = torch.rand(len(image), generator=generator).to(image)
        at_start = round(self.start_share * labelled)
        t[:at_start] = 0.0
        x0 = noised(image, noise, self.spec.noising_step)
        along = t.view(-1, 1, 1, 1)
        xt = along * depth + (1.0 - along) * x0
        velocity = self.flow.evaluate(xt, image, t, batch.get("condition"))
        loss = self.error(velocity, depth - x0, mask)
        losses = {"loss": loss, "flow": loss}
        if len(image) > labelled:  # both kinds count alike; they are told apart for people only
            with torch.no_grad():
                for name, part in (("flow", slice(labelled)), ("pseudo", slice(labelled, None))):
                    losses[name] = self.error(velocity[part], (depth - x0)[part], mask[part])
        if at_start == 0:
            return losses
        first = {name: part[:at_start] for name, part in batch.items()}
        return self.with_aligned(losses, (x0 + velocity)[:at_start], first)

    @torch.no_grad()
    def _with_pseudo_labels(self, image: Tensor, depth: Tensor, mask: Tensor, rgb: Tensor) -> tuple[Tensor, ...]:
        """The latents of pictures with depth, then those without, whose depth is the teacher's; known everywhere."""
        assert self.teacher is not None
        more = self.codec.encode(rgb)
        labels = self.teacher(rgb, more)
        everywhere = mask.new_ones(len(more), *mask.shape[1:])
        return torch.cat([image, more]), torch.cat([depth, labels]), torch.cat([mask, everywhere])
