"""Pictures of depth: what they show, and that near and far are never the wrong way round."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.files import pictures

PHOTO = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
DEPTH_M = np.linspace(1.0, 5.0, 90, dtype=np.float32)[None].repeat(60, axis=0)  # near at the left


def prediction(space: Space, metric: bool = False) -> DepthPrediction:
    return DepthPrediction(space.from_depth(DEPTH_M).astype(np.float32), space, metric=metric)


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("colours", pictures.COLOURS)
def test_near_has_the_near_colour_in_every_space(space, colours):
    shown = pictures.depth_picture(prediction(space), colours)
    near, far = (pictures.colourise(np.full((1, 1), end, np.float32), colours)[0, 0] for end in (1.0, 0.0))
    assert shown.shape == PHOTO.shape
    np.testing.assert_array_equal(shown[30, 0], near)
    np.testing.assert_array_equal(shown[30, -1], far)


def test_turbo_is_opencvs():
    steps = np.arange(256, dtype=np.uint8)[None]
    expected = cv2.applyColorMap(steps, cv2.COLORMAP_TURBO)[:, :, ::-1]
    np.testing.assert_array_equal(pictures.colourise(steps.astype(np.float32) / 255), expected)


def test_the_legend_has_metres_only_where_they_are_known():
    assert [text for _, text in pictures._marks(prediction(Space.LOG_DEPTH))] == ["near", "far"]
    marks = pictures._marks(prediction(Space.DEPTH, metric=True))
    assert [text for _, text in marks] == ["1.00 m", "2.00 m", "3.00 m", "4.00 m", "5.00 m"]
    wide = pictures.side_by_side(PHOTO, prediction(Space.DEPTH, metric=True))
    np.testing.assert_array_equal(wide[:, :90], PHOTO)
    assert wide.shape[1] > 180


def test_parallax_moves_near_things_most():
    photo = np.zeros((64, 96, 3), np.uint8)
    photo[20:44, 20:24] = photo[20:44, 72:76] = 255
    near_left = np.where(np.arange(96) < 48, 1.0, 4.0)[None].repeat(64, axis=0).astype(np.float32)
    film = pictures.parallax(photo, DepthPrediction(near_left, Space.DEPTH), frames=8, sway=0.05, long_edge=96)
    centre = [[float((frame[:, half, 0].sum(0) * np.arange(48)).sum() / frame[:, half, 0].sum()) for frame in film]
              for half in (slice(0, 48), slice(48, 96))]  # fmt: skip
    left, right = np.array(centre) - np.array(centre).mean(axis=1, keepdims=True)
    assert np.ptp(left) > 2
    assert left @ right < 0  # around the middle depth: near and far sway against each other
    with Image.open(io.BytesIO(pictures.gif(film))) as read:
        assert (read.n_frames, read.size) == (8, (96, 64))


def test_contact_sheet_and_table(tmp_path):
    sheet = pictures.contact_sheet([("a/very/long/name/that/does/not/fit/at/all.png", PHOTO)] * 7, columns=3, edge=100)
    assert sheet.shape == (3 * 126 + 8, 3 * 108 + 8, 3)
    record = {
        "input": "a.jpg", "stem": str(tmp_path / "sub" / "a"), "files": {"a.depth.png": 1, "a.preview.png": 2}, "model": "m",
        "space": "log_depth", "metric": False, "depth_png": {"low": -1.0, "high": 2.0}, "settings": {"ensemble": 4},
    }  # fmt: skip
    lines = pictures.table([record], tmp_path).decode().splitlines()
    assert lines[1] == "a.jpg,sub/a.depth.png,m,log_depth,False,-1.0,2.0,,4,"
