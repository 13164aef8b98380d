"""Convolutions with fewer products give the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import tiny_spec
from torch import nn
from torch.nn.functional import conv2d, interpolate

from leadline.checkpoints.bundle import build
from leadline.models import blocks, winograd
from leadline.models.folding import fold, sharing_copy
from leadline.models.winograd import Winograd, suits

SHAPES = [(1, 4, 4, 1, 1), (2, 8, 12, 9, 7), (3, 16, 8, 16, 12), (1, 3, 5, 4, 30)]


@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk_bytes", [1, 20_000, 8 << 20])
@torch.inference_mode()
def test_equals_the_direct_convolution(shape, enlarge, chunk_bytes, monkeypatch):
    monkeypatch.setattr(winograd, "WINOGRAD", replace(winograd.WINOGRAD, chunk_bytes=chunk_bytes))
    torch.manual_seed(0)
    count, inputs, outputs, height, width = shape
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=count > 1)
    images = torch.randn(count, inputs, height, width)
    seen = interpolate(images, scale_factor=2.0, mode="nearest") if enlarge else images
    bias = None if conv.bias is None else conv.bias.double()
    exact = conv2d(seen.double(), conv.weight.double(), bias, padding=1)
    torch.testing.assert_close(Winograd(conv, enlarge)(images).double(), exact, atol=5e-6, rtol=0)


@torch.inference_mode()
def test_rounds_little_more_than_the_direct_convolution():
    torch.manual_seed(0)
    conv, images = nn.Conv2d(256, 256, 3, padding=1), torch.randn(1, 256, 16, 16)
    exact = conv2d(images.double(), conv.weight.double(), conv.bias.double(), padding=1)
    direct, ours = (torch.std(run(images) - exact) for run in (conv, Winograd(conv)))
    assert ours < 12 * direct


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(128, 128, 3, padding=1), True),
        (nn.Conv2d(128, 64, 3, padding=1), False),  # too few channels to pay
        (nn.Conv2d(1280, 1280, 3, padding=1), False),  # its weights would take 236 MB
        (nn.Conv2d(128, 128, 3, padding=1, stride=2), False),
        (nn.Conv2d(128, 128, 3), False),
        (nn.Conv2d(128, 128, 1), False),
        (nn.Conv2d(128, 128, 3, padding=1, groups=2), False),
        (nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"), False),
        (nn.Linear(128, 128), False),
    ],
)
def test_what_is_replaced(conv, expected):
    assert suits(conv) is expected


@pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
@torch.inference_mode()
def test_whole_networks_with_every_convolution_replaced(family, monkeypatch):
    limits = replace(
        winograd.WINOGRAD, least_channels=9, least_channels_enlarged=4
    )  # not the ends, whose filters are used apart
    monkeypatch.setattr(winograd, "WINOGRAD", limits)
    torch.manual_seed(0)
    plain = build(tiny_spec(family), torch.randn(1, 2, 16))
    model, codec = sharing_copy(plain.model), sharing_copy(plain.codec)
    fold(model)
    for module in (model, codec):
        blocks.streamline(module, exact_cpu=True)
    assert any(isinstance(module, blocks.Enlargement) for module in codec.modules())
    assert not any("ResnetBlock2D" in type(module).__name__ for module in [*model.modules(), *codec.modules()])
    rgb, noise = torch.rand(2, 3, 72, 48) * 2 - 1, torch.randn(2, 4, 9, 6)  # 9 is odd: it halves to 5 and comes back
    for steps in (1, 3) if plain.model.stochastic else (1,):
        latents = plain.codec.encode(rgb)
        expected = plain.codec.decode(plain.model.solve(latents, steps, noise))
        got = codec.decode(model.solve(codec.encode(rgb), steps, noise))
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_input_is_left_alone():
    codec = sharing_copy(build(tiny_spec("fiffdepth"), torch.randn(1, 2, 16)).codec)
    blocks.streamline(codec, exact_cpu=False)
    rgb, latents = torch.rand(1, 3, 32, 32), torch.randn(1, 4, 4, 4)
    copies = rgb.clone(), latents.clone()
    assert torch.equal(codec.encode(rgb), codec.encode(rgb))
    assert torch.equal(codec.decode(latents), codec.decode(latents))
    assert torch.equal(rgb, copies[0])
    assert torch.equal(latents, copies[1])
