"""Published files, tensor by tensor: names and shapes of full-size networks against the sizes of the files on the hub.

A safetensors file is a header with every tensor's name, shape and place, and the numbers: its size to the byte says whether all
names and shapes are the ones that we expect. (Sizes: hub pages of stable-diffusion-2-1, sd-vae-ft-mse, Marigold, Lotus.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import torch
from safetensors.torch import save

from leadline.benchmarking.reference import OFFICIAL_CODEC, official_spec
from leadline.checkpoints.bundle import build_empty
from leadline.checkpoints.vae_names import modern_names
from leadline.depth.spaces import Space
from leadline.models.spec import ModelSpec

UNET = official_spec("fiffdepth").unet


def file_size(tensors: Mapping[str, torch.Tensor], word: str = "F32", width: int = 4) -> int:
    """Bytes of the safetensors file that diffusers writes for these tensors."""
    header: dict = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in sorted(tensors):
        size = width * tensors[name].numel()
        header[name] = {"dtype": word, "shape": list(tensors[name].shape), "data_offsets": [place, place + size]}
        place += size
    text = len(json.dumps(header, separators=(",", ":")).encode())
    return 8 + -(-text // 8) * 8 + place


def network(family: str, **changes) -> dict[str, torch.Tensor]:
    spec = ModelSpec(family, Space.DEPTH, {**UNET, **changes}, OFFICIAL_CODEC, schedule={"kind": "ddim"})
    return build_empty(spec, torch.zeros(1, 2, 1024)).model.unet.net.state_dict()


def test_file_size_is_safetensors_own():
    tensors = {"b.weight": torch.zeros(3, 5), "a.bias": torch.zeros(7)}
    assert file_size(tensors) == len(save(tensors, metadata={"format": "pt"}))


@pytest.mark.parametrize(
    ("family", "changes", "count", "published"),
    [
        ("genpercept", {}, 686, 3_463_726_504),
        ("marigold", {"in_channels": 8}, 686, 3_463_772_592),
        ("lotus-d", {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 4}, 690, 3_470_311_272),
        (
            "lotus-g",
            {"in_channels": 8, "class_embed_type": "projection", "projection_class_embeddings_input_dim": 4},
            690,
            3_470_357_352,
        ),
    ],
)
def test_networks(family, changes, count, published):
    tensors = network(family, **changes)
    assert len(tensors) == count
    assert file_size(tensors) == published


OLDER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.mark.parametrize(
    ("dimensions", "whole", "half"),
    [(None, 334_643_268, 167_335_342), (2, 334_643_276, 167_335_350), (4, 334_643_308, None)],
)
def test_vaes(dimensions, whole, half):
    """Current names, older names, and older names with weights as 1×1 convolutions: each becomes exactly ours."""
    spec = ModelSpec("fiffdepth", Space.DEPTH, UNET, OFFICIAL_CODEC)
    ours = build_empty(spec, torch.zeros(1, 2, 1024)).codec.vae.state_dict()
    stored = {}
    for name, tensor in ours.items():
        found = next((new for new in OLDER if f".attentions.0.{new}." in name), None)
        if dimensions is None or found is None:
            stored[name] = tensor
        else:
            fourth = dimensions == 4 and tensor.ndim == 2
            stored[name.replace(found, OLDER[found])] = tensor[:, :, None, None] if fourth else tensor
    assert len(stored) == 248
    assert file_size(stored) == whole
    if half is not None:
        assert file_size(stored, "F16", 2) == half
    loaded = modern_names(stored)
    assert {name: tensor.shape for name, tensor in loaded.items()} == {name: t.shape for name, t in ours.items()}
