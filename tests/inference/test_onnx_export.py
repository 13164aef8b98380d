"""Exported files compute what PyTorch computes, say what they are, and refuse what cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny import tiny_bundle

from leadline.errors import InputError, LeadlineError
from leadline.inference import onnx_file
from leadline.inference.estimator import DepthEstimator
from leadline.inference.graph import DepthGraph, MatrixFourier
from leadline.models.fourier import FourierEnhancement

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("grid", [(4, 4), (5, 7), (6, 3), (1, 2), (1, 1)])
@torch.inference_mode()
def test_matrix_products_are_the_fourier_transform(grid):
    torch.manual_seed(0)
    block = FourierEnhancement(16).eval()
    features = torch.randn(2, 16, *grid)
    torch.testing.assert_close(MatrixFourier(block, *grid)(features), block(features), atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
@torch.inference_mode()
def test_the_graph_is_the_estimator(family):
    bundle = tiny_bundle(family)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    noise = torch.randn(1, 4, 8, 12) if bundle.model.stochastic else None
    steps = 2 if noise is not None else 1
    expected = DepthEstimator(bundle, precision="fp32").predict(image, size=0, steps=steps, noise=noise).values
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(DepthGraph(bundle, 64, 96, steps)(pixels, noise)[0].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("family", ["depthfm", "depthmaster"])
def test_file(family, tmp_path):
    import onnx

    bundle = tiny_bundle(family)
    stochastic = bundle.model.stochastic
    path = tmp_path / "model.onnx"
    done = onnx_file.export_onnx(bundle, path, 64, 48, steps=2 if stochastic else None, dynamic_batch=True)
    assert done.files == [path]
    assert done.difference < 1e-4
    said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert said["leadline.space"] == bundle.spec.space.value
    assert (json.loads(said["leadline.height"]), json.loads(said["leadline.width"])) == (64, 48)
    assert json.loads(said["leadline.metric"]) is False
    for count in (1, 3):
        inputs = onnx_file.example_inputs(DepthGraph(bundle, 64, 48), 64, 48, count)
        feed = {name: tensor.numpy() for name, tensor in zip(("image", "noise"), inputs, strict=False)}
        with torch.inference_mode():
            expected = DepthGraph(bundle, 64, 48, 2 if stochastic else 1)(*inputs).numpy()
        np.testing.assert_allclose(onnx_file.session(path).run(["depth"], feed)[0], expected, atol=1e-4)


def test_a_file_that_differs_is_not_left_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "TOLERANCE", 0.0)
    monkeypatch.setattr(onnx_file, "_difference", lambda *given: float("nan"))
    path = tmp_path / "model.onnx"
    with pytest.raises(LeadlineError, match="differs from PyTorch"):
        onnx_file.export_onnx(tiny_bundle("fiffdepth"), path, 64, 48)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx.wrong"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"height": 60}, "multiples of 16"), ({"width": 0}, "multiples of 16"), ({"steps": 2}, "exactly 1")],
)
def test_what_cannot_be(changes, message, tmp_path):
    options = {"height": 64, "width": 48, **changes}
    with pytest.raises(InputError, match=message):
        onnx_file.export_onnx(tiny_bundle("fiffdepth"), tmp_path / "model.onnx", **options)


@pytest.mark.parametrize("size", ["640", "axb", "64x", "64x48x3"])
def test_sizes_that_are_none(size):
    from leadline.cli.export import command

    done = CliRunner().invoke(command, ["fiffdepth-mini", "--size", size])
    assert isinstance(done.exception, InputError)
    assert "480x640" in str(done.exception)
