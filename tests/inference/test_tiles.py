"""Detail from tiles: with a network whose blur is known, and with a real one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import leadline
from leadline.errors import InputError
from leadline.evaluation.boundaries import boundary_f1
from leadline.inference.refine.tiles import add_detail
from leadline.scenes import render_scenes

HEIGHT, WIDTH, SIZE = 300, 400, 200


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A map with structure of all sizes; the picture shows it as grey."""
    rng = np.random.default_rng(0)
    layers = [cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), s) * s for s in (2, 6, 60)]
    return sum(layers).astype(np.float32)


def network(image: np.ndarray, rng: np.random.Generator, sigma: float = 1.5) -> np.ndarray:
    """Sees no more than ``sigma`` pixels at SIZE, and chooses scale, shift and a slope of its own."""
    factor = SIZE / max(image.shape)
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    seen = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), sigma)
    back = cv2.resize(seen, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    tilt = rng.normal(0, 0.3) * np.linspace(-1, 1, image.shape[1])
    return (back * rng.uniform(0.5, 2) + rng.normal() + tilt).astype(np.float32)


def look(scene: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture of the scene, and the map of the whole."""
    grey = np.clip((scene - scene.min()) / np.ptp(scene) * 255, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), network(scene, np.random.default_rng(1))


def aligned_error(values: np.ndarray, true: np.ndarray) -> float:
    slope, offset = np.polyfit(values.ravel(), true.ravel(), 1)
    return float(np.abs(slope * values + offset - true).mean())


def test_tiles_add_what_the_whole_cannot_show(scene):
    rgb, whole = look(scene)
    rng, sizes = np.random.default_rng(2), set()

    def predict(tiles: list[np.ndarray]) -> list[np.ndarray]:
        sizes.update(t.shape for t in tiles)
        return [network(t[..., 0].astype(np.float32) / 255 * np.ptp(scene), rng) for t in tiles]

    finer, used = add_detail(whole, rgb, SIZE, predict)
    assert used >= 4
    assert sizes == {(SIZE, SIZE, 3)}
    assert aligned_error(finer, scene) < 0.75 * aligned_error(whole, scene)
    # no seams: where the tiles end (100, 200, 300) the change is no rougher than elsewhere
    rough = np.abs(np.diff(finer - whole, axis=1)).mean(0)
    assert rough[[99, 199, 299]].max() < 1.5 * np.percentile(rough, 90)


def test_tiles_that_show_something_else_are_left_out(scene):
    rgb, whole = look(scene)
    rng = np.random.default_rng(3)
    for wrong in (
        lambda t: -network(t[..., 0].astype(np.float32), rng),
        lambda t: rng.normal(size=t.shape[:2]).astype(np.float32),
        lambda t: np.ones(t.shape[:2], np.float32),
    ):
        finer, used = add_detail(whole, rgb, SIZE, lambda tiles, wrong=wrong: [wrong(t) for t in tiles])
        assert used == 0
        np.testing.assert_array_equal(finer, whole)


def test_small_pictures_have_nothing_to_gain(scene):
    rgb, whole = look(scene)
    finer, used = add_detail(whole, rgb, WIDTH, lambda tiles: pytest.fail("no tile is needed"))
    assert used == 0
    assert finer is whole


def test_detail_of_a_small_model_in_the_caller_s_arrays():
    scene = render_scenes(9100, 1, 300, 400, layout="room")
    rgb, true, valid = scene.rgb[0].numpy(), scene.depth_m[0].numpy(), scene.valid[0].numpy()
    estimator = leadline.load("depthmaster-mini", device="cpu")
    out = [np.empty(rgb.shape[:2], np.float32)]
    rough = estimator.predict(rgb, size=192)
    (fine,) = estimator.predict([rgb], size=192, detail="tiles", out=out)
    assert fine.values is out[0]
    assert fine.meta["detail"] == "tiles"
    assert fine.meta["tiles"] > 0
    scores = []
    for one in (rough, fine):
        slope, offset = np.polyfit(one.values[valid], one.space.from_depth(true[valid]), 1)
        metres = one.space.to_depth(slope * one.values.astype(np.float64) + offset)
        scores.append(boundary_f1(metres, np.where(valid, true, 0), valid)["boundary_f1"])
    assert scores[1] > 2 * scores[0]
    with pytest.raises(InputError, match="detail"):
        estimator.predict(rgb, detail="all")  # type: ignore[call-overload]
