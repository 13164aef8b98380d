"""Sampling patterns, classical fills, and the hidden-point protocol around the real completion."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.completion import complete
from leadline.errors import InputError
from leadline.evaluation.baselines import Baseline
from leadline.evaluation.completion import completion_tables, evaluate_completion, score_hidden, with_outliers
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.sparse import FILLS, fill_linear, fill_morphological, fill_nearest, sample

DEPTH = layouts.plane(48, 64)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "points"), [("1", 1), ("500", 500), ("2%", 61), ("half", 48 * 64 // 2), ("99999", 48 * 64)]
    )
    def test_counts(self, pattern: str, points: int) -> None:
        sparse = sample(pattern, DEPTH)
        assert np.count_nonzero(sparse) == points
        np.testing.assert_array_equal(sparse[sparse > 0], DEPTH[sparse > 0])

    def test_seeds(self) -> None:
        np.testing.assert_array_equal(sample("50", DEPTH, 1), sample("50", DEPTH, 1))
        assert (sample("50", DEPTH, 1) != sample("50", DEPTH, 2)).any()

    def test_holes_are_never_kept(self) -> None:
        holes = np.where(np.random.default_rng(0).random(DEPTH.shape) < 0.5, DEPTH, 0).astype(np.float32)
        for pattern in ("20", "2%", "half", "16-line"):
            assert not (sample(pattern, holes) > 0)[holes == 0].any()

    def test_scanner_lines_are_curves_of_constant_elevation(self) -> None:
        camera = (500.0, 500.0, 319.5, 239.5)
        sparse = sample("16-line", np.ones((480, 640), np.float32), intrinsics=camera)
        rows, columns = np.nonzero(sparse)
        elevation = np.arctan((rows - 239.5) / 500.0 * np.cos(np.arctan((columns - 319.5) / 500.0)))
        spacing = 2 * np.arctan(239.5 / 500.0) / 16
        line = (elevation - elevation.min()) / spacing
        assert len(np.unique(np.rint(line))) == 16
        assert np.abs(line - np.rint(line)).max() < 0.05  # rounding to pixels
        assert np.ptp(rows[np.rint(line) == 0]) > 10  # a beam far from the horizon bends in the image
        assert np.count_nonzero(sample("64-line", np.ones((480, 640), np.float32), intrinsics=camera)) > 3.5 * rows.size

    @pytest.mark.parametrize("pattern", ["", "0", "some", "-5", "%", "line"])
    def test_nonsense(self, pattern: str) -> None:
        with pytest.raises(InputError, match="not a pattern"):
            sample(pattern, DEPTH)


class TestFills:
    @pytest.mark.parametrize("fill", FILLS.values(), ids=list(FILLS))
    def test_constant_stays_constant(self, fill) -> None:
        sparse = sample("30", np.full((40, 50), 3.0, np.float32))
        np.testing.assert_allclose(fill(sparse), 3.0, atol=1e-4)

    @pytest.mark.parametrize("fill", FILLS.values(), ids=list(FILLS))
    @pytest.mark.parametrize("points", [1, 2, 3])
    def test_few_points(self, fill, points: int) -> None:
        filled = fill(sample(str(points), DEPTH))
        assert filled.shape == DEPTH.shape
        assert filled.dtype == np.float32
        assert (filled > 0).all()
        assert np.isfinite(filled).all()

    @pytest.mark.parametrize("fill", [fill_nearest, fill_linear, fill_morphological])
    def test_no_point(self, fill) -> None:
        with pytest.raises(InputError, match="no point"):
            fill(np.zeros((8, 8), np.float32))

    def test_nearest_agrees_with_a_tree(self) -> None:
        spatial = pytest.importorskip("scipy.spatial")
        sparse = sample("37", DEPTH, 3)
        points = np.argwhere(sparse > 0)
        grid = np.argwhere(np.ones_like(DEPTH, dtype=bool))
        distance, _ = spatial.cKDTree(points).query(grid)
        ours = fill_nearest(sparse).ravel()
        reach = np.linalg.norm(grid[:, None] - points[None], axis=-1) <= distance[:, None] + 1e-3
        values = sparse[tuple(points.T)]
        assert all(ours[i] in values[reach[i]] for i in range(ours.size))

    def test_linear_is_exact_on_a_plane_inside_the_hull(self) -> None:
        y, x = np.mgrid[0:40, 0:50].astype(np.float32)
        ramp = 1 + 0.1 * x + 0.05 * y
        sparse = np.zeros_like(ramp)
        sparse[::39, ::49] = ramp[::39, ::49]
        sparse[13, 17] = ramp[13, 17]
        np.testing.assert_allclose(fill_linear(sparse), ramp, rtol=1e-5)

    def test_morphology_prefers_the_nearer_surface(self) -> None:
        sparse = np.zeros((21, 21), np.float32)
        sparse[10, 9], sparse[10, 11] = 2.0, 8.0
        assert fill_morphological(sparse)[10, 10] < 4.0


@settings(max_examples=20)
@given(st.floats(0.0, 0.9), st.integers(0, 5))
def test_outliers_are_as_many_as_said(share: float, seed: int) -> None:
    sparse = sample("200", DEPTH, seed)
    spoiled = with_outliers(sparse, share, seed)
    wrong = np.abs(spoiled / np.maximum(sparse, 1e-9) - 1)[sparse > 0] > 0.2
    assert wrong.sum() == round(share * 200)
    np.testing.assert_array_equal(spoiled > 0, sparse > 0)


def test_scores_by_hand() -> None:
    truth = np.array([[2.0, 4.0, 8.0]], np.float32)
    hidden = np.array([[True, True, False]])
    scores = score_hidden(np.array([[3.0, 4.0, 99.0]]), np.array([[0.6, 0.1, 1.0]], np.float32), truth, hidden)
    assert scores["rmse"] == pytest.approx(np.sqrt(0.5))
    assert scores["rmse_share"] == pytest.approx(np.sqrt(0.5) / 3)
    assert scores["mae"] == 0.5
    assert scores["abs_rel"] == 0.25
    assert (scores["coverage_1s"], scores["coverage_2s"]) == (0.5, 1.0)


def test_protocol_with_the_real_completion(tmp_path: Path) -> None:
    layouts.pairs(tmp_path / "data")
    layouts.write(tmp_path / "data" / "z.png", b"broken")
    data = open_dataset("pairs", tmp_path / "data")
    summary = evaluate_completion([Baseline("row")], complete, data, tmp_path / "out", ("100", "half"))
    assert {s["name"] for s in summary["skipped"]} == {"d", "z"}  # not metric; not readable
    for pattern in ("100", "half"):
        means = summary["means"][pattern]
        assert set(means) == {*FILLS, "row: scale and shift", "row: completion"}
        assert all(m["images"] == 3 for m in means.values())
        assert means["row: completion"]["rmse"] < means["row: scale and shift"]["rmse"]
        assert 0 <= means["row: completion"]["coverage_1s"] <= means["row: completion"]["coverage_2s"] <= 1
    assert json.loads((tmp_path / "out/completion.json").read_text())["means"] == summary["means"]
    assert len((tmp_path / "out/completion.csv").read_text().splitlines()) == 1 + 3 * 2 * 5
    tables = completion_tables(summary)
    assert list(tables) == ["pairs: 100 points", "pairs: half"]
    assert "row: completion" in tables["pairs: half"].text()


def test_given_points_are_scored_on_all_ground_truth(tmp_path: Path) -> None:
    layouts.kitti_completion(tmp_path / "data")
    data = open_dataset("kitti-completion", tmp_path / "data")
    summary = evaluate_completion([], complete, data, tmp_path / "out", ("given",))
    assert summary["means"]["given"]["linear"]["rmse"] < summary["means"]["given"]["morphological"]["rmse"]
    layouts.pairs(tmp_path / "pairs")
    with pytest.raises(InputError, match="brings no sparse points"):
        evaluate_completion([], complete, open_dataset("pairs", tmp_path / "pairs"), tmp_path / "out", ("given",))
