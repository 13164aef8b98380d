import csv

import cv2
import numpy as np
import pytest

from leadline.completion import complete
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.evaluation import board
from leadline.evaluation.board_table import board_table, goals_table, misses
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.faults import POINT_FAULTS, spoil_picture, spoil_points
from leadline.evaluation.patterns import Measured, downscaled, draw, omnidc_noise, virtual_lines
from leadline.files.maps import read_map

HEIGHT, WIDTH = 96, 128
INTRINSICS = (100.0, 100.0, 63.5, 47.5)


def scene():
    v, u = np.indices((HEIGHT, WIDTH)).astype(np.float32)
    depth = (4 + u / 40 + np.where((u > 50) & (u < 90) & (v > 30), -2, 0)).astype(np.float32)
    texture = np.random.default_rng(0).integers(0, 200, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)), depth


RGB, DEPTH = scene()
ON = Measured(DEPTH, RGB, INTRINSICS)


@pytest.mark.parametrize(
    "pattern", [*board.PATTERNS, "omnidc:KITTI_16", "priorda:distance_3_5", "priorda:cubic_40+cover"]
)
def test_every_pattern_keeps_some_of_what_was_measured(pattern):
    measured = DEPTH.copy()
    measured[:10] = 0
    kept = draw(pattern.replace("160", "40"), Measured(measured, RGB, INTRINSICS), 1)
    assert kept.shape == DEPTH.shape
    assert 0 < np.count_nonzero(kept) <= np.count_nonzero(measured)
    assert (measured[kept > 0] > 0).all()
    np.testing.assert_array_equal(kept, draw(pattern.replace("160", "40"), Measured(measured, RGB, INTRINSICS), 1))


def test_virtual_scanners_have_their_published_numbers_of_points():
    """On a full map of 480×640: 4328, 1040 and 468 points for 64, 16 and 8 lines."""
    full = np.ones((480, 640), np.float32)
    assert [np.count_nonzero(virtual_lines(full, lines)) for lines in (64, 16, 8)] == [4328, 1040, 468]


def test_density_is_matched_and_noise_is_within_the_quantiles():
    half = np.where(np.arange(640)[None] < 320, np.linspace(1, 9, 480, dtype=np.float32)[:, None], 0).astype(np.float32)
    assert np.count_nonzero(draw("omnidc:2150", Measured(half, np.zeros((480, 640, 3), np.uint8), None))) == 1075
    noisy = omnidc_noise(half, 0.1, 0)
    wrong = (noisy > 0) & (np.abs(noisy - half) > 1e-6)
    assert 0.06 < wrong.sum() / np.count_nonzero(noisy) < 0.14
    assert noisy[wrong].max() <= np.percentile(half, 90)


def test_a_picture_without_keypoints_gets_random_points_as_many_as_each_code_draws():
    """Fewer than 20 keypoints, wherever they lie: 1000 matched to the density for OMNI-DC, 2000 for PriorDA."""
    half = np.where(np.arange(640)[None] < 320, np.full((480, 1), 4, np.float32), 0).astype(np.float32)
    blank = Measured(half, np.zeros((480, 640, 3), np.uint8), None)
    assert np.count_nonzero(draw("omnidc:SIFT", blank)) == 500
    assert np.count_nonzero(draw("priorda:orb", blank)) == 2000
    texture = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    few = np.zeros_like(half)
    few[240, 300:310] = 4  # keypoints in plenty, of which hardly any was measured: these it is
    assert np.count_nonzero(draw("omnidc:ORB", Measured(few, texture, None))) <= 10


def test_lines_of_a_sweep_are_taken_from_the_sets_own_points():
    rows = np.repeat(np.arange(20, 84), WIDTH).reshape(64, WIDTH)
    sweep = np.zeros_like(DEPTH)
    sweep[20:84] = DEPTH[20:84]
    on = Measured(DEPTH, RGB, INTRINSICS, sweep)
    np.testing.assert_array_equal(draw("given", on), sweep)
    kept = draw("omnidc:KITTI_16", on)
    assert set(np.flatnonzero(kept.any(axis=1))) <= set(rows.ravel())
    points = np.stack([(np.indices(DEPTH.shape)[1] - 63.5) / 100, (np.indices(DEPTH.shape)[0] - 47.5) / 100], -1)
    pitch = np.arcsin(points[..., 1] / np.linalg.norm(np.dstack([points, np.ones_like(DEPTH)]), axis=2))[sweep > 0]
    label = np.round((pitch - pitch.min()) / ((pitch.max() - pitch.min()) / 64))
    np.testing.assert_array_equal((kept > 0)[sweep > 0], label % 4 == 0)
    with pytest.raises(InputError, match="brings no points"):
        draw("given", ON)


