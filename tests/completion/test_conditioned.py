"""A network that sees sparse depth: the same condition as in training, metres by the condition's own scale, clear refusals."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from completion_scene import keep, model_map, room
from tiny import tiny_bundle, tiny_estimator

from leadline.cli.complete import command
from leadline.completion import FusionOptions, SparseDepth, complete, complete_with, predict_with_sparse
from leadline.completion.conditioned import framed_condition
from leadline.completion.conditioning import sparse_condition
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.inference.framing import frame_padded
from leadline.training.augment import Augmentation
from leadline.training.datasets import RgbdSample
from leadline.training.latents import CachePlan, encode_views

IMAGE, DEPTH = room(96, 128)
SPARSE = keep(DEPTH, 600)


@pytest.fixture(scope="module")
def estimator():
    return tiny_estimator("depthfm", condition_channels=8)


def test_training_and_use_give_the_network_the_same_condition(estimator, monkeypatch):
    monkeypatch.setattr("leadline.training.latents.thin_out", lambda *_: SPARSE)
    plan = CachePlan({}, ((96, 128),), sparse=True, augmentation=Augmentation(min_scale=1.0, flip=False, colour=0.0))
    sample = RgbdSample(IMAGE, DEPTH, np.ones(DEPTH.shape, dtype=bool))
    cached = encode_views(tiny_bundle("depthfm", condition_channels=8).codec, [sample], [0], plan)
    seen = []
    solve = estimator.model.solve

    def spy(latents, steps, start, condition, **named):
        seen.append(condition)
        return solve(latents, steps, start, condition, **named)

    monkeypatch.setattr(estimator.model, "solve", spy)
    predict_with_sparse(estimator, IMAGE, SPARSE, size=128)
    trained = cached["96x128/condition"].float()
    assert trained.shape == seen[0].shape
    assert torch.allclose(seen[0], trained, atol=2e-3 * float(trained.abs().max()))  # the cache is float16
    assert not torch.allclose(seen[0], seen[0].roll(4, dims=1), atol=0.01), "depth and distance should differ"


def test_points_are_drawn_at_the_networks_size_not_resized():
    listed = SparseDepth(np.array([0, 1, 127]), np.array([0, 1, 95]), np.array([4.0, 2.0, 3.0], np.float32), (96, 128))
    half = framed_condition(listed, frame_padded(IMAGE, 64, 16))
    expected = np.zeros((48, 64), np.float32)
    expected[0, 0], expected[47, 63] = 2.0, 3.0  # two points fall on one pixel: the nearest counts
    assert np.array_equal(half.dense, sparse_condition(expected).dense)
    padded = framed_condition(listed, frame_padded(IMAGE[:90], 128, 64))
    assert padded.dense.shape == (128, 128)


def test_metres_follow_from_the_conditions_own_scale(estimator):
    prediction = predict_with_sparse(estimator, IMAGE, SPARSE)
    raw = complete(IMAGE, prediction, SPARSE, method="depthfm", options=FusionOptions(through_points=False))
    at = SPARSE > 0
    expected = np.exp(prediction.centre + prediction.half_range * prediction.values.astype(np.float64))
    bounds = SPARSE[at].min() / 4, SPARSE[at].max() * 4
    assert np.allclose(raw.depth_m, np.clip(expected, *bounds), rtol=1e-4)
    corrected = complete(IMAGE, prediction, SPARSE, method="depthfm")
    assert np.median(np.abs(corrected.depth_m[at] - SPARSE[at]) / SPARSE[at]) < 1e-3
    assert corrected.meta["completion"]["fit"] == "condition"
    assert corrected.metric
    assert (corrected.uncertainty > 0).all()


def test_a_network_that_is_far_from_the_points_is_reported(estimator):
    prediction = predict_with_sparse(estimator, IMAGE, SPARSE)
    good = replace(prediction, values=sparse_condition(DEPTH).dense, meta={})
    bad = replace(good, values=-good.values)
    for made, warned in ((good, False), (bad, True)):
        report = complete(IMAGE, made, SPARSE, method="depthfm").meta["completion"]
        assert any("network's metres" in warning for warning in report["warnings"]) == warned


def test_wrong_models_are_refused_with_what_to_do(estimator):
    plain = tiny_estimator("depthfm")
    with pytest.raises(InputError, match="depthfm-mini-completion"):
        complete_with(plain, IMAGE, SPARSE, method="depthfm")
    with pytest.raises(InputError, match="method 'depthfm'"):
        complete_with(estimator, IMAGE, SPARSE)
    with pytest.raises(InputError, match="--method depthfm"):
        estimator.predict(IMAGE)
    with pytest.raises(InputError, match="completion model"):
        plain.predict(IMAGE, condition=lambda framed: torch.zeros(2, *framed.pixels.shape))
    with pytest.raises(InputError, match="condition is"):
        estimator.predict(IMAGE, condition=lambda framed: torch.zeros(1, *framed.pixels.shape))
    with pytest.raises(InputError, match="made with sparse depth"):
        complete(IMAGE, model_map(DEPTH, Space.LOG_DEPTH), SPARSE, method="depthfm")
    with pytest.raises(InputError, match="no usable point"):
        complete_with(estimator, IMAGE, np.zeros_like(SPARSE), method="depthfm")


def test_complete_with_runs_the_other_methods_as_before():
    plain = tiny_estimator("depthfm")
    together = complete_with(plain, IMAGE, SPARSE, seed=3)
    apart = complete(IMAGE, plain.predict(IMAGE, seed=3), SPARSE)
    assert np.array_equal(together.depth_m, apart.depth_m)


@pytest.mark.parametrize("extra", [[], ["--uncorrected"]])
def test_command_takes_the_shipped_model(tmp_path, extra):
    cv2.imwrite(str(tmp_path / "photo.png"), IMAGE[:, :, ::-1])
    np.save(tmp_path / "sparse.npy", SPARSE)
    given = [str(tmp_path / "photo.png"), "--sparse", str(tmp_path / "sparse.npy"), "--method", "depthfm"]
    result = CliRunner().invoke(command, [*given, "-o", str(tmp_path), "--device", "cpu", *extra])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "photo.json").read_text())
    assert record["model"] == "depthfm-mini-completion"
    assert record["completion"]["method"] == "depthfm"
    assert record["metric"]
