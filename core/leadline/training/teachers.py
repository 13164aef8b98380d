"""Frozen networks from outside: feature encoders for alignment, depth teachers for pseudo labels."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.errors import InputError
from leadline.models import Codec, DepthModel


class FeatureEncoder(Protocol):
    """Frozen features of pictures."""

    channels: int

    def __call__(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        """(N, channels, h, w) features of pictures (N, 3, H, W) in [-1, 1] with these latents."""
        ...


class Teacher(Protocol):
    """Pseudo labels."""

    def __call__(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        """Depth latents (N, C, h, w), of the student's codec and space, of pictures or their latents."""
        ...


class DinoV2Encoder(nn.Module):
    """DINOv2's patch tokens, through ``transformers`` and weights that you have (nothing is downloaded).

    DepthMaster's paper names DINOv2; its code takes the encoder inside Depth Anything V2, which is DINOv2 tuned for depth. A folder
    of either will do. Pictures go to [0, 1] before ImageNet's normalisation. (The official code normalises [-1, 1] values.)

    Args:
        folder: A local folder in the hub's layout, for example of ``facebook/dinov2-large`` or
            ``depth-anything/Depth-Anything-V2-Large-hf``.

    Raises:
        InputError: transformers is missing, or there are no such weights.
    """

    MEAN: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    STD: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    def __init__(self, folder: str) -> None:
        super().__init__()
        try:
            from transformers import AutoConfig, AutoModel, AutoModelForDepthEstimation  # noqa: PLC0415
        except ImportError as error:
            raise InputError("DINOv2 needs the transformers package; pip install 'leadline[import]'") from error
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            inside = getattr(config, "backbone_config", None)  # of a depth model with an encoder of its own
            kind = AutoModel if inside is None else AutoModelForDepthEstimation
            net: Any = kind.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no DINOv2 weights; give a local folder in the hub's layout") from error
        self.net = (net if inside is None else net.backbone).eval().requires_grad_(False)
        own = config if inside is None else inside
        if not str(own.model_type).startswith("dinov2"):
            raise InputError(f"{folder} holds {own.model_type}; give DINOv2, or a depth model that sees with it")
        self.channels, self.patch = int(own.hidden_size), int(own.patch_size)

    @torch.no_grad()
    def forward(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        if rgb is None:
            raise InputError("DINOv2 needs pixels; train from pictures, not from cached latents")
        # one patch for each 16 pixels, as the paper's grid of H / 16 tokens
        rows, columns = (max(1, side // 16) for side in rgb.shape[-2:])
        x = functional.interpolate(
            rgb * 0.5 + 0.5, (rows * self.patch, columns * self.patch), mode="bicubic", antialias=True
        )
        mean, std = (torch.tensor(v, device=x.device, dtype=x.dtype).view(1, 3, 1, 1) for v in (self.MEAN, self.STD))
        seen = self.net(pixel_values=(x - mean) / std)
        if "feature_maps" not in seen:
            return self._grid(seen.last_hidden_state, rows, columns)
        last: Tensor = seen.feature_maps[-1]
        return last if last.ndim == 4 else self._grid(last, rows, columns)

    @staticmethod
    def _grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
        """The last rows · columns of tokens (N, n, C), which are the patches', as (N, C, rows, columns)."""
        return tokens[:, -rows * columns :].transpose(1, 2).unflatten(-1, (rows, columns))


class CodecFeatures(nn.Module):
    """Features of the frozen mini codec: the decoder's middle block on the picture's latent.

    A stand-in where no large encoder is at hand: it shows the recipe at work and carries little meaning.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.channels = int(codec.vae.config["block_out_channels"][-1])

    @torch.no_grad()
    def forward(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        decoder = self.codec.vae.decoder
        x = latents / self.codec.latent_scale
        if self.codec.vae.post_quant_conv is not None:
            x = self.codec.vae.post_quant_conv(x)
        features: Tensor = decoder.mid_block(decoder.conv_in(x))
        return features


class ModelTeacher(nn.Module):
    """A trained Leadline model with the same codec and space as its student."""

    def __init__(self, model: DepthModel) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        return self.model.solve(latents, self.model.spec.default_steps)
