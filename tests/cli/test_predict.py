"""`leadline predict` as a person runs it: real files, and the program's own entry point."""

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
from program import leadline
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model
from leadline.files.output import Quantisation, read_png16


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


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
    done = leadline(
        "predict",
        pictures / "a.png",
        "-o",
        out,
        "-m",
        model,
        "--ensemble",
        4,
        "--npy",
        "--exr",
        "--controlnet",
        "--show",
    )
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


@pytest.mark.parametrize(
    "option",
    [
        ("--ensemble", 0), ("--ensemble", 100_000), ("--steps", 0), ("--size", -5), ("--size", 1), ("--size", 100_000),
        ("--seed", -1),
    ],
)  # fmt: skip
def test_options_that_fit_no_image_are_told_once_with_the_reason(model, pictures, tmp_path, option):
    done = leadline("predict", pictures, "-o", tmp_path / "out", "-m", model, *option)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert all(str(word) in done.stderr for word in (*option, "not from"))


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
        (("x.jpg", "--precision", "int1"), "'int1' is not one of"),
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


def test_pictures_to_show_around(model, pictures, tmp_path):
    out = tmp_path / "out"
    options = ("-o", out, "-m", model, "--side-by-side", "--colours", "spectral", "--parallax", "gif", "--sheet")
    done = leadline("predict", pictures, *options)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in out.rglob("*")}
    assert {"a.png.side.png", "a.png.parallax.gif", "b.side.png", "contact-sheet.jpg", "results.csv"} <= names
    assert len((out / "results.csv").read_text().splitlines()) == 4
    assert "3 of 3 done (3 of them earlier)" in leadline("predict", pictures, *options).stderr


def test_metres_from_known_depths(model, pictures, tmp_path):
    known = ("--reference", "10,10,2.5", "--reference", "60,40,4")
    done = leadline("predict", pictures / "a.png", "-o", tmp_path, "-m", model, *known)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["metric"], record["space"]) == (True, "depth")
    assert "2 known depths" in record["meta"]["completion"]["evidence"]
    refused = leadline("predict", pictures, "-o", tmp_path, "-m", model, *known)
    assert refused.returncode == 2
    assert "name one" in refused.stderr


def test_an_animation_says_that_one_picture_is_used(model, photo, tmp_path):
    frames = [Image.fromarray(photo), Image.fromarray(photo[::-1])]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    done = leadline("predict", tmp_path / "moving.gif", "-o", tmp_path / "out", "-m", model)
    assert done.returncode == 0
    assert "has 2 pictures; the first is used" in done.stderr


def test_avif(model, photo, tmp_path):
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    Image.fromarray(photo).save(tmp_path / "a.avif")
    (tmp_path / "b.txt").touch()
    assert (
        leadline("predict", tmp_path / "a.avif", tmp_path / "b.txt", "-o", tmp_path / "out", "-m", model).returncode
        == 0
    )
    assert (tmp_path / "out" / "a.depth.png").exists()


class TestShellCompletion:
    def test_install_puts_the_script_where_the_shell_looks(self, tmp_path):
        done = leadline("completion", "install", HOME=str(tmp_path), SHELL="/usr/bin/bash")
        assert done.returncode == 0, done.stderr
        script = (tmp_path / ".local/share/bash-completion/completions/leadline").read_text()
        assert "_LEADLINE_COMPLETE=bash_complete" in script
        assert leadline("completion", "show", SHELL="/bin/tcsh").returncode == 2

    def test_commands_and_options_are_completed(self):
        def completed(words: str, word: int) -> str:
            asked = {"_LEADLINE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(word)}
            program = [sys.executable, "-m", "leadline"]
            return subprocess.run(
                program, env={**os.environ, **asked}, capture_output=True, text=True, check=True
            ).stdout

        assert "plain,predict" in completed("leadline pre", 1)
        assert "plain,--quality" in completed("leadline predict --qual", 2)
        offered = completed("leadline predict -m depth", 3).split()
        assert "plain,depthmaster-mini" in offered
        assert "plain,marigold-v1-1" not in offered  # its weights are not here
        assert completed("leadline mesh a.jpg -m ./my", 4).split() == ["file,./my"]
        assert "plain,marigold-v1-1" in completed("leadline pull mari", 2).split()
        assert "plain,kitti" in completed("leadline eval -d ki", 3)

    def test_names_are_completed_without_torch(self):
        code = (
            "import sys; from leadline.cli import names; from leadline.cli.main import cli; import leadline.cli.predict\n"
            "assert names.present_models(None, None, 'fiff') and names.datasets(None, None, '')\n"
            "assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
