"""Alignment of affine-invariant members: recovers what was undone, and beside the reference's."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn.functional import interpolate

from leadline.inference.ensembles import MemberAlignment, align_members, cost_of, merge, of_one_scale


def members(count: int, height: int, width: int, noise: float = 0.02, seed: int = 0) -> torch.Tensor:
    """One smooth map with details, in ``count`` scales and shifts, with smooth disagreement."""
    generator = torch.Generator().manual_seed(seed)

    def smooth(cells: int) -> torch.Tensor:
        grid = torch.rand(1, 1, cells, cells, generator=generator)
        return interpolate(grid, (height, width), mode="bicubic")[0, 0]

    truth = smooth(6) + 0.2 * smooth(24)
    scales = 0.5 + 0.5 * torch.rand(count, generator=generator)
    shifts = 0.3 * torch.rand(count, generator=generator)
    return torch.stack([s * (truth + noise * smooth(12)) + t for s, t in zip(scales, shifts, strict=True)])


@pytest.mark.parametrize("reduction", ["median", "mean"])
def test_members_that_differ_by_scale_and_shift_become_equal(reduction):
    maps = members(5, 40, 60, noise=0.0)
    alignment = align_members(maps, reduction)
    merged, spread = merge(maps, alignment, reduction)
    assert float(spread.max()) < 1e-4
    assert float(merged.min()) == pytest.approx(0.0, abs=1e-6)
    assert float(merged.max()) == pytest.approx(1.0, abs=1e-6)
    single = (maps[0] - maps[0].min()) / (maps[0].max() - maps[0].min())
    torch.testing.assert_close(merged, single, atol=1e-4, rtol=0)


def test_no_member_is_turned_around():
    unrelated = torch.rand(4, 30, 40, generator=torch.Generator().manual_seed(1))
    alignment = align_members(torch.cat([unrelated, 1.0 - unrelated[:1]]))
    assert float(alignment.scales.min()) > 0


def test_the_spread_of_members_from_noise_is_what_scale_and_shift_do_not_explain():
    maps = torch.tensor([[[0.0, 2.0], [4.0, 6.0]], [[1.0, 2.0], [3.0, 4.0]], [[5.0, 5.0], [5.0, 5.0]]])
    # two of one shape, with means 3 and 2.5 and variances 20/3 and 5/3; a flat one of mean 5; the means' mean is 3.5
    common = ((20 / 3) ** 0.5 + (5 / 3) ** 0.5 + 0.0) / 3
    shape = torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / (20 / 3) ** 0.5 * common
    brought = of_one_scale(maps)
    torch.testing.assert_close(brought[0], shape + 3.5)
    torch.testing.assert_close(brought[1], shape + 3.5)
    torch.testing.assert_close(brought[2], torch.full((2, 2), 3.5))
    assert float(of_one_scale(members(4, 20, 30, noise=0.0)).std(0).max()) < 1e-5


def test_large_maps_are_thinned_out_for_the_fit_only():
    maps = members(3, 30, 2200)
    merged, spread = merge(maps, align_members(maps))
    assert merged.shape == spread.shape == (30, 2200)


@pytest.mark.parametrize("seed", [0, 1])
def test_costs_no_more_than_the_reference(seed):
    pipeline = pytest.importorskip("diffusers.pipelines.marigold.pipeline_marigold_depth").MarigoldDepthPipeline
    maps = members(4, 48, 64, noise=0.1, seed=seed)
    reference = official_alignment(pipeline, maps)
    assert cost_of(align_members(maps), maps) <= cost_of(reference, maps) + 1e-3


def official_alignment(pipeline, maps: torch.Tensor) -> MemberAlignment:
    """The reference's parameters, caught where its optimiser returns them."""
    import scipy.optimize

    caught = {}
    minimise = scipy.optimize.minimize

    def watched(*args, **options):
        caught["x"] = minimise(*args, **options).x
        return type("result", (), {"x": caught["x"]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scipy.optimize, "minimize", watched)
        pipeline.ensemble_depth(maps[:, None], True, True, output_uncertainty=False)
    return MemberAlignment(*torch.from_numpy(caught["x"]).double().chunk(2))


@pytest.mark.slow
def test_takes_a_twentieth_of_the_reference_time():
    pipeline = pytest.importorskip("diffusers.pipelines.marigold.pipeline_marigold_depth").MarigoldDepthPipeline
    maps = members(10, 240, 320)

    def seconds(work) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    ours = min(seconds(lambda: merge(maps, align_members(maps))) for _ in range(3))
    reference = seconds(lambda: pipeline.ensemble_depth(maps[:, None], True, True, output_uncertainty=True))
    print(f"reference {reference:.2f} s, ours {ours:.3f} s, {reference / ours:.0f} times")
    assert reference >= 20 * ours
