"""What each recipe adds up, and what each batch is made of, against values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_bundle
from torch import Tensor, nn

from leadline.checkpoints.bundle import ModelBundle
from leadline.training import losses
from leadline.training.augment import Augmentation
from leadline.training.autoencoder import AutoencoderRecipe
from leadline.training.completion import CompletionRecipe
from leadline.training.datasets import RgbdSample
from leadline.training.depthmaster import DepthMasterStage1, DepthMasterStage2
from leadline.training.distillation.recipe import DistilRecipe
from leadline.training.latents import target_named
from leadline.training.small_decoder import SmallDecoderRecipe
from leadline.training.small_encoder import SmallEncoderRecipe
from leadline.training.sources import Batch, LatentSource, PixelSource
from leadline.training.trainer import CHECKPOINT_NAME, Recipe, TrainerConfig, train


def answers(value: Tensor) -> Callable[..., Tensor]:
    return lambda *given, **named: value


def ramp(height: int, width: int) -> Tensor:
    """(1, 1, H, W): 1 a pixel along x, nothing along y."""
    return torch.arange(float(width)).expand(1, 1, height, width).contiguous()


# -- recipes; DepthFM's and FiffDepth's are in test_recipes.py


def test_depthmaster_stage_1_is_the_squared_error_of_known_cells() -> None:
    recipe = DepthMasterStage1(tiny_bundle("depthmaster", fourier=False))
    recipe.model.unet.forward = answers(torch.tensor([1.0, 2.0]).view(1, 1, 1, 2).expand(1, 4, 1, 2))
    mask = torch.tensor([[[[False, True]]]])
    batch = {"image": torch.zeros(1, 4, 1, 2), "depth": torch.full((1, 4, 1, 2), 5.0), "mask": mask}
    assert recipe(batch, torch.Generator()) == {"loss": 9.0, "latent": 9.0}  # (2 - 5)²; the other cell is unknown


def test_depthmaster_stage_2_by_hand() -> None:
    recipe = DepthMasterStage2(tiny_bundle("depthmaster"), weight_gradient=0.5, delta=0.2)
    recipe.codec.encode, recipe.model.unet.forward = answers(torch.zeros(1)), answers(torch.zeros(1))
    recipe.codec.decode = answers(ramp(4, 5))
    known = torch.ones(1, 1, 4, 5, dtype=torch.bool)
    batch = {"rgb": torch.zeros(1), "target": torch.zeros(1, 1, 4, 5), "known": known}
    found = recipe(batch, torch.Generator())
    assert float(found["pixel"]) == pytest.approx((0 + 1 + 4 + 9 + 16) / 5)
    assert float(found["gradient"]) == pytest.approx(3 * (0.5 + 0.02) / 4)  # of x and both diagonals; y is level
    assert float(found["loss"]) == pytest.approx(6.0 + 0.5 * 0.39)


def test_the_released_kl_by_hand() -> None:
    aligned = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1)  # softmax 1/4, 3/4 against 1/2, 1/2
    each = 0.5 * math.log(2.0) + 0.5 * math.log(2.0 / 3.0)
    assert float(losses.feature_alignment(aligned, torch.zeros(1, 2, 1, 1), "released")) == pytest.approx(each / 2)


def test_completion_shows_the_network_points_and_distance_behind_picture_and_state() -> None:
    recipe = CompletionRecipe(tiny_bundle("depthfm", condition_channels=8))
    seen: list[Tensor] = []

    def forward(latents: Tensor, timestep: Any, context: Tensor) -> Tensor:
        seen.append(latents)
        return torch.zeros_like(latents[:, :4])

    recipe.model.unet.forward = forward
    generator = torch.Generator().manual_seed(0)
    image, depth = (torch.randn(1, 4, 2, 2, generator=generator) for _ in range(2))
    condition = torch.randn(1, 8, 2, 2, generator=generator)
    batch = {"image": image, "depth": depth, "mask": torch.ones(1, 1, 2, 2).bool(), "condition": condition}
    found = recipe(batch, torch.Generator().manual_seed(3))
    noise = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(3))
    signal = math.cos(0.4 * math.pi / 2)  # t_s = 0.4
    x0 = signal * image + math.sqrt(1 - signal**2) * noise
    assert float(found["loss"]) == pytest.approx(float(((depth - x0) ** 2).mean()), rel=1e-3)
    assert torch.equal(seen[0][:, 4:], torch.cat([image, condition], 1))


def test_the_autoencoder_s_loss_by_hand() -> None:
    recipe = AutoencoderRecipe(tiny_bundle("fiffdepth").codec, kl=0.1, gradient=2.0, hint=0.5)
    mean, variance = torch.full((2, 4, 1, 1), 2.0), torch.zeros(2, 4, 1, 1)
    recipe._moments = lambda pictures: (mean, variance)
    recipe.codec.decode_rgb = answers(ramp(8, 8).expand(2, 3, 8, 8))
    recipe.guess = nn.Identity()  # the picture's latent itself
    recipe.guess.forward = answers(torch.full((1, 1, 1, 1), 3.0))
    batch = {
        "rgb": torch.zeros(2, 3, 8, 8), "target": torch.full((2, 1, 8, 8), 1.0),
        "known": torch.ones(2, 1, 8, 8, dtype=torch.bool),
    }  # fmt: skip
    found = recipe(batch, torch.Generator().manual_seed(0))
    assert float(found["l1"]) == pytest.approx(
        (3.5 + (1 + 0 + 1 + 2 + 3 + 4 + 5 + 6) / 8) / 2
    )  # a picture of 0, a depth of 1
    assert float(found["edges"]) == pytest.approx(1.0)  # along x; nothing along y
    assert float(found["kl"]) == pytest.approx(0.5 * 4)
    assert float(found["hint"]) == pytest.approx((3 - 1) ** 2)
    assert float(found["loss"]) == pytest.approx(3.125 + 2 * 1 + 0.1 * 2 + 0.5 * 4)


def test_the_small_decoder_s_loss_by_hand() -> None:
    recipe = SmallDecoderRecipe(tiny_bundle("fiffdepth").codec, gradient=3.0)
    recipe.codec.decode, recipe.decoder.decode = answers(torch.zeros(1, 1, 4, 5)), answers(ramp(4, 5))
    found = recipe({"depth": torch.zeros(1, 4, 1, 1)}, torch.Generator())
    assert (float(found["l1"]), float(found["edges"]), float(found["loss"])) == pytest.approx((2.0, 1.0, 2 + 3 * 1))


def test_the_small_encoder_s_loss_by_hand() -> None:
    bundle = tiny_bundle("fiffdepth")
    recipe = SmallEncoderRecipe(bundle.codec, [bundle.model], felt=2.0)
    recipe.codec.encode, recipe.encoder.encode = answers(torch.zeros(1, 4, 2, 2)), answers(torch.ones(1, 4, 2, 2))
    recipe.models[0].solve = lambda latents, steps, noise: 5.0 * latents
    found = recipe({"rgb": torch.zeros(1, 3, 16, 16)}, torch.Generator())
    assert (float(found["latents"]), float(found["felt"]), float(found["loss"])) == pytest.approx((1.0, 5.0, 1 + 2 * 5))


def test_a_student_s_loss_by_hand() -> None:
    bundle, whole = tiny_bundle("fiffdepth"), tiny_bundle("fiffdepth", seed=1)
    recipe = DistilRecipe(
        ModelBundle(bundle.model, bundle.codec), whole.codec, weight_encoder=2.0, weight_pixel=3.0, weight_edges=4.0
    )
    given = iter([torch.zeros(1, 4, 1, 2), torch.zeros(1, 4, 1, 2)])  # the picture's latents, the map's
    recipe.codec.encode = lambda pictures: next(given)
    recipe.small.encode = answers(torch.full((1, 4, 1, 2), 0.5))
    recipe.model.solve = answers(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2).expand(1, 4, 1, 2))
    recipe.small.decode = answers(torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 1, 3))
    target = torch.tensor([1.0, 3.0, 2.0]).view(1, 1, 1, 3)
    batch = {"rgb": torch.zeros(1, 3, 1, 3), "target": target, "inside": torch.ones(1, 1, 1, 3, dtype=torch.bool)}
    found = recipe(batch, torch.Generator())
    # fitted, the map is 1.5, 2, 2.5: off by 0.5, -1, 0.5; steps along x are off by 1.5 and 1.5, and at half size by 0
    assert float(found["latents"]) == pytest.approx((1 + 3) / 2 + 0.5 * 2 / 2)
    assert float(found["encoder"]) == pytest.approx(0.5)
    assert float(found["pixels"]) == pytest.approx(2 / 3)
    assert float(found["edges"]) == pytest.approx(1.5 + 0.0)
    assert float(found["loss"]) == pytest.approx(2.5 + 2 * 0.5 + 3 * (2 / 3 + 4 * 1.5))


# -- batches


class Grey:
    """One picture of one grey, all of it 2 m away, or (nothing known) only one pixel."""

    def __init__(self, grey: int, known: float = 1.0) -> None:
        self.grey, self.known = grey, known

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> RgbdSample:
        valid = np.zeros((16, 16), dtype=bool)
        valid.flat[: max(1, round(self.known * valid.size))] = True
        return RgbdSample(
            np.full((16, 16, 3), self.grey, np.uint8), np.where(valid, 2.0, 0.0).astype(np.float32), valid, None
        )


PLAIN = Augmentation(min_scale=1.0, flip=False, colour=0.0)


def greys(source: PixelSource, size: int, seed: int = 0) -> list[int]:
    batch = source.sample(torch.Generator().manual_seed(seed), size)
    return [round(float(one.mean()) * 127.5 + 127.5) for one in batch["rgb"]]


def test_data_sets_come_by_their_weights_in_one_batch_or_batch_by_batch() -> None:
    """DepthMaster's 0.9 and 0.1, given as 9 and 1."""
    sets, target = [Grey(50), Grey(200)], [target_named("depth")]
    mixed = greys(PixelSource(sets, [9, 1], [[(16, 16)]] * 2, target, PLAIN), 400)
    assert set(mixed) == {50, 200}
    assert 0.05 < mixed.count(200) / 400 < 0.15
    apart = PixelSource(sets, [9, 1], [[(16, 16)], [(8, 24)]], target, PLAIN)
    batches = [greys(apart, 2, seed) for seed in range(150)]
    assert all(len(set(batch)) == 1 for batch in batches)
    assert 0.04 < sum(batch[0] == 200 for batch in batches) / 150 < 0.18


