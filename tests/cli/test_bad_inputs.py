"""About a hundred things that people get wrong: one line, exit code 2, nothing half-written, no traceback."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from program import leadline
from small_film import make_film
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Every kind of bad file, and a good one."""
    desk = tmp_path_factory.mktemp("desk")
    good = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(good).save(desk / "good.jpg")
    Image.fromarray(good).save(desk / "good.png")
    data, png = (desk / "good.jpg").read_bytes(), (desk / "good.png").read_bytes()
    (desk / "empty.jpg").touch()
    (desk / "text.jpg").write_text("not a picture")
    (desk / "cut.jpg").write_bytes(data[:200])
    (desk / "cut.png").write_bytes(png[: len(png) // 2])
    (desk / "zeros.png").write_bytes(bytes(5000))
    (desk / "noise.webp").write_bytes(np.random.default_rng(1).bytes(3000))
    (desk / "page.png").write_text("<!doctype html><html></html>")
    (desk / "svg.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (desk / "pdf.jpg").write_bytes(b"%PDF-1.7\n%%EOF")
    (desk / "zero_by_zero.png").write_bytes(_png_header(0, 0))
    (desk / "bomb.png").write_bytes(_png_header(65535, 65535))
    (desk / "wide.png").write_bytes(_png_header(65535, 4))
    (desk / "hollow.png").write_bytes(_png_header(64, 64))
    Image.new("RGB", (1, 1)).save(desk / "dot.png")
    Image.new("RGB", (3, 500)).save(desk / "sliver.png")
    with open(desk / "sparse.jpg", "wb") as file:
        file.truncate(3 << 30)
    (desk / "loop.jpg").symlink_to(desk / "loop.jpg")
    (desk / "broken.jpg").symlink_to(desk / "nowhere.jpg")
    os.mkfifo(desk / "pipe.jpg")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(desk / "socket.jpg"))
    listener.close()
    (desk / "folder.jpg").mkdir()
    (desk / "hollow").mkdir()
    (desk / "file").write_text("a file")
    film = make_film(desk / "film.mp4", frames=3).read_bytes()
    (desk / "empty.mp4").touch()
    (desk / "text.mp4").write_text("no film")
    (desk / "cut.mp4").write_bytes(film[: len(film) // 3])
    (desk / "picture.mp4").write_bytes(png)
    (desk / "dir.mp4").mkdir()
    _measurements(desk, good)
    return desk


def _measurements(desk: Path, good: np.ndarray) -> None:
    np.save(desk / "points.npy", np.zeros((10, 3), np.float32))
    np.save(desk / "strings.npy", np.array(["a", "b"]))
    np.save(desk / "integers.npy", np.zeros((64, 96), np.int32))
    np.save(desk / "small.npy", np.ones((4, 4), np.float32))
    (desk / "cut.npy").write_bytes((desk / "points.npy").read_bytes()[:60])
    (desk / "points.bin").write_bytes(b"123")
    (desk / "points.pcd").write_text("# .PCD\nFIELDS x\n")
    (desk / "calib.yaml").write_text("[1, 2")
    (desk / "calib.json").write_text("{}")
    cv2.imwrite(str(desk / "sparse8.png"), good[:, :, 0])
    (desk / "bad.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    (desk / "empty.safetensors").touch()
    (desk / "bad.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")


def cases() -> list:
    """(words of the command line, what the line says)."""
    image = {
        "nowhere.jpg": "does not exist", "empty.jpg": "empty", "text.jpg": "not an image", "cut.jpg": "damaged",
        "cut.png": "damaged", "zeros.png": "not an image", "noise.webp": "not an image", "page.png": "not an image",
        "svg.png": "not an image", "pdf.jpg": "not an image", "zero_by_zero.png": "", "bomb.png": "megapixels",
        "wide.png": "each side needs", "hollow.png": "damaged", "dot.png": "each side needs", "sliver.png": "each side needs",
        "sparse.jpg": "", "loop.jpg": "cannot be read", "broken.jpg": "does not exist", "pipe.jpg": "is not a file",
        "socket.jpg": "is not a file", "folder.jpg": "no images", "hollow": "no images", "*.nothing": "nothing matches",
        "https://example.com/a.jpg": "web address", "s3://bucket/a.jpg": "web address", "x" * 300 + ".jpg": "",
        "empty.mp4": "video", "text.mp4": "video", "cut.mp4": "video", "dir.mp4": "no images", "none.mp4": "",
    }  # fmt: skip
    found = [(("predict", name), says) for name, says in image.items()]
    found += [((command, name, *more), says) for command, more in (("mesh", ("-o", "m.npz")), ("view", ("-o", "v.html")))
              for name, says in (("nowhere.jpg", "does not exist"), ("text.jpg", "not an image"), ("folder.jpg", "is a folder"),
                                 ("bomb.png", "megapixels"), ("pipe.jpg", "is not a file"),
                                 ("https://example.com/a.jpg", "https://example.com/a.jpg is a web address"))]  # fmt: skip
    options = {
        ("--ensemble", "0"): "not from", ("--ensemble", "100000"): "not from", ("--ensemble", "many"): "not a valid integer",
        ("--steps", "0"): "not from", ("--steps", "9999999"): "not from", ("--size", "1"): "not from",
        ("--size", "100000"): "not from", ("--size", "-5"): "not from", ("--seed", "-1"): "not from",
        ("--seed", "1e3"): "not a valid integer", ("--device", "warp"): "device", ("--device", "cuda:99"): "",
        ("--precision", "int1"): "not one of", ("--framing", "stretch"): "not one of", ("--decoder", "none.safetensors"): "",
        ("--model", "nosuch"): "no model or file", ("--model", "bad.safetensors"): "", ("--model", "empty.safetensors"): "",
        ("--model", "bad.ckpt"): "", ("--model", "hollow"): "no checkpoint", ("--model", "good.jpg"): "",
        ("--memory-budget", "lots"): "", ("--memory-budget", "1KB"): "", ("--quality", "best"): "not one of",
        ("--colours", "rainbow"): "not one of", ("--parallax", "avi"): "not one of", ("--video-format", "gif"): "not one of",
        ("--reference", "1,2"): "X,Y,METRES", ("--reference", "a,b,c"): "X,Y,METRES", ("--reference", "500,500,1"): "not a pixel",
        ("--reference", "5,5,-1"): "not a pixel", ("--reference", "5,5,nan"): "not a pixel",
        ("--reference-length", "1,1,1,1,2"): "two different", ("--camera-height", "-1"): "not from",
        ("--camera-height", "1.6"): "", ("--pitch", "120"): "not in the range", ("--lens-mm", "0", "--reference", "5,5,1"): "",
        ("--fov", "200", "--reference", "5,5,1"): "between 0 and 180", ("--nosuch",): "No such option",
        ("-o", "file"): "cannot be written", ("-o", "file/deeper"): "cannot be written", ("-o", "/proc/out"): "cannot be written",
    }  # fmt: skip
    found += [(("predict", "good.jpg", *words), says) for words, says in options.items()]
    found += [
        (("predict",), "Missing argument"), (("predict", "film.mp4", "--npy"), "for photographs"),
        (("predict", "film.mp4", "--reference", "1,1,1"), "not for videos"),
        (("predict", "good.jpg", "good.png", "--reference", "1,1,1"), "name one"), (("nosuch",), "No such command"),
        (("mesh", "good.jpg", "-o", "m.stl"), "ends in"), (("mesh", "good.jpg"), "Missing option"),
        (("mesh", "good.jpg", "-o", "m.obj", "--as", "points"), "no point cloud"),
        (("mesh", "good.jpg", "-o", "m.npz", "--vertices", "1"), "show no shape"),
        (("mesh", "good.jpg", "-o", "m.npz", "--near", "5", "--far", "2"), "no range"),
        (("mesh", "good.jpg", "-o", "m.npz", "--width", "0", "--as", "relief"), "no size"),
        (("mesh", "good.jpg", "-o", "m.npz", "--fov", "60", "--lens-mm", "35"), "give one of them"),
        (("normals", "https://example.com/a.jpg"), "web address"),
        (("complete", "https://example.com/a.jpg", "--sparse", "small.npy"), "web address"),
        (("view", "good.jpg", "-o", "v.txt"), "ends in"), (("complete", "good.jpg"), "--points"),
        (("complete", "good.jpg", "--points", "points.npy"), "--calib"),
        (("complete", "good.jpg", "--points", "none.npy", "--calib", "calib.json"), ""),
        (("complete", "good.jpg", "--points", "points.npy", "--calib", "calib.yaml"), ""),
        (("complete", "good.jpg", "--points", "points.npy", "--calib", "none.yaml"), ""),
        (("complete", "good.jpg", "--sparse", "none.png"), "does not exist"),
        (("complete", "good.jpg", "--sparse", "sparse8.png"), "16-bit"), (("complete", "good.jpg", "--sparse", "cut.npy"), "not a readable"),
        (("complete", "good.jpg", "--sparse", "strings.npy"), "floating-point"),
        (("complete", "good.jpg", "--sparse", "integers.npy"), "floating-point"),
        (("complete", "good.jpg", "--sparse", "small.npy"), ""), (("complete", "good.jpg", "--sparse", "text.jpg"), ".npy"),
        (("eval", "-d", "pairs", "--root", "nowhere"), ""), (("eval", "-d", "nosuch", "--root", "."), ""),
        (("eval", "-d", "pairs", "--root", "hollow", "--no-report"), ""), (("eval",), "--dataset"),
        (("pull", "nosuch"), "no model or file"), (("import", "hollow", "--as", "x"), "no checkpoint"),
        (("export", "nosuch"), ""), (("serve", "-m", "nosuch"), "no model or file"), (("serve", "--bind", "nonsense"), "no address"),
        (("train", "depthfm", "-o", "t"), "--config"), (("train", "nosuch", "-o", "t"), "not one of"),
        (("bag", "none.mcap", "-o", "out.mcap", "--image", "/a"), ""), (("keys", "add", "../evil", "--ring", "ring"), ""),
    ]  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("words", "says"), cases(), ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else ""
)
def test_one_line_and_nothing_left(desk, model, tmp_path, monkeypatch, words, says):
    for path in desk.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    takes_model = words[0] in ("predict", "mesh", "view", "complete") and "--model" not in words
    done = leadline(*words, *(("-m", model) if takes_model else ()), LEADLINE_HOME=str(tmp_path / "home"))
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line[0].isspace()]
    complaints = [line for line in lines if line.startswith("leadline: ")]
    assert len(complaints) == 1, done.stderr
    # In a base install the server's extra is asked for first.
    assert (says if words[:2] != ("serve", "-m") or find_spec("zmq") else "pip install 'pyzmq") in complaints[0]
    assert "Traceback" not in done.stderr
    left = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    assert left == [], "something half-written"
