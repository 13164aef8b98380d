"""Published files, tensor by tensor: names and shapes of full-size networks against the sizes of the files on the hub.

A safetensors file is a header with every tensor's name, shape and place, and the numbers: its size to the byte says whether all
names and shapes are the ones that we expect. (Sizes: hub pages of stable-diffusion-2-1, sd-vae-ft-mse, Marigold, Lotus.)
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping

import pytest
import torch
from places import GOLDEN
from safetensors.torch import save

from leadline.benchmarking.reference import OFFICIAL_CODEC, official_spec
from leadline.checkpoints.bundle import build_empty
from leadline.checkpoints.prompt import empty_prompt
from leadline.checkpoints.vae_names import modern_names
from leadline.depth.spaces import Space
from leadline.models.spec import ModelSpec

UNET = official_spec("fiffdepth").unet


def header(tensors: Mapping[str, torch.Tensor], word: str = "F32", width: int = 4) -> tuple[bytes, int]:
    """The header of the safetensors file that diffusers writes for these tensors, and the bytes behind it."""
    entries: dict = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in sorted(tensors):
        size = width * tensors[name].numel()
        entries[name] = {"dtype": word, "shape": list(tensors[name].shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return struct.pack("<Q", len(text)) + text, place


def file_size(tensors: Mapping[str, torch.Tensor], word: str = "F32", width: int = 4) -> int:
    """Bytes of that file."""
    before, data = header(tensors, word, width)
    return len(before) + data


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


#: Stable Diffusion 2.1's text encoder: 23 of the 24 layers of OpenCLIP's ViT-H.
TEXT_ENCODER = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "vocab_size": 49408, "hidden_size": 1024,
    "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16, "max_position_embeddings": 77,
    "hidden_act": "gelu", "layer_norm_eps": 1e-5, "projection_dim": 512, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip


def text_encoder() -> dict[str, torch.Tensor]:
    """Its tensors under their published names, without numbers."""
    layer = {"layer_norm1": (1024,), "layer_norm2": (1024,), "mlp.fc1": (4096, 1024), "mlp.fc2": (1024, 4096)}
    layer |= {f"self_attn.{part}_proj": (1024, 1024) for part in "qkv"} | {"self_attn.out_proj": (1024, 1024)}
    shapes = {"embeddings.token_embedding.weight": (49408, 1024), "embeddings.position_embedding.weight": (77, 1024)}
    for name, shape in [
        *((f"encoder.layers.{index}.{part}", shape) for index in range(23) for part, shape in layer.items()),
        ("final_layer_norm", (1024,)),
    ]:
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {f"text_model.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()}


def test_text_encoder():
    """Its file has the published size to the byte, and the class that reads it wants these tensors and no others."""
    transformers = pytest.importorskip("transformers")
    published = text_encoder()
    assert len(published) == 372
    assert file_size(published) == 1_361_596_304
    with torch.device("meta"):
        wanted = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT_ENCODER)).state_dict()
    shapes = {f"text_model.{name.removeprefix('text_model.')}": tensor.shape for name, tensor in wanted.items()}
    assert shapes == {name: tensor.shape for name, tensor in published.items()}


@pytest.mark.slow
def test_text_encoder_of_full_size_loads_whole(tmp_path):
    """Zeros in a file with holes: it takes 45 KB on the disk."""
    pytest.importorskip("transformers")
    tensors = {**text_encoder(), "text_model.embeddings.position_ids": torch.empty(1, 77, device="meta")}
    before, data = header(tensors)
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(before)
        file.truncate(len(before) + data)
    (folder / "config.json").write_text(json.dumps(TEXT_ENCODER))
    shutil.copytree(GOLDEN / "fiffdepth" / "tokenizer", tmp_path / "tokenizer")
    prompt = empty_prompt(tmp_path)
    assert prompt.shape == (1, 2, 1024)
    assert not prompt.any()
