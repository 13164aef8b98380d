"""Metrics against values worked out by hand and against torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.errors import InputError
from leadline.evaluation.metrics import DEPTH_METRICS, METRICS, depth_metrics, mean_scores

#: p and g of two pixels, and what a pencil makes of them.
P, G = np.array([[1.0, 6.0]]), np.array([[2.0, 4.0]])
L1, L2 = math.log(0.5), math.log(1.5)
BY_HAND = {
    "abs_rel": (0.5 + 0.5) / 2,
    "sq_rel": (1 / 2 + 4 / 4) / 2,
    "rmse": math.sqrt((1 + 4) / 2),
    "rmse_log": math.sqrt((L1**2 + L2**2) / 2),
    "log10": (math.log10(2) + math.log10(1.5)) / 2,
    "delta1": 0.0,
    "delta2": 0.5,  # 1.5 < 1.5625 < 2
    "delta3": 0.5,  # 1.953 < 2
    "silog": 100 * math.sqrt((L1**2 + L2**2) / 2 - ((L1 + L2) / 2) ** 2),
    "mae": 1.5,
    "irmse": 1000 * math.sqrt((0.5**2 + (1 / 12) ** 2) / 2),
    "imae": 1000 * (0.5 + 1 / 12) / 2,
}


@pytest.mark.parametrize("name", DEPTH_METRICS)
def test_by_hand(name: str) -> None:
    assert depth_metrics(P, G)[name] == pytest.approx(BY_HAND[name], abs=1e-12)


def test_hand_values_cover_every_metric() -> None:
    assert set(BY_HAND) == set(DEPTH_METRICS) <= set(METRICS)


def test_invalid_pixels_do_not_count() -> None:
    p = np.array([[1.0, 6.0, 9.0, 9.0, 9.0, np.nan, 9.0]])
    g = np.array([[2.0, 4.0, 0.0, np.nan, np.inf, 5.0, 5.0]])
    valid = np.array([[True] * 6 + [False]])
    assert depth_metrics(p, g, valid) == depth_metrics(P, G)


def test_no_valid_pixel_gives_none_and_stays_out_of_means() -> None:
    empty = depth_metrics(P, np.zeros_like(G))
    assert set(empty) == set(DEPTH_METRICS)
    assert set(empty.values()) == {None}
    means, counts = mean_scores([empty, depth_metrics(P, G)])
    assert means["rmse"] == pytest.approx(BY_HAND["rmse"])
    assert counts["rmse"] == 1


def test_one_pixel_and_constant_prediction_are_finite() -> None:
    one = depth_metrics(np.array([[3.0]]), np.array([[2.0]]))
    assert one["abs_rel"] == 0.5
    assert one["silog"] == 0.0
    flat = depth_metrics(np.full((4, 4), 2.0), np.linspace(1, 3, 16).reshape(4, 4))
    assert all(value is not None and math.isfinite(value) for value in flat.values())


def test_predicted_zero_is_clamped_not_infinite() -> None:
    assert depth_metrics(np.array([0.0]), np.array([1.0]))["imae"] == pytest.approx(1000 * 999.0)


def test_the_floor_of_a_data_set_decides_logarithms_and_reciprocals() -> None:
    scores = depth_metrics(np.array([-3.0, 2.0]), np.array([1.0, 2.0]), min_depth_m=1e-5)
    assert scores["imae"] == pytest.approx(1000 * (1e5 - 1) / 2)
    assert scores["rmse_log"] == pytest.approx(math.log(1e5) / math.sqrt(2))
    assert scores["silog"] == pytest.approx(100 * math.log(1e5) / 2)


def test_many_blocks_are_one_picture() -> None:
    rng = np.random.default_rng(1)
    g = rng.uniform(1, 50, (900, 700))
    p = g * rng.lognormal(0.3, 0.1, g.shape)
    logs = np.log(p / g)
    ours = depth_metrics(p, g)
    assert ours["silog"] == pytest.approx(100 * np.std(logs), rel=1e-12)
    assert ours["abs_rel"] == pytest.approx(np.mean(np.abs(p - g) / g), rel=1e-12)
    assert depth_metrics(7 * g, g)["silog"] == pytest.approx(0, abs=1e-9)


def test_size_mismatch() -> None:
    with pytest.raises(InputError, match="differ in size"):
        depth_metrics(np.ones((2, 2)), np.ones((2, 3)))


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    g = rng.uniform(0.5, 20.0, (3, 23, 31))
    p = g * rng.lognormal(0.05, 0.3, g.shape)
    g[rng.random(g.shape) < 0.3] = 0.0
    return p, g, rng.random(g.shape) < 0.9


def test_agrees_with_torchmetrics(maps) -> None:
    regression = pytest.importorskip("torchmetrics.functional.regression")
    p, g, valid = maps
    mask = valid[0] & (g[0] > 0)
    ours = depth_metrics(p[0], g[0], valid[0])
    a, b = torch.from_numpy(p[0][mask]), torch.from_numpy(g[0][mask])
    theirs = {
        "abs_rel": regression.mean_absolute_percentage_error(a, b),
        "rmse": regression.mean_squared_error(a, b, squared=False),
        "rmse_log": regression.mean_squared_error(a.log(), b.log(), squared=False),
        "log10": regression.mean_absolute_error(a.log10(), b.log10()),
        "mae": regression.mean_absolute_error(a, b),
        "irmse": 1000 * regression.mean_squared_error(1 / a, 1 / b, squared=False),
        "imae": 1000 * regression.mean_absolute_error(1 / a, 1 / b),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-6), name


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0.01, 1e3), st.floats(0.01, 1e3)), min_size=1, max_size=30))
def test_bounds_on_any_depths(pairs: list[tuple[float, float]]) -> None:
    p, g = (np.array(column)[None] for column in zip(*pairs, strict=True))
    ours = depth_metrics(p, g)
    assert 0 <= ours["delta1"] <= ours["delta2"] <= ours["delta3"] <= 1
    assert ours["mae"] <= ours["rmse"] * (1 + 1e-9)


def test_scale_invariance_is_where_it_should_be(maps) -> None:
    p, g, _ = maps
    once, twice = depth_metrics(p, g), depth_metrics(2 * p, 2 * g)
    for name in ("abs_rel", "rmse_log", "log10", "delta1", "silog"):
        assert once[name] == pytest.approx(twice[name], rel=1e-9)
    assert twice["rmse"] == pytest.approx(2 * once["rmse"])
    assert depth_metrics(3 * p, g)["silog"] == pytest.approx(once["silog"])
