"""`leadline predict` as a person runs it: real processes, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from PIL import Image
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model
from leadline.files.output import Quantisation, read_png16


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


def leadline(*arguments, cwd: Path | None = None, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from leadline.cli.main import main; main()", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture
def pictures(tmp_path, photo) -> Path:
    folder = tmp_path / "pictures"
    (folder / "trip").mkdir(parents=True)
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[::-1]).save(folder / "a.jpg")
    Image.fromarray(photo[:, ::-1]).save(folder / "trip" / "b.webp")
    return folder


def test_one_photograph_everything_written(model, pictures, tmp_path, photo):
    out = tmp_path / "out"
    done = leadline("predict", pictures / "a.png", "-o", out, "-m", model, "--npy", "--exr", "--controlnet", "--show")
    assert done.returncode == 0, done.stderr
    assert "▀" in done.stderr
    values = np.load(out / "a.depth.npy")
    assert values.shape == photo.shape[:2]
    record = json.loads((out / "a.json").read_text())
    scale = Quantisation(record["depth_png"]["low"], record["depth_png"]["high"])
    np.testing.assert_allclose(
        scale.decode(read_png16(out / "a.depth.png")), values, atol=(scale.high - scale.low) / 65535
    )
    with OpenEXR.File(str(out / "a.depth.exr")) as file:
        np.testing.assert_array_equal(file.channels()["Y"].pixels, values)
    assert np.load(out / "a.uncertainty.npy").min() >= 0
    assert (record["space"], record["near_is_high"], record["metric"]) == ("log_depth", False, False)
    conditioning = cv2.imread(str(out / "a.controlnet.png"), cv2.IMREAD_UNCHANGED)
    assert conditioning.dtype == np.uint8
    assert conditioning[np.unravel_index(values.argmin(), values.shape)] == 255  # near is bright
    assert {f"a.{part}.png" for part in ("depth", "preview", "uncertainty", "controlnet")} <= {
        f.name for f in out.iterdir()
    }


def test_folder_run_names_resumes_and_reports(model, pictures, tmp_path):
    out = tmp_path / "out"
    first = leadline("predict", pictures, "-o", out, "-m", model, "--ensemble", 1, "--json")
    assert first.returncode == 0, first.stderr
    reports = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(reports) == 3
    assert {str(p.relative_to(out)) for p in out.rglob("*.depth.png")} == {
        "a.png.depth.png",
        "a.jpg.depth.png",
        "trip/b.depth.png",
    }
    (out / "trip" / "b.preview.png").unlink()
    stamp = (out / "a.png.depth.png").stat().st_mtime_ns
    again = [
        json.loads(line)
        for line in leadline("predict", pictures, "-o", out, "-m", model, "--ensemble", 1, "--json").stdout.splitlines()
    ]
    assert [("skipped" in report) for report in again] == [True, True, False]
    assert (out / "a.png.depth.png").stat().st_mtime_ns == stamp
    other = leadline("predict", pictures / "a.png", "-o", out, "-m", model, "--ensemble", 2, "--json")
    assert "skipped" not in json.loads(other.stdout)


def test_bad_files_are_named_and_the_rest_is_done(model, pictures, tmp_path):
    (pictures / "empty.jpg").touch()
    (pictures / "text.png").write_text("hello")
    (pictures / "cut.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:300])
    Image.new("RGB", (1, 1)).save(pictures / "dot.png")
    out = tmp_path / "out"
    done = leadline("predict", pictures, "-o", out, "-m", model, "--ensemble", 1)
    assert done.returncode == 2
    assert len(list(out.rglob("*.depth.png"))) == 3
    complaints = [line for line in done.stderr.splitlines() if line.startswith("leadline: ")]
    assert len(complaints) == 4
    assert not list(out.rglob(".*")), "half-written files"
    assert "Traceback" not in done.stderr


def test_quiet_tells_nothing_but_errors(model, pictures, tmp_path):
    (pictures / "text.png").write_text("hello")
    options = ("-o", tmp_path / "out", "-m", model, "--ensemble", 1, "--quiet")
    done = leadline("predict", pictures / "a.png", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out" / "a.depth.png").exists()
    done = leadline("predict", pictures / "text.png", *options)
    assert done.returncode == 2
    assert [line[:10] for line in done.stderr.splitlines()] == ["leadline: "]


@pytest.mark.parametrize("option", [("--ensemble", 0), ("--steps", 0), ("--size", -5)])
def test_options_that_fit_no_image_are_told_once(model, pictures, tmp_path, option):
    done = leadline("predict", pictures, "-o", tmp_path / "out", "-m", model, *option)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "{}={}".format(option[0].strip("-"), option[1]) in done.stderr


def test_what_a_shell_pattern_takes_along_is_skipped(model, pictures, tmp_path):
    (pictures / "notes.json").write_text("{}")
    done = leadline("predict", *sorted(pictures.glob("*.*")), "-o", tmp_path / "out", "-m", model, "--ensemble", 1)
    assert done.returncode == 0, done.stderr
    assert "notes.json skipped" in done.stderr
    assert len(list((tmp_path / "out").glob("*.depth.png"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.jpg",), "does not exist"),
        (("*.nothing",), "nothing matches"),
        ((".",), "no images"),
        (("x.jpg", "--model", "depthzilla"), "known models"),
        (("x.jpg", "--device", "warp"), "device 'warp'"),
        (("x.jpg", "--precision", "int1"), "precision 'int1'"),
    ],
)
def test_one_line_and_exit_code_2(arguments, message, tmp_path, model):
    extra = () if "--model" in arguments else ("-m", model)
    done = leadline("predict", *arguments, *extra, "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_full_disk(model, pictures, tmp_path):
    """/dev/full refuses every byte; a folder that cannot be made stands in for a full disk everywhere else."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    done = leadline("predict", pictures / "a.png", "-o", blocked, "-m", model, "--ensemble", 1)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    from leadline import LeadlineError
    from leadline.files import output

    def full(path, content):
        path.open("wb").write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LeadlineError, match="No space left"):
        output.write_png(tmp_path / "depth.png", np.zeros((4, 4), np.uint16))
    assert list(tmp_path.iterdir()) == []


