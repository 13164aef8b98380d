"""External encoders for DepthMaster's feature alignment: tiny random networks of transformers, saved as the hub's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_bundle

from leadline.errors import InputError
from leadline.training.build import _encoder
from leadline.training.depthmaster import DepthMasterStage1
from leadline.training.teachers import DinoV2Encoder

transformers = pytest.importorskip("transformers")

VISION: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48, "patch_size": 14,
    "image_size": 42,
}  # fmt: skip


def saved(model: Any, folder: Path) -> str:
    model.eval().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """DINOv2 itself."""
    torch.manual_seed(0)
    return saved(transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), tmp_path / "dinov2")


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    """A depth model that sees with DINOv2, as Depth Anything V2 does."""
    torch.manual_seed(0)
    inside = transformers.Dinov2Config(
        **VISION, out_indices=[1, 2, 3], reshape_hidden_states=False, apply_layernorm=True
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=inside, reassemble_hidden_size=24, neck_hidden_sizes=[8, 8, 8], fusion_hidden_size=8,
        reassemble_factors=[2, 1, 0.5],
    )  # fmt: skip
    return saved(transformers.DepthAnythingForDepthEstimation(config), tmp_path / "depth-anything")


def picture(height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("kind", ["plain", "tuned"])
def test_one_token_for_each_16_pixels(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = DinoV2Encoder(request.getfixturevalue(kind))
    features = encoder(picture(), torch.zeros(2, 4, 6, 8))
    assert features.shape == (2, encoder.channels, 3, 4) == (2, 24, 3, 4)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("kind", ["plain", "tuned"])
def test_the_tokens_are_the_last_layer_s_of_pictures_normalised_from_0_to_1(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    rgb = picture(32, 32)
    encoder = DinoV2Encoder(folder)
    small = torch.nn.functional.interpolate(rgb * 0.5 + 0.5, (28, 28), mode="bicubic", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (small - mean[:, None, None]) / std[:, None, None]
    if kind == "plain":
        net = transformers.Dinov2Model.from_pretrained(folder)
    else:
        net = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder).backbone
    with torch.no_grad():
        hidden = net(seen, output_hidden_states=True).hidden_states[-1]
        tokens = net.layernorm(hidden)[:, 1:]  # the first one stands for the whole picture
    torch.testing.assert_close(encoder(rgb, torch.zeros(2, 4, 4, 4)).flatten(2).transpose(1, 2), tokens)


def test_depthmaster_aligns_with_either(plain: str, tuned: str) -> None:
    for folder in (plain, tuned):
        bundle = tiny_bundle("depthmaster", fourier=False)
        recipe = DepthMasterStage1(bundle, _encoder({"dinov2": folder}, bundle))
        batch = {"rgb": picture(32, 32), "target": picture(32, 32)[:, :1], "known": torch.ones(2, 1, 32, 32) > 0}
        losses = recipe(batch, torch.Generator())
        losses["loss"].backward()
        assert float(losses["alignment"].detach()) > 0
        assert all(float(parameter.grad.abs().sum()) > 0 for parameter in recipe.project.parameters())


def test_what_is_no_dinov2_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no DINOv2 weights"):
        DinoV2Encoder(str(tmp_path))
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(InputError, match="holds vit; give DINOv2"):
        DinoV2Encoder(saved(transformers.ViTModel(config), tmp_path / "vit"))
