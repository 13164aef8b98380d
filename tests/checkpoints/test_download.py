"""Downloads against a local stand-in: resumed, checked, refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hub_stand_in import StandIn
from places import GOLDEN, GOLDEN_FAMILY

import leadline
from leadline import CheckpointError
from leadline.checkpoints import catalog, download
from leadline.checkpoints.catalog import CatalogEntry
from leadline.checkpoints.hub import needed_files
from leadline.checkpoints.importing import import_entry


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def stand_in(tmp_path):
    (tmp_path / "served").mkdir()
    server = StandIn(tmp_path / "served")
    yield server
    server.shutdown()


def test_broken_download_goes_on_where_it_stopped(stand_in, tmp_path):
    content = bytes(range(256)) * 4000
    (stand_in.folder / "weights.bin").write_bytes(content)
    stand_in.break_after = 300_000
    target = tmp_path / "weights.bin"
    with pytest.raises(CheckpointError, match="run the same command"):
        download.fetch_file(f"{stand_in.url}/weights.bin", target)
    assert not target.exists()
    seen = []
    download.fetch_file(
        f"{stand_in.url}/weights.bin", target, hashlib.sha256(content).hexdigest(), lambda d, t: seen.append((d, t))
    )
    assert target.read_bytes() == content
    assert stand_in.ranges[1].startswith("bytes=")
    assert int(stand_in.ranges[1][6:-1]) > 0
    assert seen[-1] == (len(content), len(content))


def test_wrong_hash_is_removed(stand_in, tmp_path):
    (stand_in.folder / "weights.bin").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="not what its hash says"):
        download.fetch_file(f"{stand_in.url}/weights.bin", tmp_path / "weights.bin", "0" * 64)
    assert list(tmp_path.glob("weights.bin*")) == []


def test_missing_file_and_unreachable_server(stand_in, tmp_path):
    with pytest.raises(CheckpointError, match="404"):
        download.fetch_file(f"{stand_in.url}/nothing.bin", tmp_path / "x")
    with pytest.raises(CheckpointError, match="cannot be reached"):
        download.fetch_file("http://127.0.0.1:9/weights.bin", tmp_path / "x")


@pytest.fixture
def hub(stand_in, monkeypatch, tmp_path):
    """The stand-in as huggingface_hub's hub, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return stand_in


def test_depthfm_with_a_vae_mirror_becomes_a_model(hub):
    """The first mirror has nothing; the second does."""
    (hub.folder / "depthfm.ckpt").write_bytes((GOLDEN / "depthfm" / "sd21" / "depthfm.ckpt").read_bytes())
    hub.repos["some/mirror"] = GOLDEN / "depthfm"
    mirrors = ("gone/away", "some/mirror")
    entry = CatalogEntry("try", "depthfm", "", "MIT", url=f"{hub.url}/depthfm.ckpt", vae_repos=mirrors)
    fetched = download.fetch(entry)
    import_entry(entry, fetched)
    download.discard(entry)
    assert leadline.load("try", device="cpu").family == "depthfm"
    assert not fetched.checkpoint.exists()


class TestHub:
    @pytest.fixture
    def lotus(self, hub):
        hub.repos["jingheya/lotus-depth-g-v1-0"] = GOLDEN_FAMILY / "lotus-depth-g-v1-0"
        return "jingheya/lotus-depth-g-v1-0"

    def test_by_id_equals_the_folder_and_takes_only_what_is_needed(self, hub, lotus, photo):
        ours = leadline.load(lotus, device="cpu")
        folder = leadline.load(GOLDEN_FAMILY / "lotus-depth-g-v1-0", device="cpu")
        np.testing.assert_array_equal(ours.predict(photo, size=32).values, folder.predict(photo, size=32).values)
        assert ours.name == "lotus-depth-g-v1-0"
        assert "expected.safetensors" not in hub.sent
        assert "preprocessor_config.json" not in hub.sent

    def test_offline_takes_the_cache_or_says_so(self, hub, lotus, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="not in the hub's cache"):
            leadline.load(lotus)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        leadline.load(lotus, device="cpu")
        sent = len(hub.sent)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert leadline.load(lotus, device="cpu").family == "lotus-g"
        assert len(hub.sent) == sent

    def test_pull_by_name(self, hub, lotus):
        entry = catalog.entry("lotus-depth-g-v1-0")
        import_entry(entry, download.fetch(replace(entry, size_mb=1)))
        loaded = leadline.load("lotus-depth-g-v1-0", device="cpu")
        assert (loaded.family, loaded.space, loaded.spec.licence) == ("lotus-g", leadline.Space.DEPTH, entry.licence)

    def test_unknown_repository_is_one_line(self, hub):
        with pytest.raises(CheckpointError, match="none on the hub") as caught:
            leadline.load("no/body")
        assert "\n" not in str(caught.value)

    def test_a_repository_without_a_network(self, hub, tmp_path):
        hub.repos["some/text"] = tmp_path / "served"
        (tmp_path / "served" / "README.md").write_text("text")
        with pytest.raises(CheckpointError, match="no unet folder"):
            leadline.load("some/text")


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (
            ["unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
             "unet/diffusion_pytorch_model.safetensors", "vae/.DS_Store", "vae/config.json", "pipeline.py",
             "vae/diffusion_pytorch_model.fp16.bin", "text_encoder/pytorch_model.bin", "text_encoder/model.fp16.safetensors",
             "scheduler/scheduler_config.json", "tokenizer/vocab.json", "doc/teaser.png", "model_index.json"],
            ["model_index.json", "scheduler/scheduler_config.json", "text_encoder/pytorch_model.bin", "tokenizer/vocab.json",
             "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
             "vae/diffusion_pytorch_model.fp16.bin"],
        ),
        (
            ["unet_depth_v2/config.json", "unet_depth_v2/diffusion_pytorch_model.safetensors.index.json",
             "unet_depth_v2/diffusion_pytorch_model-00001-of-00002.safetensors",
             "unet_depth_v2/diffusion_pytorch_model-00002-of-00002.safetensors",
             "unet_depth_v2/diffusion_pytorch_model.fp16-00001-of-00002.safetensors"],
            ["unet_depth_v2/config.json", "unet_depth_v2/diffusion_pytorch_model-00001-of-00002.safetensors",
             "unet_depth_v2/diffusion_pytorch_model-00002-of-00002.safetensors",
             "unet_depth_v2/diffusion_pytorch_model.safetensors.index.json"],
        ),
    ],
)  # fmt: skip
def test_needed_files(listing, expected):
    assert needed_files(listing) == expected


def test_offline_is_respected(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        download.fetch(catalog.entry("depthfm"))


def test_too_little_disk_is_said_before_downloading(monkeypatch):
    monkeypatch.setattr(
        "leadline.checkpoints.download.shutil.disk_usage", lambda path: type("usage", (), {"free": 1 << 20})
    )
    with pytest.raises(CheckpointError, match="LEADLINE_HOME"):
        download.fetch(catalog.entry("depthfm"))


@pytest.mark.parametrize("name", ["fiffdepth", "depthfm-mini"])
def test_what_cannot_be_downloaded_says_why(name):
    with pytest.raises(CheckpointError, match=r"published no download|ships with the package"):
        download.fetch(catalog.entry(name))
