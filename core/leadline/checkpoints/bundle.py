"""ModelBundle: a model and its codec, ready to run. What every checkpoint format loads into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leadline.errors import CheckpointError
from leadline.models import Codec, DepthModel, ModelSpec


@dataclass
class ModelBundle:
    """A depth model, the codec it was trained with, and a digest of their weights ("" if not computed)."""

    model: DepthModel
    codec: Codec
    weights_hash: str = ""

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self.model.spec


def build(spec: ModelSpec, prompt: Tensor) -> ModelBundle:
    """A bundle with freshly initialised weights, in eval mode."""
    model = DepthModel(spec, prompt)
    codec = Codec(spec.codec, spec.latent_scale, spec.dropped_in("codec"), spec.small_decoder)
    return ModelBundle(model.eval().requires_grad_(False), codec.eval().requires_grad_(False))


def build_empty(spec: ModelSpec, prompt: Tensor) -> ModelBundle:
    """Like :func:`build`, with weights on the meta device: for filling with :func:`fill`, without initialising twice."""
    with torch.device("meta"):
        bundle = build(spec, prompt.to("meta"))
    bundle.model.register_buffer("prompt", prompt, persistent=False)
    return bundle


def fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Put ``tensors`` into ``module`` as float32; every name must be there and nothing else.

    float32 tensors become the parameters themselves: those of a mapped file cost memory only as they are used, and processes
    that load the same file share it.

    Raises:
        CheckpointError: Names or shapes differ: the file is damaged or belongs to another model.
    """
    expected = module.state_dict()
    missing = sorted(set(expected) - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    if missing or surplus:
        example = (missing or surplus)[0]
        raise CheckpointError(
            f"the {what} does not fit: {len(missing)} tensors missing, {len(surplus)} unexpected (for example "
            f"{example}); is this the checkpoint of another model?"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"the {what} does not fit: {name} is {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            )
    module.load_state_dict({name: tensor.to(torch.float32) for name, tensor in tensors.items()}, assign=True)
