"""Official and native formats: what loads, what is refused, and with which words."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import GOLDEN
from safetensors.torch import load_file, save_file
from tiny import tiny_bundle, tiny_estimator

import leadline
from leadline import CheckpointError, InputError, Space
from leadline.checkpoints import catalog
from leadline.checkpoints.cache import cache_folder, model_path
from leadline.checkpoints.header import read_spec
from leadline.checkpoints.importing import import_checkpoint
from leadline.checkpoints.native import load_model, save_codec, save_model
from leadline.checkpoints.resolve import available
from leadline.models import ModelSpec
from leadline.training.build import _start

DEPTHFM = GOLDEN / "depthfm" / "sd21" / "depthfm.ckpt"
VAE = GOLDEN / "depthfm" / "vae"
LAST_DIGITS = 1e-5


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path / "home"))


def with_older_names(vae: dict[str, torch.Tensor], dimensions: int) -> dict[str, torch.Tensor]:
    older = {}
    for name, tensor in vae.items():
        stored, stored_name = tensor, name
        for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            if f".attentions.0.{new}." in name:
                stored_name = name.replace(new, old)
                stored = tensor[:, :, None, None] if dimensions == 4 and tensor.ndim == 2 else tensor
        older[stored_name] = stored.contiguous()
    assert set(older) != set(vae)
    return older


class TestNative:
    @pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
    def test_round_trip_is_exact(self, family, tmp_path, photo):
        bundle = tiny_bundle(family)
        save_model(bundle, tmp_path / "m.safetensors", torch.float32)
        loaded = leadline.load(tmp_path / "m.safetensors", device="cpu")
        for ours, stored in ((bundle.model, loaded.bundle.model), (bundle.codec, loaded.bundle.codec)):
            for name, tensor in ours.state_dict().items():
                assert torch.equal(stored.state_dict()[name], tensor)
        # Sums in a convolution depend on where weights lie, in the last digit; those of a file lie as they do in it.
        np.testing.assert_allclose(
            loaded.predict(photo).values, tiny_estimator(family).predict(photo).values, atol=LAST_DIGITS
        )
        assert loaded.spec == bundle.spec
        assert loaded.weights_hash

    def test_shared_codec(self, tmp_path, photo):
        bundle = tiny_bundle("fiffdepth")
        save_codec(bundle, tmp_path / "codec.safetensors", torch.float32)
        save_model(bundle, tmp_path / "m.safetensors", torch.float32, codec_file="codec.safetensors")
        expected = tiny_estimator("fiffdepth").predict(photo).values
        np.testing.assert_allclose(
            leadline.load(tmp_path / "m.safetensors", device="cpu").predict(photo).values, expected, atol=LAST_DIGITS
        )
        (tmp_path / "codec.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"codec\.safetensors"):
            load_model(tmp_path / "m.safetensors")

    def test_shared_tensors_are_stored_once(self, tmp_path, photo):
        base, model = tiny_bundle("fiffdepth"), tiny_bundle("depthmaster", seed=1)
        shared = base.model.unet.state_dict()
        model.model.unet.load_state_dict({k: v for k, v in shared.items() if "up_blocks" not in k}, strict=False)
        own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
        save_model(base, tmp_path / "base.safetensors", torch.float32)
        save_model(model, own, torch.float32, base_file="base.safetensors")
        names = {k for k in load_file(own) if k.startswith("unet.")}
        assert names
        assert all("up_blocks" in name or "fftblock" in name for name in names)
        save_model(model, other, torch.float32)
        expected = leadline.load(other, device="cpu").predict(photo).values
        np.testing.assert_allclose(leadline.load(own, device="cpu").predict(photo).values, expected, atol=LAST_DIGITS)

        save_model(tiny_bundle("fiffdepth", seed=2), tmp_path / "base.safetensors", torch.float32)
        with pytest.raises(CheckpointError, match="shares tensors with another"):
            load_model(own)
        (tmp_path / "base.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"base\.safetensors, which is not beside it"):
            load_model(own)

    def test_a_base_with_more_in_it_is_not_shared(self, tmp_path):
        save_model(tiny_bundle("depthmaster"), tmp_path / "base.safetensors", torch.float32)
        save_model(tiny_bundle("fiffdepth"), tmp_path / "own.safetensors", torch.float32, base_file="base.safetensors")
        assert load_model(tmp_path / "own.safetensors").spec.family == "fiffdepth"

    def test_settings_change_the_spec_or_are_refused(self, tmp_path):
        save_model(tiny_bundle("depthfm"), tmp_path / "m.safetensors")
        assert leadline.load(tmp_path / "m.safetensors", device="cpu", noising_step=100).spec.noising_step == 100
        with pytest.raises(CheckpointError, match="no setting 'colour'"):
            leadline.load(tmp_path / "m.safetensors", colour="red")

    def test_spec_is_read_without_weights(self, tmp_path):
        save_model(tiny_bundle("depthfm"), tmp_path / "m.safetensors")
        assert read_spec(tmp_path / "m.safetensors").family == "depthfm"
        assert read_spec(VAE / "diffusion_pytorch_model.safetensors") is None

    @given(cut=st.floats(0.0, 0.999))
    @settings(max_examples=15)
    def test_truncated(self, cut, tmp_path_factory):
        path = tmp_path_factory.mktemp("cut") / "m.safetensors"
        save_model(tiny_bundle("fiffdepth"), path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * cut)])
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_model(path)

    def test_another_programs_safetensors(self):
        with pytest.raises(CheckpointError, match="not a Leadline model"):
            load_model(VAE / "diffusion_pytorch_model.safetensors")

    def test_failing_write_leaves_nothing(self, tmp_path, monkeypatch):
        def full(*arguments, **options):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("leadline.checkpoints.native.save_file", full)
        with pytest.raises(CheckpointError, match="No space left"):
            save_model(tiny_bundle("fiffdepth"), tmp_path / "m.safetensors")
        assert list(tmp_path.glob("*m.safetensors*")) == []

    @pytest.mark.parametrize(
        "text", ["", "{}", "[1]", '{"family": 3, "colour": "red"}', '{"family": "depthfm", "space": "feet"}']
    )
    def test_broken_descriptions(self, text):
        with pytest.raises(CheckpointError):
            ModelSpec.from_json(text)


class TestOfficial:
    def test_import_gives_the_same_numbers_by_name(self, photo):
        direct = leadline.load(DEPTHFM, vae=VAE, device="cpu").predict(np.tile(photo, (3, 2, 1)))
        import_checkpoint(DEPTHFM, "mine", vae=VAE)
        assert "mine" in available()
        by_name = leadline.load("mine", device="cpu").predict(np.tile(photo, (3, 2, 1)))
        np.testing.assert_allclose(direct.values, by_name.values, atol=LAST_DIGITS)

    def test_half_is_half_the_size(self):
        whole = import_checkpoint(DEPTHFM, "whole", vae=VAE).stat().st_size
        half = import_checkpoint(DEPTHFM, "half", vae=VAE, half=True).stat().st_size
        assert half < 0.55 * whole

    def test_bin_instead_of_safetensors(self, tmp_path, photo):
        folder = tmp_path / "fiffdepth"
        shutil.copytree(GOLDEN / "fiffdepth", folder)
        for part in ("unet", "vae"):
            stored = folder / part / "diffusion_pytorch_model.safetensors"
            torch.save(load_file(stored), stored.with_suffix(".bin"))
            stored.unlink()
        expected = leadline.load(GOLDEN / "fiffdepth", device="cpu").predict(photo).values
        np.testing.assert_allclose(
            leadline.load(folder, device="cpu").predict(photo).values, expected, atol=LAST_DIGITS
        )

    @pytest.mark.parametrize(("way", "dimensions"), [("load", 4), ("import", 2), ("vae", 2), ("start_from", 4)])
    def test_older_names_of_the_vae_attention(self, dimensions, way, tmp_path, photo):
        """Published VAEs store query / key / value / proj_attn; original latent-diffusion files have 4-D weights."""
        folder = tmp_path / "fiffdepth"
        shutil.copytree(GOLDEN / "fiffdepth", folder)
        stored = folder / "vae" / "diffusion_pytorch_model.safetensors"
        save_file(with_older_names(load_file(stored), dimensions), stored)
        expected = leadline.load(GOLDEN / "fiffdepth", device="cpu").predict(photo).values
        if way == "start_from":
            codec = _start({"stable_diffusion": str(folder)}).codec
            original = leadline.load(GOLDEN / "fiffdepth", device="cpu").bundle.codec
            for name, tensor in original.state_dict().items():
                assert torch.equal(codec.state_dict()[name], tensor)
            return
        if way == "import":
            estimator = leadline.load(import_checkpoint(folder, "older"), device="cpu")
        elif way == "vae":
            estimator = leadline.load(GOLDEN / "fiffdepth", vae=folder / "vae", device="cpu")
        else:
            estimator = leadline.load(folder, device="cpu")
        np.testing.assert_allclose(estimator.predict(photo).values, expected, atol=LAST_DIGITS)

    def test_first_stage_depthmaster_has_no_fourier_block(self, tmp_path):
        if not (GOLDEN / "depthmaster").is_dir():
            pytest.skip("DepthMaster's folder is not here (set LEADLINE_GOLDEN)")
        folder = tmp_path / "stage1"
        shutil.copytree(GOLDEN / "depthmaster", folder)
        stored = folder / "unet" / "diffusion_pytorch_model.safetensors"
        save_file({k: v for k, v in load_file(stored).items() if not k.startswith("fftblock.")}, stored)
        estimator = leadline.load(folder, device="cpu")
        assert estimator.family == "depthmaster"
        assert not estimator.spec.fourier

    def test_direction_of_fiffdepth_is_the_checkpoints(self):
        assert leadline.load(GOLDEN / "fiffdepth", device="cpu").space is Space.DEPTH
        assert leadline.load(GOLDEN / "fiffdepth", device="cpu", space="disparity").space is Space.DISPARITY

    def test_two_dimensional_prompt(self, tmp_path):
        raw = torch.load(DEPTHFM, weights_only=True)
        raw["empty_text_embedding"] = raw["empty_text_embedding"].reshape(raw["empty_text_embedding"].shape[-2:])
        torch.save(raw, tmp_path / "flat.ckpt")
        assert leadline.load(tmp_path / "flat.ckpt", vae=VAE, device="cpu").model.prompt.ndim == 3

    def test_pickles_run_no_code(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        (tmp_path / "trap.ckpt").write_bytes(pickle.dumps({"state_dict": Trap()}))
        with pytest.raises(CheckpointError, match="more than weights"):
            leadline.load(tmp_path / "trap.ckpt", vae=VAE)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("keep", [0, 100, 5000, -1])
    def test_truncated_ckpt(self, keep, tmp_path):
        (tmp_path / "cut.ckpt").write_bytes(DEPTHFM.read_bytes()[:keep])
        with pytest.raises(CheckpointError, match="damaged"):
            leadline.load(tmp_path / "cut.ckpt", vae=VAE)

    def test_missing_and_surplus_tensors(self, tmp_path):
        raw = torch.load(DEPTHFM, weights_only=True)
        del raw["state_dict"]["out.2.bias"]
        torch.save(raw, tmp_path / "holed.ckpt")
        with pytest.raises(CheckpointError, match="fit"):
            leadline.load(tmp_path / "holed.ckpt", vae=VAE)

    def test_checkpoint_of_something_else(self, tmp_path):
        torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "else.ckpt")
        with pytest.raises(CheckpointError, match="not a DepthFM checkpoint"):
            leadline.load(tmp_path / "else.ckpt", vae=VAE)

    def test_ckpt_without_vae(self):
        with pytest.raises(CheckpointError, match="vae="):
            leadline.load(DEPTHFM)

    @pytest.mark.parametrize("part", ["text_encoder", "tokenizer", "vae", "unet/diffusion_pytorch_model.safetensors"])
    def test_folder_with_a_part_missing(self, part, tmp_path):
        folder = tmp_path / "fiffdepth"
        shutil.copytree(GOLDEN / "fiffdepth", folder)
        target = folder / part
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        with pytest.raises(CheckpointError):
            leadline.load(folder)

    def test_folder_of_unknown_family(self, tmp_path):
        folder = tmp_path / "nameless"
        shutil.copytree(GOLDEN / "fiffdepth", folder)
        (folder / "model_index.json").unlink()
        with pytest.raises(CheckpointError, match="--family"):
            leadline.load(folder)
        assert leadline.load(folder, device="cpu", family="fiffdepth").family == "fiffdepth"


class TestNames:
    def test_unknown(self):
        with pytest.raises(CheckpointError, match="known models are"):
            leadline.load("depthzilla")

    def test_known_but_not_here(self):
        with pytest.raises(CheckpointError, match="leadline pull depthmaster"):
            leadline.load("depthmaster")

    @pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200])
    def test_names_that_cannot_be_files(self, name):
        with pytest.raises(InputError, match="cannot be a model's name"):
            model_path(name)

    def test_cache_follows_the_environment(self, monkeypatch, tmp_path):
        monkeypatch.delenv("LEADLINE_HOME")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "leadline"

    def test_catalog_says_where_everything_comes_from(self):
        for entry in catalog.CATALOG.values():
            assert entry.licence
            assert entry.packaged or entry.downloadable or entry.how_to_get