class TestVideo:
    @pytest.fixture
    def film(self, tmp_path) -> Path:
        path = tmp_path / "film.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
        for i in range(7):
            frame = np.full((64, 96, 3), 60 + 5 * i, np.uint8)
            frame[20:50, 8 * i : 8 * i + 20] = 220
            writer.write(frame)
        writer.release()
        return path

    def test_every_frame_and_a_film(self, model, film, tmp_path):
        done = leadline("predict", film, "-o", tmp_path / "out", "-m", model, "--ensemble", 1, "--json")
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "out" / "film").glob("*.png"))) == 7
        capture = cv2.VideoCapture(str(tmp_path / "out" / "film.preview.mp4"))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 7
        assert json.loads(done.stdout)["frames"] == 7

    def test_interrupted_run_goes_on(self, model, film, tmp_path):
        out = tmp_path / "out"
        leadline("predict", film, "-o", out, "-m", model, "--ensemble", 1)
        whole = [read_png16(out / "film" / f"{i:06d}.png") for i in range(1, 8)]
        state = json.loads((out / "film" / "state.json").read_text())
        for i in (5, 6, 7):
            (out / "film" / f"{i:06d}.png").unlink()
        (out / "film" / "state.json").write_text(json.dumps({**state, "frames": 4}))
        (out / "film.json").unlink()
        first = (out / "film" / "000001.png").stat().st_mtime_ns
        done = leadline("predict", film, "-o", out, "-m", model, "--ensemble", 1)
        assert done.returncode == 0, done.stderr
        assert (out / "film" / "000001.png").stat().st_mtime_ns == first
        for i, expected in enumerate(whole, start=1):
            assert np.abs(read_png16(out / "film" / f"{i:06d}.png").astype(int) - expected).max() <= 3

    def test_not_a_video(self, model, tmp_path):
        (tmp_path / "fake.mp4").write_bytes(b"no film in here")
        done = leadline("predict", tmp_path / "fake.mp4", "-o", tmp_path / "out", "-m", model)
        assert done.returncode == 2
        assert "convert it to MP4" in done.stderr


class TestOtherCommands:
    def test_help_lists_every_command(self):
        from leadline.cli.main import COMMANDS

        done = leadline("--help")
        assert all(name in done.stdout for name in COMMANDS)

    @pytest.mark.parametrize("name", ["predict", "models", "pull", "import", "doctor"])
    def test_each_command_explains_itself(self, name):
        done = leadline(name, "--help")
        assert done.returncode == 0
        assert "Usage" in done.stdout

    def test_doctor_and_models(self, tmp_path):
        done = leadline("doctor", LEADLINE_HOME=str(tmp_path))
        assert "would use: device" in done.stdout
        lines = leadline("models", "--json", LEADLINE_HOME=str(tmp_path)).stdout.splitlines()
        assert {"depthfm", "depthmaster", "fiffdepth"} <= {json.loads(line)["name"] for line in lines}

    def test_import_then_predict_by_name(self, tmp_path, pictures):
        from places import GOLDEN

        home = {"LEADLINE_HOME": str(tmp_path / "home")}
        done = leadline("import", GOLDEN / "fiffdepth", "--as", "mine", **home)
        assert done.returncode == 0, done.stderr
        done = leadline("predict", pictures / "a.png", "-m", "mine", "-o", tmp_path / "out", "--size", 64, **home)
        assert done.returncode == 0, done.stderr

    def test_pull_says_when_there_is_nothing_to_pull(self, tmp_path):
        done = leadline("pull", "fiffdepth", LEADLINE_HOME=str(tmp_path))
        assert done.returncode == 2
        assert "leadline import" in done.stderr
