"""Everything that is handed out is built from a clean clone and then used: wheel, source archive, `pip install .`, editable
install, `colcon build`, the Blender extensions.

Dependencies are those of the environment that runs the tests; the packages themselves are not seen in it.
"""

from __future__ import annotations

import compileall
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import ROOT

pytestmark = pytest.mark.slow

#: Rooms whose tests need nothing but the package.
QUICK = ("tests/depth", "tests/sensors", "tests/files")
COLCON = ("colcon-core", "colcon-python-setup-py", "colcon-ros")


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Standard output of a command; its whole report if it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | variables
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Place:
    """A fresh environment that sees the dependencies and nothing of Leadline."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Place:
        venv.create(folder, with_pip=True, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        # Paths in a .pth are not searched for .pth files: an editable install over there stays unseen.
        (packages / "dependencies.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
        return cls(folder)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *what: object) -> None:
        # --ignore-installed: pip sees the dist-info beside the dependencies.
        options = ("--quiet", "--no-deps", "--ignore-installed")
        run(self.python, "-m", "pip", "install", *options, *what, cwd=self.folder)

    def use(self, clone: Path, expected: Path) -> None:
        """Depth from a photograph with the installed program, which must come from the expected folder."""
        where = run(self.python, "-c", "import leadline, leadline_ros; print(leadline.__file__)", cwd=self.folder)
        assert Path(where.strip()).is_relative_to(expected), where
        predict(self.folder / "bin" / "leadline", clone, self.folder)


def predict(program: Path, clone: Path, folder: Path, **variables: str) -> None:
    photo = clone / "assets" / "demo" / "living_room.jpg"
    command = (program, "predict", photo, "-m", "depthmaster-mini", "--size", "128", "--npy", "-o", folder / "depth")
    run(*command, cwd=folder, **variables)
    assert len(list((folder / "depth").glob("*.npy"))) >= 1


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    folder = tmp_path_factory.mktemp("clean") / "leadline"
    run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), folder, cwd=folder.parent)
    return folder


@pytest.fixture(scope="module")
def built(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `python -m build` makes: .whl and .tar.gz, the wheel from the archive."""
    tool = Place.made(tmp_path_factory.mktemp("build") / "venv")
    run(tool.python, "-m", "pip", "install", "--quiet", "build", cwd=clone)
    run(tool.python, "-m", "build", "--outdir", clone.parent / "dist", clone, cwd=clone.parent)
    return {file.suffix: file for file in (clone.parent / "dist").iterdir()}


def test_the_wheel_predicts(clone, built, tmp_path):
    place = Place.made(tmp_path / "venv")
    place.install(built[".whl"])
    place.use(clone, place.folder)


def test_the_source_archive_installs_and_passes_its_quick_tests(clone, built, tmp_path):
    place = Place.made(tmp_path / "venv")
    place.install(built[".gz"])
    place.use(clone, place.folder)
    with tarfile.open(built[".gz"]) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    said = run(place.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *QUICK, cwd=source)
    assert int(re.search(r"(\d+) passed", said)[1]) > 50


def test_pip_install_dot_predicts(clone, tmp_path):
    place = Place.made(tmp_path / "venv")
    place.install(clone)
    place.use(clone, place.folder)


def test_an_editable_install_reads_the_clone(clone, tmp_path):
    place = Place.made(tmp_path / "venv")
    place.install("--editable", clone)
    place.use(clone, clone / "core")


def test_colcon_builds_a_ros_package(clone, tmp_path):
    tool = Place.made(tmp_path / "venv")
    run(tool.python, "-m", "pip", "install", "--quiet", *COLCON, cwd=tmp_path)
    run(tool.folder / "bin" / "colcon", "build", "--base-paths", clone, "--executor", "sequential", cwd=tmp_path)
    installed = tmp_path / "install" / "leadline"
    (packages,) = installed.glob("lib/python*/site-packages")
    assert {file.name for file in (installed / "lib" / "leadline").iterdir()} >= {"leadline", "depth_node"}
    assert (installed / "share" / "leadline" / "package.xml").is_file()
    assert (installed / "share" / "leadline" / "launch" / "depth.launch.py").is_file()
    assert (installed / "share" / "ament_index" / "resource_index" / "packages" / "leadline").is_file()
    predict(installed / "lib" / "leadline" / "leadline", clone, tmp_path, PYTHONPATH=str(packages))


def test_the_extensions_build_and_their_shared_part_imports_without_torch(clone, tmp_path):
    run(sys.executable, clone / "blender_addon" / "build.py", "--full", "--output", tmp_path / "zips", cwd=clone)
    archives = sorted((tmp_path / "zips").glob("*.zip"))
    assert len(archives) == 4  # for two ranges of Blender, with and without the server's wheel
    modules = "geometry", "video.aligner", "sensors.pinhole", "files.whole", "serving.client.client"
    shared = ", ".join(f"leadline_blender.leadline.{name}" for name in modules)
    for archive in archives:
        folder = tmp_path / archive.stem / "leadline_blender"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        assert compileall.compile_dir(folder, quiet=1), f"{archive.name} has a file that is no Python"
        (folder / "__init__.py").write_text("")  # the extension itself wants bpy
        code = f"import sys; import {shared}; assert not {{'torch', 'leadline'}} & sys.modules.keys()"
        run(sys.executable, "-c", code, cwd=folder.parent)
        assert bool(list(folder.glob("server/leadline-*.whl"))) == archive.stem.endswith("-full")
