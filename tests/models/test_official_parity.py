"""Stage by stage, the numbers of the authors' own implementations: the whole set where it is, else the part shipped here."""

from __future__ import annotations

import pytest
import torch
from places import GOLDEN
from safetensors.torch import load_file
from tolerances import OFFICIAL, OFFICIAL_FOURIER

import leadline
from leadline.inference.ensembles import of_one_scale
from leadline.models.samplers import cosine_alpha_bar, noised

LAYOUTS = [name for name in ("v1like", "sd15", "sd21") if (GOLDEN / "depthfm" / name).is_dir()]
ONE_STEP = [name for name in ("depthmaster", "fiffdepth") if (GOLDEN / name).is_dir()]
ATTENTION = [("plain", False), ("rescaled", True)]


def assert_official(actual: torch.Tensor, expected: torch.Tensor, atol: float = OFFICIAL) -> None:
    torch.testing.assert_close(torch.as_tensor(actual).float(), expected.float(), atol=atol, rtol=0)


def minmax(depth: torch.Tensor) -> torch.Tensor:
    return (depth - depth.min()) / (depth.max() - depth.min())


@pytest.fixture(scope="module")
def depthfm():
    loaded = {}

    def get(layout: str, token_count_scaling: bool):
        key = layout, token_count_scaling
        if key not in loaded:
            folder = GOLDEN / "depthfm"
            bundle = leadline.load(
                folder / layout / "depthfm.ckpt",
                vae=folder / "vae",
                device="cpu",
                token_count_scaling=token_count_scaling,
            )
            loaded[key] = bundle, load_file(folder / layout / "expected.safetensors")
        return loaded[key]

    return get


@pytest.fixture(scope="module", params=ONE_STEP)
def one_step(request):
    return leadline.load(GOLDEN / request.param, device="cpu"), load_file(
        GOLDEN / request.param / "expected.safetensors"
    )


@pytest.mark.usefixtures("inference_mode")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("prefix", "scaling"), ATTENTION)
class TestDepthFM:
    def test_image_latent(self, depthfm, layout, prefix, scaling):
        estimator, golden = depthfm(layout, scaling)
        assert_official(estimator.codec.encode(golden["in/image"]), golden["image_latent"])

    def test_start(self, depthfm, layout, prefix, scaling):
        estimator, golden = depthfm(layout, scaling)
        step = estimator.spec.noising_step
        assert cosine_alpha_bar(step) == pytest.approx(golden["alpha_bar"].item(), abs=1e-12)
        assert_official(noised(golden["image_latent"], golden["in/noise"], step), golden["x_source"])

    def test_velocity(self, depthfm, layout, prefix, scaling):
        estimator, golden = depthfm(layout, scaling)
        velocity = estimator.model.evaluate(golden["in/unet_x"], golden["in/unet_context"], golden["in/unet_t"])
        assert_official(velocity, golden[f"{prefix}/unet_out"])

    @pytest.mark.parametrize("steps", [1, 2, 4])
    def test_solution(self, depthfm, layout, prefix, scaling, steps):
        estimator, golden = depthfm(layout, scaling)
        if f"{prefix}/steps{steps}/latent" not in golden:
            assert (prefix, layout) == ("rescaled", layout)
            assert steps != 2
            return
        latents = estimator.model.solve(estimator.codec.encode(golden["in/image"]), steps, golden["in/noise"])
        assert_official(latents, golden[f"{prefix}/steps{steps}/latent"])
        log_depth = estimator.codec.decode(latents)
        if f"{prefix}/steps{steps}/log_depth" in golden:
            assert_official(log_depth, golden[f"{prefix}/steps{steps}/log_depth"])
        assert_official(minmax(log_depth.exp()), golden[f"{prefix}/steps{steps}/depth"])


