"""Published folders as they really lie on hubs, whole and in part; wrong ones end in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import GOLDEN_FAMILY
from safetensors.torch import load_file, save_file
from tolerances import OFFICIAL, OFFICIAL_NORMALS

import leadline
from leadline import CheckpointError
from leadline.checkpoints.files import read_weights, weight_file
from leadline.checkpoints.prompt import empty_prompt

LOTUS = GOLDEN_FAMILY / "lotus-depth-g-v1-0"
#: Sums in a convolution depend on where weights lie, in the last digit.
LAST_DIGITS = 1e-5
PLAIN = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path) -> Path:
    target = tmp_path / "lotus-depth-g-v1-0"
    shutil.copytree(LOTUS, target, ignore=shutil.ignore_patterns("expected.safetensors", "feature_extractor"))
    return target


@pytest.fixture(scope="module")
def expected():
    return leadline.load(LOTUS, device="cpu").predict(PICTURE, size=32).values


PICTURE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def as_bin(part: Path) -> None:
    torch.save(load_file(part / PLAIN), part / "diffusion_pytorch_model.bin")
    (part / PLAIN).unlink()


def as_half(part: Path, name: str = "diffusion_pytorch_model.fp16.safetensors") -> None:
    tensors = {key: tensor.half() for key, tensor in load_file(part / PLAIN).items()}
    (part / PLAIN).unlink()
    save_file(tensors, part / name)


def as_shards(part: Path) -> None:
    tensors = load_file(part / PLAIN)
    names = sorted(tensors)
    weight_map = {}
    for number, some in enumerate((names[::2], names[1::2]), start=1):
        shard = f"diffusion_pytorch_model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in some}, part / shard)
        weight_map |= dict.fromkeys(some, shard)
    (part / f"{PLAIN}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (part / PLAIN).unlink()


FAMILY = sorted(path.parent.name for path in GOLDEN_FAMILY.glob("*/expected.safetensors"))
FORMS = ("bin", "shards", "fp16", "old names", "new names")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_every_published_folder_in_every_form(name, tmp_path):
    """Weights of network and VAE written anew: pickled, in two shards, as float16, with the VAE's attention under either names."""
    base = GOLDEN_FAMILY / "stable-diffusion-2-1" if name.startswith("genpercept") else None

    def picture_of(folder: Path) -> np.ndarray:
        estimator = leadline.load(folder, base=base, device="cpu")
        predict = estimator.normals if estimator.spec.output == "normals" else estimator.predict
        return predict(PICTURE, size=64, steps=1).values

    plain = picture_of(GOLDEN_FAMILY / name)
    for form in FORMS:
        folder = tmp_path / form / name
        shutil.copytree(GOLDEN_FAMILY / name, folder, ignore=shutil.ignore_patterns("expected.safetensors"))
        for part in [path for path in folder.iterdir() if path.name == "vae" or path.name.startswith("unet")]:
            tensors = {key: tensor.float().clone() for key, tensor in read_weights(weight_file(part)).items()}
            for old in part.glob("diffusion_pytorch_model*"):
                old.unlink()
            if "names" in form and part.name == "vae":
                tensors = renamed(tensors, old=form == "old names")
            save_file(tensors, part / PLAIN)
            {"bin": as_bin, "shards": as_shards, "fp16": as_half}.get(form, lambda part: None)(part)
        # Normals are divided by their length, which may be small.
        tolerance = 1e-3 if form == "fp16" else OFFICIAL_NORMALS if plain.ndim == 3 else OFFICIAL
        np.testing.assert_allclose(picture_of(folder), plain, atol=tolerance, err_msg=form)


def renamed(tensors: dict[str, torch.Tensor], old: bool) -> dict[str, torch.Tensor]:
    """A VAE's tensors with its attention under the older names, or under the newer ones."""
    pairs = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    changes = {new: before for before, new in pairs.items()} if old else pairs
    found = {}
    for key, tensor in tensors.items():
        for before, after in changes.items():
            key = key.replace(f".attentions.0.{before}.", f".attentions.0.{after}.")  # noqa: PLW2901
        found[key] = tensor
    return found


