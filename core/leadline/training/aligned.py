"""The error that evaluation measures, on what a depth latent shows: an optional term of every depth recipe."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.models import Codec
from leadline.models.small_decoder import SmallDecoder
from leadline.training.losses import aligned_abs_rel
from leadline.training.sources import Batch
from leadline.training.tuned import TARGETS

Maps = TypeVar("Maps", bound=Any)


def sampled(maps: Maps) -> Maps:
    """The pixels (..., H / 4, W / 4) of maps (..., H, W), tensors or arrays, at which depth is compared; no averages."""
    pixels: Maps = maps[..., TARGETS.every // 2 :: TARGETS.every, TARGETS.every // 2 :: TARGETS.every]
    return pixels


class AlignedError(nn.Module):
    """:func:`~leadline.training.losses.aligned_abs_rel` of depth latents.

    None of the three papers has this term. Their losses ask a network for the picture's own normalisation too, which the
    fit of scale and shift then takes away, and weigh all channels of a latent alike.

    Args:
        reader: Shows what the latents mean; a small decoder costs a fraction of a codec's. Frozen.
        space: Of the model.
    """

    def __init__(self, reader: Codec | SmallDecoder, space: Space) -> None:
        super().__init__()
        self.reader = reader.requires_grad_(False)
        self.space = space

    def forward(self, latents: Tensor, batch: Batch, shown: Tensor | None = None) -> Tensor:
        """Of depth latents (N, C, h, w), against the batch's ``sampled_m`` (N, h', w') or ``depth_m`` (N, 1, H, W).

        ``shown``: the reader's map (N, 1, H, W) of them, where it is known already.
        """
        if "sampled_m" not in batch and "depth_m" not in batch:
            raise InputError("weight_aligned needs the depth itself; encode the latents again to have it in the cache")
        depth_m = batch["sampled_m"] if "sampled_m" in batch else sampled(batch["depth_m"][:, 0])
        shown = self.reader.decode(latents) if shown is None else shown
        return aligned_abs_rel(sampled(shown[:, 0]), depth_m, self.space)
