"""`leadline train check`: counts, batches, memory and time, and every deviation by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from program import leadline

from leadline.errors import InputError
from leadline.training.check import check, cost_of
from leadline.training.config import load_config, set_key
from leadline.training.datasets import VKITTI2_CONDITIONS, RgbdSample
from leadline.training.quantiles import depth_range_of

CONFIGS = Path(__file__).parents[2] / "config" / "train"
UNET: dict[str, Any] = {
    "block_out_channels": [16, 16], "down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2,
    "layers_per_block": 1, "cross_attention_dim": 8, "norm_num_groups": 8, "attention_head_dim": 2,
}  # fmt: skip
#: Frames of the four scenes; six conditions, two cameras each: 20 148.
VKITTI2_FRAMES = {"Scene02": 233, "Scene06": 270, "Scene18": 339, "Scene20": 837}


def hypersim_tree(root: Path, count: int) -> Path:
    """Empty files in the published layout, and their list without an end of its last line."""
    lines = []
    for number in range(count):
        scene, camera, frame = f"ai_{number // 1000 + 1:03d}_{number // 100 % 10 + 1:03d}", "cam_00", number % 100
        images = root / scene / "images"
        if frame == 0:
            for folder in (f"scene_{camera}_final_preview", f"scene_{camera}_geometry_hdf5"):
                (images / folder).mkdir(parents=True)
        (images / f"scene_{camera}_final_preview" / f"frame.{frame:04d}.tonemap.jpg").touch()
        (images / f"scene_{camera}_geometry_hdf5" / f"frame.{frame:04d}.depth_meters.hdf5").touch()
        lines.append(f"{scene}/rgb_{camera}_fr{frame:04d}.png {scene}/depth_plane_{camera}_fr{frame:04d}.png")
    path = root / "filename_list_train_filtered.txt"
    path.write_text("\n".join(lines))
    return path


def vkitti2_tree(root: Path, frames: dict[str, int]) -> None:
    for scene, count in frames.items():
        for condition in (*VKITTI2_CONDITIONS, "fog"):
            for kind, name in (("rgb", "rgb_{:05d}.jpg"), ("depth", "depth_{:05d}.png")):
                for camera in ("Camera_0", "Camera_1"):
                    folder = root / scene / condition / "frames" / kind / camera
                    folder.mkdir(parents=True)
                    for number in range(count if condition != "fog" else 1):
                        (folder / name.format(number)).touch()


def official(name: str, root: Path, listed: Path) -> dict[str, Any]:
    config = load_config(CONFIGS / f"{name}.yaml")
    hypersim, vkitti2 = config["data"]["sets"]
    hypersim |= {"root": str(root / "hypersim"), "list_file": str(listed)}
    vkitti2["root"] = str(root / "vkitti2")
    return config


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    vkitti2_tree(tmp_path / "vkitti2", {"Scene02": 2})
    return official("depthmaster-stage1", tmp_path, hypersim_tree(tmp_path / "hypersim", 5))


def test_counts_batches_and_deviations_are_said(small: dict[str, Any]) -> None:
    found = check(small, processes=8)
    assert found.counts == [5, 24]
    text = "\n".join(found.lines)
    assert "global batch: 32 = 2 x 16, 2 part(s) a process and step with 8 process(es)" in text
    assert "samples seen: 640 000 in 20 000 steps" in text
    assert "13.9 GB of weights, gradients, optimiser and averages, 1.7 GB with FSDP (866 M numbers)" in text
    assert any("hypersim has 5 pictures, the paper 53884" in line for line in found.deviations)
    assert any("clipped" in line for line in found.deviations)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("trainer.accumulate", 8, "global batch is 16, in the paper 32"),
        ("trainer.steps", 100, "steps is 100, in the paper 20000"),
        ("trainer.lr", 1e-4, "learning rate is 0.0001, in the paper 3e-05"),
        ("trainer.decay", "cosine", "cosine, in the paper exponential"),
        ("trainer.optimiser", "muon", "optimiser is muon"),
        ("loss.weight_fa", 0.5, "loss.weight_fa is 0.5, in the paper 1.0"),
        ("loss.kl", "released", "loss.kl is released, in the paper paper"),
        ("data.sky", "far", "the sky is trained as the far end"),
        ("encoder", "codec", "the codec's own"),
        ("data.augmentation.colour", 0.7, "only mirrors"),
        ("start_from", "fiffdepth-mini", "does not start from Stable Diffusion"),
    ],
)
def test_each_deviation_has_its_line(small: dict[str, Any], key: str, value: Any, words: str) -> None:
    small["model"] = {"unet": UNET}  # counted in no time
    assert not any(words in line for line in check(small).deviations)
    set_key(small, key, value)
    assert any(words in line for line in check(small).deviations)


@pytest.mark.parametrize(
    ("recipe", "key", "value", "words"),
    [
        ("depthmaster-stage1", "encoder", None, "no external encoder"),
        ("depthmaster-stage1", "data.augmentation.min_scale", 0.5, "only mirrors"),
        ("depthmaster-stage2", "loss.weight_gradient", 0.1, "loss.weight_gradient is 0.1, in the paper 0.001"),
        ("depthmaster-stage2", "loss.delta", 0.3, "loss.delta is 0.3, in the paper 0.2"),
        ("depthmaster-stage2", "trainer.weight_decay", 0.01, "weight decay 0.01, in the paper Adam"),
        ("depthfm", "trainer.ema", 0.9, "EMA is 0.9, in the paper 0.999"),
        ("depthfm", "loss.squared", False, "loss.squared is False, in the paper True"),
        ("depthfm", "loss.start_share", 0.5, "loss.start_share is 0.5, in the paper 0.0"),
        ("depthfm", "model.noising_step", 600, "t_s = 0.6, in the paper 0.4"),
        ("depthfm", "data.augmentation.colour", 0.7, "colours are changed"),
        ("depthfm", "data.sizes", [[256, 320]], "hypersim is seen at 256x320, in the paper at 384x512"),
        ("depthfm", "model.lora", 8, "only adapters are trained"),
        ("depthfm-id", "data.unlabelled_ratio", 0.5, "not the paper's k = 0.1"),
        ("fiffdepth", "loss.keep_share", 0.25, "loss.keep_share is 0.25, in the paper 1.0"),
        ("fiffdepth", "loss.gamma", 0.2, "loss.gamma is 0.2, in the paper 0.5"),
        ("fiffdepth", "loss.weight_aligned", 1.0, "adds a term that no paper has"),
        ("fiffdepth", "model.frozen", ["down_blocks"], "parts of the network stay as they are"),
    ],
)
def test_so_has_each_of_the_other_recipes(
    recipe: str, key: str, value: Any, words: str, small: dict[str, Any], tmp_path: Path
) -> None:
    listed = tmp_path / "hypersim" / "filename_list_train_filtered.txt"
    config = with_pictures(official(recipe, tmp_path, listed), tmp_path)
    config["model"] = {**config.get("model", {}), "unet": UNET}
    assert not any(words in line for line in check(config).deviations)
    set_key(config, key, value)
    assert any(words in line for line in check(config).deviations)


def with_pictures(config: dict[str, Any], root: Path) -> dict[str, Any]:
    """A folder of pictures in the place of the unlabelled ones, if the configuration has any."""
    if "unlabelled" in config["data"]:
        (root / "plain").mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "plain" / "a.png")
        config["data"]["unlabelled"] = str(root / "plain")
    return config


def test_what_a_recipe_lacks_is_said(small: dict[str, Any], tmp_path: Path) -> None:
    """Missing sets, quantiles, pseudo-labels and the step at t = -1."""
    listed = tmp_path / "hypersim" / "filename_list_train_filtered.txt"
    flow = official("depthfm", tmp_path, listed)
    flow["model"]["unet"] = UNET
    text = "\n".join(check(flow).deviations)
    assert "every picture has its own quantiles" in text
    assert "this is DepthFM-I, not DepthFM-ID" in text
    assert "beyond the quantiles is cut off" in text
    set_key(flow, "data.clip", float("inf"))
    for one in flow["data"]["sets"]:
        one["depth_range_m"] = [1, 50]
    text = "\n".join(check(flow).deviations)
    assert "quantiles" not in text
    assert "cut off" not in text
    step = with_pictures(official("fiffdepth", tmp_path, listed), tmp_path)
    step["model"]["unet"] = UNET
    assert not any("t = -1" in line for line in check(step).deviations)
    del step["data"]["unlabelled"], step["data"]["unlabelled_ratio"], step["teacher"], step["data"]["sets"][1]
    text = "\n".join(check(step).deviations)
    assert "the paper's step at t = -1 is left out" in text
    assert "vkitti2 is missing" in text


def test_shares_and_sizes_of_data_sets_are_compared(small: dict[str, Any]) -> None:
    small["model"] = {"unet": UNET}
    small["data"]["sets"][0]["weight"] = 0.5
    small["data"]["sets"][1]["sizes"] = [[480, 640]]
    text = "\n".join(check(small).deviations)
    assert "hypersim is 0.83 of the batches, in the paper 0.90" in text
    assert "vkitti2 is seen at 480x640, in the paper at 352x1216" in text


def test_what_would_not_start_is_an_error(small: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="processes evenly"):
        check(small, processes=3)
    with pytest.raises(InputError, match="train check knows"):
        check({**small, "recipe": "autoencoder"})


def test_memory_is_counted_on_the_network_itself() -> None:
    small, large = (cost_of(UNET, side, side) for side in (64, 128))
    assert small.parameters == large.parameters
    assert large.activation_bytes > 3 * small.activation_bytes
    assert large.flops > 3 * small.flops
    again = cost_of(UNET, 128, 128, checkpointing=True)
    assert again.activation_bytes < 0.6 * large.activation_bytes


def test_the_contact_sheet_shows_pictures_above_targets(tmp_path: Path) -> None:
    (tmp_path / "pairs" / "rgb").mkdir(parents=True)
    (tmp_path / "pairs" / "depth").mkdir()
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(tmp_path / "pairs" / "rgb" / "a.png")
    depth_m = np.linspace(1, 5, 48 * 64, dtype=np.float32).reshape(48, 64)
    np.save(tmp_path / "pairs" / "depth" / "a.npy", depth_m)
    (tmp_path / "c.yaml").write_text(
        f"recipe: fiffdepth\nstart_from: fiffdepth-mini\nmodel: {{space: sqrt_disparity}}\n"
        f"data: {{sets: [{{kind: pairs, root: {tmp_path / 'pairs'}}}], sizes: [[24, 32]]}}\ntrainer: {{steps: 5, batch_size: 2}}\n"
    )
    done = leadline("train", "check", tmp_path / "c.yaml", "-o", tmp_path / "sheet.jpg", "--quantiles", "5")
    assert done.returncode == 0, done.stderr
    assert "pairs: 1 pictures" in done.stdout
    assert "pairs is no data set of the paper's" in done.stdout
    assert (
        "pairs: 2 and 98 % of the depth in 5 pictures: depth_range_m: [1.0" in done.stdout
    )  # of 1 to 5 m: 1.08 and 4.92
    assert Image.open(tmp_path / "sheet.jpg").size == (4 * 320, 3 * 240)


class Walls:
    """Picture k is a wall at k + 1 metres, a fifth of it unknown."""

    def __len__(self) -> int:
        return 101

    def __getitem__(self, index: int) -> RgbdSample:
        valid = np.ones((10, 10), dtype=bool)
        valid[:2] = False
        return RgbdSample(np.zeros((10, 10, 3), np.uint8), np.where(valid, index + 1.0, 0.0).astype(np.float32), valid)


def test_quantiles_are_of_all_pictures_together() -> None:
    """Depths 1 to 101 in equal shares: 2 % lie below 3.02, 98 % below 98.98."""
    assert depth_range_of(Walls(), 1000) == pytest.approx((3.0, 99.0))
    assert depth_range_of(Walls(), 3) == pytest.approx((1.0, 101.0))  # the first, the middle, the last


@pytest.mark.slow
def test_full_trees_are_counted_as_the_papers_count(tmp_path: Path) -> None:
    vkitti2_tree(tmp_path / "vkitti2", VKITTI2_FRAMES)
    listed = hypersim_tree(tmp_path / "hypersim", 53_885)
    assert listed.read_text().count("\n") == 53_884  # what `wc -l` says of the published list
    found = check(official("depthmaster-stage1", tmp_path, listed))
    assert found.counts == [53_885, 20_148]
    text = "\n".join(found.lines)
    assert "hypersim: 53885 pictures (the papers' 53884" in text
    assert "vkitti2: 20148 pictures (the papers' 20147" in text
    assert not any("pictures" in line for line in found.deviations)
