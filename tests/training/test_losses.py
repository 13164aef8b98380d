"""Losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from leadline.depth.alignment import align
from leadline.depth.spaces import Space
from leadline.evaluation.metrics import depth_metrics
from leadline.training import losses


def grid(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_squared_and_absolute_error_by_hand() -> None:
    prediction, target = grid([1.0, 2.0], [3.0, 4.0]), grid([1.0, 0.0], [0.0, 4.0])
    assert float(losses.squared_error(prediction, target)) == pytest.approx((0 + 4 + 9 + 0) / 4)
    assert float(losses.absolute_error(prediction, target)) == pytest.approx((0 + 2 + 3 + 0) / 4)


def test_error_norm_by_hand() -> None:
    prediction = torch.tensor([[[[3.0, 1.0]], [[4.0, 1.0]]]])  # two channels, two cells: lengths 5 and the root of 2
    target = torch.zeros_like(prediction)
    assert float(losses.error_norm(prediction, target)) == pytest.approx((5 + math.sqrt(2)) / 2)
    assert float(losses.error_norm(prediction, target, torch.tensor([[[[1, 0]]]]).bool())) == pytest.approx(5.0)


def test_masked_cells_do_not_count() -> None:
    prediction, target = grid([1.0, 2.0], [3.0, 4.0]), grid([1.0, 0.0], [0.0, 4.0])
    mask = grid([1.0, 1.0], [0.0, 0.0]).bool()
    assert float(losses.squared_error(prediction, target, mask)) == pytest.approx(4 / 2)
    assert float(losses.squared_error(prediction, target, torch.zeros_like(mask))) == 0.0


def test_mask_is_shared_by_channels() -> None:
    prediction = torch.ones(1, 3, 2, 2)
    mask = grid([1.0, 0.0], [0.0, 0.0]).bool()
    assert float(losses.squared_error(prediction, torch.zeros_like(prediction), mask)) == pytest.approx(1.0)


def test_gradient_matching_by_hand() -> None:
    # residual [[0, 2], [3, 0]]: along x |2| + |-3| = 5, along y |3| + |-2| = 5, four cells
    prediction, target = grid([1.0, 2.0], [3.0, 4.0]), grid([1.0, 0.0], [0.0, 4.0])
    assert float(losses.gradient_matching(prediction, target)) == pytest.approx(10 / 4)


def test_gradient_matching_ignores_a_constant_offset() -> None:
    prediction = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert float(losses.gradient_matching(prediction + 3.0, prediction)) == pytest.approx(0.0, abs=1e-5)


def test_gradient_matching_needs_both_ends_valid() -> None:
    prediction, target = grid([0.0, 5.0, 5.0]), grid([0.0, 0.0, 0.0])
    mask = grid([1.0, 0.0, 1.0]).bool()
    assert float(losses.gradient_matching(prediction, target, mask)) == 0.0


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        (0.0, 0.0),
        (0.1, 0.2 * 0.1),  # linear branch
        (0.2, 0.04),  # both branches meet: 0.2 * 0.2 = 0.5 * 0.04 + 0.5 * 0.04
        (1.0, 0.5 + 0.02),  # quadratic branch
        (-1.0, 0.5 + 0.02),
    ],
)
def test_modified_huber_has_the_papers_form(residual: float, expected: float) -> None:
    assert float(losses.modified_huber(torch.tensor(residual), 0.2)) == pytest.approx(expected)


def test_modified_huber_is_continuous_at_delta() -> None:
    below, above = losses.modified_huber(torch.tensor([0.2 - 1e-6, 0.2 + 1e-6]), 0.2)
    assert abs(float(above - below)) < 1e-5  # the official code jumps from 0.06 to 0.02 here


def test_directional_gradients_of_a_plane() -> None:
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    gradients = losses.directional_gradients((2.0 * x + 3.0 * y)[None, None])
    assert gradients.shape == (1, 4, 3, 3)
    assert [float(g.unique()) for g in gradients[0]] == [2.0, 3.0, 5.0, 1.0]  # x, y, down-right, down-left


def test_multi_directional_gradient_loss_by_hand() -> None:
    # target is flat, prediction a ramp of 1 along x: differences (1, 0, 1, -1), each 1 costs 0.5 + 0.02
    prediction = torch.arange(5.0).expand(1, 1, 4, 5)
    loss = losses.multi_directional_gradient_loss(prediction, torch.zeros(1, 1, 4, 5), delta=0.2)
    assert float(loss) == pytest.approx(3 * 0.52 / 4)


def test_multi_directional_gradient_loss_skips_unknown_pixels() -> None:
    prediction = torch.zeros(1, 1, 5, 5)
    prediction[..., 2, 2] = 100.0
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[..., 2, 2] = False
    assert float(losses.multi_directional_gradient_loss(prediction, torch.zeros(1, 1, 5, 5), mask=mask)) == 0.0


def test_feature_alignment_by_hand() -> None:
    # external softmax (0.5, 0.5), aligned softmax (0.25, 0.75): KL = 0.5 ln 2 + 0.5 ln(2/3)
    aligned = torch.tensor([0.0, math.log(3.0)]).view(1, 2, 1, 1)
    loss = losses.feature_alignment(aligned, torch.zeros(1, 2, 1, 1))
    assert float(loss) == pytest.approx(0.5 * math.log(2.0) + 0.5 * math.log(2.0 / 3.0), rel=1e-5)


def test_feature_alignment_vanishes_only_for_equal_distributions() -> None:
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    assert float(losses.feature_alignment(features + 7.0, features)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.feature_alignment(features.flip(1), features)) > 0.01


def test_kl_to_standard_normal_by_hand() -> None:
    assert float(losses.kl_to_standard_normal(torch.zeros(3), torch.zeros(3))) == 0.0
    value = losses.kl_to_standard_normal(torch.tensor([2.0]), torch.tensor([math.log(4.0)]))
    assert float(value) == pytest.approx(0.5 * (4.0 + 4.0 - 1.0 - math.log(4.0)))


def metres(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None]


@pytest.mark.parametrize("space", list(Space))
def test_aligned_error_forgets_scale_and_shift(space: Space) -> None:
    depth_m = metres([1.0, 2.0, 0.0], [4.0, 9.0, 3.0])
    values = 0.3 * space.from_depth(depth_m) - 7.0
    values[0, 0, 2] = 50.0  # where depth is unknown, nothing counts
    assert float(losses.aligned_abs_rel(values, depth_m, space)) == pytest.approx(0.0, abs=1e-4)


def test_aligned_error_by_hand() -> None:
    # the best line through (0, 1), (1, 3), (2, 2) is 1.5 + 0.5 x: depths 1.5, 2, 2.5 instead of 1, 3, 2
    error = losses.aligned_abs_rel(metres([0.0, 1.0, 2.0]), metres([1.0, 3.0, 2.0]), Space.DEPTH)
    assert float(error) == pytest.approx((0.5 / 1 + 1 / 3 + 0.5 / 2) / 3, rel=1e-5)


@pytest.mark.parametrize("space", list(Space))
def test_aligned_error_is_what_evaluation_measures(space: Space) -> None:
    generator = torch.Generator().manual_seed(0)
    depth_m = 1.0 + 4.0 * torch.rand(1, 6, 7, generator=generator)
    values = space.from_depth(depth_m * (1.0 + 0.1 * torch.randn(1, 6, 7, generator=generator)))
    fit = align(values[0].numpy(), depth_m[0].numpy(), space)
    measured = depth_metrics(fit.apply(values[0].numpy()), depth_m[0].numpy())["abs_rel"]
    assert float(losses.aligned_abs_rel(values, depth_m, space)) == pytest.approx(measured, rel=1e-3)


@pytest.mark.parametrize("space", list(Space))
def test_aligned_error_and_its_gradient_stay_finite(space: Space) -> None:
    depth_m = torch.stack([metres([0.1, 0.2, 100.0, 90.0])[0], torch.zeros(1, 4), metres([5.0, 5.0, 5.0, 5.0])[0]])
    values = torch.tensor([[[9.0, -3.0, 4.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]], [[2.0, 2.0, 2.0, 2.0]]]).requires_grad_()
    error = losses.aligned_abs_rel(values, depth_m, space)
    error.backward()
    assert error.isfinite()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad[0].abs().sum() > 0
    assert values.grad[1].abs().sum() == 0  # nothing is known of this picture


def test_aligned_error_falls_by_descent() -> None:
    generator = torch.Generator().manual_seed(1)
    depth_m = 1.0 + 9.0 * torch.rand(2, 5, 5, generator=generator)
    values = torch.randn(2, 5, 5, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([values], lr=0.05)
    first = losses.aligned_abs_rel(values, depth_m, Space.SQRT_DISPARITY).item()
    for _ in range(200):
        optimiser.zero_grad()
        losses.aligned_abs_rel(values, depth_m, Space.SQRT_DISPARITY).backward()
        optimiser.step()
    assert losses.aligned_abs_rel(values, depth_m, Space.SQRT_DISPARITY).item() < 0.1 * first


def test_a_map_is_fitted_in_scale_and_shift_where_it_counts() -> None:
    values = torch.tensor([[[[0.0, 1.0, 2.0, 50.0]]]])
    target = torch.tensor([[[[5.0, 7.0, 9.0, -1.0]]]])
    inside = torch.tensor([[[[True, True, True, False]]]])
    fitted = losses.scale_and_shift_to(values, target, inside)
    torch.testing.assert_close(fitted[..., :3], target[..., :3])
    flat = losses.scale_and_shift_to(torch.full_like(values, 3.0), target, inside)
    torch.testing.assert_close(flat, torch.full_like(flat, 7.0))  # the mean of what counts


def test_edges_are_compared_at_every_scale() -> None:
    target = torch.zeros(1, 1, 3, 3)
    ramp = torch.tensor([0.0, 1.0, 2.0]).expand(1, 1, 3, 3).contiguous()  # 1 a pixel along x, nothing along y
    everywhere = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    assert float(losses.edge_error(ramp, target, everywhere, scales=1)) == pytest.approx(1.0)
    assert float(losses.edge_error(ramp, target, everywhere, scales=2)) == pytest.approx(
        1.0 + 2.0
    )  # every second pixel: 2 apart
    part = everywhere.clone()
    part[..., 2] = False  # only the difference between columns 0 and 1 is left
    assert float(losses.edge_error(ramp * ramp, target, part, scales=1)) == pytest.approx(1.0)