class TestForms:
    """The same weights in another form give the same map."""

    @pytest.mark.parametrize("form", [as_bin, as_shards])
    def test_exact(self, folder, expected, form):
        for part in ("unet", "vae"):
            form(folder / part)
        (folder / "vae" / ".DS_Store").write_bytes(b"\0\1")
        (folder / "pipeline.py").write_text("raise SystemExit('code of a folder ran')")
        np.testing.assert_allclose(
            leadline.load(folder, device="cpu").predict(PICTURE, size=32).values, expected, atol=LAST_DIGITS
        )

    @pytest.mark.parametrize("name", ["diffusion_pytorch_model.fp16.safetensors", PLAIN])
    def test_half(self, folder, expected, name):
        for part in ("unet", "vae"):
            as_half(folder / part, name)
        half = leadline.load(folder, device="cpu").predict(PICTURE, size=32).values
        np.testing.assert_allclose(half, expected, atol=LAST_DIGITS)  # the set's weights are float16 numbers

    def test_network_alone_with_a_base(self, folder, expected, tmp_path):
        """What a trainer writes: unet/ and nothing else, or the network's folder itself."""
        alone = tmp_path / "run-depth"
        shutil.move(folder / "unet", alone)
        with pytest.raises(CheckpointError, match="base="):
            leadline.load(alone)
        estimator = leadline.load(alone, base=folder, device="cpu")
        np.testing.assert_allclose(estimator.predict(PICTURE, size=32).values, expected, atol=LAST_DIGITS)

    def test_numbered_folder_of_the_network_and_no_index(self, folder, expected):
        (folder / "unet").rename(folder / "unet_depth_v2")
        (folder / "unet_depth_v2" / "config.json").rename(folder / "unet_depth_v2" / "unet_config.json")
        (folder / "model_index.json").unlink()
        np.testing.assert_allclose(
            leadline.load(folder, device="cpu").predict(PICTURE, size=32).values, expected, atol=LAST_DIGITS
        )

    def test_nothing_but_the_name_tells_depth_from_normals(self, folder, tmp_path):
        nameless = tmp_path / "download"
        folder.rename(nameless)
        with pytest.raises(CheckpointError, match="--output"):
            leadline.load(nameless)
        assert leadline.load(nameless, output="disparity", device="cpu").space is leadline.Space.DISPARITY
        normals = leadline.load(nameless, output="normals", device="cpu")
        with pytest.raises(leadline.InputError, match="surface normals"):
            normals.predict(PICTURE)


