"""DepthFM completion: the flow fine-tuned with sparse depth beside the picture (paper's appendix)."""

from __future__ import annotations

from leadline.checkpoints.bundle import ModelBundle
from leadline.errors import InputError
from leadline.training.depthfm import DepthFMRecipe
from leadline.training.sources import Batch


class CompletionRecipe(DepthFMRecipe):
    """DepthFM's loss with ``condition``: latents of the dense nearest-neighbour depth and of the distance map.

    The first convolution is inflated a second time, from (x_t, image) to (x_t, image, depth, distance); that the
    paper's network has these 4 C input channels is our reading of its text.

    Args:
        bundle: A DepthFM whose ``condition_channels`` are twice its latent channels.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__(bundle)
        if bundle.spec.condition_channels != 2 * bundle.codec.latent_channels:
            raise InputError("a completion model needs condition_channels = 2 × latent channels")

    def latents(self, batch: Batch):  # type: ignore[no-untyped-def]
        """As for every recipe; batches without ``condition`` are refused."""
        if "condition" not in batch:
            raise InputError("completion trains on latents cached with sparse depth; set data.sparse to true")
        return super().latents(batch)
