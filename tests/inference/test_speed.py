"""Speed "realtime": what is fastest on this machine, measured once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from places import ROOT

import leadline
from leadline.errors import CheckpointError
from leadline.inference import speed
from leadline.inference.devices import precision_name
from leadline.inference.estimator import DepthEstimator
from leadline.inference.speed import Asked, Way
from leadline.inference.tuned import SPEED

CPU = torch.device("cpu")


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def own_cache_and_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path))
    monkeypatch.setattr(speed, "perf_counter", lambda: CLOCK.now)


WAYS = (Way("fp32", "torch"), Way("bf16", "torch"), Way("fp32", "openvino"))


def made(seconds: dict[str, float], asked: list[Way]):
    def one_prediction(way: Way):
        asked.append(way)
        return lambda: CLOCK.wait(seconds[str(way)])

    return one_prediction


def never(way: Way):
    raise AssertionError("it was measured before")


def test_the_fastest_is_chosen_and_kept(monkeypatch):
    monkeypatch.setattr(speed, "candidates", lambda device: WAYS)
    asked: list[Way] = []
    times = {"fp32": 0.02, "bf16": 0.001, "fp32 by OpenVINO": 0.01}
    first = speed.fastest_way("a model", "hash", CPU, made(times, asked))
    assert first == Way("bf16", "torch")
    (kept,) = speed.measured_here()
    assert kept.fastest == "bf16"
    assert kept.seconds["fp32"] == pytest.approx(0.02)
    assert speed.fastest_way("a model", "hash", CPU, never) == first
    speed.fastest_way("another", "hash of another", CPU, made(times, asked))
    assert asked == [*WAYS, *WAYS]
    assert len(speed.measured_here()) == 2


def test_only_what_was_asked_for_is_measured_and_chosen(monkeypatch):
    monkeypatch.setattr(speed, "candidates", lambda device: WAYS)
    times = {"fp32": 0.02, "bf16": 0.001, "fp32 by OpenVINO": 0.01}
    asked: list[Way] = []
    assert speed.fastest_way("m", "h", CPU, made(times, asked), Asked(precision="fp32")) == Way("fp32", "openvino")
    assert asked == [WAYS[0], WAYS[2]]
    assert speed.fastest_way("m", "h", CPU, made(times, asked), Asked(backend="torch")) == Way("bf16", "torch")
    assert asked[2:] == list(WAYS[:2])  # what is compared was measured together
    assert speed.fastest_way("m", "h", CPU, never, Asked("bf16", "auto")) == Way("bf16", "torch")
    assert speed.fastest_way("m", "h", CPU, never, Asked("auto", "openvino")) == Way("fp32", "openvino")
    assert speed.fastest_way("m", "h", CPU, never, Asked("fp16", "auto")) == Way("fp16", "torch")


def test_other_programs_that_run_for_a_while_do_not_decide(monkeypatch):
    """The first half of all calls takes five times as long, whosever they are."""
    monkeypatch.setattr(speed, "candidates", lambda device: WAYS[:2])
    calls = []

    def one_prediction(way: Way):
        def call() -> None:
            calls.append(way)
            busy = len(calls) <= SPEED.warm_ups + SPEED.runs
            CLOCK.wait({"fp32": 0.01, "bf16": 0.025}[str(way)] * (5 if busy else 1))

        return call

    assert speed.fastest_way("a model", "hash", CPU, one_prediction) == WAYS[0]


def test_another_openvino_is_measured_anew(monkeypatch):
    monkeypatch.setattr(speed, "candidates", lambda device: WAYS[:2])
    for found in ("2026.1", "2026.2", None):
        monkeypatch.setattr(speed, "openvino_version", lambda found=found: found)
        speed.fastest_way("a model", "hash", CPU, made({"fp32": 0.0, "bf16": 0.0}, []))
    assert len(speed.measured_here()) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": {"model": 1}}', '{"x": 3}'])
def test_a_damaged_file_is_measured_anew(content, monkeypatch):
    speed.measurements().parent.mkdir(parents=True, exist_ok=True)
    speed.measurements().write_text(content)
    assert speed.measured_here() == []
    monkeypatch.setattr(speed, "candidates", lambda device: WAYS)
    speed.fastest_way("a model", "hash", CPU, made(dict.fromkeys(map(str, WAYS), 0.0), []))
    assert len(speed.measured_here()) == 1


@pytest.mark.parametrize("precisions", [("fp32",), ("fp32", "bf16")])
def test_with_openvino_int8_is_a_candidate(precisions, monkeypatch):
    monkeypatch.setattr(speed, "cpu_computes_bf16", lambda: "bf16" in precisions)
    monkeypatch.setattr(speed, "openvino_version", lambda: None)
    by_torch = tuple(Way(one, "torch") for one in precisions)
    assert speed.candidates(CPU) == by_torch
    monkeypatch.setattr(speed, "openvino_version", lambda: "2026.1")
    by_openvino = tuple(Way(one, "openvino") for one in (*precisions, "int8"))
    assert speed.candidates(CPU) == (*by_torch, *by_openvino)


def test_a_model_that_cannot_do_int8_is_not_asked_to(monkeypatch):
    monkeypatch.setattr(speed, "candidates", lambda device: (*WAYS, Way("int8", "openvino")))
    monkeypatch.setattr(DepthEstimator, "predict", lambda *_, **__: None)
    estimator = leadline.load("depthfm-mini-completion", speed="realtime")
    assert precision_name(estimator.dtype) != "int8"
    (measured,) = speed.measured_here()
    assert list(measured.seconds) == [str(way) for way in WAYS]


def test_a_mini_model_in_real_time():
    estimator = leadline.load("fiffdepth-mini", speed="realtime")
    assert (estimator.encoder, estimator.decoder) == ("small", "small")
    (measured,) = speed.measured_here()
    assert str(Way(precision_name(estimator.dtype), estimator.backend)) == measured.fastest
    full = leadline.load("fiffdepth-mini")
    assert estimator.weights_hash != full.weights_hash  # results of one are never taken for the other's
    room = ROOT / "assets" / "demo" / "living_room.jpg"
    near, exact = (one.predict(room, size=160).values for one in (estimator, full))
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.97


def test_asked_precision_and_backend_are_kept():
    estimator = leadline.load("fiffdepth-mini", speed="realtime", precision="fp32", backend="torch")
    assert (estimator.dtype, estimator.backend) == (torch.float32, "torch")
    assert speed.measured_here() == []


def test_a_model_of_another_codec_says_what_to_do(models):
    with pytest.raises(CheckpointError, match="leadline train small-"):
        leadline.load(models["depthmaster"], speed="realtime")