def remove(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        target = folder / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def config(part: str, **changes: Any) -> Callable[[Path], None]:
    name = {"scheduler": "scheduler_config.json"}.get(part, "config.json")
    return lambda folder: edit(folder / part / name, **changes)


def tensors(part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        held = load_file(folder / part / PLAIN)
        change(held)
        save_file(held, folder / part / PLAIN)

    return apply


def put_nan(held: dict[str, torch.Tensor]) -> None:
    held[sorted(held)[3]].view(-1)[0] = float("nan")


def cut(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return change


def lost_shard(folder: Path) -> None:
    as_shards(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()


def cut_shard(folder: Path) -> None:
    as_shards(folder / "unet")
    cut("unet/diffusion_pytorch_model-00001-of-00002.safetensors", 0.5)(folder)


def wandering_shard(folder: Path) -> None:
    as_shards(folder / "unet")
    index = folder / "unet" / f"{PLAIN}.index.json"
    index.write_text(index.read_text().replace("diffusion_pytorch_model-00002", "../../diffusion_pytorch_model-00002"))


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a pickle ran')",))


def code_in_a_pickle(folder: Path) -> None:
    (folder / "unet" / PLAIN).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"conv_in.weight": Trap()}))


def not_only_tensors(folder: Path) -> None:
    (folder / "vae" / PLAIN).unlink()
    torch.save({"state_dict": {"a": torch.zeros(1)}}, folder / "vae" / "diffusion_pytorch_model.bin")


def two_networks(folder: Path) -> None:
    (folder / "unet").rename(folder / "unet_depth_v2")
    shutil.copytree(folder / "unet_depth_v2", folder / "unet_disparity_v2")


WRONG: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "no network": (remove("unet"), {}, "no unet folder|no checkpoint"),
    "no network weights": (remove(f"unet/{PLAIN}"), {}, "no weights"),
    "no network config": (remove("unet/config.json"), {}, "config.json"),
    "no VAE": (remove("vae"), {}, "vae"),
    "no VAE weights": (remove(f"vae/{PLAIN}"), {}, "no weights"),
    "no text encoder": (remove("text_encoder"), {}, "base="),
    "no text encoder weights": (remove("text_encoder/model.safetensors"), {}, "no weights"),
    "no tokenizer": (remove("tokenizer"), {}, "base="),
    "unreadable config": (lambda folder: (folder / "unet" / "config.json").write_text("{"), {}, "JSON"),
    "foreign network": (config("unet", _class_name="FluxTransformer2DModel"), {}, "FluxTransformer2DModel"),
    "foreign VAE": (config("vae", _class_name="AutoencoderTiny"), {}, "AutoencoderTiny"),
    "unknown class embedding": (config("unet", class_embed_type="timestep"), {}, "class_embed_type"),
    "wide class embedding": (config("unet", projection_class_embeddings_input_dim=8), {}, "class vectors"),
    "centred input": (config("unet", center_input_sample=True), {}, "center_input_sample"),
    "text and time": (config("unet", addition_embed_type="text_time"), {}, "addition_embed_type"),
    "twelve channels": (config("unet", in_channels=12), {}, "does not say which|no known family|input channels"),
    "eight output channels": (config("unet", out_channels=8), {}, "channels"),
    "shifted latents": (config("vae", shift_factor=0.1), {}, "shift_factor"),
    "noise prediction": (config("scheduler", prediction_type="epsilon"), {}, "prediction_type"),
    "another family said": (lambda folder: None, {"family": "fiffdepth"}, "is no fiffdepth"),
    "another sampler said": (lambda folder: None, {"family": "marigold"}, "is no marigold"),
    "an unknown family said": (lambda folder: None, {"family": "midas"}, "unknown"),
    "an unknown space said": (lambda folder: None, {"space": "feet"}, "space 'feet'"),
    "an unknown setting": (lambda folder: None, {"colour": "red"}, "no setting 'colour'"),
    "NaN": (tensors("unet", put_nan), {}, "NaN"),
    "NaN in the VAE": (tensors("vae", put_nan), {}, "NaN"),
    "a tensor too few": (tensors("unet", lambda held: held.pop("conv_out.bias")), {}, "does not fit"),
    "a tensor too many": (tensors("vae", lambda held: held.update(extra=torch.zeros(1))), {}, "does not fit"),
    "another shape": (tensors("unet", lambda held: held.update({"conv_out.bias": torch.zeros(5)})), {}, "does not fit"),
    "no class embedding in the tensors": (
        tensors("unet", lambda held: [held.pop(key) for key in list(held) if "class_embedding" in key]), {}, "does not fit",
    ),
    "cut weights": (cut(f"unet/{PLAIN}", 0.7), {}, "damaged"),
    "cut text encoder": (cut("text_encoder/model.safetensors", 0.5), {}, "text encoder"),
    "a shard lost": (lost_shard, {}, "does not exist"),
    "a shard cut": (cut_shard, {}, "damaged"),
    "a shard elsewhere": (wandering_shard, {}, "outside its folder"),
    "code in a pickle": (code_in_a_pickle, {}, "more than weights"),
    "a pickle of something else": (not_only_tensors, {}, "more than tensors"),
    "two networks": (two_networks, {}, "several networks"),
    "another text encoder": (config("unet", cross_attention_dim=64), {}, "text encoder|does not fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_folders_end_in_one_line(case, folder):
    change, settings, words = WRONG[case]
    change(folder)
    with pytest.raises(CheckpointError, match=words) as caught:
        leadline.load(folder, device="cpu", **settings)
    assert "\n" not in str(caught.value)


def scheduler_of(**changes: Any) -> dict[str, Any]:
    """Marigold v1.1's, changed."""
    usual = {
        "_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction", "steps_offset": 1,
        "rescale_betas_zero_snr": True, "set_alpha_to_one": False, "timestep_spacing": "trailing", "thresholding": False,
    }  # fmt: skip
    return {**usual, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "EulerDiscreteScheduler"}, {"prediction_type": "epsilon"}, {"beta_schedule": "linear"},
        {"clip_sample": True}, {"thresholding": True}, {"timestep_spacing": "linspace"}, {"trained_betas": [0.1]},
    ],
)  # fmt: skip
def test_schedulers_that_are_not_followed(changes):
    from leadline.checkpoints.identify import schedule_of
    from leadline.models.families import MARIGOLD

    with pytest.raises(CheckpointError, match="known"):
        schedule_of(MARIGOLD, scheduler_of(**changes), "a folder")


class TestTextEncoder:
    """Every tensor of a text encoder is accounted for."""

    @staticmethod
    def change(folder: Path, name: str, tensor: torch.Tensor) -> None:
        part = folder / "text_encoder"
        torch.save({**load_file(part / "model.safetensors"), name: tensor}, part / "pytorch_model.bin")
        (part / "model.safetensors").unlink()

    def test_older_files_carry_position_ids(self, folder):
        before = empty_prompt(folder)
        self.change(folder, "text_model.embeddings.position_ids", torch.arange(77)[None])
        assert torch.equal(empty_prompt(folder), before)

    def test_a_tensor_that_belongs_to_something_else(self, folder):
        self.change(folder, "text_model.encoder.layers.0.adapter.weight", torch.zeros(4, 4))
        with pytest.raises(CheckpointError, match=r"1 tensors .*adapter\.weight"):
            empty_prompt(folder)
