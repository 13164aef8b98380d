"""Muon: what a step does to a matrix, which parameters it is for, and that it gets somewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from leadline.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_all_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalised(matrix)
    assert made.shape == matrix.shape
    stretched = torch.linalg.svdvals(made)
    assert stretched.min() > 0.6
    assert stretched.max() < 1.3
    along = torch.diagonal(left.T @ made @ right.T)  # it turns nothing: the singular directions stay
    assert torch.allclose(along, stretched.sort(descending=True).values.mean().expand_as(along), atol=0.35)
    assert values.max() / values.min() > stretched.max() / stretched.min()


def test_a_zero_gradient_moves_nothing() -> None:
    assert torch.equal(orthogonalised(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_the_update_has_the_size_of_adams_whatever_the_size_of_the_gradient() -> None:
    for factor in (1e-4, 1.0, 1e4):
        weight = nn.Parameter(torch.zeros(32, 8, 3, 3))
        weight.grad = factor * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        Muon([("inner.weight", weight)], lr=0.5).step()
        size = weight.detach().square().mean().sqrt().item()
        assert size == pytest.approx(0.5 * 0.2, rel=0.25)


def test_vectors_and_outer_layers_take_adams_steps() -> None:
    generator = torch.Generator().manual_seed(2)
    names = ("inner.bias", "conv_in.weight", "down.0.time_emb_proj.weight")
    shapes = ((6,), (6, 4, 3, 3), (6, 5))
    mine, theirs = ([nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    muon = Muon(list(zip(names, mine, strict=True)), lr=0.01, weight_decay=0.1)
    adam = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1)
    for _ in range(5):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        muon.step()
        adam.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_weights_decay_apart_from_the_gradient() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([("inner.weight", weight)], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


def test_a_parameter_without_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    Muon([("inner.weight", weight)], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))


def test_it_solves_a_small_problem() -> None:
    generator = torch.Generator().manual_seed(3)
    seen = torch.randn(256, 24, generator=generator)
    wanted = seen @ torch.randn(24, 16, generator=generator)
    weight = nn.Parameter(torch.zeros(24, 16))
    optimiser = Muon([("inner", weight)], lr=0.2)
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - step / 100)
        optimiser.zero_grad()
        (seen @ weight - wanted).square().mean().backward()
        optimiser.step()
    assert (seen @ weight - wanted).square().mean() < 0.01 * wanted.square().mean()
