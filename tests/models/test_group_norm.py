"""Group normalisation keeps its digits on large images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import group_norm

from leadline.models.group_norm import SteadyGroupNorm


@pytest.fixture
def norm():
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 32, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.eval()


@pytest.mark.parametrize("shape", [(2, 32, 128, 136), (1, 32, 256, 256), (3, 32, 7, 5)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@torch.inference_mode()
def test_equal_to_float64(norm, shape, layout):
    x = torch.randn(shape) + torch.randn(1, shape[1], 1, 1)
    truth = group_norm(x.double(), 8, norm.weight.double(), norm.bias.double(), norm.eps)
    ours = SteadyGroupNorm(norm)(x.contiguous(memory_format=layout))
    assert ours.is_contiguous(memory_format=layout)
    assert ours.dtype == torch.float32
    assert float((ours - truth).norm() / truth.norm()) < 2e-7


@torch.inference_mode()
def test_better_than_the_kernel_it_replaces(norm):
    x = torch.randn(1, 32, 256, 256).contiguous(memory_format=torch.channels_last)
    truth = group_norm(x.double(), 8, norm.weight.double(), norm.bias.double(), norm.eps)
    errors = [float((one - truth).norm()) for one in (norm(x), SteadyGroupNorm(norm)(x))]
    assert errors[1] < errors[0] / 5


@torch.inference_mode()
def test_a_constant_image_is_not_divided_by_zero(norm):
    x = torch.full((1, 32, 128, 128), 3.0).contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(SteadyGroupNorm(norm)(x)).all()


def test_what_it_replaces():
    assert SteadyGroupNorm.can_replace(nn.GroupNorm(2, 4))
    assert not SteadyGroupNorm.can_replace(nn.GroupNorm(2, 4, affine=False))
    assert not SteadyGroupNorm.can_replace(nn.BatchNorm2d(4))
