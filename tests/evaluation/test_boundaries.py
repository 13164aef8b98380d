"""Boundary metrics against slow, literal re-statements of their definitions, and against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from leadline.evaluation.boundaries import (
    RATIO_THRESHOLDS,
    Holes,
    boundary_f1,
    boundary_recall,
    edge_precision_recall,
    flying_pixels,
    flying_share,
    sobel_magnitude,
    thin_runs,
)

STEPS = {"left": (0, -1), "up": (-1, 0), "right": (0, 1), "down": (1, 0)}


def literal_boundaries(depth: np.ndarray, threshold: float, valid: np.ndarray) -> dict[str, set[tuple[int, int]]]:
    """Pixel pairs whose second-named neighbour is farther by more than the threshold, in four directions."""
    found: dict[str, set[tuple[int, int]]] = {name: set() for name in STEPS}
    for name, (dy, dx) in STEPS.items():
        for y in range(depth.shape[0]):
            for x in range(depth.shape[1]):
                v, u = y + dy, x + dx
                inside = 0 <= v < depth.shape[0] and 0 <= u < depth.shape[1]
                if inside and valid[y, x] and valid[v, u] and depth[y, x] / depth[v, u] > threshold:
                    found[name].add((y, x))
    return found


def literal_f1(p: np.ndarray, g: np.ndarray, valid: np.ndarray) -> float:
    total = 0.0
    for t in RATIO_THRESHOLDS:
        a, b = literal_boundaries(p, t, valid), literal_boundaries(g, t, valid)
        recall = np.mean([len(a[k] & b[k]) / max(len(b[k]), 1) for k in STEPS])
        precision = np.mean([len(a[k] & b[k]) / max(len(a[k]), 1) for k in STEPS])
        total += t * (2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return total / RATIO_THRESHOLDS.sum()


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = np.full((14, 17), 4.0)
    truth[4:11, 5:12] = 2.0
    truth[6:8, 7:9] = 1.1
    return truth * rng.lognormal(0.0, 0.06, truth.shape), truth


def test_f1_equals_the_definition(scene) -> None:
    p, g = scene
    everywhere = np.ones(g.shape, dtype=bool)
    assert boundary_f1(p, g)["boundary_f1"] == pytest.approx(literal_f1(p, g, everywhere), abs=1e-12)
    holes = np.random.default_rng(0).random(g.shape) < 0.8
    assert boundary_f1(p, g, holes)["boundary_f1"] == pytest.approx(literal_f1(p, g, holes), abs=1e-12)


def published_f1(p: np.ndarray, g: np.ndarray, farther_valid: np.ndarray | None = None) -> float:
    """Depth Pro's number from whole maps; with a mask DepthMaster's, which asks it of the farther pixel alone."""
    p, g = (1.0 / np.maximum(m, 1e-6) for m in (p, g))
    first, second = (slice(None), slice(0, -1)), (slice(None), slice(1, None))
    total = 0.0
    for t in RATIO_THRESHOLDS:
        precision, recall = [], []
        for turn in (lambda m: m, np.transpose):
            a, b = turn(p), turn(g)
            valid = np.ones(a.shape, bool) if farther_valid is None else turn(farther_valid)
            for near, far in ((second, first), (first, second)):
                edges = [(m[near] / m[far] > t) & valid[far] for m in (a, b)]
                both = np.count_nonzero(edges[0] & edges[1])
                precision.append(both / max(np.count_nonzero(edges[0]), 1))
                recall.append(both / max(np.count_nonzero(edges[1]), 1))
        r, q = np.mean(recall), np.mean(precision)
        total += t * (2 * r * q / (r + q) if r + q else 0.0)
    return total / RATIO_THRESHOLDS.sum()


@pytest.mark.parametrize("size", [1, 30])
def test_f1_with_holes_by_each_papers_rule(scene, size: int) -> None:
    """The second size is scored in several blocks of rows."""
    p, g = (np.tile(m, (size, size)) for m in scene)
    g[np.random.default_rng(0).random(g.shape) < 0.2] = 0.0
    valid = (g > 0) & (np.arange(g.shape[1]) > 3)
    theirs = boundary_f1(p, g, valid, Holes.UNMASKED)["boundary_f1"]
    assert theirs == pytest.approx(published_f1(p, g), abs=1e-12)
    masked = boundary_f1(p, g, valid, Holes.MASKED)["boundary_f1"]
    assert masked == pytest.approx(published_f1(p, g, valid), abs=1e-12)
    assert len({round(f, 3) for f in (theirs, masked, boundary_f1(p, g, valid)["boundary_f1"])}) == 3
    full = np.full_like(g, 2.0)
    full[5:9] = 1.0
    agreed = {boundary_f1(p, full, holes=rule)["boundary_f1"] for rule in Holes}
    assert len(agreed) == 1


def test_f1_of_itself_is_one_and_ignores_scale(scene) -> None:
    _, g = scene
    assert boundary_f1(g, g)["boundary_f1"] == pytest.approx(1.0)
    assert boundary_f1(7 * g, g)["boundary_f1"] == pytest.approx(1.0)


def test_f1_degenerate() -> None:
    flat = np.full((5, 5), 2.0)
    assert boundary_f1(flat, flat)["boundary_f1"] == 0.0  # as Depth Pro: no boundary scores nothing
    lonely = np.zeros((5, 5))
    lonely[2, 2] = 1.0
    assert boundary_f1(flat, lonely)["boundary_f1"] is None
    assert boundary_f1(flat, np.zeros((5, 5)))["boundary_f1"] is None


def test_thinning_keeps_the_first_maximum_of_each_run() -> None:
    ratio = np.array([[1.0, 2.0, 3.0, 3.0, 1.0, 2.0], [2.0, 1.0, 1.0, 1.0, 1.0, 2.5]])
    kept = thin_runs(ratio, 1.5)
    assert np.argwhere(kept).tolist() == [[0, 2], [0, 5], [1, 0], [1, 5]]
    assert not thin_runs(np.ones((3, 3)), 1.5).any()


def test_recall_by_hand() -> None:
    matte = np.zeros((6, 8))
    matte[:, 4:] = 1.0  # one vertical boundary; only the direction "foreground right of background" has edges
    near_right = np.where(matte > 0, 1.0, 2.0)
    # the other three directions have nothing to find and count 0, as in Depth Pro's code
    assert boundary_recall(near_right, matte)["boundary_recall"] == pytest.approx(0.25)
    assert boundary_recall(np.full_like(matte, 3.0), matte)["boundary_recall"] == 0.0
    assert boundary_recall(near_right[:, ::-1], matte)["boundary_recall"] == 0.0  # depth the wrong way round
    square = np.zeros((9, 9))
    square[3:6, 3:6] = 0.5
    assert boundary_recall(np.where(square > 0, 1.0, 2.0), square)["boundary_recall"] == pytest.approx(1.0)


def test_recall_without_a_boundary_in_the_matte() -> None:
    assert boundary_recall(np.ones((4, 4)), np.ones((4, 4)))["boundary_recall"] is None
    assert boundary_recall(np.ones((4, 4)), np.zeros((4, 4)))["boundary_recall"] is None


def test_sobel_agrees_with_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    depth = np.random.default_rng(1).uniform(1, 5, (12, 15))
    theirs = np.hypot(ndimage.sobel(depth, 1, mode="constant"), ndimage.sobel(depth, 0, mode="constant"))
    np.testing.assert_allclose(sobel_magnitude(depth), theirs, rtol=1e-6)


def test_edges_by_hand() -> None:
    truth = np.ones((7, 9))
    truth[:, 4:] = 2.0  # Sobel: magnitude 4 in columns 3 and 4; zeros beyond the border make the outermost ring an edge
    assert edge_precision_recall(truth, truth) == {"edge_precision": 1.0, "edge_recall": 1.0}
    ring, inner_rows = 2 * 9 + 2 * 5, 5
    blurred = truth.copy()
    blurred[:, 3:6] = [1.25, 1.5, 1.75]  # magnitude 1 to 2 in columns 2 to 6: more edges than there are
    scores = edge_precision_recall(blurred, truth)
    assert scores["edge_recall"] == 1.0
    assert scores["edge_precision"] == pytest.approx((ring + 2 * inner_rows) / (ring + 5 * inner_rows))
    flat = edge_precision_recall(np.ones_like(truth), truth)
    assert flat == {"edge_precision": 1.0, "edge_recall": pytest.approx(ring / (ring + 2 * inner_rows))}
    faint = edge_precision_recall(1 + (truth - 1) * 0.06, truth)  # a step of 0.06 m: magnitude 0.24, below 0.25
    assert faint["edge_recall"] == pytest.approx(ring / (ring + 2 * inner_rows))


def test_edges_in_many_blocks_are_those_of_one_picture() -> None:
    rng = np.random.default_rng(0)
    g = np.kron(rng.uniform(1, 3, (90, 70)), np.ones((10, 10)))
    p = g + rng.normal(0, 0.02, g.shape)
    edges = [sobel_magnitude(m) > 0.25 for m in (p, g)]
    both = np.count_nonzero(edges[0] & edges[1])
    assert edge_precision_recall(p, g) == {
        "edge_precision": both / np.count_nonzero(edges[0]),
        "edge_recall": both / np.count_nonzero(edges[1]),
    }


def test_flying_pixels_by_hand() -> None:
    truth = np.ones((20, 40))
    truth[:, 20:] = 2.0
    valid = np.ones(truth.shape, bool)
    assert flying_share(truth, truth, valid) == 0.0
    ramp = truth.copy()
    ramp[:, 18:22] = [1.2, 1.4, 1.6, 1.96]  # eight columns lie within 3 px of the edge; the last is on the far surface
    assert flying_share(ramp, truth, valid) == pytest.approx(3 / 8)
    assert flying_pixels(ramp, truth, valid) == (3 * 20, 8 * 20)
    flies = (ramp > 1.05 * ramp.min()) & (ramp < 0.95 * ramp.max())
    assert flying_share(ramp, truth, valid, left_out=flies) == 0.0
    assert flying_share(1.2 * ramp, truth, valid) == pytest.approx(
        4 / 8
    )  # what is left of the near surface is on neither
    assert flying_share(1.2 * ramp, truth, valid, own_surfaces_px=10) == pytest.approx(3 / 8)
    valid[:, 17:23] = False
    assert flying_share(ramp, truth, valid) == 0.0
    assert flying_pixels(ramp, truth, valid) == (0, 0)


def test_holes_make_no_edges() -> None:
    truth = np.full((9, 9), 5.0)
    holes = truth.copy()
    holes[0], holes[-1], holes[:, 0], holes[:, -1], holes[4, 4] = 0.0, 0.0, 0.0, 0.0, 0.0
    assert edge_precision_recall(truth, holes) == {"edge_precision": None, "edge_recall": None}
