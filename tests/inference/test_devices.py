"""Devices and precisions, with GPUs that are not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_bundle

from leadline.inference import devices
from leadline.inference.devices import TRUE_FLOAT32, choose_precision
from leadline.inference.estimator import DepthEstimator
from leadline.inference.framing import frame_padded
from leadline.inference.memory import MemoryBudget
from leadline.inference.replica import PIXELS_AT_ONCE

CUDA = torch.device("cuda:0")


def test_auto_is_the_half_precision_that_loses_least_on_a_gpu_and_none_elsewhere() -> None:
    assert choose_precision("auto", CUDA) == torch.float16
    assert choose_precision("bf16", CUDA) == torch.bfloat16
    assert choose_precision("auto", torch.device("mps")) == torch.float32
    assert choose_precision("auto", torch.device("cpu")) == torch.float32


def test_bf16_on_a_processor_without_it_is_said_to_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cpu_computes_bf16", lambda: False)
    with pytest.warns(UserWarning, match="no bf16 instructions"):
        assert choose_precision("bf16", torch.device("cpu")) == torch.bfloat16


def test_float32_is_float32_while_a_prediction_runs() -> None:
    """TF32 is PyTorch's default for convolutions on CUDA: three digits instead of seven."""
    seen = []
    estimator = DepthEstimator(tiny_bundle("fiffdepth"), precision="fp32")
    codec = estimator.codec
    decode = codec.decode
    codec.decode = lambda latents: seen.append(torch.backends.cudnn.allow_tf32) or decode(latents)  # type: ignore[method-assign, func-returns-value]
    before = torch.backends.cudnn.allow_tf32
    estimator.predict(np.zeros((32, 32, 3), np.uint8), size=32)
    assert before
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_last_one_out_restores_it() -> None:
    before = torch.backends.cudnn.allow_tf32
    with TRUE_FLOAT32:
        with TRUE_FLOAT32:
            assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_tensor_of_the_widest_layer_stays_below_32_bit_indices() -> None:
    assert PIXELS_AT_ONCE["cuda"] * 256 < 2**31


def test_a_gpus_budget_counts_its_context() -> None:
    bundle = tiny_bundle("fiffdepth")
    bundle.model.register_buffer("prompt", bundle.model.prompt.to("meta"), persistent=False)  # stands for a GPU
    budget = MemoryBudget.of(2**31, bundle.model, bundle.codec)
    assert budget.resident_bytes > 500_000_000


def test_resizing_happens_where_the_network_is() -> None:
    image = np.zeros((48, 100, 3), np.uint8)
    framed = frame_padded(image, 50, 16, torch.device("meta"))
    assert framed.pixels.device.type == "meta"
    assert framed.pixels.shape == frame_padded(image, 50, 16).pixels.shape == (3, 32, 64)
