"""The one way from image to DepthPrediction."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_bundle, tiny_estimator
from tolerances import MEAN_OF_RANGE, WORST_OF_RANGE

from leadline import Cancelled, InputError
from leadline.inference import replica
from leadline.inference.devices import wait_for
from leadline.inference.estimator import DepthEstimator
from leadline.inference.progress import Progress

FAMILIES = ["depthfm", "depthmaster", "fiffdepth"]
DEVICES = (
    ["cpu"] + (["cuda"] if torch.cuda.is_available() else []) + (["mps"] if torch.backends.mps.is_available() else [])
)


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    @pytest.mark.parametrize("shape", [(8, 8), (45, 70), (200, 9), (64, 64)])
    @pytest.mark.parametrize("size", [None, 0, 48])
    def test_output_has_the_input_size(self, family, shape, size, photo):
        image = np.resize(photo, (*shape, 3))
        prediction = tiny_estimator(family).predict(image, size=size)
        assert prediction.values.shape == shape
        assert prediction.values.dtype == np.float32
        assert np.isfinite(prediction.values).all()
        assert prediction.uncertainty is None
        assert not prediction.metric

    def test_ensemble_gives_uncertainty(self, family, photo):
        prediction = tiny_estimator(family).predict(photo, ensemble=4)
        assert prediction.uncertainty.shape == photo.shape[:2]
        assert (prediction.uncertainty >= 0).all()
        assert prediction.uncertainty.mean() > 0

    def test_batch_equals_one_by_one(self, family, photo):
        estimator = tiny_estimator(family)
        images = [photo, photo[::-1].copy(), photo[:, :40].copy()]
        batch = estimator.predict(images, ensemble=2, seed=[1, 2, 3])
        for image, seed, together in zip(images, (1, 2, 3), batch, strict=True):
            alone = estimator.predict(image, ensemble=2, seed=seed)
            np.testing.assert_allclose(together.values, alone.values, atol=2e-5)
            np.testing.assert_allclose(together.uncertainty, alone.uncertainty, atol=2e-5)

    def test_array_batch_is_a_batch(self, family, photo):
        predictions = tiny_estimator(family).predict(np.stack([photo, photo]))
        assert len(predictions) == 2

    def test_same_seed_same_numbers(self, family, photo):
        first, second = (tiny_estimator(family).predict(photo, ensemble=3, seed=5) for _ in range(2))
        np.testing.assert_array_equal(first.values, second.values)

    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_precisions_agree(self, family, device, precision, photo):
        exact = tiny_estimator(family, precision="fp32").predict(photo)
        other = tiny_estimator(family, device=device, precision=precision).predict(photo)
        scale = float(np.ptp(exact.values))
        assert np.isfinite(other.values).all()
        error = np.abs(other.values - exact.values) / scale
        assert error.mean() <= MEAN_OF_RANGE[precision]
        assert error.max() <= WORST_OF_RANGE[precision]

    def test_several_devices_share_a_batch(self, family, photo):
        images = [photo, photo[::-1].copy(), photo[:, ::-1].copy()]
        one = tiny_estimator(family).predict(images, seed=3)
        two = tiny_estimator(family, device="cpu,cpu").predict(images, seed=3)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a.values, b.values, atol=2e-5)

    def test_memory_limit_does_not_change_the_numbers(self, family, photo, monkeypatch):
        whole = tiny_estimator(family).predict([photo, photo], ensemble=4)
        monkeypatch.setitem(replica.PIXELS_AT_ONCE, "cpu", 1)
        pieces = tiny_estimator(family).predict([photo, photo], ensemble=4)
        np.testing.assert_allclose(whole[1].values, pieces[1].values, atol=2e-5)


class TestNoise:
    def test_given_noise_replaces_the_seed(self, photo):
        estimator = tiny_estimator("depthfm")
        rows, columns = (side // estimator.codec.factor for side in estimator.predict(photo).meta["network_size"])
        noise = torch.randn(3, 4, rows, columns, generator=torch.Generator().manual_seed(9))
        np.testing.assert_array_equal(
            estimator.predict(photo, ensemble=3, noise=noise).values,
            estimator.predict(photo, ensemble=3, seed=9).values,
        )

    def test_members_are_a_batch_with_their_own_noise(self, photo):
        estimator = tiny_estimator("depthfm")
        image = np.resize(photo, (48, 64, 3))
        noise = torch.randn(2, 4, 6, 8)
        both = estimator.predict(image, ensemble=2, noise=noise, size=0)
        alone = [estimator.predict(image, noise=one, size=0).values for one in noise]
        np.testing.assert_allclose(both.values, np.mean(alone, axis=0), atol=2e-5)
        common = np.mean([one.std(ddof=1) for one in alone])  # a member's own scale and shift are no disagreement
        shapes = [(one - one.mean()) / one.std(ddof=1) * common for one in alone]
        np.testing.assert_allclose(both.uncertainty, np.std(shapes, axis=0, ddof=1), atol=2e-5)

    def test_wrong_shape_is_named(self, photo):
        with pytest.raises(InputError, match=r"noise is .* needs"):
            tiny_estimator("depthfm").predict(photo, noise=torch.zeros(4, 2, 2))

    def test_deterministic_models_take_none(self, photo):
        with pytest.raises(InputError, match="deterministic"):
            tiny_estimator("fiffdepth").predict(photo, noise=torch.zeros(4, 2, 2))


class TestOverflow:
    def test_half_precision_overflow_is_done_again_in_float32(self, photo):
        """A gain of 1e5 overflows fp16 (largest 65504) and not fp32."""
        bundle = tiny_bundle("fiffdepth")
        bundle.model.unet.net.conv_in.weight.data *= 1e7
        exact = DepthEstimator(tiny_copy(bundle), precision="fp32").predict(photo)
        with pytest.warns(UserWarning, match="done again in fp32"):
            retried = DepthEstimator(bundle, precision="fp16").predict(photo)
        assert retried.meta["precision"] == "fp32 (retried)"
        np.testing.assert_allclose(retried.values, exact.values, atol=1e-4)

    def test_nan_in_float32_is_an_error(self, photo):
        bundle = tiny_bundle("fiffdepth")
        bundle.model.unet.net.conv_in.bias.data[:] = float("nan")
        with pytest.raises(InputError, match="NaN"):
            DepthEstimator(bundle, precision="fp32").predict(photo)


def tiny_copy(bundle):
    from copy import deepcopy

    return deepcopy(bundle)


class TestProgress:
    def test_fractions_rise_to_one(self, photo):
        seen = []
        tiny_estimator("depthfm").predict(
            [photo, photo], steps=3, ensemble=2, on_progress=lambda s, f: seen.append((s, f))
        )
        fractions = [fraction for _, fraction in seen]
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1.0)
        assert {stage for stage, _ in seen} == {"encode", "solve", "decode"}

    def test_raising_stops_between_steps(self, photo):
        def stop(stage: str, fraction: float) -> None:
            if stage == "solve":
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            tiny_estimator("depthfm").predict(photo, steps=50, on_progress=stop)


class TestOptions:
    @pytest.mark.parametrize(
        ("family", "options", "message"),
        [
            ("depthfm", {"steps": 0}, "1 or more"),
            ("depthmaster", {"steps": 2}, "exactly 1"),
            ("depthfm", {"ensemble": 0}, "at least 1"),
            ("depthfm", {"size": -5}, "long edge"),
            ("depthfm", {"framing": "stretch"}, "unknown"),
            ("depthfm", {"seed": [1, 2]}, "2 seeds for 1"),
        ],
    )
    def test_bad_options_are_explained(self, family, options, message, photo):
        with pytest.raises(InputError, match=message):
            tiny_estimator(family).predict(photo, **options)

    @pytest.mark.parametrize("device", ["cuda:7", "tpu", "quantum", "meta"])
    def test_bad_devices_are_explained(self, device):
        with pytest.raises(InputError):
            tiny_estimator("depthfm", device=device)

    def test_bad_precision_is_explained(self):
        with pytest.raises(InputError, match="fp32"):
            tiny_estimator("depthfm", precision="fp8")


def test_accepts_every_kind_of_image(photo, tmp_path):
    estimator = tiny_estimator("depthfm")
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    expected = estimator.predict(photo).values
    for image in (
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(photo),
        photo / 255.0,
        torch.from_numpy(photo).permute(2, 0, 1),
    ):
        np.testing.assert_array_equal(estimator.predict(image).values, expected)


@pytest.mark.parametrize(("family", "fine_steps"), [("depthfm", 4), ("fiffdepth", 1)])
def test_quality_asks_the_model(photo, family, fine_steps):
    model = tiny_estimator(family)
    meta = {quality: model.predict(photo, quality=quality).meta for quality in ("fast", "balanced", "fine")}
    assert (meta["fast"]["steps"], meta["fast"]["ensemble"]) == (1, 1)
    assert (meta["balanced"]["steps"], meta["balanced"]["ensemble"]) == (model.default_steps, 1)
    assert (meta["fine"]["steps"], meta["fine"]["ensemble"]) == (fine_steps, 4)
    assert model.predict(photo, quality="fine", ensemble=2).meta["ensemble"] == 2
    with pytest.raises(InputError, match="fast, balanced, fine"):
        model.predict(photo, quality="best")


def test_progress_is_told_when_the_device_is_done_and_nobody_waits_who_did_not_ask():
    """A GPU queues work: without waiting, the caller would hear of what has not begun."""
    happened: list[str] = []
    for told in (None, lambda stage, fraction: happened.append(stage)):
        progress = Progress(told, 2, wait=lambda: happened.append("wait"))
        progress.report("encode")
        progress.solving(2)(1, 1)
        progress.decoded(2)
    assert happened == ["wait", "encode", "wait", "solve", "wait", "decode"]


def test_waiting_is_for_this_threads_stream_of_every_gpu(monkeypatch):
    waited: list[str] = []
    monkeypatch.setattr(
        torch.cuda,
        "current_stream",
        lambda device: SimpleNamespace(synchronize=lambda: waited.append(str(device))),
    )
    wait_for([torch.device("cuda:0"), torch.device("cpu"), torch.device("cuda:1")])
    assert waited == ["cuda:0", "cuda:1"]


def test_a_map_is_looked_through_for_overflow_once(monkeypatch, photo):
    looked: list[int] = []
    real = torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda maps: looked.append(maps.ndim) or real(maps))
    tiny_estimator("fiffdepth").predict(photo)
    assert len(looked) == 1
