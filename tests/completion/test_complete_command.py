import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from completion_scene import keep, room
from tiny import tiny_estimator

from leadline.cli.complete import command
from leadline.completion import CalibratedCamera, read_points
from leadline.errors import InputError
from leadline.files.metric import codes, read_sparse
from leadline.sensors.pinhole import Pinhole

IMAGE, DEPTH = room(96, 128)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A photograph, its points, calibration and sparse depth on disk; a tiny random network stands for the model."""
    monkeypatch.setattr("leadline.inference.estimator.load", lambda *args, **kwargs: tiny_estimator("depthfm"))
    cv2.imwrite(str(tmp_path / "photo.png"), IMAGE[:, :, ::-1])
    camera = CalibratedCamera.from_pinhole(Pinhole(128, 96, 110.0))
    sparse = keep(DEPTH, 600)
    v, u = np.nonzero(sparse)
    np.save(tmp_path / "cloud.npy", camera.unproject(np.stack([u, v], 1), sparse[v, u]))
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    described = {"image_size": [128, 96], "K": camera.matrix.tolist()}
    (tmp_path / "calib.json").write_text(json.dumps(described))
    (tmp_path / "half.json").write_text(json.dumps({**described, "image_size": [64, 48]}))
    cv2.imwrite(str(tmp_path / "sparse.png"), np.rint(sparse * 256).astype(np.uint16))
    return tmp_path


def run(files, *arguments):
    given = [str(files / "photo.png"), "-o", str(files / "out"), "--ensemble", "1", "--device", "cpu", *arguments]
    return CliRunner().invoke(command, given, catch_exceptions=True)


def test_points_to_metric_files(files):
    result = run(
        files, "--points", str(files / "cloud.npy"), "--calib", str(files / "calib.json"), "--npy", "--ply", "--exr"
    )
    assert result.exit_code == 0, result.output
    out = files / "out"
    depth = np.load(out / "photo.depth.npy")
    assert np.median(np.abs(depth - DEPTH) / DEPTH) < 0.05
    png = cv2.imread(str(out / "photo.depth.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(png / 1000 - depth).max() < 0.001
    assert np.load(out / "photo.uncertainty.npy").min() > 0
    assert cv2.imread(str(out / "photo.preview.png")).shape == (192, 128, 3)
    cloud = read_points(out / "photo.ply")
    assert np.allclose(cloud[:, 2], depth.ravel())
    record = json.loads((out / "photo.json").read_text())
    assert record["metric"]
    assert all((out / name).exists() for name in record["files"])


def test_sparse_depth_in_kittis_unit(files):
    result = run(files, "--sparse", str(files / "sparse.png"), "--sparse-unit", "kitti", "--png-unit", "kitti")
    assert result.exit_code == 0, result.output
    png = cv2.imread(str(files / "out" / "photo.depth.png"), cv2.IMREAD_UNCHANGED)
    assert np.median(np.abs(png / 256 - DEPTH) / DEPTH) < 0.05


def test_no_point_is_an_error_and_no_metres_are_written(files):
    result = run(files, "--points", str(files / "empty.npy"), "--calib", str(files / "calib.json"))
    assert isinstance(result.exception, InputError)
    assert not (files / "out" / "photo.depth.png").exists()
    assert not json.loads((files / "out" / "photo.json").read_text())["metric"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--points"),
        (["--points", "cloud.npy"], "--calib"),
        (["--points", "cloud.npy", "--calib", "half.json"], "--resize-calib"),
        (["--points", "missing.npy", "--calib", "calib.json"], "does not exist"),
        (["--sparse", "photo.png"], "16-bit"),
        (["--sparse", "sparse.png", "--ply"], "--calib"),
    ],
)
def test_what_is_missing_is_said(files, arguments, words):
    placed = [str(files / argument) if "." in argument else argument for argument in arguments]
    result = run(files, *placed)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)


def test_a_resized_image_follows_its_calibration_when_told_to(files):
    result = run(files, "--points", str(files / "cloud.npy"), "--calib", str(files / "half.json"), "--resize-calib")
    assert result.exit_code == 0, result.output


def test_integers_in_a_npy_are_refused(tmp_path):
    np.save(tmp_path / "mm.npy", np.zeros((4, 4), np.uint16))
    with pytest.raises(InputError, match="metres"):
        read_sparse(tmp_path / "mm.npy", 1000.0)


def test_depth_that_does_not_fit_becomes_unknown():
    depth_m = np.array([[1.0, 70.0]], np.float32)
    assert codes(depth_m, 1000.0).codes.tolist() == [[1000, 0]]
    assert codes(depth_m, 1000.0).misfits == 1
    assert codes(depth_m, 1000.0, saturate=True).codes.tolist() == [[1000, 65535]]


def test_another_networks_map_is_completed_without_a_model(files, monkeypatch):
    monkeypatch.setattr("leadline.inference.estimator.load", lambda *_, **__: pytest.fail("a model was loaded"))
    np.save(files / "other.npy", 3.0 / DEPTH + 0.2)
    given = ("--sparse", str(files / "sparse.png"), "--sparse-unit", "kitti", "--map", str(files / "other.npy"))
    done = run(files, *given, "--space", "disparity", "--npy")
    assert done.exit_code == 0, done.output
    depth, validity = (np.load(files / "out" / f"photo.{name}.npy") for name in ("depth", "validity"))
    assert np.abs(depth / DEPTH - 1).mean() < 0.01
    assert validity.shape == DEPTH.shape
    for arguments, words in (
        ((), "go together"),
        (("--space", "disparity", "--model", "depthfm-mini"), "stands in for the model"),
    ):
        refused = run(files, *given, *arguments, "--overwrite")
        assert words in str(refused.exception)
