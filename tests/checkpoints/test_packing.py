"""Packed weights: the numbers come back, fewer bits are the nearest ones, damage and bombs are refused."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_bundle

from leadline.checkpoints import packing
from leadline.checkpoints.header import read_spec
from leadline.checkpoints.native import load_model, save_model, unet_state
from leadline.errors import CheckpointError


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "b": (0.05 * torch.randn(7, 3, 3, 3, generator=generator)).half(),
        "a": torch.tensor([0.0, -0.0, 6e-8, 65504.0, -1.0]).half(),
        "scalar": torch.tensor(2.5).half(),
    }


def test_what_was_packed_comes_back() -> None:
    packed, header = packing.pack(weights())
    back = packing.unpack(packed, header)
    assert sorted(back) == sorted(weights())
    for name, tensor in weights().items():
        assert torch.equal(back[name].view(torch.int16), tensor.view(torch.int16)), name


@pytest.mark.parametrize("bits", [10, 8, 7])
def test_fewer_bits_are_the_nearest_numbers_that_have_them(bits: int) -> None:
    tensor = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    rounded = packing.rounded(tensor, bits).double().numpy()
    half = tensor.half().double().numpy()
    mantissa, exponent = np.frexp(half)
    nearest = np.ldexp(np.round(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent)
    assert np.array_equal(rounded, nearest)


def test_what_rounding_would_make_infinite_is_refused() -> None:
    with pytest.raises(CheckpointError, match="too large"):
        packing.rounded(torch.tensor([65504.0]), 7)


def test_a_model_in_a_packed_file_is_the_rounded_model(tmp_path: Path) -> None:
    bundle = tiny_bundle("depthmaster")
    save_model(bundle, tmp_path / "plain.safetensors")
    save_model(bundle, tmp_path / "packed.safetensors", mantissa_bits=7)
    loaded = load_model(tmp_path / "packed.safetensors")
    for name, tensor in unet_state(bundle).items():
        assert torch.equal(unet_state(loaded)[name], packing.rounded(tensor, 7).float()), name
    assert torch.equal(loaded.model.prompt, packing.rounded(bundle.model.prompt, 7).float())
    assert read_spec(tmp_path / "packed.safetensors") == bundle.spec
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("packed", "plain")]
    assert sizes[0] < 0.8 * sizes[1]


def test_a_packed_model_still_shares_what_equals_its_base(tmp_path: Path) -> None:
    bundle = tiny_bundle("fiffdepth")
    save_model(bundle, tmp_path / "base.safetensors", mantissa_bits=7)
    save_model(bundle, tmp_path / "same.safetensors", base_file="base.safetensors", mantissa_bits=7)
    loaded = load_model(tmp_path / "same.safetensors")
    assert torch.equal(
        loaded.model.unet.net.conv_in.weight, packing.rounded(bundle.model.unet.net.conv_in.weight, 7).float()
    )
    assert (tmp_path / "same.safetensors").stat().st_size < 0.6 * (tmp_path / "base.safetensors").stat().st_size


def test_damaged_planes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "packed.safetensors"
    save_model(tiny_bundle("fiffdepth"), path, mantissa_bits=7)
    parts = load_file(path)
    parts["packed.low"] = parts["packed.low"][:-9].clone()
    with pytest.raises(CheckpointError, match="damaged"):
        packing.unpack(parts, json.dumps({"a": [4]}))
    del parts["packed.low"]
    with pytest.raises(CheckpointError, match="damaged"):
        packing.unpack(parts, json.dumps({"a": [4]}))


def test_planes_that_would_inflate_without_end_are_refused(tmp_path: Path) -> None:
    bomb = torch.frombuffer(bytearray(zlib.compress(bytes(50_000_000))), dtype=torch.uint8)
    save_file({"packed.low": bomb, "packed.high": bomb.clone()}, tmp_path / "bomb.safetensors")
    with pytest.raises(CheckpointError, match="5 bytes where 4 belong"):
        packing.unpack(load_file(tmp_path / "bomb.safetensors"), json.dumps({"a": [4]}))
