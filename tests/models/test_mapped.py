"""Weights as pages of their file: what is given back comes again as it was, and what was written to is never given back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from leadline.models.blocks import placed
from leadline.models.mapped import Mapping

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells what is mapped")


@pytest.fixture
def weights(tmp_path: Path) -> torch.Tensor:
    save_file({"weight": torch.arange(1 << 22, dtype=torch.float32).reshape(2048, 2048)}, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        tensor = file.get_tensor("weight")
    if not Mapping().ranges:
        pytest.skip("this safetensors reads files instead of mapping them")
    return tensor


def resident_kb(tensor: torch.Tensor) -> int:
    """Kilobytes in this process of the mapping that holds a tensor."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split()[0]
        if not word.endswith(":"):
            first, last = (int(number, 16) for number in word.split("-"))
            inside = first <= tensor.data_ptr() < last
        elif inside and word == "Rss:":
            return int(line.split()[1])
    raise AssertionError("the tensor is nowhere")


def test_pages_are_given_back(weights: torch.Tensor) -> None:
    weights.sum()
    assert resident_kb(weights) >= weights.nbytes // 1024
    Mapping().give_back([weights])
    assert resident_kb(weights) < weights.nbytes // 1024 // 4
    assert torch.equal(weights.flatten(), torch.arange(1 << 22, dtype=torch.float32))


def test_what_was_written_to_stays(weights: torch.Tensor) -> None:
    weights[1000, 1000] = -1.0
    Mapping().give_back([weights])
    assert weights[1000, 1000] == -1.0


def test_other_memory_is_left_alone() -> None:
    tensor = torch.ones(1 << 20)
    Mapping().give_back([tensor])
    assert bool((tensor == 1).all())


def test_half_precision_does_not_keep_both(weights: torch.Tensor) -> None:
    layer = nn.Linear(2048, 2048, bias=False)
    layer.weight = nn.Parameter(weights, requires_grad=False)
    half = placed(nn.Sequential(layer), torch.device("cpu"), torch.bfloat16)[0]
    assert half.weight.dtype == torch.bfloat16
    assert resident_kb(weights) < weights.nbytes // 1024 // 4
    assert torch.equal(half.weight, weights.bfloat16())


def test_float32_on_the_processor_keeps_the_files_pages(weights: torch.Tensor) -> None:
    layer = nn.Linear(2048, 2048, bias=False)
    layer.weight = nn.Parameter(weights, requires_grad=False)
    whole = placed(layer, torch.device("cpu"), torch.float32)
    assert whole.weight.data_ptr() == weights.data_ptr()