def test_a_picture_with_nearly_no_depth_is_drawn_again() -> None:
    source = PixelSource([Grey(50, known=0.04), Grey(200, known=0.06)], [1, 1], [[(16, 16)]] * 2, [target_named("depth")], PLAIN)  # fmt: skip
    assert set(greys(source, 40)) == {200}


def test_half_of_fiffdepth_s_batch_is_real_and_cut_at_the_centre() -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    source = PixelSource([Grey(50)], [1.0], [[(16, 16)]], [target_named("depth")], PLAIN, unlabelled=[wide])  # type: ignore[arg-type]
    batch = source.sample(torch.Generator().manual_seed(0), 3)
    assert batch["unlabelled_rgb"].shape == batch["rgb"].shape == (3, 3, 16, 16)
    assert float(batch["unlabelled_rgb"].min()) == 1.0


def test_latents_come_by_their_weights() -> None:
    groups = [
        {"image": torch.full((3, 1, 1, 1), float(value)), "mask": torch.ones(3, 1, 1, 1).bool()} for value in (0, 1)
    ]
    source = LatentSource(groups, [1.0, 3.0])
    drawn = [float(source.sample(torch.Generator().manual_seed(seed), 1)["image"].mean()) for seed in range(200)]
    assert 0.65 < np.mean(drawn) < 0.85


