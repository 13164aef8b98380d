"""Scenes made of photographs: no rubber sheets, and with a background a moved camera sees no holes."""

from __future__ import annotations

import numpy as np
import pytest
from places import PHOTOGRAPHS
from surface_measures import covered, steep_share

import leadline
from leadline.geometry import Pinhole, assumed_depth, background, perspective_mesh

FILES = sorted(PHOTOGRAPHS.glob("*.jpg"))
#: What the add-on assumes, metres.
NEAR_M, FAR_M = 1.5, 6.0
#: How far the camera is moved, metres to the right.
MOVED_M = 0.4


@pytest.fixture(scope="module")
def estimator():
    return leadline.load("fiffdepth-mini", device="cpu")


@pytest.mark.skipif(not FILES, reason="photographs are not here: name their folder in LEADLINE_PHOTOGRAPHS")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_scene_has_no_rubber_sheets_and_with_a_background_no_holes(estimator, file):
    prediction = estimator.predict(file)
    depth = assumed_depth(prediction.values, prediction.space, NEAR_M, FAR_M)
    height, width = depth.shape
    camera = Pinhole.default(width, height)
    shown = perspective_mesh(depth, camera, keep_planes=False, long_edge=256)
    uncut, cut = (steep_share(mesh) for mesh in (perspective_mesh(depth, camera, cut=1.0, long_edge=256), shown))
    behind = background(depth, camera, keep_planes=False).mesh(camera, long_edge=256)
    seen_by = Pinhole.default(round(width * 200 / max(depth.shape)), round(height * 200 / max(depth.shape)))
    # Without the strip that the photograph does not show: what is nearest moves farthest.
    inner = np.s_[2:-2, 2 : -int(MOVED_M / NEAR_M * seen_by.focal_px) - 2]
    moved = np.array([MOVED_M, 0.0, 0.0])
    alone, both = (1 - covered(meshes, seen_by, moved)[inner].mean() for meshes in ([shown], [shown, behind]))
    print(
        f"{file.stem}: {uncut:.1%} steeper than 80 degrees, {cut:.2%} once cut; moved by 40 cm, uncovered: "
        f"{alone:.1%}, with a background {both:.2%}"
    )
    assert uncut > 0.1
    assert cut <= 0.03
    assert both <= 0.02 < alone