@pytest.mark.parametrize(("prefix", "scaling"), ATTENTION)
def test_depthfm_ensemble_through_the_estimator(depthfm, prefix, scaling):
    estimator, golden = depthfm(LAYOUTS[0], scaling)
    if f"{prefix}/ens3/member_log_depth" not in golden:
        pytest.skip("the repository's part of the numbers has no ensemble (set LEADLINE_GOLDEN)")
    image = ((golden["in/image"][0] + 1) / 2).clamp(0, 1)
    members = golden[f"{prefix}/ens3/member_log_depth"].squeeze()
    if not torch.allclose(image * 255, (image * 255).round(), atol=1e-3):  # not an 8-bit picture: enter behind framing
        with torch.inference_mode():
            latents = estimator.codec.encode(golden["in/image"]).repeat_interleave(3, dim=0)
            solved = estimator.model.solve(latents, _steps(estimator, golden, prefix), golden["in/noise_ens3"])
            ours = estimator.codec.decode(solved).squeeze()
    else:
        prediction = estimator.predict(
            image.permute(1, 2, 0).numpy(),
            size=0,
            ensemble=3,
            steps=_steps(estimator, golden, prefix),
            noise=golden["in/noise_ens3"],
        )
        ours = members  # the members are not returned: the mean and spread below are what counts
        assert_official(prediction.values, members.mean(0))
        assert_official(prediction.uncertainty, of_one_scale(members).std(0))  # the repository gives none
    assert_official(ours, members)
    assert_official(minmax(ours.mean(0).exp()), golden[f"{prefix}/ens3/depth"].squeeze())


def _steps(estimator, golden, prefix) -> int:
    """The ensemble's step count: the one whose latent the fixture stores."""
    with torch.inference_mode():
        latents = estimator.codec.encode(golden["in/image"]).repeat_interleave(3, dim=0)
        for steps in (1, 2, 4):
            solved = estimator.model.solve(latents, steps, golden["in/noise_ens3"])
            if torch.allclose(solved, golden[f"{prefix}/ens3/latent"], atol=OFFICIAL, rtol=0):
                return steps
    raise AssertionError("no step count reproduces the ensemble's latents")


@pytest.mark.usefixtures("inference_mode")
class TestOneStep:
    def test_prompt_is_two_tokens(self, one_step):
        estimator, golden = one_step
        assert_official(estimator.model.prompt, golden["empty_text_embed"])

    def test_stages(self, one_step):
        estimator, golden = one_step
        image_latents = estimator.codec.encode(golden["in/image"])
        assert_official(image_latents, golden["image_latent"])
        depth_latents = estimator.model.solve(image_latents)
        assert_official(depth_latents, golden["depth_latent"])
        decoded = estimator.codec.decode(depth_latents)
        assert_official(decoded, golden["decoded"])
        assert_official(estimator.model.finish(decoded), golden["depth"])

    @pytest.mark.parametrize("timestep", [0, 1, 500])
    def test_network_on_odd_sizes(self, one_step, timestep):
        estimator, golden = one_step
        out = estimator.bundle.model.unet(golden["in/unet_rand"], timestep, estimator.model.prompt)
        assert_official(out, golden[f"unet_rand_out_t{timestep}"])

    def test_network_with_another_prompt(self, one_step):
        estimator, golden = one_step
        out = estimator.bundle.model.unet(golden["in/unet_rand"], 1, golden["in/unet_rand_ctx"])
        assert_official(out, golden["unet_rand_ctx_out_t1"])

    @pytest.mark.parametrize("size", [0, 96, 160])
    def test_whole_pipeline(self, one_step, size):
        estimator, golden = one_step
        prediction = estimator.predict(golden["in/e2e_rgb_uint8"].numpy(), size=size, framing="official")
        assert_official(prediction.values, golden[f"e2e_res{size}_depth"])


@pytest.mark.skipif("depthmaster" not in ONE_STEP, reason="DepthMaster's numbers are not here (set LEADLINE_GOLDEN)")
@pytest.mark.usefixtures("inference_mode")
class TestDepthMaster:
    @pytest.fixture(scope="class")
    def depthmaster(self):
        return leadline.load(GOLDEN / "depthmaster", device="cpu"), load_file(
            GOLDEN / "depthmaster" / "expected.safetensors"
        )

    @pytest.mark.parametrize("case", ["even", "odd", "evenodd", "oddeven"])
    def test_fourier_enhancement(self, depthmaster, case):
        estimator, golden = depthmaster
        block = estimator.bundle.model.unet.fftblock
        assert_official(block(golden[f"in/fe_{case}"]), golden[f"fe_{case}_out"], OFFICIAL_FOURIER)

    def test_middle_features(self, depthmaster):
        estimator, golden = depthmaster
        features = estimator.bundle.model.unet.middle_features(golden["image_latent"], 1.0, estimator.model.prompt)
        assert_official(features, golden["mid_features"])

    def test_stored_precision_of_the_script(self, depthmaster):
        """16-bit values of the official script, to 7 codes of 65535."""
        estimator, golden = depthmaster
        prediction = estimator.predict(golden["in/e2e_rgb_uint8"].numpy(), size=0, framing="official")
        codes = (torch.as_tensor(prediction.values) * 65535).to(torch.int32)
        assert (codes - golden["e2e_res0_png16"]).abs().max() <= 7
