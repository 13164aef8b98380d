"""The small encoder: its shape, its file, its codec, its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_bundle

from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.checkpoints.native import save_model
from leadline.checkpoints.small_codecs import load_small_encoder, save_small_encoder, small_encoder_for
from leadline.errors import CheckpointError
from leadline.inference.estimator import DepthEstimator
from leadline.inference.framing import frame_padded
from leadline.models.small_encoder import SmallEncoder, SmallEncoderSpec
from leadline.training.run import run


@pytest.mark.parametrize("factor", [4, 8, 16])
def test_factor_pixels_become_a_cell_and_odd_sides_are_rounded_down(factor: int) -> None:
    encoder = SmallEncoder(SmallEncoderSpec(4, factor, width=16, fine_width=8, blocks=1))
    assert encoder.encode(torch.zeros(2, 3, 3 * factor, 5 * factor + 3)).shape == (2, 4, 3, 5)


def test_a_file_comes_back(tmp_path: Path) -> None:
    encoder = SmallEncoder(SmallEncoderSpec(4, width=16, fine_width=8, blocks=1), codec="abc")
    save_small_encoder(encoder, tmp_path / "e.safetensors", torch.float32)
    loaded = load_small_encoder(tmp_path / "e.safetensors")
    pixels = torch.randn(1, 3, 16, 24)
    assert loaded.spec == encoder.spec
    assert loaded.codec == "abc"
    assert torch.equal(loaded.encode(pixels), encoder.encode(pixels))


def test_what_is_no_small_encoder_or_of_another_codec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no small encoder"):
        load_small_encoder(MINI_FOLDER / "mini-small-decoder.safetensors")
    save_small_encoder(SmallEncoder(SmallEncoderSpec(4), codec="another"), tmp_path / "e.safetensors")
    with pytest.raises(CheckpointError, match="another codec"):
        small_encoder_for(tiny_bundle("fiffdepth").codec, tmp_path / "e.safetensors")


@pytest.mark.parametrize("recipe", ["small-encoder", "small-decoder"])
def test_distillation_through_models_lowers_its_loss(tmp_path: Path, recipe: str) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    y, x = np.mgrid[:32, :32].astype(np.float32)
    depth_m = np.stack([2.0 + y / 8, 3.0 + x / 8])
    rgb = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    np.savez(shards / "a.npz", rgb=rgb, depth_m=depth_m, valid=np.ones(depth_m.shape, dtype=bool))
    models = [tmp_path / f"{family}.safetensors" for family in ("fiffdepth", "depthfm")]
    for path in models:
        save_model(tiny_bundle(path.stem), path)
    config = {
        "recipe": recipe,
        "codec": str(models[0]),
        "through": [str(path) for path in models],
        "loss": {"width": 16, "blocks": 1, "fine_blocks": 1},
        "data": {"sets": [{"kind": "rendered", "root": str(shards)}], "target": ["log_depth"], "sizes": [[32, 32]]},
        "trainer": {"steps": 40, "batch_size": 2, "lr": 5e-3, "warmup": 3, "save_every": 0, "log_every": 1},
    }
    lines: list[str] = []
    run(config, tmp_path / "out", lines.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines if "loss " in line]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])  # every step sees other crops
    assert (tmp_path / "out" / f"{recipe}.safetensors").exists()


def test_the_estimator_encodes_with_it_and_says_so(tmp_path: Path, photo: np.ndarray) -> None:
    bundle = tiny_bundle("fiffdepth")
    encoder = SmallEncoder(
        SmallEncoderSpec(bundle.codec.latent_channels, bundle.codec.factor, 16, 8, 1), bundle.codec.fingerprint
    )
    save_small_encoder(encoder, tmp_path / "e.safetensors", torch.float32)
    full = DepthEstimator(bundle, precision="fp32").predict(photo, size=64)
    estimator = DepthEstimator(bundle, precision="fp32", encoder=tmp_path / "e.safetensors")
    small = estimator.predict(photo, size=64)
    assert (full.meta["encoder"], small.meta["encoder"]) == ("full", "small")
    assert small.meta["weights"] != full.meta["weights"]
    assert np.abs(small.values - full.values).max() > 1e-3
    replica = estimator._replicas[0]
    with torch.inference_mode():
        pixels = frame_padded(photo, 64, bundle.spec.pad_multiple).pixels[None].float() / 127.5 - 1.0
        expected = replica.model.finish(replica.codec.decode(replica.model.solve(encoder.encode(pixels))))
    rows, columns = 41, 64  # 45×70 at long edge 64, without padding
    np.testing.assert_allclose(
        estimator.predict(photo, size=64, out=None).values.mean(),
        expected[..., :rows, :columns].mean().item(),
        atol=2e-2,
    )
