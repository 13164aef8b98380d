"""FSDP: two processes that share the weights out train what one does that keeps them whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from shared_out import Both, nbytes, new_recipe, scores_of, settings
from torch import Tensor, nn

from leadline.checkpoints.native import load_model
from leadline.errors import InputError
from leadline.training.lora import add_adapters
from leadline.training.sharding import is_asked_for, share_out
from leadline.training.trainer import CHECKPOINT_NAME, train
from leadline.training.watching import HISTORY_NAME

LAUNCH = ["--use_fsdp", "--fsdp_version", "2", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
          "--dynamo_backend", "no"]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote: a training of three steps, and one that went on from its second."""
    folder = tmp_path_factory.mktemp("shared")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": paths}
    script = Path(__file__).with_name("shared_out.py")
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, str(script), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    recipe = new_recipe()
    train(recipe, Both(), settings(3), folder, evaluate=scores_of(recipe))
    return folder


def tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [one for name in value for one in tensors(value[name])]
    return [one for part in value for one in tensors(part)] if isinstance(value, list) else []


def checkpoint(folder: Path) -> dict[str, object]:
    state: dict[str, object] = torch.load(folder / CHECKPOINT_NAME, weights_only=True)
    return state


def assert_close(left: Path, right: Path, tolerance: float) -> None:
    one, other = checkpoint(left), checkpoint(right)
    assert one["step"] == other["step"] == 3
    for name in ("parameters", "optimiser", "ema"):
        pairs = list(zip(tensors(one[name]), tensors(other[name]), strict=True))
        assert len(pairs) > 100
        assert all(float((a - b).abs().max()) <= tolerance for a, b in pairs), name


def test_the_weights_are_those_of_one_process(shared: Path, alone: Path) -> None:
    assert_close(shared / "whole", alone, 1e-5)
    one, other = (load_model(folder / "model.safetensors") for folder in (shared / "whole", alone))
    for left, right in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)
    scores, expected = (json.loads((folder / HISTORY_NAME).read_text()) for folder in (shared / "whole", alone))
    assert scores == pytest.approx(expected, abs=1e-5)


def test_a_resumed_training_is_bit_for_bit_the_uninterrupted_one(shared: Path) -> None:
    assert_close(shared / "whole", shared / "parts", 0.0)


def test_one_process_goes_on_from_what_two_saved(shared: Path, alone: Path) -> None:
    """A checkpoint holds whole tensors, whoever saved it."""
    recipe = new_recipe()
    assert checkpoint(shared / "later")["step"] == 2
    train(recipe, Both(), settings(3), shared / "later", evaluate=scores_of(recipe))
    assert_close(shared / "later", alone, 1e-5)


def test_each_process_keeps_about_half(shared: Path) -> None:
    whole = nbytes([p for p in new_recipe().parameters() if p.requires_grad])
    kept = [torch.load(shared / f"weighed-{rank}.pt", weights_only=True) for rank in range(2)]
    for name, copies in (("parameters", 1), ("moments", 2), ("averages", 1)):
        shares = [one[name] / (copies * whole) for one in kept]
        assert sum(shares) == pytest.approx(1.0, abs=0.02)
        assert all(0.47 < share < 0.53 for share in shares)


@pytest.mark.parametrize(
    ("environment", "optimiser", "precision", "said"),
    [
        ({"FSDP_VERSION": "1"}, "adamw", "no", "--fsdp_version 2"),
        ({}, "adamw", "no", "accelerate launch"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "adamw", "no", "fsdp_offload_params: false"),
        ({}, "muon", "no", "the optimiser is 'adamw'"),
        ({}, "adamw", "fp16", "not 'fp16'"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_in_one_line(
    environment: dict[str, str], optimiser: str, precision: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator = Accelerator(cpu=True)
    assert not is_asked_for(accelerator, optimiser, precision)
    for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: said != "accelerate launch")
    with pytest.raises(InputError) as told:
        is_asked_for(accelerator, optimiser, precision)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_small_networks_and_adapters_are_not_shared_out() -> None:
    with pytest.raises(InputError, match="launch without FSDP"):
        share_out(nn.Linear(2, 2), (), torch.device("cpu"))
    recipe = new_recipe()
    assert len(recipe.shared_layers()) > 8
    add_adapters(recipe.model.unet, 2)
    with pytest.raises(InputError, match=r"model\.lora"):
        recipe.shared_layers()
