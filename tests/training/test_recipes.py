"""The recipes on tiny networks: formulas by hand, 200 steps that learn, configurations, export and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leadline.checkpoints.native import load_model, save_model
from leadline.checkpoints.small_codecs import save_small_decoder
from leadline.errors import CheckpointError, InputError
from leadline.models.samplers import noised
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec
from leadline.training import build as factory
from leadline.training.aligned import sampled
from leadline.training.autoencoder import AutoencoderRecipe, load_codec_file, save_codec_file
from leadline.training.base import inflate, warm_start
from leadline.training.build import (
    RECIPES,
    build_model,
    build_recipe,
    build_source,
    codec_config,
    trained_space,
    trainer_config,
)
from leadline.training.completion import CompletionRecipe
from leadline.training.config import load_config, set_key
from leadline.training.depthfm import DepthFMRecipe
from leadline.training.depthmaster import DepthMasterStage1, DepthMasterStage2, start_as_identity
from leadline.training.fiffdepth import FiffDepthRecipe
from leadline.training.losses import aligned_abs_rel
from leadline.training.run import run
from leadline.training.schedules import ddpm_alpha_bar
from leadline.training.sources import Batch, LatentSource
from leadline.training.trainer import TrainerConfig, train

UNET: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": [16, 24], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 8, "use_linear_projection": True,
}  # fmt: skip


@pytest.fixture
def codec_file(tmp_path: Path) -> Path:
    from leadline.models import Codec

    torch.manual_seed(0)
    path = tmp_path / "codec.safetensors"
    save_codec_file(Codec(codec_config([8, 8, 8], 4, 4), 0.7), path)
    return path


def config_for(recipe: str, codec_file: Path, **sections: Any) -> dict[str, Any]:
    return {
        "recipe": recipe, "codec": str(codec_file), "model": {"unet": UNET, "default_size": 64},
        "trainer": {"steps": 4, "batch_size": 2}, **sections,
    }  # fmt: skip


def latent_batch(size: int = 2, condition: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(5)
    image, depth = (torch.randn(size, 4, 8, 8, generator=generator) for _ in range(2))
    batch = {"image": image, "depth": depth, "mask": torch.ones(size, 1, 8, 8, dtype=torch.bool)}
    return {**batch, "condition": torch.randn(size, 8, 8, 8, generator=generator)} if condition else batch


def fixed_output(recipe: Any, answer: Any) -> list[tuple[Tensor, Any]]:
    """Replace the network by a function; returns the calls it gets."""
    calls: list[tuple[Tensor, Any]] = []

    def forward(latents: Tensor, timestep: Any, context: Tensor) -> Tensor:
        calls.append((latents, timestep))
        return answer(latents, timestep)

    recipe.model.unet.forward = forward
    return calls


# -- formulas


def test_depthfm_loss_by_hand(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthfm", codec_file))
    assert isinstance(recipe, DepthFMRecipe)
    batch = latent_batch()
    calls = fixed_output(recipe, lambda latents, t: torch.zeros_like(latents[:, :4]))
    loss = recipe(batch, torch.Generator().manual_seed(3))["loss"]
    generator = torch.Generator().manual_seed(3)
    noise, t = torch.randn(2, 4, 8, 8, generator=generator), torch.rand(2, generator=generator)
    x0 = noised(batch["image"], noise, 400)
    assert float(loss) == pytest.approx(float(((batch["depth"] - x0) ** 2).mean()), rel=1e-5)
    seen, timestep = calls[0]
    along = t.view(-1, 1, 1, 1)
    assert torch.allclose(seen[:, :4], along * batch["depth"] + (1 - along) * x0)  # x_t first
    assert torch.equal(seen[:, 4:], batch["image"])  # then the clean image
    assert torch.equal(timestep, t)  # raw, in [0, 1]


def test_depthfm_loss_as_printed_has_no_square(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthfm", codec_file, loss={"squared": False}))
    batch = latent_batch()
    fixed_output(recipe, lambda latents, t: torch.zeros_like(latents[:, :4]))
    loss = recipe(batch, torch.Generator().manual_seed(3))["loss"]
    x0 = noised(batch["image"], torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), 400)
    lengths = ((batch["depth"] - x0) ** 2).sum(dim=1).sqrt()
    assert float(loss) == pytest.approx(float(lengths.mean()), rel=1e-5)


def test_depthfm_may_train_more_at_its_start(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthfm", codec_file, loss={"start_share": 0.5}))
    calls = fixed_output(recipe, lambda latents, t: torch.zeros_like(latents[:, :4]))
    recipe(latent_batch(), torch.Generator().manual_seed(3))
    assert calls[0][1][0] == 0.0
    assert calls[0][1][1] > 0.0
    with pytest.raises(InputError, match="share of the samples"):
        build_recipe(config_for("depthfm", codec_file, loss={"start_share": 1.5}))


def test_depthfm_learns_pseudo_labels_like_the_others(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthfm", codec_file))
    assert isinstance(recipe, DepthFMRecipe)
    labels = torch.full((1, 4, 8, 8), 3.0)
    recipe.teacher = lambda rgb, latents: labels
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    fixed_output(recipe, lambda latents, t: torch.zeros_like(latents[:, :4]))
    batch = latent_batch()
    losses = recipe({**batch, "unlabelled_rgb": rgb}, torch.Generator().manual_seed(3))
    image = torch.cat([batch["image"], recipe.codec.encode(rgb)])
    x0 = noised(image, torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3)), 400)
    each = ((torch.cat([batch["depth"], labels]) - x0) ** 2).mean(dim=(1, 2, 3)).tolist()
    assert float(losses["loss"]) == pytest.approx(np.mean(each), rel=1e-5)
    assert float(losses["flow"]) == pytest.approx(np.mean(each[:2]), rel=1e-5)
    assert float(losses["pseudo"]) == pytest.approx(each[2], rel=1e-5)
    assert set(recipe(batch, torch.Generator().manual_seed(3))) == {"loss", "flow"}  # a batch without


def test_depthfm_from_noise_forgets_the_image_in_its_start(codec_file: Path) -> None:
    config = config_for("depthfm", codec_file)
    set_key(config, "model.noising_step", 1000)
    recipe = build_recipe(config)
    batch = latent_batch()
    fixed_output(recipe, lambda latents, t: torch.zeros_like(latents[:, :4]))
    loss = recipe(batch, torch.Generator().manual_seed(3))["loss"]
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    assert float(loss) == pytest.approx(float(((batch["depth"] - noise) ** 2).mean()), rel=1e-5)


def test_fiffdepth_loss_by_hand(codec_file: Path) -> None:
    recipe = build_recipe(config_for("fiffdepth", codec_file))
    assert isinstance(recipe, FiffDepthRecipe)
    batch = latent_batch()
    calls = fixed_output(recipe, lambda latents, t: torch.zeros_like(latents))
    losses = recipe(batch, torch.Generator().manual_seed(3))
    depth = batch["depth"]
    gradients = (depth.diff(dim=-1).abs().sum() + depth.diff(dim=-2).abs().sum()) / depth.numel()
    assert float(losses["depth"]) == pytest.approx(float(depth.abs().mean() + 0.5 * gradients), rel=1e-5)
    generator = torch.Generator().manual_seed(3)
    noise, t = torch.randn(depth.shape, generator=generator), torch.randint(1, 1000, (2,), generator=generator)
    alpha_bar = ddpm_alpha_bar().float()[t].view(-1, 1, 1, 1)
    blend = 0.5 * batch["image"]  # the predicted depth latent is zero
    velocity = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * blend
    assert float(losses["keep"]) == pytest.approx(float((velocity**2).mean()), rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(float(losses["depth"] + 0.2 * losses["keep"]), rel=1e-5)
    assert calls[0][1] == 0.0
    assert torch.equal(calls[1][1], t.float())


def test_a_teacher_and_its_pictures_come_together(codec_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give data\.unlabelled"):
        build_recipe({**config_for("fiffdepth", codec_file), "teacher": "fiffdepth-mini"})
    lonely = config_for("fiffdepth", codec_file)
    set_key(lonely, "data.unlabelled", str(tmp_path))
    with pytest.raises(InputError, match="name a teacher"):
        build_recipe(lonely)


def test_a_teacher_of_another_space_and_codec_gives_converted_maps(codec_file: Path, tmp_path: Path) -> None:
    """A depth model of transformers, and a Leadline model of another space; both are asked on the unlabelled pictures."""
    from leadline.training.map_teachers import MapLatents

    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    config = config_for("fiffdepth", codec_file, loss={"weight_keep": 0.0})
    set_key(config, "data.unlabelled", str(tmp_path))
    set_key(config, "teacher", str(depth_anything(tmp_path / "depth-anything")))
    recipe = build_recipe(config)
    assert isinstance(recipe, FiffDepthRecipe)
    assert isinstance(recipe.teacher, MapLatents)
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    losses = recipe({**latent_batch(), "unlabelled_rgb": rgb}, torch.Generator())
    assert float(losses["teacher"].detach()) > 0

    set_key(config, "teacher", "depthmaster-mini")  # square root of disparity, another codec
    teacher = build_recipe(config).teacher
    assert isinstance(teacher, MapLatents)
    assert teacher.space.value == "depth"
    assert teacher.teacher.space.value == "sqrt_disparity"


def test_depth_anything_is_disparity_and_its_metric_version_metres(tmp_path: Path) -> None:
    from leadline.training.map_teachers import open_teacher

    relative = open_teacher(depth_anything(tmp_path / "relative"))
    assert (relative.space.value, relative.shift_known) == ("disparity", True)
    assert relative.maps(np.full((30, 40, 3), 90, np.uint8)).shape == (30, 40)
    assert open_teacher(depth_anything(tmp_path / "metric", depth_estimation_type="metric")).space.value == "depth"
    with pytest.raises(InputError, match="ensemble of 1"):
        open_teacher(tmp_path / "relative", ensemble=4)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="no depth model of transformers"):
        open_teacher(tmp_path / "broken")


def depth_anything(folder: Path, **settings: Any) -> Path:
    """A tiny random Depth Anything in the hub's layout."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=2,
        out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4, **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)
    return folder


