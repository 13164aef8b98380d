"""Depth of films: what is written, what is kept when a run stops, and that no film gets another's frames."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from small_film import make_film
from tiny import tiny_estimator

from leadline.errors import InputError, LeadlineError
from leadline.files import journal
from leadline.files.film import FilmWriter, describe, read_frames
from leadline.files.output import read_exr, read_png16
from leadline.inference.video import predict_video
from leadline.video import predict as video

OPTIONS = {"size": 64, "steps": 1}


@pytest.fixture(scope="module")
def model():
    return tiny_estimator("depthfm")


@pytest.fixture
def film(tmp_path) -> Path:
    return make_film(tmp_path / "film.mp4")


def test_every_frame_on_one_scale_and_a_film_with_sound(model, film, tmp_path):
    out = tmp_path / "out"
    seen = []
    result = predict_video(film, out, model, on_frames=lambda done, total: seen.append((done, total)), **OPTIONS)
    assert result.frames == 7
    assert seen == [(i, 7) for i in range(1, 8)]
    assert sorted(path.name for path in (out / "film.depth").iterdir()) == [f"{i:06d}.png" for i in range(1, 8)]
    info = describe(out / "film.preview.mp4")
    assert info.has_sound
    shown = list(read_frames(out / "film.preview.mp4"))
    assert len(shown) == 7
    assert shown[0].rgb.shape == (64, 192, 3)
    original = next(iter(read_frames(film))).rgb
    assert np.abs(shown[0].rgb[:, :96].astype(int) - original).mean() < 8  # the photograph stands left
    rows = list(csv.DictReader((out / "film.frames.csv").open()))
    assert [float(row["time_s"]) for row in rows] == pytest.approx(np.arange(7) / 10, abs=1e-3)
    record = json.loads((out / "film.json").read_text())
    assert record["files"]["film.depth"] == 7
    assert {path.name for path in out.iterdir()} == {*record["files"], "film.json"}


def test_two_films_of_one_name_never_mix(model, tmp_path):
    first, second = make_film(tmp_path / "a" / "clip.mp4"), make_film(tmp_path / "b" / "clip.mp4", shade=90)
    out = tmp_path / "out"
    predict_video(first, out, model, preview=False, **OPTIONS)
    before = read_png16(out / "clip.depth" / "000003.png")
    with pytest.raises(InputError, match="another file"):
        predict_video(second, out, model, preview=False, **OPTIONS)
    np.testing.assert_array_equal(read_png16(out / "clip.depth" / "000003.png"), before)
    predict_video(second, out, model, preview=False, overwrite=True, **OPTIONS)
    predict_video(second, tmp_path / "alone", model, preview=False, **OPTIONS)
    for number in range(1, 8):
        name = f"clip.depth/{number:06d}.png"
        np.testing.assert_array_equal(read_png16(out / name), read_png16(tmp_path / "alone" / name))


def test_a_stopped_run_goes_on_and_another_film_does_not_take_it_up(model, tmp_path):
    first, second = make_film(tmp_path / "a" / "clip.mp4"), make_film(tmp_path / "b" / "clip.mp4", shade=90)
    out = tmp_path / "out"

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_video(first, out, model, batch=1, on_frames=stop, **OPTIONS)
    assert video.kept_frames(out / "clip") == 4
    assert not (out / "clip.json").exists()
    seen: list[int] = []
    predict_video(second, tmp_path / "out2", model, batch=1, **OPTIONS)
    predict_video(first, out, model, batch=1, on_frames=lambda done, total: seen.append(done), **OPTIONS)
    assert seen == [5, 6, 7]
    predict_video(first, tmp_path / "whole", model, batch=1, **OPTIONS)
    for number in range(1, 8):
        name = f"clip.depth/{number:06d}.png"
        assert np.abs(read_png16(out / name).astype(int) - read_png16(tmp_path / "whole" / name)).max() <= 3
    assert not list(out.glob("*part*"))


def test_looking_ahead_changes_frames_but_not_the_last_and_loses_none(model, film, tmp_path):
    options = {"preview": False, "video_format": "exr", **OPTIONS}
    predict_video(film, tmp_path / "causal", model, **options)
    result = predict_video(film, tmp_path / "ahead", model, look_ahead=3, batch=2, **options)
    assert result.frames == 7
    assert result.record["settings"]["look_ahead"] == 3
    maps = [
        [read_exr(tmp_path / way / "film.depth" / f"{n:06d}.exr") for n in range(1, 8)] for way in ("causal", "ahead")
    ]
    same = [bool(np.array_equal(a, b)) for a, b in zip(*maps, strict=True)]
    assert same[-1]
    assert not all(same[:-1])
    for a, b in zip(*maps, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8
    with pytest.raises(InputError, match="--flicker"):
        predict_video(film, tmp_path / "none", model, look_ahead=3, steady=False, **options)


def test_changed_settings_are_done_again_and_the_same_are_not(model, film, tmp_path, monkeypatch):
    out = tmp_path / "out"
    predict_video(film, out, model, preview=False, **OPTIONS)
    again = predict_video(film, out, model, preview=False, seed=5, **OPTIONS)
    assert again.record["settings"]["seed"] == 5
    monkeypatch.setattr(model, "predict", lambda *args, **kwargs: pytest.fail("done already"))
    assert predict_video(film, out, model, preview=False, seed=5, **OPTIONS).frames == 7


def test_formats_hold_the_same_depth_and_uncertainty(model, film, tmp_path):
    options = {"preview": False, "ensemble": 2, **OPTIONS}
    predict_video(film, tmp_path / "png", model, **options)
    predict_video(film, tmp_path / "exr", model, video_format="exr", **options)
    result = predict_video(film, tmp_path / "ffv1", model, video_format="ffv1", **options)
    assert set(result.record["files"]) == {"film.depth.mkv", "film.uncertainty.mkv", "film.frames.csv"}
    with av.open(str(tmp_path / "ffv1" / "film.depth.mkv")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    scale = result.record["depth_16bit"]
    for number, frame in enumerate(frames, start=1):
        np.testing.assert_array_equal(frame, read_png16(tmp_path / "png" / "film.depth" / f"{number:06d}.png"))
        exact = read_exr(tmp_path / "exr" / "film.depth" / f"{number:06d}.exr")
        decoded = scale["low"] + (scale["high"] - scale["low"]) * frame.astype(np.float64) / 65535
        inside = (exact > scale["low"]) & (exact < scale["high"])
        np.testing.assert_allclose(decoded[inside], exact[inside], atol=(scale["high"] - scale["low"]) / 65535)
    assert read_exr(tmp_path / "exr" / "film.uncertainty" / "000001.exr").max() > 0


def test_prores_is_close_and_its_record_says_that_it_is_not_exact(model, film, tmp_path):
    options = {"preview": False, "ensemble": 2, **OPTIONS}
    predict_video(film, tmp_path / "png", model, **options)
    result = predict_video(film, tmp_path / "mov", model, video_format="prores", **options)
    assert set(result.record["files"]) == {"film.depth.mov", "film.uncertainty.mov", "film.frames.csv"}
    assert "depth_16bit" not in result.record
    said = result.record["depth_10bit"]
    assert said["lossy"]
    with av.open(str(tmp_path / "mov" / "film.depth.mov")) as container:
        assert container.streams.video[0].codec_context.name == "prores"
        lumas = [_luma10(frame) for frame in container.decode(video=0)]
    assert len(lumas) == result.frames
    for number, luma in enumerate(lumas, start=1):
        code = read_png16(tmp_path / "png" / "film.depth" / f"{number:06d}.png") / 65535
        stored = eval(said["value"], {"low": 0.0, "high": 1.0, "luma": luma})
        assert np.abs(stored - code).mean() < 0.002
        assert np.abs(stored - code).max() < 0.02


def _luma10(frame: av.VideoFrame) -> np.ndarray:
    plane = frame.reformat(format="yuv444p10le").planes[0]
    rows = np.frombuffer(bytes(plane), np.uint16).reshape(frame.height, -1)
    return rows[:, : frame.width].astype(np.float64)


def test_variable_frame_rate_keeps_its_times(model, tmp_path):
    times = [0.0, 0.1, 0.5, 0.6, 1.4]
    film = make_film(tmp_path / "vfr.mkv", 5, sound=False, times_s=times)
    predict_video(film, tmp_path / "out", model, **OPTIONS)
    shown = [frame.time_s for frame in read_frames(tmp_path / "out" / "vfr.preview.mp4")]
    assert shown == pytest.approx(times, abs=0.02)


def test_truncated_film_gives_its_frames_and_a_word(model, tmp_path):
    with FilmWriter(tmp_path / "whole.mkv", 96, 64, grey16=True) as writer:
        noise = np.random.default_rng(0).integers(0, 65535, (12, 64, 96), np.uint16)
        for i, frame in enumerate(noise):
            writer.write(frame, i / 10)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    told: list[str] = []
    count = len(list(read_frames(tmp_path / "cut.mkv", told.append)))
    assert 0 < count < 12


def test_rotated_film_is_upright_as_opencv_shows_it(tmp_path):
    film = make_film(tmp_path / "phone.mp4", sound=False)
    data = bytearray(film.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, times and track, layer and volume
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    film.write_bytes(data)
    capture = cv2.VideoCapture(str(film))
    expected = capture.read()[1][:, :, ::-1]
    assert expected.shape == (96, 64, 3), "the test's film is not rotated"
    np.testing.assert_allclose(next(iter(read_frames(film))).rgb.astype(int), expected, atol=6)


def test_bad_films_and_options(model, film, tmp_path):
    (tmp_path / "fake.mp4").write_bytes(b"no film in here")
    with pytest.raises(InputError, match="convert it to MP4"):
        predict_video(tmp_path / "fake.mp4", tmp_path / "out", model)
    with pytest.raises(InputError, match="does not exist"):
        predict_video(tmp_path / "none.mp4", tmp_path / "out", model)
    with pytest.raises(InputError, match="png, exr, ffv1 or prores"):
        predict_video(film, tmp_path / "out", model, video_format="gif")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_second_process_on_one_film_is_refused(model, film, tmp_path):
    out, refused = tmp_path / "out", []

    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            with pytest.raises(LeadlineError, match="another process") as error:
                predict_video(film, out, model, **OPTIONS)
            refused.append(str(error.value))

    predict_video(film, out, model, on_frames=meanwhile, **OPTIONS)
    assert len(refused) == 1
    assert journal.read_record(out / "film")["frames"] == 7
