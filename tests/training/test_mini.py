"""The one command behind the shipped weights, and what ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leadline.checkpoints.native import load_model
from leadline.errors import InputError
from leadline.training import ablations, mini
from leadline.training.build import trainer_config
from leadline.training.config import load_config
from leadline.training.curves import running_mean

MINI = Path(mini.__file__).parents[1] / "checkpoints" / "mini"
NAMES = ("depthfm-mini", "depthmaster-mini", "fiffdepth-mini", "depthfm-mini-completion")


def test_every_stage_is_a_valid_configuration(tmp_path: Path) -> None:
    import yaml

    names, made = [], {}
    for name, config in mini.stages(tmp_path):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        assert load_config(path) == config
        if config["recipe"] == mini.LATENTS:
            made[name] = {f"{height}x{width}" for height, width in config["data"]["sizes"]}
        elif "latents" in config["data"]:  # every size that a training asks for is in one of its caches
            assert set(config["data"]["sizes"]) <= set.union(*(made[Path(f).name] for f in config["data"]["latents"]))
        if config["recipe"] != mini.LATENTS:
            assert trainer_config(config).steps > 0
        needed = [config[key] for key in ("codec", "start_from") if key in config]
        needed += [config["loss"]["reader"]] if "reader" in config.get("loss", {}) else []
        assert {Path(file).parent.name for file in needed} <= set(names)  # what a stage needs comes before it
        names.append(name)


def test_an_ablation_needs_the_first_stage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `leadline train mini"):
        ablations.run_ablation("ablation-start", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models_load_and_see_depth(name: str) -> None:
    bundle = load_model(MINI / f"{name}.safetensors")
    assert bundle.spec.name == name
    latents = torch.zeros(1, bundle.codec.latent_channels, 8, 8)
    condition = torch.zeros(1, bundle.spec.condition_channels, 8, 8) if bundle.spec.condition_channels else None
    noise = torch.zeros_like(latents)
    with torch.no_grad():
        decoded = bundle.codec.decode(bundle.model.solve(latents, 1, noise, condition))
    assert decoded.shape == (1, 1, 64, 64)
    assert np.isfinite(decoded.numpy()).all()


def test_shipped_weights_fit_the_package() -> None:
    total = sum(path.stat().st_size for path in MINI.glob("*.safetensors"))
    assert total <= 40e6
    assert all(path.stat().st_mode & 0o044 for path in MINI.glob("*.safetensors")), "installed files must be readable"


@pytest.mark.slow
def test_the_whole_pipeline_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tuple(replace(job, height=48, width=64) for job in mini.SCENES)
    monkeypatch.setattr(mini, "SCENES", tiny)
    lines: list[str] = []
    mini.train_mini(tmp_path, quick=True, report=lines.append)
    assert {path.stem for path in (tmp_path / "packed").glob("*.safetensors")} == {
        *NAMES,
        "mini-codec",
        "mini-small-decoder",
        "mini-small-encoder",
    }
    lines.clear()
    mini.train_mini(tmp_path, quick=True, report=lines.append)
    assert lines.count("finished before") == 10
    table = ablations.run_ablation("ablation-fourier", tmp_path, quick=True, report=lines.append)
    assert "no-fourier" in table


def test_a_running_mean_is_over_a_tenth_and_cut_at_the_ends() -> None:
    values = np.arange(40.0)  # windows of 2 + 1 + 2
    smooth = running_mean(values)
    assert smooth[20] == pytest.approx(20.0)
    assert smooth[0] == pytest.approx(1.0)  # of 0, 1, 2
    assert len(running_mean([])) == 0
    assert list(running_mean([3.0, 5.0])) == [3.0, 5.0]
