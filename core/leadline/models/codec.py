"""Codec: the autoencoder between pixels and latents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.models.autoencoder import Autoencoder
from leadline.models.dropping import drop
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec
from leadline.models.spec import SD_LATENT_SCALE


class Codec(nn.Module):
    """Stable Diffusion's autoencoder as the papers use it: fixed latent scale, grey depth.

    Args:
        config: Config of the ``AutoencoderKL``, as published.
        latent_scale: Latents are the posterior mean times this.
        dropped: Residual blocks that are left out, by their names in the ``AutoencoderKL``.
        small_decoder: Shape and origin of a small decoder in the place of its own; empty for none.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        latent_scale: float = SD_LATENT_SCALE,
        dropped: Sequence[str] = (),
        small_decoder: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.vae = Autoencoder(config)
        self.latent_scale = latent_scale
        drop(self.vae, dropped)
        self.small_decoder: SmallDecoder | None = None
        if small_decoder:
            shape = dict(small_decoder)
            origin = shape.pop("codec", "")
            self.small_decoder = SmallDecoder(SmallDecoderSpec(**shape), origin)
            del self.vae.decoder
            self.vae.post_quant_conv = None

    @property
    def fingerprint(self) -> str:
        """A few hexadecimal digits that tell apart what latents mean, whatever precision codecs are stored in."""
        if self.small_decoder is not None:
            return self.small_decoder.codec
        weight = self.vae.decoder.conv_in.weight.detach().float().cpu()
        return hashlib.sha256(torch.round(weight * 256).to(torch.int16).numpy().tobytes()).hexdigest()[:16]

    @property
    def factor(self) -> int:
        """Pixels per latent cell along each side (8 for Stable Diffusion's)."""
        return int(2 ** (len(self.vae.config["block_out_channels"]) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of a latent (4 for Stable Diffusion's)."""
        return int(self.vae.config["latent_channels"])

    def encode(self, rgb: Tensor, noise: Tensor | None = None) -> Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] to latents (N, C, H / factor, W / factor), sides rounded down.

        Args:
            rgb: The pixels.
            noise: Standard normal noise of the latents' shape to draw them from the posterior; None takes its mean.
        """
        mean, log_variance = torch.chunk(self.moments(rgb), 2, dim=1)
        if noise is not None:
            mean = mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * noise
        return mean * self.latent_scale

    def moments(self, rgb: Tensor) -> Tensor:
        """Mean and logarithm of the variance of the posterior, (N, 2 C, h, w), not scaled."""
        moments: Tensor = self.vae.encoder(rgb)
        return moments if self.vae.quant_conv is None else self.vae.quant_conv(moments)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) to one float32 map (N, 1, h * factor, w * factor): the mean of the three channels.

        The mean is folded into the last convolution (mean of its filters), which runs in float32 so that
        half-precision networks still give smooth maps.
        """
        if self.small_decoder is not None:
            return self.small_decoder.decode(latents)
        head = self.vae.decoder.conv_out
        features = self._decoder_features(latents).float()
        assert head.bias is not None
        weight, bias = (part.float().mean(0, keepdim=True) for part in (head.weight, head.bias))
        return functional.conv2d(features, weight, bias, padding=1)

    def decode_rgb(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) to float32 pixels (N, 3, h * factor, w * factor), about [-1, 1].

        A small decoder gives one grey map, three times.
        """
        if self.small_decoder is not None:
            return self.small_decoder.decode(latents).expand(-1, 3, -1, -1)
        head = self.vae.decoder.conv_out
        features = self._decoder_features(latents).float()
        assert head.bias is not None
        return functional.conv2d(features, head.weight.float(), head.bias.float(), padding=1)

    def _decoder_features(self, latents: Tensor) -> Tensor:
        x = latents / self.latent_scale
        if self.vae.post_quant_conv is not None:
            x = self.vae.post_quant_conv(x)
        return self.vae.decoder.features(x)
