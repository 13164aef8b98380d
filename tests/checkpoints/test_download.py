"""Downloads against a local stand-in: resumed, checked, refused."""

from __future__ import annotations

import hashlib
import http.server
import threading
from pathlib import Path

import pytest
from places import GOLDEN

import leadline
from leadline import CheckpointError
from leadline.checkpoints import catalog, download
from leadline.checkpoints.catalog import CatalogEntry
from leadline.checkpoints.importing import import_checkpoint


class StandIn(http.server.ThreadingHTTPServer):
    """Serves a folder with ranges; breaks the first connection after ``break_after`` bytes; imitates a hub."""

    def __init__(self, folder: Path, break_after: int | None = None) -> None:
        self.folder = folder
        self.break_after = break_after
        self.ranges: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *arguments) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.lstrip("/").split("/resolve/main/")[-1].split("?")[0]
        path = self.server.folder / name
        if not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes()
        wanted = self.headers.get("Range")
        if body:
            self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            if self.server.break_after is not None:
                self.wfile.write(data[start : start + self.server.break_after])
                self.server.break_after = None
                self.connection.close()
                return
            self.wfile.write(data[start:])


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


def test_depthfm_with_a_vae_mirror_becomes_a_model(stand_in, monkeypatch, tmp_path):
    """The first mirror has nothing; the second does."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    (stand_in.folder / "depthfm.ckpt").write_bytes((GOLDEN / "depthfm" / "sd21" / "depthfm.ckpt").read_bytes())
    (stand_in.folder / "vae").mkdir()
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (stand_in.folder / "vae" / name).write_bytes((GOLDEN / "depthfm" / "vae" / name).read_bytes())
    entry = CatalogEntry("try", "depthfm", "", "MIT", url=f"{stand_in.url}/depthfm.ckpt", vae_repos=("some/mirror",))
    checkpoint, vae = download.fetch(entry)
    import_checkpoint(checkpoint, "try", vae=vae)
    download.discard(entry)
    assert leadline.load("try", device="cpu").family == "depthfm"
    assert not checkpoint.exists()


def test_folder_from_a_hub(stand_in, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    stand_in.folder = GOLDEN / "depthmaster"
    checkpoint, vae = download.fetch(CatalogEntry("dm", "depthmaster", "", "Apache-2.0", hub_repo="some/DepthMaster"))
    assert vae is None
    assert leadline.load(checkpoint, device="cpu").spec.fourier


def test_no_mirror_has_the_files(stand_in, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    with pytest.raises(CheckpointError, match="no source has the files"):
        download.fetch_folder(("a/b", "c/d"), (("vae/config.json",),), tmp_path / "vae")


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
