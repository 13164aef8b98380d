"""DepthMaster (Song et al., 2025): two stages, first the latent with feature alignment, then pixels with details."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.checkpoints.bundle import ModelBundle
from leadline.errors import InputError
from leadline.models.fourier import FourierEnhancement
from leadline.models.unet import DepthUNet
from leadline.training.base import DepthRecipe
from leadline.training.losses import feature_alignment, multi_directional_gradient_loss, squared_error
from leadline.training.sources import Batch
from leadline.training.teachers import FeatureEncoder


class DepthMasterStage1(DepthRecipe):
    """L = latent MSE + λ_fa · KL(external features || projected middle features) (eq. 9).

    Args:
        bundle: A DepthMaster without Fourier Enhancement.
        encoder: The frozen external encoder; None leaves feature alignment out.
        weight_fa: λ_fa; 1 in the paper.
        kl: "paper" or "released": see :func:`~leadline.training.losses.feature_alignment`.
        hidden: Width of the projecting MLP (three layers with SiLU between them); None: the encoder's own.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        encoder: FeatureEncoder | None = None,
        weight_fa: float = 1.0,
        hidden: int | None = None,
        kl: str = "paper",
    ) -> None:
        super().__init__(bundle)
        if kl not in ("paper", "released"):
            raise InputError(f"loss.kl is 'paper' or 'released', not '{kl}'")
        self.kl = kl
        self.encoder = encoder if weight_fa > 0 else None
        self.weight_fa = weight_fa
        if self.encoder is not None:
            width, features = bundle.spec.unet["block_out_channels"][-1], self.encoder.channels
            hidden = hidden or features
            self.project = nn.Sequential(  # an MLP over channels, token by token
                nn.Conv2d(width, hidden, 1),
                nn.SiLU(),
                nn.Conv2d(hidden, hidden, 1),
                nn.SiLU(),
                nn.Conv2d(hidden, features, 1),
            )

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        image, depth, mask = self.latents(batch)
        unet, t, prompt = self.model.unet, 1.0, self.model.prompt
        if self.encoder is None:
            predicted = unet(image, t, prompt)
            loss = squared_error(predicted, depth, mask)
            return self.with_aligned({"loss": loss, "latent": loss}, predicted, batch)
        predicted, middle = _with_middle(unet, image, t, prompt)
        latent = squared_error(predicted, depth, mask)
        external = self.encoder(batch.get("rgb"), image)
        external = functional.interpolate(external.float(), size=middle.shape[-2:], mode="bicubic", antialias=False)
        alignment = feature_alignment(self.project(middle), external, self.kl)
        losses = {"loss": latent + self.weight_fa * alignment, "latent": latent, "alignment": alignment}
        return self.with_aligned(losses, predicted, batch)


def _with_middle(unet: DepthUNet, image: Tensor, t: float, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """The network's output, and its middle block's, of one evaluation."""
    caught: list[Tensor] = []
    handle = unet.net.mid_block.register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        return unet(image, t, prompt), caught[0]
    finally:
        handle.remove()


class DepthMasterStage2(DepthRecipe):
    """L = pixel MSE + λ_h · weighted multi-directional gradient loss (eq. 10), through the frozen decoder.

    Args:
        bundle: A DepthMaster with Fourier Enhancement, started from stage 1.
        weight_gradient: λ_h; 0.001 in the paper.
        delta: Where the modified Huber loss changes its form; 0.2 in the published configuration, the paper gives none.
        starts_block: Whether the block is new and is to start as in :func:`start_as_identity`.
    """

    def __init__(
        self, bundle: ModelBundle, weight_gradient: float = 1e-3, delta: float = 0.2, starts_block: bool = False
    ) -> None:
        super().__init__(bundle)
        self.weight_gradient, self.delta = weight_gradient, delta
        self.starts_block = starts_block

    @torch.no_grad()
    def start(self, draw: Callable[[], Batch]) -> None:
        """A new Fourier Enhancement block begins by passing on what it gets, as measured on a batch of pixels."""
        block = self.model.unet.fftblock
        if not self.starts_block or not isinstance(block, FourierEnhancement):
            return
        image, _, _ = self.latents(draw())
        start_as_identity(block, self.model.unet.middle_features(image, 1.0, self.model.prompt))

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            image = self.codec.encode(batch["rgb"])
        predicted = self.model.unet(image, 1.0, self.model.prompt)
        decoded = self.codec.decode(predicted)
        pixel = squared_error(decoded, batch["target"], batch["known"])
        gradient = multi_directional_gradient_loss(decoded, batch["target"], self.delta, batch["known"])
        losses = {"loss": pixel + self.weight_gradient * gradient, "pixel": pixel, "gradient": gradient}
        return self.with_aligned(losses, predicted, batch, decoded)


@torch.no_grad()
def start_as_identity(block: FourierEnhancement, features: Tensor) -> None:
    """Make a fresh Fourier Enhancement block pass its input on, so that stage 2 starts about where stage 1 ended.

    The official block has no identity path and default initial values: the published stage 2 starts from scrambled
    middle features and needs its many iterations to recover. Here the last convolution starts as "spatial branch,
    nothing of the frequency branch", the spatial branch's own residual starts at zero, and the normalisation gives back
    what it takes on average; everything is trained. The architecture is the official one.

    Args:
        block: Changed in place.
        features: (N, C, h, w) that go into it, of some pictures.
    """
    channels = block.fuse.out_channels
    block.fuse.weight.zero_()
    block.fuse.weight[torch.arange(channels), torch.arange(channels)] = 1.0
    for convolution in (block.fuse, block.conv_s2):
        assert convolution.bias is not None
        convolution.bias.zero_()
    block.conv_s2.weight.zero_()
    groups = features.float().unflatten(1, (block.norm.num_groups, -1)).flatten(2)  # (N, groups, values)
    each = channels // block.norm.num_groups
    block.norm.weight.copy_(groups.std(2, correction=0).mean(0).repeat_interleave(each))
    block.norm.bias.copy_(groups.mean((0, 2)).repeat_interleave(each))
