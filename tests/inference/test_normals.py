"""Surface normals: axes, views, ensembles, pictures, the command."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_normals_estimator

from leadline import InputError, NormalsPrediction
from leadline.checkpoints.native import save_model
from leadline.inference.ensembles import closest_direction, mean_direction
from leadline.inference.estimator import DepthEstimator


@pytest.mark.parametrize("family", ["lotus-d", "marigold", "e2e-ft"])
def test_unit_vectors_of_the_image_size(family, photo):
    prediction = tiny_normals_estimator(family).normals(photo, ensemble=3)
    assert prediction.values.shape == (*photo.shape[:2], 3)
    np.testing.assert_allclose(np.linalg.norm(prediction.values, axis=2), 1.0, atol=1e-5)
    assert prediction.uncertainty.shape == photo.shape[:2]
    assert 0 < prediction.uncertainty.mean() < np.pi


def test_members_of_a_mirrored_view_are_turned_back(photo):
    """The mean of two views of an image and of its mirror image are each other's mirror: x changes sign."""
    estimator = tiny_normals_estimator("lotus-d")
    bundle = estimator.bundle
    bundle.model.spec = bundle.spec.changed(samples_encoding=False)
    estimator = DepthEstimator(bundle, device="cpu")
    image = np.resize(photo, (48, 64, 3))
    straight = estimator.normals(image, ensemble=2, size=0).values
    mirrored = estimator.normals(image[:, ::-1].copy(), ensemble=2, size=0).values[:, ::-1] * [-1, 1, 1]
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(straight[inside], mirrored[inside], atol=2e-3)


def test_depth_and_normals_are_never_mixed_up(photo):
    estimator = tiny_normals_estimator()
    with pytest.raises(InputError, match="surface normals"):
        estimator.predict(photo)
    with pytest.raises(InputError, match="surface normals"):
        _ = estimator.space


def test_mean_and_closest_direction():
    members = torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8], [-0.6, 0.0, 0.8]])[:, :, None, None]
    mean, spread = mean_direction(members)
    assert mean.flatten().tolist() == pytest.approx([0, 0, 1], abs=1e-6)
    assert float(spread) == pytest.approx(2 * np.arccos(0.8) / 3, abs=1e-3)
    assert closest_direction(members)[0].flatten().tolist() == [0.0, 0.0, 1.0]


def test_picture_codes_and_axes():
    up = NormalsPrediction(np.tile(np.float32([0, 1, 0]), (2, 2, 1)))
    assert up.as_picture()[0, 0].tolist() == [128, 255, 128]
    assert up.as_picture(y_up=False)[0, 0].tolist() == [128, 0, 128]
    assert up.as_picture(16)[0, 0].tolist() == [32768, 65535, 32768]
    assert up.in_optical_axes()[0, 0].tolist() == [0, -1, 0]
    with pytest.raises(InputError, match="8 or 16"):
        up.as_picture(12)
    with pytest.raises(InputError, match="normals are"):
        NormalsPrediction(np.zeros((2, 2), np.float32))


def test_command_writes_what_it_says(photo, tmp_path):
    import cv2
    from click.testing import CliRunner

    from leadline.cli.normals import command

    estimator = tiny_normals_estimator()
    save_model(estimator.bundle, tmp_path / "n.safetensors", torch.float32)
    cv2.imwrite(str(tmp_path / "a.png"), photo[:, :, ::-1])
    asked = [str(tmp_path / "a.png"), "-m", str(tmp_path / "n.safetensors"), "-o", str(tmp_path), "--ensemble", "1",
             "--npy", "--exr", "--device", "cpu"]  # fmt: skip
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, done.output
    codes = cv2.imread(str(tmp_path / "a.normals.png"), cv2.IMREAD_UNCHANGED)
    vectors = np.load(tmp_path / "a.normals.npy")
    assert codes.dtype == np.uint16
    np.testing.assert_allclose(codes[:, :, ::-1] / 32767.5 - 1, vectors, atol=2e-5)
    import OpenEXR

    with OpenEXR.File(str(tmp_path / "a.normals.exr")) as file:
        np.testing.assert_array_equal(file.channels()["RGB"].pixels, vectors)
