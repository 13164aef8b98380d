"""Distilling: students from the teacher's own layers, maps made once, a model file like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import leadline

from leadline.checkpoints.capabilities import capabilities
from leadline.checkpoints.native import content_hash, load_model, save_model
from leadline.checkpoints.resolve import resolve
from leadline.errors import CheckpointError, InputError
from leadline.inference.estimator import DepthEstimator, load
from leadline.training.distillation.distil import DistilSettings, distil
from leadline.training.distillation.lessons import Lesson, split
from leadline.training.distillation.students import start_for, student_of
from leadline.training.map_teachers import LeadlineTeacher

QUICK = DistilSettings(ensemble=2, steps=2, batch_size=2, lr=1e-3, evaluate_every=1)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """The mini model, told to work on small pictures."""
    path = tmp_path / "teacher.safetensors"
    save_model(resolve("fiffdepth-mini", default_size=48, name="teacher", licence="CC-BY-NC-4.0"), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[:36, :48]
    for number in range(12):
        rgb = np.stack([(5 * x + 9 * number) % 256, 255 - 6 * y, 100 + 60 * ((x // 9 + number) % 2)], axis=-1)
        Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def quiet(line: str) -> None:
    """No progress."""


def test_a_distilled_model_is_a_model_like_any_other(
    teacher: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "my-robot.safetensors"
    done = distil(teacher, [images], out, QUICK, quiet)
    assert (done.pictures, done.held_out) == (11, 1)
    assert 0 < done.distance_after <= done.distance_before
    student = load(out)
    assert student.name == "my-robot"
    assert "distilled from teacher" in student.spec.source
    assert student.predict(images / "00.png").values.shape == (36, 48)
    known = capabilities(out)
    assert known.licence == "CC-BY-NC-4.0"
    assert known.non_commercial
    assert known.default_size == 48
    assert out.stat().st_size < teacher.stat().st_size
    history = [json.loads(line) for line in (tmp_path / "my-robot.distil" / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [1, 2]
    assert min(line["distance"] for line in history) == pytest.approx(done.distance_after, rel=1e-4)

    def never(self: LeadlineTeacher, rgb: np.ndarray) -> np.ndarray:
        raise AssertionError("the maps are there")

    monkeypatch.setattr(LeadlineTeacher, "maps", never)
    weights = content_hash(out)
    assert distil(teacher, [images], out, QUICK, quiet) == done  # finished before
    assert content_hash(out) == weights


def test_the_smallest_change_is_the_small_decoder(teacher: Path, images: Path) -> None:
    start = load_model(teacher)
    student = student_of(start, "mini", name="student")
    expected = DepthEstimator(start, decoder="small").predict(images / "03.png").values
    np.testing.assert_allclose(DepthEstimator(student).predict(images / "03.png").values, expected, atol=1e-5)


@pytest.mark.parametrize("size", ["mini", "small", "nano"])
def test_students_start_with_the_teachers_layers_and_survive_their_file(
    size: str, teacher: Path, tmp_path: Path
) -> None:
    start = load_model(teacher)
    student = student_of(start, size, name="student")
    own, given = student.model.unet.state_dict(), start.model.unet.state_dict()
    assert all(torch.equal(tensor, given[name]) for name, tensor in own.items())
    assert not any(name.startswith("vae.decoder.") for name in student.codec.state_dict())
    assert student.codec.fingerprint == start.codec.fingerprint
    save_model(student, tmp_path / "student.safetensors", dtype=torch.float32)
    back = load_model(tmp_path / "student.safetensors")
    assert back.spec == student.spec
    rgb = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.inference_mode():
        maps = [one.codec.decode(one.model.solve(one.codec.encode(rgb))) for one in (student, back)]
    torch.testing.assert_close(*maps, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_left_out_is_said() -> None:
    spec = resolve("fiffdepth-mini").spec
    for name, words in (("unet.up_blocks.7.resnets.0", "no block"), ("unet.conv_in", "no residual block")):
        from dataclasses import replace

        from leadline.checkpoints.bundle import build

        with pytest.raises(CheckpointError, match=words):
            build(replace(spec, dropped=(name,)), torch.zeros(1, 2, 32))


def test_models_that_cannot_be_the_start_have_the_mini_for_it() -> None:
    assert start_for(None).spec.name == "fiffdepth-mini"
    assert start_for(resolve("depthfm-mini")).spec.name == "fiffdepth-mini"
    own = resolve("depthmaster-mini")
    assert start_for(own) is own


def test_a_teacher_in_another_space_teaches_too(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "flow.safetensors"
    save_model(resolve("depthfm-mini", default_size=48, name="flow"), other)
    out = tmp_path / "student.safetensors"
    quick = DistilSettings(student="nano", ensemble=1, steps=2, batch_size=2, evaluate_every=1)
    distil(other, [images], out, quick, quiet)
    assert capabilities(out).space == "sqrt_disparity"
    assert capabilities(out).licence.startswith("Apache-2.0")


def test_the_end_of_every_source_is_held_out() -> None:
    lessons = [Lesson(np.full((2, 2, 3), i, np.uint8), np.zeros((2, 2), np.float16), (2, 2)) for i in range(20)]
    learnt, watched = split(lessons)
    assert [int(one.rgb[0, 0, 0]) for one in watched] == [18, 19]
    assert len(learnt) == 18


def test_mistakes_are_told_before_anything_is_computed(teacher: Path, images: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "00.png").write_bytes((images / "00.png").read_bytes())
    with pytest.raises(InputError, match="too few"):
        distil(teacher, [few], tmp_path / "a.safetensors", QUICK, quiet)
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        distil(teacher, [images], tmp_path / "a.onnx", QUICK, quiet)
    with pytest.raises(InputError, match="does not exist"):
        distil(teacher, [tmp_path / "nowhere"], tmp_path / "a.safetensors", QUICK, quiet)
    nameless = tmp_path / "nameless.safetensors"
    save_model(resolve("fiffdepth-mini", default_size=48, name="nameless", licence=""), nameless)
    with pytest.raises(InputError, match="--licence"):
        distil(nameless, [images], tmp_path / "a.safetensors", QUICK, quiet)


def test_the_command(teacher: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "robot.safetensors"
    done = leadline(
        "distil", "--teacher", teacher, "--images", images, "--student", "nano", "-o", out, "--steps", "2",
        "--batch-size", "2", "--ensemble", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "learnt from 11 pictures" in done.stdout
    assert out.exists()


def test_a_student_becomes_an_onnx_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from leadline.inference.onnx_file import TOLERANCE, export_onnx

    student = student_of(resolve("fiffdepth-mini"), "nano", name="student")
    assert export_onnx(student, tmp_path / "student.onnx", 32, 48).difference <= TOLERANCE
