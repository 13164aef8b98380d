"""FiffDepth (Bai et al., 2024): the diffusion network as a feed-forward estimator that keeps its trajectory."""

from __future__ import annotations

import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.training.base import DepthRecipe
from leadline.training.losses import absolute_error, gradient_matching, squared_error
from leadline.training.schedules import ddpm_alpha_bar, diffuse, velocity_target
from leadline.training.sources import Batch
from leadline.training.teachers import Teacher


class FiffDepthRecipe(DepthRecipe):
    """L = Σ over t in {0, −1} of (λ_MAE · MAE + λ_GM · gradient matching) + λ_k · trajectory keeping (eq. 7).

    t = 0: d_0 = f(x_0, 0) against the depth latent, on labelled pictures. t = −1: d_−1 = f(d_0, −1) against the
    teacher's latent, on the batch's unlabelled pictures (``unlabelled`` or ``unlabelled_rgb``; the paper: half of
    every batch). Keeping: v-prediction of b_t, where b_0 = γ x_0 + (1 − γ) d_0 blends picture and depth (eq. 2, 3);
    no gradient runs through d_0 there, as a target is not trained.
    The gradient of the t = −1 term runs through d_0, which is what corrects it.

    Args:
        bundle: A FiffDepth.
        teacher: Gives depth latents of unlabelled pictures; None leaves t = −1 out.
        weight_mae, weight_gm, weight_keep: λ; 1, 0.5 and 0.2 in the paper. ``weight_keep=0`` is its ablation.
        gamma: γ; 0.5 in the paper.
        keep_share: Share of the batch on which trajectory keeping is computed; 1 in the paper. Its evaluation of the
            network costs as much as the depth step's, which a small compute budget may want to spend elsewhere.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        teacher: Teacher | None = None,
        weight_mae: float = 1.0,
        weight_gm: float = 0.5,
        weight_keep: float = 0.2,
        gamma: float = 0.5,
        keep_share: float = 1.0,
    ) -> None:
        super().__init__(bundle)
        self.teacher = teacher
        self.weight_mae, self.weight_gm, self.weight_keep, self.gamma = weight_mae, weight_gm, weight_keep, gamma
        self.keep_share = keep_share
        self.register_buffer("alpha_bar", ddpm_alpha_bar().float(), persistent=False)
        self.alpha_bar: Tensor

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        image, depth, mask = self.latents(batch)
        unet, prompt = self.model.unet, self.model.prompt
        d0 = unet(image, 0.0, prompt)
        losses = {"depth": self.depth_loss(d0, depth, mask)}
        loss = losses["depth"]
        if self.weight_keep > 0:
            kept = max(1, round(self.keep_share * len(image)))
            losses["keep"] = self.keeping_loss(image[:kept], d0[:kept].detach(), mask[:kept], generator)
            loss = loss + self.weight_keep * losses["keep"]
        unlabelled = self._unlabelled(batch)
        if self.teacher is not None and unlabelled is not None:
            with torch.no_grad():
                pseudo = self.teacher(batch.get("unlabelled_rgb"), unlabelled)
            beyond = unet(unet(unlabelled, 0.0, prompt), -1.0, prompt)
            losses["teacher"] = self.depth_loss(beyond, pseudo, None)
            loss = loss + losses["teacher"]
        return self.with_aligned({"loss": loss, **losses}, d0, batch)

    def depth_loss(self, predicted: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """λ_MAE · MAE + λ_GM · gradient matching, on latents (eq. 5, 6)."""
        flat = absolute_error(predicted, target, mask)
        return self.weight_mae * flat + self.weight_gm * gradient_matching(predicted, target, mask)

    def keeping_loss(self, image: Tensor, depth: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """L_k of eq. 3 on the predicted depth latents d_0 (eq. 1), t uniform in Stable Diffusion's timesteps 1 .. 999.

        Timestep t goes with alpha_bar[t], as in the scheduler; 0 is the depth step's.
        """
        blend = self.gamma * image + (1.0 - self.gamma) * depth
        noise = torch.randn(blend.shape, generator=generator).to(blend)
        t = torch.randint(1, len(self.alpha_bar), (len(blend),), generator=generator).to(blend.device)
        alpha_bar = self.alpha_bar[t]
        predicted = self.model.unet(diffuse(blend, noise, alpha_bar), t.float(), self.model.prompt)
        return squared_error(predicted, velocity_target(blend, noise, alpha_bar), mask)

    @torch.no_grad()
    def _unlabelled(self, batch: Batch) -> Tensor | None:
        if "unlabelled" in batch:
            return batch["unlabelled"]
        return self.codec.encode(batch["unlabelled_rgb"]) if "unlabelled_rgb" in batch else None
