"""Convolutions in 8-bit integers: near the float ones, integers in OpenVINO, and only where they were measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from places import ROOT
from tiny import tiny_bundle
from torch import nn

import leadline
from leadline.errors import InputError
from leadline.inference import openvino_stages
from leadline.inference.eight_bits import EightBitConvolution, to_eight_bits
from leadline.inference.estimator import DepthEstimator

ROOM = ROOT / "assets" / "demo" / "living_room.jpg"
PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


@torch.inference_mode()
def test_a_convolution_is_near_the_float_one_within_its_range_and_cut_off_outside():
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 8, 3, padding=1, stride=2)
    inputs = torch.rand(2, 16, 12, 10) * 3.0 - 1.0
    near = EightBitConvolution(conv, -1.0, 2.0)
    apart = (near(inputs) - conv(inputs)).abs()
    assert 0.0 < apart.max() < 0.02 * torch.std(conv(inputs)) * 10
    assert torch.equal(near(inputs + 10.0), near(torch.full_like(inputs, 2.0)))
    narrow = EightBitConvolution(conv, -0.1, 0.2)
    assert (narrow(inputs) - conv(inputs)).abs().mean() > 10 * apart.mean()


@torch.inference_mode()
def test_only_3x3_convolutions_that_are_used_are_replaced_and_shared_ones_stay_shared():
    used, single, idle = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3)
    part = nn.ModuleDict({"used": used, "again": nn.Sequential(used), "single": single, "idle": idle})
    seen = []

    def run(picture: torch.Tensor) -> None:
        seen.append(picture)
        single(used(picture[None].float()))

    assert to_eight_bits([part], run) == 1
    assert isinstance(part["used"], EightBitConvolution)
    assert part["again"][0] is part["used"]
    assert part["single"] is single
    assert part["idle"] is idle
    assert {tuple(picture.shape) for picture in seen} == {(3, 256, 320)}
    assert all(picture.dtype == torch.uint8 and picture.float().std() > 20 for picture in seen)
    assert not used._forward_pre_hooks


def test_pytorch_has_none():
    with pytest.raises(InputError, match="'int8' is for backend 'openvino'"):
        DepthEstimator(tiny_bundle("fiffdepth"), device="cpu", precision="int8")


class TestWithOpenVino:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("openvino")

    @pytest.mark.parametrize("family", ["fiffdepth", "depthfm"])
    def test_the_maps_are_near(self, family):
        """(Fourier phases of a random DepthMaster multiply every rounding: its trained one is below.)"""
        bundle = tiny_bundle(family)
        expected = DepthEstimator(bundle, device="cpu").predict(PHOTO, size=0).values
        got = DepthEstimator(bundle, device="cpu", precision="int8", backend="openvino").predict(PHOTO, size=0)
        apart = np.abs(got.values - expected) / np.ptp(expected)
        assert 1e-5 < apart.mean() < 2e-2
        assert got.meta["precision"] == "int8"
        again = DepthEstimator(bundle, device="cpu").predict(PHOTO, size=0).values
        np.testing.assert_array_equal(again, expected)  # the bundle's own layers stay as they are

    def test_a_mini_model_in_real_time_convolves_integers(self, monkeypatch):
        """Also on a processor that has bf16: OpenVINO must find what to do in integers."""
        requests = []
        make = openvino_stages._request
        monkeypatch.setattr(openvino_stages, "_request", lambda *what: requests.append(make(*what)) or requests[-1])
        near, exact = (
            leadline.load(
                "depthmaster-mini", device="cpu", speed="realtime", precision=one, backend="openvino"
            ).predict(ROOM, size=160)
            for one in ("int8", "fp32")
        )
        apart = np.abs(near.values - exact.values) / np.ptp(exact.values)
        assert 1e-5 < apart.mean() < 1e-2
        for request, integers in zip(requests, [True] * 3 + [False] * 3, strict=True):
            kinds = [
                operation.get_rt_info()["runtimePrecision"]
                for operation in request.get_compiled_model().get_runtime_model().get_ops()
                if operation.get_rt_info()["layerType"] == "Convolution"
            ]
            share = np.mean([kind in ("u8", "i8") for kind in kinds])
            assert share > 0.6 if integers else share == 0

    def test_models_with_more_than_a_photograph_are_refused(self):
        bundle = tiny_bundle("depthfm", condition_channels=8)
        with pytest.raises(InputError, match="the photograph alone"):
            DepthEstimator(bundle, device="cpu", precision="int8", backend="openvino")
