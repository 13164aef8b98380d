"""Every batched torch metric against its NumPy reference, on maps with holes and on degenerate ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leadline.depth.alignment import align
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.evaluation.boundaries import boundary_f1, edge_precision_recall
from leadline.evaluation.metrics_torch import (
    align_batch,
    boundary_f1_batch,
    edge_precision_recall_batch,
    pair_accuracy_batch,
    uncertainty_metrics_batch,
)
from leadline.evaluation.ordinal import pair_accuracy
from leadline.evaluation.uncertainty import uncertainty_metrics


@pytest.fixture(scope="module")
def maps() -> dict[str, np.ndarray]:
    """Four images: with holes, without, flat, and without any valid pixel."""
    rng = np.random.default_rng(0)
    truth = np.full((4, 24, 31), 4.0)
    truth[:2, 6:18, 8:20] = 2.0
    truth[1, 10:14, 10:12] = 0.7
    predicted = truth * rng.lognormal(0, 0.08, truth.shape)
    predicted[2] = 3.0
    sigma = rng.uniform(0.02, 0.5, truth.shape)
    sigma[2] = 0.1
    valid = np.ones(truth.shape, dtype=bool)
    valid[0] = rng.random(valid[0].shape) < 0.8
    valid[3] = False
    return {"predicted": predicted, "truth": truth, "sigma": sigma, "valid": valid}


def tensors(maps: dict[str, np.ndarray], *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(maps[name]) for name in names]


def same(batched: torch.Tensor, single: list[float | None]) -> None:
    np.testing.assert_allclose(batched.numpy(), [np.nan if v is None else v for v in single], rtol=1e-9, atol=1e-12)


def test_boundary_f1(maps) -> None:
    expected = [
        boundary_f1(p, g, v)["boundary_f1"]
        for p, g, v in zip(maps["predicted"], maps["truth"], maps["valid"], strict=True)
    ]
    same(boundary_f1_batch(*tensors(maps, "predicted", "truth", "valid")), expected)
    assert expected[3] is None


def test_edges(maps) -> None:
    batched = edge_precision_recall_batch(*tensors(maps, "predicted", "truth", "valid"))
    single = [
        edge_precision_recall(p, g, v) for p, g, v in zip(maps["predicted"], maps["truth"], maps["valid"], strict=True)
    ]
    for name in ("edge_precision", "edge_recall"):
        same(batched[name], [one[name] for one in single])


def test_uncertainty(maps) -> None:
    batched = uncertainty_metrics_batch(*tensors(maps, "predicted", "sigma", "truth", "valid"))
    single = [
        uncertainty_metrics(p, s, g, v)
        for p, s, g, v in zip(maps["predicted"], maps["sigma"], maps["truth"], maps["valid"], strict=True)
    ]
    for name, values in batched.items():
        same(values, [one[name] for one in single])
    assert single[2]["error_ratio"] is None


@pytest.mark.parametrize("space", list(Space))
def test_alignment(maps, space: Space) -> None:
    values = space.from_depth(maps["predicted"]) * 3 - 1
    scale, shift = align_batch(torch.from_numpy(values), *tensors(maps, "truth"), space, *tensors(maps, "valid"))
    single = [align(x, g, space, v) for x, g, v in zip(values, maps["truth"], maps["valid"], strict=True)]
    same(scale, [one.scale for one in single])
    same(shift, [one.shift for one in single])


def test_pairs(maps) -> None:
    rng = np.random.default_rng(1)
    pairs = np.stack(
        [
            rng.integers(0, 24, (4, 9)),
            rng.integers(0, 31, (4, 9)),
            rng.integers(0, 24, (4, 9)),
            rng.integers(0, 31, (4, 9)),
        ],
        -1,
    )
    near = -maps["predicted"].astype(np.float32)
    expected = [
        pair_accuracy(DepthPrediction(-n, Space.DEPTH), [tuple(p) for p in one])["pair_accuracy"]
        for n, one in zip(near, pairs, strict=True)
    ]
    same(pair_accuracy_batch(torch.from_numpy(near), torch.from_numpy(pairs)), expected)