def test_low_resolution_is_read_with_aligned_corners():
    ramp = np.tile(np.arange(1, 65, dtype=np.float32), (32, 1))
    kept = downscaled(ramp, 8)
    assert np.count_nonzero(kept) == 4 * 8
    np.testing.assert_allclose(kept[0, ::8], np.linspace(1, 64, 8), atol=0.05)


@pytest.mark.parametrize("pattern", ["priorda:3", "omnidc:KITTI_7", "nonsense", "priorda:distance_50_60"])
def test_impossible_patterns_say_why(pattern):
    with pytest.raises(InputError):
        draw(pattern, ON)


@pytest.mark.parametrize("fault", POINT_FAULTS)
def test_point_faults_change_points_by_as_much_as_they_say(fault):
    kept = draw("2%", ON)
    spoiled = spoil_points(fault, kept, INTRINSICS, 0)
    both = (kept > 0) & (spoiled > 0)
    assert spoiled.any()
    assert not np.array_equal(kept, spoiled)
    if fault.startswith("noise"):
        expected = 0.05 if "5%" in fault else 0.10
        assert np.std(np.log(spoiled[both] / kept[both])) == pytest.approx(expected, rel=0.2)


def test_picture_faults_change_the_picture_alone():
    for fault in ("night", "fog", "rain", "blur", "jpeg"):
        assert spoil_points(fault, DEPTH, None, 0) is DEPTH
        changed = spoil_picture(fault, RGB, DEPTH, 0)
        assert changed.dtype == np.uint8
        assert changed.shape == RGB.shape
        assert not np.array_equal(changed, RGB)
    assert spoil_picture("none", RGB, DEPTH, 0) is RGB


def test_calibration_of_a_normal_error_is_that_of_a_normal():
    rng = np.random.default_rng(0)
    truth = np.full((300, 300), 5.0, np.float32)
    sigma = rng.uniform(0.1, 0.5, truth.shape).astype(np.float32)
    found = board.calibration(
        (truth + sigma * rng.normal(0, 1, truth.shape)).astype(np.float32),
        sigma,
        truth,
        truth > 0,
        np.zeros_like(truth),
    )
    assert found["coverage_1s"] == pytest.approx(0.683, abs=0.01)
    assert found["coverage_2s"] == pytest.approx(0.954, abs=0.01)
    assert found["nll"] < found["nll_constant"] - 0.05


@pytest.fixture
def pairs(tmp_path):
    """Two frames as PNGs, and other networks' maps of them."""
    root, maps = tmp_path / "pairs", tmp_path / "maps"
    root.mkdir()
    maps.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(root / f"{name}.png"), RGB[..., ::-1])
        np.savez(root / f"{name}.depth.npz", depth=DEPTH)
        np.save(maps / f"{name}.npy", 2.0 / DEPTH + 0.1)
    return root, maps


