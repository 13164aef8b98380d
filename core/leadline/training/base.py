"""What the depth recipes share: latents of a batch, a network to start from, a model file to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leadline.checkpoints.bundle import ModelBundle, build_empty
from leadline.checkpoints.native import save_model
from leadline.errors import InputError
from leadline.models import Codec, DepthModel, ModelSpec
from leadline.models.layers import Doubling, Halving, ResidualBlock, Transformer
from leadline.models.small_decoder import SmallDecoder
from leadline.training.aligned import AlignedError
from leadline.training.growth import given_name, pass_on
from leadline.training.lora import add_adapters, merged
from leadline.training.normalisation import latent_mask
from leadline.training.sources import Batch
from leadline.training.trainer import Recipe

MODEL_FILE = "model.safetensors"
#: What FSDP shares out one by one.
LAYERS = (ResidualBlock, Transformer, Halving, Doubling)


class DepthRecipe(Recipe):
    """Trains a :class:`~leadline.models.DepthModel` between the latents of pictures and of their depth.

    Batches are either cached latents (``image``, ``depth``, ``mask``) or pixels (``rgb``, ``target``, ``known``), which
    the frozen codec encodes.

    Args:
        bundle: The model to train and its codec.
    """

    def __init__(self, bundle: ModelBundle) -> None:
        super().__init__()
        self.model: DepthModel = bundle.model.requires_grad_(True)
        self.codec: Codec = bundle.codec.requires_grad_(False)
        self.aligned: AlignedError | None = None
        self.weight_aligned = 0.0

    def align_with(self, weight: float, reader: Codec | SmallDecoder | None = None) -> None:
        """Add the error that evaluation measures, on depth as ``reader`` (else the codec) shows it; not in the papers."""
        if weight < 0:
            raise InputError(f"weight_aligned is a weight from 0 on, not {weight}")
        self.weight_aligned = weight
        space = self.spec.space
        if weight > 0 and space is None:
            raise InputError("weight_aligned compares depth; this model gives surface normals")
        self.aligned = AlignedError(reader or self.codec, space) if weight > 0 and space is not None else None

    def with_aligned(
        self, losses: dict[str, Tensor], depth_latents: Tensor, batch: Batch, decoded: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``losses`` with the aligned error of ``depth_latents`` (``decoded``: their map by the codec), if asked for."""
        if self.aligned is None:
            return losses
        error = self.aligned(depth_latents, batch, decoded if self.aligned.reader is self.codec else None)
        return {**losses, "loss": losses["loss"] + self.weight_aligned * error, "abs_rel": error}

    def adapt(self, rank: int) -> None:
        """Train adapters of ``rank`` beside the network's layers instead of the network (:mod:`leadline.training.lora`)."""
        add_adapters(self.model.unet, rank)

    def freeze(self, parts: Iterable[str]) -> None:
        """Leave parts of the network as they are, such as "down_blocks" or "up_blocks.0".

        Raises:
            InputError: The network has no such part, or nothing is left to train.
        """
        named = {name.removeprefix("net."): p for name, p in self.model.unet.named_parameters()}
        for part in parts:
            inside = [p for name, p in named.items() if name.startswith(f"{part}.")]
            if not inside:
                known = sorted({name.split(".")[0] for name in named})
                raise InputError(f"model.frozen: the network has no part '{part}'; its parts are {', '.join(known)}")
            for parameter in inside:
                parameter.requires_grad_(False)
        if not any(p.requires_grad for p in self.parameters()):
            raise InputError("model.frozen leaves nothing to train; name fewer parts")

    def recompute_layers(self) -> None:
        """Gradient checkpointing of the network."""
        self.model.unet.recompute_layers()

    def shared_layers(self) -> Sequence[nn.Module]:
        """The network's residual blocks, transformers and changes of size, which hold nearly all of its weights.

        Raises:
            InputError: It has adapters, which are small and whose merging needs whole weights.
        """
        if any(hasattr(layer, "get_base_layer") for layer in self.model.modules()):
            raise InputError("model.lora trains little enough for every process to keep it whole; launch without FSDP")
        return [layer for layer in self.model.unet.net.modules() if isinstance(layer, LAYERS)]

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self.model.spec

    @torch.no_grad()
    def latents(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Image latents, depth latents (N, C, h, w) and the mask of trusted cells (N, 1, h, w)."""
        if "image" in batch:
            return batch["image"], batch["depth"], batch["mask"]
        if "rgb" not in batch:
            raise InputError("a batch needs cached latents (image, depth, mask) or pixels (rgb, target, known)")
        depth = self.codec.encode(batch["target"].expand(-1, 3, -1, -1))
        return self.codec.encode(batch["rgb"]), depth, latent_mask(batch["known"], self.codec.factor)

    def preview(self, batch: Batch) -> dict[str, Tensor]:
        """Picture, predicted depth and true depth, side by side, of the first four of a batch."""
        image, depth, _ = (part[:4] for part in self.latents(batch))
        condition = batch["condition"][:4] if "condition" in batch else None
        noise = torch.zeros_like(image) if self.model.stochastic else None
        solved = self.model.solve(image, self.spec.default_steps, noise, condition)
        rgb = batch["rgb"][:4] if "rgb" in batch else self.codec.decode_rgb(image)
        rows = [rgb, *(self.codec.decode(z).expand(-1, 3, -1, -1) for z in (solved, depth))]
        return {"prediction": torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2) * 0.5 + 0.5}

    def export(self, folder: Path) -> None:
        """``model.safetensors`` in Leadline's own format, float32, codec inside."""
        save_model(self.bundle(), folder / MODEL_FILE, dtype=torch.float32)

    def bundle(self) -> ModelBundle:
        """An ordinary model with the present weights: the network, or a copy where adapters have to be merged, and the codec."""
        return ModelBundle(plain(merged(self.model)), self.codec)


def plain(model: DepthModel) -> DepthModel:
    """A model of the same weights, in the same memory, without FSDP's layers; itself if it has none."""
    if not any(hasattr(layer, "unshard") for layer in model.modules()):
        return model
    same = build_empty(model.spec, model.prompt).model
    same.load_state_dict({name: tensor.detach() for name, tensor in model.named_parameters()}, assign=True)
    return same


def warm_start(model: DepthModel, source: DepthModel) -> list[str]:
    """Give ``model`` the weights of ``source`` wherever names and shapes agree, widening the first convolution.

    The papers inflate the first convolution when latents are added to the input: the given filters are repeated over
    the new channels and divided by the number of repetitions, so that activations keep their size. Where ``model`` has
    more layers or attention than ``source``, the added ones pass on what they get: its output is that of ``source``.

    Returns:
        Names of tensors that keep their initial values.
    """
    own, given = model.unet.state_dict(), source.unet.state_dict()
    kept = []
    for name, tensor in own.items():
        origin = given_name(name, model.unet.net.config, source.unet.net.config)
        value = None if origin is None else given.get(origin)
        if value is not None and name == "net.conv_in.weight" and value.shape[1] != tensor.shape[1]:
            value = inflate(value, tensor.shape[1])
        if origin is None:
            pass_on(name, tensor)
        if value is None or value.shape != tensor.shape:
            kept.append(name)
        else:
            own[name] = value.clone()
    model.unet.load_state_dict(own)
    return kept


def inflate(weight: Tensor, channels: int) -> Tensor:
    """Filters (out, in, k, k) repeated to ``channels`` inputs and divided by the number of repetitions."""
    repeats = channels / weight.shape[1]
    if repeats != int(repeats):
        raise InputError(f"{weight.shape[1]} input channels cannot be repeated to {channels}; use a multiple")
    return weight.repeat(1, int(repeats), 1, 1) / repeats


def respec(bundle: ModelBundle, **changes: Any) -> ModelBundle:
    """The bundle with another description of the same network."""
    bundle.model.spec = replace(bundle.model.spec, **changes)
    return bundle