def test_fiffdepth_teacher_supervises_the_step_beyond(codec_file: Path) -> None:
    recipe = build_recipe(config_for("fiffdepth", codec_file, loss={"weight_keep": 0.0}))
    assert isinstance(recipe, FiffDepthRecipe)
    recipe.teacher = lambda rgb, latents: torch.full_like(latents, 4.0)
    calls = fixed_output(recipe, lambda latents, t: latents * 0 + (1.0 if t == 0.0 else 3.0))
    losses = recipe({**latent_batch(), "unlabelled": torch.zeros(1, 4, 8, 8)}, torch.Generator())
    assert float(losses["teacher"]) == pytest.approx(1.0)  # |3 - 4|
    assert [t for _, t in calls] == [0.0, 0.0, -1.0]
    assert float(calls[2][0].mean()) == 1.0  # t = -1 sees what t = 0 said


def test_depthmaster_stage1_adds_the_alignment(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthmaster-stage1", codec_file, encoder="codec", loss={"weight_fa": 2.0}))
    assert isinstance(recipe, DepthMasterStage1)
    losses = recipe(latent_batch(), torch.Generator())
    value = {name: loss.item() for name, loss in losses.items()}
    assert value["loss"] == pytest.approx(value["latent"] + 2.0 * value["alignment"], rel=1e-5)
    assert value["alignment"] > 0
    losses["alignment"].backward()
    assert recipe.model.unet.net.mid_block.resnets[0].conv1.weight.grad is not None
    assert recipe.codec.vae.decoder.conv_in.weight.grad is None


def test_depthmaster_stage2_trains_through_the_frozen_decoder(codec_file: Path) -> None:
    recipe = build_recipe(config_for("depthmaster-stage2", codec_file, loss={"weight_gradient": 0.5}))
    assert isinstance(recipe, DepthMasterStage2)
    batch = {
        "rgb": torch.rand(1, 3, 32, 32) * 2 - 1, "target": torch.zeros(1, 1, 32, 32),
        "known": torch.ones(1, 1, 32, 32, dtype=torch.bool),
    }  # fmt: skip
    losses = recipe(batch, torch.Generator())
    assert float(losses["loss"]) == pytest.approx(float(losses["pixel"] + 0.5 * losses["gradient"]), rel=1e-5)
    losses["loss"].backward()
    assert recipe.model.unet.fftblock.fuse.weight.grad is not None
    assert all(p.grad is None for p in recipe.codec.parameters())


def test_a_fourier_block_can_start_by_passing_its_input_on() -> None:
    from leadline.models.fourier import FourierEnhancement

    torch.manual_seed(0)
    block = FourierEnhancement(16)
    scale, shift = torch.rand(1, 8, 1) * 3 + 0.5, torch.randn(1, 8, 1)
    x = (torch.randn(4, 8, 2 * 9 * 11) * scale + shift).reshape(4, 16, 9, 11)
    start_as_identity(block, x)
    assert (
        block(x) - x
    ).square().mean() < 0.03 * x.square().mean()  # the groups of one picture are not quite the average
    same = x[:1].expand(4, -1, -1, -1)
    start_as_identity(block, same)
    torch.testing.assert_close(block(same), same, atol=1e-4, rtol=1e-4)


def test_depthmaster_starts_where_fiffdepth_is_and_stage_2_where_stage_1_is(codec_file: Path, tmp_path: Path) -> None:
    first = build_recipe(config_for("fiffdepth", codec_file))
    first.export(tmp_path)
    start = str(tmp_path / "model.safetensors")
    stage1, fiffdepth = build_model({"recipe": "depthmaster-stage1", "start_from": start, "model": {"space": "depth"}})
    assert fiffdepth is not None
    image = torch.randn(2, 4, 16, 16)
    torch.testing.assert_close(stage1.model.solve(image), fiffdepth.model.solve(image), atol=1e-5, rtol=1e-5)

    build_recipe({"recipe": "depthmaster-stage1", "start_from": start}).export(tmp_path / "stage1")
    stage1 = load_model(tmp_path / "stage1" / "model.safetensors")
    recipe = build_recipe(
        {"recipe": "depthmaster-stage2", "start_from": str(tmp_path / "stage1" / "model.safetensors")}
    )
    assert isinstance(recipe, DepthMasterStage2)
    assert recipe.starts_block
    batch = {name: torch.rand(2, size, 64, 64) * 2 - 1 for name, size in (("rgb", 3), ("target", 1))}
    batch["known"] = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    recipe.start(lambda: batch)
    image = recipe.codec.encode(batch["rgb"])
    before, after = stage1.model.solve(image), recipe.model.solve(image)
    assert (after - before).square().mean() < 0.05 * before.square().mean()


def test_the_autoencoder_scale_makes_latents_unit_sized(codec_file: Path) -> None:
    recipe = AutoencoderRecipe(load_codec_file(codec_file))
    batch = {"rgb": torch.rand(4, 3, 16, 16) * 2 - 1, "target": torch.rand(4, 1, 16, 16) * 2 - 1}
    recipe.codec.latent_scale = recipe.measure_scale([batch])
    pictures = torch.cat([batch["rgb"], batch["target"].expand(-1, 3, -1, -1)])
    with torch.no_grad():
        assert float(recipe.codec.encode(pictures).std()) == pytest.approx(1.0, rel=1e-4)


# -- the aligned error, an option of every depth recipe


def measured_batch() -> Batch:
    depth_m = 1.0 + torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(6))
    return {**latent_batch(), "sampled_m": depth_m}  # a codec of 4 pixels a cell: one sample of each