def test_the_board_resumes_and_draws_a_page(pairs, tmp_path):
    root, maps = pairs
    out, data = tmp_path / "out", open_dataset("pairs", root)
    sources = {"other": board.of_maps(maps, "disparity")}
    settings = {"patterns": ("500", "priorda:3"), "faults": ("none", "outliers-30%"), "faulted": ("500",)}
    seen = []
    rows = board.run_board(sources, complete, data, out, **settings, on_row=seen.append)
    assert len(rows) == len(seen) == 2 * 3 * 5
    with open(out / "board.csv", newline="", encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == board.COLUMNS
    mean = board.means(rows)["500", "none"]
    assert mean["other: completion"]["rmse"] < mean["linear"]["rmse"]
    assert {"coverage_1s_far", "nll", "ause", "coverage_1s_near_from_points"} <= mean["other: completion"].keys()
    assert all("refuses" in row["message"] for row in rows if row["pattern"] == "priorda:3")
    text = (out / "board.csv").read_text(encoding="utf-8")
    (out / "board.csv").write_text("".join(text.splitlines(keepends=True)[:-3]), encoding="utf-8")
    seen.clear()
    again = board.run_board(sources, complete, data, out, **settings, on_row=seen.append)
    assert len(seen) == 3
    assert len(again) == len(rows)
    html = (out / "board.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in html
    assert "outliers-30%" in html
    with pytest.raises(InputError, match="other settings"):
        board.run_board(sources, complete, data, out, **settings, seed=1)


def test_another_engine_fills_the_same_board_and_the_table_says_what_is_missed(pairs, tmp_path):
    root, maps = pairs
    data, sources = open_dataset("pairs", root), {"other": board.of_maps(maps, "disparity")}
    settings = {"patterns": ("500", "16-line"), "faults": ("none", "outliers-30%"), "faulted": ("500",)}
    plain = board.run_board(sources, complete, data, tmp_path / "a", **settings)

    def backwards(dataset, cells):
        methods = board.methods_of(sources, complete)
        return (row for index in (1, 0) for row in board.frame_rows(dataset, index, methods, cells))

    shared = board.run_board(sources, complete, data, tmp_path / "b", **settings, engine=backwards)

    def known(rows):
        return sorted(tuple(sorted((k, v) for k, v in row.items() if k != "seconds")) for row in rows)

    assert known(shared) == known(plain)
    table = board_table(board.means(plain), "other: completion")
    assert [row[:3] for row in table.rows] == [
        ["500", "none", "2"],
        ["16-line", "none", "2"],
        ["500", "outliers-30%", "2"],
    ]
    assert "below linear interpolation: 1 of 1 (100 %, wanted 80 %)" in table.notes[-1]
    assert "| 500 | outliers-30% | 2 |" in (tmp_path / "a/board.md").read_text(encoding="utf-8")


def test_what_a_cell_misses():
    good = {
        "rmse_share": 0.1,
        "abs_rel": 0.02,
        "coverage_1s": 0.7,
        "coverage_2s": 0.95,
        "nll": -2.0,
        "nll_constant": -1.0,
    }
    good |= {f"coverage_1s_{part}": 0.7 for part in ("near", "middle", "far")}
    others = {"linear": {"rmse_share": 0.2, "abs_rel": 0.03}, "nearest": {"rmse_share": 0.2, "abs_rel": 0.03}}
    assert misses("none", good, others) == []
    bad = good | {"abs_rel": 0.03, "coverage_1s": 0.77, "coverage_2s": 0.89, "coverage_1s_far": 0.5, "nll": -0.5}
    assert misses("none", bad, others) == [
        "REL over linear", "REL over nearest", "1σ 77 %", "2σ 89 %", "1σ far 50 %", "NLL over constant",
    ]  # fmt: skip
    assert misses("fog", bad, others) == ["REL over linear"]
    means = {
        ("500", "none"): {"x": good, **others},
        ("5", "none"): {"x": bad, **others},
        ("5", "fog"): {"x": bad, **others},
    }
    goals = {goal: rest for goal, *rest in goals_table(means, "x").rows}
    assert goals["without a fault: one sigma holds 60 to 76 %"] == ["1 of 2", "`5`"]
    assert goals["without a fault: one sigma holds 55 to 80 % in the near, middle and far third"] == ["1 of 2", "`5`"]
    assert goals["without a fault: all of these at once"] == ["1 of 2", "all but `500`"]
    assert list(goals.values())[-1] == ["0 of 1", "`5` with `fog`"]
    only_far = {("5", "none"): {"x": good | {"coverage_1s_far": 0.5}, **others}}
    assert [rest for _, *rest in goals_table(only_far, "x").rows][1:4] == [
        ["1 of 1", ""],
        ["1 of 1", ""],
        ["0 of 1", "`5`"],
    ]


@pytest.mark.slow
def test_ray_fills_the_same_board(pairs, tmp_path):
    from leadline.evaluation.ray_engine import ray_board

    pytest.importorskip("ray")
    root, maps = pairs
    data, sources = open_dataset("pairs", root), {"other": board.of_maps(maps, "disparity")}
    settings = {"patterns": ("500",), "faults": ("none",)}
    plain = board.run_board(sources, complete, data, tmp_path / "a", **settings)
    engine = ray_board(lambda: board.methods_of(sources, complete), workers=2)
    shared = board.run_board(sources, complete, data, tmp_path / "b", **settings, engine=engine)
    assert sorted((r["name"], r["method"], r["rmse"]) for r in shared) == sorted(
        (r["name"], r["method"], r["rmse"]) for r in plain
    )


@pytest.mark.parametrize(
    ("array", "space", "words"),
    [
        (np.zeros((2, 3, 4)), "depth", "numbers"),
        (np.full((4, 4), np.nan), "depth", "NaN"),
        (np.zeros((4, 4)), "inverse", "not a space"),
    ],
)
def test_maps_that_are_none_are_refused(tmp_path, array, space, words):
    np.save(tmp_path / "map.npy", array)
    with pytest.raises(InputError, match=words):
        read_map(tmp_path / "map.npy", space)
    with pytest.raises(InputError, match="does not exist"):
        read_map(tmp_path / "none.npy", "depth")


def test_any_map_is_a_prediction(tmp_path):
    np.save(tmp_path / "map.npy", np.arange(12).reshape(3, 4))
    made = read_map(tmp_path / "map.npy", "disparity")
    assert isinstance(made, DepthPrediction)
    assert made.space is Space.DISPARITY
    assert not made.metric
