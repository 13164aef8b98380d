"""Adapters: they start as nothing, train alone, and are merged into an ordinary model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from leadline.checkpoints.native import load_model
from leadline.errors import InputError
from leadline.models import Codec
from leadline.training.autoencoder import save_codec_file
from leadline.training.build import build_recipe, codec_config
from leadline.training.lora import add_adapters
from leadline.training.sources import LatentSource
from leadline.training.trainer import TrainerConfig, train

UNET: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": [16, 24], "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 8, "use_linear_projection": True,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    save_codec_file(Codec(codec_config([8, 8, 8], 4, 4), 0.7), tmp_path / "codec.safetensors")
    return {
        "recipe": "depthfm", "codec": str(tmp_path / "codec.safetensors"),
        "model": {"unet": UNET, "default_size": 64, "lora": 2}, "trainer": {"steps": 3},
    }  # fmt: skip


def latents() -> LatentSource:
    generator = torch.Generator().manual_seed(5)
    image, depth = (torch.randn(8, 4, 8, 8, generator=generator) for _ in range(2))
    return LatentSource([{"image": image, "depth": depth, "mask": torch.ones(8, 1, 8, 8, dtype=torch.bool)}], [1.0])


def test_adapters_alone_train_and_become_an_ordinary_model(config: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("peft")
    whole = build_recipe({**config, "model": {**config["model"], "lora": None}})
    recipe = build_recipe(config)
    seen, prompt = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(2)), whole.model.prompt
    before = whole.model.unet(seen, 0.5, prompt)
    assert torch.allclose(recipe.model.unet(seen, 0.5, prompt), before, atol=1e-6)  # B is 0
    trained = {name for name, p in recipe.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    settings = TrainerConfig(steps=5, batch_size=4, lr=0.02, warmup=0, ema=0.5, save_every=0, log_every=0)
    train(recipe, latents(), settings, tmp_path / "run", lambda line: None)

    exported = load_model(tmp_path / "run" / "model.safetensors").model
    own = whole.model.unet.state_dict()
    changed = {name for name, tensor in exported.unet.state_dict().items() if not torch.equal(tensor, own[name])}
    assert changed
    assert all(name.rsplit(".", 1)[0].endswith(("to_q", "to_k", "to_v", "to_out.0")) for name in changed)
    for name in changed:
        assert torch.linalg.matrix_rank(exported.unet.state_dict()[name] - own[name], rtol=1e-3) <= 2
    with torch.no_grad():
        after = exported.unet(seen, 0.5, prompt)
        assert torch.allclose(after, recipe.model.unet(seen, 0.5, prompt), atol=1e-5)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("rank", [0, True, "eight"])
def test_a_rank_is_a_whole_number(rank: Any) -> None:
    with pytest.raises(InputError, match="is a rank"):
        add_adapters(torch.nn.Linear(2, 2), rank)


def test_without_peft_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leadline.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'peft.*or leave model.lora out"):
        add_adapters(torch.nn.Linear(2, 2), 8)