@pytest.mark.parametrize("name", ["depthmaster-stage1", "fiffdepth", "depthfm"])
def test_the_aligned_error_is_added(name: str, codec_file: Path) -> None:
    options: dict[str, Any] = {"start_share": 0.5} if name == "depthfm" else {}
    batch = measured_batch()
    plain = build_recipe(config_for(name, codec_file, loss=options))(batch, torch.Generator().manual_seed(3))
    recipe = build_recipe(config_for(name, codec_file, loss={**options, "weight_aligned": 3.0}))
    losses = recipe(batch, torch.Generator().manual_seed(3))
    assert "abs_rel" not in plain
    assert float(losses["abs_rel"]) > 0
    assert losses["loss"].item() == pytest.approx((plain["loss"] + 3.0 * losses["abs_rel"]).item(), rel=1e-5)
    losses["abs_rel"].backward()
    assert recipe.model.unet.net.conv_in.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in recipe.codec.parameters())
    with pytest.raises(InputError, match="encode the latents again"):
        recipe(latent_batch(), torch.Generator())


def test_depth_is_compared_where_it_was_sampled(codec_file: Path) -> None:
    recipe = build_recipe(config_for("fiffdepth", codec_file, loss={"weight_aligned": 1.0}))
    assert isinstance(recipe, FiffDepthRecipe)
    assert recipe.aligned is not None
    depth_m = 1.0 + torch.rand(1, 1, 32, 32)
    latents = torch.randn(1, 4, 8, 8)
    shown = recipe.codec.decode(latents)[:, 0, 2::4, 2::4]
    expected = float(aligned_abs_rel(shown, depth_m[:, 0, 2::4, 2::4], recipe.spec.space))
    assert float(recipe.aligned(latents, {"depth_m": depth_m})) == pytest.approx(expected)
    assert float(recipe.aligned(latents, {"sampled_m": sampled(depth_m[:, 0])})) == pytest.approx(expected)


