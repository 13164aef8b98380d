"""Speed "realtime": what is fastest on this machine, measured once."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from places import ROOT

import leadline
from leadline.errors import CheckpointError
from leadline.inference import speed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path))


def made(seconds: dict[str, float], asked: list[str]):
    def one_prediction(precision: str):
        asked.append(precision)
        return lambda: time.sleep(seconds[precision])

    return one_prediction


def test_the_fastest_is_chosen_and_kept(monkeypatch):
    monkeypatch.setattr(speed, "candidates", lambda device: ("fp32", "bf16"))
    asked: list[str] = []
    times = {"fp32": 0.02, "bf16": 0.001}
    first = speed.fastest_precision("a model", "hash", CPU, made(times, asked))
    assert first.precision == "bf16"
    assert first.seconds["fp32"] >= 0.02
    assert speed.measured_here() == [first]

    def never(precision: str):
        raise AssertionError("it was measured before")

    assert speed.fastest_precision("a model", "hash", CPU, never) == first
    speed.fastest_precision("another", "hash of another", CPU, made(times, asked))
    assert asked == ["fp32", "bf16"] * 2
    assert len(speed.measured_here()) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": {"model": 1}}', '{"x": 3}'])
def test_a_damaged_file_is_measured_anew(content):
    speed.measurements().parent.mkdir(parents=True, exist_ok=True)
    speed.measurements().write_text(content)
    assert speed.measured_here() == []
    speed.fastest_precision("a model", "hash", CPU, made(dict.fromkeys(speed.candidates(CPU), 0.0), []))
    assert len(speed.measured_here()) == 1


def test_bf16_is_no_candidate_without_instructions_for_it(monkeypatch):
    monkeypatch.setattr(speed, "cpu_computes_bf16", lambda: False)
    assert speed.candidates(CPU) == ("fp32",)


def test_a_mini_model_in_real_time():
    estimator = leadline.load("fiffdepth-mini", speed="realtime")
    assert (estimator.encoder, estimator.decoder) == ("small", "small")
    (measured,) = speed.measured_here()
    assert measured.precision == min(measured.seconds, key=lambda name: measured.seconds[name])
    full = leadline.load("fiffdepth-mini")
    assert estimator.weights_hash != full.weights_hash  # results of one are never taken for the other's
    room = ROOT / "assets" / "demo" / "living_room.jpg"
    near, exact = (one.predict(room, size=160).values for one in (estimator, full))
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.97


def test_asked_precision_is_kept():
    estimator = leadline.load("fiffdepth-mini", speed="realtime", precision="fp32")
    assert estimator.dtype == torch.float32
    assert speed.measured_here() == []


def test_a_model_of_another_codec_says_what_to_do(models):
    with pytest.raises(CheckpointError, match="leadline train small-"):
        leadline.load(models["depthmaster"], speed="realtime")
