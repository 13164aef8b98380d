"""What a student learns by: its teacher's maps, as latents and as pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.models import Codec
from leadline.training.losses import (
    absolute_error,
    edge_error,
    gradient_matching,
    masked_mean,
    scale_and_shift_to,
)
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe


class DistilRecipe(Recipe):
    """L = latent MAE + ½ gradient matching + λ_e encoder MAE + λ_p (pixel MAE after a fit of scale and shift + λ_g edges).

    The latent of the teacher's map is what the codec makes of it, the image's latent what the codec makes of the picture; both are
    the codec's that the student started from, whole and frozen. The pixel terms do not ask for the teacher's scale and shift.

    Args:
        student: What is trained: the network, what is left of the encoder, and the small decoder.
        codec: The codec that the student started from.
        export: Called with the folder when the training ends.
        weight_encoder, weight_pixel, weight_edges: λ.
    """

    def __init__(
        self,
        student: ModelBundle,
        codec: Codec,
        export: Callable[[Path], None] = lambda folder: None,
        weight_encoder: float = 0.5,
        weight_pixel: float = 4.0,
        weight_edges: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = student.model.requires_grad_(True)
        self.small = student.codec.requires_grad_(True)
        self.codec = codec.requires_grad_(False)
        self.weight_encoder, self.weight_pixel, self.weight_edges = weight_encoder, weight_pixel, weight_edges
        self._export = export

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Of ``rgb`` (N, 3, H, W), ``target`` (N, 1, H, W) in [-1, 1] and ``inside`` (N, 1, H, W), False in padding."""
        rgb, target, inside = batch["rgb"], batch["target"], batch["inside"]
        with torch.no_grad():
            image = self.codec.encode(rgb)
            depth = self.codec.encode(target.expand(-1, 3, -1, -1))
        seen = self.small.encode(rgb)
        solved = self.model.solve(seen)
        shown = self.small.decode(solved)
        fitted = scale_and_shift_to(shown, target, inside)
        losses = {
            "latents": absolute_error(solved, depth) + 0.5 * gradient_matching(solved, depth),
            "encoder": absolute_error(seen, image),
            "pixels": masked_mean((fitted - target).abs(), inside),
            "edges": edge_error(fitted, target, inside),
        }
        pixels = losses["pixels"] + self.weight_edges * losses["edges"]
        loss = losses["latents"] + self.weight_encoder * losses["encoder"] + self.weight_pixel * pixels
        return {"loss": loss, **losses}

    @torch.no_grad()
    def distance(self, batches: Sequence[Batch]) -> float:
        """Mean absolute difference to the teacher's maps after the fit of scale and shift, as a share of each map's range."""
        each = []
        for batch in batches:
            shown = self.small.decode(self.model.solve(self.small.encode(batch["rgb"])))
            target, inside = batch["target"], batch["inside"]
            off = (scale_and_shift_to(shown, target, inside) - target).abs()
            for one, own, map_ in zip(off, inside, target, strict=True):
                low, high = torch.quantile(map_[own], torch.tensor([0.02, 0.98])).tolist()
                each.append(float(one[own].mean()) / max(high - low, 1e-3))
        return sum(each) / len(each)

    @torch.no_grad()
    def preview(self, batch: Batch) -> dict[str, Tensor]:
        rgb = batch["rgb"][:4]
        shown = self.small.decode(self.model.solve(self.small.encode(rgb)))
        rows = [rgb, shown.expand(-1, 3, -1, -1), batch["target"][:4].expand(-1, 3, -1, -1)]
        return {"student above teacher": torch.cat([torch.cat(list(r), dim=-1) for r in rows], dim=-2) * 0.5 + 0.5}

    def export(self, folder: Path) -> None:
        self._export(folder)