def test_the_second_stage_of_depthmaster_decodes_once(codec_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = build_recipe(config_for("depthmaster-stage2", codec_file, loss={"weight_aligned": 2.0}))
    decode, calls = recipe.codec.decode, []
    monkeypatch.setattr(recipe.codec, "decode", lambda latents: calls.append(1) or decode(latents))
    batch = {
        "rgb": torch.rand(1, 3, 32, 32) * 2 - 1, "target": torch.zeros(1, 1, 32, 32),
        "known": torch.ones(1, 1, 32, 32, dtype=torch.bool), "depth_m": 1.0 + torch.rand(1, 1, 32, 32),
    }  # fmt: skip
    losses = recipe(batch, torch.Generator())
    assert len(calls) == 1
    total = losses["pixel"] + 1e-3 * losses["gradient"] + 2.0 * losses["abs_rel"]
    assert losses["loss"].item() == pytest.approx(total.item(), rel=1e-5)


def test_a_reader_must_be_of_the_same_codec(codec_file: Path, tmp_path: Path) -> None:
    for fingerprint, right in (("another", False), (load_codec_file(codec_file).fingerprint, True)):
        decoder = SmallDecoder(SmallDecoderSpec(4, 4, width=16, blocks=1), fingerprint)
        save_small_decoder(decoder, tmp_path / "reader.safetensors")
        loss = {"weight_aligned": 1.0, "reader": str(tmp_path / "reader.safetensors")}
        if right:
            recipe = build_recipe(config_for("fiffdepth", codec_file, loss=loss))
            assert float(recipe(measured_batch(), torch.Generator())["abs_rel"]) > 0
        else:
            with pytest.raises(CheckpointError, match="another codec"):
                build_recipe(config_for("fiffdepth", codec_file, loss=loss))
    with pytest.raises(InputError, match="start_share"):
        build_recipe(config_for("depthfm", codec_file, loss={"weight_aligned": 1.0}))
    with pytest.raises(InputError, match="from 0 on"):
        build_recipe(config_for("fiffdepth", codec_file, loss={"weight_aligned": -1.0}))


# -- warm starts


def test_inflation_keeps_the_size_of_activations() -> None:
    weight = torch.randn(3, 4, 3, 3)
    wide = inflate(weight, 8)
    x = torch.randn(1, 4, 5, 5)
    same = torch.nn.functional.conv2d(torch.cat([x, x], 1), wide)
    assert torch.allclose(same, torch.nn.functional.conv2d(x, weight), atol=1e-5)
    with pytest.raises(InputError):
        inflate(weight, 10)


DEEPER: dict[str, dict[str, Any]] = {
    "more layers at the bottom": {"layers_per_block": [1, 3]},
    "more layers everywhere": {"layers_per_block": 2},
    "attention above": {
        "down_block_types": ["CrossAttnDownBlock2D"] * 2, "up_block_types": ["CrossAttnUpBlock2D"] * 2,
    },
    "both": {
        "layers_per_block": [3, 2], "down_block_types": ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("change", DEEPER.values(), ids=list(DEEPER))
def test_a_deeper_network_starts_as_the_shallower_one(change: dict[str, Any], codec_file: Path, tmp_path: Path) -> None:
    shallow = build_recipe(config_for("fiffdepth", codec_file))
    shallow.export(tmp_path)
    deep, start = build_model(
        {
            "recipe": "fiffdepth",
            "start_from": str(tmp_path / "model.safetensors"),
            "model": {"unet": {**UNET, **change}},
        }
    )
    assert start is not None
    image = torch.randn(2, 4, 8, 8)
    network = deep.model.unet.requires_grad_(True)
    out = network(image, 0.0, deep.model.prompt)
    expected = start.model.unet(image, 0.0, start.model.prompt)
    torch.testing.assert_close(out, expected)
    assert sum(p.numel() for p in network.parameters()) > sum(p.numel() for p in start.model.unet.parameters())
    out.square().mean().backward()
    added = warm_start(deep.model, start.model)
    parameters = dict(network.named_parameters())
    ends = [parameters[name] for name in added if name.endswith(("conv2.weight", "proj_out.weight"))]
    assert ends
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in ends), "added layers can learn"


def test_frozen_parts_stay_as_they_are(codec_file: Path, tmp_path: Path) -> None:
    frozen = ["down_blocks", "mid_block", "up_blocks.0"]
    config = config_for("depthmaster-stage1", codec_file, model={"unet": UNET, "frozen": frozen})
    recipe = build_recipe(config)
    before = {name: tensor.clone() for name, tensor in recipe.model.unet.state_dict().items()}
    train(recipe, LatentSource([latent_batch()], [1.0]), TrainerConfig(steps=2, batch_size=2, lr=1e-2), tmp_path)
    changed = {name for name, tensor in recipe.model.unet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith(tuple(f"net.{part}." for part in frozen)) for name in changed)
    assert any(name.startswith("net.up_blocks.1.") for name in changed)
    with pytest.raises(InputError, match="no part 'middle'"):
        build_recipe(config_for("depthfm", codec_file, model={"unet": UNET, "frozen": ["middle"]}))
    with pytest.raises(InputError, match="list of parts"):
        build_recipe(config_for("depthfm", codec_file, model={"unet": UNET, "frozen": "mid_block"}))
    parts = ["conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out"]
    with pytest.raises(InputError, match="nothing to train"):
        build_recipe(config_for("depthfm", codec_file, model={"unet": UNET, "frozen": parts}))


def test_later_models_start_from_earlier_ones(codec_file: Path, tmp_path: Path) -> None:
    first = build_recipe(config_for("depthmaster-stage1", codec_file))
    first.export(tmp_path / "first")
    start = str(tmp_path / "first" / "model.safetensors")
    second, loaded = build_model({"recipe": "depthfm", "start_from": start})
    assert loaded is not None
    assert second.spec.unet["in_channels"] == 8
    kept = warm_start(second.model, loaded.model)
    assert kept == []
    stage2, _ = build_model({"recipe": "depthmaster-stage2", "start_from": start})
    kept = warm_start(stage2.model, loaded.model)
    assert kept
    assert all(name.startswith("fftblock.") for name in kept)
    assert stage2.codec.latent_scale == 0.7
    completion, _ = build_model({"recipe": "completion", "start_from": start})
    assert completion.spec.condition_channels == 8
    assert completion.spec.unet["in_channels"] == 16


def test_a_model_is_labelled_as_what_it_was_trained_for(codec_file: Path) -> None:
    config = config_for("fiffdepth", codec_file)
    assert build_model(config)[0].spec.space is RECIPES["fiffdepth"][1]
    set_key(config, "data.target", "sqrt_disparity")
    assert build_model(config)[0].spec.space.value == "sqrt_disparity"
    set_key(config, "model.space", "sqrt_disparity")
    assert trained_space(config).value == "sqrt_disparity"
    set_key(config, "model.space", "depth")
    with pytest.raises(InputError, match=r"model\.space is depth, but data\.target is sqrt_disparity"):
        build_model(config)


def test_going_on_keeps_the_defaults_of_the_start(codec_file: Path, tmp_path: Path) -> None:
    config = config_for("depthfm", codec_file)
    set_key(config, "model.default_size", 320)
    set_key(config, "model.noising_step", 300)
    save_model(build_model(config)[0], tmp_path / "first.safetensors")
    further, _ = build_model({"recipe": "depthfm", "start_from": str(tmp_path / "first.safetensors")})
    assert (further.spec.default_size, further.spec.noising_step) == (320, 300)


# -- configurations


def test_configurations_are_checked(codec_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown"):
        build_recipe({"recipe": "marigold"})
    with pytest.raises(InputError, match="give start_from"):
        build_recipe({"recipe": "depthfm"})
    with pytest.raises(InputError, match=r"trainer\.steps is missing"):
        trainer_config({"recipe": "depthfm"})
    with pytest.raises(InputError, match=r"trainer\.lr is a number, not 'fast'"):
        trainer_config({"trainer": {"steps": 1, "lr": "fast"}})
    assert trainer_config({"trainer": {"steps": 1, "lr": "7e-4"}}).lr == 7e-4  # as YAML reads it
    with pytest.raises(InputError, match=r"loss\.weight_aligned is a number, not 'much'"):
        build_recipe({"recipe": "depthfm", "start_from": "depthfm-mini", "loss": {"weight_aligned": "much"}})
    with pytest.raises(InputError, match="unknown key 'step'"):
        trainer_config({"trainer": {"step": 3}})
    with pytest.raises(InputError, match="is empty"):
        build_source({"recipe": "depthfm", "data": {}})
    with pytest.raises(InputError, match="unknown"):
        build_source({"recipe": "depthfm", "data": {"sets": [{"kind": "nyu", "root": "."}]}})
    path = tmp_path / "config.yaml"
    path.write_text("recipe: depthfm\ntrainer: {steps: 5}\n")
    assert load_config(path, ["trainer.steps=7", "data.latents=[a, b]"])["trainer"]["steps"] == 7
    assert trainer_config(load_config(path, ["trainer.precision=no"])).precision == "no"  # YAML's false
    with pytest.raises(InputError, match=r"write section\.key=value"):
        load_config(path, ["trainer.steps"])
    path.write_text("recipes: depthfm\n")
    with pytest.raises(InputError, match="unknown section"):
        load_config(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "missing.yaml")


def test_shipped_configurations_build() -> None:
    folder = Path(__file__).parents[2] / "config" / "train"
    paths = sorted(folder.glob("*.yaml"))
    assert len(paths) >= 5
    for path in paths:
        config = load_config(path)
        assert config["recipe"] in {*factory.RECIPES, "autoencoder", "small-decoder", "small-encoder", "latents"}
        if config["recipe"] != "latents":
            trainer_config(config)


# -- learning


@pytest.mark.parametrize("recipe_name", ["depthmaster-stage1", "depthfm", "fiffdepth", "completion"])
def test_200_steps_lower_the_loss(recipe_name: str, codec_file: Path, tmp_path: Path) -> None:
    """Depth latents that are a fixed rotation of the image latents can be learnt."""
    recipe = build_recipe(config_for(recipe_name, codec_file))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(32, 4, 8, 8, generator=generator)
    mixing = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    group = {
        "image": image,
        "depth": torch.einsum("dc,nchw->ndhw", mixing, image),
        "mask": torch.ones(32, 1, 8, 8).bool(),
    }
    if recipe_name == "completion":
        group["condition"] = torch.cat([group["depth"], image], 1)
    lines: list[str] = []
    config = TrainerConfig(
        steps=200, batch_size=8, lr=2e-3, warmup=10, ema=0.98, save_every=0, log_every=20, preview_every=200
    )
    train(recipe, LatentSource([group], [1.0]), config, tmp_path / "out", lines.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert np.mean(losses[-3:]) < 0.75 * losses[0]
    bundle = load_model(tmp_path / "out" / "model.safetensors")
    assert bundle.spec.family == recipe.spec.family
    if recipe_name == "completion":
        assert isinstance(recipe, CompletionRecipe)
        with pytest.raises(InputError, match="sparse"):
            recipe(latent_batch(), torch.Generator())


def test_the_autoencoder_learns_and_is_written(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    y, x = np.mgrid[:24, :32].astype(np.float32)
    depth_m = np.stack([2.0 + y / 8, 3.0 + x / 8])
    rgb = np.repeat((depth_m * 40).astype(np.uint8)[..., None], 3, axis=-1)
    np.savez(shards / "a.npz", rgb=rgb, depth_m=depth_m, valid=np.ones(depth_m.shape, dtype=bool))
    config = {
        "recipe": "autoencoder",
        "model": {"block_out_channels": [8, 8, 8], "latent_channels": 4, "norm_num_groups": 4},
        "data": {"sets": [{"kind": "rendered", "root": str(shards)}], "target": ["log_depth"], "sizes": [[16, 16]]},
        "trainer": {"steps": 40, "batch_size": 4, "lr": 5e-3, "warmup": 5, "save_every": 0, "log_every": 5},
    }
    lines: list[str] = []
    run(config, tmp_path / "out", lines.append)
    losses = [float(line.split("l1 ")[1].split()[0]) for line in lines if "l1" in line]
    assert min(losses[-3:]) < 0.7 * losses[0]
    codec = load_codec_file(tmp_path / "out" / "codec.safetensors")
    assert codec.latent_channels == 4
    assert codec.latent_scale != 1.0


def test_recomputed_layers_give_the_same_gradients(codec_file: Path) -> None:
    gradients = []
    for recomputes in (False, True):
        recipe = build_recipe(config_for("depthfm", codec_file)).train()
        if recomputes:
            recipe.recompute_layers()
        recipe(latent_batch(), torch.Generator().manual_seed(3))["loss"].backward()
        gradients.append([p.grad.clone() for p in recipe.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_the_released_kl_is_averaged_over_features_too(codec_file: Path) -> None:
    losses = {}
    for kl in ("paper", "released"):
        recipe = build_recipe(config_for("depthmaster-stage1", codec_file, encoder="codec", loss={"kl": kl}))
        assert isinstance(recipe, DepthMasterStage1)
        losses[kl] = float(recipe(latent_batch(), torch.Generator())["alignment"].detach())
        features = recipe.encoder.channels
    assert losses["paper"] == pytest.approx(features * losses["released"], rel=1e-5)
    with pytest.raises(InputError, match="'paper' or 'released'"):
        build_recipe(config_for("depthmaster-stage1", codec_file, encoder="codec", loss={"kl": "mean"}))
