"""Each recipe on pictures in the published layouts: every term of its loss counts, and falls in a short training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from leadline.errors import InputError
from leadline.models import Codec
from leadline.training.autoencoder import save_codec_file
from leadline.training.build import build_recipe, build_source, codec_config
from leadline.training.run import run
from leadline.training.trainer import TrainerConfig, train

UNET: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": [16, 24], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 8, "use_linear_projection": True,
}  # fmt: skip


def rgb_and_depth(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A slope with a box before it; brightness says depth, so that it can be learnt."""
    rng = np.random.default_rng(seed)
    y = np.mgrid[:height, :width][0]
    depth_m = 4.0 + 6.0 * (1 - y / height) + rng.uniform(0, 2)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    depth_m[top : top + height // 3, left : left + width // 3] = 3.0
    rgb = np.repeat((depth_m * 18)[..., None], 3, axis=-1) + rng.normal(0, 2, (height, width, 3))
    return rgb.clip(0, 255).astype(np.uint8), depth_m.astype(np.float32)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Hypersim and Virtual KITTI 2 as published, pictures without depth, and a tiny codec."""
    h5py = pytest.importorskip("h5py")
    for number in range(3):
        rgb, depth_m = rgb_and_depth(number, 48, 64)
        images = tmp_path / "hypersim" / "ai_001_001" / "images"
        for folder in ("scene_cam_00_final_preview", "scene_cam_00_geometry_hdf5"):
            (images / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(images / "scene_cam_00_final_preview" / f"frame.{number:04d}.tonemap.jpg")
        with h5py.File(images / "scene_cam_00_geometry_hdf5" / f"frame.{number:04d}.depth_meters.hdf5", "w") as file:
            file["dataset"] = depth_m
        rgb, depth_m = rgb_and_depth(10 + number, 48, 96)
        frames = tmp_path / "vkitti2" / "Scene02" / "clone" / "frames"
        for kind in ("rgb", "depth"):
            (frames / kind / "Camera_0").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(frames / "rgb" / "Camera_0" / f"rgb_{number:05d}.jpg")
        cv2.imwrite(str(frames / "depth" / "Camera_0" / f"depth_{number:05d}.png"), (100 * depth_m).astype(np.uint16))
        (tmp_path / "plain").mkdir(exist_ok=True)
        Image.fromarray(rgb_and_depth(20 + number, 48, 64)[0]).save(tmp_path / "plain" / f"{number}.png")
    torch.manual_seed(0)
    save_codec_file(Codec(codec_config([8, 8, 8], 4, 4), 1.0), tmp_path / "codec.safetensors")
    sets = [
        {"kind": "hypersim", "root": str(tmp_path / "hypersim"), "weight": 0.9, "sizes": [[32, 48]]},
        {"kind": "vkitti2", "root": str(tmp_path / "vkitti2"), "weight": 0.1, "sizes": [[32, 64]]},
    ]
    augmentation = {"min_scale": 1.0, "colour": 0.0, "flip": False}
    return {
        "codec": str(tmp_path / "codec.safetensors"), "model": {"unet": UNET, "default_size": 48},
        "data": {"sets": sets, "augmentation": augmentation}, "trainer": {"steps": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "more", "terms"),
    [
        ("depthmaster-stage1", {"encoder": "codec"}, {"latent", "alignment"}),
        ("depthmaster-stage2", {"loss": {"weight_gradient": 0.5}}, {"pixel", "gradient"}),
        ("depthfm", {"teacher": True}, {"flow", "pseudo"}),
        ("fiffdepth", {"teacher": True}, {"depth", "keep", "teacher"}),
        ("completion", {"sparse": 0.02}, {"flow"}),
    ],
)
def test_every_term_counts_and_falls(
    recipe: str, more: dict[str, Any], terms: set[str], config: dict[str, Any], tmp_path: Path
) -> None:
    config = {**config, "recipe": recipe, **more}
    if sparse := config.pop("sparse", None):
        sets = [{key: config["data"]["sets"][0][key] for key in ("kind", "root")}]
        data = {**config["data"], "sets": sets, "sizes": [[32, 48]], "sparse": sparse, "views": 2, "bf16": False}
        run({"recipe": "latents", "codec": config["codec"], "data": data}, tmp_path / "latents", lambda line: None)
        config["data"] = {"latents": str(tmp_path / "latents")}
    if config.get("teacher"):
        taught = build_recipe({**config, "teacher": None})
        taught.export(tmp_path / "teacher")
        config["teacher"] = str(tmp_path / "teacher" / "model.safetensors")
        config["data"]["unlabelled"] = str(tmp_path / "plain")
        torch.manual_seed(5)
        config["trainer"] = {"steps": 1, "seed": 5}  # the student begins elsewhere than its teacher
    trained, source = build_recipe(config), build_source(config)
    batches = [source.sample(torch.Generator().manual_seed(seed), 4) for seed in range(3)]

    def measured() -> dict[str, float]:
        with torch.no_grad():
            each = [trained(batch, torch.Generator().manual_seed(1)) for batch in batches]
        return {name: float(np.mean([losses[name] for losses in each])) for name in each[0]}

    before = measured()
    settings = TrainerConfig(steps=60, batch_size=4, lr=3e-3, warmup=5, save_every=0, log_every=0, decay="constant")
    train(trained, source, settings, tmp_path / "run", lambda line: None)
    after = measured()
    assert set(before) == terms | {"loss"}
    for name in terms:
        assert before[name] > 0
        assert after[name] < 0.97 * before[name], name


@pytest.mark.parametrize(
    ("recipe", "said"), [("fiffdepth", "step at t = -1 is left out"), ("depthmaster-stage1", "alignment is left out")]
)
def test_a_term_without_anything_to_learn_from_is_said(
    recipe: str, said: str, config: dict[str, Any], tmp_path: Path
) -> None:
    lines: list[str] = []
    config["trainer"] = {"steps": 1, "batch_size": 1, "trackers": []}
    run({**config, "recipe": recipe}, tmp_path / "out", lines.append)
    assert said in lines[0]


def test_a_weight_without_its_term_is_an_error(config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="needs an encoder"):
        build_recipe({**config, "recipe": "depthmaster-stage1", "loss": {"weight_fa": 1.0}})
    assert not build_recipe({**config, "recipe": "depthmaster-stage1", "loss": {"weight_fa": 0}}).encoder
