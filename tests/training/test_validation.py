"""Validation while a training runs: the numbers of ``leadline eval``, a history, the best weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leadline.checkpoints.native import load_model
from leadline.errors import InputError
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.protocols import get_protocol
from leadline.evaluation.runner import Entry, Sampling
from leadline.evaluation.runner import run as evaluate
from leadline.inference.estimator import DepthEstimator
from leadline.models import Codec
from leadline.training.autoencoder import save_codec_file
from leadline.training.build import codec_config
from leadline.training.check import check
from leadline.training.run import run
from leadline.training.trainer import CHECKPOINT_NAME

UNET: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": [16, 24], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 8, "use_linear_projection": True,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for folder in ("train/rgb", "train/depth", "held_out"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(4):
        depth_m = (2 + 4 * rng.random((32, 48))).astype(np.float32)
        rgb = Image.fromarray(np.repeat((depth_m * 40)[..., None], 3, axis=-1).astype(np.uint8))
        held_out = tmp_path / "held_out"
        picture, depth = (
            (tmp_path / "train" / "rgb" / f"{number}.png", tmp_path / "train" / "depth" / f"{number}.npy")
            if number < 2 else (held_out / f"{number}.png", held_out / f"{number}.depth.npy")
        )  # fmt: skip
        rgb.save(picture)
        np.save(depth, depth_m)
    torch.manual_seed(0)
    save_codec_file(Codec(codec_config([8, 8, 8], 4, 4), 1.0), tmp_path / "codec.safetensors")
    sets = [{"kind": "pairs", "root": str(tmp_path / "train")}]
    return {
        "recipe": "fiffdepth", "codec": str(tmp_path / "codec.safetensors"),
        "model": {"unet": UNET, "default_size": 48, "space": "depth"}, "data": {"sets": sets, "sizes": [[32, 48]]},
        "trainer": {"steps": 4, "batch_size": 2, "lr": 1e-2, "warmup": 0, "ema": 0.5, "export": "best", "log_every": 0},
        "validation": {"dataset": "pairs", "root": str(tmp_path / "held_out"), "protocol": "fiffdepth", "every": 2},
    }  # fmt: skip


def test_its_numbers_are_those_of_the_evaluation(config: dict[str, Any], tmp_path: Path) -> None:
    lines: list[str] = []
    run(config, tmp_path / "run", lines.append)
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [one["step"] for one in history] == [2, 4]
    assert any("abs_rel" in line for line in lines)
    best = min(history, key=lambda one: one["abs_rel"])
    model = DepthEstimator(load_model(tmp_path / "run" / "model.safetensors"))
    frames = open_dataset("pairs", tmp_path / "held_out")
    summary = evaluate([Entry("it", model)], frames, get_protocol("fiffdepth"), Sampling(), tmp_path / "eval")
    assert summary["models"]["it"]["means"]["abs_rel"] == pytest.approx(best["abs_rel"], rel=1e-5)


def test_looking_changes_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    run(config, tmp_path / "watched", lambda line: None)
    blind = {**config, "validation": None, "trainer": {**config["trainer"], "export": "last"}}
    run(blind, tmp_path / "blind", lambda line: None)
    left, right = (
        torch.load(tmp_path / name / CHECKPOINT_NAME, weights_only=True)["parameters"] for name in ("watched", "blind")
    )
    assert all(torch.equal(left[name], right[name]) for name in right)


def test_what_cannot_be_validated_is_said_before_the_training(config: dict[str, Any], tmp_path: Path) -> None:
    assert any(line.startswith("validation: 2 frames of") for line in check(config).lines)
    with pytest.raises(InputError, match="add a validation section"):
        run({**config, "validation": None}, tmp_path / "run")
    with pytest.raises(InputError, match=r"validation\.root is missing"):
        run({**config, "validation": {"every": 5}}, tmp_path / "run")
    with pytest.raises(InputError, match="completion does not give"):
        run({**config, "recipe": "completion"}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
