"""The mini autoencoder's recipe: an AutoencoderKL for photographs and grey depth pictures alike."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from leadline.models import Codec
from leadline.training.losses import absolute_error, kl_to_standard_normal, squared_error
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe


class AutoencoderRecipe(Recipe):
    """Reconstruct pictures and depth through a small latent.

    L = L1 + gradient L1 + kl · KL + hint · (depth from the picture's latent). Without an adversary or a perceptual
    network, which both need a large pretrained or second network. The last term, a few dilated convolutions on top of
    the picture's latent that guess its depth and are thrown away afterwards, makes the latent keep what depth needs
    (shading, edges, texture) rather than what looks good; it replaces what a large autoencoder has by its size.

    Args:
        codec: The autoencoder to train, with ``latent_scale`` 1 until :meth:`measure_scale`.
        kl: Weight of the KL term.
        gradient: Weight of the gradient term.
        hint: Weight of the depth guess; 0 for none.
        hint_channels: Width of the guessing network.
    """

    def __init__(
        self, codec: Codec, kl: float = 1e-4, gradient: float = 1.0, hint: float = 0.3, hint_channels: int = 48
    ) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(True)
        self.kl, self.gradient, self.hint = kl, gradient, hint
        width = hint_channels
        self.guess = nn.Sequential(
            nn.Conv2d(codec.latent_channels, width, 3, padding=1),
            nn.SiLU(),
            *(
                layer
                for dilation in (1, 2, 4)
                for layer in (nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.SiLU())
            ),
            nn.Conv2d(width, 1, 1),
        )
        self.guess.requires_grad_(hint > 0)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        rgb, depth, known = batch["rgb"], batch["target"], batch["known"]
        half = len(rgb) // 2  # one half of the batch is reconstructed as pictures, the other as depth
        pictures = torch.cat([rgb[:half], depth[half:].expand(-1, 3, -1, -1)])
        mean, log_variance = self._moments(pictures)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        latents = mean + (0.5 * log_variance).exp() * noise
        rebuilt = self.codec.decode_rgb(latents * self.codec.latent_scale).float()
        flat = absolute_error(rebuilt, pictures)
        edges = sum(absolute_error(rebuilt.diff(dim=axis), pictures.diff(dim=axis)) for axis in (-2, -1))
        prior = kl_to_standard_normal(mean, log_variance)
        losses = {"l1": flat, "edges": torch.as_tensor(edges), "kl": prior}
        loss = flat + self.gradient * edges + self.kl * prior
        if self.hint > 0:
            guessed = self.guess(latents[:half])
            small = functional.adaptive_avg_pool2d(depth[:half], guessed.shape[-2:])
            trusted = functional.adaptive_avg_pool2d(known[:half].float(), guessed.shape[-2:]) > 0.99
            losses["hint"] = squared_error(guessed, small, trusted)
            loss = loss + self.hint * losses["hint"]
        return {"loss": loss, **losses}

    def _moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        vae = self.codec.vae
        moments = vae.encoder(pictures)
        if vae.quant_conv is not None:
            moments = vae.quant_conv(moments)
        mean, log_variance = moments.float().chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        pictures = torch.cat([batch["rgb"][:4], batch["target"][:4].expand(-1, 3, -1, -1)])
        rebuilt = self.codec.decode_rgb(self.codec.encode(pictures))
        rows = [torch.cat(list(row), dim=-1) for row in (pictures, rebuilt)]
        return {"reconstruction": torch.cat(rows, dim=-2) * 0.5 + 0.5}

    @torch.no_grad()
    def measure_scale(self, batches: list[Batch]) -> float:
        """1 / standard deviation of the latents of pictures and depth: the factor that makes them unit-sized."""
        latents = [
            self._moments(pictures)[0]
            for batch in batches
            for pictures in (batch["rgb"], batch["target"].expand(-1, 3, -1, -1))
        ]
        return 1.0 / float(torch.cat([part.flatten() for part in latents]).std())

    def export(self, folder: Path) -> None:
        """``codec.safetensors``: tensors by diffusers' names, config and latent scale in the header."""
        save_codec_file(self.codec, folder / "codec.safetensors")


def save_codec_file(codec: Codec, path: Path) -> None:
    """Write a codec with its config, in float32 (training form; the shipped form is made by ``checkpoints.native``)."""
    header = {"config": json.dumps(codec.vae.config), "latent_scale": repr(codec.latent_scale)}
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in codec.vae.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=header)


def is_codec_file(path: Path) -> bool:
    """Whether :func:`save_codec_file` wrote it."""
    if path.suffix != ".safetensors":
        return False
    with safe_open(path, framework="pt") as file:
        return "latent_scale" in (file.metadata() or {})


def load_codec_file(path: Path) -> Codec:
    """The inverse of :func:`save_codec_file`, frozen and in eval mode."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    codec = Codec(json.loads(header["config"]), float(header["latent_scale"]))
    codec.vae.load_state_dict(tensors)
    return codec.eval().requires_grad_(False)
