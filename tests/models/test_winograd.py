"""Convolutions with fewer products give the same numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from tiny import tiny_spec
from torch import nn
from torch.nn.functional import conv2d, interpolate

from leadline.checkpoints.bundle import build
from leadline.models import blocks, convolution, winograd
from leadline.models.convolution import Enlargement, SizedConvolution, suits
from leadline.models.folding import fold, sharing_copy
from leadline.models.tuned import CONVOLUTION
from leadline.models.winograd import Winograd

SHAPES = [(1, 4, 4, 1, 1), (2, 8, 12, 9, 7), (3, 16, 8, 16, 12), (1, 3, 5, 4, 30)]


@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk_bytes", [1, 20_000, 8 << 20])
@torch.inference_mode()
def test_equals_the_direct_convolution(shape, enlarge, chunk_bytes, monkeypatch):
    monkeypatch.setattr(winograd, "CONVOLUTION", replace(CONVOLUTION, chunk_bytes=chunk_bytes))
    torch.manual_seed(0)
    count, inputs, outputs, height, width = shape
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=count > 1)
    images = torch.randn(count, inputs, height, width)
    got = Winograd(enlarge)(images, conv.weight, conv.bias)
    torch.testing.assert_close(got.double(), exactly(conv, images, enlarge), atol=5e-6, rtol=0)


@torch.inference_mode()
def test_rounds_little_more_than_the_direct_convolution():
    torch.manual_seed(0)
    conv, images = nn.Conv2d(256, 256, 3, padding=1), torch.randn(1, 256, 16, 16)
    exact = exactly(conv, images)
    direct, ours = (torch.std(out - exact) for out in (conv(images), Winograd()(images, conv.weight, conv.bias)))
    assert ours < 12 * direct


def test_the_room_for_filters_is_that_of_the_largest_layer():
    layers = nn.Sequential(
        SizedConvolution(nn.Conv2d(128, 256, 3, padding=1)), Enlargement(nn.Conv2d(64, 64, 3, padding=1))
    )
    assert convolution.room_bytes(layers) == 4 * 36 * 128 * 256
    assert convolution.room_bytes(layers[1]) == 4 * 100 * 64 * 64
    never = SizedConvolution(nn.Conv2d(1280, 1280, 3, padding=1))  # 236 MB: it always goes another way
    assert convolution.room_bytes(never) == 0


@torch.inference_mode()
def test_threads_do_not_share_their_room():
    torch.manual_seed(0)
    convs = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)]
    images = torch.randn(1, 16, 40, 40)

    def run(conv):
        with torch.inference_mode():
            return [Winograd(True)(images, conv.weight, conv.bias) for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        for conv, outs in zip(convs, threads.map(run, convs), strict=True):
            for out in outs:
                torch.testing.assert_close(out.double(), exactly(conv, images, True), atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(128, 128, 3, padding=1), True),
        (nn.Conv2d(128, 64, 3, padding=1), False),  # too few channels for any way but PyTorch's
        (nn.Conv2d(1280, 1280, 3, padding=1), True),
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


WAYS = {"product": "_one_product", "direct": "conv2d", "winograd": "_PLAIN", "enlarging": "_ENLARGING"}


@pytest.mark.parametrize(
    ("shape", "enlarge", "way"),
    [
        ((1, 24, 16), False, "product"),
        ((4, 8, 8), False, "product"),
        ((1, 20, 20), False, "direct"),
        ((1, 24, 24), False, "winograd"),
        ((1, 12, 8), True, "product"),
        ((1, 11, 9), True, "direct"),
        ((1, 20, 20), True, "winograd"),
        ((1, 24, 24), True, "enlarging"),
    ],
)
@torch.inference_mode()
def test_each_way_of_a_convolution_gives_the_same(shape, enlarge, way, monkeypatch):
    """With limits fit for a small convolution; which way it went is seen by taking the others away."""
    torch.manual_seed(0)
    limits = replace(CONVOLUTION, least_weights=1, most_pixels=384, least_channels=1, least_channels_enlarged=1)
    monkeypatch.setattr(convolution, "CONVOLUTION", limits)
    for other in set(WAYS.values()) - {WAYS[way]}:
        monkeypatch.setattr(convolution, other, Refusing())
    count, height, width = shape
    conv, images = nn.Conv2d(6, 7, 3, padding=1), torch.randn(count, 6, height, width)
    replacement = Enlargement(conv) if enlarge else SizedConvolution(conv)
    torch.testing.assert_close(replacement(images).double(), exactly(conv, images, enlarge), atol=5e-6, rtol=0)


class Refusing:
    """In the place of a way that must not be taken."""

    def filter_bytes(self, weight):
        return 0

    def __call__(self, *args, **options):
        raise AssertionError("the wrong way")


def exactly(conv, images, enlarge=False):
    """The convolution in float64, directly."""
    seen = interpolate(images, scale_factor=2.0, mode="nearest") if enlarge else images
    bias = None if conv.bias is None else conv.bias.double()
    return conv2d(seen.double(), conv.weight.double(), bias, padding=1)


@pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
@torch.inference_mode()
def test_whole_networks_with_every_convolution_replaced(family, monkeypatch):
    # not the ends, whose filters are used apart
    limits = replace(CONVOLUTION, least_channels=9, least_channels_enlarged=4, least_tiles=1)
    monkeypatch.setattr(convolution, "CONVOLUTION", limits)
    torch.manual_seed(0)
    plain = build(tiny_spec(family), torch.randn(1, 2, 16))
    model, codec = sharing_copy(plain.model), sharing_copy(plain.codec)
    fold(model)
    for module in (model, codec):
        blocks.streamline(module, exact_cpu=True)
    assert any(isinstance(module, Enlargement) for module in codec.modules())
    assert any(isinstance(module, SizedConvolution) for module in model.modules())
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
