"""The extension in real Blenders, against a real server.

Blender's Python is another one than ours: the checks in `inside/` run there (pytest in .venv-bpy42, .venv-bpy45, made by
make_envs.sh), and this file builds the .zip, starts the servers, and reports what the checks said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import GOLDEN_FAMILY
from tiny import tiny_bundle, tiny_normals_estimator

from leadline.checkpoints.native import save_model
from leadline.checkpoints.resolve import resolve
from leadline.serving.client.local import LocalServer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSIDE = HERE / "inside"
MINI = ROOT / "core" / "leadline" / "checkpoints" / "mini"
TIMEOUT_S = 1800
FOCAL_35_MM = 35

sys.path.insert(0, str(ROOT / "blender_addon"))
import build  # noqa: E402


def blender_python(version: str) -> Path:
    folder = ROOT / f".venv-bpy{version.replace('.', '')}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        pytest.skip(f"Blender {version} is not here: run tests/blender/make_envs.sh {version}")
    return python


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build.make_zip("cp311", tmp_path_factory.mktemp("extension"))
    except subprocess.CalledProcessError:
        pytest.skip("pyzmq's wheels are neither in build/wheels nor to be had from the package index")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with texture, edges and a sky, 180×120, taken with a 35 mm lens according to its EXIF."""
    y, x = np.mgrid[0:120, 0:180]
    checks = ((x // 12 + y // 12) % 2) * 60
    rgb = np.stack([60 + x * 0.7 + checks, 200 - y + 0 * x, 90 + checks * 0.5], axis=-1)
    rgb[:35] = (150, 185, 235)
    rgb[50:100, 60:110] = (200, 60, 40)
    path = tmp_path_factory.mktemp("photo") / "street.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = FOCAL_35_MM
    Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path, quality=95, exif=exif)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, as most checks are about Blender and not about the depth; with steps, so that work can be slow."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    one_step = model.with_name("one step.safetensors")
    save_model(tiny_bundle("fiffdepth"), one_step)
    models = [f"fiffdepth-mini={model}", f"one-step={one_step}", f"faces={normals_model(model.parent)}"]
    with LocalServer(sys.executable, models, device="cpu", log_path=log) as running:
        assert running.address is not None
        yield running.address


def normals_model(folder: Path) -> Path:
    """A tiny network imported from Marigold's published layout where that is here, else one of our own."""
    published, path = GOLDEN_FAMILY / "marigold-normals-v1-1", folder / "normals.safetensors"
    save_model(resolve(published) if published.is_dir() else tiny_normals_estimator().bundle, path)
    return path


@pytest.fixture(scope="session")
def locked_server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server that wants keys, on TCP, and a key file that it knows."""
    from leadline.serving.client.keys import KeyRing

    folder = tmp_path_factory.mktemp("keys")
    KeyRing(folder / "ring").add("artist", folder / "artist.json")
    command = [
        sys.executable,
        "-c",
        "from leadline.cli.main import main; main()",
        "serve",
        "--bind=tcp://127.0.0.1:*",
        "--end-with-stdin",
        "--announce",
    ]
    command += [f"--model=fiffdepth-mini={model}", "--device=cpu", f"--keys={folder / 'ring'}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield json.loads(process.stdout.readline())["listening"], folder / "artist.json"
        finally:
            process.stdin.close()
            process.wait(30)


@pytest.fixture(scope="session")
def newer_extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build.make_zip("abi3", tmp_path_factory.mktemp("newer extension"))
    except subprocess.CalledProcessError:
        pytest.skip("pyzmq's wheels are neither in build/wheels nor to be had from the package index")


@pytest.mark.parametrize("version", ["4.2", "4.5", "5.0", "5.3"])
def test_in_blender(version, extension, newer_extension, photo, server, locked_server, model, tmp_path):
    address, key_file = locked_server
    run_inside(
        blender_python(version),
        tmp_path,
        LEADLINE_TEST_ZIP=str(newer_extension if version == "5.3" else extension),
        LEADLINE_TEST_PHOTO=str(photo),
        LEADLINE_TEST_ADDRESS=server,
        LEADLINE_TEST_LOCKED_ADDRESS=address,
        LEADLINE_TEST_KEY_FILE=str(key_file),
        LEADLINE_TEST_PYTHON=sys.executable,
        LEADLINE_TEST_MODEL=str(model),
    )


def test_in_blender_with_the_mini_weights(extension, photo, tmp_path):
    with LocalServer(sys.executable, ["fiffdepth-mini"], device="cpu", log_path=tmp_path / "log") as server:
        run_inside(
            blender_python("4.2"),
            tmp_path,
            "-k",
            "test_scene_with_its_camera or test_rendering or test_depth_and_uncertainty",
            LEADLINE_TEST_ZIP=str(extension),
            LEADLINE_TEST_PHOTO=str(photo),
            LEADLINE_TEST_ADDRESS=str(server.address),
        )


@pytest.mark.slow
def test_the_server_is_installed_from_a_folder_of_wheels(photo, server, tmp_path):
    """PyTorch and all that Leadline needs; the download is the slow part."""
    python, wheels = blender_python("4.2"), tmp_path / "wheels"
    try:
        extension = build.make_zip("cp311", tmp_path, full=True)
        command = [str(python), "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
        subprocess.run([*command, "torch", f"{build.leadline_wheel()}[serve]"], check=True)
    except subprocess.CalledProcessError:
        pytest.skip("the package index does not have what a server needs")
    run_inside(
        python,
        tmp_path,
        "-k",
        "check_install",
        LEADLINE_TEST_ZIP=str(extension),
        LEADLINE_TEST_PHOTO=str(photo),
        LEADLINE_TEST_ADDRESS=server,
        LEADLINE_TEST_WHEELS=str(wheels),
    )


def run_inside(python: Path, folder: Path, *arguments: str, **variables: str) -> None:
    """pytest on `inside/` in Blender's Python; its report becomes ours if anything fails."""
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "user"), **variables}
    environment.pop("PYTHONPATH", None)
    command = [str(python), "-m", "pytest", str(INSIDE), "-c", str(INSIDE / "pytest.ini"), *arguments]
    command += ["--basetemp", str(folder / "inside")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    report = run.stdout[-12_000:] + run.stderr[-3000:]
    print(report)
    assert run.returncode == 0, report


def test_both_builds_are_complete_and_never_mix_wheels(tmp_path):
    tomllib = pytest.importorskip("tomllib")
    try:
        paths = {kind: build.make_zip(kind, tmp_path) for kind in build.BUILDS}
    except subprocess.CalledProcessError:
        pytest.skip("pyzmq's wheels are neither in build/wheels nor to be had from the package index")
    for kind, path in paths.items():
        archive = zipfile.ZipFile(path)
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        assert all(kind in wheel for wheel in manifest["wheels"])
        assert sorted(f"./{n}" for n in archive.namelist() if n.startswith("wheels/")) == sorted(manifest["wheels"])
        assert len(manifest["wheels"]) == 4
        assert {"LICENSE", "leadline/LICENSE", "leadline/geometry/mesh.py", "leadline/serving/client/client.py"} <= set(
            archive.namelist()
        )
        assert not [n for n in archive.namelist() if "pycache" in n]
    again = build.make_zip("abi3", tmp_path / ".")
    assert again.read_bytes() == paths["abi3"].read_bytes(), "building twice gives two different files"


def test_shared_modules_are_core_s_own_text_with_relative_imports():
    shared = build.shared_modules()
    core = (ROOT / "core" / "leadline" / "geometry" / "mesh.py").read_text()
    assert shared["leadline/geometry/mesh.py"] == core.replace("from leadline.", "from ..")
    absolute = re.compile(r"^\s*(from|import) leadline", re.MULTILINE)
    assert not [name for name, text in shared.items() if absolute.search(text)]


def test_the_extension_s_own_files_import_core_from_the_bundle():
    absolute = re.compile(r"^\s*(from|import) leadline\b", re.MULTILINE)
    in_source = {file.name: file.read_text() for file in build.sources() if file.suffix == ".py"}
    in_archive = {file.name: build.source_bytes(file).decode() for file in build.sources() if file.suffix == ".py"}
    assert absolute.search(in_source["photos.py"])  # so that type checkers find core
    assert not [name for name, text in in_archive.items() if absolute.search(text)]


def test_a_wheel_with_another_hash_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "WHEEL_CACHE", tmp_path)
    kind, name, digest = build.wheel_list()[0]
    (tmp_path / name).write_bytes(b"not the wheel")
    with pytest.raises(SystemExit, match="has the hash"):
        build.wheel(kind, name, digest, fetch=False)
    assert not (tmp_path / name).exists()
