"""One prediction against one sample: what the fit sees, what is scored, what it costs."""

from __future__ import annotations

import json
import runpy
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from places import ROOT

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.evaluation.cases import make_case
from leadline.evaluation.datasets import Sample
from leadline.evaluation.protocols import PROTOCOLS, Rules
from leadline.evaluation.scoring import fit_columns, score, scored_region


def sample(depth_m: np.ndarray, valid: np.ndarray | None = None) -> Sample:
    return Sample("one", np.zeros((*depth_m.shape, 3), np.uint8), depth_m.astype(np.float32), valid)


def test_depthmasters_fit_leaves_out_predictions_that_are_not_positive() -> None:
    truth = np.linspace(1, 8, 60).reshape(6, 10)
    values = Space.SQRT_DISPARITY.from_depth(truth).astype(np.float32)
    values[0] = 0.0  # where the network was clipped at 0: these pixels are scored, and do not pull the fit
    prediction = DepthPrediction(values, Space.SQRT_DISPARITY)
    theirs, plain = (score(sample(truth), prediction, PROTOCOLS[name], Rules()) for name in ("depthmaster", "own"))
    assert theirs.fit is not None
    assert theirs.fit.pixels == 50
    assert theirs.fit.scale == pytest.approx(1.0, abs=1e-5)
    assert plain.fit is not None
    assert plain.fit.pixels == 60
    assert theirs.scores["abs_rel"] > 1  # the first row became the far cap, and counts


def test_diodes_mask_decides_alone() -> None:
    depth = np.array([[0.3, 5.0, 400.0, 0.0, 5.0]])
    mask = np.array([[True, True, True, True, False]])
    alone = scored_region(sample(depth, mask), Rules(0.6, 350.0, mask_alone=True))
    np.testing.assert_array_equal(alone, [[True, True, True, False, False]])
    np.testing.assert_array_equal(
        scored_region(sample(depth, mask), Rules(0.6, 350.0)), [[False, True, False, False, False]]
    )


@pytest.mark.parametrize(("width", "height"), [(6048, 4032), (2000, 3000), (1025, 7)])
def test_the_columns_of_the_fit_are_those_of_torchs_nearest_upsampling(width: int, height: int) -> None:
    share = min(1024 / width, 1024 / height)
    theirs = torch.nn.Upsample(scale_factor=share, mode="nearest")(torch.arange(width, dtype=torch.float64)[None, None])
    columns = fit_columns(width, height, 1024)
    assert columns is not None
    np.testing.assert_array_equal(columns, theirs[0, 0].numpy().astype(int))
    assert fit_columns(1024, 768, 1024) is None
    assert fit_columns(6048, 4032, None) is None


def test_large_frames_are_scored_in_little_memory() -> None:
    """At most 24 bytes a pixel beside the inputs (it was 86 before): the aligned map takes 8 of them."""
    rng = np.random.default_rng(0)
    truth = np.kron(rng.uniform(1, 9, (100, 150)), np.ones((20, 20))).astype(np.float32)
    prediction = DepthPrediction(np.log(truth) + np.float32(0.1), Space.LOG_DEPTH)
    one = sample(truth)
    tracemalloc.start()
    try:
        scored = score(one, prediction, PROTOCOLS["depthfm"], Rules(1e-5, fit_max_side=1024))
        make_case(one, prediction, scored)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scored.scores["abs_rel"] == pytest.approx(0, abs=1e-5)
    assert peak / truth.size < 24


def test_the_benchmark_scores_a_frame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = ROOT / "benchmarks" / "scoring.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--height", "128", "--width", "192", "--repeat", "1"])
    runpy.run_path(str(script), run_name="__main__")
    found = json.loads(capsys.readouterr().out)
    assert found["frame"] == "192x128"
    assert 0 < found["abs_rel"] < 0.1
    assert 0.5 < found["boundary_f1"] <= 1
    assert found["peak_gb"] < 0.1
