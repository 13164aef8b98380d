"""What runs where the model does: the paths for devices other than the processor, run on the processor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from completion_scene import keep, model_map, room

from leadline.completion import fusion, grid, neighbours
from leadline.completion.fit import fit_scale_and_shift
from leadline.completion.neighbours import Neighbours, nearest_of_all
from leadline.depth.spaces import Space
from leadline.sensors.sparse import points_of

IMAGE, DEPTH = room()


@pytest.mark.parametrize("count", [1, 12])
def test_both_searches_find_the_same_points(count, monkeypatch):
    rng = np.random.default_rng(0)
    places = torch.as_tensor(rng.uniform(0, 300, (500, 2)).astype(np.float32))
    wanted = torch.as_tensor(rng.uniform(0, 300, (700, 2)).astype(np.float32))
    monkeypatch.setattr(neighbours, "BLOCKS", replace(neighbours.BLOCKS, pairs=50_000))
    near, which = Neighbours(places).nearest(wanted, count)
    distances, indices = nearest_of_all(places, wanted, count)
    assert near.shape == which.shape == (count, 700)
    assert torch.equal(which, indices)
    torch.testing.assert_close(near, distances)


@pytest.mark.parametrize("points", [60, 3000])
def test_no_map_leaves_the_device(points, monkeypatch):
    """Off the processor nothing larger than the list of points is copied to it, and the result is the same."""
    prediction = model_map(DEPTH, Space.LOG_DEPTH, noise=0.1)
    sparse, _ = points_of(keep(DEPTH, points), DEPTH.shape)
    fit = fit_scale_and_shift(prediction.values[sparse.v, sparse.u], sparse.depth_m, prediction.space)
    values = torch.as_tensor(prediction.values)
    arguments = (IMAGE, values, values * 0.01, sparse, fit, prediction.space)
    depth, sigma, _ = fusion.fuse(*arguments)

    def refuse_maps(name):
        real = getattr(torch.Tensor, name)

        def guarded(tensor, *rest, **named):
            assert tensor.numel() <= points, f"a map left its device by {name}()"
            return real(tensor, *rest, **named)

        return guarded

    for name in ("cpu", "numpy", "tolist", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, refuse_maps(name))
    for module in (grid, neighbours):
        monkeypatch.setattr(module, "on_processor", lambda _: False)
    there, sigma_there, _ = fusion.fuse(*arguments)
    monkeypatch.undo()
    assert (there / depth - 1).abs().median() < 1e-5
    assert ((there / depth - 1).abs() < 1e-3).float().mean() > 0.97
    assert (
        (sigma_there / sigma - 1).abs() < 0.25
    ).float().mean() > 0.95  # equally near points may come in another order


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_what_the_processor_gives():
    prediction = model_map(DEPTH, Space.LOG_DEPTH, noise=0.1)
    sparse, _ = points_of(keep(DEPTH, 3000), DEPTH.shape)
    fit = fit_scale_and_shift(prediction.values[sparse.v, sparse.u], sparse.depth_m, prediction.space)
    values = torch.as_tensor(prediction.values)
    here, there = (
        fusion.fuse(IMAGE, values.to(device), None, sparse, fit, prediction.space)[0].cpu()
        for device in ("cpu", "cuda")
    )
    assert ((there / here - 1).abs() < 1e-3).float().mean() > 0.97
