"""The small decoder: its file, its codec, its place in the estimator, its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_bundle

from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.checkpoints.native import load_model
from leadline.checkpoints.small_codecs import (
    MINI_DECODER,
    load_small_decoder,
    save_small_decoder,
    small_decoder_for,
)
from leadline.errors import CheckpointError
from leadline.inference.estimator import DepthEstimator, load
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec
from leadline.training.run import run

DEMO = Path(__file__).parents[2] / "assets" / "demo"


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_cell_becomes_factor_pixels(factor: int) -> None:
    decoder = SmallDecoder(SmallDecoderSpec(4, factor, width=16, blocks=1))
    assert decoder.decode(torch.zeros(2, 4, 3, 5)).shape == (2, 1, 3 * factor, 5 * factor)


def test_half_precision_gives_float32_maps() -> None:
    decoder = SmallDecoder(SmallDecoderSpec(4, width=16, blocks=1)).bfloat16()
    assert decoder.decode(torch.zeros(1, 4, 3, 5).bfloat16()).dtype == torch.float32


def test_a_file_comes_back(tmp_path: Path) -> None:
    decoder = SmallDecoder(SmallDecoderSpec(4, width=16, blocks=1), codec="abc")
    save_small_decoder(decoder, tmp_path / "d.safetensors", torch.float32)
    loaded = load_small_decoder(tmp_path / "d.safetensors")
    latents = torch.randn(1, 4, 3, 5)
    assert loaded.spec == decoder.spec
    assert loaded.codec == "abc"
    assert torch.equal(loaded.decode(latents), decoder.decode(latents))


def test_what_is_no_small_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_small_decoder(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="holds no small decoder"):
        load_small_decoder(MINI_FOLDER / "mini-codec.safetensors")
    (tmp_path / "rubbish.safetensors").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_small_decoder(tmp_path / "rubbish.safetensors")


def test_another_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is for the mini models"):
        DepthEstimator(tiny_bundle("fiffdepth"), decoder="small")
    save_small_decoder(SmallDecoder(SmallDecoderSpec(4), codec="another"), tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="another codec"):
        small_decoder_for(tiny_bundle("fiffdepth").codec, tmp_path / "d.safetensors")


def test_fingerprints_survive_half_precision() -> None:
    codec = tiny_bundle("fiffdepth").codec
    fingerprint = codec.fingerprint
    assert codec.half().float().fingerprint in {fingerprint, codec.half().fingerprint}
    assert tiny_bundle("fiffdepth", seed=1).codec.fingerprint != fingerprint


@pytest.mark.parametrize("name", ["depthfm-mini", "depthmaster-mini", "fiffdepth-mini"])
def test_the_shipped_one_is_close_to_the_full_decoder(name: str) -> None:
    """On a photograph: a twentieth of the map's range on average, at most."""
    rgb = DEMO / "living_room.jpg"
    full = load(name).predict(rgb)
    small = load(name, decoder="small").predict(rgb)
    assert small.meta["decoder"] == "small"
    assert small.meta["weights"] != full.meta["weights"]
    difference = np.abs(small.values - full.values).mean()
    assert 0 < difference < 0.05 * np.ptp(full.values)


def test_the_shipped_one_is_small_and_of_the_shipped_codec() -> None:
    assert MINI_DECODER.stat().st_size < 1e6
    codec = load_model(MINI_FOLDER / "fiffdepth-mini.safetensors").codec
    assert small_decoder_for(codec).codec == codec.fingerprint


def test_distillation_lowers_its_loss(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    y, x = np.mgrid[:32, :32].astype(np.float32)
    depth_m = np.stack([2.0 + y / 8, 3.0 + x / 8])
    rgb = np.zeros((2, 32, 32, 3), np.uint8)
    np.savez(shards / "a.npz", rgb=rgb, depth_m=depth_m, valid=np.ones(depth_m.shape, dtype=bool))
    config = {
        "recipe": "small-decoder",
        "codec": str(MINI_FOLDER / "fiffdepth-mini.safetensors"),
        "loss": {"width": 16, "blocks": 1},
        "data": {"sets": [{"kind": "rendered", "root": str(shards)}], "target": ["log_depth"], "sizes": [[32, 32]]},
        "trainer": {"steps": 40, "batch_size": 4, "lr": 5e-3, "warmup": 5, "save_every": 0, "log_every": 5},
    }
    lines: list[str] = []
    run(config, tmp_path / "out", lines.append)
    losses = [float(line.split("l1 ")[1].split()[0]) for line in lines if "l1" in line]
    assert min(losses[-3:]) < 0.7 * losses[0]
    decoder = load_small_decoder(tmp_path / "out" / "small-decoder.safetensors")
    assert decoder.spec.width == 16
