"""`leadline mesh` and `leadline view` end to end, on random weights; the files are read back by their own readers."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model
from leadline.cli.mesh import command as mesh_command
from leadline.cli.view import command as view_command
from leadline.errors import InputError

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([2 * x, 3 * y, 128 + 0 * x], axis=-1).astype(np.uint8)
    path = tmp_path_factory.mktemp("image") / "photo.png"
    Image.fromarray(rgb).save(path)
    return path


def run(command, image, weights, *arguments):
    return CliRunner().invoke(
        command,
        [str(image), "-m", str(weights), "--device", "cpu", "--ensemble", "2", "--steps", "1", *map(str, arguments)],
        standalone_mode=False,
    )


def mesh(image, weights, output, *arguments):
    result = run(mesh_command, image, weights, "-o", output, *arguments)
    if result.exception is not None:
        raise result.exception
    return output


def test_npz_holds_everything(image, weights, tmp_path):
    data = np.load(mesh(image, weights, tmp_path / "a.npz", "--vertices", 0, "--cut", 1, "--near", 2, "--far", 5))
    assert data["vertices"].shape == (WIDTH * HEIGHT, 3)
    assert data["faces"].shape == ((WIDTH - 1) * (HEIGHT - 1), 4)
    assert data["uncertainty"].shape == data["depth"].shape == (WIDTH * HEIGHT,)
    assert 2 / 1.26 < data["depth"].min() < 2.5
    assert 4 < data["depth"].max() < 5 * 1.26
    assert not data["metric"]
    focal = float(data["focal_px"])
    assert focal == pytest.approx(1.2 * WIDTH)
    x_px = WIDTH / 2 - focal * data["vertices"][:, 0] / data["vertices"][:, 2]
    np.testing.assert_allclose(x_px, data["uv"][:, 0] * WIDTH, atol=1e-3)
    np.testing.assert_allclose(data["colours"][0], [0, 0, 128])


@pytest.mark.parametrize("suffix", ["glb", "ply", "obj"])
def test_files_read_back_with_texture_or_colours(image, weights, tmp_path, suffix):
    trimesh = pytest.importorskip("trimesh")
    path = mesh(image, weights, tmp_path / f"a.{suffix}", "--triangles", 2000, "--cut", 1)
    loaded = trimesh.load(path, force="mesh", process=False)
    assert 500 < len(loaded.faces) <= 2000
    assert loaded.vertices[:, 2].max() < 0, "the scene does not lie in front of the camera"
    assert (loaded.vertex_normals[:, 2] > -0.2).mean() > 0.9
    top_left = np.argmin(
        loaded.vertices[:, 0] / -loaded.vertices[:, 2] - loaded.vertices[:, 1] / -loaded.vertices[:, 2]
    )
    colour = loaded.visual.to_color().vertex_colors if suffix != "ply" else loaded.visual.vertex_colors
    np.testing.assert_allclose(np.asarray(colour)[top_left][:3], [0, 0, 128], atol=6)
    if suffix == "obj":
        assert {p.suffix for p in tmp_path.iterdir()} >= {".obj", ".mtl", ".png"}


def test_points_and_relief(image, weights, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    cloud = trimesh.load(mesh(image, weights, tmp_path / "p.ply", "--as", "points", "--cut", 1))
    assert isinstance(cloud, trimesh.PointCloud)
    assert len(cloud.vertices) == WIDTH * HEIGHT
    relief = np.load(
        mesh(image, weights, tmp_path / "r.npz", "--as", "relief", "--width", 3, "--height", 0.5, "--cut", 1)
    )
    np.testing.assert_allclose(np.ptp(relief["vertices"], axis=0), [3, 2, 0.5], atol=0.02)


def test_references_make_it_metric(image, weights, tmp_path):
    assumed = np.load(mesh(image, weights, tmp_path / "a.npz", "--vertices", 0, "--cut", 1, "--near", 2, "--far", 5))
    assumed_m = assumed["depth"].reshape(HEIGHT, WIDTH)
    pixels = [(10, 10), (80, 50), (48, 32), (30, 55), (70, 12)]
    points = [word for x, y in pixels for word in ("--reference", f"{x},{y},{2 * assumed_m[y, x]}")]
    data = np.load(mesh(image, weights, tmp_path / "m.npz", "--vertices", 0, "--cut", 1, *points))
    assert data["metric"]
    depth_m = data["depth"].reshape(HEIGHT, WIDTH)
    for x, y in pixels:
        assert depth_m[y, x] == pytest.approx(2 * assumed_m[y, x], rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "a.stl"], "ends in '.stl'"),
        (["-o", "a.npz", "--near", 5, "--far", 2], "no range"),
        (["-o", "a.npz", "--fov", 50, "--lens-mm", 30], "one of them"),
        (["-o", "a.npz", "--fov", 190], "between 0 and 180"),
        (["-o", "a.npz", "--reference", "500,3,1.0"], "is not a pixel"),
        (["-o", "a.obj", "--as", "points"], "no point cloud"),
    ],
)
def test_wrong_options_are_explained(image, weights, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = run(mesh_command, image, weights, *arguments).exception
    assert isinstance(error, InputError)
    assert words in str(error)
    assert not list(tmp_path.iterdir()), "a file was left behind"


def test_view_writes_a_recording_that_rerun_reads(image, weights, tmp_path):
    rerun = pytest.importorskip("rerun")
    path = tmp_path / "scene.rrd"
    result = run(view_command, image, weights, "--save", path)
    assert result.exception is None
    del rerun
    check = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", str(path)], capture_output=True, text=True, check=True
    )
    for entity in ("/scene/photo/image", "/scene/photo/depth", "/scene/mesh", "/scene/points", "/uncertainty"):
        assert entity in check.stdout
    error = run(view_command, image, weights, "--save", tmp_path / "scene.txt").exception
    assert isinstance(error, InputError)


def test_glb_is_one_file_with_its_picture(image, weights, tmp_path):
    pytest.importorskip("trimesh")
    path = mesh(image, weights, tmp_path / "a.glb")
    content = path.read_bytes()
    assert content[:4] == b"glTF"
    start = content.index(b"\x89PNG")
    assert Image.open(io.BytesIO(content[start:])).size == (WIDTH, HEIGHT)


def test_two_objs_in_one_folder_wear_their_own_photographs(image, weights, tmp_path):
    pytest.importorskip("trimesh")
    other = tmp_path / "other.png"
    Image.fromarray(255 - np.asarray(Image.open(image))).save(other)
    mesh(image, weights, tmp_path / "A.obj")
    mesh(other, weights, tmp_path / "B b.obj")
    for name, photo in (("A", image), ("B b", other)):
        material = next(line.split()[1] for line in (tmp_path / f"{name}.obj").open() if line.startswith("mtllib"))
        texture = next(line.split()[1] for line in (tmp_path / material).open() if line.startswith("map_Kd"))
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / texture).convert("RGB")), np.asarray(Image.open(photo))
        )


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_vertices_are_refused(image, weights, tmp_path, count):
    error = run(mesh_command, image, weights, "-o", tmp_path / "a.npz", "--vertices", count).exception
    assert "show no shape" in error.format_message()
    assert not (tmp_path / "a.npz").exists()


def test_the_page_shows_the_photograph_in_a_browser(image, weights, tmp_path):
    page = tmp_path / "scene.html"
    result = run(view_command, image, weights, "-o", page, "--cut", 1)
    assert result.exception is None, result.exception
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", ""), "the page needs a network"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium to look at the page with")
    shot = tmp_path / "shot.png"
    subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
         f"--screenshot={shot}", "--window-size=640,600", "--virtual-time-budget=4000", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    seen = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    photo = np.asarray(Image.open(image))
    middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
    np.testing.assert_allclose(middle, photo[HEIGHT // 2, WIDTH // 2], atol=20)


def test_a_panorama_becomes_a_closed_mesh(weights, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    y, x = np.mgrid[0:128, 0:256]
    rgb = np.stack([x, 2 * y, 128 + 0 * x], axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "around.png")
    options = ["--as", "panorama", "--vertices", "64", "--near", "2", "--far", "5"]
    written = mesh(tmp_path / "around.png", weights, tmp_path / "around.glb", *options)
    surface = trimesh.load(written, force="mesh")
    surface.merge_vertices(merge_tex=True, merge_norm=True)
    assert surface.is_watertight
    away = np.linalg.norm(surface.vertices, axis=1)
    assert 2 / 1.26 < away.min() < away.max() < 5 * 1.26


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fov", "60"], "no lens"),
        (["--no-sky"], "whole"),
        ([], "twice as wide as high"),
    ],
)
def test_what_makes_no_panorama(image, weights, tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        mesh(image, weights, tmp_path / "a.glb", "--as", "panorama", *arguments)
