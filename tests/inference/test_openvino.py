"""OpenVINO computes what PyTorch computes, was checked before it is used, and refuses what it cannot do."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch
from tiny import tiny_bundle

import leadline
from leadline.errors import InputError, LeadlineError
from leadline.inference import openvino_stages
from leadline.inference.devices import cpu_computes_bf16
from leadline.inference.estimator import DepthEstimator
from leadline.inference.openvino_stages import OpenVinoStage, check_openvino

CPU = torch.device("cpu")
PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_without_openvino_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(openvino_stages, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'leadline\[openvino\]'"):
        DepthEstimator(tiny_bundle("fiffdepth"), device="cpu", backend="openvino")


class TestWithOpenVino:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("openvino")

    @pytest.mark.parametrize(
        ("family", "options"),
        [("fiffdepth", {}), ("depthmaster", {"ensemble": 2}), ("depthfm", {"steps": 2, "ensemble": 3})],
    )
    def test_the_maps_are_pytorchs(self, family, options):
        bundle = tiny_bundle(family)
        expected = DepthEstimator(bundle, device="cpu", precision="fp32").predict(PHOTO, size=0, **options)
        got = DepthEstimator(bundle, device="cpu", precision="fp32", backend="openvino").predict(
            PHOTO, size=0, **options
        )
        np.testing.assert_allclose(got.values, expected.values, atol=1e-4 * np.ptp(expected.values))
        assert (expected.meta["backend"], got.meta["backend"]) == ("torch", "openvino")

    def test_more_steps_later_need_no_tables(self):
        """A graph holds its weights as constants: nothing that grows may be among them."""
        bundle = tiny_bundle("depthfm")
        plain, other = (DepthEstimator(bundle, device="cpu", backend=one) for one in ("torch", "openvino"))
        for steps in (1, 4):
            expected, got = (one.predict(PHOTO, size=0, steps=steps).values for one in (plain, other))
            np.testing.assert_allclose(got, expected, atol=1e-4 * np.ptp(expected))

    @pytest.mark.skipif(not cpu_computes_bf16(), reason="this processor does not compute in bf16")
    def test_half_precision(self):
        bundle = tiny_bundle("fiffdepth")
        expected = DepthEstimator(bundle, device="cpu").predict(PHOTO, size=0).values
        got = DepthEstimator(bundle, device="cpu", precision="bf16", backend="openvino").predict(PHOTO, size=0)
        apart = np.abs(got.values - expected) / np.ptp(expected)
        assert 1e-5 < apart.mean() < 1e-2
        assert got.meta["precision"] == "bf16"

    def test_a_wrong_conversion_is_never_used(self, monkeypatch):
        infer = openvino_stages._infer
        monkeypatch.setattr(openvino_stages, "_infer", lambda *what: infer(*what) + 0.01)
        stage = OpenVinoStage("halve", lambda x: 0.5 * x, torch.float32)
        with pytest.raises(LeadlineError, match=r"differs from PyTorch .* in halve .* use backend 'torch'"):
            stage(torch.zeros(1, 3, 16, 16))

    def test_results_are_not_overwritten_by_the_next_call(self):
        stage = OpenVinoStage("halve", lambda x: 0.5 * x, torch.float32)
        first = stage(torch.ones(1, 3, 16, 16))
        stage(torch.zeros(1, 3, 16, 16))
        assert torch.equal(first, torch.full((1, 3, 16, 16), 0.5))

    def test_few_shapes_are_kept_the_last_used_ones(self, monkeypatch):
        monkeypatch.setattr(openvino_stages, "OPENVINO", replace(openvino_stages.OPENVINO, shapes_kept=2))
        traced: list[int] = []

        def double(x: torch.Tensor) -> torch.Tensor:
            traced.append(int(x.shape[-1]))
            return 2.0 * x

        stage = OpenVinoStage("double", double, torch.float32)
        for width in (16, 24, 16, 32):
            assert stage(torch.ones(1, 1, 8, width)).shape[-1] == width
        traced.clear()
        stage(torch.ones(1, 1, 8, 16))
        assert not traced
        stage(torch.ones(1, 1, 8, 24))
        assert set(traced) == {24}

    def test_threads_take_turns(self):
        estimator = DepthEstimator(tiny_bundle("fiffdepth"), device="cpu", backend="openvino")
        photos = [np.roll(PHOTO, 9 * k, axis=1) for k in range(4)]
        expected = [estimator.predict(photo, size=0).values for photo in photos]
        got = [None] * 4

        def work(k: int) -> None:
            for _ in range(5):
                got[k] = estimator.predict(photos[k], size=0).values

        threads = [Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"precision": "fp16"}, "fp32, bf16 or int8"),
            ({"compiled": "kernels"}, "--compile"),
            ({"memory_budget": "4GB"}, "memory budget"),
        ],
    )
    def test_what_it_cannot_do_is_refused(self, options, message):
        with pytest.raises(InputError, match=message):
            DepthEstimator(tiny_bundle("fiffdepth"), device="cpu", backend="openvino", **options)
        with pytest.raises(InputError, match="--device cpu"):
            check_openvino(torch.device("cuda"), torch.float32)

    def test_a_mini_model_by_name(self):
        estimator = leadline.load("fiffdepth-mini", device="cpu", backend="openvino")
        expected = leadline.load("fiffdepth-mini", device="cpu").predict(PHOTO, size=96).values
        np.testing.assert_allclose(estimator.predict(PHOTO, size=96).values, expected, atol=1e-4)