# -- the loop


class Slope(Recipe):
    """Its gradient is always 3 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": (self.weight * torch.tensor([3.0, 4.0])).sum()}

    def export(self, folder: Path) -> None: ...


@pytest.mark.parametrize(("clip", "gradient"), [(0.0, (3.0, 4.0)), (1.0, (0.6, 0.8))])
def test_gradients_of_all_parts_are_averaged_then_clipped_and_weights_averaged(
    clip: float, gradient: tuple[float, float], tmp_path: Path
) -> None:
    source = LatentSource([{"image": torch.zeros(1, 1, 1, 1)}], [1.0])
    config = TrainerConfig(
        2, batch_size=1, accumulate=3, lr=0.1, warmup=0, decay="constant", ema=0.9, clip=clip, log_every=0, trackers=()
    )
    train(Slope(), source, config, tmp_path, lambda line: None)
    state = torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)
    expected = torch.tensor(gradient)
    # Adam: the mean of equal gradients is (1 - 0.9²) of one, and each step is as long as the rate
    torch.testing.assert_close(state["optimiser"]["state"][0]["exp_avg"], (1 - 0.9**2) * expected)
    torch.testing.assert_close(state["parameters"]["weight"], torch.full((2,), -0.2))
    # averages begin with the first step's weights; the next keeps (1 + 1) / (10 + 1) of them
    torch.testing.assert_close(state["ema"]["shadow_params"][0], torch.full((2,), -0.1 * 2 / 11 - 0.2 * 9 / 11))
